"""The mounts of a container: new file systems, bind mounts, changes of both.

A mount(2) leaves no descriptor of what it made, and whoever looks at the place again may find another one, swapped in
by a process that shares the root file system. So what is to be changed after it was mounted is mounted in a tmpfs first
that nobody else has, and moved to its place when it is finished.
"""

import os
import stat

from libcontainer_py.init import copying
from libcontainer_py.kernel import libc
from libcontainer_py.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MNT_DETACH,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_RDONLY,
    MS_RELATIME,
    MS_REMOUNT,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    RESOLVE_NO_SYMLINKS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from libcontainer_py.init.filesystem import Filesystem

    Changes: TypeAlias = tuple[tuple[bool, int, int, int], ...]
    """Calls of mount_setattr: with all below, MOUNT_ATTR_* to set, and to clear before, MS_PRIVATE and the like."""

_EEXIST = 17
_WITH_HIDDEN_PATHS = ("proc", "sysfs")
"""File systems in which paths are masked or made read-only later."""
_ATTRIBUTES = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
"""MOUNT_ATTR_* that have the numbers of MS_*."""


class Mounts:
    """Mounts into `filesystem`. `kept` are descriptors of mounts that something has to be done to in the end."""

    def __init__(self, filesystem: "Filesystem") -> None:
        self.filesystem = filesystem
        self.kept: dict[str, list[int]] = {}

    # -- new file systems -----------------------------------------------------------------------------------------

    def mount(self, source: str, destination: str, fstype: str, flags: int, data: str) -> None:
        """Mount a new file system."""
        if fstype in _WITH_HIDDEN_PATHS:
            self._mount_kept(source, destination, fstype, flags, data)
            return
        target, data = self._place(destination, fstype, data)
        try:
            self._go_to_layers(fstype)
            _mount(source, target, fstype, flags, data, destination)
            self.filesystem.cover(destination)
        finally:
            self._leave_layers(fstype)
            os.close(target)

    def _mount_kept(self, source: str, destination: str, fstype: str, flags: int, data: str) -> None:
        """Mount a file system whose top is kept, so that what is to be hidden in it is found there whatever happens."""
        if flags & ~(_ATTRIBUTES | MS_RELATIME):
            self.mount_detached(source, destination, fstype, flags, data, (), copies=False, kept=False, label="")
            return
        options = [("source", source)]
        options += [(key, value) for key, _, value in (word.partition("=") for word in data.split(",") if word)]
        if flags & MS_RDONLY:
            options.append(("ro", ""))
        target, _ = self._place(destination, fstype, data)
        try:
            mounted = _new(fstype, options, flags & _ATTRIBUTES)
            self.filesystem.attach(mounted, target)
            self.filesystem.cover(destination)
            self.filesystem.keep(destination, mounted)
            os.close(mounted)
        except OSError as error:
            error.filename = destination
            raise
        finally:
            os.close(target)

    def mount_detached(
        self,
        source: str,
        destination: str,
        fstype: str,
        flags: int,
        data: str,
        changes: "Changes",
        copies: bool,
        kept: bool,
        label: str,
    ) -> None:
        """Mount a new file system that is to be changed, or filled with a copy of what it hides.

        `kept`: `attributes` will be called for it. `label`: SELinux's, for the file system's top alone.
        """
        target, data = self._place(destination, fstype, data)
        try:
            aside = _new_tmpfs(())
            self.filesystem.attach(aside, self.filesystem.root)  # there alone it can be mounted in
            self._go_to_layers(fstype)
            mounted = _mount_in(aside, "new", source, fstype, flags, data, destination)
            if copies:
                copying.copy_directory(target, mounted)
            if label:
                os.setxattr(f"/proc/self/fd/{mounted}", "security.selinux", os.fsencode(label) + b"\0")
            _change(mounted, changes)
            self.filesystem.attach(mounted, target)
            self.filesystem.cover(destination)
            if kept:
                self.kept.setdefault(destination, []).append(os.dup(mounted))
            if fstype in _WITH_HIDDEN_PATHS:
                self.filesystem.keep(destination, mounted)
            if destination == "/":  # what comes later is mounted in it; below it the other one does no harm
                self.filesystem.take(mounted)
            else:
                libc.umount2(f"/proc/self/fd/{aside}", MNT_DETACH)
                os.close(mounted)
            os.close(aside)
        finally:
            self._leave_layers(fstype)
            os.close(target)

    def _go_to_layers(self, fstype: str) -> None:
        """Where relative layers of an overlay start: at the root as it is now, which may have no path any more."""
        if fstype == "overlay":
            os.fchdir(self.filesystem.root)

    def _leave_layers(self, fstype: str) -> None:
        if fstype == "overlay":
            os.chdir("/")

    def _place(self, destination: str, fstype: str, data: str) -> "tuple[int, str]":
        """Where to mount, and the data: a tmpfs has the mode of the directory that it hides, as with runc."""
        # a procfs or sysfs somewhere else than where its path says would be masked at the wrong place
        resolve = RESOLVE_NO_SYMLINKS if fstype in _WITH_HIDDEN_PATHS else 0
        if fstype != "tmpfs" or ",mode=" in f",{data}":
            return self.filesystem.make(destination, resolve=resolve), data
        try:
            target = self.filesystem.find(destination)
        except FileNotFoundError:
            return self.filesystem.make(destination), data
        mode = f"mode={stat.S_IMODE(os.fstat(target).st_mode):o}"
        return target, f"{mode},{data}" if data else mode

    def cgroups_v1(
        self,
        destination: str,
        flags: "tuple[int, int, int]",
        options: "tuple[tuple[str, str], ...]",
        hierarchies: "tuple[tuple[str, str, str], ...]",
        links: "tuple[tuple[str, str], ...]",
        changes: "Changes",
    ) -> None:
        """A tmpfs with one cgroup mount a hierarchy: (directory, mount data, directory to bind instead, or "").

        `flags` are MS_*, and the same as MOUNT_ATTR_* to set, and to clear before; `options` are the tmpfs'.
        """
        target = self.filesystem.make(destination)
        try:
            top = _new_tmpfs((("source", "tmpfs"), *options))
            self.filesystem.attach(top, target)
            self.filesystem.cover(destination)
            for name, controllers, source in hierarchies:
                os.mkdir(name, 0o755, dir_fd=top)
                below = f"/proc/self/fd/{top}/{name}"
                named = "systemd" if controllers == "name=systemd" else "cgroup"  # as systemd calls it, and runc
                libc.mount(source or named, below, "cgroup", MS_BIND if source else flags[0], controllers or None)
            for link, name in links:
                os.symlink(link, name, dir_fd=top)
            # the tmpfs, and the binds, which mount(2) gives no flags
            libc.mount_setattr(top, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=flags[1], attr_clr=flags[2])
            _change(top, changes)
            os.close(top)
        finally:
            os.close(target)

    # -- bind mounts ----------------------------------------------------------------------------------------------

    def bind(self, source: str, destination: str, recursive: bool, changes: "Changes") -> None:
        """Bind a file or directory of the host."""
        flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
        self.attach(libc.open_tree(AT_FDCWD, source, flags), destination, changes)

    def bind_or_link(self, source: str, destination: str, recursive: bool, changes: "Changes") -> None:
        """Bind a file or directory; of a symlink make the same one, or be content with it where it is there already."""
        if not os.path.islink(source):
            self.bind(source, destination, recursive, changes)
            return
        link = os.readlink(source)
        if not self.filesystem.link(link, destination):
            raise OSError(_EEXIST, f"there is something else than a symlink to {link}", destination)

    def attach(self, tree: int, destination: str, changes: "Changes") -> None:
        """Put a detached tree of mounts, which is closed, to its place."""
        try:
            _change(tree, changes)
            kind = stat.S_IFDIR if stat.S_ISDIR(os.fstat(tree).st_mode) else stat.S_IFREG
            target = self.filesystem.make(destination, kind | 0o755)
            try:
                self.filesystem.attach(tree, target)
                self.filesystem.cover(destination)
            finally:
                os.close(target)
            if destination == "/":
                self.filesystem.take(os.dup(tree))
        finally:
            os.close(tree)

    # -- mounts that are there ------------------------------------------------------------------------------------

    def remount(
        self,
        destination: str,
        flags: int,
        data: str,
        attributes: "tuple[int, int]",
        changes: "Changes",
        kept: bool,
    ) -> None:
        """Change the flags of a mount: those of mount(2) take the place of all that it had.

        A user namespace may not take some of them away; there `attributes` alone are set and cleared.
        """
        mounted = self.filesystem.find(destination)
        try:
            try:
                _mount(None, mounted, None, flags | MS_REMOUNT, data, destination)
            except PermissionError:
                if not flags & MS_BIND:
                    raise
                libc.mount_setattr(mounted, "", AT_EMPTY_PATH, attr_set=attributes[0], attr_clr=attributes[1])
            _change(mounted, changes)
            if kept:
                self.kept.setdefault(destination, []).append(os.dup(mounted))
        finally:
            os.close(mounted)

    def attributes(self, destination: str, attr_set: int) -> None:
        """Set attributes of a mount that was kept, once nothing more has to be made in it."""
        mounted = self.kept[destination].pop(0)
        try:
            libc.mount_setattr(mounted, "", AT_EMPTY_PATH, attr_set=attr_set)
        finally:
            os.close(mounted)


