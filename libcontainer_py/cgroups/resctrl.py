"""resctrl: parts of caches and of the memory's bandwidth for groups of tasks, and what they use of them.

A control group is a directory of the file system; it has the files `tasks` and `schemata`, and its monitoring groups
below `mon_groups`. Those that the container's id names are the container's, and end with it; one that the configuration
names with closID is somebody's who outlives it, whoever made it.

Source: Documentation/filesystems/resctrl.rst of Linux; config-linux.md, IntelRdt.
"""

from __future__ import annotations

import errno
import os

from libcontainer_py.cgroups.hierarchies import ANY, UNKNOWN
from libcontainer_py.cgroups.tree import read, write
from libcontainer_py.errors import CgroupError, Problem
from libcontainer_py.kernel import mountinfo, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from libcontainer_py.spec.linux import IntelRdt

_USUAL = "/sys/fs/resctrl"
_DECIMAL = ("MB", "SMBA")
"""Resources whose values are numbers; those of caches are bit masks, in hexadecimal."""
_HINTS = {
    errno.ENOSPC: "info/*/num_closids and num_rmids say how many groups there can be",
    errno.EACCES: "it takes root",
    errno.EROFS: "it is mounted read-only here",
}


class Resctrl:
    """A resctrl file system, mounted at `root`. All that changes it goes through three methods."""

    def __init__(self, root: str) -> None:
        self.root: str = root

    def group(self, container_id: str, rdt: IntelRdt) -> Group:
        """The group of a container; nothing is made yet."""
        return Group(self, container_id, rdt)

    def remove(self, inodes: Mapping[str, int]) -> None:
        """Remove those directories that are still the recorded ones: path to st_ino.

        `ANY` is whichever it is, `UNKNOWN` goes only where no task is in it. What lies elsewhere is left alone. The
        kernel moves tasks back to the group above. Raises CgroupError.
        """
        for path in sorted(inodes, key=len, reverse=True):  # monitoring groups before what they are in
            if self._holds(path, inodes[path]) and not (inodes[path] == UNKNOWN and self._is_used(path)):
                try:
                    self.remove_directory(path)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise self.failure(path, "cannot be removed", error) from error

    def _holds(self, path: str, inode: int) -> bool:
        if not path.startswith(f"{self.root}/") or os.path.normpath(path) != path:
            return False
        try:
            return inode in (ANY, UNKNOWN, os.lstat(path).st_ino)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _is_used(self, path: str) -> bool:
        try:
            groups = os.path.join(path, "mon_groups")
            return any(map(_lives, read(f"{path}/tasks").split())) or (
                os.path.isdir(groups) and os.listdir(groups) != []
            )
        except FileNotFoundError:
            return False

    def make_directory(self, path: str) -> int:
        """Make a group: its st_ino. The kernel fills the directory."""
        os.mkdir(path, 0o755)
        return os.stat(path).st_ino

    def remove_directory(self, path: str) -> None:
        """Remove a group, with what the kernel put into its directory."""
        os.rmdir(path)

    def order(self, path: str, text: str) -> None:
        """Write to a file: one order, which the kernel takes or refuses as a whole."""
        write(path, text)

    def failure(self, path: str, what: str, error: OSError) -> CgroupError:
        """The error for what the kernel refused, with its own words for it."""
        number = error.errno or 0
        reason = f"{what}: {os.strerror(number)}"
        try:
            said = read(f"{self.root}/info/last_cmd_status").strip()
        except OSError:
            said = ""  # before Linux 4.18
        if said and said != "ok":
            reason = f"{reason} ({said})"
        return CgroupError(path, reason, errno=number, hint=_HINTS.get(number, ""))


