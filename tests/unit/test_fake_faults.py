"""Faults of the fake: each comes when it was planned, and the library does with it what it does on Linux."""

from __future__ import annotations

import asyncio
import errno

import pytest

from libcontainer_py import (
    CgroupError,
    ContainerNotFound,
    CreateError,
    ExitStatus,
    IllegalOperation,
    Sandbox,
    StateError,
    Status,
    aio,
    run,
)
from libcontainer_py.testing.fake import FakeFactory
from libcontainer_py.testing.faults import STEPS, VERBS, Crashed
from libcontainer_py.testing.programs import exits, runs_forever


def what_is_left(fake: FakeFactory) -> tuple[list[str], list[str], list[int]]:
    host = fake.memory.host
    return fake.ids(), [*host.cgroups], [one.init.pid for one in host.processes.values() if one.alive and one.cgroups]


NOTHING: tuple[list[str], list[str], list[int]] = ([], [], [])


def test_a_verb_fails_once():
    fake = FakeFactory()
    container = fake.create("web")
    fake.fail_next("start", OSError(errno.EPERM, "Operation not permitted"))
    with pytest.raises(PermissionError):
        container.start()
    assert container.status is Status.CREATED
    container.start()
    assert container.status is Status.RUNNING


def test_the_third_time():
    fake = FakeFactory(program=exits())
    fake.fail_next("create", CreateError("no more"), skip=2)
    run(["a"], factory=fake)
    run(["b"], factory=fake)
    with pytest.raises(CreateError, match="no more"):
        run(["c"], factory=fake)
    run(["d"], factory=fake)


NOT_AT_CREATE = {"birth.abandon", "birth.terminal", "store.made"}


@pytest.mark.parametrize(
    "step", sorted(step for step in STEPS if step.startswith(("birth.", "store.d", "store.m", "store.pub")))
)
def test_a_create_that_fails_at_any_step_leaves_nothing(step):
    fake = FakeFactory()
    fake.fail_next(step, CreateError("planned"))
    if step in NOT_AT_CREATE:
        fake.create("web")
    else:
        with pytest.raises(CreateError, match="planned"):
            fake.create("web")
        assert what_is_left(fake) == NOTHING
        fake.create("web")
    assert fake.load("web").status is Status.CREATED


@pytest.mark.parametrize("step", ["make_cgroups", "publish", "let_go", "settle"])
def test_a_crash_in_the_middle_of_create(step):
    fake = FakeFactory()
    fake.crash_at(step)
    with pytest.raises(Crashed):
        fake.create("web")
    if step == "settle":  # init was let go: it is a container as good as any
        assert [swept.id for swept in fake.sweep() if swept.removed] == []
        fake.load("web").start()
        fake.delete("web", force=True)
    else:
        assert [swept.id for swept in fake.sweep() if swept.removed] == ["web"]
    assert what_is_left(fake) == NOTHING


def test_a_crash_between_verbs():
    fake = FakeFactory(program=exits(0, after=5))
    mine = fake.create("mine", die_with_parent=True)
    other = fake.create("other")
    mine.start()
    other.start()
    fake.crash()
    assert (mine.status, other.status) == (Status.STOPPED, Status.RUNNING)
    assert [swept.id for swept in fake.sweep()] == ["mine"]
    again = fake.load("other")
    assert again.wait() == ExitStatus(None)  # the kernel tells only the parent
    again.delete()
    assert what_is_left(fake) == NOTHING


def test_a_crash_in_asyncio_and_in_a_command():
    fake = FakeFactory(program=runs_forever())
    fake.crash_at("start")
    with pytest.raises(Crashed):
        run(["x"], factory=fake)
    fake.crash_at("publish")
    with pytest.raises(Crashed):
        asyncio.run(aio.run(["x"], factory=aio.Factory(backend=fake.backend)))
    fake.sweep()
    assert what_is_left(fake) == NOTHING


@pytest.mark.parametrize("step", ["until_mounted", "go_on", "until_ready"])
def test_init_dies_while_it_is_made(step):
    fake = FakeFactory()
    fake.kill_init_at(step)
    with pytest.raises(CreateError, match="ended before it was ready"):
        fake.create("web")
    assert what_is_left(fake) == NOTHING


def test_init_dies_before_the_fifo():
    fake = FakeFactory()
    container = fake.create("web")
    fake.kill_init_at("open_fifo")
    with pytest.raises(IllegalOperation, match="cannot start a container that has stopped"):
        container.start()


def test_another_has_its_pid():
    fake = FakeFactory()
    container = fake.create("web")
    container.start()
    pid = container.init_pid
    fake.reuse_pid("web")
    assert (container.status, container.init_pid) == (Status.STOPPED, None)
    container.delete(force=True)
    assert pid in [one.init.pid for one in fake.memory.host.processes.values() if one.alive]


def test_torn_state():
    fake = FakeFactory()
    fake.create("web")
    fake.tear("web")
    with pytest.raises(StateError):
        fake.load("web")
    broken: list[StateError] = []
    assert fake.list(on_error=broken.append) == []
    assert [error.container_id for error in broken] == ["web"]
    fake.mend("web")
    assert fake.load("web").status is Status.CREATED
    fake.tear("web")
    fake.delete("web", force=True)
    assert what_is_left(fake) == NOTHING


def test_a_start_that_loses():
    fake = FakeFactory()
    container = fake.create("web")
    fake.lose_next_start()
    with pytest.raises(IllegalOperation, match="cannot start an already running container"):
        container.start()
    assert container.status is Status.RUNNING


def test_a_cgroup_that_stays():
    fake = FakeFactory()
    fake.create("other")
    container = fake.create("web")
    container.kill()
    free = fake.stick_cgroup("web")
    for _ in range(2):
        with pytest.raises(CgroupError) as raised:
            container.delete()
        assert raised.value.errno == errno.EBUSY
    fake.delete("other")
    assert fake.ids() == ["web"]
    free()
    container.delete()
    assert what_is_left(fake) == NOTHING


def test_a_full_disk():
    fake = FakeFactory()
    empty = fake.fill_disk()
    for _ in range(2):
        with pytest.raises(StateError, match="No space left"):
            Sandbox(factory=fake)
    assert what_is_left(fake) == NOTHING
    empty()
    with Sandbox(factory=fake):
        assert len(fake.ids()) == 1


def test_what_is_no_moment():
    fake = FakeFactory()
    with pytest.raises(ValueError, match="neither a verb nor a step"):
        fake.fail_next("stat", OSError())
    with pytest.raises(ValueError, match=r"birth.make_cgroups") as raised:
        fake.fail_next("make_cgroup", OSError())
    assert all(word in str(raised.value) for word in VERBS)


def test_moments_are_known():
    fake = FakeFactory()
    fake.create("web")
    assert fake.moments[:2] == ["create", "store.directory"]
    with pytest.raises(ContainerNotFound):
        fake.load("other")
    assert fake.moments[-2:] == ["load", "store.load"]
