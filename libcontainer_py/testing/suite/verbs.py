"""Create, look, start, pause and resume; and the table of what is legal, entry by entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libcontainer_py.errors import (
    ConfigError,
    ContainerError,
    ContainerExists,
    ContainerNotFound,
    IllegalOperation,
    InvalidId,
    ProgramNotFound,
)
from libcontainer_py.lifecycle import Status
from libcontainer_py.spawned import ContainerProcess
from libcontainer_py.spec import Pids, Resources
from libcontainer_py.testing.suite.bench import Can, status_now
from libcontainer_py.testing.table import MAY, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libcontainer_py.container import Container
    from libcontainer_py.testing.suite.bench import Bench

BAD_IDS = {
    "empty": "",
    "dot": ".",
    "two dots": "..",
    "slash": "a/b",
    "long": "x" * 256,
    "accent": "café",
    "blank": "a b",
}
STATUSES = ("created", "running", "paused", "stopped")
BECOMES: Mapping[tuple[str, str], str] = {
    ("start", "created"): "running",
    ("pause", "created"): "paused",
    ("pause", "running"): "paused",
    ("resume", "paused"): "running",
    ("kill", "created"): "stopped",
    ("kill", "running"): "stopped",
    ("kill", "paused"): "stopped",
    ("delete", "created"): "",
    ("delete", "stopped"): "",
}
"""What a legal operation leads to, where it changes the status; "" is gone."""


def _in_status(bench: Bench, status: str) -> Container:
    makers = {"created": bench.create, "running": bench.running, "paused": bench.paused, "stopped": bench.stopped}
    return makers[status]()


def _call(container: Container, operation: str) -> Callable[[], object]:
    calls: dict[str, Callable[[], object]] = {
        "signal": lambda: container.signal(18),  # CONT, which changes nothing
        "update": lambda: container.update(Resources(pids=Pids(limit=64))),
        "spawn": lambda: container.spawn(["/bin/sleep", "1000000"], stdin=-3, stdout=-3, stderr=-3),
    }
    verb: Callable[[], object] = calls.get(operation) or getattr(container, operation)
    return verb


class Table:
    """Every operation in every status."""

    @pytest.mark.parametrize("status", STATUSES)
    @pytest.mark.parametrize("operation", sorted(MAY))
    def test_the_table(self, bench: Bench, operation: str, status: str) -> None:
        """What is legal leads to what it must; what is not raises, and changes nothing."""
        if operation == "spawn":
            bench.needs(Can.SPAWN)
        container = _in_status(bench, status)
        call = _call(container, operation)
        if status in MAY[operation]:
            done = call()
            if operation == "kill":
                container.wait(bench.PATIENCE)
            if isinstance(done, ContainerProcess):
                done.kill()
                done.wait(bench.PATIENCE)
            after = BECOMES.get((operation, status), status)
            assert container.status.value == (after or "stopped")
            assert (container.id in bench.factory.ids()) == bool(after)
        else:
            with pytest.raises(IllegalOperation) as caught:
                call()
            assert str(caught.value) == refusal(container.id, operation, status)
            assert (caught.value.container_id, caught.value.status.value) == (container.id, status)
            assert caught.value.operation.value == operation
            assert container.status.value == status


class Creates:
    """Factory.create."""

    def test_a_container_is_created(self, bench: Bench) -> None:
        """It has an init, which waits."""
        container = bench.create()
        assert status_now(container) is Status.CREATED
        assert container.init_pid is not None
        assert container.init_pid > 0
        assert bench.factory.ids() == [container.id]

    def test_an_id_that_is_taken(self, bench: Bench) -> None:
        """The other one stays what it was."""
        container = bench.running()
        with pytest.raises(ContainerExists, match="container with given ID already exists") as caught:
            bench.factory.create(container.id, bench.bundle(), stdin=-3, stdout=-3, stderr=-3)
        assert caught.value.container_id == container.id
        assert status_now(container) is Status.RUNNING

    def test_an_id_can_be_given_again(self, bench: Bench) -> None:
        """The old handle shows a container that has stopped, and does nothing to the new one."""
        old = bench.create()
        old.delete()
        new = bench.factory.create(old.id, bench.bundle(), stdin=-3, stdout=-3, stderr=-3)
        assert status_now(old) is Status.STOPPED
        assert status_now(new) is Status.CREATED
        with pytest.raises(IllegalOperation):
            old.start()
        with pytest.raises(ContainerNotFound):
            old.delete()
        assert status_now(new) is Status.CREATED

    @pytest.mark.parametrize("container_id", BAD_IDS.values(), ids=BAD_IDS)
    def test_an_id_that_cannot_be_one(self, bench: Bench, container_id: str) -> None:
        """It is refused before anything is made."""
        with pytest.raises(InvalidId):
            bench.factory.create(container_id, bench.bundle(), stdin=-3, stdout=-3, stderr=-3)
        assert bench.factory.ids() == []

    def test_a_program_that_is_not_there(self, bench: Bench) -> None:
        """It is said by create, or by start; after create nothing of it is left."""
        container_id = bench.new_id()
        with pytest.raises(ContainerError) as caught:
            bench.factory.create(container_id, bench.bundle(missing=True), stdin=-3, stdout=-3, stderr=-3).start()
        assert isinstance(caught.value, ProgramNotFound)
        bench.factory.delete(container_id, force=True)
        assert bench.left() == []

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_many_at_a_time(self, bench: Bench, number: int) -> None:
        """They are listed in the order of their ids, and have an init each."""
        made = [bench.create() for _ in range(number)]
        assert bench.factory.ids() == sorted(container.id for container in made)
        assert len({container.init_pid for container in made}) == number

    def test_nonsense_for_a_bundle(self, bench: Bench) -> None:
        """A path that no file can have."""
        with pytest.raises(ConfigError):
            bench.factory.create(bench.new_id(), "/bundle\0")
        assert bench.factory.ids() == []

    def test_what_it_was_made_of(self, bench: Bench) -> None:
        """Annotations, the bundle, when."""
        container = bench.create(bench.bundle(annotations={"org.example.key": "value", "empty": ""}))
        for handle in (container, bench.factory.load(container.id)):
            wanted = {"org.example.key": "value", "empty": ""}
            assert {key: value for key, value in handle.annotations.items() if key in wanted} == wanted
            assert handle.bundle == container.bundle
            assert handle.created == container.created
            assert handle.created.endswith("Z")

    def test_leaving_it_as_a_context_manager(self, bench: Bench) -> None:
        """It is killed and deleted, whatever it does."""
        with bench.running() as container:
            assert status_now(container) is Status.RUNNING
        assert status_now(container) is Status.STOPPED
        assert bench.left() == []


class Looks:
    """Load, list, state."""

    def test_no_container(self, bench: Bench) -> None:
        """It is not found, by whatever verb."""
        container_id = bench.new_id()
        for call in (bench.factory.load, bench.factory.delete):
            with pytest.raises(ContainerNotFound, match="container does not exist") as caught:
                call(container_id)
            assert caught.value.container_id == container_id

    @pytest.mark.parametrize("status", STATUSES)
    def test_the_state(self, bench: Bench, status: str) -> None:
        """As OCI has it, by any handle: the pid of a stopped one is 0."""
        container = _in_status(bench, status)
        for handle in (container, bench.factory.load(container.id), bench.factory.list()[0]):
            state = handle.state()
            assert (state.id, state.status, state.bundle) == (container.id, status, container.bundle)
            assert state.oci_version.startswith("1.")
            assert state.pid == (handle.init_pid or 0)
            assert bool(state.pid) == (status != "stopped")

    def test_a_handle_from_load_deletes_nothing(self, bench: Bench) -> None:
        """Leaving it as a context manager closes it."""
        container = bench.create()
        with bench.factory.load(container.id):
            pass
        assert status_now(container) is Status.CREATED

    def test_init_keeps_its_pid(self, bench: Bench) -> None:
        """From its creation on, whatever is done to it."""
        container = bench.create()
        pid = container.init_pid
        container.pause()
        assert container.init_pid == pid
        container.resume()
        container.start()
        assert (container.init_pid, container.processes()) == (pid, [pid])

    def test_list(self, bench: Bench) -> None:
        """All of them, each as it is."""
        made = [bench.create(), bench.running(), bench.stopped()]
        seen = {container.id: container.status for container in bench.factory.list()}
        assert seen == {
            made[0].id: Status.CREATED,
            made[1].id: Status.RUNNING,
            made[2].id: Status.STOPPED,
        }

    def test_explain(self, bench: Bench) -> None:
        """It says something of it."""
        assert bench.create().explain().strip()

    def test_sweep_leaves_what_is_whole(self, bench: Bench) -> None:
        """No crash left it."""
        made = [bench.create(), bench.running(), bench.paused(), bench.stopped()]
        before = [container.status for container in made]
        assert [swept for swept in bench.factory.sweep() if swept.removed] == []
        assert [container.status for container in made] == before


class Starts:
    """Container.start and exec."""

    def test_start(self, bench: Bench) -> None:
        """It runs, and every handle sees it."""
        container = bench.create()
        other = bench.factory.load(container.id)
        container.start()
        assert (container.status, other.status) == (Status.RUNNING, Status.RUNNING)

    def test_exec_starts_it_too(self, bench: Bench) -> None:
        """The locked verb alone."""
        container = bench.create()
        container.exec()
        assert status_now(container) is Status.RUNNING

    def test_by_another_handle(self, bench: Bench) -> None:
        """Whoever loads it may start it, once."""
        container = bench.create()
        bench.factory.load(container.id).start()
        with pytest.raises(IllegalOperation, match="cannot start an already running container"):
            container.start()

    def test_one_that_was_deleted(self, bench: Bench) -> None:
        """It has stopped, says its handle; exec knows that it is gone."""
        container = bench.create()
        container.delete()
        with pytest.raises(IllegalOperation, match="cannot start a container that has stopped"):
            container.start()
        with pytest.raises(ContainerNotFound):
            container.exec()

    def test_one_whose_init_died(self, bench: Bench) -> None:
        """Before it was started."""
        container = bench.create()
        bench.die(container)
        container.wait(bench.PATIENCE)
        with pytest.raises(IllegalOperation, match="cannot start a container that has stopped"):
            container.start()


class Pauses:
    """Container.pause and resume."""

    def test_one_paused_while_created_is_created_again(self, bench: Bench) -> None:
        """Its program has not run yet, and can be started then."""
        container = bench.create()
        container.pause()
        assert status_now(container) is Status.PAUSED
        container.resume()
        assert status_now(container) is Status.CREATED
        container.start()
        assert status_now(container) is Status.RUNNING

    def test_again_and_again(self, bench: Bench) -> None:
        """By several handles."""
        container = bench.running()
        for _ in range(3):
            bench.factory.load(container.id).pause()
            assert status_now(container) is Status.PAUSED
            container.resume()
            assert status_now(container) is Status.RUNNING

    def test_start_of_a_paused_one(self, bench: Bench) -> None:
        """It stays what it is."""
        container = bench.create()
        container.pause()
        with pytest.raises(IllegalOperation, match="cannot start a container in the paused state"):
            container.start()
        container.resume()
        assert status_now(container) is Status.CREATED
