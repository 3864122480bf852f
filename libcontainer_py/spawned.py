"""A further process of a container, as `Container.spawn` gives it: what subprocess.Popen is to an ordinary one."""

from __future__ import annotations

import io
import time
from math import inf

from libcontainer_py.errors import ContainerError, ContainerTimeout
from libcontainer_py.process import signal_number
from libcontainer_py.streams import Capture, Exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from libcontainer_py.backends.base import Spawned
    from libcontainer_py.pipes import Pipes
    from libcontainer_py.terminal import Terminal

_SIGTERM, _SIGKILL = 15, 9


class ContainerProcess:
    """A process that runs in a container, from `Container.spawn`. Wait for it: until then the kernel keeps it.

    As a context manager it closes its streams and waits on leaving; after an error it is killed before.
    """

    __slots__ = (
        "_captured",
        "_exchange",
        "_files",
        "_given",
        "_pipes",
        "_returncode",
        "_spawned",
        "args",
        "pid",
        "terminal",
    )

    _captured: dict[str, Capture]
    _exchange: Exchange | None
    _files: dict[str, io.FileIO]
    _given: bytes | None
    _pipes: Pipes
    _returncode: int | None
    _spawned: Spawned
    args: tuple[str, ...]
    pid: int
    terminal: Terminal | None
    """Our end of its terminal, where it was asked for one without a console socket."""

    def __init__(self) -> None:
        raise TypeError("processes of a container come from Container.spawn()")

    @classmethod
    def of(
        cls, spawned: Spawned, args: tuple[str, ...], pipes: Pipes, terminal: Terminal | None = None
    ) -> ContainerProcess:
        """For Container alone: `pipes` and `terminal` belong to the process from now on."""
        self = object.__new__(cls)
        self._spawned = spawned
        self._pipes = pipes
        self._returncode = None
        self._exchange = None
        self._captured = {}
        self._files = {}
        self._given = None
        self.args = args
        self.pid = spawned.pid
        self.terminal = terminal
        return self

    def __repr__(self) -> str:
        return f"<ContainerProcess {self.pid}: {' '.join(self.args[:1])}>"

    def __enter__(self) -> ContainerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.kill()
        self.close()
        self._spawned.wait(timeout=None)

    # -- streams --------------------------------------------------------------------------------------------------

    @property
    def stdin(self) -> io.FileIO | None:
        """Its standard input, to write to and to close; None where that is no PIPE. Not beside communicate()."""
        return self._file("stdin", "wb")

    @property
    def stdout(self) -> io.FileIO | None:
        """Its standard output, to read from; None where that is no PIPE. Not beside communicate() or stream()."""
        return self._file("stdout", "rb")

    @property
    def stderr(self) -> io.FileIO | None:
        """As `stdout`."""
        return self._file("stderr", "rb")

    def _file(self, name: str, mode: str) -> io.FileIO | None:
        if name not in self._files:
            descriptor = self._pipes.take(name)
            if descriptor is None:
                return None
            self._files[name] = io.FileIO(descriptor, mode)
        return self._files[name]

    def communicate(self, given: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Feed it `given`, read both streams to their ends, and wait for it. Empty where a stream is no PIPE.

        After a ContainerTimeout nothing is lost: call it again, without `given`.
        """
        deadline = inf if timeout is None else time.monotonic() + timeout
        if not self._captured:
            self._captured = {"stdout": Capture(None), "stderr": Capture(None)}
        for name, chunk in self._drive(given, deadline):
            self._captured[name].take(chunk)
        exchange = self._exchange
        left = deadline - time.monotonic()
        if exchange is None or not exchange.over or self._wait(None if left == inf else max(0.0, left)) is None:
            raise self._late(timeout)
        return self._captured["stdout"].value(), self._captured["stderr"].value()

    def stream(self, timeout: float | None = None) -> Iterator[tuple[str, bytes]]:
        """What it writes, as it arrives: ("stdout" or "stderr", bytes), until both have ended. Raises ContainerTimeout.

        Between two streams that said something at the same moment the kernel knows no order.
        """
        deadline = inf if timeout is None else time.monotonic() + timeout
        yield from self._drive(None, deadline)
        if self._exchange is None or not self._exchange.over:
            raise self._late(timeout)

    def _drive(self, given: bytes | None, deadline: float) -> Iterator[tuple[str, bytes]]:
        if self._exchange is None:
            feeds = self._pipes.descriptor("stdin") is not None
            self._exchange = Exchange(given=(given or b"") if feeds else None, outputs=self._pipes.outputs)
        elif given is not None:
            raise ValueError("its input was given before")
        self._exchange.deadline = deadline
        yield from self._pipes.drive(self._exchange)

    # -- its end --------------------------------------------------------------------------------------------------

    @property
    def pidfd(self) -> int:
        """A descriptor that is readable when it has ended; -1 once it was waited for, and where there is none."""
        return self._spawned.fileno()

    def fileno(self) -> int:
        """The pidfd, for poll and event loops."""
        return self._spawned.fileno()

    @property
    def returncode(self) -> int | None:
        """As poll() or wait() last saw it: the exit code, or the negative number of a signal; None while it runs."""
        return self._returncode

    def poll(self) -> int | None:
        """Its returncode, or None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ended: its returncode. It kills nothing. Raises ContainerTimeout."""
        returncode = self._wait(timeout)
        if returncode is None:
            raise self._late(timeout)
        return returncode

    def _wait(self, timeout: float | None) -> int | None:
        if self._returncode is None:
            ended = self._spawned.wait(timeout=timeout)
            if ended is None:
                return None
            if ended.returncode is None and not self._spawned.killed:
                raise ContainerError(
                    f"how process {self.pid} ended cannot be known: somebody else reaped it",
                    hint="does this process ignore SIGCHLD, or wait for any child? Linux 6.15 would tell all the same",
                )
            self._returncode = -_SIGKILL if ended.returncode is None else ended.returncode
        return self._returncode

    def _late(self, timeout: float | None) -> ContainerTimeout:
        return ContainerTimeout(f"process {self.pid} did not end within {timeout:g} s", timeout=timeout, released=True)

    # -- what can be done to it -----------------------------------------------------------------------------------

    def send_signal(self, sig: int | str) -> None:
        """Send it a signal, by number or name; silent where it has ended. Raises ValueError for what is no signal."""
        self._spawned.signal(signal_number(sig))

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(_SIGTERM)

    def kill(self) -> None:
        """SIGKILL, to it alone: what it started goes on."""
        self.send_signal(_SIGKILL)

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal, in characters. Raises ValueError where we have none."""
        if self.terminal is None:
            raise ValueError(f"we have no terminal of process {self.pid}: spawn(..., terminal=True)")
        self.terminal.resize(columns, rows)

    def close(self) -> None:
        """Close our ends of its streams; it goes on, but a terminal hangs up."""
        if self.terminal is not None:
            self.terminal.close()
        for file in self._files.values():
            file.close()
        self._pipes.close()
