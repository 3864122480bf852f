"""The verbs for asyncio, over real containers: what they give, what a cancellation leaves, that the loop goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time

import pytest

from libcontainer_py import (
    DEVNULL,
    PIPE,
    CommandFailed,
    ContainerTimeout,
    Exited,
    ExitStatus,
    Factory,
    IllegalOperation,
    Outcome,
    Paused,
    ProgramNotFound,
    Resumed,
    Started,
    StartError,
    Status,
    aio,
)
from libcontainer_py.aio import loop
from libcontainer_py.waiting import KERNEL
from tests.kernel.workshop import PATIENCE, Config, Workshop, runc_spec
from tests.repetitions import times as so_often

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from libcontainer_py.waiting import Medium, Wait

MIB = 1 << 20
SLEEPS = ["sleep", "1000"]
WAITS = ["/bin/busybox", "sleep", "1000"]


class Place:
    """A root of state directories. What is left, but for descriptors and children, tests/leaks.py finds."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.factory = aio.Factory(self.root)
        asyncio.run(self.run("true"))  # the fork server stays
        self.before = self.now()

    def now(self) -> list[str]:
        """What our descriptors are of, but for that of the listing."""
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return [os.readlink(link) for link in links if os.path.lexists(link)]

    async def run(self, script: str, **options: object) -> object:
        return await aio.run(["sh", "-c", script], stdin=DEVNULL, factory=self.factory, **options)  # type: ignore[call-overload]  # as the test has them

    def check(self) -> None:
        assert [name for name in os.listdir(self.root) if name != ",lock"] == []
        assert len(self.now()) == len(self.before), (self.now(), self.before)
        # children that ended and were not reaped
        assert os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


@pytest.fixture
def place(tmp_path: Path, root_only: None) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.check()


@pytest.fixture
def made(workshop: Workshop) -> Callable[[str], Coroutine[None, None, aio.Container]]:
    """Makes a container of busybox that runs a script, by asyncio."""

    async def make(script: str, **changes: object) -> aio.Container:
        config: Config = runc_spec()
        config["process"]["args"] = ["/bin/sh", "-c", script]
        config.update(changes)
        factory = aio.Factory(workshop.root)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), DEVNULL)
        return await factory.create(workshop.new_id(), workshop.bundle(config), **streams)

    return make


async def line_of(reader: int) -> bytes:
    """What a pipe says first, while the loop goes on."""
    await asyncio.wait_for(loop.ready(_reading(reader)), PATIENCE)
    return os.read(reader, 4096)


def _reading(descriptor: int) -> Wait:
    from libcontainer_py.waiting import Wait

    return Wait((descriptor,))


# -- what they give ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", ("exited", 0)),
        ("exit 137", ("exited", 137)),
        ("kill -9 $$", ("signaled", -9)),
        ("echo $(cat); exit 3", ("exited", 3)),
    ],
)
def test_outcomes(place: Place, script: str, expected: tuple[str, int]) -> None:
    for lasting in (False, True):

        async def story(lasting: bool = lasting) -> None:
            words = ["sh", "-c", script]
            if lasting:
                async with aio.Sandbox(factory=place.factory) as sandbox:
                    result = await sandbox.run(words, input="given", text=True)
            else:
                result = await aio.run(words, input="given", text=True, factory=place.factory)
            assert (str(result.outcome), result.returncode) == expected
            assert result.stdout == ("given\n" if "cat" in script else "")
            assert 0 < result.duration < PATIENCE

        asyncio.run(story())


def test_errors(place: Place) -> None:
    async def story() -> None:
        with pytest.raises(ProgramNotFound) as missing:
            await aio.run(["no-such-program"], factory=place.factory)
        assert missing.value.result is not None
        assert missing.value.result.outcome is Outcome.START_FAILED
        with pytest.raises(CommandFailed):
            await place.run("exit 3", check=True)
        with pytest.raises(TypeError, match="sequence of words"):
            await aio.run("true", factory=place.factory)
        with pytest.raises(ContainerTimeout) as late:
            await place.run("echo begun; (trap '' TERM; sleep 1000) & exec sleep 1000", timeout=0.3)
        assert late.value.result is not None
        assert (late.value.result.outcome, late.value.result.stdout) == (Outcome.TIMEOUT, b"begun\n")
        async with aio.Sandbox(factory=place.factory) as sandbox:
            with pytest.raises(ContainerTimeout):
                await sandbox.run(SLEEPS, timeout=0.1)
            assert (await sandbox.run(["echo", "on"])).stdout == b"on\n"
            with pytest.raises(ProgramNotFound):
                await sandbox.spawn(["no-such-program"])

    asyncio.run(story())


