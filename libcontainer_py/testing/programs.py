r"""What a program of a `FakeFactory` does, told in words: `exits(3, after=2.5)`, `[prints(b"up\n"), runs_forever()]`.

A program is one of these, or a sequence of them, each beginning where the one before it went on, or a callable. That is
given the `Call` (words, environment, pid, clock), and gives back an exit code, None for 0, or a program. A generator
function gives several, one after the other, and is sent what each gave::

    def cat(call: Call) -> Iterator[Program]:
        given = yield reads_stdin()
        yield prints(given)

Where an exception comes out of a callable, the traceback is what the program writes to stderr, and it exits with 1.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from math import inf
from typing import TYPE_CHECKING, NamedTuple, cast

from libcontainer_py.backends.base import Failure
from libcontainer_py.backends.memory.processes import MemoryProgram
from libcontainer_py.backends.memory.scripts import Call, Die, Eat, Handle, Read, Sleep, Start, Work, Write
from libcontainer_py.process import signal_number
from libcontainer_py.sandbox.options import bytes_of

if TYPE_CHECKING:
    from typing import TypeAlias

    from libcontainer_py.backends.memory.scripts import Act, Script

    Acts: TypeAlias = "Generator[Act, object, object]"
    Plain: TypeAlias = "Generator[Act, object, None]"
    AnyProgram: TypeAlias = "Program | Sequence[AnyProgram] | Callable[[Call], object]"

__all__ = [
    "Call",
    "Program",
    "cannot_run",
    "dies",
    "eats_memory",
    "ends_on",
    "exits",
    "ignores",
    "is_missing",
    "prints",
    "reads_stdin",
    "runs_forever",
    "sleeps",
    "starts",
    "works",
]

_EACCES = 13


class _End(NamedTuple):
    """It ends here, with this exit code."""

    code: int


class Program:
    """A part of what a program does, from one of the functions of this module."""

    __slots__ = ("_acts", "_text", "failure", "found")

    def __init__(
        self, text: str, acts: Callable[[], Acts], *, failure: Failure | None = None, found: bool = True
    ) -> None:
        self._text = text
        self._acts = acts
        self.failure: Failure | None = failure
        """Why the kernel does not execute it, where it does not."""
        self.found: bool = found
        """Whether there is such a file."""

    def __repr__(self) -> str:
        return self._text

    def acts(self) -> Acts:
        """What it does, once more from the beginning."""
        return self._acts()


def exits(code: int = 0, *, after: float = 0.0) -> Program:
    """End with this exit code, `after` seconds."""

    def acts() -> Acts:
        if after:
            yield Sleep(after)
        return _End(code)

    return Program(f"exits({code}{_after(after)})", acts)


def dies(sig: int | str, *, after: float = 0.0) -> Program:
    """End by a signal of its own, as after a fault of memory: SIGSEGV. `after` seconds."""
    number = signal_number(sig)

    def acts() -> Plain:
        if after:
            yield Sleep(after)
        yield Die(number)

    return Program(f"dies({sig!r}{_after(after)})", acts)


def prints(data: bytes = b"", *, stderr: bytes = b"", after: float = 0.0) -> Program:
    """Write to stdout, and to stderr, and go on when all was taken. `after` seconds."""

    def acts() -> Plain:
        if after:
            yield Sleep(after)
        if data:
            yield Write("stdout", data)
        if stderr:
            yield Write("stderr", stderr)

    return Program(f"prints({data!r}{f', stderr={stderr!r}' if stderr else ''}{_after(after)})", acts)


def reads_stdin(most: int | None = None) -> Program:
    """Read standard input to its end, or, given `most`, so many bytes as are there. A generator is sent the bytes."""

    def acts() -> Acts:
        return (yield Read(most))

    return Program(f"reads_stdin({'' if most is None else most})", acts)


def sleeps(seconds: float) -> Program:
    """Do nothing for a while, and go on."""

    def acts() -> Plain:
        yield Sleep(seconds)

    return Program(f"sleeps({seconds:g})", acts)


def works(seconds: float, *, cpus: float = 1.0) -> Program:
    """Use so much processor time, `cpus` processors at a time, and go on. With a quota it takes longer."""

    def acts() -> Plain:
        yield Work(seconds, cpus)

    return Program(f"works({seconds:g}, cpus={cpus:g})", acts)


def runs_forever(*, cpus: float = 0.0) -> Program:
    """Run until it is killed, and use so many processors meanwhile."""

    def acts() -> Plain:
        yield Work(inf, cpus) if cpus else Sleep(inf)

    return Program(f"runs_forever({f'cpus={cpus:g}' if cpus else ''})", acts)


def ignores(*signals: int | str) -> Program:
    """Ignore these signals from now on. Who is pid 1 of a container ignores all that it has no handler for anyway."""
    numbers = frozenset(map(signal_number, signals))

    def acts() -> Plain:
        yield Handle(numbers)

    return Program(f"ignores({', '.join(map(repr, signals))})", acts)


def ends_on(*signals: int | str, code: int = 0) -> Program:
    """From now on end with this exit code when one of these signals comes, as servers do at SIGTERM."""
    numbers = frozenset(map(signal_number, signals))

    def acts() -> Plain:
        yield Handle(numbers, code)

    return Program(f"ends_on({', '.join(map(repr, signals))}, code={code})", acts)


def eats_memory(size: int | str) -> Program:
    """Have so much more memory: bytes, or "64M" as `run` takes it. It is killed where that is more than it may have."""
    count = bytes_of(size)

    def acts() -> Plain:
        yield Eat(count)

    return Program(f"eats_memory({size!r})", acts)


def starts(processes: int) -> Program:
    """Start so many processes, which run until they are killed; where there may not be so many, complain and exit 1."""

    def acts() -> Acts:
        if not (yield Start(processes)):
            yield Write("stderr", b"cannot fork: Resource temporarily unavailable\n")
            return _End(1)
        return None

    return Program(f"starts({processes})", acts)


def is_missing() -> Program:
    """There is no such program: create, or spawn, raises ProgramNotFound."""
    return Program("is_missing()", _nothing, found=False)


def cannot_run(errno: int = _EACCES, text: str = "permission denied") -> Program:
    """The kernel does not execute it: start raises StartError, or ProgramNotFound for ENOENT and EACCES."""
    return Program(f"cannot_run({errno})", _nothing, failure=Failure("execute", errno, text))


def memory_program(given: AnyProgram | None) -> MemoryProgram:
    """As the memory backend has it; None runs until it is killed. Raises TypeError for what is no program."""
    if given is None:
        return MemoryProgram()
    if isinstance(given, Program) and (given.failure is not None or not given.found):
        return MemoryProgram(failure=given.failure, found=given.found)
    _check(given)

    def script(call: Call) -> Script:
        ended = yield from _acts(given, call)
        return ended.code if isinstance(ended, _End) else 0

    return MemoryProgram(script=script)


def _parts(given: object) -> Sequence[object] | None:
    """Those of a sequence; None: it is none."""
    return (
        cast("Sequence[object]", given) if isinstance(given, Sequence) and not isinstance(given, (str, bytes)) else None
    )


def _check(given: object) -> None:
    parts = _parts(given)
    if parts is not None:
        for one in parts:
            _check(one)
    elif not isinstance(given, Program) and not callable(given):
        raise TypeError(f"a program is a Program, a sequence of them or a callable, not {given!r}")


def _acts(given: object, call: Call) -> Acts:
    """The acts of whatever is a program; returns an _End, or what the last part of it gave."""
    if isinstance(given, Program):
        return (yield from given.acts())
    parts = _parts(given)
    if parts is not None:
        ended: object = None
        for one in parts:
            ended = yield from _acts(one, call)
            if isinstance(ended, _End):
                break
        return ended
    if callable(given):
        given = given(call)
    if isinstance(given, Generator):
        return (yield from _ask(cast("Generator[object, object, object]", given), call))
    if given is None or isinstance(given, int):
        return _End(given or 0)
    _check(given)
    return (yield from _acts(given, call))


def _ask(generator: Generator[object, object, object], call: Call) -> Acts:
    """The acts of the programs that it yields."""
    sent: object = None
    try:
        while True:
            try:
                part = generator.send(sent)
            except StopIteration as stop:
                return (yield from _acts(stop.value, call))
            sent = yield from _acts(part, call)
            if isinstance(sent, _End):
                return sent
    finally:
        generator.close()


def _nothing() -> Plain:
    yield from ()


def _after(seconds: float) -> str:
    return f", after={seconds:g}" if seconds else ""
