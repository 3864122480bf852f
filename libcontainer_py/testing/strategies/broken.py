"""Configurations that are wrong, together with what must be said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st

from libcontainer_py.testing.strategies.configuration import specs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class BrokenSpec(NamedTuple):
    """A configuration as a JSON document, and the path of each problem that is to be found in it, once."""

    document: dict[str, Any]
    paths: tuple[str, ...]


class Fault(NamedTuple):
    """One way to break a document."""

    touches: tuple[str, ...]
    """Paths that it changes; two faults that touch the same are not combined."""
    apply: Callable[[dict[str, Any]], list[str]]
    """Break the document in place; gives the paths of the problems."""


def _section(document: dict[str, Any], path: list[str]) -> dict[str, Any]:
    for key in path:
        document = document.setdefault(key, {})
    return document


def put(path: str, value: object, *at: str) -> Fault:
    """Set a value; the problems are at `at`, or where it was put."""
    *way, last = path.split(".")

    def apply(document: dict[str, Any]) -> list[str]:
        _section(document, way)[last] = value
        return list(at) or [path]

    return Fault((path,), apply)


def add(path: str, item: object, at: str = "") -> Fault:
    """Append to an array; the problem is inside of the item, `at` such as `.type`."""
    *way, last = path.split(".")

    def apply(document: dict[str, Any]) -> list[str]:
        items = _section(document, way).setdefault(last, [])
        items.append(item)
        return [f"{path}[{len(items) - 1}]{at}"]

    return Fault((path,), apply)


def remove(path: str) -> Fault:
    """Take away what is required."""
    *way, last = path.split(".")

    def apply(document: dict[str, Any]) -> list[str]:
        _section(document, way).pop(last, None)
        return [path]

    return Fault((path,), apply)


def _rlimits(*limits: tuple[str, int, int]) -> list[object]:
    return [{"type": f"RLIMIT_{kind}", "soft": soft, "hard": hard} for kind, soft, hard in limits]


_ONE_ID = {"containerID": 0, "hostID": 0, "size": 1}
_BOTH = {"uidMappings": [_ONE_ID], "gidMappings": [_ONE_ID]}
_MAPPED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"options": ["bind", "idmap"], "uidMappings": [_ONE_ID]}, ".gidMappings"),
    ({"options": ["rbind"], "gidMappings": [_ONE_ID]}, ".uidMappings"),
    ({"options": ["idmap"], **_BOTH}, ".options"),
    ({"options": ["bind", "remount"], **_BOTH}, ".uidMappings"),
    ({"options": ["bind", "copy-symlink", "ridmap"], **_BOTH}, ".options"),
    ({"options": ["bind", "idmap"], **_BOTH, "gidMappings": [_ONE_ID | {"size": 0}]}, ".gidMappings[0].size"),
)
_DEVICE = {"path": "/dev/made-up", "type": "c", "major": 1, "minor": 2}

VALUES = (
    *(put("ociVersion", version) for version in ("2.0.0", "1.3", "", "v1.0.0")),
    put("root.path", ""),
    remove("root"),
    remove("process"),
    put("process.args", []),
    put("process.args", [""], "process.args[0]"),
    put("process.args", ["a", "b\0"], "process.args[1]"),
    put("process.cwd", ""),
    put("process.cwd", "srv"),
    add("process.env", "NO_VALUE"),
    add("process.env", "=no name"),
    put("process.user.uid", 2**32 - 1),
    put("process.user.umask", 0o1000),
    put("process.user.additionalGids", [0, 2**32 - 1], "process.user.additionalGids[1]"),
    put("process.rlimits", _rlimits(("NICE", 1, 1), ("SLEEP", 1, 1)), "process.rlimits[1].type"),
    put("process.rlimits", _rlimits(("NICE", 1, 1), ("NICE", 1, 1)), "process.rlimits[1].type"),
    put("process.rlimits", _rlimits(("NICE", 2, 1)), "process.rlimits[0].soft"),
    put("process.oomScoreAdj", 1001),
    put("process.oomScoreAdj", -1001),
    add("mounts", {"destination": "", "type": "proc"}, ".destination"),
    add("mounts", {"destination": "/x"}, ".type"),
    add("mounts", {"destination": "/x", "options": ["rbind"]}, ".source"),
    *(
        add("mounts", {"destination": "/x", "type": kind, "source": "/y", "options": options}, ".options")
        for kind, options in (
            ("none", ["bind", "size=1m"]),
            ("none", ["bind", "sync"]),
            ("none", ["bind", "remount", "lazytime"]),
            ("proc", ["copy-symlink"]),
            ("none", ["bind", "tmpcopyup"]),
            ("proc", ["tmpcopyup"]),
            ("tmpfs", ["remount", "tmpcopyup"]),
        )
    ),
    *(add("mounts", {"destination": "/x", "type": "none", "source": "/y", **given}, at) for given, at in _MAPPED),
    put("annotations", {"": "no key"}),
    *(add(f"hooks.{kind}", {"path": "bin/x"}, ".path") for kind in ("prestart", "createRuntime", "poststop")),
    add("hooks.createContainer", {"path": "/x", "timeout": 0}, ".timeout"),
    add("hooks.startContainer", {"path": "/x", "env": ["X"]}, ".env[0]"),
    add("hooks.poststart", {"path": "/x\0"}, ".path"),
    add("linux.devices", {**_DEVICE, "path": "dev/made-up"}, ".path"),
    add("linux.devices", {**_DEVICE, "type": "x"}, ".type"),
    add("linux.devices", {**_DEVICE, "minor": None}, ".minor"),
    add("linux.devices", {**_DEVICE, "gid": 2**32 - 1}, ".gid"),
    add("linux.resources.devices", {"allow": True, "type": "p"}, ".type"),
    add("linux.resources.devices", {"allow": True, "access": "rx"}, ".access"),
    add("linux.resources.devices", {"allow": True, "type": "c", "major": -2}, ".major"),
    add("linux.maskedPaths", "proc"),
    add("linux.readonlyPaths", ""),
    put("linux.cgroupsPath", "/a/../b"),
    put("linux.rootfsPropagation", "sideways"),
    put(
        "linux.resources.memory",
        {"limit": -2, "swap": -3},
        *(f"linux.resources.memory.{key}" for key in ("limit", "swap")),
    ),
    put("linux.resources.memory", {"swap": 4096}),
    put("linux.resources.memory", {"swappiness": 101}, "linux.resources.memory.swappiness"),
    put("linux.resources.cpu", {"cpus": "0-"}, "linux.resources.cpu.cpus"),
    put("linux.resources.cpu", {"idle": 1, "shares": 1024}),
    put("linux.resources.cpu", {"quota": 5000, "burst": 5001}),
    put("linux.resources.blockIO", {"weight": 9}, "linux.resources.blockIO.weight"),
    put(
        "linux.resources.blockIO",
        {"weightDevice": [{"major": 8, "minor": 0}]},
        "linux.resources.blockIO.weightDevice[0]",
    ),
    put(
        "linux.resources.hugepageLimits", [{"pageSize": "2M", "limit": 0}], "linux.resources.hugepageLimits[0].pageSize"
    ),
    put("linux.resources.rdma", {"mlx": {}}, 'linux.resources.rdma["mlx"]'),
    put("linux.resources.unified", {"../memory.max": "1"}, 'linux.resources.unified["../memory.max"]'),
    put("process.scheduler", {"policy": "SCHED_SOON"}, "process.scheduler.policy"),
    put("process.scheduler", {"policy": "SCHED_IDLE", "flags": ["FAST"]}, "process.scheduler.flags[0]"),
    put("process.scheduler", {"policy": "SCHED_OTHER", "nice": 20}, "process.scheduler.nice"),
    put("process.scheduler", {"policy": "SCHED_BATCH", "priority": 1}, "process.scheduler.priority"),
    put("process.scheduler", {"policy": "SCHED_FIFO", "runtime": 9}, "process.scheduler.runtime"),
    put("process.ioPriority", {"class": "IDLE", "priority": 0}, "process.ioPriority.class"),
    put("process.ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 8}, "process.ioPriority.priority"),
    put("process.execCPUAffinity", {"initial": "0-", "final": "1"}, "process.execCPUAffinity.initial"),
    put("process.execCPUAffinity", {"final": "3-1"}, "process.execCPUAffinity.final"),
    put("linux.memoryPolicy", {"mode": "MPOL_ANY"}, "linux.memoryPolicy.mode"),
    put("linux.memoryPolicy", {"mode": "MPOL_LOCAL", "flags": ["X"]}, "linux.memoryPolicy.flags[0]"),
    put("linux.memoryPolicy", {"mode": "MPOL_BIND", "nodes": "a"}, "linux.memoryPolicy.nodes"),
    put("linux.personality", {"domain": "BSD"}, "linux.personality.domain"),
    put("linux.personality", {"domain": "LINUX", "flags": ["X"]}, "linux.personality.flags"),
    *(put("linux.intelRdt", {"closID": name}, "linux.intelRdt.closID") for name in ("a/b", "..", "info")),
    put("linux.intelRdt", {"memBwSchema": "L3:0=f"}, "linux.intelRdt.memBwSchema"),
    put("linux.intelRdt", {"schemata": ["L3:0=f", "L3:1=f\nMB:0=9"]}, "linux.intelRdt.schemata[1]"),
    put("linux.seccomp", {"defaultAction": "SCMP_ACT_DENY"}, "linux.seccomp.defaultAction"),
    put(
        "linux.seccomp",
        {"defaultAction": "SCMP_ACT_KILL", "flags": ["FAST"], "architectures": ["VAX"]},
        "linux.seccomp.flags[0]",
        "linux.seccomp.architectures[0]",
    ),
    put(
        "linux.seccomp",
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [""], "action": "SCMP_ACT_LOG", "errnoRet": 1}]},
        "linux.seccomp.syscalls[0].names[0]",
        "linux.seccomp.syscalls[0].errnoRet",
    ),
)
"""Values that are of the right kind, but wrong."""

KINDS = (
    put("process", 5),
    put("process.terminal", "yes"),
    put("process.user", []),
    put("process.user.gid", -1),
    put("process.args", "sh"),
    put("process.capabilities.bounding", [1], "process.capabilities.bounding[0]"),
    put("process.scheduler", {"nice": 2**31}, "process.scheduler.nice", "process.scheduler.policy"),
    put("process.consoleSize", {"height": 1.0, "width": 1}, "process.consoleSize.height"),
    put("process.env", "A=b"),
    put("root", "rootfs"),
    put("annotations", {"a.b": 1}, 'annotations["a.b"]'),
    put("mounts", {}),
    put("linux", "yes"),
    put("linux.resources.memory.limit", 2**63),
    put("linux.resources.pids.limit", "many"),
    put("linux.resources.unified", []),
    put("linux.resources.blockIO.weight", 2**16),
    put(
        "linux.seccomp",
        {"syscalls": [{"action": 1, "names": "read"}]},
        "linux.seccomp.defaultAction",
        "linux.seccomp.syscalls[0].action",
        "linux.seccomp.syscalls[0].names",
    ),
    put("linux.sysctl", {"net.x": 1}, 'linux.sysctl["net.x"]'),
    add("linux.namespaces", "pid"),
    add("linux.devices", {"path": "/dev/made-up", "type": "p", "fileMode": "0666"}, ".fileMode"),
    add("hooks.poststop", {"path": 1}, ".path"),
    add("mounts", None),
    remove("process.cwd"),
    remove("ociVersion"),
)
"""Values of another kind, out of the range of their type, or missing."""


# Rules between sections: namespaces, and what needs them --------------------------------------------------------------


def _without(document: dict[str, Any], kind: str) -> dict[str, Any]:
    """Take a namespace away, with the mounts that have a user namespace's mapping; gives the Linux section."""
    linux: dict[str, Any] = document["linux"]
    linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] != kind]
    if kind == "user":
        mounts = document.get("mounts", ())
        document["mounts"] = [one for one in mounts if "uidMappings" in one or not _asks_for_mapping(one)]
    return linux