def _mount(
    source: "str | None", target: int, fstype: "str | None", flags: int, data: str, destination: str, name: str = ""
) -> None:
    try:
        libc.mount(source, f"/proc/self/fd/{target}{name}", fstype, flags, data or None)
    except OSError as error:
        error.filename = destination
        raise


def _mount_in(directory: int, name: str, source: str, fstype: str, flags: int, data: str, destination: str) -> int:
    """Mount it in a directory that is ours alone. The caller closes its top."""
    os.mkdir(name, dir_fd=directory)
    _mount(source, directory, fstype, flags, data, destination, f"/{name}")
    return os.open(name, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)


def _new_tmpfs(options: "tuple[tuple[str, str], ...]") -> int:
    """A tmpfs that is mounted nowhere yet. The caller closes it."""
    return _new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)


def _new(fstype: str, options: "Iterable[tuple[str, str]]", attributes: int) -> int:
    """A file system that is mounted nowhere yet; an option without a value is a flag. The caller closes it."""
    context = libc.fsopen(fstype, FSOPEN_CLOEXEC)
    try:
        for key, value in options:
            libc.fsconfig(context, FSCONFIG_SET_STRING if value else FSCONFIG_SET_FLAG, key, value or None)
        libc.fsconfig(context, FSCONFIG_CMD_CREATE)
        return libc.fsmount(context, FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def _change(mounted: int, changes: "Changes") -> None:
    for recursive, attr_set, attr_clr, propagation in changes:
        flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
        libc.mount_setattr(mounted, "", flags, attr_set=attr_set, attr_clr=attr_clr, propagation=propagation)
