"""The protocols of the seam: `Backend`, and the two smaller ones that `procedures` is written over.

`Backend` is what `Factory` and `Container` call; it owns its store. `Procedures` implements it once over a `Store` (the
state directory: lock, intent, state file, fifo) and a `Host` (processes, cgroups, hooks, clock). On Linux these are
files and the kernel, in memory they are dictionaries and a virtual clock. A backend that drives a foreign binary
implements `Backend` alone.

Every method of Store, Gate, Host and Birth is one *step*: tests crash before and after each of them.
"""

from __future__ import annotations

from libcontainer_py.record import Failure as Failure  # noqa: PLC0414  (a word of this seam, which backends name here)

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from libcontainer_py.plain import NamedTuple, Protocol
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from typing import Any, NamedTuple, Protocol  # noqa: TC004  (at run time plain has them)

    from libcontainer_py.lifecycle import Facts
    from libcontainer_py.record import Init, Intent, Record, Swept
    from libcontainer_py.spec import Resources, Spec
    from libcontainer_py.spec.config import Capabilities, Process, Rlimit, User
    from libcontainer_py.stats import Stats
    from libcontainer_py.waiting import Steps


class Taker(Protocol):
    """Who takes the host's end of a new terminal, its master."""

    @property
    def demanded(self) -> bool:
        """Whether it is wrong that there is no terminal to take."""
        ...

    def take(self, master: int) -> None:
        """The descriptor belongs to this one from now on. Raises StepError."""
        ...


class Listener(Protocol):
    """Who is told of a new process."""

    def tell(self, pid: int, pidfd: Callable[[], int | None]) -> None:
        """`pidfd` makes a descriptor of it, the caller's to close; None: there is none. Raises StepError."""
        ...


class CreateRequest(NamedTuple):
    """What `Factory.create` was asked for."""

    container_id: str
    bundle: str
    """The bundle's directory, absolute; "" where a Spec was given: the container's directory is the bundle then."""
    spec: Spec | None = None
    stdin: int | None = None
    """A descriptor of the caller, which the backend duplicates and never closes; None inherits, -3 is /dev/null."""
    stdout: int | None = None
    stderr: int | None = None
    reaper: bool = False
    """Run the program as the child of a small init that reaps orphans (for run() and the sandbox)."""
    idle: bool = False
    """Run no program: that small init stays alone until it is killed. With `reaper`."""
    die_with_parent: bool = False
    """When we end, however that comes, it is killed."""
    terminal: Taker | None = None
    """Who takes the terminal, where the configuration asks for one."""
    listener: Listener | None = None
    """Who is told of init when all is made, and before anybody can start it: where that fails, so does create."""
    preserve_fds: int = 0
    """So many of our descriptors, from 3 on, are the program's too, under the same numbers."""
    no_pivot: bool = False
    """Move the root and chroot into it, instead of pivot_root: for a root in the first ramdisk."""
    no_new_keyring: bool = False
    """Leave it our session keyring."""


class SpawnRequest(NamedTuple):
    """A further process of a container: the process of its configuration, but for what is given here."""

    args: tuple[str, ...]
    process: Process | None = None
    """Take all from this instead of the configuration."""
    env: Mapping[str, str] | None = None
    """Added to the environment."""
    cwd: str | None = None
    user: User | None = None
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] | None = None
    no_new_privileges: bool | None = None
    stdin: int | None = None
    """A descriptor, as in CreateRequest."""
    stdout: int | None = None
    stderr: int | None = None
    apart: bool = False
    """Keep it and what it starts apart from the others, so that `Spawned.kill_all` ends these alone."""
    terminal: Taker | None = None
    """It gets a terminal, which this takes."""
    preserve_fds: int = 0
    """As in CreateRequest."""
    cgroup: Mapping[str, str] | None = None
    """Cgroups below the container's that are there already, by controller ("" for all, and on v2): paths in those."""
    ignore_paused: bool = False
    """The container may be paused: wait until it is resumed."""


