"""Limits, statistics, events, and further processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libcontainer_py.errors import CgroupError, ConfigError, IllegalOperation, ProgramNotFound
from libcontainer_py.events import Exited, Paused, Resumed, Started
from libcontainer_py.lifecycle import Status
from libcontainer_py.result import Outcome
from libcontainer_py.spec import CPU, Memory, Pids, Resources
from libcontainer_py.testing.suite.bench import Can, status_now

if TYPE_CHECKING:
    from libcontainer_py.testing.suite.bench import Bench

SLEEP = ("/bin/sleep", "1000000")


class Limits:
    """Container.update and stats."""

    @pytest.mark.parametrize(
        "resources",
        [
            Resources(pids=Pids(limit=64)),
            Resources(cpu=CPU(shares=512, quota=50_000)),
            Resources(memory=Memory(limit=1 << 30)),
        ],
        ids=["pids", "cpu", "memory"],
    )
    def test_limits_can_be_changed(self, bench: Bench, resources: Resources) -> None:
        """While it waits, and while it runs; that changes no status."""
        container = bench.create()
        container.update(resources)
        assert status_now(container) is Status.CREATED
        container.start()
        container.update(resources)
        assert status_now(container) is Status.RUNNING

    def test_limits_are_told(self, bench: Bench) -> None:
        """Those that it was made with, and those that it was given."""
        bench.needs(Can.COUNT)
        container = bench.running(bench.bundle(resources=Resources(pids=Pids(limit=70))))
        found = container.stats()
        assert found.pids is not None
        assert (found.pids.limit, found.pids.current) == (70, 1)
        container.update(Resources(pids=Pids(limit=33)))
        found = container.stats()
        assert found.pids is not None
        assert found.pids.limit == 33

    @pytest.mark.parametrize(
        "resources",
        [Resources(cpu=CPU(idle=3)), Resources(pids=Pids(limit=5), memory=Memory(limit=-7))],
        ids=["cpu.idle", "memory.limit"],
    )
    def test_limits_that_are_wrong(self, bench: Bench, resources: Resources) -> None:
        """They change nothing, not even what is right of them."""
        container = bench.running(bench.bundle(resources=Resources(pids=Pids(limit=70))))
        with pytest.raises(ConfigError):
            container.update(resources)
        if Can.COUNT in bench.can:
            found = container.stats()
            assert found.pids is not None
            assert found.pids.limit == 70
        assert status_now(container) is Status.RUNNING

    def test_statistics_until_the_end(self, bench: Bench) -> None:
        """Of a stopped one too; of one that is gone there are none."""
        bench.needs(Can.COUNT)
        container = bench.running()
        before = container.stats()
        container.kill()
        container.wait(bench.PATIENCE)
        after = container.stats()
        assert before.pids is not None
        assert after.pids is not None
        assert (before.pids.current, after.pids.current) == (1, 0)
        assert after.taken_ns >= before.taken_ns
        container.delete()
        with pytest.raises(CgroupError):
            container.stats()

    def test_processes(self, bench: Bench) -> None:
        """Init's, until it ends."""
        container = bench.running()
        assert container.processes() == [container.init_pid]
        container.kill()
        container.wait(bench.PATIENCE)
        assert container.processes() == []


class Events:
    """Container.events."""

    def test_the_end(self, bench: Bench) -> None:
        """It is the last event, and tells how it ended where that is known."""
        container = bench.running()
        with container.events() as events:
            container.kill()
            last = list(events)[-1]
        assert isinstance(last, Exited)
        assert (last.container_id, last.status) == (container.id, container.wait(0))

    def test_of_a_stopped_one(self, bench: Bench) -> None:
        """Its end is all there is to tell."""
        container = bench.stopped()
        with container.events() as events:
            assert [type(event) for event in events] == [Exited]

    def test_a_life(self, bench: Bench) -> None:
        """What changed since one looked last."""
        bench.needs(Can.WATCH)
        container = bench.create()
        seen: list[type] = []
        with container.events() as events:
            container.start()
            seen.append(type(next(events)))
            container.pause()
            seen.append(type(next(events)))
            container.resume()
            seen.append(type(next(events)))
            container.kill()
            seen.extend(map(type, events))
        assert seen == [Started, Paused, Resumed, Exited]


class Spawns:
    """Container.spawn and run."""

    @pytest.mark.parametrize("status", ["created", "running"])
    def test_a_further_program(self, bench: Bench, status: str) -> None:
        """It runs beside init, and ends with a signal."""
        bench.needs(Can.SPAWN)
        container = bench.create() if status == "created" else bench.running()
        process = container.spawn(SLEEP, stdin=-3, stdout=-3, stderr=-3)
        assert process.pid in container.processes()
        process.kill()
        assert process.wait(bench.PATIENCE) == -9
        assert container.processes() == [container.init_pid]
        assert container.status.value == status

    def test_it_ends_with_init(self, bench: Bench) -> None:
        """Whose pid namespace it is in."""
        bench.needs(Can.SPAWN)
        container = bench.running()
        process = container.spawn(SLEEP, stdin=-3, stdout=-3, stderr=-3)
        container.kill()
        assert process.wait(bench.PATIENCE) == -9
        assert container.processes() == []

    def test_a_program_that_is_not_there(self, bench: Bench) -> None:
        """Init goes on."""
        bench.needs(Can.RUN)
        container = bench.running()
        with pytest.raises(ProgramNotFound):
            container.spawn(["/no/such/program"], stdin=-3, stdout=-3, stderr=-3)
        assert status_now(container) is Status.RUNNING

    def test_nonsense(self, bench: Bench) -> None:
        """No words are no program; nor is a string."""
        bench.needs(Can.SPAWN)
        container = bench.running()
        for args in ((), "sleep"):
            with pytest.raises((ConfigError, ValueError, TypeError)):
                container.spawn(args, stdin=-3, stdout=-3, stderr=-3)

    def test_what_it_writes(self, bench: Bench) -> None:
        """To either stream, and how it ended."""
        bench.needs(Can.SPAWN, Can.RUN)
        container = bench.running()
        done = container.run(["/bin/sh", "-c", "cat; echo no >&2; exit 4"], input=b"yes")
        assert (done.stdout, done.stderr, done.returncode) == (b"yes", b"no\n", 4)
        assert done.outcome is Outcome.EXITED

    def test_its_environment_and_directory(self, bench: Bench) -> None:
        """Added to those of the configuration."""
        bench.needs(Can.SPAWN, Can.RUN)
        container = bench.running()
        done = container.run(["/bin/sh", "-c", "echo $PATH $KEY $PWD"], env={"KEY": "value"}, cwd="/bin", text=True)
        assert done.stdout == "/bin value /bin\n"

    def test_of_a_paused_one(self, bench: Bench) -> None:
        """It would hang."""
        bench.needs(Can.SPAWN)
        container = bench.paused()
        with pytest.raises(IllegalOperation, match="cannot exec in a paused container"):
            container.run(["/bin/true"])
