"""The directory of the state directories: where it is, and whether it may be trusted.

Whoever can write into the root can make this library signal processes and remove directories. So the root must belong
to the effective user, and nobody else may write into it. A network file system is refused, because its locks do not
exclude what the kernel's do.
"""

from __future__ import annotations

import errno
import os
import stat

from libcontainer_py.errors import StateError
from libcontainer_py.state.atomic import Opened

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "afs"})
"""File systems that are refused. 9p, virtiofs and hostfs are not: virtual machines have them as their only disk."""


def default_root() -> str:
    """The root for this user: /run, $XDG_RUNTIME_DIR where that is his, else /tmp. Makes nothing."""
    user = os.geteuid()
    if user == 0:
        return "/run/libcontainer_py"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        try:
            status = os.stat(runtime)
        except OSError:
            pass
        else:
            if stat.S_ISDIR(status.st_mode) and status.st_uid == user:
                return os.path.join(runtime, "libcontainer_py")
    return f"/tmp/libcontainer_py-{user}"  # noqa: S108  (open_root refuses what another user put there)


def open_root(root: str) -> int | None:
    """Open and check the root; None: it is not there. The caller closes the descriptor.

    Raises StateError where it cannot be used or trusted.
    """
    try:
        descriptor = _open(root)
    except OSError as error:
        raise unusable(root, error) from error
    if descriptor is None:
        return None
    try:
        _check(root, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_root(root: str) -> int:
    """As open_root, and make the root, 0700, with the directories above it, where it is not there."""
    descriptor = open_root(root)
    if descriptor is None:
        try:
            _make(root)
        except OSError as error:
            raise unusable(root, error) from error
        descriptor = open_root(root)
    if descriptor is None:
        raise StateError(root, "vanished while it was used")
    return descriptor


def unusable(path: str, error: OSError) -> StateError:
    """The error for a root, or something in it, that the system does not let us use."""
    hints = {
        errno.EACCES: "use a root that belongs to you",
        errno.EPERM: "use a root that belongs to you",
        errno.EROFS: "use a root on a file system that can be written, as /run",
        errno.ENOSPC: "the file system is full",
        errno.ENOTDIR: "the root must be a directory",
    }
    return StateError(path, os.strerror(error.errno or 0), hint=hints.get(error.errno or 0, ""))


def _open(root: str) -> int | None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(root, flags | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        # ENOTDIR: O_DIRECTORY with O_NOFOLLOW on a symlink; ELOOP: the same on other file systems
        if error.errno not in (errno.ENOTDIR, errno.ELOOP) or not os.path.islink(root):
            raise
    owner = os.lstat(root).st_uid
    if owner not in (0, os.geteuid()):
        raise StateError(root, f"is a symlink of user {owner}", hint="remove it, or use another root")
    try:
        return os.open(root, flags)
    except FileNotFoundError:
        raise StateError(root, "is a symlink to nothing", hint="remove it, or use another root") from None


def _make(root: str) -> None:
    try:
        _mkdir(root)
    except FileNotFoundError:
        parent = os.path.dirname(root)
        if parent == root:
            raise
        _make(parent)
        _mkdir(root)


def _mkdir(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    os.chmod(path, 0o700)  # the umask may have taken the owner's bits


def _check(root: str, descriptor: int) -> None:
    status = os.fstat(descriptor)
    user = os.geteuid()
    if status.st_uid != user:
        raise StateError(root, f"belongs to user {status.st_uid}, not to {user}", hint="use a root that belongs to you")
    if status.st_mode & 0o022:
        raise StateError(
            root, f"can be written by others (mode {status.st_mode & 0o7777:04o})", hint=f"chmod go-w {root}"
        )


def refuse_network(root: str, descriptor: int) -> None:
    """Raise StateError where the root lies on a network file system."""
    name = file_system(descriptor)
    if name in NETWORK:
        raise StateError(
            root, f"lies on a network file system ({name}), whose locks do not exclude others", hint="use a local one"
        )


def mount_id(descriptor: int) -> int:
    """The number of the mount that a descriptor lies on; -1: unknown. Unlike st_dev it differs for a bind mount.

    Source: proc(5), /proc/PID/fdinfo.
    """
    for line in _lines(f"/proc/self/fdinfo/{descriptor}"):
        if line.startswith("mnt_id:"):
            return int(line[7:])
    return -1


def file_system(descriptor: int) -> str:
    """The type of the file system that a descriptor lies on; "": unknown.

    From mountinfo rather than statfs(2), which would load ctypes (6 to 10 ms) for every lock.
    """
    number = mount_id(descriptor)
    for line in _lines("/proc/self/mountinfo"):
        if line.startswith(f"{number} "):
            return line.partition(" - ")[2].split(" ", 1)[0]
    return ""


def _lines(path: str) -> list[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []  # no /proc here; what needs it says so itself
    pieces: list[bytes] = []
    with Opened(descriptor):
        while piece := os.read(descriptor, 1 << 16):
            pieces.append(piece)
    return os.fsdecode(b"".join(pieces)).splitlines()
