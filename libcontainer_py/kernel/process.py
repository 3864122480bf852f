"""Processes: pidfds, /proc/PID/stat, and waiting.

A process is a pidfd, or a pid with its start time where it comes from a file; never a bare pid.
"""

import os
import select
import sys

from libcontainer_py.kernel.constants import PIDFD_GET_INFO, PIDFD_INFO_EXIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Iterable
    from typing import NamedTuple

    class ProcStat(NamedTuple):
        """What /proc/PID/stat says."""

        pid: int
        comm: str
        state: str
        start: int

else:
    import _signal  # signal loads enum
    from collections import namedtuple

    ProcStat = namedtuple("ProcStat", ("pid", "comm", "state", "start"))
    ProcStat.__doc__ = "What /proc/PID/stat says. `start` counts clock ticks since boot (field 22). Source: proc(5)."


def stat(pid: "int | str") -> ProcStat:
    """Read /proc/PID/stat. Raises OSError (ENOENT, ESRCH: no such process)."""
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(descriptor, 4096).decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)
    # comm may hold spaces and parentheses: it ends at the last one
    before, _, after = text.rpartition(")")
    number, _, comm = before.partition("(")
    fields = after.split()
    return ProcStat(int(number), comm, fields[0], int(fields[19]))


def pidfd_open(pid: int, start: int) -> "int | None":
    """A pidfd of the process that started at `start` ticks; None where it is gone. The caller closes it."""
    if pid <= 0:
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError, OverflowError):
        return None
    except OSError as error:
        if error.errno == 22:  # EINVAL: the pid is a thread that leads no group
            return None
        raise
    try:
        if stat(pid).start == start:
            return descriptor
    except OSError as error:
        if error.errno not in (2, 3):
            os.close(descriptor)
            raise
    os.close(descriptor)
    return None


def pidfd_of_child(pid: int) -> "int | None":
    """A pidfd of a child that nobody has reaped yet; None where the host's SIGCHLD is ignored and it is gone."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def has_ended(pidfd: int, timeout: "float | None" = 0) -> bool:
    """Whether the process ended within `timeout` seconds (None: wait for it)."""
    return bool(first_ended((pidfd,), timeout))


def first_ended(pidfds: "Iterable[int]", timeout: "float | None") -> "list[int]":
    """Wait until one of these processes ended, `timeout` seconds at most (None: for ever): those that have.

    A leader that ended its main thread reads Z in /proc while other threads run; a pidfd becomes readable only when all
    have ended. Source: pidfd_open(2).
    """
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    return [pidfd for pidfd, _ in poll.poll(None if timeout is None else max(0, timeout) * 1000)]


def living(pid: int, start: int) -> "ProcStat | None":
    """What /proc says of that very process; None: it has ended."""
    try:
        found = stat(pid) if pid > 0 else None
    except OSError as error:
        if error.errno not in (2, 3):
            raise
        return None
    if found is None or found.start != start:
        return None
    return found if found.state not in "ZX" or _others_run(pid, start) else None


def exit_code(pidfd: int) -> "int | None":
    """How a process ended that somebody else has reaped: its exit code or negative signal; None: not to be learned.

    Since Linux 6.15, and not by its parent alone. Source: linux/pidfd.h, PIDFD_INFO_EXIT.
    """
    import fcntl  # noqa: PLC0415  (not there on other systems, and rarely needed)

    info = bytearray(PIDFD_INFO_EXIT.to_bytes(8, sys.byteorder) + bytes(56))
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not int.from_bytes(info[:8], sys.byteorder) & PIDFD_INFO_EXIT:
        return None
    return os.waitstatus_to_exitcode(int.from_bytes(info[60:64], sys.byteorder, signed=True))


def alive(pid: int, start: int) -> bool:
    """Whether that very process has not ended."""
    return living(pid, start) is not None


def _others_run(pid: int, start: int) -> bool:
    """Whether a process whose main thread ended has not ended itself."""
    descriptor = pidfd_open(pid, start)
    if descriptor is None:
        return False
    try:
        return not has_ended(descriptor)
    finally:
        os.close(descriptor)


def send_signal(pid: int, start: int, signal: int) -> bool:
    """Send a signal to that very process; False where it is gone. Raises OSError (EPERM, EINVAL)."""
    descriptor = pidfd_open(pid, start)
    if descriptor is None:
        return False
    try:
        pidfd_send_signal(descriptor, signal)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """pidfd_send_signal(2)."""
    _signal.pidfd_send_signal(pidfd, signal)


_boot_id: "list[str]" = []


def boot_id() -> str:
    """The random id of this boot of the kernel, read once. Source: random(4)."""
    if not _boot_id:
        with open("/proc/sys/kernel/random/boot_id") as file:
            _boot_id.append(file.read().strip())
    return _boot_id[0]


def namespace_inode(name: str, pid: "int | str" = "thread-self") -> int:
    """st_ino of a namespace, by its name under /proc/PID/ns, which is a link such as `uts:[4026531838]`."""
    return int(os.readlink(f"/proc/{pid}/ns/{name}").partition("[")[2][:-1])  # half as long as stat(2)


def in_user_namespace() -> bool:
    """Whether this thread is in a user namespace other than the first. Source: linux/nsfs.h, USER_NS_INIT_INO."""
    return namespace_inode("user") != 0xEFFFFFFD
