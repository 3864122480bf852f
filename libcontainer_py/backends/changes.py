"""What happened between two looks at a container: pure, and the same for every backend."""

from __future__ import annotations

from typing import NamedTuple

from libcontainer_py.backends.base import Happening, Kind


class Seen(NamedTuple):
    """One look at a container."""

    alive: bool
    created: bool
    """It waits to be started; of one that ended: it was never started."""
    frozen: bool
    ooms: int = 0
    """How often its memory ran out, in all."""
    oom_kills: int = 0


def changes(before: Seen, now: Seen) -> list[Happening]:
    """What happened, in an order in which it can have happened. What was done and undone in between is not seen."""
    found: list[Happening] = []
    started = before.created and not now.created
    # of one that ended nobody can tell whether it was resumed, or thawed to be killed; but it was not started paused
    was_frozen, is_frozen = before.frozen and (now.alive or started), now.frozen and now.alive
    if was_frozen and not is_frozen:
        found.append(Happening(Kind.RESUMED))
    if started:
        found.append(Happening(Kind.STARTED))
    if is_frozen and not was_frozen:
        found.append(Happening(Kind.PAUSED))
    if now.ooms > before.ooms:
        found.append(Happening(Kind.OOM, times=now.ooms - before.ooms))
    if now.oom_kills > before.oom_kills:
        found.append(Happening(Kind.OOM_KILL, times=now.oom_kills - before.oom_kills))
    if before.alive and not now.alive:
        found.append(Happening(Kind.EXITED))
    return found
