"""A container of this kernel, watched by descriptors: none of them is asked before it has something to say."""

from __future__ import annotations

import os
import select
import time

from libcontainer_py import cgroups
from libcontainer_py.backends.base import Happening, Kind
from libcontainer_py.backends.changes import Seen, changes
from libcontainer_py.errors import ContainerError
from libcontainer_py.kernel import inotify, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py.cgroups.notices import Notices
    from libcontainer_py.lifecycle import Facts
    from libcontainer_py.record import Record

_FIFO = "exec.fifo"
_OF_CGROUP = {
    "freezer": (Kind.PAUSED, Kind.RESUMED),
    "oom": (Kind.OOM,),
    "oom_kill": (Kind.OOM_KILL,),
    "pressure": (Kind.PRESSURE,),
}
"""What can happen, by the words of `Notices.kinds`."""


class LinuxWatch:
    """A `Watch` over one epoll descriptor: init's pidfd, exec.fifo by inotify, and what its cgroup says.

    `observe` tells the facts of the container as they are now, `is_waiting` whether a process, also a dead one, has
    never left exec.fifo; `oom_counts` what this process saw last of the cgroup's `OomCounts`, before it removed it.
    """

    def __init__(
        self,
        record: Record,
        observe: Callable[[], Facts],
        is_waiting: Callable[[], bool],
        oom_counts: Callable[[], tuple[int, int]],
    ) -> None:
        self._record = record
        self._observe = observe
        self._is_waiting = is_waiting
        self._oom_counts = oom_counts
        self._queue = inotify.Queue()
        self._directory = 0
        self._pidfd = -1
        self._told = -1
        self._notices: Notices | None = None
        self._removed = self._unlinked = False
        self._pending: list[Happening] = []
        self._is_marked = self._is_queued = False
        try:
            self._poll = select.epoll()
        except OSError as error:
            raise self._failure(error) from error
        try:
            self._told = self._open(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
            self._begin()
        except OSError as error:
            self.close()
            raise self._failure(error) from error
        except BaseException:
            self.close()
            raise

    def _failure(self, error: OSError) -> ContainerError:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return ContainerError(
            f"container {self._record.id!r} cannot be watched: {what}",
            hint="raise fs.inotify.max_user_instances, or ulimit -n; or watch fewer containers at a time",
        )

    def _begin(self) -> None:
        pidfd = process.pidfd_open(*self._record.init)
        if pidfd is None or process.has_ended(pidfd):
            if pidfd is not None:
                os.close(pidfd)
            self._seen = Seen(alive=False, created=False, frozen=False)
            self._tell([Happening(Kind.EXITED)])
            return
        self._pidfd = self._open(pidfd)
        # first all watches, then a look: what happens from that look on is reported
        if self._observe().fifo_present:
            self._watch_directory()
        if self._record.cgroup_paths:
            self._notices = cgroups.from_paths(self._record.cgroup_paths).notices(self._poll, self._queue)
        if self._queue.descriptor >= 0:
            self._open(self._queue.descriptor)
            self._is_queued = True
        facts = self._observe()
        kills = self._notices.oom_kills if self._notices is not None else 0
        self._seen = Seen(alive=True, created=facts.fifo_present, frozen=facts.frozen, oom_kills=kills)

    def _open(self, descriptor: int) -> int:
        self._poll.register(descriptor, select.EPOLLIN)
        return descriptor

    def _watch_directory(self) -> None:
        """The directory of exec.fifo: since Linux 6.14 no fifo reports what is done with it."""
        try:
            self._directory = self._queue.watch(self._record.directory, inotify.IN_DELETE | inotify.IN_MOVE_SELF)
        except FileNotFoundError:
            pass  # it was deleted: so init is dead, or about to be

    # -- Watch ----------------------------------------------------------------------------------------------------

    @property
    def kinds(self) -> frozenset[str]:
        """What can be told here, from its beginning on."""
        told = {Kind.STARTED, Kind.EXITED}
        if self._notices is not None:
            told.update(kind for word in self._notices.kinds for kind in _OF_CGROUP[word])
        return frozenset(told)

    def fileno(self) -> int:
        """The epoll descriptor: readable while there is something to take."""
        return self._poll.fileno()

    def take(self, timeout: float | None) -> Happening | None:
        """The next of what happened; None: nothing within `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._pending:
            if not self._seen.alive:
                return None
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = frozenset(descriptor for descriptor, _ in self._poll.poll(left))
            self._look(ready)
            if not self._pending and left == 0.0:
                return None
        happening = self._pending.pop(0)
        self._mark()
        return happening

    def close(self) -> None:
        """Close all descriptors. Silent when repeated."""
        self._forget_init()
        self._queue.close()
        if self._told >= 0:
            os.close(self._told)
            self._told = -1
        self._poll.close()

    def _forget_init(self) -> None:
        """Nothing more is to come. The queue stays open: closing it would hold up the last event."""
        if self._notices is not None:
            self._notices.close()
        if self._pidfd >= 0:
            self._poll.unregister(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._is_queued:
            self._poll.unregister(self._queue.descriptor)
            self._is_queued = False

    # -- looking --------------------------------------------------------------------------------------------------

    def _look(self, ready: frozenset[int]) -> None:
        if not self._seen.alive:
            return
        # the figures first: where systemd made the cgroup, it removes it as soon as init has ended
        notice = None if self._notices is None else self._notices.take(ready)
        if self._queue.descriptor in ready:
            self._read_queue()
        facts = self._observe()
        created = facts.fifo_present if facts.init_alive else self._ended_at_fifo()
        ooms, oom_kills, level = self._seen.ooms, self._seen.oom_kills, ""
        if self._notices is not None and notice is not None:
            ooms, oom_kills, level = ooms + notice.ooms, notice.oom_kills, notice.level
            if not facts.init_alive:
                # once more, so that of one that ended all is counted
                last = self._notices.finish(frozenset(), self._oom_counts())
                ooms, oom_kills = ooms + last.ooms, last.oom_kills
        now = Seen(facts.init_alive, self._seen.created and created, facts.frozen, ooms, oom_kills)
        found = changes(self._seen, now)
        if level:
            found.insert(0, Happening(Kind.PRESSURE, level=level))
        self._seen = now
        if not now.alive:
            self._forget_init()
        self._tell(found)

    def _read_queue(self) -> None:
        for watch, mask, name in self._queue.read():
            if watch != self._directory:
                continue  # a file of the cgroup: looking is enough
            if mask & inotify.IN_MOVE_SELF:
                self._removed = True  # as we remove a container: what is unlinked from now on is no start
            elif name == _FIFO and not self._removed:
                self._unlinked = True

    def _ended_at_fifo(self) -> bool:
        """Whether an init that ended did so without having been let go. While it is a zombie its name tells."""
        if self._queue.descriptor >= 0:
            self._read_queue()  # it may have been let go after we looked there
        return not self._unlinked or self._is_waiting()

    def _tell(self, found: list[Happening]) -> None:
        self._pending += found
        self._mark()

    def _mark(self) -> None:
        """Keep our descriptor readable as long as something is pending."""
        if bool(self._pending) is self._is_marked:
            return
        self._is_marked = not self._is_marked
        if self._is_marked:
            os.eventfd_write(self._told, 1)
        else:
            os.eventfd_read(self._told)
