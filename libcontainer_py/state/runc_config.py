"""The `config` of runc's state.json, made from a decoded config.json.

So that runc can work on containers that this library made. What runc would write as zero, false, null or empty is left
out, as runc 1.5 does; above all `pids_limit: 0`, which runc 1.5 would write back as pids.max=1.
Source: runc 1.5.1, libcontainer/specconv/spec_linux.go, CreateLibcontainerConfig; compared with what 1.1.5 writes.
"""

from __future__ import annotations

import os
from typing import Any

from libcontainer_py.kernel import constants as c
from libcontainer_py.record import Init
from libcontainer_py.state import runc, runc_cgroups, runc_seccomp
from libcontainer_py.state.sections import entries, section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMESPACES = {
    "pid": "NEWPID",
    "network": "NEWNET",
    "mount": "NEWNS",
    "user": "NEWUSER",
    "ipc": "NEWIPC",
    "uts": "NEWUTS",
    "cgroup": "NEWCGROUP",
    "time": "NEWTIME",
}
"""OCI's word for a namespace: runc's."""

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

_PROPAGATION = {
    name: flag | recursive
    for word, flag in (
        ("private", c.MS_PRIVATE),
        ("slave", c.MS_SLAVE),
        ("shared", c.MS_SHARED),
        ("unbindable", c.MS_UNBINDABLE),
    )
    for name, recursive in ((word, 0), (f"r{word}", c.MS_REC))
}
_SET = {
    "bind": c.MS_BIND,
    "rbind": c.MS_BIND | c.MS_REC,
    "dirsync": c.MS_DIRSYNC,
    "iversion": c.MS_I_VERSION,
    "lazytime": c.MS_LAZYTIME,
    "mand": c.MS_MANDLOCK,
    "noatime": c.MS_NOATIME,
    "nodev": c.MS_NODEV,
    "nodiratime": c.MS_NODIRATIME,
    "noexec": c.MS_NOEXEC,
    "nosuid": c.MS_NOSUID,
    "nosymfollow": c.MS_NOSYMFOLLOW,
    "relatime": c.MS_RELATIME,
    "remount": c.MS_REMOUNT,
    "ro": c.MS_RDONLY,
    "silent": c.MS_SILENT,
    "strictatime": c.MS_STRICTATIME,
    "sync": c.MS_SYNCHRONOUS,
}
_CLEAR = {
    "async": c.MS_SYNCHRONOUS,
    "atime": c.MS_NOATIME,
    "dev": c.MS_NODEV,
    "diratime": c.MS_NODIRATIME,
    "exec": c.MS_NOEXEC,
    "loud": c.MS_SILENT,
    "noiversion": c.MS_I_VERSION,
    "nolazytime": c.MS_LAZYTIME,
    "nomand": c.MS_MANDLOCK,
    "norelatime": c.MS_RELATIME,
    "nostrictatime": c.MS_STRICTATIME,
    "rw": c.MS_RDONLY,
    "suid": c.MS_NOSUID,
    "symfollow": c.MS_NOSYMFOLLOW,
}
# linux/mount.h, MOUNT_ATTR_*
_ATTR_ATIME = 0x70
_ATTR_SET = {
    "rro": 0x1,
    "rnosuid": 0x2,
    "rnodev": 0x4,
    "rnoexec": 0x8,
    "rrelatime": 0x0,
    "rnoatime": 0x10,
    "rstrictatime": 0x20,
    "rnodiratime": 0x80,
    "rnosymfollow": 0x200000,
}
_ATTR_CLEAR = {
    "rrw": 0x1,
    "rsuid": 0x2,
    "rdev": 0x4,
    "rexec": 0x8,
    "rnorelatime": 0x0,
    "ratime": 0x10,
    "rnostrictatime": 0x20,
    "rdiratime": 0x80,
    "rsymfollow": 0x200000,
}
_COPY_UP = 1
_MAPPED = frozenset({"idmap", "ridmap"})


