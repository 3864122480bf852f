"""Which processors and memory nodes may be used. Source: cgroup-v1/cpusets.rst; cgroup-v2.rst, Cpuset."""

from __future__ import annotations

import errno
import os

from libcontainer_py.cgroups.tree import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.cgroups.control import Controller
    from libcontainer_py.spec import CPU


def apply(at: Controller, cpu: CPU) -> None:
    """cpuset.cpus and cpuset.mems: lists such as `0-3,7`."""
    for field, file, value in (("cpu.cpus", "cpuset.cpus", cpu.cpus), ("cpu.mems", "cpuset.mems", cpu.mems)):
        if not value:
            continue
        above = _above(at, file)
        hint = f"the cgroup above has {above}" if above else ""
        refused = dict.fromkeys((errno.EACCES, errno.EINVAL, errno.ERANGE, errno.ENODEV), hint)
        at.write(field, file, value, hints={**refused, errno.EBUSY: "a cgroup below, or a process in it, needs more"})
        if at.unified:
            _check_effective(at, field, file, value, hint)


def _check_effective(at: Controller, field: str, file: str, value: str, hint: str) -> None:
    """v2 takes what there is not, and does as if nothing had been asked for; so look at what came of it."""
    if not members(at.read(f"{file}.effective")) <= members(at.read(file)):
        raise at.refusal(field, value, "none of these is there for this cgroup", hint=hint)


def _above(at: Controller, file: str) -> str:
    directory = os.path.dirname(at.directory)
    for name in (f"{file}.effective", file) if at.unified else (file,):
        try:
            return read(f"{directory}/{name}").strip()
        except OSError:
            continue
    return ""


def members(text: str) -> set[int]:
    """The numbers of a list such as `0-3,7`."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
