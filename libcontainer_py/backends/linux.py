"""Linux: the procedures over files and the kernel."""

from __future__ import annotations

import os
import sys
import time
import warnings
from contextlib import nullcontext

from libcontainer_py import cgroups
from libcontainer_py.backends import children, forkservers
from libcontainer_py.backends.base import Exit, Measured
from libcontainer_py.backends.procedures import Procedures
from libcontainer_py.cgroups import resctrl
from libcontainer_py.errors import CgroupError, ConfigError, ConfigWarning, StateError, UnsupportedPlatform
from libcontainer_py.init.messages import WAITING_NAME
from libcontainer_py.kernel import process
from libcontainer_py.record import Init, Intent
from libcontainer_py.state import runc_cgroups
from libcontainer_py.state.directory import Directory
from libcontainer_py.state.root import default_root
from libcontainer_py.state.runc import OURS
from libcontainer_py.state.sections import section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from typing import Any, Literal, NamedTuple

    from libcontainer_py.backends.base import Birth, CreateRequest, Preparation, Spawned, SpawnRequest, Watch
    from libcontainer_py.backends.preparation import LinuxPreparation
    from libcontainer_py.cgroups.control import Change
    from libcontainer_py.lifecycle import Facts
    from libcontainer_py.record import Record
    from libcontainer_py.spec import Resources
    from libcontainer_py.stats import Stats
    from libcontainer_py.waiting import Steps
else:
    from libcontainer_py.plain import NamedTuple

_WAITING = frozenset({WAITING_NAME, "runc:[2:INIT]"})
_SIGKILL = 9
_ENOENT = 2
_LONGEST_WAIT = 1.0


class LinuxBackend(Procedures):
    """Containers of this kernel, in state directories under `root`.

    `python` is the interpreter that the fork server executes; by default sys.executable. `cgroup_driver` says who makes
    the cgroups of new containers: "cgroupfs", we do; "systemd", it does, on cgroup v2, as a transient scope, of this
    user's own systemd where this is not root. A container that exists is loaded with either.

    `launcher` says who makes processes: "server", a fork server that this process keeps; or "once", one that ends with
    the verb, for a process that makes one container and ends. That is forked, so a process of several threads (of
    which Python may not know) keeps to "server".
    """

    def __init__(
        self,
        root: str | None = None,
        *,
        python: str | None = None,
        cgroup_driver: Literal["cgroupfs", "systemd"] = "cgroupfs",
        launcher: Literal["server", "once"] = "server",
    ) -> None:
        if cgroup_driver not in ("cgroupfs", "systemd"):
            raise ValueError(f"a cgroup driver is cgroupfs or systemd, not {cgroup_driver!r}")
        if launcher not in ("server", "once"):
            raise ValueError(f"a launcher is server or once, not {launcher!r}")
        self._given_root = root
        self._once = launcher == "once"
        self._python = python
        self._driver = cgroup_driver
        self._made: tuple[Directory, LinuxHost] | None = None

    def _parts(self) -> tuple[Directory, LinuxHost]:
        # made on first use, so that a Factory can be made anywhere, and reads nothing
        if self._made is None:
            _require_linux()
            host = LinuxHost(self._python, self._driver)
            root = default_root() if self._given_root is None else self._given_root

            def frozen(container_id: str) -> bool:
                return host.frozen(directory.load(container_id))

            directory = Directory(root, frozen=frozen)
            self._made = directory, host
        return self._made

    @property
    def store(self) -> Directory:  # type: ignore[override]  # a property here, made on first use
        """The state directories."""
        return self._parts()[0]

    @property
    def host(self) -> LinuxHost:  # type: ignore[override]  # as store
        """The kernel."""
        return self._parts()[1]

    def create(self, request: CreateRequest) -> Record:
        """Make a container whose init waits at the fifo. After an error nothing of it is left."""
        with self._launching(die_with_parent=request.die_with_parent):
            return super().create(request)

    def creating(self, request: CreateRequest) -> Steps[Record]:
        """The steps of `create`."""
        with self._launching(die_with_parent=request.die_with_parent):
            return (yield from super().creating(request))

    def spawn(self, record: Record, request: SpawnRequest) -> Spawned:
        """Run a further program in it."""
        with self._launching():
            return super().spawn(record, request)

    def _launching(self, *, die_with_parent: bool = False) -> AbstractContextManager[None]:
        """Who makes processes meanwhile."""
        if not self._once:
            return nullcontext()
        if die_with_parent:
            raise ValueError('who is to die with its parent needs the fork server: LinuxBackend(launcher="server")')
        _require_linux()
        return forkservers.once(self._python or forkservers.interpreter())

    def explain(self, record: Record) -> str:
        """The plan that made the container, from its bundle as it is now."""
        from libcontainer_py.backends.base import CreateRequest  # noqa: PLC0415
        from libcontainer_py.backends.preparation import LinuxPreparation, spec_of  # noqa: PLC0415  (attrs)

        config = section(record.document, "config")
        request = CreateRequest(
            record.id,
            record.bundle,
            no_pivot=bool(config.get("no_pivot_root")),
            no_new_keyring=bool(config.get("no_new_keyring")),
        )
        under_systemd = bool(runc_cgroups.unit_of(_config_cgroups(record)))
        driver = "systemd" if under_systemd else "cgroupfs"
        return LinuxPreparation(request, record.directory, spec_of(request), driver=driver).plan.explain()


