"""Events over the memory backend, and what is made of two looks."""

from __future__ import annotations

import gc
import select
import threading

import attrs
import pytest

from libcontainer_py import (
    Container,
    ContainerTimeout,
    Event,
    Exited,
    ExitStatus,
    Factory,
    MemoryBackend,
    MemoryPressure,
    OomKill,
    OutOfMemory,
    Paused,
    Resumed,
    Started,
)
from libcontainer_py.backends.base import Failure
from libcontainer_py.backends.changes import Seen, changes
from libcontainer_py.backends.memory import MemoryProgram
from libcontainer_py.errors import StartError

# -- two looks --------------------------------------------------------------------------------------------------------

CREATED = Seen(alive=True, created=True, frozen=False)
RUNNING = Seen(alive=True, created=False, frozen=False)
FROZEN = Seen(alive=True, created=False, frozen=True)
FROZEN_CREATED = Seen(alive=True, created=True, frozen=True)
ENDED = Seen(alive=False, created=False, frozen=False)
NEVER_STARTED = Seen(alive=False, created=True, frozen=False)


@pytest.mark.parametrize(
    ("before", "now", "kinds"),
    [
        (CREATED, CREATED, []),
        (RUNNING, RUNNING, []),
        (ENDED, ENDED, []),
        (CREATED, RUNNING, ["started"]),
        (CREATED, FROZEN_CREATED, ["paused"]),
        (FROZEN_CREATED, CREATED, ["resumed"]),
        (RUNNING, FROZEN, ["paused"]),
        (FROZEN, RUNNING, ["resumed"]),
        (CREATED, FROZEN, ["started", "paused"]),
        (FROZEN_CREATED, RUNNING, ["resumed", "started"]),
        (FROZEN_CREATED, FROZEN, ["started"]),
        (CREATED, ENDED, ["started", "exited"]),
        (CREATED, NEVER_STARTED, ["exited"]),
        (FROZEN, ENDED, ["exited"]),
        (FROZEN_CREATED, NEVER_STARTED, ["exited"]),
        (FROZEN_CREATED, ENDED, ["resumed", "started", "exited"]),
        (RUNNING, RUNNING._replace(ooms=2, oom_kills=1), ["oom", "oom_kill"]),
        (RUNNING._replace(oom_kills=1), ENDED._replace(ooms=1, oom_kills=2), ["oom", "oom_kill", "exited"]),
        (FROZEN_CREATED, FROZEN._replace(oom_kills=1), ["started", "oom_kill"]),
    ],
)
def test_changes(before: Seen, now: Seen, kinds: list[str]) -> None:
    assert [happening.kind for happening in changes(before, now)] == kinds


def test_changes_count() -> None:
    found = changes(RUNNING._replace(ooms=1, oom_kills=1), RUNNING._replace(ooms=4, oom_kills=3))
    assert [happening.times for happening in found] == [3, 2]


# -- the memory backend -----------------------------------------------------------------------------------------------


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def container(backend: MemoryBackend) -> Container:
    return Factory(backend=backend).create("web", "/bundle")


def test_a_life(backend: MemoryBackend, container: Container) -> None:
    with container.events() as events:
        assert events.ready() == []
        container.start()
        assert events.next() == Started("web")
        container.pause()
        assert events.next() == Paused("web")
        container.resume()
        assert events.next() == Resumed("web")
        backend.host.press_memory("/sys/fs/cgroup/web", "low")
        backend.host.press_memory("/sys/fs/cgroup/web", "critical")
        backend.host.press_memory("/sys/fs/cgroup/other", "low")
        assert events.next() == MemoryPressure("web", "critical")
        backend.host.run_out_of_memory(backend.load("web").init, kill=False)
        assert events.ready() == [OutOfMemory("web", 1)]
        assert not events.ended
        backend.host.run_out_of_memory(backend.load("web").init)
        assert list(events) == [OutOfMemory("web", 1), OomKill("web", 1), Exited("web", ExitStatus(-9, oom_kills=1))]
        assert events.ended
        assert events.next() is None
        assert events.next(0) is None
        assert events.ready() == list(events) == []


def test_what_was_undone_is_not_seen(container: Container) -> None:
    container.start()
    with container.events() as events:
        container.pause()
        container.resume()
        assert events.ready() == []


