"""Writes the maps of ids of a new user namespace, for a child that waits for them.

Ranges that an ordinary user may not map himself are mapped by newuidmap and newgidmap, which are set-user-ID and know
what the user was given. Source: user_namespaces(7), newuidmap(1), newgidmap(1).
"""

import os

from libcontainer_py.kernel.process import has_ended

_EPERM, _ETIMEDOUT = 1, 110
_PATIENCE = 30.0
"""Seconds that a program may take: it may ask a directory service."""
_IGNORED_HERE = (1, 2, 13, 15)
_SAID = 1024


def write(pid: int, uid_map: str, gid_map: str, deny_setgroups: bool, programs: "tuple[str, str]") -> None:
    """Write both maps, each by its program where there is one. Raises OSError."""
    _execute([(program, text) for program, text in zip(programs, (uid_map, gid_map), strict=True) if program], pid)
    uid_program, gid_program = programs
    if deny_setgroups:
        _write(f"/proc/{pid}/setgroups", "deny")
    if not gid_program:
        _write(f"/proc/{pid}/gid_map", gid_map)
    if not uid_program:
        _write(f"/proc/{pid}/uid_map", uid_map)


def _execute(programs: "list[tuple[str, str]]", pid: int) -> None:
    """Run them side by side, and wait for all, whatever becomes of one. Raises the first failure."""
    failures: list[OSError] = []
    running: list[tuple[str, int, int]] = []
    for program, text in programs:
        try:
            running.append(_start(program, pid, text))
        except OSError as error:
            failures.append(error)
    for one in running:
        try:
            _finish(*one)
        except OSError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _start(program: str, pid: int, text: str) -> "tuple[str, int, int]":
    """Execute newuidmap or newgidmap: its name, its pid, and a file for what it says."""
    name = program.rpartition("/")[2]
    said = os.memfd_create(name, os.MFD_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
    arguments = [name, str(pid), *text.split()]
    try:
        return name, os.posix_spawn(program, arguments, {}, file_actions=actions, setsigdef=_IGNORED_HERE), said
    except OSError:
        os.close(said)
        raise


def _finish(name: str, pid: int, said: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        late = not has_ended(pidfd, _PATIENCE)
        if late:
            os.kill(pid, 9)
        status = os.waitpid(pid, 0)[1]
        text = os.pread(said, _SAID, 0).decode("utf-8", "replace").strip()
    finally:
        os.close(pidfd)
        os.close(said)
    if late:
        raise OSError(_ETIMEDOUT, f"{name}: did not end within {_PATIENCE:g} s")
    if status:
        raise OSError(_EPERM, text if text.startswith(name) else f"{name}: {text or 'failed'}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
