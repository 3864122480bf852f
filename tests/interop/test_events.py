"""Events of a container that runc made and runc acts on."""

from __future__ import annotations

import pytest

from libcontainer_py import Exited, ExitStatus, Paused, Resumed, Started
from tests.crashes import PATIENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.interop.conftest import Yard


def test_the_life_of_theirs(yard: Yard) -> None:
    container_id = yard.runc_create()
    with yard.factory.load(container_id).events() as events:
        for verb, kind in (("start", Started), ("pause", Paused), ("resume", Resumed)):
            yard.runc(verb, container_id)
            assert events.next(PATIENCE) == kind(container_id)
        yard.runc("kill", container_id, "KILL")
        assert [*events] == [Exited(container_id, ExitStatus(None))]  # the kernel tells its parent alone


@pytest.mark.parametrize("ours", [True, False])
def test_they_start_and_end_before_anybody_looks(yard: Yard, ours: bool) -> None:
    container_id = yard.create().id if ours else yard.runc_create()
    with yard.factory.load(container_id).events() as events:
        yard.runc("start", container_id)
        yard.runc("kill", container_id, "KILL")
        yard.factory.load(container_id).wait(PATIENCE)
        assert [type(event) for event in events.ready()] == [Started, Exited]


def test_ours_that_they_delete_without_a_start(yard: Yard) -> None:
    """They remove exec.fifo of one that was never started: as who starts it does."""
    container = yard.create()
    with container.events() as events:
        yard.runc("delete", "--force", container.id)
        assert [type(event) for event in events.ready()] == [Exited]
        container.wait(PATIENCE)
