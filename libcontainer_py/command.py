"""One command from its start to its end: fed, read, bounded, and told how it ended.

`run()`, `Sandbox.run()` and `Container.run()` differ in what runs: a container of its own, or a process in one. What
they share is here; what runs, they give as `Running`. As steps (see `waiting`), so that asyncio's twins share it too.
"""

from __future__ import annotations

import codecs
from math import inf
from typing import NamedTuple

from libcontainer_py.errors import ContainerError, ContainerTimeout
from libcontainer_py.result import Outcome, Result, Usage, outcome_of
from libcontainer_py.streams import PIPE, Capture, Exchange
from libcontainer_py.waiting import Wait, carry_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from libcontainer_py.backends.base import Exit, Measured
    from libcontainer_py.errors import StartError
    from libcontainer_py.pipes import Pipes, Stdio
    from libcontainer_py.waiting import Medium, Steps

    class Ends(Protocol):
        """Something that ends."""

        def wait(self, *, timeout: float | None) -> Exit | None:
            """Wait for its end; None: not within `timeout` seconds."""
            ...

        def pidfds(self) -> list[int]:
            """Descriptors of which one is readable when it is worth asking `wait` again; the caller closes them."""
            ...

    class Running(Ends, Protocol):
        """A command that runs."""

        @property
        def killed(self) -> bool:
            """Whether we sent it SIGKILL while it ran, other than by `kill`."""
            ...

        def fileno(self) -> int | None:
            """A descriptor that is readable when everybody who has its streams is gone; None: there is none."""
            ...

        def kill(self) -> None:
            """SIGKILL to it and to all that it started."""
            ...

        def measure(self) -> Measured:
            """What its cgroup has counted since it runs."""
            ...


KILL_TIMEOUT = 10.0
"""Seconds in which a killed command ends, unless it hangs in the kernel."""
_SIGKILL = 9
_ENOENT = 2
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127


class Terms(NamedTuple):
    """What was agreed on before a command runs."""

    args: tuple[str, ...]
    given: bytes | None
    """Its standard input, where we feed it."""
    encoding: str | None
    """How its output becomes text; None: it stays bytes."""
    max_output: int
    timeout: float | None
    check: bool


def terms(
    args: Sequence[str],
    *,
    input: bytes | str | None,  # noqa: A002  (subprocess calls it so)
    stdin: Stdio,
    text: bool,
    encoding: str | None,
    max_output: int,
    timeout: float | None,
    check: bool,
) -> Terms:
    """Look the arguments of a `run` through. Raises TypeError, ValueError, LookupError (an unknown encoding)."""
    if isinstance(args, (str, bytes)):
        raise TypeError(f"args is a sequence of words, not {args!r}: there is no shell")
    if not args:
        raise ValueError("args are empty: the first one names the program")
    if input is not None and stdin not in (None, PIPE):
        raise ValueError("give stdin or input, not both")
    if max_output < 0:
        raise ValueError(f"max_output is a number of bytes, not {max_output}")
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout is a number of seconds, not {timeout}")
    if encoding is None and text:
        encoding = "utf-8"
    if encoding is not None:
        codecs.lookup(encoding)  # before anything runs
    given = input
    if isinstance(given, str):
        if encoding is None:
            raise TypeError("input is text: give text=True or an encoding, or encode it")
        given = given.encode(encoding)
    elif given is None and stdin == PIPE:
        given = b""
    return Terms(tuple(args), None if given is None else bytes(given), encoding, max_output, timeout, check)


def stdin_of(agreed: Terms, stdin: Stdio) -> Stdio:
    """What the command gets as standard input."""
    return stdin if agreed.given is None else PIPE


def finish(running: Running, pipes: Pipes, agreed: Terms) -> Result[bytes | str]:
    """Feed and read a command that has just started, until it ends or its time is up; then it is killed.

    Raises ContainerTimeout, and CommandFailed where that was asked for, both with the result.
    """
    return carry_out(finishing(running, pipes, agreed, patient=True), pipes.medium)


