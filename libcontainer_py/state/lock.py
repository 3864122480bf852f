"""The lock of a container: one byte of the file `,lock` in the root.

An open file description lock, at the slot of the id, through an open of its own: so it excludes other processes, other
threads, and holds while other descriptors of the file are closed. The file is never unlinked, so all lock the same one.
A lock ends with its holder, however that dies. Source: fcntl_locking(2), Open file description locks.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time

from libcontainer_py.errors import ContainerTimeout, StateError
from libcontainer_py.state.names import LOCK
from libcontainer_py.state.root import unusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.02


class Lock:
    """Excludes everybody else from one slot, inside `with`. Its `__exit__` does nothing where it was not taken.

    `open_root` gives a descriptor of the root, which the lock closes. `timeout` in seconds; None waits without limit.
    """

    __slots__ = ("_descriptor", "_open_root", "_process", "_root", "_slot", "_timeout", "_what")

    def __init__(self, root: str, open_root: Callable[[], int], slot: int, *, what: str, timeout: float | None) -> None:
        self._root = root
        self._open_root = open_root
        self._slot = slot
        self._what = what
        self._timeout = timeout
        self._descriptor = -1
        self._process = 0

    def __enter__(self) -> None:
        """Take it. Raises ContainerTimeout, StateError."""
        root = self._open_root()
        try:
            descriptor = _open(root)
        except OSError as error:
            raise unusable(os.path.join(self._root, LOCK), error) from error
        finally:
            os.close(root)
        try:
            self._process = os.getpid()
            self._descriptor = descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StateError(os.path.join(self._root, LOCK), "is not a file", hint="remove it")
            self._wait(descriptor)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _wait(self, descriptor: int) -> None:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        pause = _FIRST_PAUSE
        while not _take(descriptor, self._slot):
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ContainerTimeout(
                        f"another process or thread works on {self._what}",
                        timeout=self._timeout,
                        hint="try again when its create, start or delete is done; to find it: "
                        f"grep -l 'OFDLCK .* {self._slot} {self._slot}$' /proc/[0-9]*/fdinfo/*",
                    )
                pause = min(pause, left)
            # The kernel has no timed wait for a lock: F_OFD_SETLKW ends by a signal alone, and signals and timers are
            # the host's. So this is the one place that sleeps.
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        descriptor = self._descriptor
        if descriptor < 0:
            return
        try:
            # A child that was forked meanwhile shares the lock: it must neither keep nor release its parent's.
            if self._process == os.getpid():
                _set(descriptor=descriptor, slot=self._slot, release=True)
        finally:
            self._descriptor = -1
            os.close(descriptor)


def _open(root: int) -> int:
    # O_NONBLOCK: should a fifo stand there, opening it must not hang
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(LOCK, flags, dir_fd=root)
    except FileNotFoundError:
        descriptor = os.open(LOCK, flags | os.O_CREAT, 0o600, dir_fd=root)
        os.fchmod(descriptor, 0o600)  # whatever the umask
        return descriptor


def _take(descriptor: int, slot: int) -> bool:
    try:
        _set(descriptor=descriptor, slot=slot, release=False)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _set(*, descriptor: int, slot: int, release: bool) -> None:
    import fcntl  # noqa: PLC0415  (not there on Windows, where this module must still import)

    # struct flock: type, whence, start, length, pid (0 for these locks), with the padding of the C compiler
    kind = fcntl.F_UNLCK if release else fcntl.F_WRLCK
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", kind, os.SEEK_SET, slot, 1, 0))