def test_memory_that_is_short(place: Place) -> None:
    async def story() -> None:
        async with aio.Sandbox(factory=place.factory, memory="64M") as sandbox:
            result = await sandbox.run(["sh", "-c", "x=$(head -c 200000000 /dev/zero | tr '\\0' x)"])
        assert (result.outcome, result.returncode, result.oom_kills) == (Outcome.OOM, -9, 1)

    asyncio.run(story())


def test_communicate(place: Place) -> None:
    given = os.urandom(MIB) * 16

    async def story() -> None:
        async with aio.Sandbox(factory=place.factory) as sandbox:
            process = await sandbox.spawn(["cat"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
            said, complained = await process.communicate(given)
            assert hashlib.sha256(said).digest() == hashlib.sha256(given).digest()
            assert complained == b""
            assert (process.returncode, await process.wait()) == (0, 0)
            process.close()

    asyncio.run(story())


def test_a_late_communicate_goes_on(place: Place) -> None:
    async def story() -> None:
        script = "echo first; read line < /tmp/go; echo second"
        async with aio.Sandbox(factory=place.factory) as sandbox:
            assert (await sandbox.run(["mkfifo", "/tmp/go"])).returncode == 0
            async with await sandbox.spawn(["sh", "-c", script], stdin=DEVNULL, stdout=PIPE) as process:
                with pytest.raises(ContainerTimeout, match=r"did not end within 0\.2 s"):
                    await process.communicate(timeout=0.2)
                task = asyncio.ensure_future(process.communicate())
                await asyncio.wait([task], timeout=0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await asyncio.gather(
                    process.communicate(), sandbox.run(["sh", "-c", "echo > /tmp/go"], stdin=DEVNULL)
                )
                assert (await process.communicate())[0] == b"first\nsecond\n"

    asyncio.run(story())


def test_streams_come_in_the_order_of_arrival(place: Place) -> None:
    script = "while read word; do case $word in e*) echo $word >&2;; *) echo $word;; esac; done"

    async def story() -> None:
        words = [b"o1\n", b"e2\n", b"e3\n", b"o4\n"]
        seen = []
        async with aio.Sandbox(factory=place.factory) as sandbox:
            process = await sandbox.spawn(["sh", "-c", script], stdin=PIPE, stdout=PIPE, stderr=PIPE)
            async with process:
                await process.write(words[0])
                async for stream, chunk in process.stream(PATIENCE):
                    seen.append((stream, chunk))
                    if len(seen) < len(words):
                        await process.write(words[len(seen)])
                    else:
                        process.write_eof()
            assert await process.wait() == 0
        assert seen == [("stdout", b"o1\n"), ("stderr", b"e2\n"), ("stderr", b"e3\n"), ("stdout", b"o4\n")]

    asyncio.run(story())


def test_more_than_a_pipe_takes(place: Place) -> None:
    async def story() -> None:
        async with aio.Sandbox(factory=place.factory) as sandbox:
            async with await sandbox.spawn(["wc", "-c"], stdin=PIPE, stdout=PIPE) as process:
                await process.write(bytes(MIB))
                process.write_eof()
                assert b"".join([chunk async for _, chunk in process.stream()]) == b"1048576\n"
            async with await sandbox.spawn(["sh", "-c", "exec <&-; sleep 1000"], stdin=PIPE) as process:
                with pytest.raises(BrokenPipeError):
                    await process.write(bytes(MIB))  # more than fits: so it is waited for
                process.kill()
            async with await sandbox.spawn(["true"], stdin=DEVNULL) as process:
                with pytest.raises(ValueError, match="no PIPE"):
                    await process.write(b"x")

    asyncio.run(story())


def test_a_late_stream_and_a_late_wait_kill_nothing(place: Place) -> None:
    async def story() -> None:
        async with aio.Sandbox(factory=place.factory) as sandbox:
            process = await sandbox.spawn(SLEEPS, stdin=DEVNULL, stdout=PIPE)
            async with process:
                with pytest.raises(ContainerTimeout):
                    async for _ in process.stream(0.05):
                        pass
                with pytest.raises(ContainerTimeout):
                    await process.wait(0.05)
                with pytest.raises(ContainerTimeout, match=r"did not end within 0\.05 s"):
                    await sandbox.container.wait(0.05)
                assert process.returncode is None
                process.terminate()
                assert await process.wait(PATIENCE) == -15

    asyncio.run(story())


def test_a_terminal(place: Place) -> None:
    async def story() -> None:
        async with aio.Sandbox(factory=place.factory) as sandbox:
            process = await sandbox.spawn(["sh", "-c", "stty size; read line; echo got $line"], terminal=True)
            async with process:
                assert process.terminal is not None
                process.resize(columns=120, rows=40)
                assert process.terminal.size == (120, 40)
                await process.terminal.write(b"word\n")
                shown = b""
                while chunk := await asyncio.wait_for(process.terminal.read(), PATIENCE):
                    shown += chunk
                assert b"got word\r\n" in shown
                assert await process.wait(PATIENCE) == 0
            with pytest.raises(ValueError, match="we have no terminal"):
                async with await sandbox.spawn(["true"], stdin=DEVNULL) as other:
                    other.resize(1, 1)

    asyncio.run(story())


def test_more_than_a_terminal_takes(place: Place) -> None:
    async def story() -> None:
        line, times = b"x" * 99 + b"\n", 2000  # nobody reads them before all of it cannot be taken any more
        script = "stty -echo; echo begin; cat >/dev/null"
        async with (
            aio.Sandbox(factory=place.factory) as sandbox,
            await sandbox.spawn(["sh", "-c", script], terminal=True) as process,
        ):
            assert process.terminal is not None
            assert await asyncio.wait_for(process.terminal.read(), PATIENCE) == b"begin\r\n"
            writing = asyncio.create_task(process.terminal.write(line * times + b"\x04"))
            await asyncio.sleep(0)
            assert not writing.done()
            await asyncio.wait_for(writing, PATIENCE)
            assert await process.wait(PATIENCE) == 0

    asyncio.run(story())


def test_statistics_again_and_again(
    made: Callable[..., Coroutine[None, None, aio.Container]],
) -> None:
    async def story() -> None:
        async with await made("read line </dev/zero") as container:
            await container.start()
            percents = []
            async for one in container.watch_stats(0.2):
                percents.append(one.cpu_percent)
                if len(percents) == 2:
                    await container.kill()
            assert len(percents) == 2
            assert percents[1] > 5  # it counts
            with pytest.raises(ValueError, match="above 0"):
                container.watch_stats(0)

    asyncio.run(story())


# -- a container ------------------------------------------------------------------------------------------------------


def test_a_life(made: Callable[..., Coroutine[None, None, aio.Container]], workshop: Workshop) -> None:
    async def story() -> None:
        async with await made("exec sleep 1000") as container:
            assert container.status is Status.CREATED
            events = container.events()
            await container.start()
            assert await events.next(PATIENCE) == Started(container.id)
            with pytest.raises(ContainerTimeout):
                await events.next(0.01)
            with pytest.raises(IllegalOperation, match="cannot start an already running container"):
                await container.start()
            await container.pause()
            assert await events.next(PATIENCE) == Paused(container.id)
            await container.resume()
            assert await events.next(PATIENCE) == Resumed(container.id)
            assert container.processes() == [container.init_pid]
            waiting = [asyncio.ensure_future(container.wait()) for _ in range(3)]
            further = await container.spawn(WAITS)
            await container.kill()
            assert await asyncio.gather(*waiting) == [ExitStatus(-9)] * 3
            assert await further.wait() == -9
            assert [event async for event in events] == [Exited(container.id, ExitStatus(-9))]
            assert events.ended
            with pytest.raises(IllegalOperation, match="container not running"):
                await container.signal("TERM", all=True)
            await container.delete()
            await container.delete(force=True)
        assert workshop.entries() == []

    asyncio.run(story())


def test_init_ends_only_when_those_that_joined_were_reaped(
    made: Callable[..., Coroutine[None, None, aio.Container]],
) -> None:
    # nobody waits for them but the container
    async def story() -> None:
        async with await made("exec sleep 1000") as container:
            await container.start()
            joined = [await container.spawn(WAITS, stdin=DEVNULL) for _ in range(5)]
            await container.kill()
            assert (await container.wait(PATIENCE)).returncode == -9
            assert [await process.wait() for process in joined] == [-9] * 5

    asyncio.run(story())


def test_a_handle_that_was_loaded(
    made: Callable[..., Coroutine[None, None, aio.Container]], workshop: Workshop
) -> None:
    async def story() -> None:
        container = await made("exec sleep 1000")
        factory = aio.Factory(workshop.root)
        assert factory.ids() == [container.id]
        async with factory.load(container.id) as other:
            await other.start()
        assert [one.id for one in factory.list()] == [container.id]
        assert container.status is Status.RUNNING  # who loaded it does not remove it
        await factory.delete(container.id, force=True)
        with pytest.raises(IllegalOperation, match="cannot start a container that has stopped"):
            await container.start()
        assert await factory.sweep() == []

    asyncio.run(story())


def test_a_program_that_does_not_run(
    made: Callable[..., Coroutine[None, None, aio.Container]], workshop: Workshop
) -> None:
    async def story() -> None:
        hooks = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]}
        async with await made("exit 0", hooks=hooks) as container:
            with pytest.raises(StartError, match="exit code 3"):
                await container.start()
            assert workshop.entries() == []

    asyncio.run(story())


def test_the_loop_goes_on_while_a_start_waits_for_its_hook(
    made: Callable[..., Coroutine[None, None, aio.Container]],
) -> None:
    async def story() -> None:
        hooks = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "read x < /tmp/go"]}]}
        async with await made("exec sleep 1000", hooks=hooks) as container:
            go = os.path.join(container.bundle, "rootfs/tmp/go")
            os.mkfifo(go)
            start = asyncio.ensure_future(container.start())
            deadline = time.monotonic() + PATIENCE
            opened = -1
            while opened < 0:
                assert time.monotonic() < deadline
                assert not start.done()
                await asyncio.sleep(0.005)  # the loop's own timer: that it comes is what is tested
                try:
                    opened = os.open(go, os.O_WRONLY | os.O_NONBLOCK)
                except OSError:
                    continue
            os.write(opened, b"\n")
            os.close(opened)
            await asyncio.wait_for(start, PATIENCE)
            assert container.status is Status.RUNNING

    asyncio.run(story())


