"""A cgroup within a container's, for one of its processes and what that starts: all of them can be killed at once.

It limits nothing: on v1 it is made in the freezer's hierarchy, which is what killing needs, and on v2 no controller is
passed down to it. Source: cgroup-v2.rst, No Internal Process Constraint.
"""

from __future__ import annotations

import os

from libcontainer_py.cgroups.tree import read
from libcontainer_py.cgroups.v1 import CgroupV1
from libcontainer_py.cgroups.v2 import CgroupV2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py.cgroups.base import Cgroup


def make(paths: Mapping[str, str], name: str) -> Cgroup | None:
    """Make it below the cgroup that has these paths; None: there is none, or we may not."""
    made: dict[str, str] = {}
    if paths.get("freezer") and _make(f"{paths['freezer']}/{name}"):
        made["freezer"] = f"{paths['freezer']}/{name}"
    elif "freezer" in paths:
        return None
    if paths.get("") and _make(f"{paths['']}/{name}"):
        made[""] = f"{paths['']}/{name}"
        if not _takes_processes(made[""]):
            remove({"": made.pop("")})
    if not made:
        return None
    return CgroupV2(made) if list(made) == [""] else CgroupV1(made)


def _make(path: str) -> bool:
    try:
        os.mkdir(path, 0o755)
    except OSError:
        return False
    return True


def _takes_processes(path: str) -> bool:
    """Not below a threaded cgroup. Source: cgroup-v2.rst, Threads."""
    try:
        return read(path + "/cgroup.type").strip() == "domain"
    except OSError:
        return False


def remove(paths: Mapping[str, str]) -> None:
    """Remove it where nobody is in it any more; who went on keeps it, until the container is removed."""
    for path in paths.values():
        try:
            os.rmdir(path)
        except OSError:
            continue
