"""A container of the memory backend, watched."""

from __future__ import annotations

from libcontainer_py.backends.base import Happening, Kind
from libcontainer_py.backends.changes import Seen, changes
from libcontainer_py.backends.memory.clock import FOREVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from libcontainer_py.backends.memory.host import MemoryHost
    from libcontainer_py.lifecycle import Facts
    from libcontainer_py.record import Record

LEVELS = ("low", "medium", "critical")


class MemoryWatch:
    """A `Watch` that looks when somebody asks, or waits on the clock: as on Linux, what was undone is not seen.

    Its descriptor is a socket, made by the first who asks for it, so that it can be waited for on every system.
    """

    kinds: frozenset[str] = frozenset(
        {Kind.STARTED, Kind.PAUSED, Kind.RESUMED, Kind.OOM, Kind.OOM_KILL, Kind.PRESSURE, Kind.EXITED}
    )

    def __init__(self, host: MemoryHost, record: Record, observe: Callable[[], Facts]) -> None:
        self._host = host
        self._record = record
        self._observe = observe
        self._pending: list[Happening] = []
        self._sockets: tuple[socket, socket] | None = None
        self._is_marked = False
        self._level = ""
        with host.clock.changed:
            self._seen = Seen(alive=True, created=True, frozen=False)
            self._seen = self._look()
            if not self._seen.alive:
                self._pending.append(Happening(Kind.EXITED))
            host.watches.append(self)
            host.clock.listeners.append(self._notice)

    def _look(self) -> Seen:
        facts = self._observe()
        cgroups = [cgroup for path, cgroup in self._host.cgroups.items() if path in self._record.cgroup_paths.values()]
        # of a cgroup that is gone the last figures count
        ooms = max(self._seen.ooms, sum(cgroup.ooms for cgroup in cgroups))
        kills = max(self._seen.oom_kills, sum(cgroup.oom_kills for cgroup in cgroups))
        created = self._seen.created and facts.fifo_present
        if not facts.init_alive:
            process = self._host.processes.get(self._record.init)
            created = self._seen.created and (process is None or process.phase != "program")
        return Seen(facts.init_alive, created, facts.frozen, ooms, kills)

    def press(self, path: str, level: str) -> None:
        """Memory is short in that cgroup; the highest level until the next look counts."""
        if path in self._record.cgroup_paths.values():
            self._level = max(self._level, level, key=("", *LEVELS).index)

    def _notice(self) -> None:
        """Something changed somewhere; the clock's lock is held."""
        if self._sockets is not None and not self._is_marked and self._is_there():
            self._is_marked = True
            self._sockets[1].send(b"!")

    def _is_there(self) -> bool:
        return bool(self._pending or (self._seen.alive and (self._level or changes(self._seen, self._look()))))

    # -- Watch ----------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """A socket that is readable while there is something to take."""
        with self._host.clock.changed:
            if self._sockets is None:
                import socket  # noqa: PLC0415  (only for those who want a descriptor)

                self._sockets = socket.socketpair()
                self._notice()
            return self._sockets[0].fileno()

    def take(self, timeout: float | None) -> Happening | None:
        """The next of what happened; None: nothing within `timeout` seconds of the virtual clock."""
        clock = self._host.clock
        with clock.changed:
            deadline = FOREVER if timeout is None else clock.now() + timeout
            found = None
            if (self._pending or self._seen.alive) and clock.wait(self._is_there, deadline):
                if not self._pending:
                    self._catch_up()
                found = self._pending.pop(0)
            if self._is_marked and self._sockets is not None and not self._is_there():
                self._sockets[0].recv(1)
                self._is_marked = False
            return found

    def _catch_up(self) -> None:
        if self._level:
            self._pending.append(Happening(Kind.PRESSURE, level=self._level))
        now = self._look()
        self._pending += changes(self._seen, now)
        self._seen, self._level = now, ""

    def close(self) -> None:
        """Close the socket, where there is one. Silent when repeated."""
        with self._host.clock.changed:
            if self in self._host.watches:
                self._host.watches.remove(self)
                self._host.clock.listeners.remove(self._notice)
            for one in self._sockets or ():
                one.close()
            self._sockets = None
