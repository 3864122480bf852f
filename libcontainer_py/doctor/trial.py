"""Tries what containers take, each in a process that ends at once, so that nothing is left; executed, never imported.

`python -I -S -E trial.py PACKAGE` writes one line of JSON: the name of each trial, and null where it worked, else the
step that was refused and its errno (0: a signal ended it). As root in this user namespace; anybody else in one of his
own, as his containers are.
"""

import json
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
else:
    import _signal

_PATIENCE = 10
"""Seconds, until the kernel ends a trial that hangs."""
_PLAIN = ("/usr", "/etc", "/bin", "/lib")


class _Refused(Exception):
    """A step failed."""

    def __init__(self, step: str, errno: int) -> None:
        super().__init__(step, errno)
        self.step = step
        self.errno = errno


def main() -> None:
    """Try all, and say what came of it."""
    sys.path.append(sys.argv[1])
    trials = (_pidfd, _clone3, _user, _namespaces, _tree, _proc, _overlay, _seccomp, _keyring)
    print(json.dumps({trial.__name__[1:]: _attempt(trial) for trial in trials}))  # noqa: T201  (the host reads it)


def _attempt(trial: "Callable[[], None]") -> "tuple[str, int] | None":
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _signal.alarm(_PATIENCE)
        try:
            trial()
            os.write(writer, b"0 ")
        except _Refused as refused:
            os.write(writer, f"{refused.errno} {refused.step}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    said = os.read(reader, 4096).decode()
    os.close(reader)
    status = os.waitpid(pid, 0)[1]
    if not said:
        return f"ended by signal {status & 0x7F}", 0
    errno, _, step = said.partition(" ")
    return (step, int(errno)) if step else None


def _step(name: str, call: "Callable[..., object]", *arguments: object) -> None:
    try:
        call(*arguments)
    except OSError as error:
        raise _Refused(name, error.errno or 0) from error


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, text.encode())
    os.close(descriptor)


# -- what a trial begins with -----------------------------------------------------------------------------------------


def _enter_user_namespace() -> None:
    from libcontainer_py.kernel import libc  # noqa: PLC0415  (sys.path is set now)
    from libcontainer_py.kernel.constants import CLONE_NEWUSER  # noqa: PLC0415

    user, group = os.geteuid(), os.getegid()
    _step("unshare", libc.unshare, CLONE_NEWUSER)
    _step("setgroups", _write, "/proc/self/setgroups", "deny")
    _step("uid_map", _write, "/proc/self/uid_map", f"0 {user} 1")
    _step("gid_map", _write, "/proc/self/gid_map", f"0 {group} 1")


def _enter(flags: int) -> None:
    """New namespaces for this process, whose mounts nobody else sees."""
    from libcontainer_py.kernel import libc  # noqa: PLC0415
    from libcontainer_py.kernel.constants import CLONE_NEWNS, MS_REC, MS_SLAVE  # noqa: PLC0415

    if os.geteuid() != 0:
        _enter_user_namespace()
    _step("unshare", libc.unshare, flags | CLONE_NEWNS)
    _step("propagation", libc.mount, None, "/", None, MS_REC | MS_SLAVE)


def _fork() -> None:
    """Go on in a child: the first of a new pid namespace."""
    if os.fork():
        os.wait()
        os._exit(0)
    _signal.alarm(_PATIENCE)


# -- the trials -------------------------------------------------------------------------------------------------------


def _pidfd() -> None:
    _step("pidfd_open", os.pidfd_open, os.getpid())


def _clone3() -> None:
    _clone("clone3", 0)


def _clone(name: str, flags: int) -> None:
    from libcontainer_py.kernel import namespace  # noqa: PLC0415

    try:
        pid, _ = namespace.clone3(flags)
    except OSError as error:
        raise _Refused(name, error.errno or 0) from error
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _user() -> None:
    """A user namespace in which one has power: AppArmor lets one in, and takes the power away."""
    from libcontainer_py.kernel import libc  # noqa: PLC0415
    from libcontainer_py.kernel.constants import CLONE_NEWNS  # noqa: PLC0415

    _enter_user_namespace()
    _step("unshare(CLONE_NEWNS)", libc.unshare, CLONE_NEWNS)
    _step("mount", libc.mount, "tmpfs", "/proc", "tmpfs", 0)


