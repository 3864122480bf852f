"""The standard streams that a process of a container gets."""

from __future__ import annotations

import os
import stat

from libcontainer_py.init import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.backends.base import CreateRequest, SpawnRequest

_DEVNULL = -3
_NAMES = ("stdin", "stdout", "stderr")
_NULL = os.makedev(1, 3) if hasattr(os, "makedev") else 0


def preserved(request: CreateRequest | SpawnRequest) -> dict[str, int]:
    """Descriptors by name that the program gets beside its streams, under the numbers that they have here."""
    return {f"{messages.PRESERVED}{number}": number for number in range(3, 3 + request.preserve_fds)}


def streams_of(request: CreateRequest | SpawnRequest, opened: list[int]) -> dict[str, int]:
    """Descriptors by name; what had to be opened for it is put into `opened`. Raises OSError (EBADF)."""
    streams: dict[str, int] = {}
    for number, (name, given) in enumerate(zip(_NAMES, (request.stdin, request.stdout, request.stderr), strict=True)):
        wanted = number if given is None else given
        if wanted == _DEVNULL or (given is None and not _is_inherited(wanted)):
            wanted = os.open("/dev/null", (os.O_RDONLY if number == 0 else os.O_WRONLY) | os.O_CLOEXEC)
            opened.append(wanted)
        else:
            os.fstat(wanted)  # EBADF is the caller's mistake, and not to be taken for the fork server's death
        streams[name] = wanted
    return streams


def without_null(streams: dict[str, int], opened: list[int]) -> dict[str, int]:
    """The same, but streams that are the host's null device come through a read-only mount.

    Whoever has a stream may chmod what it leads to. An ordinary user may neither mount, nor chmod that device.
    """
    if os.geteuid() != 0:
        return streams
    safe = dict(streams)
    for name, descriptor in streams.items():
        status = os.fstat(descriptor)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL:
            safe[name] = _readonly_null(os.O_RDONLY if name == "stdin" else os.O_WRONLY)
            opened.append(safe[name])
    return safe


def _readonly_null(access: int) -> int:
    from libcontainer_py.kernel import constants as c  # noqa: PLC0415  (goes with it)
    from libcontainer_py.kernel import libc  # noqa: PLC0415  (ctypes)

    mount = libc.open_tree(c.AT_FDCWD, "/dev/null", c.OPEN_TREE_CLONE | c.OPEN_TREE_CLOEXEC)
    try:
        libc.mount_setattr(mount, "", c.AT_EMPTY_PATH, attr_set=c.MOUNT_ATTR_RDONLY)
        return os.open(f"/proc/self/fd/{mount}", access | os.O_CLOEXEC)
    finally:
        os.close(mount)


def _is_inherited(descriptor: int) -> bool:
    """Whether it is a standard stream that a program which we execute would inherit.

    Where ours are closed, their numbers go to what is opened next: a lock, a control socket, the fork server's.
    Those are all close-on-exec, and none may reach a container.
    """
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False
