"""A kill -9 or an error at any step of the procedures, and what it leaves."""

from __future__ import annotations

import pytest

from libcontainer_py.backends.procedures import Procedures
from libcontainer_py.errors import (
    IllegalOperation,
)
from tests.unit.scenes import (
    REQUEST,
    SCENARIOS,
    Crash,
    Tap,
    crash_at,
    create,
    moments,
    nothing,
    picture,
    run_into,
    status,
    steps_of,
    update,
    world,
)

# -- kill -9 ----------------------------------------------------------------------------------------------------------

MOMENTS = [(scenario, *moment) for scenario in SCENARIOS for moment in moments(scenario) if moment[2] != "store.unlock"]


@pytest.mark.parametrize(("scenario", "number", "when", "step"), MOMENTS)
def test_after_a_crash_a_delete_by_force_leaves_nothing(scenario, number, when, step):
    backend, empty = run_into(scenario, number, when, Crash)
    backend.crash()
    Procedures(backend.store, backend.host).destroy("web", force=True)
    assert picture(backend) == empty


@pytest.mark.parametrize(
    ("scenario", "number", "when", "step"),
    [moment for moment in MOMENTS if moment[0] in {"create", "destroy half-made", "sweep half-made"}],
)
def test_after_a_crash_a_sweep_leaves_nothing_or_a_container(scenario, number, when, step):
    backend, empty = run_into(scenario, number, when, Crash)
    backend.crash()
    procedures = Procedures(backend.store, backend.host)
    removed = [swept.id for swept in procedures.sweep() if swept.removed]
    if "web" in backend.ids():
        # init was let go, so it is a container as good as any
        assert removed == []
        assert status(backend) == "created"
        procedures.release("web", timeout=None)
        assert status(backend) == "running"
        procedures.destroy("web", force=True)
    assert removed in ([], ["web"])
    assert picture(backend) == empty
    assert [swept for swept in procedures.sweep() if swept.removed] == []


@pytest.mark.parametrize(
    ("scenario", "number", "when", "step"), [moment for moment in MOMENTS if moment[0] == "release"]
)
def test_after_a_crash_of_start_the_next_caller_gets_a_right_answer(scenario, number, when, step):
    backend, _ = run_into(scenario, number, when, Crash)
    backend.crash()
    procedures = Procedures(backend.store, backend.host)
    seen = status(backend)
    if seen == "created":
        procedures.release("web", timeout=None)
    else:
        assert seen == "running"
        with pytest.raises(IllegalOperation, match="cannot start an already running container"):
            procedures.release("web", timeout=None)
    assert status(backend) == "running"
    assert not backend.store.has_fifo("web")


@pytest.mark.parametrize(
    ("scenario", "number", "when", "step"), [moment for moment in MOMENTS if moment[0].startswith("destroy stopped")]
)
def test_after_a_crash_of_delete_it_is_there_to_be_deleted_or_gone(scenario, number, when, step):
    backend, empty = run_into(scenario, number, when, Crash)
    backend.crash()
    procedures = Procedures(backend.store, backend.host)
    assert [swept for swept in procedures.sweep() if swept.removed] == []
    if "web" in backend.ids():
        assert status(backend) == "stopped"
        procedures.destroy("web", force=False)
    assert picture(backend) == empty


@pytest.mark.parametrize("undo", ["destroy", "sweep"])
def test_a_cgroup_that_another_made_meanwhile_is_left_alone(undo):
    backend, _ = crash_at("host.make_init")
    backend.crash()
    path = "/sys/fs/cgroup/web"
    del backend.host.cgroups[path]
    cgroup = backend.host.make_cgroup(path)
    stranger = backend.host.spawn()
    stranger.cgroups = (path,)
    procedures = Procedures(backend.store, backend.host)
    procedures.sweep() if undo == "sweep" else procedures.destroy("web", force=True)
    assert "web" not in backend.ids()
    assert backend.host.cgroups[path] is cgroup
    assert stranger.alive


@pytest.mark.parametrize("undo", ["destroy", "sweep"])
def test_a_cgroup_that_we_may_not_have_made_is_left_alone_where_somebody_is_in_it(undo):
    backend, _ = crash_at("store.make")  # the inode is not known yet
    backend.crash()
    path = "/sys/fs/cgroup/web"
    backend.host.make_cgroup(path)
    stranger = backend.host.spawn()
    stranger.cgroups = (path,)
    procedures = Procedures(backend.store, backend.host)
    procedures.sweep() if undo == "sweep" else procedures.destroy("web", force=True)
    assert "web" not in backend.ids()
    assert path in backend.host.cgroups
    assert stranger.alive


@pytest.mark.parametrize("undo", ["destroy", "sweep"])
def test_the_process_that_has_the_pid_now_is_left_alone(undo):
    backend, empty = crash_at("store.note", nth=2)
    backend.crash()
    stranger = backend.host.reuse_pid(backend.store.intent("web").init)
    procedures = Procedures(backend.store, backend.host)
    procedures.sweep() if undo == "sweep" else procedures.destroy("web", force=True)
    assert stranger.alive
    assert picture(backend) == empty