class Spawned(Protocol):
    """A further process of a container. It runs its program already; nobody else knows of it."""

    @property
    def pid(self) -> int:
        """Its process id, in our pid namespace."""
        ...

    def fileno(self) -> int:
        """A descriptor that is readable when it has ended; -1 once it was waited for."""
        ...

    def wait(self, *, timeout: float | None) -> Exit | None:
        """Wait for its end; None: not within `timeout` seconds. The first answer is kept."""
        ...

    def signal(self, signal: int) -> None:
        """Send it a signal; silent where it has ended."""
        ...

    @property
    def killed(self) -> bool:
        """Whether we sent it SIGKILL while it ran."""
        ...

    def kill_all(self) -> None:
        """SIGKILL to it and to what it started; where they could not be kept apart, to all but the container's init.

        Where the container shares our pid namespace and has no cgroup of its own, to it alone.
        """
        ...


class Exit(NamedTuple):
    """How a process of a container ended. `returncode` as in subprocess; None where it is not our child."""

    returncode: int | None
    oom_kills: int = 0
    """How many of the container's processes were killed because memory was short."""
    cpu_seconds: float = 0.0
    """Of it, and of those of its children that it waited for."""
    peak_memory: int = 0
    """Bytes, of the largest of these processes."""


class Measured(NamedTuple):
    """What a container's cgroup has counted until now; nothing where it has none."""

    oom_kills: int = 0
    """Processes that the kernel killed because memory was short."""
    peak_memory: int = 0
    """Bytes, at one time; 0 where it is not counted."""


class Taken:
    """What came out of reading exec.fifo (see `Gate.take`)."""

    WON = "won"  # we read the `0`: the program starts because of us
    LOST = "lost"  # another reader has it, or had it
    STALE = "stale"  # init left the fifo long ago, and who released it died before unlinking
    STOPPED = "stopped"  # init ended
    PAUSED = "paused"  # init is frozen
    TIMEOUT = "timeout"


class Happening(NamedTuple):
    """Something that a `Watch` saw; `kind` is a word of `Kind`."""

    kind: str
    times: int = 1
    """How often, of OOM and OOM_KILL."""
    level: str = ""
    """Of PRESSURE: low, medium or critical."""


class Kind:
    """What can happen to a container."""

    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    OOM = "oom"  # its memory ran out
    OOM_KILL = "oom_kill"  # one of its processes was killed for it
    PRESSURE = "pressure"
    EXITED = "exited"  # the last one


class Watch(Protocol):
    """What happens to one container, from its making on; for one thread at a time."""

    @property
    def kinds(self) -> frozenset[str]:
        """The words of `Kind` that can come."""
        ...

    def fileno(self) -> int:
        """A descriptor that is readable while there is something to take, and perhaps when there is not."""
        ...

    def take(self, timeout: float | None) -> Happening | None:
        """The next of what happened; None: nothing within `timeout` seconds (None: for ever), or EXITED was taken."""
        ...

    def close(self) -> None:
        """Close all descriptors. Silent when repeated."""
        ...


class Gate(Protocol):
    """exec.fifo, opened for reading."""

    def take(self, init: Init, *, deadline: float) -> str:
        """Wait for init's `0`, until `deadline` (of `Host.now()`). Returns a word of `Taken`."""
        ...

    def taking(self, init: Init, *, deadline: float) -> Steps[str]:
        """The steps of `take`, which say what they wait for."""
        ...

    def unblock(self) -> None:
        """Free other readers that block in opening the (unlinked) fifo."""
        ...

    def outcome(self, init: Init, *, deadline: float) -> Failure | None:
        """Wait until the program runs (None) or init says why it could not. Raises TimeoutError."""
        ...

    def finding_out(self, init: Init, *, deadline: float) -> Steps[Failure | None]:
        """The steps of `outcome`."""
        ...

    def close(self) -> None: ...


