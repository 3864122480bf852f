"""What the kernel tells of a cgroup by itself: descriptors to wait on, and what they mean. Loaded on first use.

What it tells, and by what:

    what        v1                                              v2
    freezer     inotify on freezer.state: who writes to it      cgroup.events, POLLPRI
    oom         eventfd of memory.oom_control                   memory.events, POLLPRI
    oom kill    nothing: see `_Victims`                         memory.events, POLLPRI
    pressure    eventfds of memory.pressure_level               memory.pressure, POLLPRI, where the kernel has PSI

What may not be watched, or is not there, is left out; `kinds` has the rest. Nothing is missed between two calls of
`take`: what happened several times comes once, with a number where the kernel counts. A kill never comes before the
lack of memory that it was for, but may come without: where memory ran out above this cgroup, or on v1 below it.

Source: cgroup-v1/memory.rst, 9 to 11; cgroup-v2.rst; accounting/psi.rst of Linux.
"""

from __future__ import annotations

import errno
import os
import select
from abc import ABC, abstractmethod
from typing import NamedTuple

from libcontainer_py.cgroups.base import OomCounts, oom_counts_in, processes_in
from libcontainer_py.cgroups.tree import read, write
from libcontainer_py.kernel import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from libcontainer_py.cgroups.base import Cgroup
    from libcontainer_py.cgroups.v1 import CgroupV1
    from libcontainer_py.cgroups.v2 import CgroupV2

FREEZER, OOM, OOM_KILL, PRESSURE = "freezer", "oom", "oom_kill", "pressure"
"""Words of `Notices.kinds`."""

LOW, MEDIUM, CRITICAL = LEVELS = ("low", "medium", "critical")
"""Levels of pressure, as memory.pressure_level has them."""
_WORDS = {"some": MEDIUM, "full": CRITICAL}
"""What v2 has of them: of the time that some, or all tasks waited for memory."""
_STALL = 200_000
_WINDOW = 2_000_000
"""Microseconds that tasks waited for memory, in so many: what systemd warns its services at.

The window is the shortest that the kernel grants without CAP_SYS_RESOURCE, and windows must be multiples of it.
"""
_MOST_VICTIMS = 128
"""pidfds at the same time: a process may have 1024 descriptors."""
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM})
"""Of descriptors, or of inotify's queues and watches: that is an error, and no matter of what is there and permitted.
"""


class Notice(NamedTuple):
    """What `Notices.take` found."""

    ooms: int = 0
    """How often memory ran out since the last time."""
    oom_kills: int = 0
    """How many were killed for it, in all."""
    level: str = ""
    """The highest pressure since the last time, a word of LEVELS; "" is none."""


class Notices(ABC):
    """Of one cgroup. The descriptors are registered in `poll`, which the caller waits on; he closes this first.

    What only inotify tells goes to `queue`, which is the caller's too; `take` does not read it.
    """

    def __init__(self, cgroup: Cgroup, poll: select.epoll) -> None:
        self._cgroup = cgroup
        self._poll = poll
        self._open: dict[int, str] = {}
        self._oom_kills = 0

    @property
    def oom_kills(self) -> int:
        """How many were killed in all, when it was last taken, or else made."""
        return self._oom_kills

    @property
    def kinds(self) -> frozenset[str]:
        """What can be told here."""
        return frozenset(kind for kind in self._open.values() if kind)

    def close(self) -> None:
        """Close all descriptors."""
        for descriptor in list(self._open):
            self._drop(descriptor)

    def take(self, ready: frozenset[int]) -> Notice:
        """What happened; `ready` has the descriptors that the poll reported, others may be among them."""
        return self._notice(ready, None)

    def finish(self, ready: frozenset[int], last: tuple[int, int] = (0, 0)) -> Notice:
        """As `take`, where no further notice is to come: all is counted that no notice came for.

        `last` are the `OomCounts` that somebody saw last, for when the cgroup is gone.
        """
        return self._notice(ready, OomCounts(*last))

    def _notice(self, ready: frozenset[int], last: OomCounts | None) -> Notice:
        ooms, kills = self._count(ready, last)
        self._oom_kills = max(self._oom_kills, kills)
        return Notice(ooms, self._oom_kills, self._pressure(ready))

    @abstractmethod
    def _count(self, ready: frozenset[int], last: OomCounts | None) -> OomCounts:
        """How often memory ran out since the last time; how many were killed for it, in all.

        With `last`, at the end, no less than that. Kills may be 0 where the cgroup is gone.
        """

    @abstractmethod
    def _pressure(self, ready: frozenset[int]) -> str:
        """The highest level since the last time."""

    def _add(self, descriptor: int, kind: str, mask: int = select.EPOLLIN if hasattr(select, "EPOLLIN") else 0) -> None:
        self._open[descriptor] = kind
        self._poll.register(descriptor, mask)

    def _drop(self, descriptor: int) -> None:
        if self._open.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)
            os.close(descriptor)

    def _of(self, kind: str) -> list[int]:
        return [descriptor for descriptor, other in self._open.items() if other == kind]


