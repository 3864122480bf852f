"""clone3, and joining namespaces."""

import ctypes
import os
import sys

from libcontainer_py.kernel.constants import CLONE_INTO_CGROUP, CLONE_PARENT, CLONE_PIDFD
from libcontainer_py.kernel.libc import number_of

_ARGUMENTS = 11  # members of struct clone_args up to `cgroup`, each 8 bytes. Source: clone(2)


_loaded: "list[ctypes.PyDLL]" = []


def _library() -> "ctypes.PyDLL":
    if not _loaded:
        library = ctypes.PyDLL(None, use_errno=True)
        library.syscall.restype = ctypes.c_long
        python = ctypes.pythonapi
        for name in ("PyOS_BeforeFork", "PyOS_AfterFork_Child", "PyOS_AfterFork_Parent"):
            getattr(python, name)  # found once, by the fork server, and not by each child
        _loaded.append(library)
    return _loaded[0]


def clone3(flags: int, cgroup: "int | None" = None) -> "tuple[int, int]":
    """Fork a child into new namespaces; returns (pid, pidfd), in the child (0, -1).

    Only for a process of one thread. The interpreter is told as os.fork tells it, and keeps its lock meanwhile, which
    is why this is a PyDLL. With CLONE_PARENT the child's parent is ours, and it inherits our exit signal.
    """
    library = _library()
    pidfd = ctypes.c_int(-1)
    members = [0] * _ARGUMENTS
    members[0] = flags | CLONE_PIDFD | (0 if cgroup is None else CLONE_INTO_CGROUP)
    members[1] = ctypes.addressof(pidfd)
    members[4] = 0 if flags & CLONE_PARENT else 17  # SIGCHLD
    members[10] = 0 if cgroup is None else cgroup
    packed = b"".join(member.to_bytes(8, sys.byteorder) for member in members)
    number = ctypes.c_long(number_of("clone3"))
    size = ctypes.c_size_t(len(packed))
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = library.syscall(number, packed, size)
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0, -1
    errno = ctypes.get_errno()
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(errno, os.strerror(errno), "clone3")
    return int(pid), pidfd.value