class Store(Protocol):
    """The state directories under one root."""

    @property
    def root(self) -> str: ...

    def lock(self, container_id: str, *, timeout: float | None) -> AbstractContextManager[None]:
        """Exclude every other process and thread from this container. Raises ContainerTimeout.

        Its `__exit__` may be called more than once, and where it was not taken.
        """
        ...

    def directory(self, container_id: str) -> str:
        """Where the container's directory is, or would be."""
        ...

    def ids(self) -> list[str]:
        """The ids of all directories, sorted; broken ones too."""
        ...

    def make(self, container_id: str, intent: Intent) -> None:
        """Make the directory; it appears with the intent in it, at once. Raises ContainerExists."""
        ...

    def exists(self, container_id: str) -> bool: ...

    def intent(self, container_id: str) -> Intent | None:
        """The intent of a creation that is not complete; None where there is none that can be read."""
        ...

    def made(self, container_id: str) -> Intent | None:
        """What was the intent of a complete creation; None where there is none that can be read."""
        ...

    def note(self, container_id: str, intent: Intent) -> None:
        """Replace the intent."""
        ...

    def settle(self, container_id: str) -> None:
        """The creation is complete: its intent becomes what `made` gives. Silent where there is none."""
        ...

    def save(self, record: Record) -> None:
        """Write state.json atomically."""
        ...

    def draft(self, record: Record) -> None:
        """Write what state.json is to be; nobody sees it before `publish`."""
        ...

    def publish(self, container_id: str) -> None:
        """Make the draft the state.json, at once."""
        ...

    def load(self, container_id: str) -> Record:
        """Read state.json. Raises InvalidId, ContainerNotFound, StateError."""
        ...

    def make_fifo(self, container_id: str, owner: tuple[int, int]) -> None:
        """Make exec.fifo for the user and group that init has on the host."""
        ...

    def has_fifo(self, container_id: str) -> bool: ...

    def open_fifo(self, container_id: str) -> Gate | None:
        """Open exec.fifo for reading, without blocking; None: it is gone, so somebody else won."""
        ...

    def unlink_fifo(self, container_id: str) -> None:
        """Remove exec.fifo; silent where it is gone."""
        ...

    def unlink_stale_fifo(self, container_id: str) -> None:
        """Remove an exec.fifo that init has left, unless somebody has it open: he removes it himself."""
        ...

    def remove(self, container_id: str) -> None:
        """Remove the directory: it vanishes at once, then what was in it. Silent where there is none.

        Raises StateError where it holds what is not ours (a directory of crun or youki).
        """
        ...

    def age(self, container_id: str) -> float:
        """Seconds since the directory was changed; inf where there is none."""
        ...

    def is_empty(self, container_id: str) -> bool: ...

    def sweep_remains(self) -> list[Swept]:
        """Remove what crashed `make` and `remove` left under names that no id can have."""
        ...


class Birth(Protocol):
    """An init that is being born. Until `let_go` it exits when its creator does; until `born` it does nothing."""

    def make_cgroups(self) -> Mapping[str, int]:
        """Make the others, and fill all: path to st_ino of each directory that we made. Raises CgroupError."""
        ...

    def born(self) -> Init:
        """Wait until it is there, and let it begin. Raises CreateError, LauncherError, UnsupportedPlatform."""
        ...

    def until_mounted(self) -> None:
        """Wait until namespaces and mounts are there and init stands before pivot_root. Raises CreateError."""
        ...

    def go_on(self, state: str) -> None:
        """Let it run its createContainer hooks (with `state` on their standard input) and pivot."""
        ...

    def until_ready(self) -> None:
        """Wait until only the fifo is left. Raises CreateError, ProgramNotFound, HookError."""
        ...

    def terminal(self) -> int:
        """The master of its terminal, once it is ready: the caller's to close."""
        ...

    def record(self, intent: Intent) -> Record:
        """What state.json is to say."""
        ...

    def let_go(self) -> None:
        """state.json is saved: init may go to the fifo."""
        ...

    def abandon(self) -> None:
        """Close what belongs to it, outlive it where it was not born yet, and undo limits; it may have been let go."""
        ...


class Change(Protocol):
    """Limits that were changed, but are not written down yet."""

    @property
    def record(self) -> Record:
        """The record that tells the new ones."""
        ...

    def undo(self) -> None:
        """Have the old ones again."""
        ...


