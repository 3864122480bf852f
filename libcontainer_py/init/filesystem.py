"""The container's file system: root, devices, masks, and the change into it; `mounts` mounts into it.

A path of the container is resolved with openat2(RESOLVE_IN_ROOT) below the root's descriptor, so that no symlink of a
hostile root file system leads out, and the mount goes onto the descriptor that came out of it, so that nothing can be
swapped in between. Everything happens before pivot_root, while /proc and /dev are the host's own.
"""

import os
import stat

from libcontainer_py.kernel import libc, mountinfo
from libcontainer_py.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    DEVPTS_SUPER_MAGIC,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_MOVE,
    MS_RDONLY,
    MS_REC,
    MS_SLAVE,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    PROC_SUPER_MAGIC,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
)

_EPERM, _ENOENT, _EAGAIN, _EBUSY, _EEXIST, _ENODEV, _ENOTDIR, _EISDIR, _EINVAL, _ELOOP = (
    1,
    2,
    11,
    16,
    17,
    19,
    20,
    21,
    22,
    40,
)
_MOST_RACES = 100
_PTMX = "/dev/pts/ptmx"
_MOST_LINKS = 40
_DIRECTORY = stat.S_IFDIR | 0o755


class Filesystem:
    """The root file system that is being built. `root` is a descriptor of its top, `procfs` one of the host's /proc.

    After `pivot`, `procfs` is closed, and of the host's /proc there is only `descriptors`: a clone of our own
    /proc/self/fd. Init waits for its start with that, maybe for long, and a container that shares its pid namespace and
    has CAP_SYS_PTRACE reaches whatever init has open.
    """

    def __init__(self) -> None:
        self.root: int = -1
        self.descriptors: int = -1
        self.tops: dict[str, int] = {}
        self.procfs: int = os.open("/proc", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if libc.fstatfs_type(self.procfs) != PROC_SUPER_MAGIC:
            raise OSError(_ENOENT, "the host's /proc is no procfs", "/proc")

    # -- paths ----------------------------------------------------------------------------------------------------

    def find(self, path: str, flags: int = 0, resolve: int = 0, *, top: int = -1) -> int:
        """Open what is at `path` in the container, or below `top`, as O_PATH. The caller closes it."""
        resolve |= RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
        inside = path.lstrip("/") or "."
        for _ in range(_MOST_RACES):
            try:
                return libc.openat2(self.root if top < 0 else top, inside, O_PATH | flags, resolve=resolve)
            except BlockingIOError:
                continue  # something was renamed or mounted while a `..` was resolved. Source: openat2(2), EAGAIN
            except OSError as error:
                error.filename = path
                raise
        raise OSError(_EAGAIN, "its directories are renamed all the time", path)

    def make(self, path: str, mode: int = _DIRECTORY, *, resolve: int = 0, links: int = _MOST_LINKS) -> int:
        """As `find`, but make it, and the directories above it, where they are missing; so for what a symlink names.

        `mode` says of what kind it is to be, a directory or a file. `path` has no `..`.
        """
        try:
            return self.find(path, resolve=resolve)
        except FileNotFoundError:
            pass
        parent, _, name = path.rstrip("/").rpartition("/")
        above = self.make(parent, resolve=resolve, links=links) if parent.strip("/") else self.find("/")
        try:
            try:
                if stat.S_ISDIR(mode):
                    os.mkdir(name, stat.S_IMODE(mode), dir_fd=above)
                else:
                    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
                    os.close(os.open(name, flags, stat.S_IMODE(mode), dir_fd=above))
            except FileExistsError:
                pass  # another process that shares this root file system was quicker; or a symlink that names nothing
            made = libc.openat2(above, name, O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_NO_SYMLINKS)
            if not stat.S_ISLNK(os.fstat(made).st_mode):
                return made
            os.close(made)
            if not links or resolve & RESOLVE_NO_SYMLINKS:
                raise OSError(_ELOOP, os.strerror(_ELOOP))
            return self.make(self._named(above, name), mode, resolve=resolve, links=links - 1)
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(above)

    def _named(self, above: int, name: str) -> str:
        """What the symlink `name` in the directory `above` names, as a path from the container's root.

        No more than words: whoever resolves them does so below the root, whatever these directories are by then.
        """
        text = os.readlink(name, dir_fd=above)
        parts: list[str] = []
        if not text.startswith("/"):
            top, here = (os.readlink(f"self/fd/{number}", dir_fd=self.procfs) for number in (self.root, above))
            parts = here[len(top) :].split("/")[1:] if here.startswith(f"{top}/") else []
        for part in text.split("/"):
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        return "/" + "/".join(parts)

    def keep(self, destination: str, mounted: int) -> None:
        """Remember the top of a mount, so that `find_kept` finds what is in it by no path that leads there."""
        self.tops[destination] = os.dup(mounted)

    def cover(self, destination: str) -> None:
        """Forget the mounts that are hidden by a new one."""
        for point in [*self.tops]:
            if point == destination or point.startswith(f"{destination.rstrip('/')}/"):
                os.close(self.tops.pop(point))

    def find_kept(self, path: str) -> int:
        """As `find`, but from the top of a kept mount: its mount point may have got another name meanwhile."""
        for point, top in self.tops.items():
            if path.startswith(f"{point}/") and "/../" not in f"{path}/":
                return self.find(path[len(point) :], top=top)
        return self.find(path)

    def directory(self, path: str) -> None:
        """Make sure that a directory is there."""
        os.close(self.make(path))

    # -- root -----------------------------------------------------------------------------------------------------

    def propagation(self, flags: int) -> None:
        """Set the propagation of all mounts of the new namespace."""
        libc.mount(None, "/", None, flags)

    def enter(self, path: str, above: int, own: int) -> None:
        """Make the root file system a mount of its own, so that it can be pivoted to.

        `above` is the propagation of the mount that holds it, and `own` that of the root and all that is mounted below
        it, 0 for what they have: until the root is pivoted to, what is mounted in it may not reach the host.
        """
        if path == "/":
            raise OSError(_EBUSY, "the host's own root cannot be pivoted to; mount it below another directory", path)
        _propagate_from(path, above)
        self.root = libc.open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)
        if own:
            libc.mount_setattr(self.root, "", AT_EMPTY_PATH | AT_RECURSIVE, propagation=own)
        libc.move_mount(self.root, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH)

    def pivot(self, propagation: int) -> None:
        """Change into the root file system and let go of the host's."""
        self._leave_procfs()
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
        self._arrive(propagation)

    def move_root(self, propagation: int) -> None:
        """As `pivot`, where the root lies in the first ramdisk, which pivot_root does not take.

        The host's mounts stay below, out of reach for who has no CAP_SYS_CHROOT; but the kernel takes what is mounted
        anywhere of /proc and /sys as proof that a new user namespace may see all of it: so that goes first.
        """
        top = os.readlink(f"self/fd/{self.root}", dir_fd=self.procfs)
        outer = [one for one in mountinfo.mounts() if one.point != top and not one.point.startswith(f"{top}/")]
        self._leave_procfs()  # while it is mounted
        for one in outer:  # what is unmounted goes wherever the mount that it lies on is shared
            try:
                libc.mount(None, one.point, None, MS_SLAVE)
            except OSError as error:
                if error.errno not in (_EINVAL, _ENOENT):  # it is hidden by another mount
                    raise
        for one in reversed(outer):
            if one.fstype in ("proc", "sysfs"):
                try:
                    libc.umount2(one.point, MNT_DETACH)
                except OSError as error:
                    if error.errno not in (_EINVAL, _EPERM):
                        raise
                    libc.mount("tmpfs", one.point, "tmpfs", 0, None)  # not ours to unmount: hide it
        os.fchdir(self.root)
        libc.mount(".", "/", None, MS_MOVE)
        os.chroot(".")
        os.chdir("/")
        self._arrive(propagation)

    def _leave_procfs(self) -> None:
        self.descriptors = libc.open_tree(self.procfs, "self/fd", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
        os.close(self.procfs)
        self.procfs = -1
        self.cover("/")

    def _arrive(self, propagation: int) -> None:
        if propagation:
            libc.mount(None, "/", None, propagation)
        os.close(self.root)
        self.root = -1

    # -- mounts ---------------------------------------------------------------------------------------------------

    def attach(self, tree: int, target: int) -> None:
        """Put a tree of mounts onto what is open as `target`."""
        try:
            libc.move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
        except OSError as error:
            is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
            if error.errno == _EINVAL and is_directory != stat.S_ISDIR(os.fstat(target).st_mode):
                number = _ENOTDIR if is_directory else _EISDIR
                raise OSError(number, os.strerror(number)) from None
            raise

    def take(self, root: int) -> None:
        """Go on in what was mounted over the root, which is open as `root`."""
        os.close(self.root)
        self.root = root

    def readonly_root(self) -> None:
        """Make the root file system itself read-only, not what is mounted below it."""
        libc.mount_setattr(self.root, "", AT_EMPTY_PATH, attr_set=MOUNT_ATTR_RDONLY)

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
            except FileExistsError:  # it is what we want, or the check below finds out
                _spare_the_hosts(above, path)
            made = libc.openat2(above, name, O_PATH | os.O_NOFOLLOW)
            try:
                there = os.fstat(made)
                if stat.S_IFMT(there.st_mode) != kind or there.st_rdev != os.makedev(*number):
                    raise OSError(_EEXIST, "there is something else", path)
                # by the descriptor, and not through umask. Source: open(2), O_PATH
                os.chmod(f"/proc/self/fd/{made}", mode)
                os.chown(f"/proc/self/fd/{made}", *owner)
            finally:
                os.close(made)
        finally:
            os.close(above)

    def bind_device(self, path: str, number: "tuple[int, int]") -> None:
        """Bind the host's device node of the same path, once it is sure that it is that device."""
        tree = libc.open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
        try:
            if os.fstat(tree).st_rdev != os.makedev(*number):
                raise OSError(19, f"the host's {path} is not device {number[0]}:{number[1]}", path)
            target = self.make(path, stat.S_IFREG | 0o666)
            try:
                self.attach(tree, target)
            finally:
                os.close(target)
        finally:
            os.close(tree)

    def link(self, target: str, path: str) -> bool:
        """Make a symlink, where there is nothing yet. Returns whether it is there now."""
        parent, _, name = path.rpartition("/")
        above = self.make(parent or "/")
        try:
            try:
                os.symlink(target, name, dir_fd=above)
            except FileExistsError:
                there = os.stat(name, dir_fd=above, follow_symlinks=False)
                return stat.S_ISLNK(there.st_mode) and os.readlink(name, dir_fd=above) == target
        finally:
            os.close(above)
        return True

    def ptmx(self) -> None:
        """/dev/ptmx leads to the container's own devpts, whatever was there."""
        above = self.make("/dev")
        try:
            _spare_the_hosts(above, "/dev/ptmx")
            try:
                os.unlink("ptmx", dir_fd=above)
            except FileNotFoundError:
                pass
            os.symlink("pts/ptmx", "ptmx", dir_fd=above)
        finally:
            os.close(above)

    def new_terminal(self) -> int:
        """Open a new pseudoterminal of the container's own devpts: its master, which the caller closes.

        Before pivot_root in the root that is being built, else in our own root directory.
        """
        top = os.open("/", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if self.root < 0 else os.dup(self.root)
        try:
            found = self.find(_PTMX, os.O_NOFOLLOW, top=top)
        except (FileNotFoundError, NotADirectoryError):
            raise OSError(_ENODEV, "there is none, and a terminal needs a devpts", _PTMX) from None
        finally:
            os.close(top)
        try:
            status = os.fstat(found)
            real = stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(5, 2)
            if not real or libc.fstatfs_type(found) != DEVPTS_SUPER_MAGIC:
                raise OSError(_ENODEV, "it is not that of a devpts, and a terminal needs one", _PTMX)
            return os.open(f"self/fd/{found}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=self.procfs)
        finally:
            os.close(found)

    def console(self, terminal: int) -> None:
        """Let /dev/console be this terminal too, whatever file or device is there."""
        tree = libc.open_tree(terminal, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)
        try:
            above = self.make("/dev")
            try:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
                os.close(os.open("console", flags, 0o666, dir_fd=above))
            except FileExistsError:
                pass
            try:
                target = libc.openat2(above, "console", O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_NO_SYMLINKS)
            finally:
                os.close(above)
            try:
                if stat.S_ISLNK(os.fstat(target).st_mode):
                    raise OSError(_ELOOP, "it is a symlink, which is left alone")
                self.attach(tree, target)
            finally:
                os.close(target)
        except OSError as error:
            error.filename = "/dev/console"
            raise
        finally:
            os.close(tree)

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

    def mask(self, path: str, context: str = "") -> None:
        """Hide a file behind the host's /dev/null, a directory behind an empty tmpfs; silent without one.

        `context` is a mount option for an SELinux label of the tmpfs.
        Both read-only: a chmod of the mask would be one of the host's device. Nothing of the container's hides
        anything, since what is called null there may be something else.
        """
        try:
            target = self.find_kept(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            if stat.S_ISDIR(os.fstat(target).st_mode):
                data = f"size=0,nr_inodes=1,{context}".rstrip(",")
                libc.mount("tmpfs", f"/proc/self/fd/{target}", "tmpfs", MS_RDONLY, data)
                return
            null = _readonly_null()
            try:
                self.attach(null, target)
            finally:
                os.close(null)
        finally:
            os.close(target)

    def readonly(self, path: str) -> None:
        """Make a path read-only, with all that is mounted below it; a missing one is fine."""
        try:
            target = self.find_kept(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            tree = libc.open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE)
            try:
                libc.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=MOUNT_ATTR_RDONLY)
                self.attach(tree, target)
            finally:
                os.close(tree)
        finally:
            os.close(target)


def _spare_the_hosts(directory: int, path: str) -> None:
    """Raise OSError where what shall be changed is in the host's /dev, to which a bind mount or a symlink leads."""
    if os.path.samestat(os.fstat(directory), os.stat("/dev")):
        raise OSError(_EBUSY, 'it is in the host\'s /dev; bind that to "/dev", and no devices are made', path)


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


def _propagate_from(path: str, flags: int) -> None:
    """Set the propagation of the mount that holds `path`: pivot_root refuses below a shared one, which leaks too."""
    while True:
        try:
            libc.mount(None, path, None, flags)
        except OSError as error:
            if error.errno != _EINVAL or path == "/":
                raise
            path = os.path.dirname(path)  # no mount point: EINVAL. Source: mount(2)
        else:
            return
