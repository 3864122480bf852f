"""Enters namespaces that exist already, and time namespaces, on the way to an init.

A pid namespace that is joined, and a time namespace, count for children only: so this is done by a process between the
fork server and init. Source: setns(2), time_namespaces(7).
"""

import os

from libcontainer_py.kernel import libc
from libcontainer_py.kernel.constants import CLONE_NEWTIME, CLONE_NEWUSER, PR_SET_DUMPABLE

_EPERM = 1


def enter(stage: "tuple[tuple[tuple[str, int], ...], str | None]", descriptors: "dict[str, int]") -> None:
    """Join (name of a descriptor, CLONE_NEW*) each, and unshare a time namespace with these offsets, "" for none.

    A namespace belongs to a user namespace, ours or one that is to be joined too: those that we may not join yet are
    tried again in that one. Raises OSError.
    """
    joins, offsets = stage
    later: list[tuple[bool, str, int, int]] = []
    for name, flag in joins:
        descriptor = descriptors.pop(name)
        try:
            if flag != CLONE_NEWUSER:
                _join(name, descriptor, flag)
                continue
        except OSError as error:
            if error.errno != _EPERM:
                raise
        later.append((flag == CLONE_NEWUSER, name, descriptor, flag))
    for _, name, descriptor, flag in sorted(later, reverse=True):  # the user namespace first
        _join(name, descriptor, flag)
        if flag == CLONE_NEWUSER:
            _become_root()
    if offsets is not None:
        libc.unshare(CLONE_NEWTIME)
        if offsets:
            _write_offsets(offsets)


def join(name: str, process: int, flags: int) -> None:
    """Join several namespaces of a process at once, by its pidfd, which is closed. Raises OSError."""
    _join(name, process, flags)
    if flags & CLONE_NEWUSER:
        _become_root()


def _become_root() -> None:
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _join(name: str, descriptor: int, flag: int) -> None:
    try:
        libc.setns(descriptor, flag)
    except OSError as error:
        error.filename = f"setns {name}"
        raise
    os.close(descriptor)


def _write_offsets(offsets: str) -> None:
    path = "/proc/self/timens_offsets"
    libc.prctl(
        PR_SET_DUMPABLE, 1
    )  # or the file is of the first namespace's root; we are in no pid namespace to be seen
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    finally:
        libc.prctl(PR_SET_DUMPABLE, 0)
    try:
        os.write(descriptor, offsets.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