class Preparation(Protocol):
    """A request, decoded, validated and planned; nothing on the host has changed yet."""

    @property
    def fifo_owner(self) -> tuple[int, int]: ...

    @property
    def cgroup_paths(self) -> tuple[str, ...]:
        """The cgroup directories that will be made, where they do not exist yet."""
        ...

    @property
    def terminal(self) -> bool:
        """Whether the program gets a terminal."""
        ...

    @property
    def hooks(self) -> Mapping[str, list[Any]]:
        """The hooks of the configuration, as `Record.hooks` keeps them."""
        ...

    def state(self, status: str, pid: int) -> str:
        """The OCI state, JSON."""
        ...


class Host(Protocol):
    """Processes, cgroups, hooks and the clock."""

    def now(self) -> float:
        """A monotonic clock, seconds."""
        ...

    def creator(self) -> Intent:
        """An intent that says who we are, and nothing more yet."""
        ...

    def is_here(self, intent: Intent) -> bool:
        """Whether the pids of the intent mean something here: same boot, same pid namespace."""
        ...

    def rebooted(self, intent: Intent) -> bool:
        """Whether the intent is from before a reboot: nothing of it can be alive."""
        ...

    def prepare(self, request: CreateRequest, directory: str) -> Preparation:
        """Decode, validate and plan. Raises ConfigError, UnsupportedPlatform, StateError; changes nothing."""
        ...

    def make_birthplace(self, preparation: Preparation) -> Mapping[str, int]:
        """Make the cgroup that init is born into: path to st_ino of each directory that we made. Raises CgroupError.

        Empty where it is born outside and joins later.
        """
        ...

    def make_init(self, preparation: Preparation, directory: str) -> Birth:
        """Ask for an init, which is made while the caller goes on. Raises LauncherError, CgroupError."""
        ...

    def alive(self, init: Init) -> bool: ...

    def at_fifo(self, init: Init) -> bool | None:
        """Whether init has not left the fifo yet, as far as one can tell; None: it has ended."""
        ...

    def frozen(self, record: Record) -> bool: ...

    def freeze(self, record: Record) -> None: ...

    def thaw(self, record: Record) -> None: ...

    def join(self, record: Record, request: SpawnRequest) -> Spawned:
        """Run a further program in a container (see `Backend.spawn`)."""
        ...

    def signal(self, init: Init, signal: int) -> None:
        """Send a signal to that process and no other; silent where it is gone."""
        ...

    def kill(self, record: Record) -> None:
        """SIGKILL to init, and to all of its cgroup where it has no pid namespace of its own; thaws."""
        ...

    def pids(self, record: Record) -> list[int]:
        """The pids of all in its cgroup and in those below, sorted; none where it is gone. Raises CgroupError."""
        ...

    def signal_all(self, record: Record, signal: int) -> None:
        """Send a signal to all of these; SIGKILL thaws. Raises CgroupError."""
        ...

    def stats(self, record: Record) -> Stats:
        """What its cgroup counted. Raises CgroupError."""
        ...

    def oom_kills(self, record: Record) -> int:
        """How many of its processes were killed because memory was short, as last seen once its cgroup is gone."""
        ...

    def resources(self, record: Record) -> Resources:
        """What its cgroup was set to, but for devices, as far as its state tells. Raises StateError."""
        ...

    def set_resources(self, record: Record, given: Resources, after: Resources) -> Change:
        """Set what is `given`; the record says what holds `after`. Raises CgroupError, and nothing has changed then."""
        ...

    def wait(self, init: Init, *, timeout: float | None) -> Exit | None:
        """Wait until it ended, and reap it where it is our child; None: not within `timeout` seconds."""
        ...

    def watch(self, record: Record, observe: Callable[[], Facts]) -> Watch:
        """Watch a container, whose facts `observe` gives. The caller closes it. Raises ContainerError."""
        ...

    def pidfd(self, init: Init) -> int | None:
        """A descriptor that is readable when it has ended; None: it has, or there is no such thing here."""
        ...

    def pidfds(self, init: Init) -> list[int]:
        """What `pidfd` gives, and those of who joined it: it ends only when these were waited for, which `wait` does.

        The caller closes them.
        """
        ...

    def measure(self, record: Record) -> Measured:
        """What its cgroup has counted until now. Raises CgroupError."""
        ...

    def kill_cgroups(self, cgroups: Mapping[str, int]) -> None:
        """Kill and outlive every process in these directories.

        Path to st_ino: 0 was never made by us and is only looked at, -1 is any, another st_ino is left alone.
        """
        ...

    def remove_cgroups(self, cgroups: Mapping[str, int]) -> None:
        """Remove them with what is below them; 0, -1 and others as in `kill_cgroups`, but 0 is removed where empty."""
        ...

    def run_hooks(self, kind: str, hooks: Mapping[str, list[Any]], state: str) -> None:
        """Run the hooks of one kind in the runtime's namespace. Raises HookError at the first failure."""
        ...

    def state_of(self, record: Record, status: str) -> str:
        """The OCI state of a container, JSON, for its hooks."""
        ...

    def in_use(self, directory: str) -> bool:
        """Whether some process has this directory, or a file in it, open (used before removing broken state)."""
        ...


