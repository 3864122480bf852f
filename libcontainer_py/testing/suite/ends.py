"""Signals, wait and delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libcontainer_py.errors import ContainerNotFound, ContainerTimeout, IllegalOperation
from libcontainer_py.lifecycle import Status
from libcontainer_py.process import ExitStatus
from libcontainer_py.testing.suite.bench import SIGTERM, SIGUSR1, SIGUSR2, Can, status_now

if TYPE_CHECKING:
    from libcontainer_py.testing.suite.bench import Bench

HANDLED = {SIGUSR1: 3, SIGUSR2: 0, SIGTERM: 7}


class Signals:
    """Container.signal and kill."""

    @pytest.mark.parametrize(("signal", "code"), HANDLED.items())
    def test_a_program_that_has_a_handler(self, bench: Bench, signal: int, code: int) -> None:
        """It ends as its handler says."""
        container = bench.running(bench.bundle(ends_on=HANDLED))
        container.signal(signal)
        ended = container.wait(bench.PATIENCE)
        assert status_now(container) is Status.STOPPED
        assert ended.returncode == (code if Can.TELL_EXITS in bench.can else None)

    @pytest.mark.parametrize("signal", ["TERM", "SIGHUP", 2, 10, "WINCH"])
    def test_a_program_that_has_none(self, bench: Bench, signal: int | str) -> None:
        """It is pid 1 of its namespace: the kernel drops them. Source: pid_namespaces(7)."""
        container = bench.running()
        container.signal(signal)
        with pytest.raises(ContainerTimeout):
            container.wait(bench.SHORT)
        assert status_now(container) is Status.RUNNING

    @pytest.mark.parametrize("signal", [1, 2, 3, 15])
    def test_one_that_waits_to_be_started(self, bench: Bench, signal: int) -> None:
        """It ends on HUP, INT, QUIT and TERM."""
        container = bench.create()
        container.signal(signal)
        ended = container.wait(bench.PATIENCE)
        assert ended.returncode == (128 + signal if Can.TELL_EXITS in bench.can else None)

    def test_a_paused_one_acts_when_it_is_resumed(self, bench: Bench) -> None:
        """Not before."""
        container = bench.running(bench.bundle(ends_on=HANDLED))
        container.pause()
        container.signal(SIGTERM)
        assert status_now(container) is Status.PAUSED
        container.resume()
        container.wait(bench.PATIENCE)
        assert status_now(container) is Status.STOPPED

    @pytest.mark.parametrize("signal", [9, "KILL", "SIGKILL"])
    def test_sigkill_is_kill(self, bench: Bench, signal: int | str) -> None:
        """Also of a paused one."""
        container = bench.paused()
        container.signal(signal)
        container.wait(bench.PATIENCE)
        assert status_now(container) is Status.STOPPED

    @pytest.mark.parametrize("signal", [0, -1, 65, "NONE", ""])
    def test_what_is_no_signal(self, bench: Bench, signal: int | str) -> None:
        """It is refused in every status."""
        for container in (bench.create(), bench.stopped()):
            with pytest.raises(ValueError, match="unknown signal"):
                container.signal(signal)

    def test_to_all(self, bench: Bench) -> None:
        """Each of its processes gets it."""
        container = bench.running(bench.bundle(ends_on=HANDLED))
        container.signal("TERM", all=True)
        container.wait(bench.PATIENCE)
        assert container.processes() == []

    def test_a_stopped_program_is_running(self, bench: Bench) -> None:
        """SIGSTOP is no status of a container."""
        container = bench.running()
        container.signal("STOP")
        assert status_now(container) is Status.RUNNING
        container.signal("CONT")
        assert status_now(container) is Status.RUNNING


class Waits:
    """Container.wait."""

    def test_nobody_waits_for_ever(self, bench: Bench) -> None:
        """A time limit kills nothing."""
        container = bench.running()
        with pytest.raises(ContainerTimeout, match="did not end within") as caught:
            container.wait(bench.SHORT)
        assert caught.value.timeout == bench.SHORT
        assert status_now(container) is Status.RUNNING

    def test_one_that_was_killed(self, bench: Bench) -> None:
        """How it ended, to its parent."""
        container = bench.running()
        container.kill()
        ended = container.wait(bench.PATIENCE)
        assert ended == ExitStatus(-9 if Can.TELL_EXITS in bench.can else None)
        assert ended.known == (Can.TELL_EXITS in bench.can)

    def test_every_handle_is_told_the_same(self, bench: Bench) -> None:
        """Also later, and after a delete."""
        container = bench.running()
        other = bench.factory.load(container.id)
        container.kill()
        ended = container.wait(bench.PATIENCE)
        assert other.wait(bench.PATIENCE) == ended
        container.delete()
        assert (container.wait(0), other.wait(0)) == (ended, ended)

    def test_one_that_died_by_itself(self, bench: Bench) -> None:
        """Nobody asked us."""
        container = bench.running()
        bench.die(container)
        container.wait(bench.PATIENCE)
        assert (container.status, container.init_pid) == (Status.STOPPED, None)


class Deletes:
    """Container.delete and Factory.delete."""

    @pytest.mark.parametrize("status", ["created", "running", "paused", "stopped"])
    def test_by_force(self, bench: Bench, status: str) -> None:
        """In every status, and nothing is left."""
        makers = {"created": bench.create, "running": bench.running, "paused": bench.paused, "stopped": bench.stopped}
        container = makers[status]()
        container.delete(force=True)
        assert status_now(container) is Status.STOPPED
        assert bench.left() == []

    def test_one_paused_while_created_by_force(self, bench: Bench) -> None:
        """Its init is frozen, and does not die before it is thawed."""
        container = bench.create()
        container.pause()
        bench.factory.delete(container.id, force=True)
        assert bench.left() == []

    def test_what_is_gone(self, bench: Bench) -> None:
        """By force that is no error."""
        container = bench.create()
        container.delete()
        container.delete(force=True)
        bench.factory.delete(container.id, force=True)
        with pytest.raises(ContainerNotFound):
            container.delete()
        with pytest.raises(ContainerNotFound):
            bench.factory.delete(container.id)

    def test_one_that_runs(self, bench: Bench) -> None:
        """By its id: it goes on."""
        container = bench.running()
        with pytest.raises(
            IllegalOperation, match=f"cannot delete container {container.id} that is not stopped: running"
        ):
            bench.factory.delete(container.id)
        assert status_now(container) is Status.RUNNING

    def test_one_leaves_the_others(self, bench: Bench) -> None:
        """They go on."""
        first, second = bench.running(), bench.running()
        first.delete(force=True)
        assert status_now(second) is Status.RUNNING
        assert bench.factory.ids() == [second.id]
