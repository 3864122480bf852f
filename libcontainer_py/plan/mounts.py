"""Mounts, devices and masked paths as steps.

Source: config.md, Mounts; config-linux.md, Default Filesystems, Devices, Masked Paths, Readonly Paths; mount(8) for the
options.
"""

from __future__ import annotations

import posixpath
import stat
from typing import NamedTuple

from libcontainer_py.errors import Problem
from libcontainer_py.kernel import constants as c
from libcontainer_py.plan.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from libcontainer_py.plan.steps import HostFacts
    from libcontainer_py.spec import Spec

_FLAGS: dict[str, tuple[int, int]] = {  # option: (flags to set, flags to clear)
    "defaults": (0, 0),
    "ro": (c.MS_RDONLY, 0),
    "rw": (0, c.MS_RDONLY),
    "nosuid": (c.MS_NOSUID, 0),
    "suid": (0, c.MS_NOSUID),
    "nodev": (c.MS_NODEV, 0),
    "dev": (0, c.MS_NODEV),
    "noexec": (c.MS_NOEXEC, 0),
    "exec": (0, c.MS_NOEXEC),
    "sync": (c.MS_SYNCHRONOUS, 0),
    "async": (0, c.MS_SYNCHRONOUS),
    "dirsync": (c.MS_DIRSYNC, 0),
    "remount": (c.MS_REMOUNT, 0),
    "mand": (c.MS_MANDLOCK, 0),
    "nomand": (0, c.MS_MANDLOCK),
    "noatime": (c.MS_NOATIME, 0),
    "atime": (0, c.MS_NOATIME),
    "nodiratime": (c.MS_NODIRATIME, 0),
    "diratime": (0, c.MS_NODIRATIME),
    "relatime": (c.MS_RELATIME, 0),
    "norelatime": (0, c.MS_RELATIME),
    "strictatime": (c.MS_STRICTATIME, 0),
    "nostrictatime": (0, c.MS_STRICTATIME),
    "lazytime": (c.MS_LAZYTIME, 0),
    "nolazytime": (0, c.MS_LAZYTIME),
    "iversion": (c.MS_I_VERSION, 0),
    "noiversion": (0, c.MS_I_VERSION),
    "nosymfollow": (c.MS_NOSYMFOLLOW, 0),
    "symfollow": (0, c.MS_NOSYMFOLLOW),
    "silent": (c.MS_SILENT, 0),
    "loud": (0, c.MS_SILENT),
    "bind": (c.MS_BIND, 0),
    "rbind": (c.MS_BIND | c.MS_REC, 0),
}
PROPAGATION = {
    "private": c.MS_PRIVATE,
    "rprivate": c.MS_PRIVATE | c.MS_REC,
    "slave": c.MS_SLAVE,
    "rslave": c.MS_SLAVE | c.MS_REC,
    "shared": c.MS_SHARED,
    "rshared": c.MS_SHARED | c.MS_REC,
    "unbindable": c.MS_UNBINDABLE,
    "runbindable": c.MS_UNBINDABLE | c.MS_REC,
}
_NOT_YET = frozenset(
    "idmap ridmap tmpcopyup copy-symlink rro rrw rnosuid rsuid rnodev rdev rnoexec rexec rnoatime ratime rnodiratime "
    "rdiratime rrelatime rnorelatime rstrictatime rnostrictatime rnosymfollow rsymfollow remount".split()
)
_ATTRIBUTES = (  # what mount_setattr calls a flag. Source: mount_setattr(2)
    (c.MS_RDONLY, c.MOUNT_ATTR_RDONLY),
    (c.MS_NOSUID, c.MOUNT_ATTR_NOSUID),
    (c.MS_NODEV, c.MOUNT_ATTR_NODEV),
    (c.MS_NOEXEC, c.MOUNT_ATTR_NOEXEC),
    (c.MS_NODIRATIME, c.MOUNT_ATTR_NODIRATIME),
    (c.MS_NOSYMFOLLOW, c.MOUNT_ATTR_NOSYMFOLLOW),
)
_TIMES = ((c.MS_NOATIME, c.MOUNT_ATTR_NOATIME), (c.MS_STRICTATIME, c.MOUNT_ATTR_STRICTATIME), (c.MS_RELATIME, 0))

DEFAULT_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
)
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


class Options(NamedTuple):
    """What the options of a mount amount to."""

    flags: int
    cleared: int
    propagation: tuple[int, ...]
    data: str


def parse_options(options: Iterable[str]) -> Options:
    """Sort options into flags, flags to clear, propagation, and data for the file system; later ones win."""
    flags = cleared = 0
    propagation: list[int] = []
    data: list[str] = []
    for option in options:
        if option in _FLAGS:
            sets, clears = _FLAGS[option]
            flags, cleared = (flags | sets) & ~clears, (cleared | clears) & ~sets
        elif option in PROPAGATION:
            propagation.append(PROPAGATION[option])
        else:
            data.append(option)
    return Options(flags, cleared, tuple(propagation), ",".join(data))


