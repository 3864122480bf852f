"""Who the program is: limits, ids, capabilities; and where it is found."""

import os
import stat
import sys

from libcontainer_py.kernel import capability, libc
from libcontainer_py.kernel.constants import PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS

if sys.platform == "linux":
    import resource

_EPERM, _ENOENT, _EACCES = 1, 2, 13
_MOST_PASSWD = 1 << 20


def raise_limits(limits: "tuple[tuple[int, int, int], ...]") -> None:
    """Set the resource limits (resource, soft, hard) whose hard limit rises: later we may no longer."""
    for number, soft, hard in limits:
        if _above(hard, resource.getrlimit(number)[1]):
            _limit(number, soft, hard)


def lower_limits(limits: "tuple[tuple[int, int, int], ...]") -> None:
    """Set all limits; last, since a low RLIMIT_NOFILE or RLIMIT_AS would bind init itself."""
    for number, soft, hard in limits:
        _limit(number, soft, hard)


def _limit(number: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(number, (soft, hard))
    except ValueError as error:  # what Python makes of EPERM and EINVAL; soft is not above hard here
        raise PermissionError(_EPERM, str(error)) from error


def _above(value: int, limit: int) -> bool:
    if limit == resource.RLIM_INFINITY:
        return False
    return value == resource.RLIM_INFINITY or value > limit


def take(
    ids: "tuple[int, int]",
    groups: "tuple[int, ...] | None",
    sets: "tuple[int, int, int, int, int] | None",
    last: int,
    no_new_privileges: bool,
    kept: int,
) -> None:
    """Become (uid, gid) with `groups` (None: leave them), and exactly the capability sets, with `kept` for the time.

    `sets` are masks: bounding, effective, permitted, inheritable, ambient; None leaves what the kernel gives.
    """
    uid, gid = ids
    if sets is not None:
        capability.bound(sets[0], last)
        libc.prctl(PR_SET_KEEPCAPS, 1)
    if groups is not None:
        os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if sets is not None:
        libc.prctl(PR_SET_KEEPCAPS, 0)
        capability.capset(sets[1] | kept, sets[2] | kept, sets[3])
        capability.set_ambient(sets[4], last)
    if no_new_privileges:
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1)


def change_directory(path: str) -> None:
    """chdir, and make sure that it leads to a place inside the container.

    `/proc/self/fd/N` of a leaked descriptor would be a way out; then the kernel cannot name the place from our root.
    """
    os.chdir(path)
    if not os.getcwd().startswith("/"):
        raise OSError(_ENOENT, "the working directory is outside of the container", path)


def home_of(uid: int) -> str:
    """The home directory of a user in the container's /etc/passwd, or "/"."""
    try:
        descriptor = os.open("/etc/passwd", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return "/"
    try:
        text = os.read(descriptor, _MOST_PASSWD) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
    for line in text.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":")
        if len(fields) > 5 and fields[2] == str(uid) and fields[5].startswith("/"):
            return fields[5]
    return "/"


def find_program(name: str, search: str) -> str:
    """The path that execve gets, in runc's words where there is none."""
    if "/" in name:
        _check(name, name)
        return name
    denied = ""
    for directory in search.split(":"):
        candidate = f"{directory or '.'}/{name}"
        try:
            _check(candidate, name)
        except PermissionError:
            denied = candidate
            continue
        except OSError:
            continue
        return candidate
    if denied:
        raise PermissionError(_EACCES, f'exec: "{name}": permission denied', denied)
    raise FileNotFoundError(_ENOENT, f'exec: "{name}": executable file not found in $PATH', name)


def _check(path: str, name: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        text = os.strerror(error.errno or 0).lower()
        raise OSError(error.errno, f'exec: "{name}": stat {path}: {text}', path) from None
    if stat.S_ISDIR(mode):
        raise PermissionError(_EACCES, f'exec: "{name}": is a directory: permission denied', path)
    if not mode & 0o111 or not os.access(path, os.X_OK, effective_ids=True):
        raise PermissionError(_EACCES, f'exec: "{name}": permission denied', path)
