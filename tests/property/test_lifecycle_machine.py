"""The lifecycle machine on the memory backend: any operations, legal or not, in any order."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from libcontainer_py import container, lifecycle
from libcontainer_py.backends.memory import MemoryBackend, MemoryProcess
from libcontainer_py.container import Container
from libcontainer_py.factory import Factory
from libcontainer_py.lifecycle import Facts, Operation, Status
from libcontainer_py.testing.machine import LifecycleMachine


class MemoryLifecycle(LifecycleMachine):
    def make_factory(self) -> Factory:
        self.backend = MemoryBackend()
        self.strangers: list[MemoryProcess] = []
        return Factory(backend=self.backend)

    def end_init(self, container: Container) -> bool:
        self.backend.host.end(container._record.init, -9)
        return True

    def reuse_pid(self, container: Container) -> bool:
        stranger = self.backend.host.reuse_pid(container._record.init)
        self.strangers.append(stranger)
        return True

    def tear_state(self, container_id: str) -> bool:
        self.backend.store.tear(container_id)
        return True

    def mend_state(self, container_id: str) -> None:
        self.backend.store.mend(container_id)

    def nothing_is_left(self) -> None:
        host = self.backend.host
        alive = {process.init for process in host.processes.values() if process.alive}
        assert alive == {host.creator().creator, *(stranger.init for stranger in self.strangers)}
        assert host.cgroups == {}
        assert self.backend.store.directories == {}
        assert self.backend.store.locked == {}


FIND = settings(
    max_examples=500,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    print_blob=False,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)

TestMemoryLifecycle = MemoryLifecycle.TestCase
TestMemoryLifecycle.settings = settings(
    max_examples=500 if sys.platform == "linux" else 50,  # elsewhere it is the same code
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def _toggled(status: Status, operation: Operation) -> dict[Status, frozenset[Operation]]:
    return {**lifecycle.LEGAL, status: lifecycle.LEGAL[status] ^ {operation}}


# START of a running one is refused by the missing fifo too, whatever the table says; CREATING only hooks see; SPAWN is
# no verb of a handle yet.
ENTRIES = [
    (status, operation)
    for status in Status
    for operation in Operation
    if status is not Status.CREATING
    and operation is not Operation.SPAWN
    and (status, operation) != (Status.RUNNING, Operation.START)
]


@pytest.mark.parametrize(("status", "operation"), ENTRIES, ids=str)
def test_the_machine_finds_each_broken_entry_of_the_table(status, operation, monkeypatch):
    monkeypatch.setattr(lifecycle, "LEGAL", _toggled(status, operation))
    with pytest.raises(BaseException):  # noqa: B017, PT011  (an assertion, or several in a group: a failed machine)
        run_state_machine_as_test(MemoryLifecycle, settings=FIND)


def test_the_machine_finds_a_status_asked_in_the_wrong_order(monkeypatch):
    def fifo_first(facts: Facts) -> Status:
        return Status.CREATED if facts.init_alive and facts.fifo_present else lifecycle.status_of(facts)

    monkeypatch.setattr(container, "status_of", fifo_first)
    with pytest.raises(BaseException):  # noqa: B017, PT011  (see above)
        run_state_machine_as_test(MemoryLifecycle, settings=FIND)
