"""run(): a sandbox for one command, which goes when the command does."""

from __future__ import annotations

from typing import Literal, overload

from libcontainer_py import command
from libcontainer_py.errors import StartError
from libcontainer_py.factory import Factory
from libcontainer_py.pipes import Pipes
from libcontainer_py.sandbox.making import Patient, making, new_id, removing
from libcontainer_py.sandbox.options import looked_through
from libcontainer_py.streams import MAX_OUTPUT, PIPE
from libcontainer_py.waiting import carry_out, medium_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from libcontainer_py.backends.base import Backend, Exit, Measured, Stepwise
    from libcontainer_py.factory import StrPath
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.record import Record
    from libcontainer_py.result import Result
    from libcontainer_py.sandbox.options import Binds, Size, Who
    from libcontainer_py.waiting import Steps


@overload
def run(
    args: Sequence[str],
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
    timeout: float | None = None,
    input: bytes | None = None,
    stdin: Stdio = None,
    stdout: Stdio = PIPE,
    stderr: Stdio = PIPE,
    text: Literal[False] = False,
    encoding: None = None,
    max_output: int = MAX_OUTPUT,
    check: bool = False,
    factory: Factory | None = None,
) -> Result[bytes]: ...


@overload
def run(
    args: Sequence[str],
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
    timeout: float | None = None,
    input: bytes | str | None = None,
    stdin: Stdio = None,
    stdout: Stdio = PIPE,
    stderr: Stdio = PIPE,
    text: Literal[True],
    encoding: str | None = None,
    max_output: int = MAX_OUTPUT,
    check: bool = False,
    factory: Factory | None = None,
) -> Result[str]: ...


@overload
def run(
    args: Sequence[str],
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
    timeout: float | None = None,
    input: bytes | str | None = None,
    stdin: Stdio = None,
    stdout: Stdio = PIPE,
    stderr: Stdio = PIPE,
    text: bool = False,
    encoding: str,
    max_output: int = MAX_OUTPUT,
    check: bool = False,
    factory: Factory | None = None,
) -> Result[str]: ...


def run(
    args: Sequence[str],
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
    timeout: float | None = None,
    input: bytes | str | None = None,  # noqa: A002  (subprocess calls it so)
    stdin: Stdio = None,
    stdout: Stdio = PIPE,
    stderr: Stdio = PIPE,
    text: bool = False,
    encoding: str | None = None,
    max_output: int = MAX_OUTPUT,
    check: bool = False,
    factory: Factory | None = None,
) -> Result[bytes | str]:
    """Run a command in a fresh container of its own, and tell how it ended and what it wrote.

    What it sees: the host's files, or those of the directory `rootfs`, read-only, with an empty /tmp; what `binds`
    names, {host: inside} read-only, or Bind objects; an environment of PATH, HOME and LANG with `env` added; a network
    of its own, or with `network` the host's. It works in `cwd`, by default /, as `user`: a number, "1000:1000", or a
    name of /etc/passwd; by default 0, without privileges.

    Limits: `memory` in bytes or as "64M", swap included; `cpus`, how many processors' worth of time; `pids`, how many
    processes and threads. One that cannot be had is an error. After `timeout` seconds all of it is killed.

    Streams are as in subprocess: stdout and stderr are captured, the first `max_output` bytes of each; what is not
    captured is empty in the result. With `text` or `encoding` (UTF-8 otherwise) they are str, and what is no text is
    replaced. `check` raises CommandFailed unless the returncode is 0.

    Whatever happens to this process, also a SIGKILL: nothing that it started goes on.

    Raises ConfigError (with every problem), ProgramNotFound, StartError and ContainerTimeout (with `result`),
    CommandFailed, CgroupError, CreateError, UnsupportedPlatform and the other errors of `Factory.create`.
    """
    backend = (factory if factory is not None else Factory()).backend
    return carry_out(
        running(
            args,
            rootfs=rootfs,
            binds=binds,
            env=env,
            cwd=cwd,
            user=user,
            network=network,
            memory=memory,
            cpus=cpus,
            pids=pids,
            timeout=timeout,
            input=input,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=text,
            encoding=encoding,
            max_output=max_output,
            check=check,
            backend=backend,
            stepwise=None,
        ),
        medium_of(backend),
    )


def running(
    args: Sequence[str],
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
    timeout: float | None = None,
    input: bytes | str | None = None,  # noqa: A002  (as run has it)
    stdin: Stdio = None,
    stdout: Stdio = PIPE,
    stderr: Stdio = PIPE,
    text: bool = False,
    encoding: str | None = None,
    max_output: int = MAX_OUTPUT,
    check: bool = False,
    backend: Backend,
    stepwise: Stepwise | None,
) -> Steps[Result[bytes | str]]:
    """The steps of `run`: with `stepwise` those of that backend, which is the same; without, it blocks."""
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
    verbs = Patient(backend) if stepwise is None else stepwise
    container_id = new_id()
    with Pipes(command.stdin_of(agreed, stdin), stdout, stderr, medium_of(backend)) as pipes:
        try:
            record = yield from making(verbs, container_id, agreed.args, options, pipes.given)
            pipes.release()
            with _Whole(backend, stepwise, record) as whole:
                yield from verbs.releasing(container_id, timeout=None, init=record.init)
                return (yield from command.finishing(whole, pipes, agreed, patient=stepwise is None))
        except StartError as error:
            command.note_that_it_never_ran(error, agreed)
            raise
        finally:
            yield from removing(verbs, container_id)


class _Whole:
    """A container that is there for one command: with it all ends."""

    killed = False

    def __init__(self, backend: Backend, stepwise: Stepwise | None, record: Record) -> None:
        self._backend = backend
        self._stepwise = stepwise
        self._record = record
        self._pidfd = backend.pidfd(record)

    def __enter__(self) -> _Whole:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pidfd is not None:
            medium_of(self._backend).close(self._pidfd)

    def fileno(self) -> int | None:
        return self._pidfd

    def wait(self, *, timeout: float | None) -> Exit | None:
        return self._backend.wait(self._record, timeout=timeout)

    def pidfds(self) -> list[int]:
        return [] if self._stepwise is None else self._stepwise.pidfds(self._record)

    def kill(self) -> None:
        self._backend.kill(self._record)

    def measure(self) -> Measured:
        return self._backend.measure(self._record)