class LinuxHost:
    """Processes, cgroups, hooks and the clock of this machine."""

    def __init__(self, python: str | None = None, driver: str = "cgroupfs") -> None:
        self._python = python
        self._driver = driver

    def now(self) -> float:
        """Seconds on CLOCK_MONOTONIC."""
        return time.monotonic()

    # -- who we are -----------------------------------------------------------------------------------------------

    def creator(self) -> Intent:
        """An intent of this process."""
        me = process.stat("self")
        return Intent(Init(me.pid, me.start), process.boot_id(), process.namespace_inode("pid"), {})

    def is_here(self, intent: Intent) -> bool:
        """Whether its pids mean something here."""
        return not self.rebooted(intent) and intent.pid_namespace == process.namespace_inode("pid")

    def rebooted(self, intent: Intent) -> bool:
        """Whether it is from before a reboot."""
        return intent.boot_id != process.boot_id()

    # -- create ---------------------------------------------------------------------------------------------------

    def prepare(self, request: CreateRequest, directory: str) -> Preparation:
        """Read, validate and plan."""
        from libcontainer_py.backends import birth, demands  # noqa: PLC0415  (for create alone)
        from libcontainer_py.backends.preparation import LinuxPreparation, spec_of  # noqa: PLC0415  (attrs)

        spec = spec_of(request)
        birth.announce(spec, self._python)
        preparation = LinuxPreparation(request, directory, spec, driver=self._driver)
        demands.check(preparation.spec, preparation.facts, preparation.resctrl, source=preparation.source)
        for warning in preparation.plan.warnings:
            warnings.warn(warning, ConfigWarning, stacklevel=6)
        return preparation

    def make_birthplace(self, preparation: LinuxPreparation) -> Mapping[str, int]:
        """Make the directory on v2, where there is one: CLONE_INTO_CGROUP takes it."""
        return {} if preparation.cgroup is None else preparation.cgroup.create_birthplace()

    def make_init(self, preparation: LinuxPreparation, directory: str) -> Birth:
        """Ask the fork server for init."""
        from libcontainer_py.backends.birth import LinuxBirth  # noqa: PLC0415

        if preparation.request.spec is None:
            return LinuxBirth(preparation, self._python)
        # without a bundle, the container's directory is one: a root file system with a relative path, and config.json
        if preparation.rootfs.startswith(directory + "/"):
            os.mkdir(preparation.rootfs, 0o755)
        birth = LinuxBirth(preparation, self._python)
        try:
            with open(os.path.join(directory, "config.json"), "x", opener=_private) as file:
                file.write(preparation.config_json())  # which init does not need
        except BaseException:
            birth.abandon()
            raise
        return birth

    # -- processes ------------------------------------------------------------------------------------------------

    def alive(self, init: Init) -> bool:
        """Whether it has not ended."""
        return process.alive(*init)

    def at_fifo(self, init: Init) -> bool | None:
        """Whether its name is that of an init that waits: execve gives it another. None: it has ended."""
        found = process.living(*init)
        return None if found is None else found.comm in _WAITING

    def signal(self, init: Init, signal: int) -> None:
        """Send a signal."""
        process.send_signal(init.pid, init.start, signal)

    def join(self, record: Record, request: SpawnRequest) -> Spawned:
        """Let the fork server make a process that joins."""
        from libcontainer_py.backends.spawning import spawn  # noqa: PLC0415  (attrs, not for hot verbs)

        return spawn(record, request, self._python)

    def wait(self, init: Init, *, timeout: float | None) -> Exit | None:
        """Wait for its end, and learn its exit status where it is our child."""
        pidfd = process.pidfd_open(*init)
        if pidfd is not None:
            try:
                if not _outlive(pidfd, init, timeout):
                    return None
            finally:
                os.close(pidfd)
        child = children.child(*init)
        return Exit(None) if child is None else Exit(child.reap(), 0, child.cpu_seconds, child.peak_memory)

    def pidfd(self, init: Init) -> int | None:
        """Another pidfd of it."""
        return process.pidfd_open(*init)

    def pidfds(self, init: Init) -> list[int]:
        """Others of its pidfd, and of those who joined it."""
        found = [process.pidfd_open(*init), *(one.watch() for one in children.joined(init))]
        return [pidfd for pidfd in found if pidfd is not None]

    def measure(self, record: Record) -> Measured:
        """What the memory controller has counted."""
        there = record.cgroup_paths and _is_still_its(record)
        peak = cgroups.from_paths(record.cgroup_paths).peak_memory() if there else 0
        return Measured(self.oom_kills(record), peak)

    def watch(self, record: Record, observe: Callable[[], Facts]) -> Watch:
        """Watch it by descriptors."""
        from libcontainer_py.backends.watching import LinuxWatch  # noqa: PLC0415  (loads ctypes, not for hot verbs)

        child = children.child(*record.init)  # now: the table forgets it when the container is deleted
        last = (lambda: (0, 0)) if child is None else (lambda: child.oom_counts)
        return LinuxWatch(record, observe, lambda: _has_name_of_waiting(record.init), last)

    def kill(self, record: Record) -> None:
        """SIGKILL to init, or to all of its cgroup; a frozen v1 cgroup must be thawed to die."""
        _note_that_we_kill(record)
        self.signal(record.init, _SIGKILL)
        if not record.cgroup_paths:
            return
        cgroup = cgroups.from_paths(record.cgroup_paths)
        if not record.private_pid_namespace:
            cgroup.kill()
        elif cgroup.frozen():
            cgroup.thaw()

    def pids(self, record: Record) -> list[int]:
        """Those that its cgroup lists."""
        cgroup = self._cgroup(record)
        return cgroup.processes() if _is_still_its(record) else []

    def signal_all(self, record: Record, signal: int) -> None:
        """By its cgroup; SIGKILL goes without one where the end of init is everybody's."""
        if signal == _SIGKILL and record.private_pid_namespace and not record.cgroup_paths:
            self.kill(record)
            return
        cgroup = self._cgroup(record)
        if not _is_still_its(record):
            return
        if signal == _SIGKILL:
            _note_that_we_kill(record)
            self.signal(record.init, _SIGKILL)
            cgroup.kill()
        else:
            cgroup.signal(signal)

    # -- cgroups --------------------------------------------------------------------------------------------------

    def frozen(self, record: Record) -> bool:
        """Whether its cgroup is frozen."""
        return bool(record.cgroup_paths) and cgroups.from_paths(record.cgroup_paths).frozen()

    def freeze(self, record: Record) -> None:
        """Freeze its cgroup."""
        self._cgroup(record).freeze()

    def thaw(self, record: Record) -> None:
        """Thaw its cgroup."""
        self._cgroup(record).thaw()

    def oom_kills(self, record: Record) -> int:
        """What its cgroup counted since it was created; once that is gone, what was seen last, of our children."""
        child = children.child(*record.init)
        found = (0, 0) if child is None else child.oom_counts
        if record.cgroup_paths and _is_still_its(record):
            try:
                ooms, kills = cgroups.from_paths(record.cgroup_paths).oom_counts()
                found = max(found, (ooms, kills))  # less, where it went just now
            except CgroupError:
                pass  # what it ended with is more important
        if child is not None:
            child.oom_counts = found
        before: int = section(record.document, OURS).get("oom_kills", 0)
        return max(0, found[1] - before)

    def stats(self, record: Record) -> Stats:
        """Read the files of its cgroup."""
        cgroup = self._cgroup(record)
        if not _is_still_its(record):
            path = next(iter(record.cgroup_paths.values()))
            raise CgroupError(path, "it is gone", errno=_ENOENT, hint="statistics end with delete()")
        return cgroup.stats()

    def resources(self, record: Record) -> Resources:
        """What `config.cgroups` of state.json says."""
        from libcontainer_py.spec import Resources  # noqa: PLC0415  (attrs, for an update alone)

        known = _config_cgroups(record)
        try:
            return Resources.from_dict(runc_cgroups.resources_of(known))
        except (ConfigError, AttributeError, KeyError, TypeError) as error:
            path = os.path.join(record.directory, "state.json")
            raise StateError(path, f"config.cgroups: {error}", container_id=record.id) from error

    def set_resources(self, record: Record, given: Resources, after: Resources) -> LimitChange:
        """Write the control files, and the record."""
        cgroup, unit = self._cgroup(record), runc_cgroups.unit_of(_config_cgroups(record))
        if unit and "" in record.cgroup_paths:
            from libcontainer_py.cgroups.systemd import Scope  # noqa: PLC0415  (jeepney, for who has systemd)

            cgroup = Scope(record.cgroup_paths[""], unit)
        change = cgroup.set(given)
        config = section(record.document, "config")
        limits = runc_cgroups.with_limits(section(config, "cgroups"), after.to_dict())
        document = {**record.document, "config": {**config, "cgroups": limits}}
        return LimitChange(record._replace(document=document), change)

    def _cgroup(self, record: Record) -> cgroups.Cgroup:
        if not record.cgroup_paths:
            raise CgroupError(
                record.id,
                "this container has no cgroup of its own",
                hint="create it as root, or name a delegated one in linux.cgroupsPath",
            )
        return cgroups.from_paths(record.cgroup_paths)

    def kill_cgroups(self, inodes: Mapping[str, int]) -> None:
        """Kill what is in those that are ours; those that are empty are removed by the way."""
        if inodes and not cgroups.remove_empty(inodes):
            cgroups.from_inodes(inodes).kill()

    def remove_cgroups(self, inodes: Mapping[str, int]) -> None:
        """Remove those that are ours."""
        if any(map(os.path.lexists, inodes)):
            cgroups.from_inodes(inodes).remove(inodes)
            if any(map(os.path.lexists, inodes)):  # not a cgroup
                found = resctrl.mounted()
                if found is not None:
                    found.remove(inodes)
        scopes = [path for path in inodes if path.endswith(".scope")]
        if scopes:
            from libcontainer_py.cgroups import systemd  # noqa: PLC0415  (jeepney, for who has systemd)

            systemd.forget(scopes)

    # -- hooks ----------------------------------------------------------------------------------------------------

    def run_hooks(self, kind: str, hooks: Mapping[str, list[Any]], state: str) -> None:
        """Run the hooks of one kind."""
        wanted = hooks.get(kind)
        if wanted:
            from libcontainer_py.hooks import run  # noqa: PLC0415  (subprocess, only for those who have hooks)

            run(kind, wanted, state)

    def state_of(self, record: Record, status: str) -> str:
        """The OCI state."""
        from libcontainer_py.backends.preparation import state_json  # noqa: PLC0415

        pid = 0 if status == "stopped" else record.init.pid
        return state_json(record.oci_version, record.id, status, pid, record.bundle, record.annotations)

    # -- broken state ---------------------------------------------------------------------------------------------

    def in_use(self, directory: str) -> bool:
        """Whether a process has something of the directory open or mounted, or is the init of its torn state.json."""
        return _torn_init_lives(directory) or any(_uses(pid, directory) for pid in os.listdir("/proc") if pid.isdigit())


