"""Copies a directory of the root file system into a tmpfs that will hide it: the mount option tmpcopyup.

Each file is opened once, as what it is, and all the rest is done to that descriptor, so a symlink or a device that
somebody swaps in meanwhile is copied as such, and neither followed nor opened. Nobody sees the copy before it is done.
"""

import os
import stat

from libcontainer_py.kernel.constants import O_PATH

_UNSUPPORTED = (1, 95)  # EPERM, EOPNOTSUPP: what tmpfs, or a user namespace, cannot have
_AT_ONCE = 1 << 30


def copy_directory(source: int, target: int) -> None:
    """Copy what is in `source`, with owners, modes, times and what tmpfs can have of extended attributes.

    The directory's own mode is not copied: that of a file system is given when it is mounted.
    """
    listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=source)
    try:
        for name in os.listdir(listed):
            found = os.open(name, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=listed)
            try:
                _copy(found, name, target)
            except OSError as error:
                error.filename = error.filename or name
                raise
            finally:
                os.close(found)
    finally:
        os.close(listed)


def _copy(found: int, name: str, target: int) -> None:
    status = os.fstat(found)
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink("", dir_fd=found), name, dir_fd=target)
    elif stat.S_ISDIR(mode):
        os.mkdir(name, 0o700, dir_fd=target)
        _copy_below(found, name, target)
    elif stat.S_ISREG(mode):
        _copy_file(found, name, target)
    else:
        os.mknod(name, mode, status.st_rdev, dir_fd=target)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(mode):
        os.chmod(name, stat.S_IMODE(mode), dir_fd=target)  # after chown, which takes set-user-ID away
        _copy_extended(found, name, target)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_below(found: int, name: str, target: int) -> None:
    made = os.open(name, O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target)
    try:
        copy_directory(found, made)
    finally:
        os.close(made)


def _copy_file(found: int, name: str, target: int) -> None:
    reading = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while os.sendfile(writing, reading, None, _AT_ONCE):
                pass
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_extended(found: int, name: str, target: int) -> None:
    there = f"/proc/self/fd/{found}"
    for attribute in os.listxattr(there):
        try:
            os.setxattr(f"/proc/self/fd/{target}/{name}", attribute, os.getxattr(there, attribute))
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
