"""The procedures over the memory backend's store and host: their order, what callers get, races."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from libcontainer_py import Factory, Spec, Status
from libcontainer_py.backends.base import CreateRequest, Failure
from libcontainer_py.backends.memory import MemoryBackend, MemoryProgram
from libcontainer_py.backends.procedures import Procedures
from libcontainer_py.errors import (
    CgroupError,
    ConfigError,
    ContainerExists,
    ContainerNotFound,
    ContainerTimeout,
    CreateError,
    IllegalOperation,
    InvalidId,
    ProgramNotFound,
    StartError,
)
from tests.unit.scenes import (
    SCENARIOS,
    Crash,
    Tap,
    Tapped,
    crash_at,
    create,
    created,
    destroy,
    destroy_by_force,
    init_of,
    nothing,
    paused,
    picture,
    release,
    run_into,
    running,
    status,
    steps_of,
    stopped,
    world,
)

# -- order ------------------------------------------------------------------------------------------------------------


def test_the_order_of_create():
    steps = steps_of(nothing, create)
    once = [
        "host.prepare",
        "store.lock",
        "store.make",
        "host.make_birthplace",
        "host.make_init",
        "birth.make_cgroups",
        "birth.born",
        "birth.until_mounted",
        "birth.go_on",
        "store.draft",
        "birth.until_ready",
        "store.publish",
        "birth.let_go",
        "store.settle",
        "store.unlock",
    ]
    assert [step for step in steps if step in once] == once
    assert steps.index("store.make") < steps.index("store.make_fifo") < steps.index("birth.born")
    assert [steps[index - 1] for index, step in enumerate(steps) if step == "store.note"] == [
        "host.make_birthplace",
        "birth.make_cgroups",
        "birth.born",
    ]
    assert [steps[index - 2 : index] for index, step in enumerate(steps) if step == "birth.go_on"] == [
        ["host.run_hooks", "host.run_hooks"]
    ]


def test_what_is_made_was_written_down_before():
    backend = world()
    path = "/sys/fs/cgroup/web"
    seen = []

    def watch(step):
        intent = backend.store.intent("web") if "web" in backend.store.directories else None
        if step == "host.make_birthplace":
            assert intent is not None
            assert dict(intent.cgroups) == {path: 0}
            assert intent.creator == backend.host.creator().creator
        elif step in ("host.make_init", "birth.born"):
            assert dict(intent.cgroups) == {path: backend.host.cgroups[path].inode}
            assert intent.init is None
        elif step == "birth.until_mounted":
            assert backend.host.alive(intent.init)
        elif step == "birth.let_go":
            assert backend.load("web").init == intent.init
            assert backend.host.processes[intent.init].phase == "born"
        elif step == "store.settle":
            assert intent is not None
        else:
            return
        seen.append(step)

    create(Tap(backend, watch=watch).procedures())
    assert len(seen) == 6
    assert backend.store.intent("web") is None


@pytest.mark.parametrize(
    ("scenario", "first", "last"),
    [("create", "store.make", "store.settle"), ("release", "store.open_fifo", "host.run_hooks"),
     ("destroy stopped", "host.kill_cgroups", "store.remove")],
)  # fmt: skip
def test_what_changes_things_holds_the_lock(scenario, first, last):
    before, act = SCENARIOS[scenario]
    backend = world()
    before(backend)
    held = []
    tap = Tap(backend, watch=lambda step: held.append((step, "web" in backend.store.locked)))
    act(tap.procedures())
    names = [step for step, _ in held]
    end = len(names) - names[::-1].index(last)
    assert all(locked for _, locked in held[names.index(first) : end])
    assert backend.store.locked == {}


def test_what_only_looks_takes_no_lock():
    backend = world()
    created(backend)
    tap = Tap(backend)
    procedures = tap.procedures()
    record = procedures.load("web")
    procedures.observe(record)
    procedures.ids()
    procedures.freeze(record)
    procedures.thaw(record)
    procedures.signal(record, 10)
    procedures.kill(record)
    assert "store.lock" not in tap.steps


def test_destroy_by_force_kills_before_it_waits_for_the_lock():
    steps = steps_of(running, destroy_by_force)
    assert steps.index("host.kill") < steps.index("store.lock")
    assert steps[-2:] == ["store.remove", "store.unlock"]


# -- what callers get -------------------------------------------------------------------------------------------------


def test_an_id_that_is_taken_and_ids_that_cannot_be():
    backend = world()
    created(backend)
    before = picture(backend)
    with pytest.raises(ContainerExists):
        create(backend)
    for container_id in ("", ".", "..", "a/b", "é", "x" * 256):
        with pytest.raises(InvalidId):
            backend.create(CreateRequest(container_id, "/bundle"))
    assert picture(backend) == before


def test_missing_containers():
    backend = world()
    for act in (destroy, release, lambda procedures: procedures.load("web")):
        with pytest.raises(ContainerNotFound):
            act(backend)
    destroy_by_force(backend)


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (running, "cannot start an already running container"),
        (paused, "cannot start a container in the paused state"),
        (stopped, "cannot start a container that has stopped"),
    ],
)
def test_a_start_that_is_not_legal_opens_no_fifo(before, text):
    backend = world()
    before(backend)
    seen = picture(backend)
    tap = Tap(backend)
    with pytest.raises(IllegalOperation, match=text):
        release(tap.procedures())
    assert "store.open_fifo" not in tap.steps
    assert picture(backend) == seen


@pytest.mark.parametrize("before", [running, paused])
def test_a_delete_that_is_not_legal_changes_nothing(before):
    backend = world()
    before(backend)
    seen = picture(backend)
    with pytest.raises(IllegalOperation, match="cannot delete container web that is not stopped"):
        destroy(backend)
    assert picture(backend) == seen


def test_a_delete_takes_no_time():
    backend = world()
    begun = backend.host.now()
    for before, act in ((created, destroy), (running, destroy_by_force), (paused, destroy_by_force)):
        before(backend)
        act(backend)
    assert backend.host.now() == begun


def test_one_that_vanishes_while_a_delete_waits_for_its_turn():
    for force in (True, False):
        backend = world()
        stopped(backend)

        def first(step, backend=backend):
            if step == "store.lock":
                backend.destroy("web", force=True)

        procedures = Tap(backend, watch=first).procedures()
        if force:
            procedures.destroy("web", force=True)
        else:
            with pytest.raises(ContainerNotFound):
                procedures.destroy("web", force=False)


def test_a_start_finishes_what_a_killed_create_began():
    """Its intent says that it is half-made, so that a sweep would remove it as soon as it has stopped."""
    backend, _ = crash_at("birth.let_go")
    backend.crash()
    release(backend)
    assert backend.store.intent("web") is None
    backend.host.end(init_of(backend), 0)
    assert [swept for swept in backend.sweep() if swept.removed] == []
    assert status(backend) == "stopped"


def test_a_stale_fifo_goes_also_where_nobody_can_tell_that_init_left_it():
    backend, _ = run_into("release", steps_of(created, release).index("store.unlink_fifo"), "before", Crash)
    backend.crash()

    class Blind(Tapped):
        def __getattr__(self, name):
            return (lambda init: True) if name == "at_fifo" else super().__getattr__(name)

    tap = Tap(backend)
    with pytest.raises(IllegalOperation, match="cannot start an already running container"):
        Procedures(backend.store, Blind(tap, "host", backend.host)).release("web", timeout=None)
    assert not backend.store.has_fifo("web")
    assert status(backend) == "running"


def test_a_cgroup_in_use_is_refused():
    backend = world()
    backend.host.make_cgroup("/sys/fs/cgroup/web")
    stranger = backend.host.spawn()
    stranger.cgroups = ("/sys/fs/cgroup/web",)
    before = picture(backend)
    with pytest.raises(CgroupError, match="not empty"):
        create(backend)
    assert picture(backend) == before


def test_a_program_that_is_missing_is_an_error_of_create():
    backend = world()
    empty = picture(backend)
    backend.host.program = MemoryProgram(found=False)
    with pytest.raises(ProgramNotFound, match="executable file not found in"):
        create(backend)
    assert picture(backend) == empty


def test_an_init_that_is_killed_while_it_is_born_is_an_error_of_create():
    backend = world()
    empty = picture(backend)
    backend.host.hooks["/create_runtime/0"] = lambda kind, state: backend.host.end(backend.store.intent("web").init, -9)
    with pytest.raises(CreateError, match="ended before it was ready"):
        create(backend)
    assert picture(backend) == empty


@pytest.mark.parametrize(("number", "kind"), [(2, ProgramNotFound), (13, ProgramNotFound), (8, StartError)])
def test_an_execve_that_fails_is_an_error_of_start(number, kind):
    backend = world()
    empty = picture(backend)
    backend.host.program = MemoryProgram(failure=Failure("execute", number, "exec /bin/x: no"))
    created(backend)
    with pytest.raises(kind, match="exec /bin/x: no") as caught:
        release(backend)
    assert type(caught.value) is kind
    assert (caught.value.step, caught.value.errno, caught.value.container_id) == ("execute", number, "web")
    assert status(backend) == "stopped"
    destroy(backend)
    assert picture(backend) == empty


def test_a_start_whose_init_does_not_come_times_out_and_the_container_stays_created():
    backend = world()
    created(backend)
    backend.signal(backend.load("web"), 19)
    begun = backend.host.now()
    with pytest.raises(ContainerTimeout) as caught:
        backend.release("web", timeout=2.5)
    assert (caught.value.timeout, caught.value.released) == (2.5, False)
    assert backend.host.now() - begun == 2.5
    assert status(backend) == "created"
    backend.signal(backend.load("web"), 18)
    release(backend)
    assert status(backend) == "running"


def test_a_delete_of_a_killed_init_that_hangs_says_so(monkeypatch):
    backend = world()
    running(backend)
    with monkeypatch.context() as patch:
        patch.setattr(backend.host, "kill", lambda record: None)
        patch.setattr(backend.host, "signal", lambda init, signal: None)
        with pytest.raises(ContainerTimeout, match="did not end within 10 s of SIGKILL"):
            destroy_by_force(backend)
    assert status(backend) == "running"
    assert backend.store.locked == {}


# -- races ------------------------------------------------------------------------------------------------------------


def race(*calls):
    """Run the calls at once, each in its thread. Returns what each raised, or None."""
    barrier = threading.Barrier(len(calls))
    results = [None] * len(calls)

    def run(number, call):
        barrier.wait()
        try:
            call()
        except BaseException as error:  # noqa: BLE001  (the test looks at each)
            results[number] = error

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return results


@pytest.mark.parametrize("racers", [2, 8])
def test_of_racing_starts_one_wins(racers):
    for _ in range(25):
        backend = world()
        created(backend)
        results = race(*[partial(release, backend)] * racers)
        losers = [error for error in results if error is not None]
        assert len(losers) == racers - 1
        for error in losers:
            assert isinstance(error, IllegalOperation)
            assert str(error) == "cannot start an already running container"
        assert status(backend) == "running"
        assert [run.kind for run in backend.host.hooks_run].count("poststart") == 1


def test_of_racing_creates_one_wins():
    for _ in range(25):
        backend = world()
        results = race(*[partial(create, backend)] * 4)
        losers = [error for error in results if error is not None]
        assert [type(error) for error in losers] == [ContainerExists] * 3
        assert status(backend) == "created"


def test_racing_deletes_by_force_all_succeed():
    for _ in range(25):
        backend = world()
        empty = picture(backend)
        running(backend)
        assert race(*[partial(destroy_by_force, backend)] * 4) == [None] * 4
        assert picture(backend) == empty


def test_a_delete_by_force_ends_a_start_that_hangs():
    backend = world()
    empty = picture(backend)
    created(backend)
    backend.signal(backend.load("web"), 19)
    backend.host.clock.autojump = False  # the start would wait for ever
    waits = threading.Event()
    tap = Tap(backend, watch=lambda step: waits.set() if step == "gate.take" else None)

    def delete():
        assert waits.wait(30)
        destroy_by_force(backend)

    start, deleted = race(lambda: release(tap.procedures()), delete)
    assert deleted is None
    assert str(start) == "cannot start a container that has stopped"
    assert picture(backend) == empty


def test_sweeps_beside_creates_harm_none():
    backend = world()
    swept = []
    ids = [f"c{number}" for number in range(20)]
    results = race(
        *[lambda name=name: backend.create(CreateRequest(name, "/bundle")) for name in ids],
        *[lambda: swept.extend(backend.sweep())] * 4,
    )
    assert results == [None] * len(results)
    assert [each for each in swept if each.removed] == []
    assert {status(backend, name) for name in ids} == {"created"}


def test_a_handle_leaves_another_container_with_its_id_alone():
    backend = world()
    factory = Factory(backend=backend)
    with factory.create("web", Spec.minimal(["true"])) as old:
        factory.delete("web", force=True)
        new = factory.create("web", Spec.minimal(["true"]))
        with pytest.raises(ContainerNotFound):
            old.exec()
        with pytest.raises(ContainerNotFound):
            old.delete()
    assert new.status is Status.CREATED
    backend.store.tear("web")
    old.delete(force=True)
    backend.store.mend("web")
    assert new.status is Status.CREATED


def test_an_empty_root_is_not_the_working_directory():
    with pytest.raises(ValueError, match="an empty root"):
        Factory("")


@pytest.mark.parametrize(("path", "reason"), [("/a\0b", "NUL character"), ("/a\ud800b", "no file name can have")])
def test_paths_that_no_system_call_takes(path, reason):
    with pytest.raises(ValueError, match=f"the path of the root contains .*{reason}"):
        Factory(path)
    with pytest.raises(ConfigError, match=f"the path of the bundle contains .*{reason}") as caught:
        Factory(backend=MemoryBackend()).create("web", path)
    assert caught.value.problems[0].value == path