def test_one_that_has_ended(backend: MemoryBackend, container: Container) -> None:
    container.start()
    backend.host.end(backend.load("web").init, 3)
    with container.events() as events:
        assert list(events) == [Exited("web", ExitStatus(3))]


def test_one_that_is_deleted_without_a_start(container: Container) -> None:
    with container.events() as events:
        container.delete()
        assert events.ready() == [Exited("web", ExitStatus(-9))]


def test_one_whose_program_does_not_run(backend: MemoryBackend) -> None:
    backend.host.program = MemoryProgram(failure=Failure("execute", 8, "exec format error"))
    container = Factory(backend=backend).create("web", "/bundle")
    with container.events() as events:
        with pytest.raises(StartError):
            container.start()
        assert [type(event) for event in events] == [Started, Exited]


def test_another_process_learns_no_status(backend: MemoryBackend, container: Container) -> None:
    container.start()
    backend.crash()
    with Factory(backend=backend).load("web").events() as events:
        backend.host.end(backend.load("web").init, 3)
        assert events.next() == Exited("web", ExitStatus(None))


def test_a_timeout_is_one_of_the_virtual_clock(backend: MemoryBackend, container: Container) -> None:
    with container.events() as events:
        with pytest.raises(ContainerTimeout, match="nothing happened to 'web' within 3600 s") as caught:
            events.next(timeout=3600)
        assert caught.value.timeout == 3600
        assert backend.host.now() == 3600
        container.start()
        assert events.next(timeout=0) == Started("web")


def test_waiting_in_a_thread(container: Container) -> None:
    found: list[Event | None] = []
    with container.events() as events:
        thread = threading.Thread(target=lambda: found.append(events.next()))
        thread.start()
        container.start()
        thread.join(20)
        assert found == [Started("web")]


def readable(events: object) -> bool:
    return bool(select.select([events], [], [], 0)[0])


def test_the_descriptor(container: Container) -> None:
    with container.events() as events:
        container.start()
        assert readable(events)  # also where it is asked for late
        assert events.next() == Started("web")
        assert not readable(events)
        container.pause()
        assert readable(events)
        container.kill()
        assert events.ready() == [Exited("web", ExitStatus(-9))]
        assert not readable(events)


def test_the_descriptor_stays_readable_while_something_is_left(container: Container) -> None:
    with container.events() as events:
        events.fileno()
        container.start()
        container.pause()
        for event in (Started("web"), Paused("web")):
            assert readable(events)
            assert events.next() == event
        assert not readable(events)


def test_the_descriptor_after_a_change_that_was_undone(container: Container) -> None:
    with container.events() as events:
        events.fileno()
        container.pause()
        container.resume()
        assert readable(events)
        assert events.ready() == []
        assert not readable(events)


def test_closed(backend: MemoryBackend, container: Container) -> None:
    with container.events() as events:
        pass
    events.close()
    for use in (events.fileno, events.next, events.ready, events.__next__):
        with pytest.raises(ValueError, match="the events of 'web' are closed"):
            use()
    assert repr(events) == "<Events of 'web', closed>"
    assert backend.host.watches == backend.host.clock.listeners == []


def leave_open(container: Container) -> None:
    container.events()
    gc.collect()


def test_who_forgets_to_close_is_told(backend: MemoryBackend, container: Container) -> None:
    with pytest.warns(ResourceWarning, match="unclosed <Events of 'web', open>"):
        leave_open(container)
    gc.collect()
    assert backend.host.watches == []


def test_a_loop_to_the_end_needs_no_closing(backend: MemoryBackend, container: Container) -> None:
    container.kill()
    for _ in container.events():
        pass
    gc.collect()
    assert backend.host.watches == []


def test_an_event_is_a_value() -> None:
    event = OomKill("web", 2)
    assert event == OomKill("web", 2) != OomKill("web")
    assert len({event, OomKill("web", 2)}) == 1
    assert event != OutOfMemory("web", 2)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.count = 3  # type: ignore[misc]
    assert repr(event) == "OomKill(container_id='web', count=2)"


def test_kinds(container: Container) -> None:
    with container.events() as events:
        assert events.kinds == {Started, Paused, Resumed, OutOfMemory, OomKill, MemoryPressure, Exited}