class LimitChange(NamedTuple):
    """Limits that were written to a cgroup."""

    record: Record
    written: Change

    def undo(self) -> None:
        """Write back what stood there."""
        self.written.undo()


def _outlive(pidfd: int, init: Init, timeout: float | None) -> bool:
    """Whether an init ended within `timeout` seconds (None: wait for it).

    It ends only when all in its pid namespace were waited for, and those that joined it are our children.
    """
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    while True:
        joined = ((one.pidfd, one) for one in children.joined(init))
        pending = {number: one for number, one in joined if number >= 0}  # -1: another thread reaps it just now
        # in slices, because another thread may let one join meanwhile
        left = min(deadline - time.monotonic(), _LONGEST_WAIT)
        found = process.first_ended((pidfd, *pending), left)
        if pidfd in found:
            return True
        if not found and time.monotonic() >= deadline:
            return False
        for one in map(pending.__getitem__, found):
            one.collect()
            children.drop(one)


def _note_that_we_kill(record: Record) -> None:
    """Of those that joined it and run, so that they have not been killed by just anybody."""
    for one in children.joined(record.init):
        one.killed |= one.pidfd >= 0 and not process.has_ended(one.pidfd)


def _config_cgroups(record: Record) -> Mapping[str, Any]:
    return section(section(record.document, "config"), "cgroups")


