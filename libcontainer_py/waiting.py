"""Waiting, taken out of what waits: verbs as steps that say what they wait for, and are told when it is there.

`Steps` are a generator that yields a `Wait` each time it cannot go on, is sent those of its descriptors that have
become ready, and returns its result. `carry_out` drives it with poll, `aio` with an event loop: so each procedure is
written once, and blocks nobody by itself. Who drives it may send nothing ready before the time has come; it looks
again then. An interrupt is thrown into it where it waits, and it may wait for more while it cleans up.
"""

from __future__ import annotations

import select
import time
from math import inf
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import NoReturn, TypeAlias, TypeVar

    Value = TypeVar("Value")


class Wait(NamedTuple):
    """Until one of these descriptors is ready, or the time has come."""

    reading: tuple[int, ...] = ()
    writing: tuple[int, ...] = ()
    until: float = inf
    """On time.monotonic()."""


if TYPE_CHECKING:
    Steps: TypeAlias = Generator[Wait, frozenset[int], Value]


def ready(wait: Wait) -> frozenset[int]:
    """Wait for it with poll: the descriptors that are ready, or have an error to tell; none: the time has come."""
    poll = select.poll()
    for descriptor in wait.reading:
        poll.register(descriptor, select.POLLIN)
    for descriptor in wait.writing:
        poll.register(descriptor, select.POLLOUT)
    left = None if wait.until == inf else max(0.0, wait.until - time.monotonic()) * 1000
    return frozenset(descriptor for descriptor, _ in poll.poll(left))


def carry_out(steps: Steps[Value]) -> Value:
    """Take the steps to their end, waiting where they wait."""
    try:
        _go_on(steps, next(steps))
    except StopIteration as stop:
        value: Value = stop.value
        return value


def abandon(steps: Steps[object], error: BaseException) -> None:
    """Throw an error into steps that were begun, and take them to their end, which is that error."""
    try:
        _go_on(steps, steps.throw(error))
    except (StopIteration, type(error)):
        pass


def _go_on(steps: Steps[object], wait: Wait) -> NoReturn:
    """Take further steps; ends with StopIteration."""
    while True:
        try:
            answer = ready(wait)
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
