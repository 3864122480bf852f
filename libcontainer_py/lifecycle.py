"""The life of a container, as a state machine. Pure: no clock, no process, no file.

A container's status is *observed*, never stored::

    status_of(Facts(init_alive, frozen, fifo_present))

    init gone            -> stopped      asked first: a dead init in a frozen cgroup is dead
    its cgroup frozen    -> paused
    exec.fifo present    -> created      init waits at the fifo
    otherwise            -> running

and what may be done in a status is one table, `LEGAL`:

    status     start  spawn  pause  resume  signal  kill  update  delete
    creating     .      .      .      .       .      .      .       .      only hooks see it
    created      x      x      x      .       x      x      x       x
    running      .      x      x      .       x      x      x       .
    paused       .      .      .      x       x      x      x       .
    stopped      .      .      .      .       .      .      .       x

`FORCED` says where `force=True` goes past the table. An illegal operation is one lookup that becomes one
`IllegalOperation`, raised before anything was changed. The words are those of the OCI runtime specification
(runtime.md, State), the texts those of runc, which engines match on. Resume of a container that was paused while
created leads back to created, because its fifo is still there.
"""

from __future__ import annotations

import enum
from types import MappingProxyType

from libcontainer_py.errors import IllegalOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NamedTuple
else:
    from libcontainer_py.plain import NamedTuple


class Status(str, enum.Enum):
    """The OCI status of a container; `str(Status.CREATED)` is `"created"`."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"

    def __str__(self) -> str:
        return self.value


class Operation(str, enum.Enum):
    """What can be asked of a container."""

    START = "start"
    SPAWN = "spawn"
    PAUSE = "pause"
    RESUME = "resume"
    SIGNAL = "signal"
    KILL = "kill"
    UPDATE = "update"
    DELETE = "delete"

    def __str__(self) -> str:
        return self.value


class Facts(NamedTuple):
    """What a backend observed of one container, at one moment."""

    init_alive: bool
    """The process of the recorded pid and start time has not ended."""
    frozen: bool
    """Its cgroup is frozen by its own setting."""
    fifo_present: bool
    """exec.fifo is there and init has not left it."""


def status_of(facts: Facts) -> Status:
    """The status that the facts amount to."""
    if not facts.init_alive:
        return Status.STOPPED
    if facts.frozen:
        return Status.PAUSED
    if facts.fifo_present:
        return Status.CREATED
    return Status.RUNNING


LEGAL: Mapping[Status, frozenset[Operation]] = MappingProxyType(
    {
        Status.CREATING: frozenset[Operation](),
        Status.CREATED: frozenset(
            {
                Operation.START,
                Operation.SPAWN,
                Operation.PAUSE,
                Operation.SIGNAL,
                Operation.KILL,
                Operation.UPDATE,
                Operation.DELETE,
            }
        ),
        Status.RUNNING: frozenset(
            {Operation.SPAWN, Operation.PAUSE, Operation.SIGNAL, Operation.KILL, Operation.UPDATE}
        ),
        Status.PAUSED: frozenset({Operation.RESUME, Operation.SIGNAL, Operation.KILL, Operation.UPDATE}),
        Status.STOPPED: frozenset({Operation.DELETE}),
    }
)

FORCED: frozenset[Operation] = frozenset({Operation.DELETE})
"""Operations that `force=True` makes legal in every status."""


INSISTED: frozenset[tuple[Operation, Status]] = frozenset({(Operation.SPAWN, Status.PAUSED)})
"""What `force=True` makes legal beside them: who joins a paused container stands still with it until it is resumed."""


def is_legal(operation: Operation, status: Status, *, force: bool = False) -> bool:
    """Whether `operation` may happen to a container in `status`."""
    return operation in LEGAL[status] or (force and (operation in FORCED or (operation, status) in INSISTED))


_NOT_RUNNING = "container not running"
_REASONS: Mapping[tuple[Operation, Status], str] = {
    (Operation.START, Status.RUNNING): "cannot start an already running container",
    (Operation.START, Status.STOPPED): "cannot start a container that has stopped",
    (Operation.START, Status.PAUSED): "cannot start a container in the paused state",
    (Operation.SPAWN, Status.PAUSED): "cannot exec in a paused container",
    (Operation.SPAWN, Status.STOPPED): "cannot exec in a stopped container",
    (Operation.PAUSE, Status.PAUSED): _NOT_RUNNING,
    (Operation.PAUSE, Status.STOPPED): _NOT_RUNNING,
    (Operation.RESUME, Status.CREATED): "container not paused",
    (Operation.RESUME, Status.RUNNING): "container not paused",
    (Operation.RESUME, Status.STOPPED): "container not paused",
    (Operation.SIGNAL, Status.STOPPED): _NOT_RUNNING,
    (Operation.KILL, Status.STOPPED): _NOT_RUNNING,
    (Operation.UPDATE, Status.STOPPED): _NOT_RUNNING,
}


def refusal(container_id: str, operation: Operation, status: Status) -> IllegalOperation:
    """The error for an operation that the table does not allow."""
    if operation is Operation.DELETE:
        reason = f"cannot delete container {container_id} that is not stopped: {status}"
    else:
        reason = _REASONS.get((operation, status), f"cannot {operation} a container in the {status} state")
    return IllegalOperation(container_id, operation, status, reason)


def require(container_id: str, operation: Operation, status: Status, *, force: bool = False) -> None:
    """Raise IllegalOperation unless `operation` is legal in `status`."""
    if not is_legal(operation, status, force=force):
        raise refusal(container_id, operation, status)


_ARROWS: tuple[tuple[Operation, Status, Status], ...] = (
    (Operation.START, Status.CREATED, Status.RUNNING),
    (Operation.PAUSE, Status.CREATED, Status.PAUSED),
    (Operation.PAUSE, Status.RUNNING, Status.PAUSED),
    (Operation.RESUME, Status.PAUSED, Status.RUNNING),
    (Operation.RESUME, Status.PAUSED, Status.CREATED),
    (Operation.KILL, Status.CREATED, Status.STOPPED),
    (Operation.KILL, Status.RUNNING, Status.STOPPED),
    (Operation.KILL, Status.PAUSED, Status.STOPPED),
)


def to_mermaid() -> str:
    """The table as a Mermaid state diagram, as README and docs show it."""
    lines = ["stateDiagram-v2", "    [*] --> creating: create", "    creating --> created"]
    lines += [
        f"    {before} --> {after}: {operation}" for operation, before, after in _ARROWS if is_legal(operation, before)
    ]
    lines.append(f"    {Status.RUNNING} --> {Status.STOPPED}: program ends")
    lines += [f"    {status} --> [*]: delete" for status in Status if is_legal(Operation.DELETE, status)]
    return "\n".join(lines) + "\n"
