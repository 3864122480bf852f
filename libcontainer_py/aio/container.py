"""Container and its events for asyncio."""

from __future__ import annotations

from math import inf
from typing import overload

from libcontainer_py import command, container, further
from libcontainer_py.aio.loop import carry_out, ready, stepwise
from libcontainer_py.aio.process import ContainerProcess
from libcontainer_py.aio.terminal import Terminal
from libcontainer_py.errors import CgroupError, ContainerNotFound, ContainerTimeout
from libcontainer_py.lifecycle import Operation, require, status_of
from libcontainer_py.streams import MAX_OUTPUT, PIPE
from libcontainer_py.waiting import Wait, insisting, medium_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Unpack

    from libcontainer_py import events
    from libcontainer_py import terminal as terminals
    from libcontainer_py.aio.options import AnyOptions, BytesOptions, EncodedOptions, TextOptions
    from libcontainer_py.backends.base import Backend, Stepwise
    from libcontainer_py.factory import StrPath
    from libcontainer_py.lifecycle import Status
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.process import ExitStatus
    from libcontainer_py.record import Record
    from libcontainer_py.result import Result
    from libcontainer_py.spec import Resources, State
    from libcontainer_py.spec.config import Capabilities, Process, Rlimit, User
    from libcontainer_py.stats import Sample, Stats
    from libcontainer_py.waiting import Medium


class Container:
    """A handle on one container, from `Factory.create` or `Factory.load`: see `libcontainer_py.Container`.

    As an asynchronous context manager, a handle from create kills and deletes its container on leaving.
    """

    __slots__ = ("_backend", "_handle", "_owner", "_record", "_terminal")

    _backend: Stepwise
    _record: Record
    _owner: bool
    _handle: container.Container
    _terminal: Terminal | None

    def __init__(self) -> None:
        raise TypeError("containers come from Factory.create() and Factory.load()")

    @classmethod
    def of(
        cls, backend: Backend, record: Record, *, owner: bool, terminal: terminals.Terminal | None = None
    ) -> Container:
        """For Factory and Sandbox alone: a handle; `owner` says that leaving it as a context manager deletes."""
        self = object.__new__(cls)
        self._backend = stepwise(backend)
        self._record = record
        self._owner = owner
        self._handle = container.Container.of(backend, record, owner=False, terminal=terminal)
        self._terminal = None if terminal is None else Terminal.of(terminal)
        return self

    def __repr__(self) -> str:
        return repr(self._handle)

    async def __aenter__(self) -> Container:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._owner:
                init = self._record.init
                steps = insisting(lambda: self._backend.destroying(self.id, force=True, init=init))
                await carry_out(steps, self._medium)
        finally:
            self.close()

    @property
    def _medium(self) -> Medium:
        return medium_of(self._backend)

    # -- what it is, and how --------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The container's id."""
        return self._record.id

    @property
    def directory(self) -> str:
        """Its state directory."""
        return self._handle.directory

    @property
    def bundle(self) -> str:
        """Its bundle's directory; "" where its writer did not say."""
        return self._handle.bundle

    @property
    def rootfs(self) -> str:
        """Its root file system, as the runtime sees it; "" where its writer did not say."""
        return self._handle.rootfs

    @property
    def oci_version(self) -> str:
        """The version of the specification that its configuration names."""
        return self._handle.oci_version

    @property
    def created(self) -> str:
        """When it was created: RFC 3339, UTC, nanoseconds."""
        return self._handle.created

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of its configuration."""
        return self._handle.annotations

    @property
    def terminal(self) -> Terminal | None:
        """Our end of its terminal, where `Factory.create` made one."""
        return self._terminal

    @property
    def status(self) -> Status:
        """The status, observed now."""
        return self._handle.status

    @property
    def init_pid(self) -> int | None:
        """The pid of its init in our pid namespace, or None where it ended."""
        return self._handle.init_pid

    def state(self) -> State:
        """The OCI state, observed now."""
        return self._handle.state()

    def explain(self) -> str:
        """What was done to make it, step by step."""
        return self._handle.explain()

    def stats(self) -> Stats:
        """What it used so far, and how it was held back. Raises CgroupError."""
        return self._handle.stats()

    def processes(self) -> list[int]:
        """The ids of all of its processes, sorted. Raises CgroupError where it has no cgroup of its own."""
        return self._handle.processes()

    def watch_stats(self, interval: float = 1.0) -> AsyncIterator[Sample]:
        """Its statistics every `interval` seconds until it ends: an asynchronous iterator, as the synchronous one.

        Raises ValueError for an interval that is not above 0, and what stats() raises.
        """
        if not interval > 0:
            raise ValueError(f"an interval is above 0 s, not {interval!r}")
        return self._samples(self.stats(), interval)

    async def _samples(self, before: Stats, interval: float) -> AsyncIterator[Sample]:
        from libcontainer_py.stats import sample  # noqa: PLC0415  (for who watches)

        while not await self._ends_within(interval):
            try:
                now = self.stats()
            except CgroupError:
                if await self._ends_within(0):
                    return  # it was deleted meanwhile
                raise
            yield sample(before, now)
            before = now

    async def _ends_within(self, seconds: float) -> bool:
        try:
            await self.wait(seconds)
        except ContainerTimeout:
            return False
        return True

    # -- what can be done to it -----------------------------------------------------------------------------------

    async def exec(self, *, timeout: float | None = None) -> None:
        """Release the program of a created container. Of several callers one wins, as with the synchronous face.

        Raises IllegalOperation, StartError, ProgramNotFound, ContainerTimeout, ContainerNotFound.
        """
        steps = self._backend.releasing(self.id, timeout=timeout, init=self._record.init)
        await carry_out(steps, self._medium)

    async def start(self, *, timeout: float | None = None) -> None:
        """As `exec()`, but a container that is gone has stopped, as for every verb of a handle."""
        try:
            await self.exec(timeout=timeout)
        except ContainerNotFound:
            require(self.id, Operation.START, self.status)
            raise

    async def pause(self) -> None:
        """Freeze all of its processes, which takes 2 s at most. Raises IllegalOperation, CgroupError."""
        self._handle.pause()

    async def resume(self) -> None:
        """Thaw them. Raises IllegalOperation, CgroupError."""
        self._handle.resume()

    async def signal(self, sig: int | str, *, all: bool = False) -> None:  # noqa: A002  (as the synchronous face)
        """Send a signal to init, or with `all` to all of its processes. Raises IllegalOperation, ValueError."""
        self._handle.signal(sig, all=all)

    async def kill(self) -> None:
        """SIGKILL to all of it, paused or not. Raises IllegalOperation where it has stopped."""
        self._handle.kill()

    async def update(self, resources: Resources) -> None:
        """Change limits while it is there. Raises IllegalOperation, ConfigError, CgroupError, ContainerNotFound."""
        limits = container.limits(resources)
        await carry_out(self._backend.updating(self.id, limits, init=self._record.init), self._medium)

    async def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait until init ended, `timeout` seconds at most. It kills nothing. Raises ContainerTimeout."""
        medium = self._medium
        deadline = inf if timeout is None else medium.now() + timeout
        while True:
            try:
                return self._handle.wait(0)
            except ContainerTimeout as late:
                now = medium.now()
                if now >= deadline:
                    reason = f"container {self.id!r} did not end within {timeout:g} s"
                    raise ContainerTimeout(reason, timeout=timeout) from late
            pidfds = self._backend.pidfds(self._record)
            try:
                await ready(Wait(tuple(pidfds), until=min(deadline, now + medium.longest_wait)), medium)
            finally:
                for pidfd in pidfds:
                    medium.close(pidfd)

    def events(self) -> Events:
        """What happens to it from now on: an asynchronous iterator that ends after `Exited`. Raises ContainerError."""
        return Events(self._handle.events(), self._medium)

    # -- further processes ----------------------------------------------------------------------------------------

    async def spawn(
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
        console_socket: StrPath | None = None,
        pid_file: StrPath | None = None,
        pidfd_socket: StrPath | None = None,
        preserve_fds: int = 0,
        cgroup: str | Mapping[str, str] | None = None,
        ignore_paused: bool = False,
    ) -> ContainerProcess:
        """Run a further program in it, and return when that runs.

        Raises IllegalOperation where it is paused or has stopped, ProgramNotFound, StartError, ConfigError.
        """
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
        return ContainerProcess.of(conversation)

    @overload
    async def run(
        self, args: Sequence[str], *, user: User | None = None, **options: Unpack[BytesOptions]
    ) -> Result[bytes]: ...

    @overload
    async def run(
        self, args: Sequence[str], *, user: User | None = None, **options: Unpack[TextOptions]
    ) -> Result[str]: ...

    @overload
    async def run(
        self, args: Sequence[str], *, user: User | None = None, **options: Unpack[EncodedOptions]
    ) -> Result[str]: ...

    async def run(
        self, args: Sequence[str], *, user: User | None = None, **options: Unpack[AnyOptions]
    ) -> Result[bytes | str]:
        """Run a further program in it to its end. Arguments, result and errors are those of `Container.run`.

        When it is cancelled, the command is killed with all that it started, as after a timeout.
        """
        return await run_in(self._backend, self._record, args, user=user, **options)

    # -- its end --------------------------------------------------------------------------------------------------

    async def delete(self, *, force: bool = False) -> None:
        """Remove it and all that was made for it. Raises IllegalOperation, ContainerNotFound, CgroupError."""
        await carry_out(self._backend.destroying(self.id, force=force, init=self._record.init), self._medium)

    def close(self) -> None:
        """Give up the handle; the container goes on. Its terminal is closed, which hangs up."""
        self._owner = False
        self._handle.close()