def test_the_loop_goes_on_while_somebody_has_the_lock(
    made: Callable[..., Coroutine[None, None, aio.Container]], workshop: Workshop
) -> None:
    async def story() -> None:
        async with await made("exec sleep 1000") as container:
            holder = Factory(workshop.root).backend
            with holder.store.lock(container.id, timeout=0):  # type: ignore[attr-defined]  # LinuxBackend has it
                start = asyncio.ensure_future(container.start())
                for _ in range(5):
                    await asyncio.sleep(0.005)  # the loop's own timer
                    assert not start.done()
                with pytest.raises(ContainerTimeout, match="another process or thread works on") as late:
                    await container.start(timeout=0.05)
                assert late.value.timeout == 0.05
            await asyncio.wait_for(start, PATIENCE)

    asyncio.run(story())


# -- cancellation -----------------------------------------------------------------------------------------------------


class Moments:
    """Cancels the task that waits for the n-th time, before it does."""

    def __init__(self, at: int, times: int = 1) -> None:
        self.at = at
        self.times = times
        self.seen = 0
        self._ready = loop.ready

    async def __call__(self, wait: Wait, medium: Medium = KERNEL) -> frozenset[int]:
        self.seen += 1
        if self.at <= self.seen < self.at + self.times:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        return await self._ready(wait, medium)


