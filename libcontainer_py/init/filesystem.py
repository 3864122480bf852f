"""The container's file system: root, mounts, devices, masks, and the change into it.

A path of the container is resolved with openat2(RESOLVE_IN_ROOT) below the root's descriptor, so that no symlink of a
hostile root file system leads out, and the mount goes onto the descriptor that came out of it, so that nothing can be
swapped in between. Everything happens before pivot_root, while /proc and /dev are the host's own.
"""

import os
import stat

from libcontainer_py.kernel import libc
from libcontainer_py.kernel.constants import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_SLAVE,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    PROC_SUPER_MAGIC,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
)

_ENOENT, _EINVAL = 2, 22


class Filesystem:
    """The root file system that is being built. `root` is a descriptor of its top, `procfs` one of the host's /proc.

    After `pivot`, `procfs` is closed, and of the host's /proc there is only `descriptors`: a clone of our own
    /proc/self/fd. Init waits for its start with that, maybe for long, and a container that shares its pid namespace and
    has CAP_SYS_PTRACE reaches whatever init has open.
    """

    def __init__(self) -> None:
        self.path: str = ""
        self.root: int = -1
        self.descriptors: int = -1
        self.procfs: int = os.open("/proc", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if libc.fstatfs_type(self.procfs) != PROC_SUPER_MAGIC:
            raise OSError(_ENOENT, "the host's /proc is no procfs", "/proc")

    # -- paths ----------------------------------------------------------------------------------------------------

    def find(self, path: str, flags: int = 0, resolve: int = 0) -> int:
        """Open what is at `path` in the container as O_PATH. The caller closes it."""
        return libc.openat2(self.root, path.lstrip("/") or ".", O_PATH | flags, resolve=RESOLVE_IN_ROOT | resolve)

    def make(self, path: str, *, directory: bool = True, resolve: int = 0) -> int:
        """As `find`, but make it, and the directories above it, where they are missing."""
        try:
            return self.find(path, resolve=resolve)
        except FileNotFoundError:
            pass
        parent, _, name = path.rstrip("/").rpartition("/")
        above = self.make(parent, resolve=resolve) if parent.strip("/") else self.find("/")
        try:
            try:
                if directory:
                    os.mkdir(name, 0o755, dir_fd=above)
                else:
                    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o755, dir_fd=above))
            except FileExistsError:
                pass  # a dangling symlink, or another process that shares this root file system was quicker
            return libc.openat2(above, name, O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_NO_SYMLINKS)
        finally:
            os.close(above)

    def directory(self, path: str) -> None:
        """Make sure that a directory is there."""
        os.close(self.make(path))

    # -- root -----------------------------------------------------------------------------------------------------

    def propagation(self, flags: int) -> None:
        """Set the propagation of all mounts of the new namespace."""
        libc.mount(None, "/", None, flags)

    def enter(self, path: str, slave: bool) -> None:
        """Make the root file system a mount of its own, so that it can be pivoted to.

        `slave`: all mounts are slave or private already, and what the host mounts in it later shall arrive.
        """
        if path == "/":
            raise OSError(16, "the host's own root cannot be pivoted to; mount it below another directory", path)
        if not slave:
            _make_private(path)
        libc.mount(path, path, None, MS_BIND | MS_REC)
        self._reopen(path)

    def _reopen(self, path: str) -> None:
        if self.root >= 0:
            os.close(self.root)
        self.path = path
        self.root = os.open(path, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def pivot(self, propagation: int) -> None:
        """Change into the root file system and let go of the host's."""
        self.descriptors = libc.open_tree(self.procfs, "self/fd", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
        os.close(self.procfs)
        self.procfs = -1
        old = os.open("/", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(self.root)
        libc.pivot_root(".", ".")
        # the old root lies on top of the new one now; slave, so that its detaching does not reach the host. By its
        # descriptor: "." would be the new root, whose mounts would cease to be shared
        os.fchdir(old)
        libc.mount(None, ".", None, MS_SLAVE | MS_REC)
        libc.umount2(".", MNT_DETACH)
        os.chdir("/")
        os.close(old)
        if propagation:
            libc.mount(None, "/", None, propagation)
        os.close(self.root)
        self.root = -1

    # -- mounts ---------------------------------------------------------------------------------------------------

    def mount(
        self, source: str, destination: str, fstype: str, flags: int, data: str, propagation: "tuple[int, ...]"
    ) -> None:
        """Mount a new file system."""
        if destination == "/":
            libc.mount(source, self.path, fstype, flags, data or None)
            self._reopen(self.path)
            return
        # a procfs or sysfs somewhere else than where its path says would be masked at the wrong place
        resolve = RESOLVE_NO_SYMLINKS if fstype in ("proc", "sysfs") else 0
        target = self.make(destination, resolve=resolve)
        try:
            libc.mount(source, f"/proc/self/fd/{target}", fstype, flags, data or None)
        finally:
            os.close(target)
        if propagation:
            self._propagate(destination, propagation)

    def bind(
        self,
        source: str,
        destination: str,
        recursive: bool,
        attributes: "tuple[int, int]",
        propagation: "tuple[int, ...]",
    ) -> None:
        """Bind a file or directory of the host. `attributes`: MOUNT_ATTR_* to set, and to clear."""
        tree = libc.open_tree(-100, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0))
        try:
            if attributes != (0, 0):
                libc.mount_setattr(tree, "", AT_EMPTY_PATH, attr_set=attributes[0], attr_clr=attributes[1])
            target = self.make(destination, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
            try:
                self._attach(tree, target)
            finally:
                os.close(target)
        finally:
            os.close(tree)
        if propagation:
            self._propagate(destination, propagation)

    def _attach(self, tree: int, target: int) -> None:
        libc.move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)

    def _propagate(self, destination: str, propagation: "tuple[int, ...]") -> None:
        mounted = self.find(destination)
        try:
            for flags in propagation:
                libc.mount(None, f"/proc/self/fd/{mounted}", None, flags)
        finally:
            os.close(mounted)

    def attributes(self, destination: str, attr_set: int) -> None:
        """Set attributes of what is mounted at `destination`, once nothing more has to be made in it."""
        mounted = self.find(destination)
        try:
            libc.mount_setattr(mounted, "", AT_EMPTY_PATH, attr_set=attr_set)
        finally:
            os.close(mounted)

    def readonly_root(self) -> None:
        """Make the root file system itself read-only, not what is mounted below it."""
        libc.mount_setattr(self.root, "", AT_EMPTY_PATH, attr_set=MOUNT_ATTR_RDONLY)

    def cgroups_v1(
        self,
        destination: str,
        flags: "tuple[int, int]",
        hierarchies: "tuple[tuple[str, str, str], ...]",
        links: "tuple[tuple[str, str], ...]",
    ) -> None:
        """A tmpfs with one cgroup mount a hierarchy: (directory, mount data, directory to bind instead, or "").

        `flags` are MS_* and, for binds, MOUNT_ATTR_*.
        """
        self.mount("tmpfs", destination, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755", ())
        # nobody else can reach into this tmpfs yet, so plain paths below its descriptor are safe
        top = self.find(destination)
        try:
            for name, data, source in hierarchies:
                os.mkdir(name, 0o755, dir_fd=top)
                below = f"/proc/self/fd/{top}/{name}"
                libc.mount(source or "cgroup", below, "cgroup", MS_BIND if source else flags[0], data or None)
                if source:
                    libc.mount_setattr(-100, below, 0, attr_set=flags[1])
            for target, name in links:
                os.symlink(target, name, dir_fd=top)
        finally:
            os.close(top)
        if flags[0] & MS_RDONLY:
            self.attributes(destination, MOUNT_ATTR_RDONLY)

    # -- devices, links, masks ------------------------------------------------------------------------------------

    def device(self, path: str, kind: int, mode: int, number: "tuple[int, int]", owner: "tuple[int, int]") -> None:
        """Make a device node, or where the kernel does not let us (a user namespace), bind the host's."""
        parent, _, name = path.rpartition("/")
        above = self.make(parent)
        try:
            try:
                os.mknod(name, kind | mode, os.makedev(*number), dir_fd=above)
                if owner == (0, 0):
                    return  # the umask is 0, and we are root: it is as it should be
            except FileExistsError:
                there = os.stat(name, dir_fd=above, follow_symlinks=False)
                if stat.S_IFMT(there.st_mode) != kind or there.st_rdev != os.makedev(*number):
                    raise
            made = libc.openat2(above, name, O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_NO_SYMLINKS)
            try:
                # by the descriptor, and not through umask. Source: open(2), O_PATH
                os.chmod(f"/proc/self/fd/{made}", mode)
                os.chown(f"/proc/self/fd/{made}", *owner)
            finally:
                os.close(made)
        finally:
            os.close(above)

    def bind_device(self, path: str, number: "tuple[int, int]") -> None:
        """Bind the host's device node of the same path, once it is sure that it is that device."""
        found = os.stat(path)
        if found.st_rdev != os.makedev(*number):
            raise OSError(19, f"the host's {path} is not device {number[0]}:{number[1]}", path)
        self.bind(path, path, False, (0, 0), ())

    def link(self, target: str, path: str) -> None:
        """Make a symlink, where there is nothing yet."""
        parent, _, name = path.rpartition("/")
        above = self.make(parent)
        try:
            os.symlink(target, name, dir_fd=above)
        except FileExistsError:
            pass
        finally:
            os.close(above)

    def ptmx(self) -> None:
        """/dev/ptmx leads to the container's own devpts, whatever was there."""
        above = self.make("/dev")
        try:
            try:
                os.unlink("ptmx", dir_fd=above)
            except FileNotFoundError:
                pass
            os.symlink("pts/ptmx", "ptmx", dir_fd=above)
        finally:
            os.close(above)

    def own_null(self) -> None:
        """Let standard streams that are the host's /dev/null be the container's.

        Whoever has a stream may chmod what it leads to, and that would be the host's device.
        """
        streams = [number for number in range(3) if _is_null(number)]
        if not streams:
            return
        try:
            own = self._open_null(self.find("/dev/null", os.O_NOFOLLOW))
        except OSError:  # there is none, or it may not be opened there (nodev)
            own = -1
        try:
            own = self._open_null(_readonly_null()) if own < 0 else own
        except PermissionError as error:  # a device of linux.devices has no rule of its own
            raise PermissionError(
                error.errno, "a stream is the null device, but linux.resources.devices denies it (c 1:3)", "/dev/null"
            ) from None
        for number in streams:
            os.dup2(own, number)
        os.close(own)

    def _open_null(self, found: int) -> int:
        """Open what is an O_PATH descriptor, which is closed; -1 where it is not the null device."""
        try:
            if not _is_null(found):
                return -1
            return os.open(f"self/fd/{found}", os.O_RDWR | os.O_CLOEXEC, dir_fd=self.procfs)
        finally:
            os.close(found)

    def mask(self, path: str) -> None:
        """Hide a file behind the host's /dev/null, a directory behind an empty tmpfs; silent without one.

        Both read-only: a chmod of the mask would be one of the host's device. Nothing of the container's hides
        anything, since what is called null there may be something else.
        """
        try:
            target = self.find(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            if stat.S_ISDIR(os.fstat(target).st_mode):
                libc.mount("tmpfs", f"/proc/self/fd/{target}", "tmpfs", MS_RDONLY, "size=0,nr_inodes=1")
                return
            null = _readonly_null()
            try:
                self._attach(null, target)
            finally:
                os.close(null)
        finally:
            os.close(target)

    def readonly(self, path: str) -> None:
        """Make a path read-only, with all that is mounted below it; a missing one is fine."""
        try:
            target = self.find(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            tree = libc.open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE)
            try:
                libc.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=MOUNT_ATTR_RDONLY)
                self._attach(tree, target)
            finally:
                os.close(tree)
        finally:
            os.close(target)


def _is_null(descriptor: int) -> bool:
    found = os.fstat(descriptor)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)


def _readonly_null() -> int:
    """The host's /dev/null as a detached mount, read-only: of a device that hinders only chmod and the like.

    The caller closes it.
    """
    tree = libc.open_tree(-100, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    try:
        if not _is_null(tree):
            raise OSError(19, "the host's /dev/null is not the null device", "/dev/null")
        libc.mount_setattr(tree, "", AT_EMPTY_PATH, attr_set=MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(tree)
        raise
    return tree


def _make_private(path: str) -> None:
    """Make the mount that holds `path` private: pivot_root refuses below a shared one, and mounts would leak out."""
    while True:
        try:
            libc.mount(None, path, None, MS_PRIVATE)
        except OSError as error:
            if error.errno != _EINVAL or path == "/":
                raise
            path = os.path.dirname(path)  # no mount point: EINVAL. Source: mount(2)
        else:
            return
