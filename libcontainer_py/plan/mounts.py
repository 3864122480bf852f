"""Mounts, devices and masked paths as steps.

Source: config.md, Mounts; config-linux.md, Default Filesystems, Devices, Masked Paths, Readonly Paths; mount(8) for the
options.
"""

from __future__ import annotations

import posixpath
import stat

from libcontainer_py.errors import ConfigError, Problem
from libcontainer_py.kernel import constants as c
from libcontainer_py.plan.steps import MappedMount, Step
from libcontainer_py.spec.mount_options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    from libcontainer_py.plan.steps import HostFacts
    from libcontainer_py.spec import Linux, Mount, Spec
    from libcontainer_py.spec.mount_options import Options

    Change: TypeAlias = tuple[bool, int, int, int]
    """A call of mount_setattr: with all below, MOUNT_ATTR_* to set, and to clear before, MS_PRIVATE and the like."""

DEFAULT_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
)
_NOTHING = (0, 0)
_SAFE = c.MS_NOSUID | c.MS_NODEV | c.MS_NOEXEC  # the numbers of MOUNT_ATTR_* too
_UNLABELLED = frozenset({"proc", "sysfs", "mqueue", "cgroup", "cgroup2"})
"""Kernel file systems whose files the policy labels one by one; the top of mqueue is labelled by hand, as runc does."""
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def mounts(spec: Spec, bundle: str, facts: HostFacts, cgroup_paths: Mapping[str, str]) -> Iterator[Step]:
    """The mounts, in the order of the configuration."""
    label = (spec.linux.mount_label or "") if spec.linux is not None else ""
    for index, mount in enumerate(spec.mounts):
        why = f"mounts[{index}]"
        destination = _inside(mount.destination)
        options = parse(mount.options)
        if options.is_remount:
            yield _remount(mount, destination, options, why)
        elif options.is_bind:
            yield _bind(mount, bundle, destination, options, why)
        elif mount.type == "cgroup":
            yield _cgroup_mount(spec, mount, destination, facts, cgroup_paths, why)
        else:
            yield _mount(mount, destination, options, why, label)


def _inside(path: str) -> str:
    """A path of the container, which begins at its root whatever it looks like."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _changes(options: Options, attributes: tuple[int, int] = _NOTHING) -> tuple[Change, ...]:
    """What mount_setattr has to do to a mount: `attributes` of its own, then those of all below, then propagation."""
    changes: list[Change] = []
    if attributes != _NOTHING:
        changes.append((False, *attributes, 0))
    if options.recursive != _NOTHING:
        changes.append((True, *options.recursive, 0))
    changes += [(bool(flags & c.MS_REC), 0, 0, flags & ~c.MS_REC) for flags in options.propagation]
    return tuple(changes)


def _mount(mount: Mount, destination: str, options: Options, why: str, label: str = "") -> Step:
    fstype = mount.type or ""
    data = with_context(options.data, label) if fstype not in _UNLABELLED else options.data
    label = label if fstype == "mqueue" else ""
    options, kept = _until_filled(fstype, destination, options)
    changes, copies = _changes(options), "tmpcopyup" in options.extensions
    kind = "cgroup2" if fstype == "cgroup" else fstype
    arguments = (mount.source or fstype, destination, kind, options.flags, data)
    if not changes and not copies and not kept and not label and destination != "/":
        return Step("mount", arguments, why)
    return Step("mount_detached", (*arguments, changes, copies, kept, label), why)


def with_context(data: str, label: str) -> str:
    """The data of a file system all of whose files are to have an SELinux label; one that it has already stays."""
    if not label or any(option.startswith("context=") for option in data.split(",")):
        return data
    context = f'context="{label}"'  # a label may have commas. Source: mount(8), SELinux mount options
    return f"{data},{context}" if data else context


def _bind(mount: Mount, bundle: str, destination: str, options: Options, why: str) -> Step:
    source = posixpath.join(bundle, mount.source or "")
    name = "bind_or_link" if "copy-symlink" in options.extensions else "bind"
    if mount.uid_mappings or options.is_mapped:
        return Step("attach", (why, destination, _changes(options, options.attributes)), why)
    recursive = bool(options.flags & c.MS_REC)
    return Step(name, (source, destination, recursive, _changes(options, options.attributes)), why)


def id_maps(of: Linux | Mount) -> tuple[str, str]:
    """uid_map and gid_map of a user namespace. Source: user_namespaces(7)."""
    uids, gids = (
        "".join(f"{one.container_id} {one.host_id} {one.size}\n" for one in mappings)
        for mappings in (of.uid_mappings, of.gid_mappings)
    )
    return uids, gids


def mapped(spec: Spec, bundle: str) -> Iterator[MappedMount]:
    """The bind mounts whose ids are mapped: as they say, or as the container's user namespace has it."""
    if spec.linux is None:
        return
    users = next((one for one in spec.linux.namespaces if one.type == "user"), None)
    shared = (spec.linux.rootfs_propagation or "").endswith("shared") and users is None
    for index, mount in enumerate(spec.mounts):
        options = parse(mount.options)
        if not (mount.uid_mappings or options.is_mapped):
            continue
        maps = id_maps(mount if mount.uid_mappings else spec.linux)
        joined = not mount.uid_mappings and users is not None and users.path
        yield MappedMount(
            name=f"mounts[{index}]",
            source=posixpath.join(bundle, mount.source or ""),
            recursive=bool(options.flags & c.MS_REC),
            below="ridmap" in options.extensions,
            slave=not shared,
            maps=None if joined else maps,
        )