def _is_still_its(record: Record) -> bool:
    """Whether the cgroup is there, and the one that was made for it; of others' containers nobody knows."""
    known = section(section(record.document, OURS), "cgroups")
    for path in record.cgroup_paths.values():
        inode = known.get(path)
        if inode:
            try:
                return bool(os.stat(path).st_ino == inode)
            except OSError:
                return False
    return True


def _require_linux() -> None:
    if not sys.platform.startswith("linux"):
        raise UnsupportedPlatform(
            f"containers need Linux, and this is {sys.platform}",
            hint="MemoryBackend runs anywhere: Factory(backend=MemoryBackend())",
        )


def _has_name_of_waiting(init: Init) -> bool:
    """Whether it waits at the fifo, or ended there: who is not reaped yet has its name still."""
    try:
        found = process.stat(init.pid)
    except OSError:
        return False
    return found.start == init.start and found.comm in _WAITING


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _torn_init_lives(directory: str) -> bool:
    try:
        with open(os.path.join(directory, "state.json"), errors="replace") as file:
            text = file.read(1 << 20)
    except OSError:
        return False
    import re  # noqa: PLC0415  (for a torn file alone)

    found = [re.search(rf'"{key}": ?(\d{{1,18}})', text) for key in ("init_process_pid", "init_process_start")]
    pid, start = (int(match[1]) if match is not None else 0 for match in found)
    return pid > 0 and start > 0 and process.alive(pid, start)


def _uses(pid: str, directory: str) -> bool:
    inside = directory + "/"
    try:
        for name in (f"/proc/{pid}/cwd", *(f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd"))):
            target = os.readlink(name)
            if target == directory or target.startswith(inside):
                return True
        with open(f"/proc/{pid}/mountinfo", errors="replace") as file:
            return inside in file.read()
    except OSError:
        return False  # it ended, or is not ours to see