def at_every_wait(
    monkeypatch: pytest.MonkeyPatch, story: Callable[[], Coroutine[None, None, object]], times: int
) -> int:
    """Run a story again and again, cancelled at its first wait, its second, and so on, until it ends uncancelled."""
    at = 0
    while True:
        at += 1
        moments = Moments(at, times)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "ready", moments)
            try:
                asyncio.run(story())
            except asyncio.CancelledError:
                continue
        assert moments.seen < at  # it was not cancelled
        return at - 1


@pytest.mark.parametrize("times", [1, 3])
def test_run_is_cancelled_at_each_wait(place: Place, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    async def story() -> None:
        result = await aio.run(["sh", "-c", "echo x; sleep 0.05 & echo y"], stdin=DEVNULL, factory=place.factory)
        assert result.stdout == b"x\ny\n"

    assert at_every_wait(monkeypatch, story, times) >= 2
    place.check()


@pytest.mark.parametrize("times", [1, 3])
def test_a_sandbox_is_cancelled_at_each_wait(place: Place, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    async def story() -> None:
        async with aio.Sandbox(factory=place.factory) as sandbox:
            await sandbox.run(["sh", "-c", "echo x; sleep 0.02"], stdin=DEVNULL)
            process = await sandbox.spawn(["cat"], stdin=PIPE, stdout=PIPE)
            async with process:
                await process.communicate(b"x")

    assert at_every_wait(monkeypatch, story, times) >= 3
    place.check()


def test_a_run_that_is_cancelled_kills_what_runs(place: Place) -> None:
    async def story() -> None:
        reader, writer = os.pipe()
        words = ["sh", "-c", "(trap '' TERM; echo held; while :; do sleep 1000; done) & exec sleep 1000"]
        for lasting in (False, True):
            async with aio.Sandbox(factory=place.factory) as sandbox:
                run = (
                    sandbox.run(words, stdout=writer, stdin=DEVNULL)
                    if lasting
                    else aio.run(words, stdout=writer, stdin=DEVNULL, factory=place.factory)
                )
                task = asyncio.ensure_future(run)
                assert await line_of(reader) == b"held\n"
                begun = time.monotonic()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert time.monotonic() - begun < PATIENCE
                if lasting:
                    assert len(sandbox.container.processes()) == 1  # the sandbox goes on, alone
                    assert (await sandbox.run(["echo", "on"])).stdout == b"on\n"
        os.close(reader)
        os.close(writer)

    asyncio.run(story())


def test_a_process_that_is_left_by_a_cancellation_is_killed_and_reaped(place: Place) -> None:
    async def story() -> None:
        async with aio.Sandbox(factory=place.factory) as sandbox:
            entered = asyncio.Event()
            left = []

            async def leave(inside: bool) -> None:
                process = await sandbox.spawn(SLEEPS, stdin=DEVNULL)
                left.append(process)
                async with process:
                    entered.set()
                    if inside:
                        await asyncio.Event().wait()

            for inside in (True, False):
                entered.clear()
                task = asyncio.ensure_future(leave(inside))
                await entered.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert [await process.wait() for process in left] == [-9, -9]

    asyncio.run(story())


def test_wait_for_is_a_cancellation(place: Place) -> None:
    async def story() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(place.run("exec sleep 1000"), 0.2)

    asyncio.run(story())


def test_a_loop_that_ends_in_the_middle_leaves_nothing(place: Place) -> None:
    async def story() -> None:
        task = asyncio.ensure_future(place.run("exec sleep 1000"))
        async with aio.Sandbox(factory=place.factory):
            assert not task.done()

    asyncio.run(story())  # which cancels what is left
    coroutine = place.run("exec sleep 1000")

    async def closed() -> None:
        await asyncio.wait([coroutine.send(None)])  # until it is its turn
        coroutine.send(None)
        assert place.factory.ids() != []
        coroutine.close()

    asyncio.run(closed())


def test_a_loop_in_another_thread(place: Place) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(place.run("echo x", check=True))
        except BaseException as error:  # noqa: BLE001  (a thread tells of it)
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


# -- many -------------------------------------------------------------------------------------------------------------


def test_many(place: Place) -> None:
    count = so_often(20)
    most = 0

    async def story() -> None:
        def jobs() -> Iterator[aio.Job | list[str]]:
            nonlocal most
            for number in range(count):
                most = max(most, len(place.factory.ids()))
                words = ["sh", "-c", f"echo {number}; exit {number % 5}"]
                yield aio.Job(words, env={"A": "b"}) if number % 2 else words

        await aio.run_many(jobs(), limit=16, text=True, stdin=DEVNULL, factory=place.factory)
        before = len(os.listdir("/proc/self/fd"))
        results = await aio.run_many(jobs(), limit=16, text=True, stdin=DEVNULL, factory=place.factory)
        assert len(os.listdir("/proc/self/fd")) == before
        assert [result.stdout for result in results] == [f"{number}\n" for number in range(count)]
        assert [result.returncode for result in results] == [number % 5 for number in range(count)]
        assert await aio.run_many([]) == []
        with pytest.raises(ValueError, match="limit"):
            await aio.run_many([], limit=0)

    asyncio.run(story())
    assert 2 <= most <= 16


def test_the_first_error_of_many_ends_the_others(place: Place) -> None:
    async def story() -> None:
        jobs = [SLEEPS, SLEEPS, ["no-such-program"], SLEEPS]
        with pytest.raises(ProgramNotFound):
            await aio.run_many(jobs, limit=3, stdin=DEVNULL, factory=place.factory)
        found = await aio.run_many(
            [["true"], ["no-such-program"], aio.Job(SLEEPS, timeout=0.1), ["echo", "x"]],
            limit=2,
            return_exceptions=True,
            stdin=DEVNULL,
            factory=place.factory,
        )
        assert [type(one).__name__ for one in found] == ["Result", "ProgramNotFound", "ContainerTimeout", "Result"]

    asyncio.run(story())


def test_many_that_are_cancelled(place: Place) -> None:
    async def story() -> None:
        reader, writer = os.pipe()
        jobs = [["sh", "-c", "echo x; exec sleep 1000"]] * 12
        task = asyncio.ensure_future(aio.run_many(jobs, limit=4, stdin=DEVNULL, stdout=writer, factory=place.factory))
        said = b""
        while said.count(b"x") < 4:
            said += await line_of(reader)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # while it cleans up
        with pytest.raises(asyncio.CancelledError):
            await task
        assert place.factory.ids() == []
        os.close(reader)
        os.close(writer)

    asyncio.run(story())
