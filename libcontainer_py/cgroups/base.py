"""What every cgroup can do, and how its directories are made and removed.

A `Cgroup` is a set of directories, one in each hierarchy, that one container's processes are in. It keeps no descriptor
and remembers no state: each question is put to the kernel, whose errors become CgroupError in one place, `failure`.
"""

from __future__ import annotations

import errno
import os
import time
from abc import ABC, abstractmethod

from libcontainer_py.cgroups.hierarchies import ANY, UNKNOWN, read_hierarchies
from libcontainer_py.cgroups.tree import has_children, read, remove_tree, walk, write
from libcontainer_py.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Iterable, Mapping
    from typing import NamedTuple

    from libcontainer_py.cgroups.control import Change
    from libcontainer_py.cgroups.devices import DeviceRule
    from libcontainer_py.cgroups.notices import Notices
    from libcontainer_py.kernel import inotify
    from libcontainer_py.spec import Resources
    from libcontainer_py.stats import Stats
else:
    from libcontainer_py.plain import NamedTuple

__all__ = ["ANY", "DEFAULT_PARENT", "FREEZE_TIMEOUT", "KILL_TIMEOUT", "UNKNOWN", "Cgroup", "OomCounts", "failure"]

DEFAULT_PARENT = "libcontainer_py"
"""The cgroup above those of containers whose configuration names none. It is shared: nobody removes it."""

FREEZE_TIMEOUT = 10.0
"""Seconds that freeze() waits for all processes to stand still."""
KILL_TIMEOUT = 10.0
"""Seconds that kill() waits for all processes to be gone."""
REMOVE_TIMEOUT = 5.0
"""Seconds that remove() waits for a directory in use: the kernel lets go of a dead process' cgroup a little later."""

_HINTS = {
    errno.EACCES: "it takes root, or a cgroup that was delegated to this user",
    errno.EPERM: "it takes root, or a cgroup that was delegated to this user",
    errno.EROFS: "cgroups are mounted read-only here: remount them, or ask for nothing that needs them",
    errno.ENAMETOOLONG: "linux.cgroupsPath is too long",
    errno.ENOTDIR: "linux.cgroupsPath names a control file",
}


def _remove_made(made: Mapping[str, int]) -> None:
    for path in reversed(list(made)):
        remove_tree(path)


def failure(path: str, what: str, error: OSError, *, hint: str = "") -> CgroupError:
    """The CgroupError for an OSError: which file or directory, what was tried, why not."""
    reason = f"{what}: {os.strerror(error.errno)}" if error.errno else f"{what}: {error}"
    return CgroupError(path, reason, errno=error.errno or 0, hint=hint or _HINTS.get(error.errno or 0, ""))


class OomCounts(NamedTuple):
    """What a cgroup has counted since it was made."""

    ooms: int = 0
    """How often its memory ran out; 0 on v1, which does not count this."""
    kills: int = 0
    """How many were killed because memory was short."""


