"""What a test may leave behind on the machine, and how it is found.

A `Snapshot` says what is there: processes, mounts, cgroup directories, state directories, descriptors of this process.
Two of them, before and after, tell what leaked. Other programs and other runs of the tests go on beside us, so a
`Ledger` tells what is ours: what descends from this process or carries its mark, and what it or a program that it ran
has named. With `strict` (in CI, where nobody else makes containers) everything new counts.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MARK = "LIBCONTAINER_PY_TESTS"
"""The variable of the environment that marks the processes of one run of the tests."""

SHARED = "libcontainer_py"
"""The cgroup in which the library makes those of containers, and which all its users share: it stays."""

_EVERYWHERE = frozenset(("", "cgroup", "dev", "fs", "home", "proc", "root", "run", "sys", "tmp", "var"))


class Snapshot(NamedTuple):
    """What is there now: each kind maps what identifies a thing to a text that a person understands."""

    processes: Mapping[tuple[int, int], str]  # pid and start time
    mounts: Mapping[str, str]
    cgroups: Mapping[str, str]
    states: Mapping[str, str]
    descriptors: Mapping[tuple[int, str], str]


class Ledger:
    """What on this machine belongs to this run of the tests."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.token = f"{os.getpid()}-{time.time_ns()}"
        self.folder = ""
        """The run's temporary directory; "" before there is one."""
        self.names: set[str] = set()
        self.is_server: Callable[[str], bool] = lambda command: False
        """Whether a command line is that of the fork server, which stays between tests."""

    def watch(self) -> None:
        """Mark our children, and note from now on what we name."""
        os.environ[MARK] = self.token
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.mkdir":
            words: object = [arguments[0]]
        elif event in {"subprocess.Popen", "os.posix_spawn"}:
            words = arguments[1]
        else:
            return
        if isinstance(words, (list, tuple)):
            self.names.update(
                os.path.basename(os.fsdecode(w)) for w in words if isinstance(w, (str, bytes, os.PathLike))
            )

    def owns(self, path: str, under: str) -> bool:
        """Whether something outside of our temporary directory is ours, `under` a directory that others use too.

        Its first part below that must be a name that we gave: below a stranger's directory all is a stranger's.
        """
        if self.strict:
            return True
        try:
            if os.stat(path).st_uid != os.geteuid():
                return False
        except OSError:
            pass  # it went away, or never was: then the name decides
        return path.startswith(f"{under}/") and path[len(under) :].split("/")[1] in self.names - {SHARED}

    def owns_cgroup(self, path: str) -> bool:
        """Whether a cgroup is ours: made at the top of its hierarchy, or in our own, under a name that we gave."""
        return any(self.owns(path, under) for under in cgroup_tops())

    def snapshot(self) -> Snapshot:
        """Look at the machine. Takes a few milliseconds."""
        return Snapshot(
            dict(self._processes()),
            dict(self._mounts()),
            {path: path for path in _cgroups("/sys/fs/cgroup")},
            {path: path for root in state_roots() for path in _entries(root)},
            dict(_descriptors()),
        )

    def _processes(self) -> Iterator[tuple[tuple[int, int], str]]:
        parents: dict[int, int] = {}
        found: dict[int, tuple[int, str]] = {}
        for name in os.listdir("/proc"):
            stat = _read(f"/proc/{name}/stat") if name.isdigit() else ""
            if stat:
                fields = stat.rpartition(")")[2].split()
                parents[int(name)] = int(fields[1])
                found[int(name)] = (int(fields[19]), fields[0])
        us = os.getpid()
        namespace = _link("/proc/self/ns/mnt")
        for pid, (start, state) in found.items():
            if pid != us and (_descends(pid, us, parents) or self._is_marked(pid, namespace)):
                command = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip() or _read(f"/proc/{pid}/comm").strip()
                yield (pid, start), f"pid {pid} ({state}): {command[:200]}"

    def _is_marked(self, pid: int, namespace: str) -> bool:
        if f"{MARK}={self.token}" in _read(f"/proc/{pid}/environ").split("\0"):
            return True
        if not self.folder:
            return False
        if self.folder in _read(f"/proc/{pid}/cmdline"):
            return True
        # a container that runc made: no child of ours, its environment its own, but its root is under our directory,
        # which may lie on a mount; who has just left our mount namespace has copies of our mounts, and another root
        if _link(f"/proc/{pid}/ns/mnt") == namespace:
            return False
        tail = "/".join(self.folder.split("/")[-2:])
        lines = (line.split() for line in _read(f"/proc/{pid}/mountinfo").splitlines())
        return any(fields[4] == "/" and tail in fields[3] for fields in lines)

    def _mounts(self) -> Iterator[tuple[str, str]]:
        for line in _read("/proc/self/mountinfo").splitlines():
            fields = line.split()
            text = f"{fields[4]} ({' '.join(fields[fields.index('-') + 1 :][:2])}, root {fields[3]})"
            yield line, text

    def leaked(self, before: Snapshot, *, grace: float, servers: bool) -> list[str]:
        """What is there now and was not `before`, once `grace` seconds let the kernel finish what is under way.

        With `servers` fork servers, and the descriptors that a new one costs us, do not count.
        """
        deadline = time.monotonic() + grace
        while found := self._difference(before, self.snapshot(), servers=servers):
            gc.collect()  # a handle in the traceback of an expected error is no leak
            if time.monotonic() > deadline:
                return found
            # Nothing reports that another process's child, or the last process of a cgroup, is gone: so look again.
            threading.Event().wait(0.02)
        return []

    def _difference(self, before: Snapshot, after: Snapshot, *, servers: bool) -> list[str]:
        processes = _new(before.processes, after.processes)
        kept = [text for text in processes if servers and self.is_server(text)]
        descriptors = _new(before.descriptors, after.descriptors)
        if kept:
            descriptors = [text for text in descriptors if not ("socket:" in text or "[pidfd]" in text)]
        return [
            *(f"process {text}" for text in processes if text not in kept),
            *(f"mount {text}" for text in _new(before.mounts, after.mounts) if self._owns_mount(text)),
            *(f"cgroup {path}" for path in _new(before.cgroups, after.cgroups) if self.owns_cgroup(path)),
            *(f"state directory {path}" for path in _new(before.states, after.states) if self._owns_state(path)),
            *(f"descriptor {text}" for text in descriptors),
        ]

    def _owns_mount(self, text: str) -> bool:
        return self.strict or bool(self.folder and self.folder in text)

    def _owns_state(self, path: str) -> bool:
        return any(self.owns(path, root) for root in state_roots())


