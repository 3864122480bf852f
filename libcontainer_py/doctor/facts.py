"""What findings are drawn from: what files of a host say, and what it refuses when it is tried."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from typing import NamedTuple

from libcontainer_py.cgroups import hierarchies
from libcontainer_py.errors import LauncherError
from libcontainer_py.kernel.mountinfo import unescape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIMITERS = ("cpu", "memory", "pids")
"""Controllers that `run()` has options for."""
_PATIENCE = 60.0
_PROGRAMS = ("/usr/bin", "/usr/local/bin", "/bin")


class Refusal(NamedTuple):
    """A trial that failed."""

    step: str
    errno: int
    """0: a signal ended it, which `step` says."""


class User(NamedTuple):
    """Who asks."""

    uid: int
    name: str
    """Of the account; the uid where it has none."""


class Mapper(NamedTuple):
    """newuidmap or newgidmap."""

    path: str
    """"": nowhere."""
    privileged: bool
    """Whether it is set-user-ID, or has a file capability."""


class Facts(NamedTuple):
    """All of it."""

    user: User
    release: str
    """The kernel's, as uname -r."""
    capabilities: int
    """Those that this process may have, as a mask."""
    no_new_privileges: bool
    sysctls: Mapping[str, int]
    """Those of `SYSCTLS` that are there."""
    ranges: Mapping[str, int]
    """How many ids /etc/subuid and /etc/subgid give to this user: "uid" and "gid"."""
    mappers: Mapping[str, Mapper]
    """By "uid" and "gid"."""
    proc_covers: tuple[str, ...]
    """What is mounted over parts of /proc."""
    cgroups: hierarchies.Mode
    controllers: frozenset[str]
    """Controllers that this user can limit containers with."""
    barred: str
    """A directory that cgroups had to be made in, and cannot; "": they can, or no cgroups are mounted."""
    closed: str
    """The directory of state directories, where this user can have none there; "": he can."""


SYSCTLS = (
    "user.max_user_namespaces",
    "user.max_pid_namespaces",
    "user.max_mnt_namespaces",
    "user.max_ipc_namespaces",
    "user.max_uts_namespaces",
    "user.max_net_namespaces",
    "user.max_cgroup_namespaces",
    "kernel.unprivileged_userns_clone",
    "kernel.apparmor_restrict_unprivileged_userns",
    "kernel.keys.maxkeys",
)


class Files:
    """The files of a host whose root is at `root`."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    def at(self, path: str) -> str:
        """Where an absolute path of that host is here."""
        return self._root + path

    def read(self, path: str) -> str:
        """The text of a file; "": it is not there, or not ours to read."""
        try:
            with open(self.at(path), encoding="utf-8", errors="surrogateescape") as file:
                return file.read()
        except OSError:
            return ""

    def writable(self, path: str) -> bool:
        """Whether one may write there: not where it is mounted read-only."""
        return os.access(self.at(path), os.W_OK)


def gather(user: User, state_root: str, root: str = "/") -> Facts:
    """Read the files of the host whose root is at `root`; changes nothing. `state_root` is for state directories."""
    files = Files(root)
    status = dict(_pairs(files.read("/proc/self/status")))
    mode, controllers, barred = _cgroups(files, user)
    return Facts(
        user=user,
        release=files.read("/proc/sys/kernel/osrelease").strip(),
        capabilities=int(status.get("CapPrm", "0"), 16),
        no_new_privileges=status.get("NoNewPrivs") == "1",
        sysctls={name: int(text) for name, text in _sysctls(files) if text.strip().isdigit()},
        ranges={kind: _size_of_ranges(files.read(f"/etc/sub{kind}"), user) for kind in ("uid", "gid")},
        mappers={kind: _mapper(files, f"new{kind}map") for kind in ("uid", "gid")},
        proc_covers=tuple(dict.fromkeys(point for point in _points(files) if point.startswith("/proc/"))),
        cgroups=mode,
        controllers=controllers,
        barred=barred,
        closed="" if _is_open(files, state_root, user) else state_root,
    )


def _is_open(files: Files, state_root: str, user: User) -> bool:
    """Whether the root is there and the user's, or he can make it."""
    try:
        return os.stat(files.at(state_root)).st_uid == user.uid and files.writable(state_root)
    except FileNotFoundError:
        above = os.path.dirname(state_root)
        while above != "/" and not os.path.isdir(files.at(above)):
            above = os.path.dirname(above)
        return files.writable(above)
    except OSError:
        return False


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        yield key, value.strip()