def finishing(running: Running, pipes: Pipes, agreed: Terms, *, patient: bool) -> Steps[Result[bytes | str]]:
    """The steps of `finish`; `patient`: it blocks where it waits for an end, on the clock of the backend."""
    medium = pipes.medium
    begun = medium.now()
    deadline = inf if agreed.timeout is None else begun + agreed.timeout
    exchange = Exchange(given=agreed.given, outputs=pipes.outputs, deadline=deadline)
    captured = {"stdout": Capture(agreed.max_output), "stderr": Capture(agreed.max_output)}
    gone = running.fileno()
    while not exchange.over and exchange.left(medium.now()):
        descriptors = yield pipes.wants(exchange, ended=gone)
        for name, chunk in pipes.step(exchange, descriptors, ended=gone):
            captured[name].take(chunk)
    ended = (yield from ending(running, deadline, medium, patient=patient)) if exchange.over else None
    timed_out = ended is None
    if ended is None:
        running.kill()
        ended = yield from ending(running, medium.now() + KILL_TIMEOUT, medium, patient=patient)
        for name, chunk in pipes.rest(exchange):
            captured[name].take(chunk)
    duration = medium.now() - begun
    if ended is None:
        raise ContainerTimeout(
            f"command {agreed.args[0]!r} did not end within {KILL_TIMEOUT:g} s of SIGKILL",
            timeout=KILL_TIMEOUT,
            hint="it may hang in the kernel (state D in ps)",
        )
    result = _result(agreed, captured, ended, running, timed_out=timed_out, duration=duration)
    if timed_out:
        timeout = ContainerTimeout(
            f"command {agreed.args[0]!r} did not end within {agreed.timeout:g} s, and was killed",
            timeout=agreed.timeout,
            released=True,
        )
        timeout.result = result
        raise timeout
    if agreed.check:
        result.check_returncode()
    return result


def ending(running: Ends, deadline: float, medium: Medium, *, patient: bool) -> Steps[Exit | None]:
    """Wait for its end; None: the deadline has come."""
    if patient:
        left = max(0.0, deadline - medium.now())
        return running.wait(timeout=None if left == inf else left)
    while (ended := running.wait(timeout=0)) is None and (now := medium.now()) < deadline:
        descriptors = running.pidfds()
        try:
            yield Wait(tuple(descriptors), until=min(deadline, now + medium.longest_wait))
        finally:
            for descriptor in descriptors:
                medium.close(descriptor)
    return ended


def _result(
    agreed: Terms, captured: dict[str, Capture], ended: Exit, running: Running, *, timed_out: bool, duration: float
) -> Result[bytes | str]:
    measured = running.measure()
    returncode = ended.returncode
    if returncode is None:
        if not timed_out and not running.killed:
            raise ContainerError(
                f"how command {agreed.args[0]!r} ended cannot be known: somebody else reaped it",
                hint="does this process ignore SIGCHLD, or wait for any child? Linux 6.15 would tell all the same",
            )
        returncode = -_SIGKILL
    return Result(
        args=agreed.args,
        returncode=returncode,
        stdout=_decoded(captured["stdout"], agreed.encoding),
        stderr=_decoded(captured["stderr"], agreed.encoding),
        outcome=outcome_of(
            returncode=returncode, timed_out=timed_out, killed=running.killed, oom_kills=measured.oom_kills
        ),
        duration=duration,
        usage=Usage(
            cpu_seconds=ended.cpu_seconds,
            peak_memory_bytes=measured.peak_memory or ended.peak_memory,
        ),
        oom_kills=measured.oom_kills,
        truncated=any(one.dropped for one in captured.values()),
    )


def _decoded(capture: Capture, encoding: str | None) -> bytes | str:
    data = capture.value()
    return data if encoding is None else data.decode(encoding, "replace")


def note_that_it_never_ran(error: StartError, agreed: Terms) -> None:
    """Give the error of a start its `result`."""
    error.result = Result(
        args=agreed.args,
        returncode=_NOT_FOUND if error.errno == _ENOENT else _NOT_EXECUTABLE,
        stdout=_decoded(Capture(0), agreed.encoding),
        stderr=_decoded(Capture(0), agreed.encoding),
        outcome=Outcome.START_FAILED,
    )
