"""Steps, and who takes them: with poll, and with an event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from itertools import pairwise

import pytest

from libcontainer_py import waiting
from libcontainer_py.aio import loop
from libcontainer_py.waiting import Wait, insisting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libcontainer_py.waiting import Steps

pytestmark = pytest.mark.skipif(not hasattr(os, "eventfd"), reason="needs poll and descriptors of Linux")


def by_loop(steps: Steps[object]) -> object:
    return asyncio.run(loop.carry_out(steps))


@pytest.fixture(params=[waiting.carry_out, by_loop], ids=["poll", "loop"])
def take(request: pytest.FixtureRequest) -> Callable[[Steps[object]], object]:
    found: Callable[[Steps[object]], object] = request.param
    return found


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    before = os.listdir("/proc/self/fd")
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)
    assert os.listdir("/proc/self/fd") == before


def test_steps_that_wait_for_nothing(take: Callable[[Steps[object]], object]) -> None:
    def steps() -> Steps[int]:
        yield from ()
        return 3

    assert take(steps()) == 3


def test_what_is_ready_is_told(take: Callable[[Steps[object]], object], pipe: tuple[int, int]) -> None:
    def steps() -> Steps[list[frozenset[int]]]:
        answers = [(yield Wait((pipe[0],), (pipe[1],)))]
        os.write(pipe[1], b"x")
        answers.append((yield Wait((pipe[0],))))
        return answers

    assert take(steps()) == [{pipe[1]}, {pipe[0]}]


def test_the_time_comes(take: Callable[[Steps[object]], object], pipe: tuple[int, int]) -> None:
    def steps() -> Steps[frozenset[int]]:
        until = time.monotonic() + 0.05
        answer = frozenset[int]()
        while not answer and time.monotonic() < until:
            answer = yield Wait((pipe[0],), until=until)
        return answer

    begun = time.monotonic()
    assert take(steps()) == frozenset()
    assert 0.05 <= time.monotonic() - begun < 5


def test_a_time_that_is_past(take: Callable[[Steps[object]], object]) -> None:
    def steps() -> Steps[frozenset[int]]:
        return (yield Wait(until=0.0))

    assert take(steps()) == frozenset()


def test_what_cannot_be_waited_for_is_thrown_into_the_steps(take: Callable[[Steps[object]], object]) -> None:
    def broken() -> Steps[str]:
        try:
            yield Wait(("no descriptor",))  # type: ignore[arg-type]  # that is the test
        except TypeError:
            yield Wait(until=0.0)  # and they may go on waiting
            return "told"
        return ""

    assert take(broken()) == "told"


def test_errors_of_the_steps_come_out(take: Callable[[Steps[object]], object]) -> None:
    def steps() -> Steps[None]:
        yield Wait(until=0.0)
        raise LookupError("x")

    with pytest.raises(LookupError):
        take(steps())


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_a_cancellation_is_thrown_in_and_the_cleaning_up_is_not_interrupted(pipe: tuple[int, int]) -> None:
    said: list[str] = []

    def steps() -> Steps[None]:
        try:
            said.append("waits")
            yield Wait((pipe[0],))
        finally:
            until = time.monotonic() + 0.05
            while time.monotonic() < until:
                said.append("cleans")
                yield Wait(until=until)
            said.append("clean")

    async def story() -> None:
        task = asyncio.ensure_future(loop.carry_out(steps()))
        while said != ["waits"]:  # noqa: ASYNC110  (turns of the loop)
            await asyncio.sleep(0)
        for seen in (["waits"], ["waits", "cleans"], ["waits", "cleans", "cleans"]):
            assert said == seen
            task.cancel()
            while said == seen and not task.done():  # noqa: ASYNC110
                await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert said[-1] == "clean"

    asyncio.run(story())


def test_a_coroutine_that_is_closed_cleans_up_without_its_loop(pipe: tuple[int, int]) -> None:
    said: list[str] = []

    def steps() -> Steps[None]:
        try:
            yield Wait((pipe[0],))
        finally:
            yield Wait(until=time.monotonic())
            said.append("clean")

    async def story() -> None:
        coroutine = loop.carry_out(steps())
        coroutine.send(None)
        coroutine.close()
        assert said == ["clean"]

    asyncio.run(story())


def test_several_wait_for_the_same(pipe: tuple[int, int]) -> None:
    async def story() -> None:
        tasks = [asyncio.ensure_future(loop.ready(Wait((pipe[0],)))) for _ in range(3)]
        gone = asyncio.ensure_future(loop.ready(Wait((pipe[0],))))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        os.write(pipe[1], b"x")
        assert await asyncio.gather(*tasks) == [{pipe[0]}] * 3

    asyncio.run(story())


def test_one_takes_a_turn_each_time_around_the_loop() -> None:
    async def story() -> None:
        taken: list[int] = []

        async def take(number: int) -> None:
            await loop.turn()
            taken.append(number)

        tasks = [asyncio.ensure_future(take(number)) for number in range(5)]
        tasks[1].cancel()
        seen: list[int] = []
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            seen.append(len(taken))
        assert taken == [0, 2, 3, 4]
        assert all(after - before <= 1 for before, after in pairwise(seen))

    asyncio.run(story())


def test_steps_begin_at_once() -> None:
    said: list[str] = []

    def steps() -> Steps[None]:
        try:
            yield Wait()
        finally:
            said.append("clean")

    async def story() -> None:
        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                task.cancel()  # once more, before it begins to clean up
                await loop.carry_out(steps())

        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert said == ["clean"]

    asyncio.run(story())


def test_an_interrupt_is_told_after_steps_that_insist() -> None:
    begun: list[int] = []

    def steps() -> Steps[None]:
        begun.append(1)
        yield Wait(until=0.0)
        begun.append(2)

    def interrupted() -> Steps[None]:
        inner = insisting(steps)
        next(inner)
        yield inner.throw(KeyboardInterrupt())
        yield from inner

    with pytest.raises(KeyboardInterrupt):
        waiting.carry_out(interrupted())
    assert begun == [1, 1, 2]


def test_steps_that_insist_fail_once() -> None:
    begun: list[int] = []

    def steps() -> Steps[None]:
        begun.append(1)
        yield Wait(until=0.0)
        raise LookupError("x")

    with pytest.raises(LookupError):
        waiting.carry_out(insisting(steps))
    assert begun == [1]