def _namespaces() -> None:
    from libcontainer_py.kernel.constants import CLONE_NEWUSER, NAMESPACES  # noqa: PLC0415

    own = CLONE_NEWUSER if os.geteuid() else 0
    flags = {name: flag for name, (_, flag) in NAMESPACES.items() if name not in ("user", "time")}
    try:
        _clone("all", sum(flags.values()) | own)
    except _Refused:
        for name, flag in flags.items():
            _clone(name, flag | own)
        raise  # each by itself may be had


def _tree() -> None:
    """The read-only clone of the host's mounts, from which the fork server runs."""
    from libcontainer_py.kernel import libc  # noqa: PLC0415
    from libcontainer_py.kernel.constants import (  # noqa: PLC0415
        AT_EMPTY_PATH,
        AT_FDCWD,
        AT_RECURSIVE,
        MOUNT_ATTR_RDONLY,
        OPEN_TREE_CLONE,
    )

    _enter(0)
    try:
        tree = libc.open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | AT_RECURSIVE)
    except OSError as error:
        raise _Refused("open_tree", error.errno or 0) from error
    try:
        libc.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=MOUNT_ATTR_RDONLY)
    except OSError as error:
        raise _Refused("mount_setattr", error.errno or 0) from error


def _proc() -> None:
    from libcontainer_py.kernel import libc  # noqa: PLC0415
    from libcontainer_py.kernel.constants import CLONE_NEWPID  # noqa: PLC0415

    _enter(CLONE_NEWPID)
    _fork()
    _step("mount", libc.mount, "proc", "/proc", "proc", 0)


def _overlay() -> None:
    """As a sandbox shows the host's files: see `sandbox.files`."""
    from libcontainer_py.kernel import libc, mountinfo, process  # noqa: PLC0415
    from libcontainer_py.kernel.constants import MS_RDONLY  # noqa: PLC0415

    points = [mount.point for mount in mountinfo.mounts()]
    whole = os.geteuid() == 0 and not process.in_user_namespace()
    plain = (path for path in _PLAIN if os.path.isdir(path) and not any(p.startswith(path) for p in points))
    lower = "/" if whole else next(plain, "/usr")
    _enter(0)
    _step("mount tmpfs", libc.mount, "tmpfs", "/proc", "tmpfs", 0)
    for path in ("/proc/empty", "/proc/place"):
        _step("mkdir", os.mkdir, path)
    data = f"userxattr,lowerdir={lower}:/proc/empty"
    _step("mount", libc.mount, "overlay", "/proc/place", "overlay", MS_RDONLY, data)


def _seccomp() -> None:
    from libcontainer_py.kernel import libc, seccomp  # noqa: PLC0415
    from libcontainer_py.kernel.constants import PR_SET_NO_NEW_PRIVS, SECCOMP_RET_ALLOW  # noqa: PLC0415

    _step("no_new_privs", libc.prctl, PR_SET_NO_NEW_PRIVS, 1)
    allow_all = struct.pack("=HBBI", 0x06, 0, 0, SECCOMP_RET_ALLOW)  # BPF_RET | BPF_K
    _step("seccomp", seccomp.set_mode_filter, allow_all)


def _keyring() -> None:
    from libcontainer_py.kernel import libc  # noqa: PLC0415
    from libcontainer_py.kernel.constants import KEYCTL_JOIN_SESSION_KEYRING  # noqa: PLC0415

    _step("keyctl", libc.keyctl, KEYCTL_JOIN_SESSION_KEYRING, b"libcontainer_py-doctor")


if __name__ == "__main__":
    main()
