"""The children that this process has by its fork servers: the inits of its containers.

The table of them is one of the two things that the library keeps globally: the kernel tells a child's exit status once,
and every handle in the process shall learn it. A process that was forked has none of its parent's.
"""

from __future__ import annotations

import _socket
import os
from _thread import RLock, allocate_lock  # threading loads more than it adds

from libcontainer_py.init import messages
from libcontainer_py.kernel import process

_SIGKILL = 9


class Child:
    """A process of ours: made by the fork server with us as its parent. Its exit status is asked for once."""

    __slots__ = (
        "_asked",
        "_guard",
        "container",
        "control",
        "cpu_seconds",
        "killed",
        "namespaces",
        "oom_counts",
        "peak_memory",
        "pid",
        "pidfd",
        "returncode",
        "start",
    )

    def __init__(self, pid: int, pidfd: int, start: int) -> None:
        self.container: tuple[int, int] | None = None
        """Pid and start of the init of the container that it joined; None: it is an init."""
        self._asked = False
        self.pid: int = pid
        self.pidfd: int = pidfd
        self.start: int = start
        self.returncode: int | None = None
        self.namespaces: dict[str, int] = {}
        """Descriptors of its namespaces, by their names under /proc/PID/ns, where it has handed them over."""
        self.killed: bool = False
        """Whether we sent it SIGKILL while it ran."""
        self.oom_counts: tuple[int, int] = (0, 0)
        """Of an init: what its cgroup had counted (an `OomCounts`), as far as was seen before that was gone."""
        self.cpu_seconds: float = 0.0
        """Of it, and of those of its children that it waited for."""
        self.peak_memory: int = 0
        """Bytes, of the largest of these processes."""
        self.control: _socket.socket | None = None
        """Where a reaper says how its command ended; it ends with 128 + n itself."""
        self._guard = allocate_lock()

    def reap(self) -> int | None:
        """The returncode of a child that ended.

        None where somebody else took it, as where the host ignores SIGCHLD, and the kernel is older than 6.15.
        """
        with self._guard:
            self._wait()
            if self.pidfd >= 0:
                os.close(self.pidfd)
                self.pidfd = -1
                self.forget_namespaces()
                self._ask()
            return self.returncode

    def forget_namespaces(self) -> None:
        """Close what it handed over."""
        while self.namespaces:
            os.close(self.namespaces.popitem()[1])

    def duplicates(self) -> dict[str, int]:
        """Others of its namespaces, which the caller closes; {}: it handed none over, or was reaped."""
        with self._guard:
            return {name: os.dup(descriptor) for name, descriptor in self.namespaces.items()}

    def watch(self) -> int | None:
        """Another pidfd of it, which the caller closes; None: it was reaped."""
        with self._guard:
            return None if self.pidfd < 0 else os.dup(self.pidfd)

    def collect(self) -> None:
        """Take it from the kernel, which has ended it, and leave the rest to whoever has a handle of it."""
        with self._guard:
            self._wait()

    def _wait(self) -> None:
        if self._asked or self.pidfd < 0:
            return
        from libcontainer_py.kernel import libc  # noqa: PLC0415  (ctypes, which who has children has loaded)

        try:
            self.returncode, self.cpu_seconds, self.peak_memory = libc.waitid(self.pidfd)
        except ChildProcessError:
            self.returncode = process.exit_code(self.pidfd)
        self._asked = True

    def __del__(self) -> None:
        # of a handle that nobody has asked and nobody has any more
        if getattr(self, "pidfd", -1) >= 0:
            os.close(self.pidfd)
            self.forget_namespaces()

    def signal(self, signal: int) -> None:
        """Send it a signal; silent where it has ended."""
        with self._guard:
            if self.pidfd >= 0:
                try:
                    alive = not process.has_ended(self.pidfd)
                    process.pidfd_send_signal(self.pidfd, signal)
                    self.killed |= alive and signal == _SIGKILL
                except ProcessLookupError:
                    pass  # it ended, and is not reaped yet

    def _ask(self) -> None:
        if self.control is None:
            return
        try:
            said = self.control.recv(64, _socket.MSG_DONTWAIT)
        except OSError:
            said = b""
        self.control.close()
        self.control = None
        end = messages.unpack_end(said[1:]) if said.startswith(messages.EXITED) else None
        if end is not None:
            self.returncode, own_cpu, self.peak_memory = end
            self.cpu_seconds = max(0.0, self.cpu_seconds - own_cpu)


_guard = RLock()
_children: dict[tuple[int, int], Child] = {}
_MOST_REMEMBERED = 1024
"""Children that were reaped and are kept for handles that ask late: at most twice as many."""


def adopt(pid: int, pidfd: int) -> Child:
    """Enter a new child into the table; the pidfd is its own from now on."""
    one = Child(pid, pidfd, _start_of(pid, pidfd))
    with _guard:
        if len(_children) >= 2 * _MOST_REMEMBERED:
            reaped = [key for key, other in _children.items() if other.pidfd < 0]
            for key in reaped[:-_MOST_REMEMBERED]:
                del _children[key]
        _children[pid, one.start] = one
    return one


def _start_of(pid: int, pidfd: int) -> int:
    """When it started; 0, which no process has, where it ended and was reaped, as where SIGCHLD is ignored."""
    try:
        start = process.stat(pid).start
    except OSError:
        return 0
    try:
        process.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return 0  # that was the start of another, which has its pid
    except PermissionError:
        pass  # it is there, and another user's already
    return start


def child(pid: int, start: int) -> Child | None:
    """The child of that pid and start time, where this process made it."""
    with _guard:
        return _children.get((pid, start))


def joined(container: tuple[int, int]) -> list[Child]:
    """The children that joined the container of that init, by its pid and start, and were not waited for."""
    with _guard:
        return [one for one in _children.values() if one.container == container]


def drop(one: Child) -> None:
    """Leave a child to its handles: it was waited for."""
    with _guard:
        _children.pop((one.pid, one.start), None)


def forget(pid: int, start: int) -> None:
    """Drop a child that was reaped and whose container is gone."""
    with _guard:
        found = _children.get((pid, start))
        if found is not None and found.pidfd < 0:
            del _children[pid, start]


def reap(pidfd: int) -> None:
    """Wait for a child that nobody asks about, and close its pidfd."""
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        pass  # the host reaps everything, or ignores SIGCHLD
    os.close(pidfd)


def _after_fork() -> None:
    """In a forked child: the children are its parent's."""
    global _guard
    _guard = RLock()
    for one in _children.values():
        if one.pidfd >= 0:
            os.close(one.pidfd)
            one.pidfd = -1
            one.forget_namespaces()
        if one.control is not None:
            one.control.close()
    _children.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
