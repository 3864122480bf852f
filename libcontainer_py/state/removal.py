"""Removal of a directory with what is in it, within bounds.

By descriptors, so that no symlink is followed; and never across a mount point, since what is mounted there is not ours.
"""

from __future__ import annotations

import errno
import os
import stat

from libcontainer_py.errors import StateError
from libcontainer_py.state.atomic import Opened
from libcontainer_py.state.root import mount_id

DEEPEST = 8
MOST = 4096
"""A state directory holds a dozen files, with a checkpoint some hundreds: more is not one."""


def check(parent: int, name: str, path: str) -> None:
    """Raise StateError where a directory is none that may be removed: too large, or something is mounted in it.

    `path` is its name in errors. Changes nothing. Raises FileNotFoundError where it is not there.
    """
    with Opened(_open(parent, name, path)) as descriptor:
        mount = mount_id(parent)
        _refuse_mount(descriptor, mount, path)
        _check(descriptor, mount, path, 1, 0)


def remove(parent: int, name: str, path: str) -> None:
    """Remove a directory; silent where it is gone. Raises StateError; what was removed until then is gone."""
    try:
        with Opened(_open(parent, name, path)) as descriptor:
            mount = mount_id(parent)
            _refuse_mount(descriptor, mount, path)
            _empty(descriptor, mount, path, 1)
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused(path, error) from error


def _open(parent: int, name: str, path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise StateError(path, "is not a directory") from error
        raise


def _refuse_mount(descriptor: int, mount: int, path: str) -> None:
    # st_dev is the same for a bind mount of the same file system, the number of the mount is not
    if mount_id(descriptor) != mount:
        raise StateError(path, "is a mount point", hint=f"umount {path}")


def _check(directory: int, mount: int, path: str, depth: int, seen: int) -> int:
    if depth > DEEPEST:
        raise StateError(path, f"lies more than {DEEPEST} directories deep", hint="this is no state directory")
    names = os.listdir(directory)
    seen += len(names)
    if seen > MOST:
        raise StateError(path, f"has more than {MOST} entries", hint="this is no state directory")
    for name in names:
        below = os.path.join(path, name)
        with Opened(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)) as descriptor:
            _refuse_mount(descriptor, mount, below)
        if _is_directory(directory, name):
            with Opened(_open(directory, name, below)) as descriptor:
                seen = _check(descriptor, mount, below, depth + 1, seen)
    return seen


def _empty(directory: int, mount: int, path: str, depth: int) -> None:
    if depth > DEEPEST:
        raise StateError(path, f"lies more than {DEEPEST} directories deep", hint="this is no state directory")
    for name in os.listdir(directory):
        below = os.path.join(path, name)
        try:
            if _is_directory(directory, name):
                with Opened(_open(directory, name, below)) as descriptor:
                    _refuse_mount(descriptor, mount, below)
                    _empty(descriptor, mount, below, depth + 1)
                os.rmdir(name, dir_fd=directory)
            else:
                os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _refused(below, error) from error


def _is_directory(directory: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)


def _refused(path: str, error: OSError) -> StateError:
    # EBUSY: something is mounted there
    hint = f"umount {path}" if error.errno == errno.EBUSY else ""
    return StateError(path, f"cannot be removed: {os.strerror(error.errno or 0)}", hint=hint)
