"""`config.cgroups` of runc's state.json: resources, flattened, with the rules for devices.

Without it runc does nothing with a container, and `runc update` starts from what stands here. What the configuration
does not limit is left out. Source: runc, libcontainer/specconv, CreateCgroupConfig; opencontainers/cgroups, Resources.
"""

from __future__ import annotations

from libcontainer_py.kernel.weights import cpu_weight
from libcontainer_py.state.sections import entries, section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_ANY = -1


def _rule(kind: str, major: int, minor: int, access: str, **node: Any) -> dict[str, Any]:
    return {"type": ord(kind), "major": major, "minor": minor, "permissions": access, "allow": True, **node}


def _node(path: str, major: int, minor: int) -> dict[str, Any]:
    return _rule("c", major, minor, "rwm", path=path, file_mode=0o666, uid=0, gid=0)


_STANDARD = (
    _rule("c", _ANY, _ANY, "m"),
    _rule("b", _ANY, _ANY, "m"),
    _node("/dev/null", 1, 3),
    _node("/dev/random", 1, 8),
    _node("/dev/full", 1, 7),
    _node("/dev/tty", 5, 0),
    _node("/dev/zero", 1, 5),
    _node("/dev/urandom", 1, 9),
    _rule("c", 136, _ANY, "rwm"),
    _rule("c", 5, 2, "rwm"),
    _rule("c", 10, 200, "rwm"),
)
"""What runc allows every container, after the rules of the configuration."""

_FIELDS = (
    ("memory", "limit", "memory"),
    ("memory", "reservation", "memory_reservation"),
    ("memory", "swap", "memory_swap"),
    ("memory", "swappiness", "memory_swappiness"),
    ("memory", "disableOOMKiller", "oom_kill_disable"),
    ("memory", "checkBeforeUpdate", "memory_check_before_update"),
    ("cpu", "shares", "cpu_shares"),
    ("cpu", "quota", "cpu_quota"),
    ("cpu", "burst", "cpu_burst"),
    ("cpu", "period", "cpu_period"),
    ("cpu", "realtimeRuntime", "cpu_rt_quota"),
    ("cpu", "realtimePeriod", "cpu_rt_period"),
    ("cpu", "cpus", "cpuset_cpus"),
    ("cpu", "mems", "cpuset_mems"),
    ("cpu", "idle", "cpu_idle"),
    ("pids", "limit", "pids_limit"),
    ("blockIO", "weight", "blkio_weight"),
    ("blockIO", "leafWeight", "blkio_leaf_weight"),
    ("network", "classID", "net_cls_classid_u"),
)
"""Where the configuration has a number: section, key, runc's key."""
_KEPT_ZERO = frozenset({"memory_swappiness", "cpu_burst", "cpu_idle"})
"""runc keeps these as pointers: zero is a value."""
_DEVICE = (("major", "major"), ("minor", "minor"))
_RATE = (*_DEVICE, ("rate", "rate"))
_ENTRIES = (
    ("blockIO", "weightDevice", "blkio_weight_device", (*_DEVICE, ("weight", "weight"), ("leafWeight", "leafWeight"))),
    ("blockIO", "throttleReadBpsDevice", "blkio_throttle_read_bps_device", _RATE),
    ("blockIO", "throttleWriteBpsDevice", "blkio_throttle_write_bps_device", _RATE),
    ("blockIO", "throttleReadIOPSDevice", "blkio_throttle_read_iops_device", _RATE),
    ("blockIO", "throttleWriteIOPSDevice", "blkio_throttle_write_iops_device", _RATE),
    ("", "hugepageLimits", "hugetlb_limit", (("pageSize", "page_size"), ("limit", "limit"))),
    ("network", "priorities", "net_prio_ifpriomap", (("name", "interface"), ("priority", "priority"))),
)
"""Where it has a list: section, key, runc's key; and of each entry the names and runc's."""
_LIMITS = frozenset(
    {*(row[2] for row in _FIELDS), *(row[2] for row in _ENTRIES), "cpu_weight", "rdma", "unified", "pids_limit"}
)
"""runc's keys for all that is a limit."""