def _attributes(options: Options) -> tuple[int, int]:
    """MOUNT_ATTR_* to set, and to clear."""
    sets = sum(attribute for flag, attribute in _ATTRIBUTES if options.flags & flag)
    clears = sum(attribute for flag, attribute in _ATTRIBUTES if options.cleared & flag)
    for flag, attribute in _TIMES:
        if options.flags & flag:
            return sets | attribute, clears | c.MOUNT_ATTR__ATIME
    return sets, clears


def problems(spec: Spec) -> Iterator[Problem]:
    """What is wrong with the options of mounts."""
    for index, mount in enumerate(spec.mounts):
        path = f"mounts[{index}].options"
        for option in mount.options:
            if option in _NOT_YET:
                yield Problem(path, f"option {option!r} is not supported yet", list(mount.options))
        parsed = parse_options(option for option in mount.options if option not in _NOT_YET)
        if parsed.flags & c.MS_BIND:
            if parsed.data:
                yield Problem(path, f"a bind mount takes no {parsed.data!r}", list(mount.options))
            if not mount.source:
                yield Problem(f"mounts[{index}].source", "a bind mount needs a source", mount.source)
        elif not mount.type:
            yield Problem(f"mounts[{index}].type", "a mount that is no bind mount needs a type", mount.type)


def mounts(spec: Spec, bundle: str, facts: HostFacts, cgroup_paths: Mapping[str, str]) -> Iterator[Step]:
    """The mounts, in the order of the configuration."""
    for index, mount in enumerate(spec.mounts):
        why = f"mounts[{index}]"
        destination = posixpath.normpath("/" + mount.destination.lstrip("/"))
        options = parse_options(mount.options)
        if options.flags & c.MS_BIND:
            source = posixpath.join(bundle, mount.source or "")
            recursive = bool(options.flags & c.MS_REC)
            yield Step("bind", (source, destination, recursive, _attributes(options), options.propagation), why)
        elif mount.type == "cgroup":
            yield _cgroup_mount(spec, destination, options, facts, cgroup_paths, why)
        else:
            fstype = mount.type or ""
            flags = options.flags & ~c.MS_RDONLY if _is_filled(fstype) else options.flags
            arguments = (mount.source or fstype, destination, fstype, flags, options.data, options.propagation)
            yield Step("mount", arguments, why)


def _is_filled(fstype: str) -> bool:
    """Whether we make things in it, so that it can become read-only only in the end."""
    return fstype == "tmpfs"


def readonly_mounts(spec: Spec) -> Iterator[Step]:
    """File systems that are to be read-only and had to be filled first."""
    for index, mount in enumerate(spec.mounts):
        options = parse_options(mount.options)
        if _is_filled(mount.type or "") and options.flags & c.MS_RDONLY and not options.flags & c.MS_BIND:
            destination = posixpath.normpath("/" + mount.destination.lstrip("/"))
            yield Step("attributes", (destination, c.MOUNT_ATTR_RDONLY), f"mounts[{index}].options")


def shows_cgroups(step: Step) -> bool:
    """Whether it is a mount of cgroups, which shows the place that init is at."""
    return step.name == "cgroups_v1" or (step.name == "mount" and step.arguments[2] == "cgroup2")


def _cgroup_mount(
    spec: Spec, destination: str, options: Options, facts: HostFacts, cgroup_paths: Mapping[str, str], why: str
) -> Step:
    """On v2 one mount; on v1 a tmpfs with one mount a hierarchy, or binds of the container's own directories."""
    own_namespace = spec.linux is not None and any(one.type == "cgroup" for one in spec.linux.namespaces)
    if facts.cgroups_v2:
        if own_namespace or "" not in cgroup_paths:
            return Step("mount", ("cgroup", destination, "cgroup2", options.flags, "", ()), why)
        return Step("bind", (cgroup_paths[""], destination, True, _attributes(options), ()), why)
    hierarchies: list[tuple[str, str, str]] = []
    links: list[tuple[str, str]] = []
    for name, controllers in facts.hierarchies:
        source = "" if own_namespace else cgroup_paths.get(controllers[0], "")
        if own_namespace or source:
            hierarchies.append((name, ",".join(controllers), source))
            links += [(name, other) for other in controllers if other != name and not other.startswith("name=")]
    flags = (options.flags, _attributes(options)[0])
    return Step("cgroups_v1", (destination, flags, tuple(hierarchies), tuple(links)), why)


def devices(spec: Spec, facts: HostFacts) -> Iterator[Step]:
    """The default devices and the configured ones, which win; the links; nothing where /dev is bound from the host."""
    bound = [mount for mount in spec.mounts if posixpath.normpath(mount.destination) == "/dev"]
    if any(parse_options(mount.options).flags & c.MS_BIND for mount in bound):
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


def hidden(masked: Sequence[str], readonly: Sequence[str]) -> Iterator[Step]:
    """Read-only paths, then masked ones."""
    for index, path in enumerate(readonly):
        yield Step("readonly", (path,), f"linux.readonlyPaths[{index}]")
    for index, path in enumerate(masked):
        yield Step("mask", (path,), f"linux.maskedPaths[{index}]")
