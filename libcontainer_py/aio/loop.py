"""Takes the steps of a verb with an event loop of asyncio."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections import deque
from math import inf
from typing import cast

from libcontainer_py import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from libcontainer_py.backends.base import Backend, Stepwise
    from libcontainer_py.waiting import Imagined, Medium, Steps, Wait

    Value = TypeVar("Value")
    Queue = deque[asyncio.Future[None]]

_queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Queue] = weakref.WeakKeyDictionary()
"""Of each loop, who waits for his turn."""


async def turn() -> None:
    """Wait until it is our turn to take some milliseconds: one has it each time around the loop, so that all go on."""
    loop = asyncio.get_running_loop()
    queue = _queues.get(loop)
    if queue is None:
        queue = _queues[loop] = deque()
    ours: asyncio.Future[None] = loop.create_future()
    queue.append(ours)
    if len(queue) == 1:
        loop.call_soon(_next, loop, queue)
    await ours


def _next(loop: asyncio.AbstractEventLoop, queue: Queue) -> None:
    while queue and queue[0].done():
        del queue[0]  # it was cancelled
    if queue:
        queue.popleft().set_result(None)
    if queue:
        loop.call_soon(_next, loop, queue)


_ROUNDS = 10
"""How often an event loop goes around before an imagined clock jumps: as long as it takes others to come to wait."""


async def ready(wait: Wait, medium: Medium = waiting.KERNEL) -> frozenset[int]:
    """Wait for it: the descriptors that are ready; none: the time has come.

    A loop has one reader of a descriptor. So it gets another one of each, and several tasks can wait for the same.
    """
    if medium is not waiting.KERNEL:
        return await _imagine(wait, cast("Imagined", medium))
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()
    found: set[int] = set()
    opened: list[int] = []

    def tell(descriptor: int | None = None) -> None:
        if descriptor is not None:
            found.add(descriptor)
        if not told.done():
            told.set_result(None)

    timer = None if wait.until == inf else loop.call_later(max(0.0, wait.until - time.monotonic()), tell)
    try:
        for descriptors, add in ((wait.reading, loop.add_reader), (wait.writing, loop.add_writer)):
            for descriptor in descriptors:
                opened.append(os.dup(descriptor))
                add(opened[-1], tell, descriptor)
        await told
    finally:
        if timer is not None:
            timer.cancel()
        for descriptor in opened:
            loop.remove_reader(descriptor)
            loop.remove_writer(descriptor)
            os.close(descriptor)
    return frozenset(found)


async def _imagine(wait: Wait, medium: Imagined) -> frozenset[int]:
    """Wait for what no loop can wait for: look, let others go on, and let time jump when nobody does anything."""
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    forget = medium.expect(wait)
    ignore = medium.listen(lambda: _call(loop, changed.set))
    try:
        while (found := medium.look(wait)) is None:
            changed.clear()
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)
                if changed.is_set():
                    break
            else:
                if medium.look(wait) is None and not medium.jump():
                    await changed.wait()
        return found
    finally:
        ignore()
        forget()


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """From any thread; a loop that was closed needs to hear of nothing."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


async def carry_out(steps: Steps[Value], medium: Medium = waiting.KERNEL) -> Value:
    """Take the steps to their end. A cancellation is thrown into them, and they clean up, which no other interrupts.

    They begin at once, since they may be somebody's cleaning up, which has to begin.
    """
    cancelled = False
    try:
        wait = next(steps)
        while True:
            try:
                answer = await ready(wait, medium)
                await turn()
            except asyncio.CancelledError as error:
                wait = steps.send(frozenset()) if cancelled else steps.throw(error)
                cancelled = True
            except GeneratorExit:
                # the loop was closed on us, and nothing can be awaited any more
                waiting.abandon(steps, asyncio.CancelledError(), medium)
                raise
            except BaseException as error:  # noqa: BLE001  (thrown into the steps, which raise it again)
                wait = steps.throw(error)
            else:
                wait = steps.send(answer)
    except StopIteration as stop:
        value: Value = stop.value
        return value


def stepwise(backend: Backend) -> Stepwise:
    """The same, where its verbs can be had as steps. Raises TypeError."""
    if not all(hasattr(backend, name) for name in ("creating", "releasing", "updating", "destroying", "pidfds")):
        raise TypeError(f"{type(backend).__name__} has no steps for an event loop: see libcontainer_py.backends.base")
    return cast("Stepwise", backend)