def _asks_for_mapping(mount: dict[str, Any]) -> bool:
    return not {"idmap", "ridmap"}.isdisjoint(mount.get("options", ()))


def _no_mount_namespace(document: dict[str, Any]) -> list[str]:
    _without(document, "mount")
    return ["linux.namespaces"]


def _joined_by_a_relative_path(document: dict[str, Any]) -> list[str]:
    namespaces = _without(document, "pid")["namespaces"]
    namespaces.append({"type": "pid", "path": "ns/pid"})
    return [f"linux.namespaces[{len(namespaces) - 1}].path"]


def _names_of_the_host(document: dict[str, Any]) -> list[str]:
    _without(document, "uts").pop("sysctl", None)
    document["hostname"] = document["domainname"] = "host"
    return ["hostname", "domainname"]


def _offsets(kinds: list[str], clock: str, at: str) -> Callable[[dict[str, Any]], list[str]]:
    def apply(document: dict[str, Any]) -> list[str]:
        linux = _without(document, "time")
        linux["namespaces"] += [{"type": kind} for kind in kinds]
        linux["timeOffsets"] = {clock: {"secs": 1}}
        return [f"linux.timeOffsets{at}"]

    return apply


def _devices(kinds: list[str], at: str, **devices: str | None) -> Callable[[dict[str, Any]], list[str]]:
    def apply(document: dict[str, Any]) -> list[str]:
        linux = _without(document, "network")
        linux.pop("sysctl", None)
        linux["namespaces"] += [{"type": kind} for kind in kinds]
        linux["netDevices"] = {host: {"name": name} if name else {} for host, name in devices.items()}
        return [f"linux.netDevices{at}"]

    return apply


