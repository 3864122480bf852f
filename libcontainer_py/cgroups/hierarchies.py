"""Which cgroup file systems are mounted, and which cgroups this process is in.

Source: proc(5), /proc/PID/mountinfo and /proc/PID/cgroup; cgroups(7). Raises OSError alone.
"""

from __future__ import annotations

import enum
import os
from typing import NamedTuple

from libcontainer_py.cgroups.tree import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN = 0
"""As st_ino: it was to be made, but nobody wrote down whether it was."""
ANY = -1
"""As st_ino: whichever directory is there."""

V1_CONTROLLERS = frozenset(
    "cpuset devices memory cpu cpuacct pids blkio hugetlb net_cls net_prio perf_event freezer rdma name=systemd".split()
)
"""The v1 hierarchies that a container gets a cgroup in: those of runc."""

_UNIFIED = "/sys/fs/cgroup"
_HYBRID = "/sys/fs/cgroup/unified"


class Mode(str, enum.Enum):
    """What is mounted: v1 alone, v1 with v2 beside it at /sys/fs/cgroup/unified, v2 alone, or nothing."""

    V1 = "v1"
    HYBRID = "hybrid"
    V2 = "v2"
    NONE = "none"

    def __str__(self) -> str:
        return self.value


class Mount(NamedTuple):
    """One cgroup mount: where it is, and which cgroup its root is (`/` but in containers without namespace)."""

    point: str
    root: str


class Hierarchies(NamedTuple):
    """All cgroup mounts that this process can reach."""

    mode: Mode
    mounts: Mapping[str, Mount]
    """By controller, as in `Cgroup.paths`; "" is v2."""
    devices: frozenset[int]
    """st_dev of each cgroup file system."""
    points: frozenset[str]
    """All mount points, which no rmdir may touch."""

    def owned(self, inodes: Mapping[str, int]) -> list[str]:
        """Those of `inodes` that are still the recorded directory, without those that have others of it below them."""
        parents = _with_others_below(inodes)
        return [
            path
            for path, inode in inodes.items()
            if inode != UNKNOWN and path not in parents and self.holds(path, inode)
        ]

    def parents(self, inodes: Mapping[str, int]) -> list[str]:
        """Those of `inodes` that have others of it below them, deepest first."""
        return sorted(_with_others_below(inodes), key=len, reverse=True)

    def holds(self, path: str, inode: int) -> bool:
        """Whether `path` is a cgroup below a mounted hierarchy's root, and the one with this st_ino."""
        if path in self.points or os.path.normpath(path) != path:
            return False
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return status.st_dev in self.devices and inode in (ANY, UNKNOWN, status.st_ino)


def _with_others_below(paths: Mapping[str, int]) -> set[str]:
    above = {os.path.dirname(path) for path in paths}
    for path in list(above):
        parent = os.path.dirname(path)
        while parent not in above:
            above.add(parent)
            parent = os.path.dirname(parent)
    return above.intersection(paths)


def read_hierarchies() -> Hierarchies:
    """Read /proc/self/mountinfo. Mounts that others cover are left out; of several of one hierarchy the first counts.

    Those under /sys/fs/cgroup go before others, because there everybody looks for them.
    """
    v1: dict[str, Mount] = {}
    v2: dict[str, Mount] = {}
    devices: set[int] = set()
    points: set[str] = set()
    for line in read("/proc/self/mountinfo").splitlines():
        if " - cgroup" not in line:
            continue
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        kind, _, options = after.split(" ", 2)
        point = _unescape(fields[4])
        try:
            device = os.stat(point).st_dev
        except OSError:  # covered, or not ours to see
            continue
        major, _, minor = fields[2].partition(":")
        if device != os.makedev(int(major), int(minor)):
            continue
        devices.add(device)
        points.add(point)
        mount = Mount(point, _unescape(fields[3]))
        if kind == "cgroup2":
            v2.setdefault(point, mount)
        else:
            for controller in V1_CONTROLLERS.intersection(options.split(",")):
                known = v1.get(controller)
                if known is None or (_is_usual(point) and not _is_usual(known.point)):
                    v1[controller] = mount
    if _UNIFIED in v2 or (v2 and not v1):
        mode, mounts = Mode.V2, {"": v2.get(_UNIFIED) or next(iter(v2.values()))}
    elif v1 and _HYBRID in v2:
        mode, mounts = Mode.HYBRID, {**v1, "": v2[_HYBRID]}
    else:
        mode, mounts = (Mode.V1 if v1 else Mode.NONE), v1
    return Hierarchies(mode, mounts, frozenset(devices), frozenset(points))


def own_cgroups() -> dict[str, str]:
    """The cgroups of this process: controller to path, "" for v2. Source: cgroups(7), /proc/PID/cgroup."""
    own: dict[str, str] = {}
    for line in read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    return own


def _is_usual(point: str) -> bool:
    return point.startswith(_UNIFIED + "/")


def _unescape(field: str) -> str:
    if "\\" not in field:
        return field
    for escaped, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(escaped, character)
    return field