def document(
    *,
    container_id: str,
    init: Init,
    created: str,
    spec_dict: Mapping[str, Any],
    bundle: str,
    rootfs: str,
    cgroup_paths: Mapping[str, str],
    cgroup_inodes: Mapping[str, int],
    resctrl_paths: tuple[str, str] = ("", ""),
    rootless: bool = False,
    cgroup_config_path: str = "",
    oom_kills: int = 0,
) -> dict[str, Any]:
    """state.json of a container that this library made from the config.json `spec_dict`.

    `cgroup_paths` and `cgroup_inodes` as Record and Intent keep them; `resctrl_paths` are those of its control group
    and its monitoring group, or ""; `cgroup_config_path` is the path in each hierarchy ("": the id); `oom_kills` what a
    cgroup that was there before had counted until then. The specification
    has no say in what runc needs nowhere: networks' addresses, routes.
    """
    config = configuration(
        spec_dict,
        container_id=container_id,
        bundle=bundle,
        rootfs=rootfs,
        rootless=rootless,
        cgroup_config_path=cgroup_config_path,
    )
    config["labels"], beyond = runc.to_labels(bundle, section(spec_dict, "annotations"))
    own: dict[str, Any] = {"version": runc.VERSION, "cgroups": dict(cgroup_inodes)}
    if beyond:
        own["annotations"] = beyond
    if oom_kills:
        own["oom_kills"] = oom_kills
    return {
        "id": container_id,
        "init_process_pid": init.pid,
        "init_process_start": init.start,
        "created": created,
        "config": config,
        "rootless": rootless,
        "cgroup_paths": dict(cgroup_paths),
        "namespace_paths": namespace_paths(init.pid),
        "external_descriptors": ["/dev/null"] * 3,
        "intel_rdt_path": resctrl_paths[0],
        "intel_rdt_mon_path": resctrl_paths[1],
        runc.OURS: own,
    }