def _remount(mount: Mount, destination: str, options: Options, why: str) -> Step:
    """Of a mount alone (bind) or of its file system: the flags of mount(2) take the place of those that were there."""
    options, kept = _until_filled(mount.type or "", destination, options)
    flags = options.flags & ~c.MS_REC
    return Step("remount", (destination, flags, options.data, options.attributes, _changes(options), kept), why)


def _until_filled(fstype: str, destination: str, options: Options) -> tuple[Options, bool]:
    """The options without those that make it read-only where we make things in it; and whether there were such."""
    if not _is_filled(fstype, destination) or not _is_readonly(options):
        return options, False
    sets, clears = options.recursive
    rest = options._replace(flags=options.flags & ~c.MS_RDONLY, recursive=(sets & ~c.MOUNT_ATTR_RDONLY, clears))
    return rest, True


def _is_filled(fstype: str, destination: str) -> bool:
    return fstype == "tmpfs" or destination == "/dev"


def _is_readonly(options: Options) -> bool:
    return bool(options.flags & c.MS_RDONLY or options.recursive[0] & c.MOUNT_ATTR_RDONLY)


def readonly_mounts(spec: Spec) -> Iterator[Step]:
    """File systems that are to be read-only and had to be filled first."""
    for index, mount in enumerate(spec.mounts):
        options = parse(mount.options)
        destination = _inside(mount.destination)
        if _is_readonly(options) and not options.is_bind and _is_filled(mount.type or "", destination):
            yield Step("attributes", (destination, c.MOUNT_ATTR_RDONLY), f"mounts[{index}].options")


def shows_cgroups(step: Step) -> bool:
    """Whether it is a mount of cgroups, which shows the place that init is at."""
    return step.name == "cgroups_v1" or (step.name in ("mount", "mount_detached") and step.arguments[2] == "cgroup2")


def copies(step: Step) -> bool:
    """Whether it fills a tmpfs with what the image says, which its own cgroup shall pay for."""
    return step.name == "mount_detached" and bool(step.arguments[6])


