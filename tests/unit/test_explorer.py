"""The explorer: it finds races that were planted, the shortest first, and none in our own procedures."""

from __future__ import annotations

import os
import time
from itertools import combinations_with_replacement

import pytest

from libcontainer_py.backends.base import Taken
from libcontainer_py.backends.procedures import Procedures
from libcontainer_py.errors import ContainerError
from libcontainer_py.lifecycle import Operation, require, status_of
from libcontainer_py.record import Swept
from libcontainer_py.testing.explorer import ID, OPERATIONS, explore

BY_HAND = int(os.environ.get("LIBCONTAINER_PY_TESTS_PREEMPTIONS", "0"))
"""Preemptions for a longer search: 2 takes some minutes."""


# -- planted races ----------------------------------------------------------------------------------------------------


class StartsTwice(Procedures):
    """Takes no lock, and a fifo that is gone for a success: somebody has started it."""

    def release(self, container_id, *, timeout, init=None):
        record = self.store.load(container_id)
        require(container_id, Operation.START, status_of(self.observe(record)))
        gate = self.store.open_fifo(container_id)
        if gate is not None:
            if gate.take(record.init, deadline=self.host.now() + 10) == Taken.WON:
                self.store.unlink_fifo(container_id)
                self.store.settle(container_id)
            gate.close()


class DeletesUnlocked(Procedures):
    """Looks at the status without the lock."""

    def destroy(self, container_id, *, force, init=None):
        record = self.store.load(container_id)
        require(container_id, Operation.DELETE, status_of(self.observe(record)), force=force)
        with self.store.lock(container_id, timeout=60):
            if self.store.exists(container_id):
                for _ in self._destroy(record, patient=True):
                    pass


class SweepsTheLiving(Procedures):
    """Takes no lock, and a container without a state file for one that nobody completes."""

    def sweep(self):
        swept = []
        for container_id in self.store.ids():
            intent = self.store.intent(container_id)
            try:
                self.store.load(container_id)
            except ContainerError:
                if intent is not None:
                    self._undo(container_id, intent)
                    swept.append(Swept(container_id, self.store.directory(container_id), removed=True, reason=""))
        return swept


