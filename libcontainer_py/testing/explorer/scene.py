"""What an exploration is made of: operations, the world in memory that they work on, and what must hold there."""

from __future__ import annotations

from typing import NamedTuple

from libcontainer_py.backends.memory import MemoryBackend
from libcontainer_py.errors import CgroupError, ContainerError, ContainerNotFound, IllegalOperation
from libcontainer_py.factory import Factory
from libcontainer_py.lifecycle import Status, status_of
from libcontainer_py.spec import Pids, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from libcontainer_py.backends.memory import MemoryDirectory
    from libcontainer_py.record import Init, Intent

    Operation: TypeAlias = "Callable[[Factory], object]"

ID = "web"
"""The container that all work on."""


GONE = "gone"
"""What is told of a container that has stopped, or does not exist."""


def _status(factory: Factory) -> str:
    seen = factory.load(ID).status
    return GONE if seen is Status.STOPPED else str(seen)


def _removed(factory: Factory) -> list[str]:
    return [swept.id for swept in factory.sweep() if swept.removed]


OPERATIONS: Mapping[str, Operation] = {
    "create": lambda factory: factory.create(ID, "/bundle").close(),
    "start": lambda factory: factory.load(ID).start(),
    "pause": lambda factory: factory.load(ID).pause(),
    "resume": lambda factory: factory.load(ID).resume(),
    "terminate": lambda factory: factory.load(ID).signal(15),
    "kill": lambda factory: factory.load(ID).kill(),
    "update": lambda factory: factory.load(ID).update(Resources(pids=Pids(limit=7))),
    "status": _status,
    "list": lambda factory: [container.id for container in factory.list()],
    "wait": lambda factory: factory.load(ID).wait().returncode,
    "delete": lambda factory: factory.delete(ID),
    "delete handle": lambda factory: factory.load(ID).delete(),
    "delete by force": lambda factory: factory.delete(ID, force=True),
    "sweep": _removed,
}
"""What can be asked for by its name. What each gives back is a part of what is compared."""


class Ending(NamedTuple):
    """How a run ended."""

    told: tuple[tuple[str, ...], ...]
    """Of each thread and operation: what it gave back, or the name of its error."""
    status: str
    """Of the container; "" where there is none."""


def outcome(operation: Operation, factory: Factory) -> str:
    """Do it, and say what came of it. What is no error of ours is raised.

    That it has stopped, and that it is gone, are one answer: who holds no lock sees a delete between the two.
    """
    try:
        given = operation(factory)
    except IllegalOperation as error:
        return GONE if error.status is Status.STOPPED else f"refused: {error.status}"
    except (ContainerNotFound, CgroupError):
        return GONE
    except ContainerError as error:
        return type(error).__name__
    return "done" if given is None else str(given)


def status(backend: MemoryBackend) -> str:
    """The container's, "broken" or ""."""
    entry = backend.store.directories.get(ID)
    if entry is None:
        return ""
    return "broken" if entry.record is None else str(status_of(backend.observe(entry.record)))


def key(backend: MemoryBackend) -> int:
    """A hash of all that an operation can depend on."""
    host, store = backend.host, backend.store
    return hash(
        (
            host.now(),
            frozenset(
                (process.init, process.phase, process.stopped, tuple(process.pending), process.cgroups)
                for process in host.processes.values()
                if process.alive
            ),
            frozenset((path, cgroup.inode, cgroup.frozen, cgroup.resources) for path, cgroup in host.cgroups.items()),
            tuple(_entry(container_id, entry) for container_id, entry in sorted(store.directories.items())),
            tuple(sorted(store.locked)),
        )
    )


def _entry(container_id: str, entry: MemoryDirectory) -> tuple[object, ...]:
    record, fifo = entry.record, entry.fifo
    return (
        container_id,
        entry.torn,
        _intent(entry.intent),
        _intent(entry.made),
        None if entry.draft is None else entry.draft.init,
        None if record is None else (record.init, repr(record.document)),
        None if fifo is None else (fifo.zero, fifo.failure, len(fifo.gates)),
    )


def _intent(intent: Intent | None) -> object:
    return None if intent is None else (intent.creator, intent.init, frozenset(intent.cgroups.items()))


def lost(backend: MemoryBackend) -> str:
    """What lives or lies there and is named by no state file and no intent; "" where there is nothing."""
    inits: set[Init | None] = set()
    paths: set[str] = set()
    for entry in backend.store.directories.values():
        for intent in (entry.intent, entry.made):
            if intent is not None:
                inits.add(intent.init)
                paths.update(intent.cgroups)
        if entry.record is not None:
            inits.add(entry.record.init)
            paths.update(entry.record.cgroup_paths.values())
    for process in backend.host.processes.values():
        # one that is being born ends when its creator does, whoever knows of it
        if process.alive and process.preparation is not None and process.phase != "born" and process.init not in inits:
            return f"init {process.init.pid} lives, and neither a state file nor an intent names it"
    for path in backend.host.cgroups:
        if path not in paths:
            return f"the cgroup {path} is there, and neither a state file nor an intent names it"
    return ""


def left(backend: MemoryBackend) -> str:
    """What is left when all have ended, and then after a delete by force; "" where there is nothing."""
    if backend.store.locked:
        return "the container's lock is held by nobody any more"
    if backend.store.gates:
        return "a descriptor of exec.fifo was never closed"
    backend.destroy(ID, force=True)
    alive = [
        process for process in backend.host.processes.values() if process.alive and process.preparation is not None
    ]
    if alive or backend.host.cgroups or backend.store.directories:
        return "a delete by force left something"
    return ""