class NoticesV1(Notices):
    """Of a cgroup of v1."""

    def __init__(self, cgroup: CgroupV1, poll: select.epoll, queue: inotify.Queue) -> None:
        super().__init__(cgroup, poll)
        self._memory = cgroup.paths.get("memory", "")
        self._levels: dict[int, str] = {}
        self._signalled = 0
        self._victims = _Victims(poll, self._memory)
        self._has_freezer = False
        try:
            if "freezer" in cgroup.paths:
                self._has_freezer = _watch_file(queue, cgroup.paths["freezer"] + "/freezer.state")
            if self._memory:
                self._watch_memory()
        except BaseException:
            self.close()
            raise

    def _watch_memory(self) -> None:
        oom = self._ask("memory.oom_control")
        if oom is not None:
            self._add(oom, OOM)
            self._oom_kills = self._cgroup.oom_kills()
        for level in LEVELS:
            descriptor = self._ask("memory.pressure_level", level)
            if descriptor is not None:
                self._add(descriptor, PRESSURE)
                self._levels[descriptor] = level

    def _ask(self, file: str, argument: str = "") -> int | None:
        """An eventfd that the kernel signals; None where this file is not there, or not for us."""
        descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            control = os.open(f"{self._memory}/{file}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                write(self._memory + "/cgroup.event_control", f"{descriptor} {control} {argument}".rstrip())
            finally:
                os.close(control)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _SHORTAGE:
                raise
            return None
        return descriptor

    @property
    def kinds(self) -> frozenset[str]:
        """Who is told that memory ran out can also tell who was killed."""
        freezer = {FREEZER} if self._has_freezer else frozenset[str]()
        return super().kinds | freezer | ({OOM_KILL} if self._of(OOM) else frozenset[str]())

    def close(self) -> None:
        """Close all descriptors."""
        self._victims.close()
        super().close()

    def _count(self, ready: frozenset[int], last: OomCounts | None) -> OomCounts:
        kills = 0 if last is None else last.kills
        has_news = self._victims.died(ready) or last is not None
        # until a look at the signals that comes after the last count: a kill that was counted had its signal before
        while (signals := sum(map(_signals, self._of(OOM)))) or has_news:
            if signals:
                self._signalled += signals  # kept should the next lines fail
                self._victims.add()  # before the count is read: who is not in it now, dies later
            kills = max(kills, self._cgroup.oom_kills())
            has_news = False
        is_gone = self._signalled > 0 and self._is_gone()
        if is_gone and last is None and kills <= self._oom_kills:
            return OomCounts()  # the end will tell
        times, self._signalled = self._signalled, 0
        if is_gone:
            # it is also signalled when the cgroup is removed, but a little later: that one may not be among these
            times = max(times - 1, int(kills > self._oom_kills))
        if kills > self._oom_kills and kills - self._oom_kills >= times:
            self._victims.close()
        return OomCounts(times, kills)

    def _is_gone(self) -> bool:
        try:
            read(self._memory + "/memory.oom_control")
        except OSError:
            return True
        return False

    def _pressure(self, ready: frozenset[int]) -> str:
        found = {self._levels[descriptor] for descriptor in ready.intersection(self._levels) if _signals(descriptor)}
        if found and self._is_gone():
            return ""  # as with oom
        return max(found, key=LEVELS.index, default="")


class _Victims:
    """Who may be killed, once v1 said that memory ran out: v1 says so before the kill, and of the kill nothing.

    But the kernel counts a kill before it sends the signal. So after the end of any process that was there when memory
    ran out the count is right. With more than _MOST_VICTIMS processes it may come late: with the next notice, or when
    init ends. Source: oom_kill.c, __oom_kill_process.
    """

    def __init__(self, poll: select.epoll, directory: str) -> None:
        self._poll = poll
        self._directory = directory
        self._pids: dict[int, int] = {}

    def add(self) -> None:
        """Wait for the end of all that are there now."""
        known = set(self._pids.values())
        for pid in processes_in(self._directory):
            if pid <= 0 or pid in known:
                continue
            if len(self._pids) >= _MOST_VICTIMS:
                return
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:
                continue  # it has ended; or there are no descriptors left, and this is no reason to fail
            self._pids[descriptor] = pid
            self._poll.register(descriptor, select.EPOLLIN)

    def died(self, ready: Iterable[int]) -> bool:
        """Whether some of them have ended; those are forgotten."""
        dead = self._pids.keys() & set(ready)
        for descriptor in dead:
            self._drop(descriptor)
        return bool(dead)

    def close(self) -> None:
        """Wait for nobody any more."""
        for descriptor in list(self._pids):
            self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        del self._pids[descriptor]
        self._poll.unregister(descriptor)
        os.close(descriptor)


class NoticesV2(Notices):
    """Of a cgroup of v2."""

    def __init__(self, cgroup: CgroupV2, poll: select.epoll) -> None:
        super().__init__(cgroup, poll)
        self._path = cgroup.path
        self._ooms = 0
        self._stalls: dict[str, int] = {}
        self._levels: dict[int, str] = {}
        try:
            self._watch("cgroup.events", FREEZER)
            self._watch("memory.events", OOM)
            self._ooms, self._oom_kills = self._counters()
            for word, level in _WORDS.items():
                self._watch_pressure(word, level)
        except BaseException:
            self.close()
            raise

    def _watch(self, file: str, kind: str) -> None:
        try:
            descriptor = os.open(f"{self._path}/{file}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _SHORTAGE:
                raise
            return
        self._add(descriptor, kind, select.EPOLLPRI)
        self._text(descriptor)  # each read arms the next report

    def _watch_pressure(self, word: str, level: str) -> None:
        descriptor = -1
        try:
            descriptor = os.open(f"{self._path}/memory.pressure", os.O_RDWR | os.O_CLOEXEC)
            os.write(descriptor, f"{word} {_STALL} {_WINDOW}\0".encode())
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            if error.errno in _SHORTAGE:
                raise
            return  # EOPNOTSUPP: this kernel has it switched off; EPERM: before 6.5 it takes CAP_SYS_RESOURCE
        self._add(descriptor, PRESSURE, select.EPOLLPRI)
        self._levels[descriptor] = level
        self._stalls[level] = self._stalled().get(level, 0)

    @property
    def kinds(self) -> frozenset[str]:
        """memory.events counts both."""
        return super().kinds | ({OOM_KILL} if self._of(OOM) else frozenset[str]())

    def _text(self, descriptor: int) -> str:
        """What the file says now; "" where the cgroup is gone, and nobody waits for it any more then."""
        try:
            return os.pread(descriptor, 4096, 0).decode()
        except OSError:
            self._drop(descriptor)
            return ""

    def _counters(self) -> OomCounts:
        return next((oom_counts_in(self._text(descriptor)) for descriptor in self._of(OOM)), OomCounts())

    def _count(self, ready: frozenset[int], last: OomCounts | None) -> OomCounts:
        """Both from memory.events, whatever was reported: the kernel reports it at most every 10 ms.

        So init may have ended before its last report. Source: memcontrol.c, memcg_memory_event; cgroup.c,
        cgroup_file_notify.
        """
        for descriptor in ready.intersection(self._of(FREEZER)):
            self._text(descriptor)  # arms the next report
        ooms, kills = self._counters()
        if kills > self._oom_kills:
            ooms = max(ooms, self._counters().ooms)  # what it was for was counted before it, but also shown before it
        if last is not None:
            ooms, kills = max(ooms, last.ooms), max(kills, last.kills)
        before = self._ooms
        self._ooms = max(before, ooms)
        return OomCounts(self._ooms - before, kills)

    def _pressure(self, ready: frozenset[int]) -> str:
        """Reported, or to be seen from the figures.

        Whoever polls the epoll descriptor, as asyncio does, takes the kernel's report away before we come to see it.
        Source: psi.c, psi_trigger_poll.
        """
        if not self._levels:
            return ""
        told = {self._levels[descriptor] for descriptor in ready.intersection(self._levels)}
        now = self._stalled()
        if not now:  # the cgroup is gone, which the kernel reports again and again
            for descriptor in self._of(PRESSURE):
                self._drop(descriptor)
            self._levels.clear()
            return ""
        told |= {level for level, stall in now.items() if stall - self._stalls.get(level, stall) >= _STALL}
        self._stalls |= {level: stall for level, stall in now.items() if level in told}
        return max(told, key=LEVELS.index, default="")

    def _stalled(self) -> dict[str, int]:
        """Microseconds of waiting for memory in all, by level; {}: the cgroup is gone."""
        lines = next((self._text(descriptor) for descriptor in self._of(PRESSURE)), "").splitlines()
        # some avg10=0.00 avg60=0.00 avg300=0.00 total=77431
        return {_WORDS[line.partition(" ")[0]]: int(line.rpartition("total=")[2]) for line in lines}


def _watch_file(queue: inotify.Queue, path: str) -> bool:
    """Whether it may be watched."""
    try:
        queue.watch(path, inotify.IN_MODIFY)
    except OSError as error:
        if error.errno in _SHORTAGE:
            raise
        return False
    return True


def _signals(eventfd: int) -> int:
    """How often it was signalled since the last time."""
    try:
        return os.eventfd_read(eventfd)
    except BlockingIOError:
        return 0
