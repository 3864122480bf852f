"""Sandbox: one container that stays for many commands."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Literal, overload

from libcontainer_py.container import Container
from libcontainer_py.errors import ConfigError, Problem
from libcontainer_py.factory import Factory
from libcontainer_py.sandbox.making import Patient, making, new_id, removing
from libcontainer_py.sandbox.options import looked_through, user_of
from libcontainer_py.spec.config import User
from libcontainer_py.streams import DEVNULL, MAX_OUTPUT, PIPE
from libcontainer_py.waiting import carry_out, medium_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Protocol

    from libcontainer_py.factory import StrPath
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.record import Record
    from libcontainer_py.result import Result
    from libcontainer_py.sandbox.making import Verbs
    from libcontainer_py.sandbox.options import Binds, Options, Size, Who
    from libcontainer_py.spawned import ContainerProcess
    from libcontainer_py.waiting import Steps

    class Closes(Protocol):
        """A sandbox of either face."""

        def close(self) -> None: ...


_NOBODY = ("sandbox",)
"""Words of a configuration without a program, which must have some."""


class Sandbox:
    """A container that stays for many commands: what one writes to /tmp, the next one finds there.

    What commands see, and what they are limited to together, is as with `run`. It is made here and removed by `close`,
    by leaving it as a context manager, and when this process ends, however that comes. It is thread-safe.

    Raises ConfigError (with every problem), CgroupError, CreateError, UnsupportedPlatform and the other errors of
    `Factory.create`.
    """

    __slots__ = ("_container", "_factory", "_id", "_owner", "_root", "_user")

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
        options = looked_through(
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
        self._id: str = new_id()
        self._root: str = options.rootfs or "/"
        self._owner: int = os.getpid()
        backend = self._factory.backend
        record = carry_out(beginning(Patient(backend), self._id, options), medium_of(backend))
        self._container: Container = Container.of(backend, record, owner=True)
        keep(self)

    def __repr__(self) -> str:
        return f"<Sandbox {self._id!r}>"

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def container(self) -> Container:
        """Its container: for limits, statistics, events, and to pause it."""
        return self._container

    def close(self) -> None:
        """Kill all that runs in it, and remove it; silent when repeated, and in a process that was forked."""
        if self._owner == os.getpid():
            backend = self._factory.backend
            carry_out(removing(Patient(backend), self._id), medium_of(backend))
            let_go(self)

    def spawn(
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
        who = who_of(user, self._root)
        return self._container.spawn(
            args, env=env, cwd=cwd, user=who, stdin=stdin, stdout=stdout, stderr=stderr, terminal=terminal
        )

    @overload
    def run(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: Who | None = None,
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
        user: Who | None = None,
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
        user: Who | None = None,
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
        user: Who | None = None,
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
        """Run a command in it to its end: see `Container.run`, and `run` for the arguments.

        What it leaves running goes on until the sandbox is closed; what a timeout finds of it is killed.
        """
        # the overloads tell the two types of result apart; here it is either
        if encoding is None and not text:
            if isinstance(input, str):
                raise TypeError("input is text: give text=True or an encoding, or encode it")
            return self._container.run(
                args,
                env=env,
                cwd=cwd,
                user=who_of(user, self._root),
                timeout=timeout,
                input=input,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                max_output=max_output,
                check=check,
            )
        return self._container.run(
            args,
            env=env,
            cwd=cwd,
            user=who_of(user, self._root),
            timeout=timeout,
            input=input,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            encoding=encoding or "utf-8",
            max_output=max_output,
            check=check,
        )


def beginning(verbs: Verbs, container_id: str, options: Options) -> Steps[Record]:
    """Make and start the container of a sandbox. After an error nothing of it is left."""
    try:
        nothing = (DEVNULL, DEVNULL, DEVNULL)
        record = yield from making(verbs, container_id, _NOBODY, options, nothing, idle=True)
        yield from verbs.releasing(container_id, timeout=None, init=record.init)
    except BaseException:
        yield from removing(verbs, container_id)
        raise
    return record


def who_of(user: Who | None, root: str) -> User | None:
    """A user as `Container.run` takes him. Raises ConfigError."""
    if user is None:
        return None
    problems: list[Problem] = []
    uid, gid = user_of(user, root, problems)
    if problems:
        raise ConfigError(problems)
    return User(uid=uid, gid=gid)


_guard = threading.Lock()
_open: set[Closes] = set()


def keep(sandbox: Closes) -> None:
    """Close it when this process ends."""
    with _guard:
        if not _open:
            atexit.register(_close_all)
        _open.add(sandbox)


def let_go(sandbox: Closes) -> None:
    """It was closed."""
    with _guard:
        _open.discard(sandbox)
        if not _open:
            atexit.unregister(_close_all)


def _close_all() -> None:
    for sandbox in list(_open):
        sandbox.close()


def _after_fork() -> None:
    """In a forked child: the sandboxes are its parent's."""
    global _guard
    _guard = threading.Lock()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