def _cgroup_mount(
    spec: Spec, mount: Mount, destination: str, facts: HostFacts, cgroup_paths: Mapping[str, str], why: str
) -> Step:
    """On v2 one mount; on v1 a tmpfs with one mount a hierarchy, or binds of the container's own directories."""
    options = parse(mount.options)
    own_namespace = spec.linux is not None and any(one.type == "cgroup" for one in spec.linux.namespaces)
    changes = _changes(options, options.attributes)
    if facts.cgroups_v2:
        if own_namespace or "" not in cgroup_paths:
            return _mount(mount, destination, options, why)
        _refuse_data(options, why)
        return Step("bind", (cgroup_paths[""], destination, True, changes), why)
    _refuse_data(options, why)
    hierarchies: list[tuple[str, str, str]] = []
    links: list[tuple[str, str]] = []
    for name, controllers in facts.hierarchies:
        source = "" if own_namespace else cgroup_paths.get(controllers[0], "")
        if own_namespace or source:
            hierarchies.append((name, ",".join(controllers), source))
            links += [(name, other) for other in controllers if other != name and not other.startswith("name=")]
    safe = _SAFE if own_namespace else 0  # as with runc, which is told nothing else about mounts of a namespace's
    flags = (options.flags | safe, options.attributes[0] | safe, options.attributes[1])
    label = (spec.linux.mount_label or "") if spec.linux is not None else ""
    of_tmpfs = (("mode", "755"), ("context", label)) if label else (("mode", "755"),)
    arguments = (destination, flags, of_tmpfs, tuple(hierarchies), tuple(links), _changes(options))
    return Step("cgroups_v1", arguments, why)


def _refuse_data(options: Options, why: str) -> None:
    """Options of cgroup2 are for who mounts it anew. Raises ConfigError."""
    if options.data:
        hint = "leave it out, or add a cgroup namespace on a host with cgroup v2 alone"
        raise ConfigError(
            [Problem(f"{why}.options", f"the cgroups of this container take no {options.data!r}", hint=hint)]
        )


def devices(spec: Spec, facts: HostFacts) -> Iterator[Step]:
    """The default devices and the configured ones, which win; the links; nothing where /dev is bound from the host."""
    if any(_inside(mount.destination) == "/dev" and parse(mount.options).is_bind for mount in spec.mounts):
        return
    new_user_namespace = spec.linux is not None and any(one.type == "user" for one in spec.linux.namespaces)
    make = facts.can_mknod and not new_user_namespace
    configured = spec.linux.devices if spec.linux is not None else ()
    taken = {posixpath.normpath(device.path) for device in configured}
    for name, major, minor in DEFAULT_DEVICES:
        path = f"/dev/{name}"
        if path not in taken:
            why = "config-linux.md, Default Devices"
            yield _device(path, stat.S_IFCHR, 0o666, (major, minor), (0, 0), why, make=make)
    for index, device in enumerate(configured):
        number = (device.major or 0, device.minor or 0)
        mode = 0o666 if device.file_mode is None else device.file_mode & 0o7777
        owner = (device.uid or 0, device.gid or 0)
        kind = _KINDS[device.type]
        may = make or device.type == "p"
        where = f"linux.devices[{index}]"
        yield _device(posixpath.normpath(device.path), kind, mode, number, owner, where, make=may)
    for target, path in _LINKS:
        yield Step("link", (target, path), "runtime-linux.md, Dev symbolic links")
    yield Step("ptmx", (), "config-linux.md, Default Devices")


def _device(
    path: str, kind: int, mode: int, number: tuple[int, int], owner: tuple[int, int], why: str, *, make: bool
) -> Step:
    if make:
        return Step("device", (path, kind, mode, number, owner), why)
    return Step("bind_device", (path, number), why)


def hidden(linux: Linux) -> Iterator[Step]:
    """Read-only paths, then masked ones."""
    context = with_context("", linux.mount_label or "")
    for index, path in enumerate(linux.readonly_paths):
        yield Step("readonly", (path,), f"linux.readonlyPaths[{index}]")
    for index, path in enumerate(linux.masked_paths):
        yield Step("mask", (path, context) if context else (path,), f"linux.maskedPaths[{index}]")
