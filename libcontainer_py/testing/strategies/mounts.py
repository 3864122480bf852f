"""Mounts: file systems, and bind mounts with every option. Source: config.md, Mounts and Linux mount options."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from libcontainer_py.spec import IDMapping, Mount
from libcontainer_py.testing.strategies.words import paths, relative_paths, same, some, tuples

_OPTIONS = (
    *("ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "atime", "nodiratime", "diratime"),
    *("relatime", "norelatime", "strictatime", "nostrictatime", "nosymfollow", "symfollow", "defaults"),
)
"""Options of one mount, for file systems and bind mounts."""
_OF_FILE_SYSTEMS = ("sync", "async", "dirsync", "lazytime", "nolazytime", "iversion", "noiversion", "silent", "loud")
_RECURSIVE = tuple("r" + name for name in _OPTIONS if name != "defaults")
"""The same with all that is mounted below."""
_PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable")

_DATA = {
    "proc": ("hidepid=2",),
    "sysfs": (),
    "tmpfs": ("size=64k", "mode=755", "tmpcopyup"),
    "devpts": ("newinstance", "ptmxmode=0666", "mode=0620"),
    "mqueue": (),
    "cgroup": (),
}

_destinations = st.sampled_from(["/proc", "/dev", "/sys", "/tmp", "/dev/shm"]) | paths | relative_paths  # noqa: S108  (inside)


def _ranges(host: int, rows: list[tuple[int, int]]) -> tuple[IDMapping, ...]:
    found: list[IDMapping] = []
    inside = 0
    for size, gap in rows:
        found.append(IDMapping(container_id=inside, host_id=host + inside, size=size))
        inside += size + gap
    return tuple(found)


mappings: st.SearchStrategy[tuple[IDMapping, ...]] = st.builds(
    _ranges,
    st.integers(0, 2**20),
    st.lists(st.tuples(st.integers(1, 2**16), st.integers(0, 1000)), min_size=1, max_size=2),
)
"""Ranges that do not overlap, on either side; the first one has id 0 inside."""


def _file_systems(kind: str) -> st.SearchStrategy[Mount]:
    options = st.sampled_from((*_OPTIONS, *_OF_FILE_SYSTEMS, *_RECURSIVE, *_PROPAGATIONS, *_DATA[kind]))
    optional: dict[str, st.SearchStrategy[Any]] = {
        "source": st.just(kind),
        "options": tuples(options, max_size=3, unique_by=same),
    }
    return some(Mount, {"destination": _destinations, "type": st.just(kind)}, optional)


def _chained(*parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(option for part in parts for option in part)


def _binds(*words: str, mapped: bool = False) -> st.SearchStrategy[Mount]:
    """Bind mounts, with one of the `words`, if there are any; `mapped` ones have the two maps."""
    options = st.builds(
        _chained,
        st.tuples(st.sampled_from(["bind", "rbind"])),
        tuples(st.sampled_from([*_OPTIONS, *_RECURSIVE]), max_size=3, unique_by=same),
        tuples(st.sampled_from(_PROPAGATIONS), max_size=1),
        st.tuples(st.sampled_from(words)) if words else st.just(()),
    )
    maps = {"uid_mappings": mappings, "gid_mappings": mappings} if mapped else {}
    required = {"destination": _destinations, "source": paths | relative_paths, "options": options, **maps}
    return some(Mount, required, {"type": st.sampled_from(["none", "bind"])})


def _remounts() -> st.SearchStrategy[Mount]:
    """Changes of a mount, or with its file system."""
    of_mount = tuples(st.sampled_from([*_OPTIONS, *_RECURSIVE, *_PROPAGATIONS]), max_size=3, unique_by=same)
    alone = st.builds(_chained, st.just(("bind", "remount")), of_mount)
    whole = st.builds(_chained, st.just(("remount",)), of_mount, st.sampled_from([(), ("sync",), ("size=1m",)]))
    return some(Mount, {"destination": _destinations, "options": alone | whole}, {})


borrowers: st.SearchStrategy[Mount] = _binds("idmap", "ridmap")
"""Bind mounts that have the mapping of the container's user namespace."""


def mounts() -> st.SearchStrategy[tuple[Mount, ...]]:
    """Up to three mounts."""
    kinds = [_file_systems(kind) for kind in sorted(_DATA)]
    kinds += [_binds(), _binds("copy-symlink"), _remounts()]
    kinds += [_binds(mapped=True), _binds("idmap", "ridmap", mapped=True)]
    return tuples(st.one_of(kinds), max_size=3)
