"""Further processes of a container: what `Container.spawn` and `Container.run` do. attrs, and so not in `container`."""

from __future__ import annotations

import os
from contextlib import nullcontext

from libcontainer_py import command
from libcontainer_py.backends.base import Measured, SpawnRequest
from libcontainer_py.errors import StartError
from libcontainer_py.pids import Listeners
from libcontainer_py.pipes import Pipes, check_preserved
from libcontainer_py.spawned import Conversation
from libcontainer_py.spec.config import Process
from libcontainer_py.terminal import ConsoleSocket, Keeper
from libcontainer_py.waiting import medium_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from libcontainer_py.backends.base import Backend, Exit, Spawned
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.record import Record
    from libcontainer_py.result import Result
    from libcontainer_py.spec.config import Capabilities, Rlimit, User
    from libcontainer_py.waiting import Steps

    StrPath: TypeAlias = "str | os.PathLike[str]"


def spawn(
    backend: Backend,
    record: Record,
    args: Sequence[str] | Process,
    streams: tuple[Stdio, Stdio, Stdio],
    *,
    env: Mapping[str, str] | None,
    cwd: str | None,
    user: User | None,
    capabilities: Capabilities | None,
    no_new_privileges: bool | None,
    rlimits: Sequence[Rlimit] | None,
    terminal: bool = False,
    console_socket: StrPath | None = None,
    pid_file: StrPath | None = None,
    pidfd_socket: StrPath | None = None,
    preserve_fds: int = 0,
    cgroup: str | Mapping[str, str] | None = None,
    ignore_paused: bool = False,
) -> Conversation:
    """See `Container.spawn`; the status was asked for."""
    if isinstance(args, (str, bytes)):
        raise TypeError(f"args is a sequence of words, not {args!r}: there is no shell")
    check_preserved(preserve_fds)
    process = args if isinstance(args, Process) else None
    words = tuple(args.args if isinstance(args, Process) else args)
    if not words:
        raise ValueError("args are empty: the first one names the program")
    if terminal or (process is not None and process.terminal):
        if streams != (None, None, None):
            raise ValueError("a terminal is stdin, stdout and stderr: give none of them")
        taker = Keeper() if console_socket is None else ConsoleSocket(console_socket, record.id, StartError)
    elif console_socket is not None:
        raise ValueError("a console socket is for a terminal: terminal=True")
    else:
        taker = None
    pipes = Pipes(*streams, medium_of(backend))
    try:
        request = SpawnRequest(
            words,
            process,
            env,
            cwd,
            user,
            capabilities,
            None if rlimits is None else tuple(rlimits),
            no_new_privileges,
            *pipes.given,
            terminal=taker,
            preserve_fds=preserve_fds,
            cgroup={"": cgroup} if isinstance(cgroup, str) else cgroup,
            ignore_paused=ignore_paused,
        )
        with taker or nullcontext(), Listeners(pid_file, pidfd_socket, record.id, StartError, word=b"setns") as told:
            spawned = backend.spawn(record, request)
            try:
                told.tell(spawned.pid, lambda: _another(spawned.fileno()))
            except BaseException:
                spawned.kill_all()
                spawned.wait(timeout=command.KILL_TIMEOUT)
                raise
        pipes.release()
    except BaseException:
        pipes.close()
        raise
    return Conversation(spawned, words, pipes, None if taker is None else taker.terminal)


def _another(descriptor: int) -> int | None:
    return None if descriptor < 0 else os.dup(descriptor)


def running(
    backend: Backend,
    record: Record,
    agreed: command.Terms,
    streams: tuple[Stdio, Stdio, Stdio],
    *,
    env: Mapping[str, str] | None,
    cwd: str | None,
    user: User | None,
    patient: bool,
) -> Steps[Result[bytes | str]]:
    """The steps of `Container.run`; the status was asked for. `patient`: they block."""
    stdin, stdout, stderr = streams
    with Pipes(command.stdin_of(agreed, stdin), stdout, stderr, medium_of(backend)) as pipes:
        before = backend.measure(record).oom_kills
        first, second, third = pipes.given
        request = SpawnRequest(
            agreed.args, env=env, cwd=cwd, user=user, stdin=first, stdout=second, stderr=third, apart=True
        )
        try:
            spawned = backend.spawn(record, request)
        except StartError as error:
            command.note_that_it_never_ran(error, agreed)
            raise
        joined = _Joined(spawned, backend, record, before)
        try:
            pipes.release()
            return (yield from command.finishing(joined, pipes, agreed, patient=patient))
        except BaseException:
            yield from joined.end(patient=patient)
            raise


class _Joined:
    """A command that joined a container, as `command.finishing` wants it."""

    def __init__(self, spawned: Spawned, backend: Backend, record: Record, before: int) -> None:
        self._spawned = spawned
        self._backend = backend
        self._record = record
        self._before = before

    @property
    def killed(self) -> bool:
        return self._spawned.killed

    def fileno(self) -> int | None:
        return None  # whom it started may have its streams after its end

    def wait(self, *, timeout: float | None) -> Exit | None:
        return self._spawned.wait(timeout=timeout)

    def pidfds(self) -> list[int]:
        pidfd = self._spawned.fileno()
        return [] if pidfd < 0 else [medium_of(self._backend).duplicate(pidfd)]

    def kill(self) -> None:
        self._spawned.kill_all()

    def end(self, *, patient: bool) -> Steps[None]:
        """After an interrupt: nothing of it goes on."""
        if self._spawned.wait(timeout=0) is None:
            self._spawned.kill_all()
            medium = medium_of(self._backend)
            yield from command.ending(self, medium.now() + command.KILL_TIMEOUT, medium, patient=patient)

    def measure(self) -> Measured:
        # what the whole container had at one time says nothing of one command
        return Measured(max(0, self._backend.measure(self._record).oom_kills - self._before))
