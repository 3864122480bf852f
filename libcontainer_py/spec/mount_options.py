"""The options of mounts: what they amount to, and which do not go together.

Words that are not in these tables are for the file system, as the fifth argument of mount(2). Source: config.md, Mounts
and Linux mount options; mount(8); mount_setattr(2). `copy-symlink` is crun's, and known to podman.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from libcontainer_py.errors import Problem
from libcontainer_py.kernel import constants as c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer_py.spec.config import Mount, Spec

FLAGS: dict[str, tuple[int, int]] = {  # option: (flags to set, flags to clear)
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
_PAIRS = (  # flag, what mount_setattr calls it, the words of a mount with all below it: to set, to clear
    (c.MS_RDONLY, c.MOUNT_ATTR_RDONLY, "rro", "rrw"),
    (c.MS_NOSUID, c.MOUNT_ATTR_NOSUID, "rnosuid", "rsuid"),
    (c.MS_NODEV, c.MOUNT_ATTR_NODEV, "rnodev", "rdev"),
    (c.MS_NOEXEC, c.MOUNT_ATTR_NOEXEC, "rnoexec", "rexec"),
    (c.MS_NODIRATIME, c.MOUNT_ATTR_NODIRATIME, "rnodiratime", "rdiratime"),
    (c.MS_NOSYMFOLLOW, c.MOUNT_ATTR_NOSYMFOLLOW, "rnosymfollow", "rsymfollow"),
)
_RELATIME = 0
"""What mount_setattr calls it, and what the kernel does where nobody says anything."""
_TIMES = (
    (c.MS_STRICTATIME, c.MOUNT_ATTR_STRICTATIME),
    (c.MS_NOATIME, c.MOUNT_ATTR_NOATIME),
    (c.MS_RELATIME, _RELATIME),
)
"""Of several the first one counts, as in mount(2)."""

RECURSIVE: dict[str, tuple[int, int]] = {  # option: (attributes to set, attributes to clear before)
    **{word: (attribute, attribute) for _, attribute, word, _ in _PAIRS},
    **{word: (0, attribute) for _, attribute, _, word in _PAIRS},
    "rnoatime": (c.MOUNT_ATTR_NOATIME, c.MOUNT_ATTR__ATIME),
    "rstrictatime": (c.MOUNT_ATTR_STRICTATIME, c.MOUNT_ATTR__ATIME),
    "rrelatime": (_RELATIME, c.MOUNT_ATTR__ATIME),
    "ratime": (_RELATIME, c.MOUNT_ATTR__ATIME),
    "rnostrictatime": (_RELATIME, c.MOUNT_ATTR__ATIME),
    "rnorelatime": (0, 0),  # the kernel knows no such thing since 2.6.30. Source: mount(8)
}
EXTENSIONS = frozenset({"idmap", "ridmap", "tmpcopyup", "copy-symlink"})
"""What no flag says, and a runtime has to do."""

_OF_FILE_SYSTEMS = {
    "sync": c.MS_SYNCHRONOUS,
    "dirsync": c.MS_DIRSYNC,
    "mand": c.MS_MANDLOCK,
    "lazytime": c.MS_LAZYTIME,
    "iversion": c.MS_I_VERSION,
}
"""Of a file system, and not of one of its mounts: mount(2) passes them over for MS_BIND."""


class Options(NamedTuple):
    """What the options of a mount amount to. Of two that contradict each other the later one counts."""

    flags: int = 0
    """MS_* of mount(2), without propagation."""
    cleared: int = 0
    """MS_* that the mount shall not have, whatever its source has."""
    recursive: tuple[int, int] = (0, 0)
    """MOUNT_ATTR_* to set, and to clear before, for the mount with all that is mounted below it."""
    propagation: tuple[int, ...] = ()
    """MS_PRIVATE and the like, one after the other."""
    extensions: frozenset[str] = frozenset()
    """Words of EXTENSIONS."""
    data: str = ""
    """For the file system."""

    @property
    def is_bind(self) -> bool:
        """Whether something is mounted that is mounted already, and not changed where it is (`remount`)."""
        return self.flags & (c.MS_BIND | c.MS_REMOUNT) == c.MS_BIND

    @property
    def is_remount(self) -> bool:
        """Whether a mount of before is to be changed."""
        return bool(self.flags & c.MS_REMOUNT)

    @property
    def is_mapped(self) -> bool:
        """Whether an option asks for a mapping of ids."""
        return not self.extensions.isdisjoint(("idmap", "ridmap"))

    @property
    def attributes(self) -> tuple[int, int]:
        """MOUNT_ATTR_* to set, and to clear before, for the mount alone."""
        sets = sum(attribute for flag, attribute, _, _ in _PAIRS if self.flags & flag)
        clears = sum(attribute for flag, attribute, _, _ in _PAIRS if self.cleared & flag)
        for flag, attribute in _TIMES:
            if self.flags & flag:
                return sets | attribute, clears | c.MOUNT_ATTR__ATIME
        if self.cleared & (c.MS_NOATIME | c.MS_STRICTATIME):
            clears |= c.MOUNT_ATTR__ATIME  # the kernel's default, which is relatime. Source: mount(8), atime
        return sets, clears


@functools.lru_cache(maxsize=256)
def parse(options: tuple[str, ...]) -> Options:
    """Sort out the options of a mount."""
    flags = cleared = set_below = cleared_below = 0
    propagation: list[int] = []
    extensions: set[str] = set()
    data: list[str] = []
    for option in options:
        if option in FLAGS:
            sets, clears = FLAGS[option]
            flags, cleared = (flags | sets) & ~clears, (cleared | clears) & ~sets
        elif option in PROPAGATION:
            propagation.append(PROPAGATION[option])
        elif option in RECURSIVE:
            sets, clears = RECURSIVE[option]
            set_below, cleared_below = (set_below & ~clears) | sets, cleared_below | clears
        elif option in EXTENSIONS:
            extensions.add(option)
        elif option:
            data.append(option)
    below = set_below, cleared_below
    return Options(flags, cleared, below, tuple(propagation), frozenset(extensions), ",".join(data))


# What does not go together -------------------------------------------------------------------------------------------


def of_values(spec: Spec) -> Iterator[Problem]:
    """What is wrong with each mount in itself."""
    for index, mount in enumerate(spec.mounts):
        path = f"mounts[{index}]"
        options = parse(mount.options)
        yield from _of_kind(path, mount, options)
        if mount.uid_mappings or mount.gid_mappings or options.is_mapped:
            yield from _of_mapping(path, mount, options)


def between(spec: Spec) -> Iterator[Problem]:
    """A mount whose ids are to be mapped, by a map that is nowhere. Source: config.md, idmap."""
    if spec.linux is not None and any(one.type == "user" for one in spec.linux.namespaces):
        return
    for index, mount in enumerate(spec.mounts):
        if parse(mount.options).is_mapped and not (mount.uid_mappings or mount.gid_mappings):
            hint = "give it uidMappings and gidMappings"
            reason = "there is no user namespace whose mappings it could have"
            yield Problem(f"mounts[{index}].options", reason, list(mount.options), hint)


def _of_kind(path: str, mount: Mount, options: Options) -> Iterator[Problem]:
    """What a bind mount, a new file system and a change of a mount need, and cannot do."""
    shown = list(mount.options)
    where = f"{path}.options"
    if options.flags & c.MS_BIND:
        if options.data:
            yield Problem(where, f"a bind mount takes no {options.data!r}", shown)
        for word, flag in _OF_FILE_SYSTEMS.items():
            if options.flags & flag:
                hint = "set it where that is mounted"
                yield Problem(where, f"a bind mount cannot set {word}, which is the file system's", shown, hint)
    if options.is_bind and not mount.source:
        yield Problem(f"{path}.source", "a bind mount needs a source", mount.source)
    if not options.flags & (c.MS_BIND | c.MS_REMOUNT) and not mount.type:
        yield Problem(f"{path}.type", "a mount that is no bind mount needs a type", mount.type)
    if "copy-symlink" in options.extensions and not options.is_bind:
        yield Problem(where, "copy-symlink is for bind mounts", shown)
    if "tmpcopyup" in options.extensions and (mount.type != "tmpfs" or options.flags & (c.MS_BIND | c.MS_REMOUNT)):
        yield Problem(where, "tmpcopyup is for a new tmpfs", shown)


def _of_mapping(path: str, mount: Mount, options: Options) -> Iterator[Problem]:
    """Rules on the ids of a mount. Source: config.md, uidMappings."""
    uids, gids = mount.uid_mappings, mount.gid_mappings
    where = f"{path}.options" if options.is_mapped else f"{path}.{'uid' if uids else 'gid'}Mappings"
    if not options.is_bind:
        yield Problem(where, "only the ids of a bind mount can be mapped")
    elif "copy-symlink" in options.extensions:
        yield Problem(where, "a symlink that is copied has no ids to map")
    elif bool(uids) != bool(gids):
        missing, there = ("uid", "gid") if gids else ("gid", "uid")
        yield Problem(f"{path}.{missing}Mappings", f"is required beside {there}Mappings")
