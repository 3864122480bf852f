"""Killing every process of a cgroup, also of one whose processes keep forking. Loaded on first use."""

from __future__ import annotations

import errno
import os
import select
import time
from signal import SIGKILL, pidfd_send_signal

from libcontainer_py.cgroups.base import failure, processes_in
from libcontainer_py.cgroups.tree import read, write
from libcontainer_py.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_AT_A_TIME = 128
"""pidfds that are open at the same time: a process may have 1024 descriptors."""


def kill_at_once(path: str) -> bool:
    """Have the kernel kill all of a v2 cgroup, those below it and what they fork. False: it cannot, or it is gone.

    Since Linux 5.14. EOPNOTSUPP: a threaded cgroup. Source: cgroup-v2.rst, cgroup.kill. An empty one is let be: whoever
    is cloned into a cgroup that it was ever written to, newer kernels kill (see `Cgroup.enter`).
    """
    try:
        if "populated 0\n" in read(path + "/cgroup.events"):
            return True
        write(path + "/cgroup.kill", "1")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return False
        raise failure(path, "its processes cannot be killed", error) from error
    return True


def kill_all(
    directories: Sequence[str],
    deadline: float,
    *,
    freeze: Callable[[], None] | None = None,
    thaw: Callable[[], None] | None = None,
) -> None:
    """Freeze, SIGKILL each process, thaw, wait for them; until all directories are empty.

    A process that was frozen could not fork between being listed and being killed. Raises CgroupError at `deadline` of
    time.monotonic(), or where what is left runs in another pid namespace, out of reach.
    """
    thawed = False
    for directory in directories:
        while True:
            pids = processes_in(directory)
            if not pids:
                break
            if pids == [0]:
                raise CgroupError(
                    directory,
                    "its processes belong to another pid namespace",
                    errno=errno.ESRCH,
                    hint="kill from there",
                )
            if time.monotonic() >= deadline:
                raise CgroupError(
                    directory, f"process {pids[-1]} does not die", errno=errno.EBUSY, hint="see its state in ps"
                )
            if freeze is not None:
                freeze()
            try:
                dying = _signal(directory)
            finally:
                if thaw is not None:
                    thaw()
                    thawed = True
            _await(dying, deadline)
    if thaw is not None and not thawed:
        thaw()


def signal_each(directory: str, signal: int) -> None:
    """Send a signal to every process of a directory and those below. Raises CgroupError."""
    try:
        for descriptor in _signal(directory, signal):
            os.close(descriptor)
    except OSError as error:
        raise failure(directory, f"its processes cannot be sent signal {signal}", error) from error


def _signal(directory: str, signal: int = SIGKILL) -> list[int]:
    """Send it to every process. Returns pidfds of the first of them, for `_await` to close."""
    dying: list[int] = []
    pids = [pid for pid in processes_in(directory) if pid > 0]
    for start in range(0, len(pids), _AT_A_TIME):
        opened: dict[int, int] = {}
        try:
            for pid in pids[start : start + _AT_A_TIME]:
                try:
                    opened[pid] = os.pidfd_open(pid)
                except ProcessLookupError:
                    pass
            # a pid that was reused before its pidfd was opened belongs to a process that is not in here
            for pid in opened.keys() & set(processes_in(directory)):
                try:
                    pidfd_send_signal(opened[pid], signal)
                except ProcessLookupError:
                    pass
        finally:
            if start == 0:
                dying = list(opened.values())
            else:
                for descriptor in opened.values():
                    os.close(descriptor)
    return dying


def _await(dying: list[int], deadline: float) -> None:
    """Wait a moment for processes to end; close their pidfds."""
    try:
        until = min(deadline, time.monotonic() + 0.1)
        for descriptor in dying:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                return
    finally:
        for descriptor in dying:
            os.close(descriptor)
