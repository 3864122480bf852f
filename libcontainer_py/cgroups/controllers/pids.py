"""How many tasks there may be. Source: cgroup-v1/pids.rst; cgroup-v2.rst, PID; config-linux.md, PIDs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.cgroups.control import Controller
    from libcontainer_py.spec import Pids


def apply(at: Controller, pids: Pids) -> None:
    """pids.max: a negative limit is none, and 0 lets nothing be forked. What is there already may be more."""
    if pids.limit is not None:
        at.write("pids.limit", "pids.max", pids.limit if pids.limit >= 0 else "max")
