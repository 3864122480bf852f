"""The hooks that the procedures run, and what sweep removes and leaves."""

from __future__ import annotations

import warnings

import pytest

from libcontainer_py.backends.memory import MemoryDirectory
from libcontainer_py.backends.procedures import EMPTY_AGE
from libcontainer_py.errors import (
    ContainerNotFound,
    HookError,
    HookWarning,
    StartError,
    StateError,
)
from libcontainer_py.lifecycle import Status
from tests.unit.scenes import (
    crash_at,
    create,
    created,
    destroy,
    destroy_by_force,
    fails,
    half_made,
    init_of,
    paused,
    picture,
    release,
    running,
    status,
    steps_of,
    stopped,
    world,
)

# -- hooks ------------------------------------------------------------------------------------------------------------


def kinds(backend):
    return [run.kind for run in backend.host.hooks_run]


def test_hooks_run_in_order_and_read_the_state():
    backend = world()
    running(backend)
    backend.kill(backend.load("web"))
    destroy(backend)
    runs = backend.host.hooks_run
    pid = f'"pid": {init_pid}' if (init_pid := runs[0].state.partition('"pid": ')[2].partition(",")[0]) else ""
    assert [(run.kind, run.path) for run in runs] == [
        ("prestart", "/prestart/0"),
        ("createRuntime", "/create_runtime/0"),
        ("createContainer", "/create_container/0"),
        ("startContainer", "/start_container/0"),
        ("poststart", "/poststart/0"),
        ("poststop", "/poststop/0"),
        ("poststop", "/poststop/1"),
    ]
    said = [run.state.partition('"status": "')[2].partition('"')[0] for run in runs]
    assert said == ["creating"] * 3 + ["created", "running", "stopped", "stopped"]
    assert all(pid in run.state for run in runs[:5])
    assert all('"pid": 0' in run.state for run in runs[5:])