def without_nothing(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same document without what says nothing (null, "", false, []): it halves what each load has to read.

    To runc an absent key is the zero value of its type, as 1.5 writes it. Numbers stay: a pointer to 0 is not nil.
    """
    # by exact types, which JSON has alone: isinstance and a call for each value take four times as long
    kept: dict[str, Any] = {}
    for key, value in document.items():
        kind = value.__class__
        if kind is dict:
            kept[key] = without_nothing(value)
        elif kind is list:
            if value:
                kept[key] = [_without_nothing(item) for item in value]
        elif value is not None and value is not False and value != "":
            kept[key] = value
    return kept


def _without_nothing(item: Any) -> Any:
    return without_nothing(item) if item.__class__ is dict else item


def namespace_paths(pid: int) -> dict[str, str]:
    """Every namespace of a process as runc keeps them, by which `runc exec` joins; only those that this kernel has."""
    files = {NAMESPACES[word]: name for word, (name, _) in c.NAMESPACES.items()}
    return {kind: f"/proc/{pid}/ns/{name}" for kind, name in files.items() if os.path.exists(f"/proc/self/ns/{name}")}


def configuration(
    spec: Mapping[str, Any],
    *,
    container_id: str,
    bundle: str,
    rootfs: str,
    rootless: bool = False,
    cgroup_config_path: str = "",
) -> dict[str, Any]:
    """`config`, without labels."""
    linux = section(spec, "linux")
    process = section(spec, "process")
    namespaces = [
        {"type": NAMESPACES[entry["type"]], "path": entry.get("path") or ""} for entry in entries(linux, "namespaces")
    ]
    standard = runc_cgroups.standard_devices(entries(linux, "devices"))
    nodes = [*(entry for entry in standard if "path" in entry), *map(_device, entries(linux, "devices"))]
    config: dict[str, Any] = {
        "rootfs": rootfs,
        "umask": section(process, "user").get("umask"),
        "readonlyfs": bool(section(spec, "root").get("readonly")),
        "rootPropagation": _PROPAGATION.get(linux.get("rootfsPropagation", ""), 0),
        "mounts": [_mount(entry, bundle, linux) for entry in entries(spec, "mounts")],
        "devices": nodes,
        "netDevices": linux.get("netDevices"),
        "intel_rdt": _intel_rdt(section(linux, "intelRdt")),
        "mount_label": linux.get("mountLabel", ""),
        "hostname": spec.get("hostname", ""),
        "domainname": spec.get("domainname", ""),
        "namespaces": namespaces,
        "networks": [{"type": "loopback"}] if {"type": "NEWNET", "path": ""} in namespaces else None,
        "cgroups": runc_cgroups.configuration(
            section(linux, "resources"),
            standard,
            name=container_id,
            path=cgroup_config_path,
            rootless=rootless,
        ),
        "uid_mappings": _mappings(linux.get("uidMappings")),
        "gid_mappings": _mappings(linux.get("gidMappings")),
        "mask_paths": linux.get("maskedPaths"),
        "readonly_paths": linux.get("readonlyPaths"),
        "sysctl": linux.get("sysctl"),
        "seccomp": runc_seccomp.configuration(section(linux, "seccomp")),
        "apparmor_profile": process.get("apparmorProfile", ""),
        "process_label": process.get("selinuxLabel", ""),
        "oom_score_adj": process.get("oomScoreAdj"),
        "no_new_privileges": bool(process.get("noNewPrivileges")),
        "capabilities": _capabilities(process.get("capabilities")),
        "time_offsets": linux.get("timeOffsets"),
        "rootless_euid": rootless,
        "rootless_cgroups": rootless,
    }
    kept = {key: value for key, value in config.items() if value or (key in _KEPT_ZERO and value is not None)}
    hooks = section(spec, "hooks")
    return {
        **kept,
        "Hooks": {kind: [_hook(hook) for hook in entries(hooks, kind)] or None for kind in HOOKS} if hooks else None,
        "version": spec.get("ociVersion", ""),
    }


_KEPT_ZERO = frozenset({"umask", "oom_score_adj", "readonlyfs", "no_new_privileges"})
"""Where zero says something else than nothing, or a reader looks for the key."""


_INTEL_RDT = frozenset({"closID", "schemata", "l3CacheSchema", "memBwSchema", "enableMonitoring"})


def _hook(hook: Mapping[str, Any]) -> dict[str, Any]:
    timeout = hook.get("timeout")
    return {
        "path": hook["path"],
        "args": hook.get("args"),
        "env": hook.get("env"),
        "dir": "",
        "timeout": None if timeout is None else timeout * 1_000_000_000,
    }


def _capabilities(capabilities: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if capabilities is None:
        return None
    kinds = ("Bounding", "Effective", "Inheritable", "Permitted", "Ambient")
    return {kind: capabilities.get(kind.lower()) for kind in kinds}


def _mappings(mappings: Iterable[Mapping[str, Any]] | None) -> list[dict[str, int]] | None:
    if mappings is None:
        return None
    return [
        {"container_id": entry["containerID"], "host_id": entry["hostID"], "size": entry["size"]} for entry in mappings
    ]


def _id_mapping(mount: Mapping[str, Any], linux: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of a mount whose ids are mapped: its own maps, or those of the container's user namespace."""
    words = _MAPPED.intersection(entries(mount, "options"))
    of = mount if mount.get("uidMappings") else linux
    if not words and of is linux:
        return None
    path = next((one.get("path") for one in entries(linux, "namespaces") if one["type"] == "user"), None)
    if path and of is linux:
        maps = {"userns_path": path}
    else:
        maps = {"uid_mappings": _mappings(of.get("uidMappings")), "gid_mappings": _mappings(of.get("gidMappings"))}
    return {"recursive": True, **maps} if "ridmap" in words else maps


def _intel_rdt(rdt: Mapping[str, Any]) -> dict[str, Any]:
    names = {"l3CacheSchema": "l3_cache_schema"}  # the others are called alike
    return {names.get(key, key): value for key, value in rdt.items() if key in _INTEL_RDT}


def _device(device: Mapping[str, Any]) -> dict[str, Any]:
    mode = device.get("fileMode")
    return {
        "type": ord("c" if device["type"] == "u" else device["type"]),
        "major": device.get("major", 0),
        "minor": device.get("minor", 0),
        "permissions": "",
        "allow": False,
        "path": device["path"],
        "file_mode": 0o666 if mode is None else mode & ~0o170000,
        "uid": device.get("uid") or 0,
        "gid": device.get("gid") or 0,
    }


def _mount(mount: Mapping[str, Any], bundle: str, linux: Mapping[str, Any]) -> dict[str, Any]:
    flags = cleared = extensions = attr_set = attr_clear = 0
    propagation: list[int] = []
    data: list[str] = []
    for option in entries(mount, "options"):
        if option in _SET:
            flags |= _SET[option]
            cleared &= ~_SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
            cleared |= _CLEAR[option]
        elif option in _PROPAGATION:
            propagation.append(_PROPAGATION[option])
        elif option in _ATTR_SET or option in _ATTR_CLEAR:
            bits = _ATTR_SET.get(option, _ATTR_CLEAR.get(option, 0))
            chosen = bits if option in _ATTR_SET else 0
            attr_set = attr_set & ~bits | chosen
            attr_clear = attr_clear & ~chosen | bits & ~chosen
            if bits & _ATTR_ATIME == bits:
                attr_clear |= _ATTR_ATIME  # mount_setattr(2): an access time is set by clearing the others
        elif option == "tmpcopyup":
            extensions |= _COPY_UP
        elif option in _MAPPED:
            pass  # in id_mapping
        else:
            data.append(option)
    is_bind = bool(flags & c.MS_BIND)
    source = mount.get("source") or ""
    converted = {
        "source": os.path.join(bundle, source) if is_bind else source,
        "destination": mount["destination"],
        "device": "bind" if is_bind else mount.get("type") or "",
        "flags": flags,
        "cleared_flags": cleared,
        "propagation_flags": propagation,
        "data": ",".join(data),
        "rec_attr": {"Attr_set": attr_set, "Attr_clr": attr_clear} if attr_set or attr_clear else None,
        "extensions": extensions,
        "id_mapping": _id_mapping(mount, linux),
    }
    return {key: value for key, value in converted.items() if value}
