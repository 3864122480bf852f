"""What the memory backend's host is made of: programs, processes, cgroups, and requests that were looked through."""

from __future__ import annotations

import json
import os
from math import inf
from typing import Any, NamedTuple

from libcontainer_py.backends.memory.medium import FIRST
from libcontainer_py.errors import UnsupportedPlatform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libcontainer_py.backends.base import CreateRequest, Failure
    from libcontainer_py.backends.memory.scripts import Call, Script
    from libcontainer_py.record import Init, Record
    from libcontainer_py.spec import Hook, Resources, Spec

CGROUPS = "/sys/fs/cgroup"
_PERIOD = 100_000
"""Microseconds, where nobody says another. Source: cgroup-v2.rst, cpu.max."""
HOOK_KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


class MemoryProgram(NamedTuple):
    """What an init becomes once it is let go from the fifo. The default runs until it is killed."""

    ends_on: tuple[tuple[int, int], ...] = ()
    """Signals that it has a handler for, each with the returncode that it ends with then."""
    failure: Failure | None = None
    """Why execve fails; None: it does not."""
    found: bool = True
    """Whether there is such a program when the container is created."""
    script: Callable[[Call], Script] | None = None
    """What it does; None: nothing, until it is killed."""


class HookRun(NamedTuple):
    """One hook that ran: its OCI kind, its path, and the state that it read from its standard input."""

    kind: str
    path: str
    state: str


class MemoryProcess:
    """One process: an init, a creator, or whatever a test puts there.

    `phase` of an init: "born" (it ends when its creator does), "fifo", "program".
    """

    __slots__ = (
        "_ends",
        "cgroups",
        "charged",
        "children_seconds",
        "command",
        "cpu_seconds",
        "cpus",
        "handlers",
        "init",
        "leader",
        "lost",
        "memory",
        "oom_kills",
        "opened",
        "parent",
        "peak_memory",
        "pending",
        "phase",
        "preparation",
        "private",
        "program",
        "reaper",
        "returncode",
        "stopped",
        "streams",
        "terminal",
        "written",
    )

    def __init__(self, init: Init, parent: Init | None) -> None:
        self.init: Init = init
        self.parent: Init | None = parent
        self.phase: str = "program"
        self.program: MemoryProgram = MemoryProgram()
        self.private: bool = False
        self.leader: Init | None = None
        """The pid 1 whose end is the end of this process too."""
        self.cgroups: tuple[str, ...] = ()
        self.preparation: MemoryPreparation | None = None
        self.stopped: bool = False
        self.pending: list[int] = []
        self.returncode: int | None = None
        self.oom_kills: int = 0
        """Of an init: how many were killed in its cgroup, as far as was seen before that was gone."""
        self.lost: bool = False
        """Ended, and another than its parent reaped it: nobody can tell how it ended."""
        self.terminal: int = -1
        """A descriptor of its terminal, the program's end, while it lives; a test may read and write there."""
        self.handlers: dict[int, int | None] = {}
        """Signals that it has a handler for, with the returncode that it ends with then; None: it goes on."""
        self.memory: int = 0
        """Bytes that it has."""
        self.peak_memory: int = 0
        """Bytes, the most that it had."""
        self.command: MemoryProcess | None = None
        """The child of an init that reaps, to which signals are passed on."""
        self.reaper: Init | None = None
        """The init that ends as this process does."""
        self.children_seconds: float = 0.0
        """Processor time of children that it waited for."""
        self.cpus: float = 0.0
        """How many processors it would use now."""
        self.cpu_seconds: float = 0.0
        """Processor time that it has used until `charged`, a moment of the clock."""
        self.charged: float = 0.0
        self.streams: dict[str, int] = {}
        """Descriptors of the medium, its own; a stream that is not here leads nowhere."""
        self.opened: list[int] = []
        """Those of `streams` that are closed when it ends."""
        self.written: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        """All that it wrote."""
        self._ends: list[int] = []

    def watch(self) -> int:
        """A pipe that is readable once it has ended, which the caller closes."""
        if not self._ends:
            self._ends = [*os.pipe()]
        return os.dup(self._ends[0])

    def tell(self) -> None:
        """It has ended: who watches is told."""
        while self._ends:
            os.close(self._ends.pop())

    def __del__(self) -> None:
        self.tell()
        for descriptor in self.opened:
            if descriptor < FIRST:
                os.close(descriptor)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.returncode is None and not self.lost

    def open_terminal(self) -> int:
        """Give it a terminal: this system's, so that there is a descriptor. The caller closes the master."""
        if not hasattr(os, "openpty"):
            raise UnsupportedPlatform("terminals need pseudoterminals, which this system does not have")
        master, self.terminal = os.openpty()
        return master

    def close_terminal(self) -> None:
        """As the kernel does when it ends."""
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1