def standard_devices(configured: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The standard devices that the configuration does not replace; those that are made have a `path`."""
    paths = {device["path"] for device in configured}
    return [dict(entry) for entry in _STANDARD if entry.get("path") not in paths]


def configuration(
    resources: Mapping[str, Any], standard: Iterable[Mapping[str, Any]], *, name: str, path: str, rootless: bool
) -> dict[str, Any]:
    """`cgroups`, from linux.resources."""
    where = {"path": path} if path else {"name": name, "path": ""}
    rules = [_configured(rule) for rule in entries(resources, "devices")]
    keys = ("type", "major", "minor", "permissions", "allow")
    rules += [{key: entry[key] for key in keys} for entry in standard]
    limits = _limits(resources)
    return {**where, "scope_prefix": "", "devices": rules, **limits, "Systemd": False, "Rootless": rootless}


def under_systemd(cgroups: Mapping[str, Any], parent: str, prefix: str, name: str) -> dict[str, Any]:
    """`cgroups` of a container in a scope: the parts of slice:prefix:name, which runc makes the unit's name of."""
    rest = {key: value for key, value in cgroups.items() if key != "path"}
    return {**rest, "name": name, **({"parent": parent} if parent else {}), "scope_prefix": prefix, "Systemd": True}


def unit_of(cgroups: Mapping[str, Any]) -> str:
    """The name of the unit of a container that is under systemd, else ""."""
    if cgroups.get("Systemd") is not True:
        return ""
    name = str(cgroups.get("name") or "")
    return name if name.endswith(".slice") else f"{cgroups.get('scope_prefix') or ''}-{name}.scope"


def with_limits(cgroups: Mapping[str, Any], resources: Mapping[str, Any]) -> dict[str, Any]:
    """`cgroups` with other limits, and all else as it was, device rules too."""
    return {**{key: value for key, value in cgroups.items() if key not in _LIMITS}, **_limits(resources)}


def resources_of(cgroups: Mapping[str, Any]) -> dict[str, Any]:
    """linux.resources, without devices, as far as `cgroups` tell them: the way back from `configuration`.

    Absent and zero is what was not set, but where runc keeps pointers.
    """
    found: dict[str, Any] = {}
    for part, key, source in _FIELDS:
        value = cgroups.get(source)
        if value or (value is not None and source in _KEPT_ZERO):
            found.setdefault(part, {})[key] = value
    for part, key, source, names in _ENTRIES:
        listed = [
            {name: entry[theirs] for name, theirs in names if entry.get(theirs) not in (None, "")}
            for entry in entries(cgroups, source)
        ]
        if listed and part:
            found.setdefault(part, {})[key] = listed
        elif listed:
            found[key] = listed
    rdma = section(cgroups, "rdma")
    if rdma:
        names = (("hcaHandles", "hca_handles"), ("hcaObjects", "hca_objects"))
        found["rdma"] = {
            device: {name: entry[theirs] for name, theirs in names if entry.get(theirs) is not None}
            for device, entry in rdma.items()
        }
    if section(cgroups, "unified"):
        found["unified"] = dict(cgroups["unified"])
    return found


def _limits(resources: Mapping[str, Any]) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for part, key, target in _FIELDS:
        value = section(resources, part).get(key)
        if value or (value is not None and target in _KEPT_ZERO):
            limits[target] = value
    if section(resources, "pids").get("limit") == 0:
        limits["pids_limit"] = 1  # 0 is no limit to runc; that nothing can be forked, both mean
    if "cpu_shares" in limits:
        limits["cpu_weight"] = cpu_weight(limits["cpu_shares"])
    return limits | _lists(resources)


def _configured(rule: Mapping[str, Any]) -> dict[str, Any]:
    major, minor = rule.get("major"), rule.get("minor")
    return {
        "type": ord(rule.get("type") or "a"),
        "major": _ANY if major is None else major,
        "minor": _ANY if minor is None else minor,
        "permissions": rule.get("access") or "",
        "allow": bool(rule.get("allow")),
    }


def _lists(resources: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part, key, target, names in _ENTRIES:
        listed = entries(section(resources, part), key) if part else entries(resources, key)
        found[target] = [{theirs: entry.get(name) or 0 for name, theirs in names} for entry in listed]
    found["rdma"] = {
        name: {"hca_handles": entry.get("hcaHandles"), "hca_objects": entry.get("hcaObjects")}
        for name, entry in section(resources, "rdma").items()
    }
    found["unified"] = dict(section(resources, "unified"))
    return {key: value for key, value in found.items() if value}
