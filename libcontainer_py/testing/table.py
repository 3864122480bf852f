"""What is legal, and what is said where it is not: written down apart from `lifecycle`, once more, on purpose.

Tests that hold a backend to it would find nothing if both read the same one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAY: Mapping[str, frozenset[str]] = {
    "start": frozenset({"created"}),
    "spawn": frozenset({"created", "running"}),
    "pause": frozenset({"created", "running"}),
    "resume": frozenset({"paused"}),
    "signal": frozenset({"created", "running", "paused"}),
    "kill": frozenset({"created", "running", "paused"}),
    "update": frozenset({"created", "running", "paused"}),
    "delete": frozenset({"created", "stopped"}),
}
"""What is legal: operation to statuses."""

SAYS: Mapping[tuple[str, str], str] = {
    ("start", "running"): "cannot start an already running container",
    ("start", "paused"): "cannot start a container in the paused state",
    ("start", "stopped"): "cannot start a container that has stopped",
    ("spawn", "paused"): "cannot exec in a paused container",
    ("spawn", "stopped"): "cannot exec in a stopped container",
    ("pause", "paused"): "container not running",
    ("pause", "stopped"): "container not running",
    ("resume", "created"): "container not paused",
    ("resume", "running"): "container not paused",
    ("resume", "stopped"): "container not paused",
    ("signal", "stopped"): "container not running",
    ("kill", "stopped"): "container not running",
    ("update", "stopped"): "container not running",
}
"""What runc says where it is not."""


def refusal(container_id: str, operation: str, status: str) -> str:
    """The text of the error for an operation that is not legal."""
    if operation == "delete":
        return f"cannot delete container {container_id} that is not stopped: {status}"
    return SAYS[operation, status]