PLANTED = {
    "start/start": (StartsTwice, ["create"], [["start"], ["start"]]),
    "start/delete": (DeletesUnlocked, ["create"], [["start"], ["delete"]]),
    "create/sweep": (SweepsTheLiving, [], [["create"], ["sweep"]]),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_race_is_found_in_time(name):
    procedures, before, threads = PLANTED[name]
    began = time.monotonic()
    race = explore(threads, before=before, procedures=procedures).race
    assert time.monotonic() - began < 10
    assert race is not None
    assert race.preemptions == 1
    # the shortest: one is left in the middle, and one of them may wait for the other's lock
    text = str(race)
    assert text.count("  thread ") <= 4, text
    assert explore(threads, before=before).race is None


def test_a_planted_race_is_found_among_others():
    race = explore([["start"], ["start"], ["status"]], before=["create"], procedures=StartsTwice, preemptions=1).race
    assert race is not None
    assert race.preemptions == 1


def test_a_race_shows_its_schedule():
    race = explore([["start"], ["start"]], before=["create"], procedures=StartsTwice).race
    assert race is not None
    lines = str(race).splitlines()
    assert lines[0] == (
        "no order of whole operations ends so: thread 0: start done; thread 1: start done; the container is running: "
        f"{len(race.steps)} steps, 1 preemptions"
    )
    assert lines[1] == "  thread 0, start:"
    assert lines[2] == "    store.load"
    assert "    gate.take" in lines


# -- what it watches --------------------------------------------------------------------------------------------------


class Forgets(Procedures):
    """Removes the directory first."""

    def destroy(self, container_id, *, force, init=None):
        record = self.store.load(container_id)
        self.store.remove(container_id)
        self.host.kill(record)
        self.host.remove_cgroups(dict.fromkeys(record.cgroup_paths.values(), -1))


class KeepsTheFifo(Procedures):
    def release(self, container_id, *, timeout, init=None):
        self.store.open_fifo(container_id)


class Fails(Procedures):
    def ids(self):
        raise ZeroDivisionError("by a bug")


class LocksTwice(Procedures):
    def ids(self):
        with self.store.lock(ID, timeout=None), self.store.lock(ID, timeout=None):
            return []


@pytest.mark.parametrize(
    ("procedures", "operation", "reason"),
    [
        (Forgets, "delete", "lives, and neither a state file nor an intent names it"),
        (KeepsTheFifo, "start", "a descriptor of exec.fifo was never closed"),
        (Fails, "list", "list raised ZeroDivisionError('by a bug')"),
        (LocksTwice, "list", "all of them wait, and nothing can wake them"),
    ],
)
def test_what_one_thread_breaks_alone_is_found_too(procedures, operation, reason):
    race = explore([[operation]], before=["create"], procedures=procedures).race
    assert race is not None
    assert reason in race.reason
    assert race.preemptions == 0


def test_time_passes_when_nobody_can_go_on():
    class Waits(Procedures):
        def ids(self):
            record = self.store.load(ID)
            assert self.host.wait(record.init, timeout=3600) is None
            return [f"{self.host.now():g}"]

    def look(factory):
        return factory.ids()

    assert explore([[look]], before=["create"], procedures=Waits).race is not None  # the reference does not wait
    assert explore([[look]], before=["create"], procedures=Waits, compare=False).race is None


def test_bounds():
    threads = [["start"], ["start"]]
    whole = explore(threads, before=["create"], preemptions=1)
    assert whole.is_complete
    assert whole.schedules < explore(threads, before=["create"], preemptions=2).schedules
    part = explore(threads, before=["create"], preemptions=1, schedules=7)
    assert (part.schedules, part.is_complete) == (7, False)
    assert explore(threads, before=["create"], preemptions=0, procedures=StartsTwice).race is None


def test_an_exploration_is_the_same_each_time():
    threads = [["start"], ["pause"]]
    assert len({explore(threads, before=["create"], preemptions=1) for _ in range(2)}) == 1


# -- our own code -----------------------------------------------------------------------------------------------------

PAIRED = ["start", "pause", "terminate", "update", "delete", "delete by force"]
ALSO = ["create", "resume", "kill", "delete handle", "sweep", "status", "list"]


@pytest.mark.parametrize("before", [("create",), ("create", "start"), (), ("create", "start", "pause")], ids=len)
def test_no_two_operations_race(before):
    if not BY_HAND and len(before) != 1:
        pairs = [
            ("create", "sweep"),
            ("delete by force", "status"),
            ("delete handle", "resume"),
            ("create", "terminate"),
        ]
    else:
        pairs = combinations_with_replacement([*PAIRED, *ALSO] if BY_HAND else PAIRED, 2)
    for pair in pairs:
        explored = explore([[one] for one in pair], before=before, preemptions=BY_HAND or 1)
        assert explored.race is None, str(explored.race)
        assert explored.is_complete


THREE = [
    ([["start"], ["start"], ["delete"]], ["create"]),
    ([["create"], ["sweep"], ["delete by force"]], []),
    ([["pause", "resume"], ["delete by force"]], ["create", "start"]),
    ([["wait"], ["kill"], ["start"]], ["create"]),
]


@pytest.mark.parametrize(("threads", "before"), THREE)
def test_no_three_operations_race(threads, before):
    explored = explore(threads, before=before, preemptions=BY_HAND or 1)
    assert explored.race is None, str(explored.race)
    assert explored.is_complete


@pytest.mark.parametrize(
    "threads",
    [
        [["create", "start", "delete"], ["start", "kill", "delete by force"], ["create", "pause", "sweep"]],
        [["create", "start", "kill"], ["create", "update", "delete"], ["sweep", "resume", "delete by force"]],
    ],
)
def test_three_threads_of_three_operations_lose_nothing(threads):
    """All that a bound of schedules lets see; what they end with is compared in the tests above."""
    bound = 1_000_000 if BY_HAND else 400
    explored = explore(threads, preemptions=BY_HAND or 1, schedules=bound, compare=bool(BY_HAND))
    assert explored.race is None, str(explored.race)


def test_the_status_of_a_container_that_is_deleted_meanwhile_is_never_running():
    """The fifo is looked at before init, for a fifo that is gone with its container says nothing of one that lived."""

    class LooksAtInitFirst(Procedures):
        def observe(self, record):
            waits = self.host.at_fifo(record.init)
            facts = super().observe(record)
            return facts if waits is None else facts._replace(init_alive=True, fifo_present=facts.fifo_present)

    threads = [["status"], ["delete by force"]]
    race = explore(threads, before=["create"], procedures=LooksAtInitFirst).race
    assert race is not None
    assert "status running" in race.reason
    assert explore(threads, before=["create"]).race is None


def test_each_operation_does_something():
    for name in OPERATIONS:
        before = ["create", "start", "pause"] if name == "resume" else ["create"]
        before = [] if name == "create" else [*before, *["kill"] * (name == "wait")]
        assert explore([[name]], before=before).race is None, name
