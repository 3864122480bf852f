"""The verbs for asyncio over the memory backend: the loop goes on, and what they say is what the other face says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from libcontainer_py import (
    ConfigError,
    ContainerExists,
    ContainerNotFound,
    ContainerTimeout,
    Exited,
    ExitStatus,
    IllegalOperation,
    MemoryBackend,
    OomKill,
    Spec,
    Started,
    StartError,
    Status,
    aio,
)
from libcontainer_py.backends.base import Failure
from libcontainer_py.backends.memory import MemoryProgram
from libcontainer_py.spec import Linux, Namespace, Pids, Process, Resources, Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs an event loop that waits for pipes")

SPEC = Spec(
    root=Root(path="rootfs"),
    process=Process(args=("true",), cwd="/"),
    linux=Linux(namespaces=(Namespace(type="pid"), Namespace(type="mount"))),
)
SIGSTOP, SIGCONT = 19, 18


@pytest.fixture(autouse=True)
def no_descriptor_stays_open() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


async def turns(count: int = 20) -> None:
    """Let the loop go on."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_life() -> None:
    async def story() -> None:
        backend = MemoryBackend()
        factory = aio.Factory(backend=backend)
        async with await factory.create("web", SPEC) as container:
            assert repr(container) == "<Container 'web' in '/run/memory'>"
            assert (container.id, container.bundle) == ("web", container.directory)
            async with container.events() as events:
                await container.start()
                assert await events.next() == Started("web")
                waiting = asyncio.ensure_future(container.wait())
                await turns()
                assert not waiting.done()
                further = await container.spawn(["x"])
                assert container.processes() == [container.init_pid, further.pid]
                await container.update(Resources(pids=Pids(limit=5)))
                assert container.state().status == "running"
                backend.host.run_out_of_memory(backend.load("web").init)
                assert await waiting == ExitStatus(-9, oom_kills=1)
                assert await further.wait() == -9
                found = [event async for event in events]
                assert OomKill("web", 1) in found
                assert (found[-1], events.ended) == (Exited("web", ExitStatus(-9, oom_kills=1)), True)
            assert await container.wait() == ExitStatus(-9, oom_kills=1)
        assert factory.ids() == []

    asyncio.run(story())


def test_errors_are_those_of_the_other_face() -> None:
    async def story() -> None:
        factory = aio.Factory(backend=MemoryBackend())
        container = await factory.create("web", SPEC)
        with pytest.raises(ContainerExists):
            await factory.create("web", SPEC)
        with pytest.raises(ContainerNotFound):
            factory.load("other")
        with pytest.raises(ContainerNotFound):
            await factory.delete("other")
        with pytest.raises(TypeError, match="a bundle is"):
            await factory.create("other", 5)  # type: ignore[arg-type]  # that is the test
        with pytest.raises(TypeError, match="resources are"):
            await container.update(5)  # type: ignore[arg-type]  # that is the test
        with pytest.raises(ConfigError):
            await container.update(Resources.from_dict({"devices": [{"allow": False}]}))
        with pytest.raises(IllegalOperation, match="container not paused"):
            await container.resume()
        await container.start()
        with pytest.raises(IllegalOperation, match="cannot delete container web that is not stopped"):
            await container.delete()
        await factory.delete("web", force=True)
        await factory.delete("web", force=True)
        with pytest.raises(IllegalOperation, match="cannot start a container that has stopped"):
            await container.start()
        with pytest.raises(ContainerNotFound):
            await container.exec()
        with pytest.raises(TypeError, match=r"Factory\.create"):
            aio.Container()
        with pytest.raises(TypeError, match=r"Container\.spawn"):
            aio.ContainerProcess()

    asyncio.run(story())


def test_a_program_that_does_not_run() -> None:
    async def story() -> None:
        program = MemoryProgram(failure=Failure("execve", 8, "exec format error"))
        factory = aio.Factory(backend=MemoryBackend(program=program))
        async with await factory.create("web", SPEC) as container:
            with pytest.raises(StartError, match="exec format error"):
                await container.start()
            assert container.status is Status.STOPPED

    asyncio.run(story())


