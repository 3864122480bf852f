"""What is to end with the host: containers that the fork server kills when it sees that the host is gone.

PR_SET_PDEATHSIG would not do: it comes when the thread ends that made the child, and the host has many.
"""

import os

from libcontainer_py.kernel.process import has_ended, pidfd_send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    Place: TypeAlias = tuple[str, str, bool]
    """Directories of its cgroup, of v1's freezer and of v2, "" for none; and whether init alone is to be killed."""

_SIGKILL = 9
_ROUNDS = 1000


class Charges:
    """Inits by their pidfds, each with the place of its container."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, Place]] = []

    def take(self, pidfds: "list[int]", places: "tuple[Place, ...]") -> None:
        """Look after these too; those that have ended are let go by the way."""
        ended = [one for one in self._kept if has_ended(one[0])]
        for one in ended:
            os.close(one[0])
            self._kept.remove(one)
        self._kept += zip(pidfds, places, strict=True)

    def end(self) -> None:
        """Kill all that live."""
        living = [one for one in self._kept if not has_ended(one[0])]
        for pidfd, (freezer, unified, _) in living:
            _kill(pidfd)
            if unified:
                # frozen or not, and with a pid namespace or without: those who are in it die
                _write(unified + "/cgroup.kill", "1")
            _write(freezer + "/freezer.state", "THAWED")  # a frozen process of v1 does not die
        for _, (freezer, unified, alone) in living:
            if not alone:
                _kill_members(freezer or unified, freezer)


def _kill_members(directory: str, freezer: str) -> None:
    """Until nobody is left, or all hope."""
    for _ in range(_ROUNDS):
        _write(freezer + "/freezer.state", "FROZEN")  # so that nobody forks between being seen and being killed
        pidfds = [pidfd for pidfd in map(_pidfd_in, *_members(directory)) if pidfd >= 0]
        for pidfd in pidfds:
            _kill(pidfd)
        _write(freezer + "/freezer.state", "THAWED")
        if not pidfds:
            return
        for pidfd in pidfds:
            has_ended(pidfd, 0.1)
            os.close(pidfd)


def _members(directory: str) -> "tuple[list[str], list[str]]":
    """The pids of a cgroup and those below it, and for each the file that it stands in."""
    pids: list[str] = []
    files: list[str] = []
    for path in _walk(directory) if directory else ():
        for pid in _read(path + "/cgroup.procs").split():
            pids.append(pid)
            files.append(path + "/cgroup.procs")
    return pids, files


def _walk(directory: str) -> "Iterator[str]":
    """It and all below it; not by recursion, which a container could exhaust that may make cgroups."""
    pending = [directory]
    while pending:
        path = pending.pop()
        yield path
        try:
            pending += [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # it went away meanwhile, or its path is too long


def _pidfd_in(pid: str, file: str) -> int:
    """A pidfd of a process that is in there; -1: it is not, so that its pid may be another's by now."""
    try:
        pidfd = os.pidfd_open(int(pid))
    except OSError:
        return -1
    if pid in _read(file).split():
        return pidfd
    os.close(pidfd)
    return -1


def _kill(pidfd: int) -> None:
    try:
        pidfd_send_signal(pidfd, _SIGKILL)
    except OSError:
        pass  # it has ended


def _read(path: str) -> str:
    text = b""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        while chunk := os.read(descriptor, 1 << 16):
            text += chunk
    except OSError:
        pass  # it went away meanwhile
    finally:
        os.close(descriptor)
    return text.decode()


def _write(path: str, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # there is no such cgroup, or kernel
    try:
        os.write(descriptor, text.encode())
    except OSError:
        pass
    finally:
        os.close(descriptor)
