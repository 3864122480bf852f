"""What a sandbox was asked for, looked through before anything is made: every mistake at once, with its argument."""

from __future__ import annotations

import os
import re
import sys
from collections import abc

import attrs

from libcontainer_py.errors import ConfigError, Problem
from libcontainer_py.sandbox.files import has_directory
from libcontainer_py.spec.linux import CPU, Memory, Pids, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    from libcontainer_py.factory import StrPath

    Binds: TypeAlias = "Mapping[StrPath, str] | Sequence[Bind]"
    Size: TypeAlias = "int | str"
    Who: TypeAlias = "int | str"

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_PERIOD = 100_000
"""Microseconds: in each the command may compute for `cpus` times as long. The kernel's own default."""
_SHORTEST_QUOTA = 1000
_LARGEST_PASSWD = 1 << 20
_LARGEST_ID = 2**32 - 2


def _text(path: StrPath) -> str:
    return path if isinstance(path, str) else path.__fspath__()


@attrs.frozen
class Bind:
    """A file or directory of the host's that the command sees at `destination`; read-only unless `writable`."""

    source: str = attrs.field(converter=_text)
    destination: str
    writable: bool = False


@attrs.frozen(kw_only=True)
class Options:
    """What is to be made."""

    rootfs: str | None
    """A directory, its real path; None: the host's file system."""
    binds: tuple[Bind, ...]
    env: Mapping[str, str]
    cwd: str
    user: tuple[int, int]
    """User and group id, inside."""
    network: bool
    """The host's network."""
    limits: Resources | None


def looked_through(
    *,
    rootfs: StrPath | None,
    binds: Binds | None,
    env: Mapping[str, str] | None,
    cwd: str | None,
    user: Who | None,
    network: bool,
    memory: Size | None,
    cpus: float | None,
    pids: int | None,
) -> Options:
    """Raises ConfigError with every problem; its paths are the names of the arguments."""
    problems: list[Problem] = []
    root = _rootfs(rootfs, problems)
    options = Options(
        rootfs=root,
        binds=tuple(_binds(binds, problems)),
        env=dict(env or {}),
        cwd=cwd or "/",
        user=user_of(user, root or "/", problems),
        network=network,
        limits=_limits(memory, cpus, pids, problems),
    )
    if not options.cwd.startswith("/"):
        problems.append(Problem("cwd", "must be absolute", cwd))
    elif not has_directory(root, options.binds, options.cwd):
        reason = f"there is no directory {options.cwd} in the sandbox"
        hint = "it is hidden there, as homes and temporary files are: bind it" if os.path.isdir(options.cwd) else ""
        problems.append(Problem("cwd", reason, cwd, hint))
    if problems:
        raise ConfigError(problems)
    return options


def is_ordinary() -> bool:
    """Whether we are an ordinary user of Linux, who has one id to give; on other systems there are only fakes."""
    return sys.platform.startswith("linux") and os.geteuid() != 0


def bytes_of(size: Size) -> int:
    """Bytes of a number, or of a text such as "64M" or "1.5 GiB"; K, M, G and T are powers of 1024.

    Raises ValueError.
    """
    if isinstance(size, int) and not isinstance(size, bool):
        count = size
    else:
        match = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
        if match is None:
            raise ValueError(f"{size!r} is no size: give bytes, or a text such as '64M' or '1.5G'")
        count = int(float(match[1]) * (1 << _POWERS[(match[2] or "").upper()]))
    if count <= 0:
        raise ValueError(f"{size!r} is no size: it must be more than nothing")
    return count


def _rootfs(rootfs: StrPath | None, problems: list[Problem]) -> str | None:
    if rootfs is None:
        return None
    path = os.path.realpath(_text(rootfs))
    if not os.path.isdir(path):
        problems.append(Problem("rootfs", f"{path} is not a directory", rootfs))
    return path if path != "/" else None


def _binds(binds: Binds | None, problems: list[Problem]) -> Iterator[Bind]:
    given: Sequence[object] = ()
    if isinstance(binds, abc.Mapping):
        given = [Bind(source, destination) for source, destination in binds.items()]
    elif binds is not None:
        given = binds
    for index, bind in enumerate(given):
        if not isinstance(bind, Bind):  # pyright: ignore[reportUnnecessaryIsInstance] # a caller without types
            problems.append(Problem(f"binds[{index}]", "must be a Bind, or binds a mapping {host: inside}", bind))
            continue
        source, destination = os.path.abspath(bind.source), os.path.normpath(bind.destination)
        if not os.path.exists(source):
            problems.append(Problem(f"binds[{index}].source", f"{source} does not exist", bind.source))
        if not destination.startswith("/"):
            problems.append(Problem(f"binds[{index}].destination", "must be absolute", bind.destination))
        elif destination == "/" or _is_within(destination, "/proc"):
            hint = "rootfs= gives another root" if destination == "/" else ""
            problems.append(Problem(f"binds[{index}].destination", "cannot be covered", bind.destination, hint))
        yield Bind(source, "/" + destination.lstrip("/"), bind.writable)


def user_of(user: Who | None, root: str, problems: list[Problem]) -> tuple[int, int]:
    """Of a number or a name without a group: that of the root's /etc/passwd, else the group of the same number."""
    if user is None:
        return 0, 0
    name, _, group = str(user).partition(":")
    uid, gid = _in_passwd(name, root)
    if name.isdecimal():
        uid = int(name)
        gid = uid if gid is None else gid
    if group:
        gid = int(group) if group.isdecimal() else None
    if uid is None or gid is None:
        reason = f"neither a number nor a name in {os.path.join(root, 'etc/passwd')}"
        problems.append(Problem("user", reason, user, "1000, '1000:1000' or 'nobody'"))
        return 0, 0
    if max(uid, gid) > _LARGEST_ID:
        problems.append(Problem("user", "is too large for an id", user))
    if uid != 0 and is_ordinary():
        hint = "leave it out: the command has your own id on the host, and looks like root inside"
        problems.append(Problem("user", "an ordinary user has one id to give, his own", user, hint))
    return uid, gid


def _in_passwd(name: str, root: str) -> tuple[int | None, int | None]:
    """Ids of a user, given by name or number. Source: passwd(5)."""
    try:
        with open(os.path.join(root, "etc/passwd"), errors="replace") as file:
            lines = file.read(_LARGEST_PASSWD).splitlines()
    except OSError:
        return None, None
    for line in lines:
        fields = line.split(":")
        if len(fields) >= 4 and name in (fields[0], fields[2]) and fields[2].isdecimal() and fields[3].isdecimal():
            return int(fields[2]), int(fields[3])
    return None, None


def _limits(memory: Size | None, cpus: float | None, pids: int | None, problems: list[Problem]) -> Resources | None:
    if memory is None and cpus is None and pids is None:
        return None
    limit = quota = None
    if memory is not None:
        try:
            limit = bytes_of(memory)
        except ValueError as error:
            problems.append(Problem("memory", str(error), memory))
    if cpus is not None:
        quota = round(cpus * _PERIOD)
        if quota < _SHORTEST_QUOTA:
            problems.append(Problem("cpus", "must be 0.01 or more", cpus))
    if pids is not None and pids < 1:
        problems.append(Problem("pids", "must be 1 or more", pids))
    return Resources(
        memory=None if limit is None else Memory(limit=limit),
        cpu=None if quota is None else CPU(quota=quota, period=_PERIOD),
        pids=None if pids is None else Pids(limit=pids),
    )


def _is_within(path: str, other: str) -> bool:
    return path == other or path.startswith(other + "/")
