"""Mounts whose ids are mapped, as detached trees that an init puts to their places.

A mapping is that of a user namespace, so one is made for a moment: by the fork server, as for an init, which never gets
a plan. The ids of a mount may be mapped by who has power over its file system's user namespace, which an init with a
user namespace of its own has not: so it is done here. Source: mount_setattr(2), ID-mapped mounts.
"""

from __future__ import annotations

import errno
import os

from libcontainer_py.backends import children
from libcontainer_py.backends.launcher import Launch
from libcontainer_py.errors import CreateError
from libcontainer_py.kernel import constants as c
from libcontainer_py.kernel import libc, mountinfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from libcontainer_py.plan.steps import MappedMount

_NO_POWER = (
    "it takes CAP_SYS_ADMIN where the file system was mounted, which an ordinary user has not; and what has a mapping "
    "already cannot have another one"
)
_NO_MAPPING = (
    "file systems take mappings one by one: ext4, xfs and vfat since Linux 5.12, btrfs 5.15, tmpfs 6.3; overlayfs only "
    "for its layers, since 5.19; proc, sysfs and nfs do not"
)


def trees(mounts: Sequence[MappedMount], joined: str, python: str | None) -> dict[str, int]:
    """A detached tree for each mount, by its name. `joined` is the path of the user namespace that is joined, or "".

    The caller closes them. Raises CreateError, LauncherError, UnsupportedPlatform.
    """
    made: dict[str, int] = {}
    namespaces: dict[tuple[str, str] | None, int] = {}
    try:
        for one in mounts:
            made[one.name] = _detach(one)
            if one.maps not in namespaces:
                namespaces[one.maps] = _join(one, joined) if one.maps is None else _make(one, one.maps, python)
            _map(one, made[one.name], namespaces[one.maps])
    except BaseException:
        for descriptor in made.values():
            os.close(descriptor)
        raise
    finally:
        for descriptor in namespaces.values():
            os.close(descriptor)
    return made


def _join(mount: MappedMount, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _error(mount, f"{path}: {error.strerror}", error.errno) from error


def _make(mount: MappedMount, maps: tuple[str, str], python: str | None) -> int:
    """A new user namespace with these maps. The caller closes it."""
    launch = Launch(python, c.CLONE_NEWUSER, (*maps, False, ("", "")), None, {})
    child = None
    try:
        child = launch.born()
        return os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except CreateError as error:
        raise _error(mount, str(error), error.errno, error.hint) from error
    except OSError as error:
        raise _error(mount, f"{error.filename}: {error.strerror}", error.errno) from error
    finally:
        launch.discard()  # it lives on in its descriptor
        if child is not None:
            children.forget(child.pid, child.start)


def _detach(mount: MappedMount) -> int:
    """A clone of the mounts, which nobody sees. The caller closes it."""
    flags = c.OPEN_TREE_CLONE | c.OPEN_TREE_CLOEXEC | (c.AT_RECURSIVE if mount.recursive else 0)
    try:
        return libc.open_tree(c.AT_FDCWD, mount.source, flags)
    except OSError as error:
        raise _refusal(mount, error) from error


def _map(mount: MappedMount, tree: int, users: int) -> None:
    flags = c.AT_EMPTY_PATH | (c.AT_RECURSIVE if mount.below else 0)
    try:
        if mount.slave:  # nothing that is mounted in it may reach the host
            libc.mount_setattr(tree, "", c.AT_EMPTY_PATH | c.AT_RECURSIVE, propagation=c.MS_SLAVE)
        libc.mount_setattr(tree, "", flags, attr_set=c.MOUNT_ATTR_IDMAP, users=users)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise _refusal(mount, error) from error
        below = ", or of one below," if mount.below else ""
        reason = f"the file system ({_type_of(mount.source)}){below} takes no mapping of ids"
        raise _error(mount, f"{mount.source}: {reason}", errno.EINVAL, _NO_MAPPING) from error


def _refusal(mount: MappedMount, error: OSError) -> CreateError:
    hint = _NO_POWER if error.errno == errno.EPERM else ""
    return _error(mount, f"{mount.source}: {error.strerror}", error.errno, hint)


def _error(mount: MappedMount, text: str, number: int | None, hint: str = "") -> CreateError:
    return CreateError(
        f"map the ids of {mount.name}: {text}", step="idmap", subject=mount.source, errno=number or 0, hint=hint
    )


def _type_of(path: str) -> str:
    """The type of the file system that a path is on."""
    real = os.path.realpath(path)
    at, fstype = "", "unknown"
    for mount in mountinfo.mounts():
        if len(mount.point) >= len(at) and f"{real}/".startswith(mount.point.rstrip("/") + "/"):
            at, fstype = mount
    return fstype
