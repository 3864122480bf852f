"""Tests of the supervisor, with the kit alone: on the fake, and unchanged on a host that can have containers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from supervisor import Policy, Service, Supervisor

from libcontainer_py import CommandFailed, Outcome
from libcontainer_py.testing import FakeFactory, dies, eats_memory, exits, runs_forever

if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py import Factory

MIB = 1 << 20
SUCCEED = ("sh", "-c", "exit 0")
FAIL = ("sh", "-c", "exit 3")
CRASH = ("sh", "-c", "kill -SEGV $$")
HANG = ("sleep", "1000")
EAT = ("sh", "-c", "x=$(head -c 24000000 /dev/zero | tr '\\0' x)")
MISSING = ("/no/such/program",)

# What these do on Linux, in the words of the fake.
PROGRAMS = {
    SUCCEED: exits(0),
    FAIL: exits(3, after=0.1),
    CRASH: dies("SEGV"),
    HANG: runs_forever(),
    EAT: [eats_memory("100M"), exits(0)],
}


class World:
    """A factory, its clock, and the pauses that were made."""

    def __init__(self, factory: Factory, now: Callable[[], float], sleep: Callable[[float], object]) -> None:
        self.factory = factory
        self.now = now
        self.pauses: list[float] = []
        self._sleep = sleep
        self.supervise = Supervisor(factory, sleep=self.sleep).supervise

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._sleep(seconds)


@pytest.fixture(params=["fake", "linux"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "fake":
        fake = FakeFactory(programs=PROGRAMS)
        return World(fake, fake.now, fake.sleep)
    return World(request.getfixturevalue("container_factory"), time.monotonic, time.sleep)


QUICK = Policy(tries=4, pause=0.01, longest_pause=0.03)


def test_what_succeeds_is_run_once(world: World) -> None:
    assert [one.outcome for one in world.supervise(Service(SUCCEED, QUICK))] == [Outcome.EXITED]
    assert world.pauses == []


def test_what_fails_is_run_again_after_longer_and_longer_pauses(world: World) -> None:
    with pytest.raises(CommandFailed) as raised:
        world.supervise(Service(FAIL, QUICK))
    assert raised.value.result.returncode == 3
    assert world.pauses == [0.01, 0.02, 0.03]


def test_what_shall_always_run_is_run_again(world: World) -> None:
    assert len(world.supervise(Service(SUCCEED, QUICK._replace(always=True)))) == 4


def test_a_crash_is_a_failure(world: World) -> None:
    with pytest.raises(CommandFailed) as raised:
        world.supervise(Service(CRASH, QUICK._replace(tries=2)))
    assert raised.value.result.signal == 11


def test_what_hangs_is_killed(world: World) -> None:
    begun = world.now()
    with pytest.raises(CommandFailed) as raised:
        world.supervise(Service(HANG, QUICK._replace(tries=2), timeout=0.2))
    assert raised.value.result.outcome is Outcome.TIMEOUT
    assert world.now() - begun >= 0.41


def test_what_is_not_there_is_not_tried_again(world: World) -> None:
    with pytest.raises(CommandFailed) as raised:
        world.supervise(Service(MISSING, QUICK))
    assert (raised.value.result.outcome, world.pauses) == (Outcome.START_FAILED, [])


def test_what_runs_out_of_memory_gets_more(world: World) -> None:
    tries = world.supervise(Service(EAT, QUICK, memory=16 * MIB, most_memory=512 * MIB))
    assert [one.outcome for one in tries][:-1] == [Outcome.OOM] * (len(tries) - 1)
    assert (tries[0].outcome, tries[-1].outcome) == (Outcome.OOM, Outcome.EXITED)
    assert tries[1].memory == 32 * MIB


def test_nothing_is_left(world: World) -> None:
    world.supervise(Service(SUCCEED, QUICK))
    assert world.factory.ids() == []
