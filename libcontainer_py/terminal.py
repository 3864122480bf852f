"""Terminals of containers, as their host sees them, and who takes a new one: the caller, or a console socket."""

from __future__ import annotations

import io
import os
from errno import EIO

from libcontainer_py.errors import StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from types import TracebackType

_NAME = b"/dev/ptmx"
"""What runc says with a master, whatever the master's path."""
_PATIENCE = 10.0
_CHUNK = 65536


class Terminal:
    """The host's end of a container's terminal: what is written here is typed there, what is shown there is read here.

    Closing it hangs up: the kernel sends SIGHUP to the program, and to who is in the foreground. As a context manager
    it closes on leaving.
    """

    __slots__ = ("_file",)

    _file: io.FileIO

    def __init__(self) -> None:
        raise TypeError("terminals come from Factory.create() and Container.spawn()")

    @classmethod
    def of(cls, master: int) -> Terminal:
        """For Factory and Container alone: the descriptor belongs to it from now on."""
        self = object.__new__(cls)
        self._file = io.FileIO(master, "r+b")
        return self

    def __repr__(self) -> str:
        return f"<Terminal {'closed' if self.closed else self.fileno()}>"

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor, for poll and event loops. At the end read(2) gives EIO. Raises ValueError where closed."""
        return self._file.fileno()

    def read(self, size: int = _CHUNK) -> bytes:
        """What was shown, as soon as there is some, at most `size` bytes; b"" once nobody has the terminal open."""
        try:
            return os.read(self.fileno(), size)
        except OSError as error:
            if error.errno != EIO:
                raise
            return b""

    def write(self, data: bytes) -> int:
        """Type this; returns how many bytes were taken. Control characters do what they do: byte 3, ^C, interrupts."""
        return os.write(self.fileno(), data)

    @property
    def size(self) -> os.terminal_size:
        """Its columns and lines."""
        return os.get_terminal_size(self.fileno())

    def resize(self, columns: int, rows: int) -> None:
        """Set its size, in characters; who is in the foreground gets SIGWINCH, where that changes it."""
        import fcntl  # noqa: PLC0415  (not there on Windows)
        import struct  # noqa: PLC0415  (goes with it)
        import termios  # noqa: PLC0415  (goes with it)

        if not (0 <= columns <= 65535 and 0 <= rows <= 65535):
            raise ValueError(f"a terminal has at most 65535 columns and rows, not {columns} and {rows}")
        fcntl.ioctl(self.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Hang up. Silent when repeated."""
        self._file.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._file.closed


class Keeper:
    """Keeps the terminal, where there is one, for the caller; closes it where a `with` block fails."""

    demanded = False

    def __init__(self) -> None:
        self.terminal: Terminal | None = None

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self.terminal is not None:
            self.terminal.close()

    def take(self, master: int) -> None:
        """Keep it."""
        self.terminal = Terminal.of(master)


class ConsoleSocket:
    """Sends the terminal to who listens on a Unix socket, as runc does: its path as text, and its descriptor."""

    demanded = True
    terminal: Terminal | None = None
    """Nothing stays here."""

    def __init__(self, path: str | os.PathLike[str], container_id: str, failure: type[StepError]) -> None:
        """Connect; `failure` is the kind of error where nobody listens."""
        import _socket  # noqa: PLC0415  (not for those without one)

        self._path = os.fsdecode(path)
        self._id = container_id
        self._failure = failure
        self._socket: _socket.socket = _socket.socket(
            _socket.AF_UNIX, _socket.SOCK_STREAM | getattr(_socket, "SOCK_CLOEXEC", 0)
        )
        try:
            self._socket.settimeout(_PATIENCE)
            self._socket.connect(self._path)
        except OSError as error:
            self._socket.close()
            raise self._failed(
                error, "somebody has to listen there before, as conmon, containerd's shim or recvtty do"
            ) from error

    def __enter__(self) -> ConsoleSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def take(self, master: int) -> None:
        """Send it. Raises CreateError, or StartError."""
        import _socket  # noqa: PLC0415  (it is there by now)
        import sys  # noqa: PLC0415  (goes with it)

        right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, master.to_bytes(4, sys.byteorder))
        try:
            self._socket.sendmsg([_NAME], [right])
        except OSError as error:
            raise self._failed(error, "who listened there is gone") from error
        finally:
            os.close(master)

    def _failed(self, error: OSError, hint: str) -> StepError:
        return self._failure(
            f"console socket {self._path}: {(error.strerror or str(error)).lower()}",
            container_id=self._id,
            step="console_socket",
            subject=self._path,
            errno=error.errno or 0,
            hint=hint,
        )