def test_hooks_may_ask_for_the_container():
    backend = world()
    seen = []

    def ask(kind, state):
        assert "web" in backend.ids()
        try:
            seen.append((kind, status(backend)))
        except ContainerNotFound:
            seen.append((kind, "none yet"))

    for kind in ("prestart", "create_runtime", "create_container", "poststart", "poststop"):
        backend.host.hooks[f"/{kind}/0"] = ask
    stopped(backend)
    destroy(backend)
    assert seen == [
        ("prestart", "none yet"),
        ("createRuntime", "none yet"),
        ("createContainer", "none yet"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ]


@pytest.mark.parametrize("kind", ["prestart", "create_runtime", "create_container"])
def test_a_hook_of_create_that_fails_undoes_it(kind):
    backend = world()
    empty = picture(backend)
    backend.host.hooks[f"/{kind}/0"] = fails
    with pytest.raises(HookError):
        create(backend)
    assert picture(backend) == empty
    *_, failed, first, second = (name.lower() for name in kinds(backend))
    assert (failed, first, second) == (kind.replace("_", ""), "poststop", "poststop")  # runtime.md, Lifecycle 3 to 5


def test_a_start_container_hook_that_fails_is_an_error_of_start_and_the_container_is_destroyed():
    backend = world()
    empty = picture(backend)
    created(backend)
    backend.host.hooks["/start_container/0"] = fails
    with pytest.raises(StartError, match="exit code 1") as caught:
        release(backend)
    assert caught.value.step == "start_hooks"
    assert kinds(backend)[-3:] == ["startContainer", "poststop", "poststop"]
    assert picture(backend) == empty


def test_a_poststart_hook_that_fails_stops_and_destroys_the_container():
    backend = world()
    empty = picture(backend)
    created(backend)
    backend.host.hooks["/poststart/0"] = fails
    with pytest.raises(HookError):
        release(backend)
    assert kinds(backend)[-3:] == ["poststart", "poststop", "poststop"]
    assert picture(backend) == empty


def test_a_poststop_hook_that_fails_is_a_warning_and_the_others_run():
    backend = world()
    empty = picture(backend)
    stopped(backend)
    backend.host.hooks["/poststop/0"] = fails
    with pytest.warns(HookWarning, match="poststop hook 0 of 2"):
        destroy(backend)
    assert kinds(backend)[-2:] == ["poststop", "poststop"]
    assert picture(backend) == empty


# -- sweep ------------------------------------------------------------------------------------------------------------


def swept(backend, container_id="web"):
    """What sweep says of one: removed or not, or None where it says nothing."""
    found = [each for each in backend.sweep() if each.id == container_id]
    assert len(found) <= 1
    return found[0].removed if found else None


@pytest.mark.parametrize("before", [created, running, paused, stopped])
def test_a_complete_container_is_not_swept(before):
    backend = world()
    before(backend)
    backend.crash()  # also when its creator is gone
    seen = picture(backend)
    assert swept(backend) is None
    assert picture(backend) == seen


def test_another_runtimes_directory_is_reported_and_left():
    backend = world()
    assert swept(backend, "crun") is False
    with pytest.raises(StateError):
        backend.destroy("crun", force=True)
    assert "crun" in backend.ids()


def test_an_empty_directory_is_left_for_a_minute():
    backend = world()
    backend.store.directories["web"] = MemoryDirectory(changed=backend.host.now())
    assert swept(backend) is False
    backend.host.clock.advance(EMPTY_AGE + 1)
    assert swept(backend) is True
    assert "web" not in backend.ids()


def test_what_is_being_created_is_left():
    backend = world()
    backend.host.hooks["/create_runtime/0"] = lambda kind, state: seen.append(swept(backend))
    seen: list[bool | None] = []
    create(backend)
    assert seen == [None]
    assert status(backend) == "created"


def test_what_a_living_creator_began_is_left_also_without_its_lock():
    backend, _ = crash_at("birth.born")
    backend.store.crash()  # its locks are gone, but it lives
    assert swept(backend) is None
    assert "web" in backend.ids()


def test_what_somebody_works_on_is_left():
    backend = world()
    half_made(backend)
    with backend.store.lock("web", timeout=0):
        assert swept(backend) is None
        assert "web" in backend.ids()
    assert swept(backend) is True


def test_an_init_that_was_let_go_is_left_also_where_its_state_is_torn():
    backend, _ = crash_at("birth.let_go")
    backend.crash()
    init = init_of(backend)
    backend.store.tear("web")
    assert swept(backend) is None
    assert backend.host.alive(init)
    backend.host.end(init, 1)
    assert swept(backend) is True


def test_an_intent_of_another_pid_namespace_is_left_and_one_from_before_a_reboot_is_swept():
    backend, _ = crash_at("birth.born")
    backend.crash()
    intent = backend.store.intent("web")
    backend.store.note("web", intent._replace(pid_namespace=2))
    assert swept(backend) is None
    backend.store.note("web", intent._replace(boot_id="another"))
    assert swept(backend) is True
    assert "web" not in backend.ids()


def test_a_torn_state_is_an_error_that_force_gets_past():
    backend = world()
    stopped(backend)
    backend.store.tear("web")
    with pytest.raises(StateError, match=r"/run/memory/web/state\.json"):
        destroy(backend)
    destroy_by_force(backend)
    assert "web" not in backend.ids()


def test_a_torn_state_is_swept_once_nobody_uses_it():
    backend = world()
    created(backend)
    init = init_of(backend)
    backend.store.tear("web")
    assert swept(backend) is False
    backend.host.end(init, 1)
    assert swept(backend) is True
    assert "web" not in backend.ids()


@pytest.mark.parametrize("before", [running, paused, stopped])
def test_a_torn_state_leaves_nothing_either(before):
    backend = world()
    empty = picture(backend)
    before(backend)
    backend.store.tear("web")
    destroy_by_force(backend)
    assert picture(backend) == empty


def test_a_torn_state_of_a_running_container_is_not_swept():
    backend = world()
    running(backend)
    backend.store.tear("web")
    assert swept(backend) is False
    assert "web" in backend.ids()


def test_nothing_warned():
    """The scenarios above run their poststop hooks: none of them may warn by the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps_of(stopped, destroy)


def test_the_statuses_of_a_killed_and_frozen_one():
    backend = world()
    paused(backend)
    backend.host.end(init_of(backend), -9)
    assert status(backend) == Status.STOPPED
    assert backend.host.frozen(backend.load("web"))
    destroy(backend)
