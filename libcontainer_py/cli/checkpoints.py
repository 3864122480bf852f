"""checkpoint and restore, which are not built yet: engines ask whether they are, by `checkpoint --help`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.cli.flags import Parsed
    from libcontainer_py.cli.settings import Settings


def checkpoint(settings: Settings, parsed: Parsed) -> int:
    """Raises ValueError."""
    settings.load(parsed.words)
    raise ValueError("checkpoint is not built yet: a container of this runtime cannot be saved")


def restore(settings: Settings, parsed: Parsed) -> int:
    """Raises ValueError."""
    raise ValueError(
        "restore is not built yet: a container of this runtime cannot be saved, nor one of runc's restored"
    )
