"""An init of the memory backend from its birth until it goes to the fifo."""

from __future__ import annotations

import errno

from libcontainer_py.errors import CreateError, HookError, ProgramNotFound
from libcontainer_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py.backends.memory.host import MemoryHost
    from libcontainer_py.backends.memory.processes import MemoryPreparation, MemoryProcess
    from libcontainer_py.record import Init, Intent
    from libcontainer_py.spec import Resources


class MemoryBirth:
    """An init that is being born; until `let_go` it ends when its creator does."""

    def __init__(self, host: MemoryHost, preparation: MemoryPreparation, process: MemoryProcess) -> None:
        self._host = host
        self._preparation = preparation
        self._process = process
        self._failed: HookError | None = None
        self._before: dict[str, Resources | None] = {}
        self._kills_before: int = host.cgroups[preparation.cgroup_paths[0]].oom_kills

    def make_cgroups(self) -> Mapping[str, int]:
        """There are no others than the one that it was born into, which is limited now."""
        resources = self._preparation.resources
        with self._host.clock.changed:
            for path in self._preparation.cgroup_paths if resources is not None else ():
                self._before[path] = self._host.cgroups[path].resources
                self._host.cgroups[path].resources = resources
        return {}

    def born(self) -> Init:
        """Who it is; it may have been killed."""
        self._check("clone")
        return self._process.init

    def until_mounted(self) -> None:
        """There is nothing to mount; it may have been killed."""
        self._check("mount")

    def go_on(self, state: str) -> None:
        """Its createContainer hooks run; one that fails ends it, which `until_ready` tells."""
        self._check("pivot_root")
        try:
            self._host.run_hooks("createContainer", self._preparation.hooks, state)
        except HookError as error:
            self._failed = error
            self._host.end(self._process.init, 1)

    def until_ready(self) -> None:
        """Raises HookError, ProgramNotFound, and CreateError where it was killed."""
        if self._failed is not None:
            raise self._failed
        self._check("ready")
        if not self._process.program.found:
            raise ProgramNotFound(
                "executable file not found in $PATH",
                container_id=self._preparation.container_id,
                step="program",
                errno=errno.ENOENT,
            )

    def terminal(self) -> int:
        """The master of its terminal: the caller's."""
        return self._process.open_terminal()

    def record(self, intent: Intent) -> Record:
        """What state.json is to say."""
        preparation = self._preparation
        process = self._process
        return Record(
            id=preparation.container_id,
            directory=preparation.directory,
            bundle=preparation.bundle,
            rootfs=preparation.rootfs,
            created=self._host.wall_clock(),
            oci_version=preparation.oci_version,
            annotations=preparation.annotations,
            init=process.init,
            cgroup_paths={"": preparation.cgroup_paths[0]},
            private_pid_namespace=process.private,
            ours=True,
            hooks=preparation.hooks,
            document={
                "libcontainer_py": {"cgroups": dict(intent.cgroups), "oom_kills": self._kills_before},
                "resources": {} if preparation.resources is None else preparation.resources.to_dict(),
            },
        )

    def let_go(self) -> None:
        """It goes to the fifo and no longer depends on its creator."""
        with self._host.clock.changed:
            if self._process.phase == "born":
                self._process.phase = "fifo"
            self._host.clock.changed.notify_all()

    def abandon(self) -> None:
        """It ends, unless it was let go: nobody is there to say that state.json is saved."""
        with self._host.clock.changed:
            if self._process.phase == "born":
                self._host.end(self._process.init, 1)
            for path, resources in self._before.items():
                self._host.cgroups[path].resources = resources

    def _check(self, step: str) -> None:
        if not self._process.alive:
            raise CreateError(
                f"init of {self._preparation.container_id!r} ended before it was ready",
                container_id=self._preparation.container_id,
                step=step,
            )
