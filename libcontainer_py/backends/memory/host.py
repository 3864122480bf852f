"""A host in memory: a table of processes, cgroups that are sets with inode numbers, hooks that are recorded."""

from __future__ import annotations

import errno
import json
import time
from typing import Any

from libcontainer_py.backends.base import Exit, Failure, Measured
from libcontainer_py.backends.memory.birth import MemoryBirth
from libcontainer_py.backends.memory.clock import FOREVER, MemoryClock
from libcontainer_py.backends.memory.medium import MemoryMedium
from libcontainer_py.backends.memory.processes import (
    HookRun,
    MemoryCgroup,
    MemoryChange,
    MemoryPreparation,
    MemoryProcess,
    MemoryProgram,
)
from libcontainer_py.backends.memory.scripts import Call, Scripts
from libcontainer_py.backends.memory.spawned import MemorySpawned
from libcontainer_py.backends.memory.watching import MemoryWatch
from libcontainer_py.errors import CgroupError, HookError, ProgramNotFound, StartError
from libcontainer_py.lifecycle import Operation, Status, refusal
from libcontainer_py.record import Init, Intent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libcontainer_py.backends.base import CreateRequest, Preparation, SpawnRequest
    from libcontainer_py.lifecycle import Facts
    from libcontainer_py.record import Record
    from libcontainer_py.spec import Resources
    from libcontainer_py.stats import Stats

EPOCH = 1_700_000_000
"""The wall clock, seconds since 1970, when the virtual clock says 0."""

# Linux numbers: this room also runs where `signal` knows others, or none.
SIGKILL, SIGCONT, SIGSTOP = 9, 18, 19
ENDS_INIT = frozenset({1, 2, 3, 15})
"""HUP, INT, QUIT, TERM: an init ends on these with 128 + n until it has left the fifo, as runc's does."""
IGNORED = frozenset({17, 18, 23, 28})
"""CHLD, CONT, URG, WINCH: ignored by default. Source: signal(7), Standard signals."""