class Cgroup(ABC):
    """The cgroup of one container."""

    __slots__ = ("_paths",)

    optional: frozenset[str] = frozenset()
    """Hierarchies that may be missing or refuse us: create() goes on without them."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = dict(paths)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {' '.join(self.directories) or 'without paths'}>"

    @property
    def paths(self) -> Mapping[str, str]:
        """Controller to absolute directory; "" is cgroup v2, `name=systemd` the named v1 hierarchy."""
        return self._paths

    @property
    def directories(self) -> tuple[str, ...]:
        """The distinct directories: controllers that are mounted together share one."""
        return tuple(dict.fromkeys(self._paths.values()))

    # -- make -----------------------------------------------------------------------------------------------------

    def permitted(self) -> bool:
        """Whether create() may make its directories, as far as permissions and read-only mounts tell.

        False also where there are no hierarchies at all. It is for callers that can go without a cgroup.
        """
        needed = [path for controller, path in self._paths.items() if controller not in self.optional]
        return bool(needed) and all(map(_may_be_made, needed))

    def missing(self) -> tuple[str, ...]:
        """The directories that create() would make now, parents first; the shared default parent is not among them."""
        lacking: dict[str, None] = {}
        for path in self.directories:
            above: list[str] = []
            current = path
            while not os.path.isdir(current):
                if os.path.basename(current) != DEFAULT_PARENT:
                    above.append(current)
                current = os.path.dirname(current)
            lacking.update(dict.fromkeys(reversed(above)))
        return tuple(lacking)

    def create(self) -> dict[str, int]:
        """Make the directories. Returns path to st_ino of each one that *we* made, parents too, but the default parent.

        A directory that is there already is used, unless it is frozen or has processes in it. On an error all that was
        made is removed again. Raises CgroupError.
        """
        made = self.create_birthplace()
        try:
            return made | self.create_others()
        except BaseException:
            _remove_made(made)
            raise

    def create_birthplace(self) -> dict[str, int]:
        """As create(), but only the directory that a process can be born into; `create_others` makes the others."""
        return self._create([self._paths[""]] if "" in self._paths else [])

    def create_others(self) -> dict[str, int]:
        """Make what `create_birthplace` did not. As create()."""
        return self._create([path for path in self.directories if path != self._paths.get("")])

    def _create(self, directories: Iterable[str]) -> dict[str, int]:
        made: dict[str, int] = {}
        try:
            for path in directories:
                controllers = [controller for controller, other in self._paths.items() if other == path]
                try:
                    existed = not self._make(path, made)
                except OSError as error:
                    if not self.optional.issuperset(controllers):
                        raise failure(error.filename or path, "cannot be made", error) from error
                    for controller in controllers:
                        del self._paths[controller]
                    continue
                if existed:
                    self._refuse_used(path, controllers)
        except BaseException:
            _remove_made(made)
            raise
        return made

    def _make(self, path: str, made: dict[str, int]) -> bool:
        """Make `path` and what is missing above it. Returns whether `path` itself was made by us."""
        # a parent may be removed by its own maker between our mkdir of it and that of its child
        for _ in range(10):
            try:
                os.mkdir(path, 0o755)
            except FileNotFoundError:
                parent = os.path.dirname(path)
                if parent == path:
                    raise
                self._make(parent, made)
                continue
            except FileExistsError:
                if not os.path.isdir(path):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
                self._prepare(path)
                return False
            if os.path.basename(path) != DEFAULT_PARENT:
                made[path] = os.stat(path).st_ino
            self._prepare(path)
            return True
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def _prepare(self, path: str) -> None:  # noqa: B027  (v2 has nothing to prepare)
        """Make a directory fit to hold processes; called for each made or found one, parents first."""

    def _refuse_used(self, path: str, controllers: Iterable[str]) -> None:
        if self._frozen_in(controllers):
            raise CgroupError(
                path, "it is frozen", errno=errno.EBUSY, hint="thaw it, or name another linux.cgroupsPath"
            )
        processes = processes_in(path)
        if processes:
            shown = ", ".join(map(str, processes[:5])) + (" ..." if len(processes) > 5 else "")
            raise CgroupError(
                path, f"it is not empty: process {shown}", errno=errno.EBUSY, hint="name another linux.cgroupsPath"
            )

    @abstractmethod
    def _frozen_in(self, controllers: Iterable[str]) -> bool:
        """Whether it is frozen, where one of `controllers` is the one that freezes."""

    @abstractmethod
    def set_devices(self, rules: Iterable[DeviceRule]) -> None:
        """Allow and deny devices; of the rules that match an access the last one counts. Raises CgroupError."""

    @abstractmethod
    def set(self, resources: Resources) -> Change:
        """Set what `linux.resources` says, but for its devices: of limits what is given, the others stay.

        What it returns can undo it. Raises CgroupError where something of it cannot be had here, and nothing has
        changed then.
        """

    def oom_kills(self) -> int:
        """How many of its processes were killed because memory was short, in cgroups below too. As `oom_counts`."""
        return self.oom_counts().kills

    @abstractmethod
    def oom_counts(self) -> OomCounts:
        """What it counted of memory that ran out, and of who was killed for it, in cgroups below too.

        On v1 those of a cgroup below count as long as it is there. 0 without the memory controller, and where the
        cgroup is gone. Raises CgroupError.
        """

    @abstractmethod
    def notices(self, poll: select.epoll, queue: inotify.Queue) -> Notices:
        """What the kernel tells of it by itself, registered in `poll` and `queue`. The caller closes it.

        Raises OSError where there are too few descriptors, and CgroupError.
        """

    @abstractmethod
    def stats(self) -> Stats:
        """What was used, and how it was held back. Raises CgroupError, also where the cgroup is gone."""

    @abstractmethod
    def peak_memory(self) -> int:
        """The most memory, bytes, that it had at one time.

        0 without the memory controller, before Linux 5.19 on v2, and where the cgroup is gone. Raises CgroupError.
        """

    # -- put processes into it ------------------------------------------------------------------------------------

    @abstractmethod
    def attach_descriptors(self) -> dict[str, int]:
        """Files, with a descriptor of each, into which a single-threaded process writes b"0" to move itself here.

        The caller closes them.
        """

    def enter(self, pid: int) -> None:
        """Move a process into the directory on v2, where there is one, from outside. Raises CgroupError.

        For cgroups that were there before: somebody may have written to cgroup.kill there, and then the kernel kills
        whoever is born into it by CLONE_INTO_CGROUP, for ever (tried: 6.1.176, 6.18; cgroup_post_fork compares its
        count of kills with that of the parent's cgroup).
        """
        path = self._paths.get("")
        if path is None:
            return
        try:
            write(path + "/cgroup.procs", str(pid))
        except OSError as error:
            if error.errno == errno.ENOENT and "" in self.optional:
                return
            hint = ""
            if error.errno == errno.EBUSY:
                hint = "it passes controllers down, so no process can be in it: name a cgroup below it, or elsewhere"
            raise failure(path, f"process {pid} cannot enter", error, hint=hint) from error

    @abstractmethod
    def clone_descriptor(self) -> int | None:
        """The v2 directory, for CLONE_INTO_CGROUP; None without v2. The caller closes it."""

    # -- act on all of its processes ------------------------------------------------------------------------------

    @abstractmethod
    def freeze(self, *, timeout: float = FREEZE_TIMEOUT) -> None:
        """Stop all processes and wait until they stand still. Raises CgroupError; it is thawed again then."""

    @abstractmethod
    def thaw(self) -> None:
        """Let all processes go on; silent where it is not frozen. Raises CgroupError."""

    @abstractmethod
    def frozen(self) -> bool:
        """Whether it was frozen by its own setting (not by that of a cgroup above)."""

    @abstractmethod
    def kill(self, deadline: float | None = None) -> None:
        """SIGKILL every process, in cgroups below too, and wait until none is left; thaws.

        `deadline` on time.monotonic(), by default in KILL_TIMEOUT seconds. Raises CgroupError.
        """

    def signal(self, signal: int) -> None:
        """Send a signal to every process, in cgroups below too: to those that there are at one moment.

        Stopped meanwhile, where it can be; who was frozen before stays so, and acts on it when thawed. Raises
        CgroupError.
        """
        from libcontainer_py.cgroups import killing  # noqa: PLC0415  (loads signal, which status does not need)

        frozen = self.frozen()
        if not frozen:
            try:
                self.freeze()
            except CgroupError:
                pass  # it has no freezer, or does not stand still: then who is forked just now may be missed
        try:
            for path in self._main_directories():
                return killing.signal_each(path, signal)
        finally:
            if not frozen:
                self.thaw()

    def processes(self) -> list[int]:
        """The ids of all processes, in cgroups below too, sorted, as our pid namespace knows them.

        Empty where the cgroup is gone. Raises CgroupError.
        """
        for path in self._main_directories():
            return [pid for pid in processes_in(path) if pid > 0]
        return []

    def _main_directories(self) -> Iterable[str]:
        """Directories to ask for the processes: the best one first."""
        return self.directories

    # -- remove ---------------------------------------------------------------------------------------------------

    def remove(self, inodes: Mapping[str, int] | None = None) -> None:
        """Remove the directories with all cgroups below them; silent where they are gone.

        With `inodes` (what create() returned) only those: one whose st_ino is another by now is left alone, `UNKNOWN`
        and parents of others go only where empty, `ANY` is whichever it is. Never a hierarchy's root, nor anything
        outside of a cgroup mount. Raises CgroupError where one is still in use after REMOVE_TIMEOUT seconds.
        """
        wanted = dict.fromkeys(self.directories, ANY) if inodes is None else inodes
        if not wanted:
            return
        try:
            hierarchies = read_hierarchies()
            pending = hierarchies.owned(wanted)
            _remove_all(pending)
            parents = hierarchies.parents(wanted)
            unknown = [path for path, inode in wanted.items() if inode == UNKNOWN and path not in parents]
            for path in [*unknown, *parents]:
                if hierarchies.holds(path, wanted[path]):
                    _remove_empty(path)
        except OSError as error:
            raise failure(error.filename or next(iter(wanted)), "cannot be removed", error) from error


def _may_be_made(path: str) -> bool:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return os.access(path, os.W_OK | os.X_OK, effective_ids=True)


def _remove_all(pending: list[str]) -> None:
    deadline = time.monotonic() + REMOVE_TIMEOUT
    pause = 0.0005
    while True:
        pending = [path for path in pending if not remove_tree(path)]
        if not pending:
            return
        if time.monotonic() > deadline:
            processes = processes_in(pending[0])
            raise CgroupError(
                pending[0],
                f"still in use after {REMOVE_TIMEOUT:g} s" + (f": process {processes[0]}" if processes else ""),
                errno=errno.EBUSY,
            )
        # the kernel tells nobody when a cgroup of v1 may be removed
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def _remove_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.ENOENT):
            raise


def processes_in(path: str) -> list[int]:
    """The processes of a directory and all below it, sorted; 0 stands for those of other pid namespaces.

    Empty where it is gone. Raises CgroupError.
    """
    found: set[int] = set()
    try:
        if has_children(path):
            for directory in walk(path):
                found.update(_processes_of("cgroup.procs", directory))
        else:
            found.update(_processes_of(path + "/cgroup.procs", None))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR):
            raise failure(path, "its processes cannot be listed", error) from error
    return sorted(found)


def _processes_of(path: str, directory: int | None) -> Iterable[int]:
    try:
        return map(int, read(path, directory=directory).split())
    except OSError as error:
        # EOPNOTSUPP: a threaded cgroup of v2, whose processes the domain above it lists; ENOENT, ENODEV: it is gone
        if error.errno in (errno.EOPNOTSUPP, errno.ENOENT, errno.ENODEV):
            return ()
        raise


def oom_counts_in(text: str) -> OomCounts:
    """The counters of memory.events. They are shown one after the other: the second may be newer than the first."""
    found = dict.fromkeys(("oom", "oom_kill"), 0)
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key in found:
            found[key] = int(value)
    return OomCounts(found["oom"], found["oom_kill"])


def oom_kills_in(text: str) -> int:
    """The counter `oom_kill` of memory.oom_control or memory.events; `oom` counts what did not come to a kill too."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "oom_kill":
            return int(value)
    return 0  # before Linux 4.13


def number_in(path: str) -> int:
    """The one number in a control file; 0 where there is no such file. Raises CgroupError."""
    try:
        return int(read(path))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return 0
        raise failure(path, "cannot be read", error) from error