def test_an_init_that_does_not_come_to_the_fifo() -> None:
    async def story() -> None:
        backend = MemoryBackend()
        async with await aio.Factory(backend=backend).create("web", SPEC) as container:
            backend.signal(backend.load("web"), SIGSTOP)
            with pytest.raises(ContainerTimeout, match=r"did not come to exec\.fifo within 0\.05 s"):
                await container.start(timeout=0.05)
            start = asyncio.ensure_future(container.start())
            await turns()
            assert not start.done()
            backend.signal(backend.load("web"), SIGCONT)
            await start
            assert container.status is Status.RUNNING

    asyncio.run(story())


def test_who_has_the_lock_is_waited_for_in_the_loop() -> None:
    async def story() -> None:
        backend = MemoryBackend()
        factory = aio.Factory(backend=backend)
        container = await factory.create("web", SPEC)
        verbs = {
            "start": container.start,
            "update": lambda: container.update(Resources(pids=Pids(limit=5))),
            "delete": lambda: container.delete(force=True),
            "create": lambda: factory.create("web", SPEC),
        }
        for name, verb in verbs.items():
            backend.store.locked["web"] = -1  # somebody else
            task = asyncio.ensure_future(verb())
            await turns()
            assert not task.done(), name
            del backend.store.locked["web"]
            await task
        await factory.delete("web", force=True)

    asyncio.run(story())


def test_who_is_cancelled_while_he_waits_for_the_lock() -> None:
    async def story() -> None:
        backend = MemoryBackend()
        factory = aio.Factory(backend=backend)
        async with await factory.create("web", SPEC) as container:
            backend.store.locked["web"] = -1
            for verb in (container.start(), container.delete(force=True), factory.create("web", SPEC)):
                task = asyncio.ensure_future(verb)
                await turns()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            del backend.store.locked["web"]

    asyncio.run(story())


def test_a_wait_that_is_late_or_cancelled_kills_nothing() -> None:
    async def story() -> None:
        async with await aio.Factory(backend=MemoryBackend()).create("web", SPEC) as container:
            await container.start()
            with pytest.raises(ContainerTimeout, match="did not end within 0 s"):
                await container.wait(0)
            with pytest.raises(ContainerTimeout, match=r"did not end within 0\.01 s"):
                await container.wait(0.01)
            task = asyncio.ensure_future(container.wait())
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            further = await container.spawn(["x"])
            with pytest.raises(ContainerTimeout):
                await further.wait(0.01)
            assert container.status is Status.RUNNING
            async with further:
                further.terminate()
            assert await further.wait() == -15

    asyncio.run(story())


def test_a_backend_that_has_no_steps() -> None:
    class Foreign:
        root = "/run/foreign"

    async def story() -> None:
        factory = aio.Factory(backend=Foreign())  # type: ignore[arg-type]  # far from being one
        with pytest.raises(TypeError, match="Foreign has no steps"):
            await factory.create("web", SPEC)

    asyncio.run(story())


def test_a_sandbox_that_was_not_made() -> None:
    async def story() -> None:
        sandbox = aio.Sandbox(factory=aio.Factory(backend=MemoryBackend()))
        assert repr(sandbox) == "<Sandbox, not made>"
        with pytest.raises(RuntimeError, match="async with"):
            _ = sandbox.container
        await sandbox.close()
        with pytest.raises(ConfigError):
            aio.Sandbox(memory="many")

    asyncio.run(story())


@pytest.mark.parametrize("name", ["libcontainer_py", "libcontainer_py.Factory", "libcontainer_py.run"])
def test_the_other_face_loads_no_asyncio(name: str) -> None:
    module, _, attribute = name.partition(".")
    code = f"import sys, {module}\n{f'{module}.{attribute}' if attribute else ''}\nprint('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")
