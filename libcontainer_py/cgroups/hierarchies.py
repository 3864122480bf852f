"""Which cgroup file systems are mounted, and which cgroups this process is in.

Source: proc(5), /proc/PID/mountinfo and /proc/PID/cgroup; cgroups(7). Raises OSError alone.
"""

from __future__ import annotations

import enum
import functools
import os
import posixpath

from libcontainer_py.cgroups.tree import read
from libcontainer_py.kernel.mountinfo import unescape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NamedTuple
else:
    from libcontainer_py.plain import NamedTuple

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

    def directories(self, wanted: str, own: Mapping[str, str]) -> dict[str, str]:
        """Where the cgroup of that `linux.cgroupsPath` is in each hierarchy.

        Absolute: below each mount. Relative: below the runtime's own cgroup, which `own` tells by controller. Raises
        ValueError where that would be a hierarchy's root or the runtime's own cgroup.
        """
        inner = posixpath.normpath("/" + wanted.lstrip("/"))
        if "\0" in wanted or inner == "/":
            raise ValueError("this names no cgroup of the container's own")
        paths: dict[str, str] = {}
        for controller, mount in self.mounts.items():
            start = "/"
            # as runc: the hybrid one is below the mount's root, whatever the runtime's own cgroup there is
            if not wanted.startswith("/") and (controller or self.mode is Mode.V2):
                start = _below(mount.root, own.get(controller, "/"))
                if self.mode is Mode.V2:
                    start = posixpath.dirname(start)  # a cgroup with processes passes no controllers down
            paths[controller] = _join(_join(mount.point, start), inner)
        return paths

    def directory_of(self, controller: str, cgroup: str) -> str:
        """Where a cgroup is, as /proc/PID/cgroup names it; "" where its hierarchy is not mounted."""
        mount = self.mounts.get(controller)
        return "" if mount is None else _join(mount.point, _below(mount.root, cgroup))

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


class _Mounted(NamedTuple):
    """A line of mountinfo about a cgroup mount; `controllers` is empty for v2."""

    device: int
    mount: Mount
    controllers: frozenset[str]
    is_v2: bool


def read_hierarchies() -> Hierarchies:
    """Read /proc/self/mountinfo; mounts that others cover are left out.

    Mounts change rarely, and what follows takes ten times as long as reading: it is kept for the last text and user.
    """
    return _visible(read("/proc/self/mountinfo"), os.geteuid())


@functools.lru_cache(maxsize=1)
def _visible(text: str, user: int) -> Hierarchies:  # noqa: ARG001  (one user may see what another may not)
    visible: list[_Mounted] = []
    for mounted in parse_mountinfo(text):
        try:
            if os.stat(mounted.mount.point).st_dev == mounted.device:
                visible.append(mounted)
        except OSError:
            continue  # covered, or not ours to see
    return arrange(visible)


def parse_mountinfo(text: str) -> tuple[_Mounted, ...]:
    """The cgroup mounts of a mountinfo."""
    found: list[_Mounted] = []
    for line in text.splitlines():
        if " - cgroup" not in line:
            continue
        before, _, after = line.partition(" - ")
        _, _, device, root, point = before.split(" ", 5)[:5]
        kind, _, options = after.split(" ", 2)
        major, _, minor = device.partition(":")
        controllers = V1_CONTROLLERS.intersection(options.split(",")) if kind == "cgroup" else frozenset[str]()
        mount = Mount(unescape(point), unescape(root))
        found.append(_Mounted(os.makedev(int(major), int(minor)), mount, controllers, kind == "cgroup2"))
    return tuple(found)


def arrange(mounted: Iterable[_Mounted]) -> Hierarchies:
    """Tell the mode, and one mount for each controller: of several one below /sys/fs/cgroup, else the first."""
    v1: dict[str, Mount] = {}
    v2: dict[str, Mount] = {}
    every = list(mounted)
    for one in every:
        if one.is_v2:
            v2.setdefault(one.mount.point, one.mount)
        for controller in one.controllers:
            known = v1.get(controller)
            if known is None or (_is_usual(one.mount) and not _is_usual(known)):
                v1[controller] = one.mount
    # in one order, so that what is made, and told in state.json, is the same each time
    mounts = dict(sorted(v1.items()))
    if _UNIFIED in v2 or (v2 and not v1):
        mode, mounts = Mode.V2, {"": v2.get(_UNIFIED) or next(iter(v2.values()))}
    elif v1 and _HYBRID in v2:
        mode, mounts = Mode.HYBRID, {**mounts, "": v2[_HYBRID]}
    else:
        mode = Mode.V1 if v1 else Mode.NONE
    return Hierarchies(
        mode, mounts, frozenset(one.device for one in every), frozenset(one.mount.point for one in every)
    )


def own_cgroups(pid: int | str = "self") -> dict[str, str]:
    """The cgroups of a process, by default ours: controller to path, "" for v2."""
    return parse_own(read(f"/proc/{pid}/cgroup"))


def parse_own(text: str) -> dict[str, str]:
    """What /proc/PID/cgroup says: controller to path, "" for v2. Source: cgroups(7)."""
    own: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    return own


def _is_usual(mount: Mount) -> bool:
    return mount.point.startswith(_UNIFIED + "/")


def _join(point: str, inner: str) -> str:
    return point if inner == "/" else point.rstrip("/") + inner


def _below(root: str, cgroup: str) -> str:
    """Where a cgroup is below a mount's point whose root is `root`: the two differ in containers without namespace."""
    if root == "/":
        return cgroup
    if cgroup == root or cgroup.startswith(root + "/"):
        return cgroup[len(root) :] or "/"
    return "/"
