"""Which of the differences that docs/conformance.md lists a configuration shows."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Path = tuple[str, ...]
    """Of a part of an Outcome, as tests/interop/differential.py tells it."""


class Row(NamedTuple):
    """A row of the table "Differences"."""

    what: str
    """Its first words there, or in the table of what differs in the verbs."""
    shows: Callable[[Path, Any, Any], bool]
    """Whether it is what makes runc's value and ours differ at a path."""
    runc_says: tuple[str, ...] = ()
    """Regular expressions for runc's error, where runc makes no container and we do."""
    we_say: tuple[str, ...] = ()
    """Or of ours, where it is the other way round."""


def _never(path: Path, theirs: Any, ours: Any) -> bool:
    return False


# A mount, as the probe tells it.
_ROOT, _OPTIONS, _PROPAGATION, _TYPE, _SOURCE, _DATA = range(6)


def _are_mounts(path: Path, theirs: Any, ours: Any) -> bool:
    return path[:2] == ("seen", "mounts") and bool(theirs and ours)


def _differ(theirs: Any, ours: Any) -> set[int]:
    """The parts in which two mounts differ, but for that ours is shared since the root is."""
    parts = {at for at, (one, other) in enumerate(zip(theirs, ours, strict=True)) if one != other}
    return parts - {_PROPAGATION} if _shares(theirs, ours) else parts


def _shares(theirs: Any, ours: Any) -> bool:
    return theirs[_PROPAGATION] in ([], ["unbindable"]) and ours[_PROPAGATION] == ["shared"]


def _is_shared(path: Path, theirs: Any, ours: Any) -> bool:
    return _are_mounts(path, theirs, ours) and _shares(theirs, ours)


def _is_masked(path: Path, theirs: Any, ours: Any) -> bool:
    if path[:2] == ("seen", "hidden"):  # the mode of another null device, which is read and written like any
        return bool(theirs[0][1:] == ours[0][1:] == [[1, 3], 0, 0] and theirs[1:] == ours[1:])
    if not _are_mounts(path, theirs, ours) or _PROPAGATION in _differ(theirs, ours) or "ro" not in ours[_OPTIONS]:
        return False
    if ours[_TYPE] == "tmpfs":
        return theirs[_TYPE] == "tmpfs" and {"nr_inodes=1", "size=0k"} <= set(ours[_DATA])
    return bool(theirs[_ROOT].endswith("/null") and ours[_ROOT].endswith("/null"))


_ALSO_RECURSIVE = {"nosuid", "nodev", "noexec", "nodiratime", "nosymfollow"}


def _is_left_out(path: Path, theirs: Any, ours: Any) -> bool:
    if path[:2] == ("seen", "trees"):
        return bool(theirs[0][0] == "d" == ours[0][0] and theirs[1:] == ours[1:])  # the mode of a tmpfs
    if not _are_mounts(path, theirs, ours) or not _differ(theirs, ours) <= {_OPTIONS, _DATA}:
        return False
    options = {*theirs[_OPTIONS]} ^ {*ours[_OPTIONS]}
    data = {*theirs[_DATA]} ^ {*ours[_DATA]}
    if options and ours[_ROOT] == "/" and options <= _ALSO_RECURSIVE and not options & {*theirs[_OPTIONS]}:
        return True
    if (not options and not data) or (options and not (options == {"ro", "rw"} and "ro" in ours[_OPTIONS])):
        return False
    return all(word.startswith("mode=") and word in ours[_DATA] for word in data)


def _is_access_time(path: Path, theirs: Any, ours: Any) -> bool:
    if not _are_mounts(path, theirs, ours) or _differ(theirs, ours) != {_OPTIONS}:
        return False
    return {*theirs[_OPTIONS]} ^ {*ours[_OPTIONS]} <= {"noatime", "relatime", "nodiratime"}


def _is_swap(path: Path, theirs: Any, ours: Any) -> bool:
    return path == ("seen", "cgroup_limits", "memory/memory.memsw.limit_in_bytes") and int(theirs[0]) > int(ours[0])


def _is_version(path: Path, theirs: Any, ours: Any) -> bool:
    return path[0] == "hooks" and path[-1] == "ociVersion"


def _is_poststart(path: Path, theirs: Any, ours: Any) -> bool:
    return path[0] == "hooks" and path[-1] == "status" and (theirs, ours) == ("created", "running")


def _is_directory_of_hooks(path: Path, theirs: Any, ours: Any) -> bool:
    without = [re.sub(r"PWD=\S*", "", str(words)) for words in (theirs, ours)]
    return path[0] == "hooks" and path[-1] == "words" and without[0] == without[1]


ROWS = {
    "of no effect": Row("settings that can have no effect", _never, we_say=("config.json: ",)),
    "propagation": Row("`rootfsPropagation`", _is_shared, runc_says=("rootfs, flags: 0x5000: invalid argument",)),
    "access times": Row(
        "access times of bind mounts", _is_access_time, runc_says=(r'to rootfs at \\"[^"]*\\": invalid argument',)
    ),
    "swap": Row("a `memory.limit` without `memory.swap`", _is_swap),
    "masks": Row("masked paths", _is_masked, runc_says=("error reopening /dev/null", "stat /dev/null: no such file")),
    "1.1.5": Row(
        "settings that runc 1.1.5 refuses or leaves out",
        _is_left_out,
        runc_says=(
            "apply caps: operation not permitted",
            "device access at",
            "must be in range 0-2147483647",
            "architecture to seccomp filter: numerical argument out of domain",
            "open /proc/self/fd: no such file or directory",
            r"open /proc/sys/\S+: no such file or directory",
            r"data: [^:]*\bdefaults\b[^:]*: invalid argument",
            r'mounting \\"(proc|sysfs)\\" to rootfs at .*: device or resource busy',
            "is inside /proc",
            "is not of type proc",
            r'to rootfs at \\"/proc\\": statfs',
        ),
    ),
    "poststart": Row("poststart hooks", _is_poststart),
    "version": Row("the `ociVersion` of the state that hooks get", _is_version),
    "directory of hooks": Row("the working directory of hooks", _is_directory_of_hooks),
}
ALWAYS = {"masks", "1.1.5"}
"""What `runc spec` itself shows."""


def shown_by(found: list[tuple[Path, Any, Any]]) -> tuple[set[str], list[tuple[Path, Any, Any]]]:
    """The keys of ROWS that these differences show, and the differences that none explains."""
    keys: set[str] = set()
    others = []
    for one in found:
        fitting = {key for key, row in ROWS.items() if row.shows(*one)}
        keys |= fitting
        if not fitting:
            others.append(one)
    return keys, others
