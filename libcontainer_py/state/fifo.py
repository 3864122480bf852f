"""exec.fifo: who starts a container, and why its program did not run.

Init opens the fifo for writing and blocks there. Whoever reads the `0` that it writes has started the container; runc
plays by the same rule, without our lock. Facts of the kernel that this module stands on:

* Before a writer came, read gives a false end of file: so nothing is read that poll did not report.
* Unlinking wakes nobody: so the link count is looked at after each slice of 20 ms.
* poll says nothing of a fifo that never had a writer.
* A reader that blocks in open is freed by anybody who opens the fifo for writing, by way of /proc where it is unlinked.

After its `0` our init keeps the writing end open until execve: end of file says that the program runs, a record of
`init.messages.pack_failure` says why it does not. runc's init writes no record.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from libcontainer_py.init.messages import WAITING_NAME, unpack_failure
from libcontainer_py.kernel import process
from libcontainer_py.record import Failure
from libcontainer_py.state.atomic import Opened
from libcontainer_py.waiting import Wait, carry_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py.record import Init
    from libcontainer_py.waiting import Steps

NAME = "exec.fifo"
WAITING_NAMES = ("runc:[2:INIT]", WAITING_NAME)
"""What /proc/PID/comm says of an init that waits at the fifo: runc's, ours. execve gives the program's name."""

_SLICE = 0.02
"""How often the link count and the rest are looked at, seconds."""
_PIPE_BUF = 4096


def make(directory: int, owner: tuple[int, int]) -> None:
    """Make exec.fifo, 0622 whatever the umask, for the user and group that init has on the host. Raises OSError."""
    os.mkfifo(NAME, 0o622, dir_fd=directory)
    try:
        os.chown(NAME, *owner, dir_fd=directory, follow_symlinks=False)
        os.chmod(NAME, 0o622, dir_fd=directory)  # noqa: S103  (runc's mode; the directory keeps strangers out)
    except BaseException:
        os.unlink(NAME, dir_fd=directory)
        raise


def has_reader(directory: int) -> bool:
    """Whether somebody has exec.fifo open for reading, or waits to open it; who waits reads an end of file then.

    For a fifo that init has left. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.close(os.open(NAME, flags, dir_fd=directory))
    except OSError as error:
        if error.errno == errno.ENXIO:  # what opening a fifo for writing says where nobody reads
            return False
        raise
    return True


class Fifo:
    """exec.fifo, opened for reading without blocking.

    `frozen` says whether init's cgroup is frozen; it is asked once a slice, from the second on. Deadlines are of
    `time.monotonic()`.
    """

    __slots__ = ("_descriptor", "_frozen", "_read")

    def __init__(self, descriptor: int, *, frozen: Callable[[], bool]) -> None:
        self._descriptor = descriptor
        self._frozen = frozen
        self._read = b""

    @classmethod
    def open(cls, directory: int, *, frozen: Callable[[], bool]) -> Fifo | None:
        """Open it; None: it is gone, so somebody else has started the container. Raises OSError."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(NAME, flags, dir_fd=directory)
        except FileNotFoundError:
            return None
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileExistsError(17, "is not a fifo", NAME)
        return cls(descriptor, frozen=frozen)

    def take(self, init: Init, *, deadline: float) -> str:
        """Wait for init's `0`. Returns won, lost, stale, stopped, paused or timeout (words of backends.base.Taken)."""
        return carry_out(self.taking(init, deadline=deadline))

    def taking(self, init: Init, *, deadline: float) -> Steps[str]:
        """The steps of `take`."""
        pidfd = process.pidfd_open(init.pid, init.start)
        if pidfd is None:
            # what init wrote before it ended is still there
            return self._verdict(None) if self._readable() else "stopped"
        with Opened(pidfd):
            first = True
            while True:
                left = max(0.0, deadline - time.monotonic())
                yield self._wait(pidfd, min(_SLICE, left))
                if self._readable():
                    return self._verdict(pidfd)
                if os.fstat(self._descriptor).st_nlink == 0:
                    return "lost"
                if process.has_ended(pidfd):
                    # it may have written and ended since we looked
                    return self._verdict(pidfd) if self._readable() else "stopped"
                if _has_left(init):
                    # init writes its `0` before it leaves: it is there by now, or another reader had it
                    return self._verdict(pidfd) if self._readable() else "stale"
                if not first and self._frozen():
                    return "paused"
                if left == 0:
                    # Init leaves when it could write, read or not: should it be about to, the program would run while
                    # we say that it did not start.
                    yield self._wait(pidfd, _SLICE)
                    return self._verdict(pidfd) if self._readable() else "timeout"
                first = False

    def unblock(self) -> None:
        """Free the readers that block in opening the fifo, which is unlinked: runc's. Raises OSError."""
        os.close(os.open(f"/proc/self/fd/{self._descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))

    def outcome(self, init: Init, *, deadline: float) -> Failure | None:
        """After `won`: wait until the program runs (None) or init says why it could not. Raises TimeoutError.

        None too where init was killed in between, or where what came is no record; the wait status tells then.
        """
        return carry_out(self.finding_out(init, deadline=deadline))

    def finding_out(self, init: Init, *, deadline: float) -> Steps[Failure | None]:
        """The steps of `outcome`."""
        pidfd = process.pidfd_open(init.pid, init.start)
        try:
            while True:
                failure = unpack_failure(self._read)
                if failure is not None:
                    return Failure(*failure)
                ended = pidfd is None or process.has_ended(pidfd)
                if self._readable():
                    try:
                        piece = os.read(self._descriptor, _PIPE_BUF - len(self._read))
                    except BlockingIOError:
                        continue  # another reader was faster
                    if not piece:
                        return None
                    self._read += piece
                elif ended:
                    return None  # somebody else holds the fifo open for writing
                else:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise TimeoutError("init has not executed the program")
                    yield self._wait(pidfd, min(left, 60.0))
        finally:
            if pidfd is not None:
                os.close(pidfd)

    def close(self) -> None:
        """Close it; silent where it is closed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _wait(self, pidfd: int | None, timeout: float) -> Wait:
        descriptors = (self._descriptor,) if pidfd is None else (self._descriptor, pidfd)
        return Wait(descriptors, until=time.monotonic() + timeout)

    def _readable(self) -> bool:
        """Whether there is something to read, or a writer came and went."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def _verdict(self, pidfd: int | None) -> str:
        """Read what poll reported: who got the `0`?"""
        try:
            data = os.read(self._descriptor, _PIPE_BUF)
        except BlockingIOError:
            data = b""  # another reader was faster
        if data[:1] == b"0":
            self._read = data[1:]  # a record may have come along
            return "won"
        if data or os.fstat(self._descriptor).st_nlink == 0:
            return "lost"
        # end of file: init gave its `0` to another reader, or was killed between open and write. The kernel closes a
        # dying process's files a moment before its pidfd reports.
        return "stopped" if pidfd is None or process.has_ended(pidfd, _SLICE) else "lost"


def _has_left(init: Init) -> bool:
    try:
        now = process.stat(init.pid)
    except OSError:
        return False  # ended: its pidfd reports
    return now.start == init.start and now.comm not in WAITING_NAMES
