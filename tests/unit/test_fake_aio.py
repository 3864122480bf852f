"""asyncio on the fake: its time, and that of a loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from libcontainer_py import PIPE, ContainerTimeout, ExitStatus, Outcome, Status, aio
from libcontainer_py.testing.fake import FakeFactory
from libcontainer_py.testing.programs import eats_memory, exits, prints, reads_stdin, runs_forever


def cat(call):
    yield prints((yield reads_stdin()))


def test_a_life():
    async def story() -> None:
        fake = FakeFactory(program=exits(3, after=100))
        async with await fake.aio.create("web") as container:
            assert isinstance(container, aio.Container)
            assert fake.load("web").status is Status.CREATED
            await container.start()
            with pytest.raises(ContainerTimeout):
                await container.wait(60)
            assert fake.now() == 60
            assert await container.wait() == ExitStatus(3)
            assert fake.now() == 100
        assert fake.ids() == []

    begun = time.monotonic()
    asyncio.run(story())
    assert time.monotonic() - begun < 30  # the fake's hundred seconds took no time


def test_commands():
    async def story() -> None:
        fake = FakeFactory(programs={"cat": cat, "long": [prints(b"a"), runs_forever()], "hog": eats_memory("1G")})
        assert (await aio.run(["cat"], input="hi", text=True, factory=fake.aio)).stdout == "hi"
        assert (await aio.run(["hog"], memory="64M", factory=fake.aio)).outcome is Outcome.OOM
        with pytest.raises(ContainerTimeout) as raised:
            await aio.run(["long"], timeout=500, factory=fake.aio)
        assert raised.value.result is not None
        assert (raised.value.result.stdout, fake.now()) == (b"a", 500)
        async with aio.Sandbox(factory=fake.aio) as sandbox:
            process = await sandbox.spawn(["cat"], stdin=PIPE, stdout=PIPE)
            await process.write(b"x" * 200_000)
            process.write_eof()
            assert await process.communicate() == (b"x" * 200_000, b"")
        assert (fake.ids(), fake.memory.medium.opened) == ([], 0)

    asyncio.run(story())


def test_many_at_a_time():
    async def story() -> None:
        fake = FakeFactory(programs={"slow": exits(1, after=10), "fast": exits(2, after=1)})
        jobs = [["slow"], ["fast"]] * 10
        results = await aio.run_many(jobs, limit=20, factory=fake.aio)
        assert [result.returncode for result in results] == [1, 2] * 10
        assert fake.now() == 10  # all at the same time

    asyncio.run(story())


def test_tasks_in_turn():
    async def story() -> None:
        fake = FakeFactory()
        seen: list[tuple[float, str]] = []

        async def tick(name: str, seconds: float) -> None:
            for _ in range(3):
                await fake.aio.sleep(seconds)
                seen.append((fake.now(), name))

        await asyncio.gather(tick("a", 2), tick("b", 3))
        assert sorted(seen) == [(2, "a"), (3, "b"), (4, "a"), (6, "a"), (6, "b"), (9, "b")]
        assert [when for when, _ in seen] == sorted(when for when, _ in seen)

    asyncio.run(story())


def test_a_cancelled_command_leaves_nothing():
    async def story() -> None:
        fake = FakeFactory(program=runs_forever())
        fake.autojump = False
        task = asyncio.ensure_future(aio.run(["x"], factory=fake.aio))
        for _ in range(100):
            await asyncio.sleep(0)
        (container,) = fake.list()
        assert container.status is Status.RUNNING
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (fake.ids(), fake.memory.host.cgroups, fake.memory.medium.opened) == ([], {}, 0)

    asyncio.run(story())


def test_events_and_statistics():
    async def story() -> None:
        fake = FakeFactory(program=exits(0, after=5))
        container = await fake.aio.create("web")
        events = container.events()
        await container.start()
        assert [type(event).__name__ async for event in events] == ["Started", "Exited"]
        assert fake.now() == 5
        other = await fake.aio.create("other", program=runs_forever(cpus=1))
        await other.start()
        samples = other.watch_stats(10)
        assert round((await samples.__anext__()).cpu_percent) == 100
        events.close()

    asyncio.run(story())