def _sysctl_of_the_host(document: dict[str, Any]) -> list[str]:
    _without(document, "network")["sysctl"] = {"net.core.somaxconn": "1"}
    document["linux"].pop("netDevices", None)
    return ['linux.sysctl["net.core.somaxconn"]']


def _long_name(document: dict[str, Any]) -> list[str]:
    _without(document, "uts")["namespaces"].append({"type": "uts"})
    document["hostname"] = "h" * 65
    return ["hostname"]


def _no_mappings(document: dict[str, Any]) -> list[str]:
    linux = _without(document, "user")
    linux["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        linux.pop(name, None)
    return ["linux.uidMappings", "linux.gidMappings"]


def _mappings_of_nobody(document: dict[str, Any]) -> list[str]:
    linux = _without(document, "user")
    linux["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    linux.pop("gidMappings", None)
    return ["linux.uidMappings"]


def _mapping_of_nobody_for_a_mount(document: dict[str, Any]) -> list[str]:
    linux = _without(document, "user")
    for name in ("uidMappings", "gidMappings"):
        linux.pop(name, None)
    document["mounts"].append({"destination": "/x", "source": "/y", "options": ["rbind", "ridmap"]})
    return [f"mounts[{len(document['mounts']) - 1}].options"]


def _mapped(at: str, *rows: tuple[int, int, int]) -> Callable[[dict[str, Any]], list[str]]:
    def apply(document: dict[str, Any]) -> list[str]:
        _no_mappings(document)
        maps = [{"containerID": inside, "hostID": host, "size": size} for inside, host, size in rows]
        document["linux"] |= {"uidMappings": [_ONE_ID], "gidMappings": maps}
        return [f"linux.gidMappings{at}"]

    return apply


_MAPS = ("linux.namespaces", "linux.uidMappings", "linux.gidMappings", "mounts")
_OF_NETWORK = ("linux.namespaces", "linux.netDevices", "linux.sysctl")
_OF_TIME = ("linux.namespaces", "linux.timeOffsets")

SECTIONS = (
    add("linux.namespaces", {"type": "mount"}, ".type"),
    add("linux.namespaces", {"type": "vnode"}, ".type"),
    Fault(("linux.namespaces",), _no_mount_namespace),
    Fault(("linux.namespaces",), _joined_by_a_relative_path),
    Fault(("linux.namespaces", "linux.sysctl", "hostname", "domainname"), _names_of_the_host),
    Fault(("linux.namespaces", "hostname"), _long_name),
    Fault(_MAPS, _no_mappings),
    Fault(_MAPS, _mappings_of_nobody),
    Fault(_MAPS, _mapping_of_nobody_for_a_mount),
    Fault(_MAPS, _mapped("[0].size", (0, 0, 0))),
    Fault(_MAPS, _mapped("[1].containerID", (0, 0, 1), (0, 5, 1))),
    Fault(_MAPS, _mapped("[1].hostID", (0, 0, 1), (5, 0, 1))),
    Fault(_MAPS, _mapped("[0].hostID", (0, 2**32 - 1, 1))),
    Fault(_OF_TIME, _offsets([], "monotonic", "")),
    Fault(_OF_TIME, _offsets(["time"], "realtime", '["realtime"]')),
    Fault(_OF_NETWORK, _devices([], "", eth0=None)),
    Fault(_OF_NETWORK, _devices(["network"], '["lo"]', lo="x")),
    Fault(_OF_NETWORK, _devices(["network"], '["eth0"].name', eth0="a/b")),
    Fault(_OF_NETWORK, _devices(["network"], '["eth1"].name', eth0=None, eth1="eth0")),
    Fault(_OF_NETWORK, _sysctl_of_the_host),
    *(
        Fault(("linux.namespaces", "linux.sysctl"), put("linux.sysctl", {name: "1"}, f'linux.sysctl["{name}"]').apply)
        for name in ("vm.swappiness", "net/../vm/swappiness", "kernel.hostname")
    ),
)
"""Sections that do not fit each other, or a section in itself."""

FAULTS = (*VALUES, *SECTIONS, *KINDS)


def _apart(fault: Fault, others: Iterable[Fault]) -> bool:
    """Whether a fault touches nothing that another one touches."""
    taken = [path for other in others for path in other.touches]
    return not any(
        f"{mine}.".startswith(f"{path}.") or f"{path}.".startswith(f"{mine}.")
        for mine in fault.touches
        for path in taken
    )


@st.composite
def broken_specs(draw: st.DrawFn, *, faults: int = 3) -> BrokenSpec:
    """Documents that are right but for one to `faults` faults, with the path of every problem and no other.

    Faults are of every kind: what cannot be decoded, wrong values, sections that do not fit. `Spec.from_dict` or, where
    that passes, `validate.problems` must report all paths at once. Shrinks to one fault in the least configuration.
    """
    document = draw(specs()).to_dict()
    chosen: list[Fault] = []
    for fault in draw(st.lists(st.sampled_from(FAULTS), min_size=1, max_size=faults)):
        if _apart(fault, chosen):
            chosen.append(fault)
    return BrokenSpec(document, tuple(path for fault in chosen for path in fault.apply(document)))
