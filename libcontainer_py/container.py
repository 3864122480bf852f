"""Container: the verbs on one container.

A handle has no status of its own: `status` asks the backend each time. What is legal in a status is answered by
`lifecycle.LEGAL` alone.
"""

from __future__ import annotations

from _thread import allocate_lock

from libcontainer_py.errors import CgroupError, ContainerNotFound, ContainerTimeout
from libcontainer_py.lifecycle import Operation, Status, require, status_of
from libcontainer_py.process import ExitStatus, signal_number
from libcontainer_py.streams import MAX_OUTPUT, PIPE
from libcontainer_py.waiting import carry_out, medium_of

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from libcontainer_py.plain import overload
if TYPE_CHECKING:
    import os
    from _thread import LockType
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Literal, overload  # noqa: TC004  (at run time plain has it)

    from libcontainer_py.backends.base import Backend
    from libcontainer_py.events import Events
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.record import Record
    from libcontainer_py.result import Result
    from libcontainer_py.spawned import ContainerProcess
    from libcontainer_py.spec import Resources, State
    from libcontainer_py.spec.config import Capabilities, Process, Rlimit, User
    from libcontainer_py.stats import Sample, Stats
    from libcontainer_py.terminal import Terminal


_SIGKILL = 9


class Container:
    """A handle on one container, from `Factory.create` or `Factory.load`. It compares by identity and is thread-safe.

    As a context manager, a handle from create kills and deletes its container on leaving, whatever happened; one from
    load only closes.
    """

    __slots__ = ("_backend", "_exit", "_guard", "_owner", "_record", "terminal")

    _backend: Backend
    _record: Record
    _owner: bool
    _exit: ExitStatus | None
    _guard: LockType
    terminal: Terminal | None
    """Our end of its terminal, of a handle from create with process.terminal and without a console socket."""

    def __init__(self) -> None:
        raise TypeError("containers come from Factory.create() and Factory.load()")

    @classmethod
    def of(cls, backend: Backend, record: Record, *, owner: bool, terminal: Terminal | None = None) -> Container:
        """For Factory and run() alone: a handle; `owner` says that leaving it as a context manager deletes."""
        self = object.__new__(cls)
        self._backend = backend
        self._record = record
        self._owner = owner
        self.terminal = terminal
        self._exit = None
        self._guard = allocate_lock()
        return self

    def __repr__(self) -> str:
        return f"<Container {self.id!r} in {self._backend.root!r}>"

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._owner:
                self.delete(force=True)
        finally:
            self.close()

    # -- what it is -----------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The container's id."""
        return self._record.id

    @property
    def directory(self) -> str:
        """Its state directory."""
        return self._record.directory

    @property
    def bundle(self) -> str:
        """Its bundle's directory; "" where its writer did not say."""
        return self._record.bundle

    @property
    def rootfs(self) -> str:
        """Its root file system, as the runtime sees it; "" where its writer did not say."""
        return self._record.rootfs

    @property
    def oci_version(self) -> str:
        """The version of the specification that its configuration names."""
        return self._record.oci_version

    @property
    def created(self) -> str:
        """When it was created: RFC 3339, UTC, nanoseconds."""
        return self._record.created

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of its configuration."""
        return dict(self._record.annotations)

    # -- how it is ------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The status, observed now."""
        return status_of(self._backend.observe(self._record))

    @property
    def init_pid(self) -> int | None:
        """The pid of its init in our pid namespace, or None where it ended."""
        return self._record.init.pid if self._backend.observe(self._record).init_alive else None

    def state(self) -> State:
        """The OCI state, observed now; `pid` is 0 where init ended. Source: runtime.md, State."""
        from libcontainer_py.spec.state import State  # noqa: PLC0415  (attrs is not for the hot verbs)

        status = self.status
        return State(
            oci_version=self._record.oci_version,
            id=self.id,
            status=status.value,
            pid=0 if status is Status.STOPPED else self._record.init.pid,
            bundle=self.bundle,
            annotations=dict(self._record.annotations),
        )

    def explain(self) -> str:
        """What was done to make it, step by step, and which field asked for it. Never values of the environment."""
        return self._backend.explain(self._record)

    # -- what can be done to it -----------------------------------------------------------------------------------

    def exec(self, *, timeout: float | None = None) -> None:
        """Release the program of a created container: under the lock, read exec.fifo and remove it.

        Returns when the program runs. Of several callers in several processes, one wins; the others get
        `cannot start an already running container`. `timeout` in seconds; None waits 10 s for init.

        Raises IllegalOperation, StartError, ProgramNotFound, ContainerTimeout, ContainerNotFound.
        """
        self._backend.release(self.id, timeout=timeout, init=self._record.init)

    def start(self, *, timeout: float | None = None) -> None:
        """As `exec()`, but a container that is gone has stopped, as for every verb of a handle."""
        try:
            self.exec(timeout=timeout)
        except ContainerNotFound:
            require(self.id, Operation.START, self.status)
            raise

    def pause(self) -> None:
        """Freeze all of its processes. Raises IllegalOperation, CgroupError."""
        require(self.id, Operation.PAUSE, self.status)
        self._backend.freeze(self._record)

    def resume(self) -> None:
        """Thaw them. One that was paused while created is created again. Raises IllegalOperation, CgroupError."""
        require(self.id, Operation.RESUME, self.status)
        self._backend.thaw(self._record)

    def signal(self, sig: int | str, *, all: bool = False) -> None:  # noqa: A002  (runc's word)
        """Send a signal to init, by its number or its name: 15, signal.SIGTERM, "TERM", "SIGRTMIN+3".

        With `all` to all of its `processes()`, also to those that its init has left behind where they share a pid
        namespace with others. They stand still meanwhile; paused ones get it when resumed, and SIGKILL at once.

        Nothing is claimed about what they do with it. Raises IllegalOperation where it has stopped, ValueError for
        what is no signal; with `all` CgroupError where it has no cgroup of its own.
        """
        number = signal_number(sig)
        status = self.status
        if not (all and status is Status.STOPPED and self._left_some()):
            require(self.id, Operation.SIGNAL, status)
        if all:
            self._backend.signal_all(self._record, number)
        elif number == _SIGKILL:
            self._backend.kill(self._record)
        else:
            self._backend.signal(self._record, number)

    def kill(self) -> None:
        """SIGKILL to all of it, paused or not. Raises IllegalOperation where it has stopped.

        With a pid namespace of its own, all end with its init; else each process of its cgroup is killed.
        """
        require(self.id, Operation.KILL, self.status)
        self._backend.kill(self._record)

    def processes(self) -> list[int]:
        """The ids of all of its processes, sorted, as our pid namespace knows them: those of its cgroup and below.

        Also of one that has stopped: what its init left behind. Raises CgroupError where it has no cgroup of its own.
        """
        return self._backend.processes(self._record)

    def _left_some(self) -> bool:
        try:
            return bool(self.processes())
        except CgroupError:
            return False  # it has none that could tell

    def stats(self) -> Stats:
        """What it used so far, and how it was held back: until delete(), also where it has stopped.

        Raises CgroupError where it has no cgroup of its own, or that is gone.
        """
        return self._backend.stats(self._record)

    def watch_stats(self, interval: float = 1.0) -> Iterator[Sample]:
        """Its statistics every `interval` seconds, with the percentage of a processor in that time, until it ends.

        The first sample comes after one interval. Raises ValueError for an interval that is not above 0, and what
        stats() raises.
        """
        if not interval > 0:
            raise ValueError(f"an interval is above 0 s, not {interval!r}")
        return self._samples(self.stats(), interval)

    def _samples(self, before: Stats, interval: float) -> Iterator[Sample]:
        from libcontainer_py.stats import sample  # noqa: PLC0415  (attrs is not for the hot verbs)

        while not self._ends_within(interval):
            try:
                now = self.stats()
            except CgroupError:
                if self._ends_within(0):
                    return  # it was deleted meanwhile
                raise
            yield sample(before, now)
            before = now

    def _ends_within(self, seconds: float) -> bool:
        try:
            self.wait(seconds)
        except ContainerTimeout:
            return False
        return True

    def update(self, resources: Resources) -> None:
        """Change limits while it is there; what `resources` (of `libcontainer_py.spec`) do not say, stays as it is.

        Where something of it cannot be had, nothing has changed. Device rules are set by create alone.

        Raises IllegalOperation where it has stopped, ConfigError for what is wrong with the limits that would then
        hold, CgroupError for what the kernel does not take, ContainerNotFound.
        """
        self._backend.update(self.id, limits(resources), init=self._record.init)

    def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait until init ended, `timeout` seconds at most (None: for ever). It kills nothing.

        Every handle of this process gets the same result. Raises ContainerTimeout.
        """
        with self._guard:
            if self._exit is not None:
                return self._exit
        ended = self._backend.wait(self._record, timeout=timeout)
        if ended is None:
            raise ContainerTimeout(f"container {self.id!r} did not end within {timeout:g} s", timeout=timeout)
        with self._guard:
            self._exit = ExitStatus(ended.returncode, ended.oom_kills)
            return self._exit

    def events(self) -> Events:
        """What happens to it from now on: an iterator, and a context manager, that ends after `Exited`.

        Works from any process, for containers of runc too. Raises ContainerError where descriptors run out.
        """
        from libcontainer_py.events import Events  # noqa: PLC0415  (attrs is not for the hot verbs)

        return Events(self.id, self._backend.watch(self._record), lambda: self.wait(0))

    # -- further processes ----------------------------------------------------------------------------------------

    def spawn(
        self,
        args: Sequence[str] | Process,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: User | None = None,
        capabilities: Capabilities | None = None,
        no_new_privileges: bool | None = None,
        rlimits: Sequence[Rlimit] | None = None,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        terminal: bool = False,
        console_socket: str | os.PathLike[str] | None = None,
        pid_file: str | os.PathLike[str] | None = None,
        pidfd_socket: str | os.PathLike[str] | None = None,
        preserve_fds: int = 0,
        cgroup: str | Mapping[str, str] | None = None,
        ignore_paused: bool = False,
    ) -> ContainerProcess:
        """Run a further program in it, and return when that runs.

        It is the process of the container's configuration with other `args`, or a Process of `libcontainer_py.spec`;
        `env` is added, and what else is given replaces what stands there. Streams as in subprocess, PIPE too.

        With `terminal`, or a Process that says so, a terminal of the container's own /dev/pts takes their place:
        `ContainerProcess.terminal`; or `console_socket` gets it, as in `Factory.create`. So are `pid_file`,
        `pidfd_socket` and `preserve_fds`.

        `cgroup` is a path below the container's cgroup that is there already, or on v1 one for each controller. With
        `ignore_paused` a paused container is joined too, and this returns when it is resumed.

        Nobody need wait for it: it goes on when this process ends.

        Raises IllegalOperation where it is paused or has stopped, ProgramNotFound, StartError, ConfigError.
        """
        from libcontainer_py import further, spawned  # noqa: PLC0415  (attrs is not for the hot verbs)

        require(self.id, Operation.SPAWN, self.status, force=ignore_paused)
        conversation = further.spawn(
            self._backend,
            self._record,
            args,
            (stdin, stdout, stderr),
            env=env,
            cwd=cwd,
            user=user,
            capabilities=capabilities,
            no_new_privileges=no_new_privileges,
            rlimits=rlimits,
            terminal=terminal,
            console_socket=console_socket,
            pid_file=pid_file,
            pidfd_socket=pidfd_socket,
            preserve_fds=preserve_fds,
            cgroup=cgroup,
            ignore_paused=ignore_paused,
        )
        return spawned.ContainerProcess.of(conversation)

    @overload
    def run(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: User | None = None,
        timeout: float | None = None,
        input: bytes | None = None,
        stdin: Stdio = None,
        stdout: Stdio = PIPE,
        stderr: Stdio = PIPE,
        text: Literal[False] = False,
        encoding: None = None,
        max_output: int = MAX_OUTPUT,
        check: bool = False,
    ) -> Result[bytes]: ...

    @overload
    def run(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: User | None = None,
        timeout: float | None = None,
        input: bytes | str | None = None,
        stdin: Stdio = None,
        stdout: Stdio = PIPE,
        stderr: Stdio = PIPE,
        text: Literal[True],
        encoding: str | None = None,
        max_output: int = MAX_OUTPUT,
        check: bool = False,
    ) -> Result[str]: ...

    @overload
    def run(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: User | None = None,
        timeout: float | None = None,
        input: bytes | str | None = None,
        stdin: Stdio = None,
        stdout: Stdio = PIPE,
        stderr: Stdio = PIPE,
        text: bool = False,
        encoding: str,
        max_output: int = MAX_OUTPUT,
        check: bool = False,
    ) -> Result[str]: ...

    def run(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: User | None = None,
        timeout: float | None = None,
        input: bytes | str | None = None,  # noqa: A002  (subprocess calls it so)
        stdin: Stdio = None,
        stdout: Stdio = PIPE,
        stderr: Stdio = PIPE,
        text: bool = False,
        encoding: str | None = None,
        max_output: int = MAX_OUTPUT,
        check: bool = False,
    ) -> Result[bytes | str]:
        """Run a further program in it to its end, and tell how that was: as `libcontainer_py.run`.

        After `timeout` seconds it is killed with all that it started. Where it could not be kept apart from others
        (no cgroup of its own, as for an ordinary user), with all that runs in the container but its init.

        Raises ContainerTimeout and StartError (with `result`), CommandFailed, and what `spawn` raises.
        """
        from libcontainer_py import command, further  # noqa: PLC0415  (attrs is not for the hot verbs)

        agreed = command.terms(
            args,
            input=input,
            stdin=stdin,
            text=text,
            encoding=encoding,
            max_output=max_output,
            timeout=timeout,
            check=check,
        )
        require(self.id, Operation.SPAWN, self.status)
        streams = (stdin, stdout, stderr)
        return carry_out(
            further.running(self._backend, self._record, agreed, streams, env=env, cwd=cwd, user=user, patient=True),
            medium_of(self._backend),
        )

    # -- its end --------------------------------------------------------------------------------------------------

    def delete(self, *, force: bool = False) -> None:
        """Remove it and all that was made for it: stopped or created ones, with `force` any.

        With `force` it is no error that it is gone. Another container that got its id meanwhile is left alone.

        Raises IllegalOperation, ContainerNotFound, CgroupError.
        """
        self._backend.destroy(self.id, force=force, init=self._record.init)

    def close(self) -> None:
        """Give up the handle; the container goes on. Its terminal is closed, which hangs up."""
        self._owner = False
        if self.terminal is not None:
            self.terminal.close()


def limits(given: object) -> Resources:
    """What `update` takes. Raises TypeError."""
    from libcontainer_py.spec import Resources  # noqa: PLC0415  (attrs is not for the hot verbs)

    if not isinstance(given, Resources):
        raise TypeError(
            f"resources are a libcontainer_py.spec.Resources, not {type(given).__name__}; Resources.from_dict makes one"
        )
    return given
