"""State directories in memory: dictionaries, locks on the virtual clock, and a fifo that behaves as fifo(7) says."""

from __future__ import annotations

from contextlib import contextmanager

from libcontainer_py.backends.base import Failure, Taken
from libcontainer_py.backends.memory.clock import FOREVER
from libcontainer_py.errors import ContainerExists, ContainerNotFound, ContainerTimeout, InvalidId, StateError
from libcontainer_py.waiting import Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from libcontainer_py.backends.memory.host import MemoryHost
    from libcontainer_py.record import Init, Intent, Record, Swept
    from libcontainer_py.waiting import Steps

_SLICE = 0.02
ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-")


class MemoryFifo:
    """exec.fifo: who has it open for reading, and what stands in it."""

    __slots__ = ("failure", "gates", "linked", "owner", "zero")

    def __init__(self, owner: tuple[int, int]) -> None:
        self.owner: tuple[int, int] = owner
        self.linked: bool = True
        self.gates: list[MemoryGate] = []
        self.zero: bool = False
        """Init wrote its `0`, and nobody has read it yet."""
        self.failure: Failure | None = None


class MemoryDirectory:
    """One state directory. `foreign` says that another runtime's files are in it."""

    __slots__ = ("changed", "draft", "fifo", "foreign", "intent", "made", "record", "torn")

    def __init__(self, *, changed: float = 0.0, intent: Intent | None = None, foreign: bool = False) -> None:
        self.changed: float = changed
        self.intent: Intent | None = intent
        self.made: Intent | None = None
        self.draft: Record | None = None
        self.record: Record | None = None
        self.fifo: MemoryFifo | None = None
        self.torn: bool = False
        self.foreign: bool = foreign


class MemoryGate:
    """A fifo, opened for reading."""

    def __init__(self, store: MemoryStore, directory: str, fifo: MemoryFifo) -> None:
        self._host = store.host
        self._store = store
        self._directory = directory
        self._fifo = fifo
        self._came_late = False
        with self._host.clock.changed:
            fifo.gates.append(self)
            store.gates.append(self)
            self._came_late = not fifo.zero and self._host.init_of(directory) is None
            self._let_in()

    def take(self, init: Init, *, deadline: float) -> str:
        """Wait for init's `0`. Returns a word of `Taken`."""
        clock = self._host.clock
        with clock.changed:
            if not clock.wait(lambda: self._answer(init) != "", deadline):
                return Taken.TIMEOUT
            answer = self._answer(init)
            if answer == Taken.WON:
                self._fifo.zero = False
                clock.changed.notify_all()
            return answer

    def taking(self, init: Init, *, deadline: float) -> Steps[str]:
        """It looks now and then, since there is no descriptor that tells."""
        while (taken := self.take(init, deadline=0)) == Taken.TIMEOUT and (now := self._host.now()) < deadline:
            yield Wait(until=min(deadline, now + _SLICE))
        return taken

    def _answer(self, init: Init) -> str:
        """What there is to say by now, or ""."""
        self._let_in()
        if self._fifo.zero:
            return Taken.WON
        if not self._fifo.linked:
            return Taken.LOST
        waits = self._host.at_fifo(init)
        if waits is None:
            return Taken.STOPPED
        if not waits:
            return Taken.STALE if self._came_late else Taken.LOST
        process = self._host.processes[init]
        return Taken.PAUSED if self._host.is_held(process) and not process.stopped else ""

    def _let_in(self) -> None:
        """Init's open for writing succeeds as soon as somebody reads, and init can act."""
        process = self._host.init_of(self._directory)
        if process is not None and process.phase == "fifo" and not self._host.is_held(process):
            self._fifo.zero = True
            self._fifo.failure = self._host.leave_fifo(process)

    def unblock(self) -> None:
        """Other readers are never blocked in open here: there is nothing to do."""

    def outcome(self, init: Init, *, deadline: float) -> Failure | None:
        """Why the program did not run; execve takes no time here."""
        del init, deadline
        return self._fifo.failure

    def finding_out(self, init: Init, *, deadline: float) -> Steps[Failure | None]:
        """As `outcome`."""
        yield from ()
        return self.outcome(init, deadline=deadline)

    def close(self) -> None:
        """What nobody read goes with the last reader. Silent when repeated."""
        with self._host.clock.changed:
            if self in self._fifo.gates:
                self._fifo.gates.remove(self)
                self._store.gates.remove(self)
                if not self._fifo.gates:
                    self._fifo.zero = False
                    self._host.clock.changed.notify_all()