class Backend(Protocol):
    """The verbs of `Factory` and `Container`. An implementation owns its store and is thread-safe."""

    @property
    def root(self) -> str: ...

    def create(self, request: CreateRequest) -> Record: ...

    def ids(self) -> list[str]: ...

    def load(self, container_id: str) -> Record: ...

    def observe(self, record: Record) -> Facts: ...

    def release(self, container_id: str, *, timeout: float | None, init: Init | None = None) -> None:
        """Let the program of a created container run; with `init` only of the container that has this init."""
        ...

    def signal(self, record: Record, signal: int) -> None: ...

    def kill(self, record: Record) -> None: ...

    def processes(self, record: Record) -> list[int]:
        """The pids of all of its processes, sorted, in our pid namespace; none where its cgroup is gone."""
        ...

    def signal_all(self, record: Record, signal: int) -> None:
        """Send a signal to all of its processes, also of one whose init has ended."""
        ...

    def spawn(self, record: Record, request: SpawnRequest) -> Spawned:
        """Run a further program in a container; returns when it runs. The caller asked for the status.

        Raises StartError, ProgramNotFound, ConfigError, IllegalOperation where the container ended meanwhile.
        """
        ...

    def freeze(self, record: Record) -> None: ...

    def thaw(self, record: Record) -> None: ...

    def stats(self, record: Record) -> Stats: ...

    def update(self, container_id: str, resources: Resources, *, init: Init | None = None) -> None:
        """Change what is given of its limits; with `init` only of the container that has this init."""
        ...

    def wait(self, record: Record, *, timeout: float | None) -> Exit | None: ...

    def watch(self, record: Record) -> Watch:
        """What happens to it from now on. The caller closes it."""
        ...

    def pidfd(self, record: Record) -> int | None:
        """A descriptor that is readable when init has ended; None: it has, or there is none. The caller closes it."""
        ...

    def measure(self, record: Record) -> Measured:
        """What was counted of its memory until now. Raises CgroupError."""
        ...

    def destroy(self, container_id: str, *, force: bool, init: Init | None = None) -> None:
        """Remove a container; with `init` only the one that has this init: an id can be given again."""
        ...

    def sweep(self) -> Iterable[Swept]: ...

    def explain(self, record: Record) -> str: ...


class Stepwise(Backend, Protocol):
    """A backend for event loops: the verbs that wait can be had as steps, which wait for nothing by themselves.

    What else of a verb takes time is short, and bounded: see `aio`.
    """

    def creating(self, request: CreateRequest) -> Steps[Record]:
        """The steps of `create`."""
        ...

    def releasing(self, container_id: str, *, timeout: float | None, init: Init | None = None) -> Steps[None]:
        """The steps of `release`."""
        ...

    def updating(self, container_id: str, resources: Resources, *, init: Init | None = None) -> Steps[None]:
        """The steps of `update`."""
        ...

    def destroying(self, container_id: str, *, force: bool, init: Init | None = None) -> Steps[None]:
        """The steps of `destroy`."""
        ...

    def pidfds(self, record: Record) -> list[int]:
        """Descriptors of which one is readable when it is worth asking `wait` again; the caller closes them."""
        ...