@pytest.mark.parametrize(
    ("scenario", "number", "when", "step"), [moment for moment in MOMENTS if moment[0].startswith("update")]
)
def test_after_a_crash_of_update_it_runs_and_can_be_updated(scenario, number, when, step):
    backend, _ = run_into(scenario, number, when, Crash)
    backend.crash()
    assert status(backend) == "running"
    assert limits(backend)[0] in ({"pids": {"limit": 5}, "cpu": {"shares": 512}}, UPDATED)
    update(Procedures(backend.store, backend.host))
    assert limits(backend) == (UPDATED, UPDATED)


# -- errors -----------------------------------------------------------------------------------------------------------

UPDATED = {"pids": {"limit": 7}, "cpu": {"shares": 512}}


def limits(backend):
    """Those of the cgroup, and those that are written down."""
    cgroup = backend.host.cgroups["/sys/fs/cgroup/web"]
    return cgroup.resources.to_dict(), backend.host.resources(backend.load("web")).to_dict()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("scenario", "number", "when", "step"), [each for each in MOMENTS if each[0].startswith("update")]
)
def test_an_update_that_fails_changes_nothing(scenario, number, when, step, error):
    backend, _ = run_into(scenario, number, when, error)
    assert backend.store.locked == {}
    old = {"pids": {"limit": 5}, "cpu": {"shares": 512}}
    if (step, when) == ("store.save", "after"):
        # what is written down is done; what comes right after it (Ctrl-C) has the limits as they were
        assert limits(backend) == (old, UPDATED)
    elif (step, when) == ("host.set_resources", "after"):
        # it undoes itself; what comes between its end and the next line is as a kill -9
        assert limits(backend) == (UPDATED, old)
    else:
        assert limits(backend) == (old, old)
    update(Procedures(backend.store, backend.host))
    assert limits(backend) == (UPDATED, UPDATED)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize(("scenario", "number", "when", "step"), [each for each in MOMENTS if each[0] == "create"])
def test_a_create_that_fails_leaves_nothing(scenario, number, when, step, error):
    backend, empty = run_into(scenario, number, when, error)
    if (step, when) == ("store.make", "after"):
        # make undoes itself; what comes between its end and the next line (Ctrl-C) is as a kill -9
        backend.destroy("web", force=True)
    assert picture(backend) == empty
    backend.create(REQUEST)  # and the id is free
    assert status(backend) == "created"


@pytest.mark.parametrize(("scenario", "number", "when", "step"), [each for each in MOMENTS if each[0] == "release"])
def test_a_start_that_fails_leaves_a_container_and_no_lock(scenario, number, when, step):
    backend, empty = run_into(scenario, number, when, OSError)
    assert backend.store.locked == {}
    lost = (step, when) in {("store.open_fifo", "after"), ("gate.close", "before")}
    assert picture(backend)["readers"] == int(lost)
    assert status(backend) in {"created", "running"}
    backend.store.crash()  # the descriptor that could not be closed
    backend.destroy("web", force=True)
    assert picture(backend) == empty


@pytest.mark.parametrize(
    ("scenario", "number", "when", "step"), [each for each in MOMENTS if each[0].startswith("destroy")]
)
def test_a_delete_that_fails_can_be_repeated(scenario, number, when, step):
    backend, empty = run_into(scenario, number, when, OSError)
    assert backend.store.locked == {}
    backend.destroy("web", force=True)
    assert picture(backend) == empty


def test_each_injected_error_would_be_seen():
    """The scenarios have steps, and the taps fire: without that, all of the above would say nothing."""
    assert {scenario for scenario, *_ in MOMENTS} == set(SCENARIOS)
    assert {step.partition(".")[0] for *_, step in MOMENTS} == {"store", "host", "birth", "gate"}
    assert len(MOMENTS) > 200


def test_init_is_ended_where_its_cgroup_is_not_ours():
    """The cgroup was there before, so that it is neither killed nor removed: init itself must be."""

    def others_cgroup(backend):
        backend.host.make_cgroup("/sys/fs/cgroup/web")

    backend = world()
    others_cgroup(backend)
    before = picture(backend)
    number = steps_of(others_cgroup, create).index("store.settle")  # init is at the fifo, and does not end by itself
    with pytest.raises(OSError, match="injected"):
        create(Tap(backend, at=number, error=OSError).procedures())
    assert picture(backend) == before


def test_an_init_that_is_given_up_is_let_down_before_it_is_killed():
    number = steps_of(nothing, create).index("birth.until_ready")
    tap = Tap(world(), at=number, error=OSError)
    with pytest.raises(OSError, match="injected"):
        create(tap.procedures())
    assert tap.steps.index("birth.abandon") < tap.steps.index("host.signal")


def test_a_delete_of_another_pid_namespaces_half_made_one_touches_no_process():
    backend, _ = crash_at("birth.born")
    backend.crash()
    intent = backend.store.intent("web")
    namesake = backend.host.spawn()
    backend.store.note("web", intent._replace(pid_namespace=2, init=namesake.init))
    Procedures(backend.store, backend.host).destroy("web", force=True)
    assert "web" not in backend.ids()
    assert namesake.alive
    assert "/sys/fs/cgroup/web" in backend.host.cgroups