class MemoryCgroup:
    """A cgroup directory; which processes are in it, the processes say."""

    __slots__ = (
        "cpu_seconds",
        "frozen",
        "inode",
        "oom_kills",
        "ooms",
        "peak_memory",
        "refused",
        "resources",
        "throttled",
    )

    def __init__(self, inode: int) -> None:
        self.inode: int = inode
        self.frozen: bool = False
        self.ooms: int = 0
        """How often its memory ran out."""
        self.oom_kills: int = 0
        """How many of its processes were killed for it."""
        self.resources: Resources | None = None
        """What it is limited to. None: nothing was asked for."""
        self.peak_memory: int = 0
        """Bytes, the most at one time; a test may set it."""
        self.cpu_seconds: float = 0.0
        """Of processes that have ended."""
        self.throttled: float = 0.0
        """Seconds that its processes were held back for its quota."""
        self.refused: int = 0
        """How many processes could not be started for its limit."""

    @property
    def most_memory(self) -> float:
        """Bytes that its processes may have together."""
        limit = None if self.resources is None or self.resources.memory is None else self.resources.memory.limit
        return inf if limit is None or limit < 0 else limit

    @property
    def most_tasks(self) -> float:
        """How many processes it takes."""
        limit = None if self.resources is None or self.resources.pids is None else self.resources.pids.limit
        return inf if limit is None or limit < 0 else limit

    @property
    def most_cpus(self) -> float:
        """Processors that its processes may use together."""
        cpu = None if self.resources is None else self.resources.cpu
        if cpu is None or cpu.quota is None or cpu.quota <= 0:
            return inf
        return cpu.quota / (cpu.period or _PERIOD)


class MemoryChange(NamedTuple):
    """Limits of cgroups that were changed."""

    record: Record
    before: list[tuple[MemoryCgroup, Resources | None]]

    def undo(self) -> None:
        """They are as they were."""
        for cgroup, resources in self.before:
            cgroup.resources = resources


class MemoryPreparation:
    """A request that was looked through. The bundle's configuration is used where there is one. Raises ConfigError."""

    def __init__(self, request: CreateRequest, directory: str) -> None:
        self.container_id: str = request.container_id
        self.directory = directory
        self.bundle: str = request.bundle or directory
        self.oci_version: str = "1.0.2"
        self.rootfs: str = f"{self.bundle}/rootfs"
        self.annotations: Mapping[str, str] = {}
        self.die_with_parent: bool = request.die_with_parent
        self.reaper: bool = request.reaper
        """Whether init is the small one that reaps, and the program its child."""
        self.idle: bool = request.idle
        self.streams: Mapping[str, int | None] = {
            "stdin": request.stdin,
            "stdout": request.stdout,
            "stderr": request.stderr,
        }
        self.args: tuple[str, ...] = ()
        self.env: Mapping[str, str] = {}
        self.private_pid_namespace: bool = True
        self.hooks: Mapping[str, list[Any]] = {}
        self.fifo_owner: tuple[int, int] = (0, 0)
        self.cgroup_paths: tuple[str, ...] = (f"{CGROUPS}/{request.container_id}",)
        self.resources: Resources | None = None
        self.terminal: bool = False
        spec = _read(request.bundle) if request.spec is None else request.spec
        if spec is not None:
            from libcontainer_py.spec import validate  # noqa: PLC0415  (who gives no Spec needs no attrs)

            validate.check(spec)
            self._use(spec)

    def _use(self, spec: Spec) -> None:
        self.oci_version = spec.oci_version
        self.annotations = dict(spec.annotations)
        self.terminal = spec.process is not None and spec.process.terminal
        if spec.process is not None:
            self.args = spec.process.args
            self.env = {name: value for name, _, value in (one.partition("=") for one in spec.process.env)}
        if spec.root is not None:
            self.rootfs = spec.root.path if spec.root.path.startswith("/") else f"{self.bundle}/{spec.root.path}"
        if spec.hooks is not None:
            lists = (
                spec.hooks.prestart,
                spec.hooks.create_runtime,
                spec.hooks.create_container,
                spec.hooks.start_container,
                spec.hooks.poststart,
                spec.hooks.poststop,
            )
            self.hooks = {kind: [_saved(hook) for hook in hooks] for kind, hooks in zip(HOOK_KINDS, lists, strict=True)}
        linux = spec.linux
        self.private_pid_namespace = linux is not None and any(
            namespace.type == "pid" and namespace.path is None for namespace in linux.namespaces
        )
        if linux is not None:
            self.resources = linux.resources
        if linux is not None and linux.cgroups_path:
            self.cgroup_paths = (f"{CGROUPS}/{linux.cgroups_path.lstrip('/')}",)

    def state(self, status: str, pid: int) -> str:
        """The OCI state, JSON."""
        document = {"ociVersion": self.oci_version, "id": self.container_id, "status": status, "pid": pid}
        return json.dumps({**document, "bundle": self.bundle, "annotations": dict(self.annotations)})


def _read(bundle: str) -> Spec | None:
    """The configuration of a bundle; a test may name directories that are not there. Raises ConfigError."""
    path = os.path.join(bundle, "config.json")
    if not bundle or not os.path.isfile(path):
        return None
    from libcontainer_py.spec import Spec  # noqa: PLC0415  (see above)

    with open(path, encoding="utf-8") as file:
        return Spec.from_json(file.read(), source=path)


def _saved(hook: Hook) -> dict[str, object]:
    """A hook as state.json keeps it: the time limit in nanoseconds."""
    timeout = None if hook.timeout is None else hook.timeout * 1_000_000_000
    return {"path": hook.path, "args": [*hook.args], "env": [*hook.env], "dir": "", "timeout": timeout}