class MemoryStore:
    """A Store that a test can look into.

    `directories` by id, `locked` the ids that somebody has locked, `gates` the fifos that somebody has open.
    """

    def __init__(self, host: MemoryHost, *, root: str = "/run/memory") -> None:
        self.host = host
        self._root = root
        self.directories: dict[str, MemoryDirectory] = {}
        self.locked: dict[str, object] = {}
        self.gates: list[MemoryGate] = []

    # -- what tests do to it --------------------------------------------------------------------------------------

    def tear(self, container_id: str) -> None:
        """Tear its state.json: load raises StateError from now on."""
        with self.host.clock.changed:
            self.directories[container_id].torn = True

    def mend(self, container_id: str) -> None:
        """Undo `tear`."""
        with self.host.clock.changed:
            self.directories[container_id].torn = False

    def crash(self) -> None:
        """The process that uses the store dies: its locks and its descriptors go with it."""
        with self.host.clock.changed:
            self.locked.clear()
            for gate in list(self.gates):
                gate.close()
            self.host.clock.changed.notify_all()

    # -- Store ----------------------------------------------------------------------------------------------------

    @property
    def root(self) -> str:
        """The directory of the state directories; a name, no more."""
        return self._root

    @contextmanager
    def lock(self, container_id: str, *, timeout: float | None) -> Generator[None, None, None]:
        """Exclude every other thread. Not reentrant, as on Linux. Raises ContainerTimeout."""
        clock = self.host.clock
        ours = object()
        with clock.changed:
            deadline = FOREVER if timeout is None else clock.now() + timeout
            if not clock.wait(lambda: container_id not in self.locked, deadline):
                raise ContainerTimeout(f"container {container_id!r} is locked by another", timeout=timeout)
            self.locked[container_id] = ours
        try:
            with clock.working():
                yield
        finally:
            with clock.changed:
                if self.locked.get(container_id) is ours:
                    del self.locked[container_id]
                clock.changed.notify_all()

    def directory(self, container_id: str) -> str:
        """Where it is, or would be. Raises InvalidId."""
        if container_id == "":
            raise InvalidId(container_id, "container id cannot be empty")
        if container_id in {".", ".."} or not ID_CHARACTERS.issuperset(container_id) or len(container_id) > 255:
            raise InvalidId(container_id, "it must be 1 to 255 of A-Z a-z 0-9 _ + . -, and neither . nor ..")
        return f"{self._root}/{container_id}"

    def ids(self) -> list[str]:
        """All of them, sorted."""
        with self.host.clock.changed:
            return sorted(self.directories)

    def make(self, container_id: str, intent: Intent) -> None:
        """Make it, with the intent in it. Raises ContainerExists."""
        self.directory(container_id)
        with self.host.clock.changed:
            if container_id in self.directories:
                raise ContainerExists(container_id, root=self._root)
            self.directories[container_id] = MemoryDirectory(changed=self.host.now(), intent=intent)

    def exists(self, container_id: str) -> bool:
        """Whether there is one."""
        self.directory(container_id)
        with self.host.clock.changed:
            return container_id in self.directories

    def intent(self, container_id: str) -> Intent | None:
        """Its intent, or None."""
        with self.host.clock.changed:
            entry = self.directories.get(container_id)
            return None if entry is None else entry.intent

    def made(self, container_id: str) -> Intent | None:
        """What was its intent, once its creation is complete, or None."""
        with self.host.clock.changed:
            entry = self.directories.get(container_id)
            return None if entry is None else entry.made

    def note(self, container_id: str, intent: Intent) -> None:
        """Replace the intent."""
        with self.host.clock.changed:
            self._entry(container_id).intent = intent

    def settle(self, container_id: str) -> None:
        """The creation is complete; silent where there is no intent."""
        with self.host.clock.changed:
            entry = self.directories.get(container_id)
            if entry is not None and entry.intent is not None:
                entry.made, entry.intent = entry.intent, None

    def save(self, record: Record) -> None:
        """Write state.json."""
        self.draft(record)
        self.publish(record.id)

    def draft(self, record: Record) -> None:
        """Write what it is to be."""
        with self.host.clock.changed:
            self._entry(record.id).draft = record

    def publish(self, container_id: str) -> None:
        """Make the draft the state.json."""
        with self.host.clock.changed:
            entry = self._entry(container_id)
            entry.record, entry.draft, entry.torn = entry.draft, None, False

    def load(self, container_id: str) -> Record:
        """Read state.json. Raises InvalidId, ContainerNotFound, StateError."""
        path = f"{self.directory(container_id)}/state.json"
        with self.host.clock.changed:
            entry = self.directories.get(container_id)
            if entry is None:
                raise ContainerNotFound(container_id, root=self._root)
            if entry.foreign:
                raise StateError(path, "it is another runtime's", container_id=container_id)
            if entry.torn:
                raise StateError(path, "it ends in the middle", container_id=container_id)
            if entry.record is None:
                raise ContainerNotFound(container_id, root=self._root)
            return entry.record

    def make_fifo(self, container_id: str, owner: tuple[int, int]) -> None:
        """Make exec.fifo."""
        with self.host.clock.changed:
            self._entry(container_id).fifo = MemoryFifo(owner)

    def has_fifo(self, container_id: str) -> bool:
        """Whether exec.fifo is there."""
        with self.host.clock.changed:
            entry = self.directories.get(container_id)
            return entry is not None and entry.fifo is not None

    def open_fifo(self, container_id: str) -> MemoryGate | None:
        """Open exec.fifo for reading; None: it is gone."""
        with self.host.clock.changed:
            entry = self.directories.get(container_id)
            if entry is None or entry.fifo is None:
                return None
            return MemoryGate(self, self.directory(container_id), entry.fifo)

    def unlink_fifo(self, container_id: str) -> None:
        """Remove exec.fifo; silent where it is gone."""
        with self.host.clock.changed:
            entry = self.directories.get(container_id)
            if entry is not None and entry.fifo is not None:
                entry.fifo.linked = False
                entry.fifo = None
                self.host.clock.changed.notify_all()

    def unlink_stale_fifo(self, container_id: str) -> None:
        """Remove exec.fifo: whoever reads it here, says at once what he read."""
        self.unlink_fifo(container_id)

    def remove(self, container_id: str) -> None:
        """Remove it; silent where there is none. Raises StateError where it is another runtime's."""
        with self.host.clock.changed:
            entry = self.directories.get(container_id)
            if entry is not None and entry.foreign:
                raise StateError(self.directory(container_id), "it is another runtime's", container_id=container_id)
            self.unlink_fifo(container_id)
            self.directories.pop(container_id, None)

    def age(self, container_id: str) -> float:
        """Seconds since it was made; inf where there is none."""
        with self.host.clock.changed:
            entry = self.directories.get(container_id)
            return FOREVER if entry is None else self.host.now() - entry.changed

    def is_empty(self, container_id: str) -> bool:
        """Whether it is there and nothing is in it."""
        with self.host.clock.changed:
            entry = self.directories.get(container_id)
            if entry is None:
                return False
            return entry.intent is None and entry.record is None and entry.fifo is None and not entry.foreign

    def sweep_remains(self) -> list[Swept]:
        """Making and removing happen at once here: nothing can remain of them."""
        return []

    def _entry(self, container_id: str) -> MemoryDirectory:
        entry = self.directories.get(container_id)
        if entry is None:
            raise StateError(self.directory(container_id), "no such file or directory", container_id=container_id)
        return entry
