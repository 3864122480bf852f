"""Commands in sandboxes, for asyncio."""

from __future__ import annotations

import os
from typing import overload

from libcontainer_py.aio.container import Container, run_in
from libcontainer_py.aio.factory import Factory
from libcontainer_py.aio.loop import carry_out, stepwise, turn
from libcontainer_py.sandbox.lasting import beginning, keep, let_go, who_of
from libcontainer_py.sandbox.making import Patient, new_id, removing
from libcontainer_py.sandbox.oneshot import running
from libcontainer_py.sandbox.options import looked_through
from libcontainer_py.waiting import carry_out as block
from libcontainer_py.waiting import medium_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Unpack

    from libcontainer_py.aio.options import (
        AnyOptions,
        AnyRun,
        BytesOptions,
        BytesRun,
        EncodedOptions,
        EncodedRun,
        TextOptions,
        TextRun,
    )
    from libcontainer_py.aio.process import ContainerProcess
    from libcontainer_py.backends.base import Backend
    from libcontainer_py.factory import StrPath
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.record import Record
    from libcontainer_py.result import Result
    from libcontainer_py.sandbox.options import Binds, Size, Who


@overload
async def run(args: Sequence[str], *, factory: Factory | None = None, **options: Unpack[BytesRun]) -> Result[bytes]: ...


@overload
async def run(args: Sequence[str], *, factory: Factory | None = None, **options: Unpack[TextRun]) -> Result[str]: ...


@overload
async def run(args: Sequence[str], *, factory: Factory | None = None, **options: Unpack[EncodedRun]) -> Result[str]: ...


async def run(args: Sequence[str], *, factory: Factory | None = None, **options: Unpack[AnyRun]) -> Result[bytes | str]:
    """Run a command in a fresh container of its own, and tell how it ended and what it wrote.

    Arguments, result and errors are those of `libcontainer_py.run`; `factory` is one of this module. When it is
    cancelled, the command is killed and reaped and its container removed before CancelledError is raised.
    """
    return await run_any(args, factory, options)


async def run_any(args: Sequence[str], factory: Factory | None, options: AnyRun) -> Result[bytes | str]:
    """`run` with the types of its arguments left open."""
    backend = (factory if factory is not None else Factory()).backend
    await turn()
    steps = running(args, **options, backend=backend, stepwise=stepwise(backend))
    return await carry_out(steps, medium_of(backend))


class Sandbox:
    """A container that stays for many commands: see `libcontainer_py.Sandbox`.

    It is made where it is entered as an asynchronous context manager, and removed where that is left, and when this
    process ends, however that comes. Raises ConfigError here, and there the other errors of `Factory.create`.
    """

    def __init__(
        self,
        *,
        rootfs: StrPath | None = None,
        binds: Binds | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: Who | None = None,
        network: bool = False,
        memory: Size | None = None,
        cpus: float | None = None,
        pids: int | None = None,
        factory: Factory | None = None,
    ) -> None:
        self._options = looked_through(
            rootfs=rootfs,
            binds=binds,
            env=env,
            cwd=cwd,
            user=user,
            network=network,
            memory=memory,
            cpus=cpus,
            pids=pids,
        )
        self._factory: Factory = factory if factory is not None else Factory()
        self._made: _Made | None = None
        self._there: tuple[Container, Record] | None = None

    def __repr__(self) -> str:
        return f"<Sandbox {self._made.id!r}>" if self._made is not None else "<Sandbox, not made>"

    async def __aenter__(self) -> Sandbox:
        if self._made is not None:
            raise RuntimeError("this sandbox was entered before")
        self._made = _Made(self._factory.backend, new_id())
        verbs = stepwise(self._factory.backend)
        steps = beginning(verbs, self._made.id, self._options)
        record = await carry_out(steps, medium_of(self._factory.backend))
        self._there = Container.of(self._factory.backend, record, owner=True), record
        keep(self._made)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def container(self) -> Container:
        """Its container: for limits, statistics, events, and to pause it. Raises RuntimeError before it is entered."""
        return self._begun[0]

    @property
    def _begun(self) -> tuple[Container, Record]:
        if self._there is None:
            raise RuntimeError("a sandbox is made by `async with`")
        return self._there

    async def close(self) -> None:
        """Kill all that runs in it, and remove it; silent when repeated, and in a process that was forked."""
        if self._made is not None and self._made.is_ours:
            backend = self._factory.backend
            await carry_out(removing(stepwise(backend), self._made.id), medium_of(backend))
            let_go(self._made)

    async def spawn(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: Who | None = None,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        terminal: bool = False,
    ) -> ContainerProcess:
        """Start a command in it: see `Container.spawn`. It ends with the sandbox at the latest."""
        who = who_of(user, self._options.rootfs or "/")
        return await self.container.spawn(
            args, env=env, cwd=cwd, user=who, stdin=stdin, stdout=stdout, stderr=stderr, terminal=terminal
        )

    @overload
    async def run(
        self, args: Sequence[str], *, user: Who | None = None, **options: Unpack[BytesOptions]
    ) -> Result[bytes]: ...

    @overload
    async def run(
        self, args: Sequence[str], *, user: Who | None = None, **options: Unpack[TextOptions]
    ) -> Result[str]: ...

    @overload
    async def run(
        self, args: Sequence[str], *, user: Who | None = None, **options: Unpack[EncodedOptions]
    ) -> Result[str]: ...

    async def run(
        self, args: Sequence[str], *, user: Who | None = None, **options: Unpack[AnyOptions]
    ) -> Result[bytes | str]:
        """Run a command in it to its end: see `Container.run`.

        What it leaves running goes on until the sandbox is closed; what a timeout or a cancellation finds is killed.
        """
        who = who_of(user, self._options.rootfs or "/")
        return await run_in(stepwise(self._factory.backend), self._begun[1], args, user=who, **options)


class _Made:
    """The container of a sandbox, to be removed without a loop when this process ends."""

    def __init__(self, backend: Backend, container_id: str) -> None:
        self.id = container_id
        self._backend = backend
        self._owner = os.getpid()

    @property
    def is_ours(self) -> bool:
        return self._owner == os.getpid()

    def close(self) -> None:
        if self.is_ours:
            block(removing(Patient(self._backend), self.id), medium_of(self._backend))
            let_go(self)