class Group:
    """The control group of a container, and its monitoring group where it has one."""

    def __init__(self, resctrl: Resctrl, container_id: str, rdt: IntelRdt) -> None:
        self._resctrl = resctrl
        self._rdt = rdt
        self.path: str = resctrl.root if rdt.clos_id == "/" else f"{resctrl.root}/{rdt.clos_id or container_id}"
        """Its directory; the root's, for the default group."""
        self.monitoring: str = f"{self.path}/mon_groups/{container_id}" if rdt.enable_monitoring else ""
        """The directory of the monitoring group, or ""."""

    def problems(self) -> Iterator[Problem]:
        """What cannot be done with the groups as they are now. Raises CgroupError."""
        rdt = self._rdt
        asks = bool(rdt.l3_cache_schema or rdt.mem_bw_schema or rdt.schemata)
        exists = os.path.isdir(self.path)
        if rdt.clos_id and not exists and not asks:
            hint = f"mkdir {self.path}, or say in l3CacheSchema, memBwSchema or schemata what it is to be like"
            yield Problem("linux.intelRdt.closID", "there is no such control group", rdt.clos_id, hint)
        if exists and not os.path.isfile(f"{self.path}/tasks"):
            name = "linux.intelRdt.closID" if rdt.clos_id else "linux.intelRdt"
            yield Problem(name, f"{self.path} is no control group", rdt.clos_id)
        elif exists and rdt.clos_id:
            yield from self._differences()
        if self.monitoring and not os.path.isdir(f"{self._resctrl.root}/mon_groups"):
            reason = "this processor or kernel cannot monitor"
            yield Problem("linux.intelRdt.enableMonitoring", reason, value=True)
        elif self.monitoring and os.path.lexists(self.monitoring):
            reason = f"{self.monitoring} is there already"
            hint = f"rmdir {self.monitoring}"
            yield Problem("linux.intelRdt.enableMonitoring", reason, value=True, hint=hint)

    def _differences(self) -> Iterator[Problem]:
        """Where the group is not like l3CacheSchema and memBwSchema say, as the specification demands."""
        wanted = (("l3CacheSchema", self._rdt.l3_cache_schema), ("memBwSchema", self._rdt.mem_bw_schema))
        if not any(text for _, text in wanted):
            return
        try:
            known = _parse(read(f"{self.path}/schemata"))
        except OSError as error:
            raise self._resctrl.failure(f"{self.path}/schemata", "cannot be read", error) from error
        for name, text in wanted:
            for resource, domains in _parse(text or "").items():
                there = known.get(resource, {})
                if any(there.get(at) not in (value, self._rounded(resource, value)) for at, value in domains.items()):
                    shown = ";".join(f"{at}={_shown(resource, value)}" for at, value in there.items()) or "none"
                    reason = f"the control group has {resource}:{shown}"
                    yield Problem(f"linux.intelRdt.{name}", reason, text, "name another closID")
                    break

    def _rounded(self, resource: str, value: int) -> int:
        """What the kernel makes of a value: bandwidth is rounded up to what the processor can do."""
        if resource not in _DECIMAL:
            return value
        try:
            step = int(read(f"{self._resctrl.root}/info/{resource}/bandwidth_gran"))
        except (OSError, ValueError):
            return value
        return -(-value // step) * step if step > 0 else value

    def missing(self) -> tuple[str, ...]:
        """The directories that `make` would make now, those above first."""
        return tuple(path for path in (self.path, self.monitoring) if path and not os.path.lexists(path))

    def make(self) -> dict[str, int]:
        """Make what is missing, and write the schemata.

        Returns path to st_ino of what ends with the container. What `closID` names does not: it is `UNKNOWN`, to be
        undone only where this create fails and nobody else is in it. On an error all is as before. Raises CgroupError.
        """
        made: dict[str, int] = {}
        try:
            self._make(self.path, made, "cannot be made")
            named = {path: UNKNOWN for path in made if self._rdt.clos_id}
            for text in self._orders():
                try:
                    self._resctrl.order(f"{self.path}/schemata", text)
                except OSError as error:
                    raise self._resctrl.failure(f"{self.path}/schemata", f"{text!r} is refused", error) from error
            if self.monitoring:
                self._make(self.monitoring, made, "the monitoring group cannot be made")
        except BaseException:
            self._resctrl.remove(made)
            raise
        return {**made, **named}

    def _make(self, path: str, made: dict[str, int], what: str) -> None:
        try:
            made[path] = self._resctrl.make_directory(path)
        except FileExistsError as error:
            if path == self.monitoring:  # it is to be the container's alone
                raise self._resctrl.failure(path, what, error) from error
        except OSError as error:
            raise self._resctrl.failure(path, what, error) from error

    def _orders(self) -> list[str]:
        """What is written, one write each: `schemata` last, and it may name a resource once more."""
        texts = (self._rdt.l3_cache_schema, self._rdt.mem_bw_schema, "\n".join(self._rdt.schemata))
        return [f"{text}\n" for text in texts if text]

    def assign(self, pid: int) -> None:
        """Put a process into the groups; its children follow. Silent where it is gone. Raises CgroupError."""
        for path in filter(None, (self.path, self.monitoring)):
            try:
                self._resctrl.order(f"{path}/tasks", str(pid))
            except ProcessLookupError:
                return
            except OSError as error:
                raise self._resctrl.failure(f"{path}/tasks", f"process {pid} cannot enter", error) from error


def _lives(pid: str) -> bool:
    """Whether it has not ended; one that nobody has reaped yet is in its group all the same."""
    try:
        return process.stat(pid).state not in ("Z", "X")
    except OSError:
        return False


def attach_descriptors(paths: Iterable[str]) -> dict[str, int]:
    """For each group, above before below, a descriptor into which a process writes b"0" to enter it.

    The caller closes them. Raises CgroupError; then none is left.
    """
    opened: dict[str, int] = {}
    for path in paths:
        try:
            opened[f"{path}/tasks"] = os.open(f"{path}/tasks", os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            for descriptor in opened.values():
                os.close(descriptor)
            reason = f"cannot be entered: {os.strerror(error.errno or 0)}"
            raise CgroupError(path, reason, errno=error.errno or 0, hint="is resctrl mounted still?") from error
    return opened


def mounted() -> Resctrl | None:
    """The resctrl file system of this mount namespace, at its usual place or else where it is found first."""
    points = [mount.point for mount in mountinfo.mounts() if mount.fstype == "resctrl"]
    if not points:
        return None
    return Resctrl(_USUAL if _USUAL in points else points[0])


def is_known() -> bool:
    """Whether this kernel has resctrl, and the processor what it takes."""
    return "\tresctrl\n" in read("/proc/filesystems")


def _parse(text: str) -> dict[str, dict[int, int]]:
    """Schemata by resource: number of the domain to value. What is none is left out: the kernel will say so."""
    found: dict[str, dict[int, int]] = {}
    for line in text.splitlines():
        resource, _, domains = (part.strip() for part in line.partition(":"))
        for domain in domains.split(";"):
            at, _, value = (part.strip() for part in domain.partition("="))
            try:
                number = int(value, 10 if resource in _DECIMAL else 16)
                found.setdefault(resource, {})[int(at)] = number
            except ValueError:
                continue
    return found


def _shown(resource: str, value: int) -> str:
    return str(value) if resource in _DECIMAL else f"{value:x}"