class MemoryHost:
    """A Host that a test can look into and play with.

    `processes` has every process that ever was, by pid and start; `cgroups` every cgroup directory, by path;
    `hooks_run` the hooks in the order in which they ran; `hooks` what a hook does, by its path (it gets the kind and
    the state, and raises HookError to fail). `program` is what the next inits become.
    """

    def __init__(self, *, program: MemoryProgram | None = None) -> None:
        self.clock: MemoryClock = MemoryClock()
        self.medium: MemoryMedium = MemoryMedium(self.clock)
        self.scripts: Scripts = Scripts(self)
        self.choose: Callable[[str, tuple[str, ...]], MemoryProgram] | None = None
        """What the program of these words is, in the container of this id; None: always `program`."""
        self.program: MemoryProgram = program if program is not None else MemoryProgram()
        self.processes: dict[Init, MemoryProcess] = {}
        self.cgroups: dict[str, MemoryCgroup] = {}
        self.hooks: dict[str, Callable[[str, str], None]] = {}
        self.hooks_run: list[HookRun] = []
        self.watches: list[MemoryWatch] = []
        self.boot_id = "00000000-0000-4000-8000-000000000001"
        self._pid = 100
        self._start = 1000
        self._inode = 5000
        self._busy: set[MemoryProcess] = set()
        self._creator = self.spawn().init

    # -- what tests do to it --------------------------------------------------------------------------------------

    def spawn(self, parent: Init | None = None, *, pid: int | None = None) -> MemoryProcess:
        """A new process, with a pid that nobody has unless one is given."""
        with self.clock.changed:
            if pid is None:
                self._pid += 1
                pid = self._pid
            self._start += 7
            process = MemoryProcess(Init(pid, self._start), parent)
            self.processes[process.init] = process
            return process

    def end(self, init: Init, returncode: int) -> None:
        """The process ends: an exit code, or the negative number of a signal. Silent where it has ended."""
        with self.clock.changed:
            process = self.processes[init]
            if process.alive:
                self._account(process)
                process.returncode = returncode
                self.scripts.forget(process)
                process.close_terminal()
                process.tell()
                while process.opened:
                    self.medium.close(process.opened.pop())
                for other in tuple(self.processes.values()):
                    if other.alive and other.leader == init:
                        self.end(other.init, -SIGKILL)
                reaper = self.processes.get(process.reaper) if process.reaper is not None else None
                if reaper is not None:
                    reaper.command = None
                    reaper.children_seconds += process.cpu_seconds + process.children_seconds
                    self.end(reaper.init, returncode)
                self.clock.changed.notify_all()

    def _account(self, process: MemoryProcess) -> None:
        """What it has used is its cgroup's from now on."""
        self.charge(process)
        self._busy.discard(process)
        for path in process.cgroups:
            if path in self.cgroups:
                self.cgroups[path].cpu_seconds += process.cpu_seconds
        process.memory = 0

    def reuse_pid(self, init: Init) -> MemoryProcess:
        """Its pid belongs to another process from now on. Where it lived, it was killed and reaped by a stranger."""
        with self.clock.changed:
            process = self.processes[init]
            if process.alive:
                process.lost = True
                process.close_terminal()
                process.tell()
                self.clock.changed.notify_all()
            return self.spawn(pid=init.pid)

    def make_cgroup(self, path: str) -> MemoryCgroup:
        """Make a cgroup directory, as mkdir does. Raises FileExistsError."""
        with self.clock.changed:
            if path in self.cgroups:
                raise FileExistsError(errno.EEXIST, "File exists", path)
            self._inode += 1
            self.cgroups[path] = MemoryCgroup(self._inode)
            return self.cgroups[path]

    def run_out_of_memory(self, init: Init, *, kill: bool = True) -> None:
        """The memory of its cgroup runs out, and it is killed for it; without `kill` it waits, as others of it do."""
        with self.clock.changed:
            for path in self.processes[init].cgroups:
                self.cgroups[path].ooms += 1
                self.cgroups[path].oom_kills += kill
            if kill:
                self.end(init, -SIGKILL)
            self.clock.changed.notify_all()

    def press_memory(self, path: str, level: str) -> None:
        """Memory is short in a cgroup: low, medium or critical, which only those are told that watch it."""
        with self.clock.changed:
            for watch in self.watches:
                watch.press(path, level)
            self.clock.changed.notify_all()

    def members(self, path: str) -> list[MemoryProcess]:
        """The processes in a cgroup."""
        return [process for process in self.processes.values() if process.alive and path in process.cgroups]

    def crash(self) -> None:
        """Kill -9 of the creator: inits that were not let go end with it; the others go on as orphans."""
        with self.clock.changed:
            self.end(self._creator, -SIGKILL)
            for process in self.processes.values():
                if process.parent == self._creator and process.phase == "born":
                    self.end(process.init, 1)
                elif process.parent == self._creator and process.preparation and process.preparation.die_with_parent:
                    self.end(process.init, -SIGKILL)
            self._creator = self.spawn().init

    # -- Host -----------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The virtual clock, seconds."""
        return self.clock.now()

    def wall_clock(self) -> str:
        """RFC 3339, UTC, nanoseconds."""
        seconds, fraction = divmod(self.now(), 1)
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(EPOCH + seconds)) + f".{int(fraction * 1e9):09d}Z"

    def creator(self) -> Intent:
        """An intent that says who we are."""
        return Intent(creator=self._creator, boot_id=self.boot_id, pid_namespace=1, cgroups={})

    def is_here(self, intent: Intent) -> bool:
        """Whether its pids mean something here."""
        return intent.boot_id == self.boot_id and intent.pid_namespace == 1

    def rebooted(self, intent: Intent) -> bool:
        """Whether it is from before a reboot."""
        return intent.boot_id != self.boot_id

    def prepare(self, request: CreateRequest, directory: str) -> MemoryPreparation:
        """Look the request through; nothing changes."""
        return MemoryPreparation(request, directory)

    def make_birthplace(self, preparation: Preparation) -> Mapping[str, int]:
        """Make each cgroup; one that exists must be empty, and is not ours to remove. Raises CgroupError."""
        paths = preparation.cgroup_paths
        with self.clock.changed:
            for path in paths:
                if self.members(path):
                    raise CgroupError(path, "container's cgroup is not empty", errno=errno.EBUSY)
                if path in self.cgroups and self.cgroups[path].frozen:
                    raise CgroupError(path, "container's cgroup unexpectedly frozen")
            return {path: self.make_cgroup(path).inode for path in paths if path not in self.cgroups}

    def make_init(self, preparation: Preparation, directory: str) -> MemoryBirth:
        """A child of the creator, in its cgroup; `directory` is the one that the request was prepared for."""
        assert isinstance(preparation, MemoryPreparation)
        assert preparation.directory == directory
        with self.clock.changed:
            process = self.spawn(self._creator)
            process.phase = "born"
            if not preparation.idle:
                process.program = self._program(preparation.container_id, preparation.args)
            process.private = preparation.private_pid_namespace
            process.cgroups = preparation.cgroup_paths
            process.preparation = preparation
            self._open_streams(process, preparation.streams)
            return MemoryBirth(self, preparation, process)

    def alive(self, init: Init) -> bool:
        """Whether the process of this pid and this start has not ended."""
        with self.clock.changed:
            return init in self.processes and self.processes[init].alive

    def at_fifo(self, init: Init) -> bool | None:
        """Whether it has not left the fifo; None: it has ended."""
        with self.clock.changed:
            return self.processes[init].phase != "program" if self.alive(init) else None

    def frozen(self, record: Record) -> bool:
        """Whether its cgroup is frozen."""
        with self.clock.changed:
            return any(self.cgroups[path].frozen for path in self._paths(record))

    def freeze(self, record: Record) -> None:
        """Its processes act on nothing from now on. Raises CgroupError."""
        self._set_frozen(record, frozen=True)

    def thaw(self, record: Record) -> None:
        """They go on, first of all with the signals that came meanwhile. Raises CgroupError."""
        self._set_frozen(record, frozen=False)

    def signal(self, init: Init, signal: int) -> None:
        """Send it a signal; silent where it has ended."""
        with self.clock.changed:
            if self.alive(init):
                self._deliver(self.processes[init], signal)

    def join(self, record: Record, request: SpawnRequest) -> MemorySpawned:
        """A further process in the cgroup of init, which becomes what `program` says."""
        with self.clock.changed:
            if not self.alive(record.init):
                raise refusal(record.id, Operation.SPAWN, Status.STOPPED)
            words = request.args or (request.process.args if request.process is not None else ())
            program = self._program(record.id, words)
            if not program.found or not words:
                raise ProgramNotFound(
                    "executable file not found in $PATH", container_id=record.id, step="program", errno=errno.ENOENT
                )
            init = self.processes[record.init]
            # who brings it in is there for a moment too
            self._check_room(record, init, 2 if record.private_pid_namespace else 1)
            if program.failure is not None:
                failure = program.failure
                raise StartError(failure.text, container_id=record.id, step=failure.step, errno=failure.errno)
            process = self.spawn(self._creator)
            process.program = program
            process.cgroups = init.cgroups
            process.leader = record.init if record.private_pid_namespace else None
            self._open_streams(process, {"stdin": request.stdin, "stdout": request.stdout, "stderr": request.stderr})
            if request.terminal is not None:
                request.terminal.take(process.open_terminal())
            env = {**(init.preparation.env if init.preparation is not None else {}), **(request.env or {})}
            self._execute(process, record.id, words, env)
            self.clock.changed.notify_all()
            return MemorySpawned(self, process)

    def _program(self, container_id: str, args: tuple[str, ...]) -> MemoryProgram:
        return self.program if self.choose is None else self.choose(container_id, args)

    def _check_room(self, record: Record, init: MemoryProcess, count: int) -> None:
        for path in init.cgroups:
            if len(self.members(path)) + count > self.cgroups[path].most_tasks:
                self.cgroups[path].refused += 1
                text = "clone (linux.namespaces): clone3: Resource temporarily unavailable"
                raise StartError(text, container_id=record.id, step="clone", errno=errno.EAGAIN)

    def _open_streams(self, process: MemoryProcess, given: Mapping[str, int | None]) -> None:
        """Those of the caller, duplicated. Who inherits writes to this process's own, and reads nothing."""
        for number, (name, descriptor) in enumerate(given.items()):
            if descriptor is None and number > 0:
                process.streams[name] = number
            elif descriptor is not None and descriptor >= 0:
                process.streams[name] = self.medium.duplicate(descriptor)
                process.opened.append(process.streams[name])

    def _execute(
        self, process: MemoryProcess, container_id: str, args: tuple[str, ...], env: Mapping[str, str]
    ) -> None:
        """It becomes its program."""
        process.handlers.update(process.program.ends_on)
        if process.terminal >= 0:
            process.streams = dict.fromkeys(("stdin", "stdout", "stderr"), process.terminal)
        self.scripts.begin(process, Call(container_id, args, env, process.init.pid, self.clock.now))

    def _execute_below(self, reaper: MemoryProcess, preparation: MemoryPreparation) -> None:
        """The program of an init that reaps is its child."""
        command = self.spawn(reaper.init)
        command.program, reaper.program = reaper.program, MemoryProgram()
        command.cgroups = reaper.cgroups
        command.leader = command.reaper = reaper.init
        command.streams, reaper.streams = reaper.streams, {}
        command.opened, reaper.opened = reaper.opened, []
        reaper.command = command
        self._execute(command, preparation.container_id, preparation.args, preparation.env)

    def kill(self, record: Record) -> None:
        """SIGKILL to init, and to all of its cgroup where it is no pid 1; thaws."""
        with self.clock.changed:
            self.signal(record.init, SIGKILL)
            paths = self._paths(record)
            if not record.private_pid_namespace:
                for path in paths:
                    self._kill_all(path)
            if paths:
                self.thaw(record)

    def pids(self, record: Record) -> list[int]:
        """Those in its cgroup."""
        with self.clock.changed:
            return sorted({one.init.pid for one in self._all(record)})

    def signal_all(self, record: Record, signal: int) -> None:
        """Each of them gets it; those who were killed go on to their end."""
        with self.clock.changed:
            paths = self._paths(record)
            for one in self._all(record):
                self._deliver(one, signal)
            if signal == SIGKILL and paths:
                self.thaw(record)

    def _all(self, record: Record) -> list[MemoryProcess]:
        own = [path for path in self._paths(record) if self.cgroups[path].inode == self._inode_of(record, path)]
        return [one for one in self.processes.values() if one.alive and any(path in one.cgroups for path in own)]

    def oom_kills(self, record: Record) -> int:
        """What its cgroup counted since it was created; once that is gone, what was seen last."""
        with self.clock.changed:
            process = self.processes.get(record.init)
            for path in self._paths(record):
                if self.cgroups[path].inode == self._inode_of(record, path):
                    before: int = record.document.get("libcontainer_py", {}).get("oom_kills", 0)
                    if process is not None:
                        process.oom_kills = self.cgroups[path].oom_kills - before
                    return self.cgroups[path].oom_kills - before
            return 0 if process is None else process.oom_kills

    def stats(self, record: Record) -> Stats:
        """What this host has a notion of: tasks, limits and who was killed; all else is 0. Raises CgroupError."""
        from libcontainer_py.backends.memory.statistics import stats  # noqa: PLC0415  (attrs, for this verb alone)

        with self.clock.changed:
            path = next(iter(self._paths(record)), "")
            if not path or self.cgroups[path].inode != self._inode_of(record, path):
                raise self._gone(record)
            members = self.members(path)
            for one in members:
                self.charge(one)
            return stats(self.cgroups[path], members, self.now())

    def resources(self, record: Record) -> Resources:
        """What the record says."""
        from libcontainer_py.spec import Resources  # noqa: PLC0415  (attrs, for an update alone)

        return Resources.from_dict(record.document.get("resources", {}))

    def set_resources(self, record: Record, given: Resources, after: Resources) -> MemoryChange:
        """Its cgroup is limited so from now on. Raises CgroupError where it is gone."""
        del given
        with self.clock.changed:
            cgroups = [self.cgroups[path] for path in self._paths(record)]
            if not cgroups:
                raise self._gone(record)
            change = MemoryChange(
                record._replace(document={**record.document, "resources": after.to_dict()}),
                [(cgroup, cgroup.resources) for cgroup in cgroups],
            )
            self._charge_all()
            for cgroup in cgroups:
                cgroup.resources = after
            self.clock.changed.notify_all()
            return change

    def wait(self, init: Init, *, timeout: float | None) -> Exit | None:
        """Wait until it ended; None: not within `timeout` seconds. Its parent alone learns how."""
        deadline = FOREVER if timeout is None else self.now() + timeout
        if not self.clock.wait(lambda: not self.alive(init), deadline):
            return None
        process = self.processes.get(init)
        if process is None:
            return Exit(None)
        return Exit(
            process.returncode if process.parent == self._creator else None,
            cpu_seconds=process.cpu_seconds + process.children_seconds,
            peak_memory=process.peak_memory,
        )

    def watch(self, record: Record, observe: Callable[[], Facts]) -> MemoryWatch:
        """Watch it, on the virtual clock."""
        return MemoryWatch(self, record, observe)

    def pidfd(self, init: Init) -> int | None:
        """See `descriptor`; None: it has ended."""
        with self.clock.changed:
            return self.descriptor(self.processes[init]) if self.alive(init) else None

    def descriptor(self, process: MemoryProcess) -> int | None:
        """Readable when it has ended: a pipe of this system's where poll can wait for one, else one of `medium`.

        None: it has ended. `medium` closes both.
        """
        import select  # noqa: PLC0415  (on other systems it knows sockets alone)

        with self.clock.changed:
            if not process.alive:
                return None
            return process.watch() if hasattr(select, "poll") else self.medium.end_of(process)

    def kill_children(self, init: Init) -> None:
        """SIGKILL to all that this process has started, and what those have."""
        with self.clock.changed:
            for process in tuple(self.processes.values()):
                if process.parent == init:
                    self.end(process.init, -SIGKILL)
                    self.kill_children(process.init)

    def pidfds(self, init: Init) -> list[int]:
        """Those who joined are waited for by nobody here."""
        found = self.pidfd(init)
        return [] if found is None else [found]

    def measure(self, record: Record) -> Measured:
        """What its cgroup says; 0 where that is gone."""
        with self.clock.changed:
            found = [self.cgroups[path] for path in self._paths(record)]
            return Measured(sum(one.oom_kills for one in found), max((one.peak_memory for one in found), default=0))

    def kill_cgroups(self, cgroups: Mapping[str, int]) -> None:
        """Kill every process in those that are ours."""
        with self.clock.changed:
            for path, inode in cgroups.items():
                if path in self.cgroups and inode in (-1, self.cgroups[path].inode):
                    self._kill_all(path)

    def remove_cgroups(self, cgroups: Mapping[str, int]) -> None:
        """Remove those that are ours. Raises CgroupError where one is not empty."""
        with self.clock.changed:
            for path, inode in cgroups.items():
                if path not in self.cgroups or inode not in (-1, 0, self.cgroups[path].inode):
                    continue
                if not self.members(path):
                    del self.cgroups[path]
                elif inode != 0:
                    raise CgroupError(path, "Device or resource busy", errno=errno.EBUSY)

    def run_hooks(self, kind: str, hooks: Mapping[str, list[Any]], state: str) -> None:
        """Run the hooks of one kind, as `hooks` says; what it does not name succeeds. Raises HookError."""
        for hook in hooks.get(kind) or ():
            path = str(hook["path"])
            self.hooks_run.append(HookRun(kind, path, state))
            if path in self.hooks:
                self.hooks[path](kind, state)

    def state_of(self, record: Record, status: str) -> str:
        """The OCI state, JSON."""
        pid = record.init.pid if self.alive(record.init) else 0
        document = {"ociVersion": record.oci_version, "id": record.id, "status": status, "pid": pid}
        return json.dumps({**document, "bundle": record.bundle, "annotations": dict(record.annotations)})

    def in_use(self, directory: str) -> bool:
        """Whether an init lives that was made for it: its pid and start can be read in a torn state.json too."""
        with self.clock.changed:
            return any(
                process.alive and process.preparation is not None and process.preparation.directory == directory
                for process in self.processes.values()
            )

    # -- processes ------------------------------------------------------------------------------------------------

    def charge(self, process: MemoryProcess) -> None:
        """Count the processor time that it has used since it was charged last."""
        passed = self.now() - process.charged
        process.charged = self.now()
        if process.cpus > 0:
            self._busy.add(process)
            used = self.speed(process) * passed
            process.cpu_seconds += used
            if not self.is_held(process):
                for path in process.cgroups:
                    if path in self.cgroups:
                        self.cgroups[path].throttled += passed - used / process.cpus

    def speed(self, process: MemoryProcess) -> float:
        """How many processors it can use: where its cgroup has a quota, that is shared by those who want some."""
        if self.is_held(process):
            return 0.0
        speed = process.cpus
        for path in process.cgroups:
            if path in self.cgroups:
                wanted = sum(one.cpus for one in self.members(path))
                speed = min(speed, process.cpus * self.cgroups[path].most_cpus / wanted) if wanted else speed
        return speed

    def _charge_all(self) -> None:
        """What is changed next changes speeds."""
        for process in self._busy:
            self.charge(process)

    def take_memory(self, process: MemoryProcess, size: int) -> None:
        """Have so much more of it; over a limit the largest process of the cgroup is killed. Source: cgroup-v2.rst."""
        process.memory += size
        for path in process.cgroups:
            cgroup = self.cgroups.get(path)
            while cgroup is not None and process.alive:
                members = self.members(path)
                used = sum(one.memory for one in members)
                cgroup.peak_memory = max(cgroup.peak_memory, int(min(used, cgroup.most_memory)))
                if used <= cgroup.most_memory:
                    break
                victim = max(members, key=lambda one: one.memory)
                victim.peak_memory = max(victim.peak_memory, victim.memory - int(used - cgroup.most_memory))
                self.run_out_of_memory(victim.init)
        process.peak_memory = max(process.peak_memory, process.memory)

    def start_children(self, process: MemoryProcess, count: int) -> bool:
        """Have it start processes, which do nothing; False where its cgroup takes no more."""
        for _ in range(count):
            for path in process.cgroups:
                if path in self.cgroups and len(self.members(path)) >= self.cgroups[path].most_tasks:
                    self.cgroups[path].refused += 1
                    self.clock.changed.notify_all()
                    return False
            child = self.spawn(process.init)
            child.cgroups = process.cgroups
            child.leader = process.init if process.private else process.leader
        self.clock.changed.notify_all()
        return True

    def is_held(self, process: MemoryProcess) -> bool:
        """Whether it does nothing: frozen, or stopped by SIGSTOP."""
        return process.stopped or any(self.cgroups[path].frozen for path in process.cgroups if path in self.cgroups)

    def init_of(self, directory: str) -> MemoryProcess | None:
        """The living init that has this state directory open: one that has not left its fifo."""
        for process in self.processes.values():
            if process.alive and process.phase != "program":
                assert process.preparation is not None
                if process.preparation.directory == directory:
                    return process
        return None

    def leave_fifo(self, process: MemoryProcess) -> Failure | None:
        """Its `0` is written: it runs the startContainer hooks and executes the program, or ends and says why not."""
        preparation = process.preparation
        assert preparation is not None
        failure = process.program.failure
        process.phase = "program"
        try:
            state = preparation.state("created", process.init.pid)
            self.run_hooks("startContainer", preparation.hooks, state)
        except HookError as error:
            failure = Failure("start_hooks", 0, str(error))
        if failure is not None:
            self.end(process.init, 1)
        elif not preparation.reaper:
            self._execute(process, preparation.container_id, preparation.args, preparation.env)
        elif not preparation.idle:
            self._execute_below(process, preparation)
        self.clock.changed.notify_all()
        return failure

    def _paths(self, record: Record) -> list[str]:
        return [path for path in record.cgroup_paths.values() if path in self.cgroups]

    def _inode_of(self, record: Record, path: str) -> int:
        """Which one it was made with; of a cgroup that was there before, whichever is there."""
        known: Mapping[str, int] = record.document.get("libcontainer_py", {}).get("cgroups", {})
        return known.get(path, self.cgroups[path].inode)

    def _gone(self, record: Record) -> CgroupError:
        where = next(iter(record.cgroup_paths.values()), record.id)
        return CgroupError(where, "No such file or directory", errno=errno.ENOENT)

    def _set_frozen(self, record: Record, *, frozen: bool) -> None:
        with self.clock.changed:
            paths = self._paths(record)
            if not paths:
                raise self._gone(record)
            self._charge_all()
            for path in paths:
                self.cgroups[path].frozen = frozen
                for process in self.members(path):
                    self._act(process)
            self.clock.changed.notify_all()

    def _kill_all(self, path: str) -> None:
        for process in self.members(path):
            self.end(process.init, -SIGKILL)

    def _deliver(self, process: MemoryProcess, signal: int) -> None:
        if signal == SIGKILL:
            self.end(process.init, -SIGKILL)
        elif signal == SIGSTOP:
            self._charge_all()
            process.stopped = True
        elif process.command is not None:
            self._deliver(process.command, signal)
        else:
            if signal == SIGCONT:
                self._charge_all()
                process.stopped = False
            process.pending.append(signal)
            self._act(process)
            self.clock.changed.notify_all()

    def _act(self, process: MemoryProcess) -> None:
        """Act on the signals that came, unless it is held."""
        while process.pending and process.alive and not self.is_held(process):
            signal = min(process.pending)  # as Linux does: signal(7), Queueing and delivery semantics
            process.pending.remove(signal)
            handlers = process.handlers if process.phase == "program" else {}
            if process.phase != "program" and signal in ENDS_INIT:
                self.end(process.init, 128 + signal)
            elif signal in handlers:
                returncode = handlers[signal]
                if returncode is not None:
                    self.end(process.init, returncode)
            elif not process.private and signal not in IGNORED:
                self.end(process.init, -signal)
