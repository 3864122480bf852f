"""Small files that are replaced at once and read within bounds, by the descriptor of their directory."""

from __future__ import annotations

import errno
import os
import stat

from libcontainer_py.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

LIMIT = 16 << 20
"""The largest file that is read, bytes. A state.json has 4 to 40 KiB."""


class Opened:
    """Owns a descriptor: `with Opened(os.open(...)) as descriptor`."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def replace(directory: int, name: str, data: bytes) -> None:
    """Write a file, 0600: whoever reads it sees all of the old content or all of the new. Raises OSError.

    The temporary is named as runc names its own (`state-*`). There is no fsync: after kill -9 the page cache is still
    there, and after a power cut no container is; a root on a disk may then keep an empty file, which sweep removes.
    """
    temporary = f"{name.partition('.')[0]}-{os.urandom(6).hex()}"
    write(directory, temporary, data)
    try:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        try:
            os.unlink(temporary, dir_fd=directory)
        except FileNotFoundError:
            pass  # renamed, and interrupted after
        raise


def write(directory: int, name: str, data: bytes) -> None:
    """Write a new file, 0600 whatever the umask; after an error it is not there. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with Opened(os.open(name, flags, 0o600, dir_fd=directory)) as descriptor:
        try:
            os.fchmod(descriptor, 0o600)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except BaseException:
            os.unlink(name, dir_fd=directory)
            raise


def read(directory: int, name: str, path: str) -> bytes:
    """All of a regular file; `path` is its name in errors. Raises StateError where it is none or too large, OSError."""
    # O_NONBLOCK: should a fifo stand there, opening it must not hang
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:  # O_NOFOLLOW refuses a symlink so
            raise StateError(path, "is a symlink, not a file") from error
        raise
    with Opened(descriptor):
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StateError(path, "is not a file")
        if status.st_size > LIMIT:
            raise StateError(path, f"is too large: {status.st_size} bytes, {LIMIT} at most")
        found = os.read(descriptor, status.st_size + 1)
        if len(found) == status.st_size:
            return found  # a regular file gives all that there is
        pieces = [found]
        left = LIMIT - len(found)
        while left > 0 and (piece := os.read(descriptor, min(left, status.st_size + 1))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
