"""Control groups: make them, put a container's processes into them, and act on all of those at once.

    hierarchies   which cgroup file systems are mounted here: v1, hybrid, v2 or none
    base          what every cgroup can do, and how its directories are made
    v1, v2        what differs; hybrid is v1 with one more directory, on v2, that has no controller
    devices       the device rules of a configuration, and what to write to v1's devices controller for them
    devicefilter  the same rules as a BPF program, for v2
    controllers   limits: what `linux.resources` says, written to the files of each controller
    control       those files: written with errors that tell everything, and so that it can be undone
    systemd       a cgroup of v2 that systemd makes; bus speaks to it, units and gvariant know its words
    notices       what the kernel tells by itself, to wait for
    statistics    what was used, and how it was held back
    killing       ending every process
    resctrl       groups that share caches and memory bandwidth, which is another file system
    tree          control files, and walking and removing a directory with everything below it

What is called from outside of the room raises CgroupError. `base`, `v1` and `v2` lie on the path of
`Factory.load(id).status`: they load neither ctypes nor attrs.
"""

from __future__ import annotations

import errno
import os

from libcontainer_py.cgroups.base import ANY, DEFAULT_PARENT, UNKNOWN, Cgroup, failure
from libcontainer_py.cgroups.hierarchies import Hierarchies, Mode, own_cgroups, read_hierarchies
from libcontainer_py.cgroups.v1 import CgroupV1
from libcontainer_py.cgroups.v2 import CgroupV2
from libcontainer_py.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ANY",
    "UNKNOWN",
    "Cgroup",
    "Mode",
    "detect",
    "for_container",
    "from_inodes",
    "from_paths",
    "of_process",
    "remove_empty",
]


def detect() -> Mode:
    """Which cgroups this process sees. Reads /proc/self/mountinfo each time, 40 us, because mounts may change."""
    return _hierarchies().mode


def for_container(cgroups_path: str | None, container_id: str) -> Cgroup:
    """The cgroup of a container that is to be made; nothing is made yet.

    `cgroups_path` is `linux.cgroupsPath`: absolute, below the root of each mounted hierarchy; relative, below the
    cgroup that this process is in (on v2 beside it, because a cgroup with processes can have no controllers below);
    None or "" is `/libcontainer_py/ID`. `..` does not lead out. Without cgroup mounts the result has no paths. Raises
    CgroupError where the path is a hierarchy's root, or this process' own cgroup. Source: runtime-spec,
    config-linux.md, Cgroups Path; runc's mapping for its file-system driver.
    """
    wanted = cgroups_path or f"/{DEFAULT_PARENT}/{container_id}"
    hierarchies = _hierarchies()
    try:
        own = {} if wanted.startswith("/") else own_cgroups()
        paths = hierarchies.directories(wanted, own)
    except ValueError as error:
        raise CgroupError(wanted, str(error), errno=errno.EINVAL, hint="name one, as in /group/name") from error
    except OSError as error:
        raise failure("/proc/self/cgroup", "cannot be read", error) from error
    return CgroupV2(paths) if hierarchies.mode is Mode.V2 else CgroupV1(paths)


def from_paths(paths: Mapping[str, str]) -> Cgroup:
    """The cgroup that a state file tells of, as `Cgroup.paths` has them. Looks at nothing."""
    return CgroupV2(paths) if list(paths) == [""] else CgroupV1(paths)


def from_inodes(inodes: Mapping[str, int]) -> Cgroup:
    """The cgroup of those directories that are still the ones recorded: path to st_ino, `ANY` for whichever it is.

    Left out are `UNKNOWN` ones, directories that became others, what lies outside of cgroup mounts, and directories
    with others of the mapping below them (those hold further containers, perhaps).
    """
    hierarchies = _hierarchies()
    places = [(controller, mount.point + "/") for controller, mount in hierarchies.mounts.items()]
    paths: dict[str, str] = {}
    for path in hierarchies.owned(inodes):
        for controller, place in places:
            if path.startswith(place):
                paths.setdefault(controller, path)
    return from_paths(paths)


def of_process(pid: int) -> str:
    """The v2 directory that a process is in; "" where there is none, or it is gone."""
    try:
        path = own_cgroups(pid).get("")
    except OSError:
        return ""
    return "" if path is None else _hierarchies().directory_of("", path)


def remove_empty(inodes: Mapping[str, int]) -> bool:
    """Remove those of `from_inodes` that nobody is in; False: somebody is, or was a moment ago."""
    empty = True
    for path in _hierarchies().owned(inodes):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError:
            empty = False
    return empty


def _hierarchies() -> Hierarchies:
    try:
        return read_hierarchies()
    except OSError as error:
        raise failure("/proc/self/mountinfo", "cannot be read", error) from error
