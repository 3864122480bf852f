"""Who is told of a new process: a pid file, and who listens on a socket for its pidfd."""

from __future__ import annotations

import os
from errno import ENOSYS

from libcontainer_py.errors import StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

_PATIENCE = 10.0


class PidFile:
    """A file with the pid in decimal and no newline, as runc writes it: it appears at once, and complete."""

    def __init__(self, path: str | os.PathLike[str], container_id: str, failure: type[StepError]) -> None:
        """`failure` is the kind of error where it cannot be written."""
        self._path = os.path.abspath(os.fsdecode(path))
        self._id = container_id
        self._failure = failure

    def tell(self, pid: int, pidfd: Callable[[], int | None]) -> None:
        """Write it. Raises CreateError, or StartError."""
        folder, name = os.path.split(self._path)
        draft = os.path.join(folder, f".{name}.{os.getpid()}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            try:
                _write_all(descriptor, b"%d" % pid)
                os.rename(draft, self._path)
            except BaseException:
                os.unlink(draft)
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._failure(
                f"pid file {self._path}: {(error.strerror or str(error)).lower()}",
                container_id=self._id,
                step="pid_file",
                subject=self._path,
                errno=error.errno or 0,
            ) from error

    def close(self) -> None:
        """There is nothing to close."""


class PidfdSocket:
    """Sends a pidfd to who listens on a Unix socket, with the word that runc says."""

    def __init__(
        self, path: str | os.PathLike[str], container_id: str, failure: type[StepError], *, word: bytes
    ) -> None:
        """Connect; `failure` is the kind of error where nobody listens."""
        import _socket  # noqa: PLC0415  (not for those without one)

        self._path = os.fsdecode(path)
        self._id = container_id
        self._failure = failure
        self._word = word
        self._socket: _socket.socket = _socket.socket(
            _socket.AF_UNIX, _socket.SOCK_STREAM | getattr(_socket, "SOCK_CLOEXEC", 0)
        )
        try:
            self._socket.settimeout(_PATIENCE)
            self._socket.connect(self._path)
        except OSError as error:
            self._socket.close()
            raise self._failed(error, "somebody has to listen there before") from error

    def tell(self, pid: int, pidfd: Callable[[], int | None]) -> None:
        """Send it. Raises CreateError, or StartError."""
        import _socket  # noqa: PLC0415  (it is there by now)
        import sys  # noqa: PLC0415  (goes with it)

        descriptor = pidfd()
        if descriptor is None:
            raise self._failed(OSError(ENOSYS, f"process {pid} has no pidfd"), "it has ended, or there is no kernel")
        right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder))
        try:
            self._socket.sendmsg([self._word], [right])
        except OSError as error:
            raise self._failed(error, "who listened there is gone") from error
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _failed(self, error: OSError, hint: str) -> StepError:
        return self._failure(
            f"pidfd socket {self._path}: {(error.strerror or str(error)).lower()}",
            container_id=self._id,
            step="pidfd_socket",
            subject=self._path,
            errno=error.errno or 0,
            hint=hint,
        )


class Listeners:
    """All who are told of one process, and closed after. As a context manager it closes on leaving."""

    def __init__(
        self,
        pid_file: str | os.PathLike[str] | None,
        pidfd_socket: str | os.PathLike[str] | None,
        container_id: str,
        failure: type[StepError],
        *,
        word: bytes,
    ) -> None:
        """Raises CreateError, or StartError, where nobody listens."""
        self._all: list[PidFile | PidfdSocket] = []
        if pidfd_socket is not None:
            self._all.append(PidfdSocket(pidfd_socket, container_id, failure, word=word))
        if pid_file is not None:  # last: who waits for it finds the rest done
            self._all.append(PidFile(pid_file, container_id, failure))

    def __enter__(self) -> Listeners:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._all:
            one.close()

    def tell(self, pid: int, pidfd: Callable[[], int | None]) -> None:
        """Tell all; `pidfd` makes a descriptor, which who asks for it closes. Raises CreateError, or StartError."""
        for one in self._all:
            one.tell(pid, pidfd)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