async def run_in(
    backend: Stepwise,
    record: Record,
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
    """`Container.run` with the types of its arguments left open."""
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
    require(record.id, Operation.SPAWN, status_of(backend.observe(record)))
    streams = (stdin, stdout, stderr)
    return await carry_out(
        further.running(backend, record, agreed, streams, env=env, cwd=cwd, user=user, patient=False),
        medium_of(backend),
    )


class Events:
    """The events of one container: an asynchronous iterator, and context manager. See `libcontainer_py.Events`."""

    def __init__(self, watched: events.Events, medium: Medium) -> None:
        """For Container.events() alone."""
        self._events = watched
        self._medium = medium

    def __repr__(self) -> str:
        return repr(self._events)

    @property
    def kinds(self) -> frozenset[type[events.Event]]:
        """The classes of events that can come."""
        return self._events.kinds

    @property
    def ended(self) -> bool:
        """Whether the last event, `Exited`, was given."""
        return self._events.ended

    def ready(self) -> list[events.Event]:
        """What has happened and was not given yet, oldest first. Raises ValueError after close()."""
        return self._events.ready()

    async def next(self, timeout: float | None = None) -> events.Event | None:
        """The next event; None after the last one. Raises ContainerTimeout, and ValueError after close()."""
        deadline = inf if timeout is None else self._medium.now() + timeout
        while True:
            try:
                return self._events.next(0)
            except ContainerTimeout as error:
                if self._medium.now() >= deadline:
                    error.timeout = timeout
                    raise
            await ready(Wait((self._events.fileno(),), until=deadline), self._medium)

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> events.Event:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> Events:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up watching. Silent when repeated."""
        self._events.close()
