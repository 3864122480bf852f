"""Waiting, taken out of what waits: verbs as steps that say what they wait for, and are told when it is there.

`Steps` are a generator that yields a `Wait` each time it cannot go on, is sent those of its descriptors that have
become ready, and returns its result. `carry_out` drives it with poll, `aio` with an event loop: so each procedure is
written once, and blocks nobody by itself. Who drives it may send nothing ready before the time has come; it looks
again then. An interrupt is thrown into it where it waits, and it may wait for more while it cleans up.

What time is, and what a descriptor, a `Medium` says: the kernel's, or that of a backend which has its own.
"""

from __future__ import annotations

import io
import os
import select
import time
from math import inf

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from libcontainer_py.plain import NamedTuple, Protocol
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import NamedTuple, NoReturn, Protocol, TypeAlias, TypeVar  # noqa: TC004  (at run time plain has them)

    from libcontainer_py.backends.base import Backend

    Value = TypeVar("Value")


class Wait(NamedTuple):
    """Until one of these descriptors is ready, or the time has come."""

    reading: tuple[int, ...] = ()
    writing: tuple[int, ...] = ()
    until: float = inf
    """On the clock of the medium."""


if TYPE_CHECKING:
    Steps: TypeAlias = Generator[Wait, frozenset[int], Value]


class Medium(Protocol):
    """What time is, and what a descriptor."""

    @property
    def longest_wait(self) -> float:
        """Seconds after which one looks again for the end of a process, whatever its descriptors say.

        Another thread may have let somebody join the container, who has to be reaped before its init can end.
        """
        ...

    def now(self) -> float:
        """Its clock, seconds, which only goes forward."""
        ...

    def ready(self, wait: Wait) -> frozenset[int]:
        """Wait for it: the descriptors that are ready, or have an error to tell; none: the time has come."""
        ...

    def pipe(self) -> tuple[int, int]:
        """A new pipe: the end to read from, and the one to write to."""
        ...

    def unblock(self, descriptor: int) -> None:
        """Reading from it and writing to it raises BlockingIOError from now on, where it would have to wait."""
        ...

    def read(self, descriptor: int, count: int) -> bytes:
        """Some bytes, `count` at most; b"" at the end. Raises BlockingIOError."""
        ...

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """How many bytes were taken. Raises BlockingIOError, BrokenPipeError."""
        ...

    def capacity(self, descriptor: int) -> int:
        """How many bytes can lie in that pipe."""
        ...

    def file(self, descriptor: int, mode: str) -> io.RawIOBase:
        """A file that has this descriptor, which is its own from now on; "rb" or "wb"."""
        ...

    def duplicate(self, descriptor: int) -> int:
        """Another descriptor of the same, which the caller closes."""
        ...

    def close(self, descriptor: int) -> None:
        """Close it."""
        ...


class Imagined(Medium, Protocol):
    """One whose clock is not that of this system; an event loop cannot wait for what is in it, and asks."""

    def look(self, wait: Wait) -> frozenset[int] | None:
        """What `ready` would give now; None: it would wait."""
        ...

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have it called whenever something changed, in any thread, until what this returns is called."""
        ...

    def expect(self, wait: Wait) -> Callable[[], None]:
        """Say that somebody waits for this, until what it returns is called."""
        ...

    def jump(self) -> bool:
        """Let time pass until something happens, where all wait; whether it did."""
        ...


class Kernel:
    """The medium of this system."""

    longest_wait: float = 1.0

    def now(self) -> float:
        """time.monotonic()."""
        return time.monotonic()

    def ready(self, wait: Wait) -> frozenset[int]:
        """Wait for it with poll."""
        poll = select.poll()
        for descriptor in wait.reading:
            poll.register(descriptor, select.POLLIN)
        for descriptor in wait.writing:
            poll.register(descriptor, select.POLLOUT)
        left = None if wait.until == inf else max(0.0, wait.until - time.monotonic()) * 1000
        return frozenset(descriptor for descriptor, _ in poll.poll(left))

    def pipe(self) -> tuple[int, int]:
        """See pipe(2)."""
        return os.pipe()

    def unblock(self, descriptor: int) -> None:
        """O_NONBLOCK."""
        os.set_blocking(descriptor, False)

    def read(self, descriptor: int, count: int) -> bytes:
        """See read(2)."""
        return os.read(descriptor, count)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """See write(2)."""
        return os.write(descriptor, data)

    def capacity(self, descriptor: int) -> int:
        """F_GETPIPE_SZ."""
        import fcntl  # noqa: PLC0415  (not there on other systems)

        return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)

    def file(self, descriptor: int, mode: str) -> io.RawIOBase:
        """An unbuffered one."""
        return io.FileIO(descriptor, mode)

    def duplicate(self, descriptor: int) -> int:
        """See dup(2)."""
        return os.dup(descriptor)

    def close(self, descriptor: int) -> None:
        """See close(2)."""
        os.close(descriptor)


KERNEL = Kernel()


def medium_of(backend: Backend) -> Medium:
    """The one that a backend has as `medium`; without such a thing it is the kernel's."""
    medium: Medium = getattr(backend, "medium", KERNEL)
    return medium


def carry_out(steps: Steps[Value], medium: Medium = KERNEL) -> Value:
    """Take the steps to their end, waiting where they wait."""
    try:
        _go_on(steps, next(steps), medium)
    except StopIteration as stop:
        value: Value = stop.value
        return value


def abandon(steps: Steps[object], error: BaseException, medium: Medium = KERNEL) -> None:
    """Throw an error into steps that were begun, and take them to their end, which is that error."""
    try:
        _go_on(steps, steps.throw(error), medium)
    except (StopIteration, type(error)):
        pass


def _go_on(steps: Steps[object], wait: Wait, medium: Medium) -> NoReturn:
    """Take further steps; ends with StopIteration."""
    while True:
        try:
            answer = medium.ready(wait)
        except BaseException as error:  # noqa: BLE001  (thrown into the steps, which clean up and raise it again)
            wait = steps.throw(error)
        else:
            wait = steps.send(answer)


def insisting(begin: Callable[[], Steps[None]]) -> Steps[None]:
    """Steps that come to their end: who interrupts them, or cancels them, is told when they were taken once more."""
    try:
        yield from begin()
    except Exception:
        raise
    except BaseException:
        yield from begin()
        raise