def _sysctls(files: Files) -> Iterator[tuple[str, str]]:
    for name in SYSCTLS:
        yield name, files.read("/proc/sys/" + name.replace(".", "/"))


def _points(files: Files) -> Iterator[str]:
    for line in files.read("/proc/self/mountinfo").splitlines():
        yield unescape(line.split(" ")[4])


def _size_of_ranges(text: str, user: User) -> int:
    """Source: subuid(5)."""
    size = 0
    for line in text.splitlines():
        who, _, rest = line.partition(":")
        count = rest.partition(":")[2]
        if who in (user.name, str(user.uid)) and count.strip().isdigit():
            size += int(count)
    return size


def _mapper(files: Files, name: str) -> Mapper:
    for directory in _PROGRAMS:
        path = f"{directory}/{name}"
        try:
            mode = os.stat(files.at(path)).st_mode
        except OSError:
            continue
        return Mapper(path, bool(mode & stat.S_ISUID) or _has_file_capability(files.at(path)))
    return Mapper("", privileged=False)


def _has_file_capability(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


# -- cgroups ----------------------------------------------------------------------------------------------------------


def _cgroups(files: Files, user: User) -> tuple[hierarchies.Mode, frozenset[str], str]:
    """The mode, the controllers that the user can limit with, and what keeps him from it."""
    found = hierarchies.arrange(hierarchies.parse_mountinfo(files.read("/proc/self/mountinfo")))
    own = hierarchies.parse_own(files.read("/proc/self/cgroup"))
    paths = {controller: _place(found, controller, own, user) for controller in found.mounts}
    barred = {controller: path for controller, path in paths.items() if not _is_ours(files, path, user, controller)}
    if found.mode is hierarchies.Mode.V2:
        can = frozenset[str]() if barred else frozenset(files.read(paths[""] + "/cgroup.controllers").split())
    else:
        can = frozenset(paths.keys() - barred.keys() - {""})
    needed = barred if user.uid == 0 else {name: path for name, path in barred.items() if name in (*LIMITERS, "")}
    return found.mode, can, next(iter(needed.values()), "")


def _place(found: hierarchies.Hierarchies, controller: str, own: Mapping[str, str], user: User) -> str:
    """The directory in which cgroups of this user's containers are made: for an ordinary user where his own are."""
    point = found.mounts[controller].point
    if user.uid == 0:
        return point
    place = found.directory_of(controller, own.get(controller, "/"))
    # on v2 beside ours, since a cgroup with processes passes no controllers down
    return os.path.dirname(place) if found.mode is hierarchies.Mode.V2 and place != point else place


def _is_ours(files: Files, path: str, user: User, controller: str) -> bool:
    """Source: cgroup-v2.rst, Delegation: the directory, and the file by which processes move."""
    moves = user.uid == 0 or controller or files.writable(path + "/cgroup.procs")
    return bool(moves) and files.writable(path)


# -- trials -----------------------------------------------------------------------------------------------------------


def attempt(python: str) -> Mapping[str, Refusal | None]:
    """Try what containers take, by this interpreter, in processes that end at once: name to refusal, None: it worked.

    Raises LauncherError where that cannot be executed.
    """
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trial.py")
    package = os.path.dirname(os.path.dirname(os.path.dirname(script)))
    words = [python, "-I", "-S", "-E", script, package]
    try:
        done = subprocess.run(words, capture_output=True, check=False, env={}, cwd="/", timeout=_PATIENCE)
        told = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise LauncherError(
            f"{python} -I -S -E cannot execute {script}",
            hint="LinuxBackend(python=...) names another Python, of 3.10 or later, with ctypes",
        ) from error
    return {name: None if refusal is None else Refusal(*refusal) for name, refusal in told.items()}