def cgroup_tops() -> list[str]:
    """The directories in which a cgroup of ours can begin: the top of each hierarchy, and where this process is."""
    tops = []
    own = [line.split(":", 2)[2] for line in _read("/proc/self/cgroup").splitlines()]
    for line in _read("/proc/self/mountinfo").splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] in {"cgroup", "cgroup2"}:
            here = [fields[4], *(fields[4] + path for path in own if path != "/")]
            tops += [*here, *(f"{path}/{SHARED}" for path in here)]
    return tops


def state_roots() -> list[str]:
    """Where state directories are when nobody says otherwise: the library's roots, pyrunc's and runc's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [
        "/run/libcontainer_py",
        "/run/pyrunc",
        "/run/runc",
        f"/tmp/libcontainer_py-{os.getuid()}",
        *([f"{runtime}/{name}" for name in ("libcontainer_py", "pyrunc", "runc")] if runtime else []),
    ]


def _entries(root: str) -> Iterable[str]:
    try:
        # ",lock" is the lock of the root, which stays
        return [f"{root}/{name}" for name in os.listdir(root) if name != ",lock"]
    except OSError:
        return []


def _cgroups(directory: str) -> Iterator[str]:
    try:
        entries = [e.path for e in os.scandir(directory) if e.is_dir(follow_symlinks=False)]
    except OSError:  # it went away, or there is none
        return
    for path in entries:
        if os.path.basename(path) != SHARED:
            yield path
        yield from _cgroups(path)


def _descriptors() -> Iterator[tuple[tuple[int, str], str]]:
    if not os.path.isdir("/proc/self/fd"):
        return
    # the listing itself holds a descriptor, which is closed before it is looked up here
    for name in os.listdir("/proc/self/fd"):
        target = _link(f"/proc/self/fd/{name}")
        if target:
            yield (int(name), target), f"{name} -> {target}"


def _new(
    before: Mapping[object, str] | Mapping[str, str], after: Mapping[object, str] | Mapping[str, str]
) -> list[str]:
    return [text for key, text in after.items() if key not in before]


def _descends(pid: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while pid > 1:
        pid = parents.get(pid, 0)
        if pid == ancestor:
            return True
    return False


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:  # the process ended, or is another user's
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
