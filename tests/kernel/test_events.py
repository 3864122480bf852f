"""Events of real containers: what the kernel tells, and that nothing else is needed to hear it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import select
import subprocess
import sys
import time

import pytest

from libcontainer_py import (
    Container,
    ContainerTimeout,
    Event,
    Events,
    Exited,
    ExitStatus,
    MemoryPressure,
    OomKill,
    OutOfMemory,
    Paused,
    Resumed,
    Started,
    cgroups,
)
from libcontainer_py.kernel.process import pidfd_open
from tests.kernel.workshop import PATIENCE, Config, Workshop, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 24 << 20
HOG = "a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done"


def script(text: str) -> Config:
    config = runc_spec()
    config["process"]["args"] = ["/bin/sh", "-c", text]
    return config


def limited(text: str) -> Config:
    """With little memory, and no swap to go to."""
    config = script(text)
    config["linux"]["resources"]["memory"] = {"limit": LIMIT}
    return config


@pytest.fixture
def waiting(workshop: Workshop) -> Iterator[tuple[Container, int]]:
    """A created container that ends with 3 when something is written to its standard input."""
    reader, writer = os.pipe()
    try:
        yield workshop.create(script("read line; exit 3"), stdin=reader), writer
    finally:
        os.close(reader)
        os.close(writer)


def go_on(writer: int) -> None:
    os.write(writer, b"\n")


def soon(events: Events) -> Event | None:
    """The next event, where the kernel tells that there is one: a wait that comes to its end would look by itself."""
    while True:
        assert select.select([events], [], [], PATIENCE)[0]
        with contextlib.suppress(ContainerTimeout):  # it may be readable without reason
            return events.next(0)


def until(events: Events, kind: type[Event]) -> list[Event]:
    """What comes up to the first event of a kind, pressure left out: it comes as it likes."""
    found: list[Event] = []
    while not found or type(found[-1]) is not kind:
        event = soon(events)
        assert event is not None, found
        if not isinstance(event, MemoryPressure):
            found.append(event)
    return found


def needs_memory(events: Events) -> None:
    if OomKill not in events.kinds:
        pytest.skip("needs cgroup v1 or v2 with memory")


# -- the life of a container ------------------------------------------------------------------------------------------


def test_a_life(waiting: tuple[Container, int]) -> None:
    container, writer = waiting
    with container.events() as events:
        assert events.kinds >= {Started, Paused, Resumed, Exited}
        assert events.ready() == []
        container.start()
        assert soon(events) == Started(container.id)
        container.pause()
        assert soon(events) == Paused(container.id)
        container.resume()
        assert soon(events) == Resumed(container.id)
        go_on(writer)
        assert list(events) == [Exited(container.id, ExitStatus(3))]
        assert events.next() is None
    assert container.wait().returncode == 3


def test_paused_while_created(waiting: tuple[Container, int]) -> None:
    container, writer = waiting
    with container.events() as events:
        container.pause()
        assert soon(events) == Paused(container.id)
        container.resume()
        container.start()
        go_on(writer)
        assert list(events) == [Resumed(container.id), Started(container.id), Exited(container.id, ExitStatus(3))]


def test_one_that_was_paused_before(waiting: tuple[Container, int]) -> None:
    container, _ = waiting
    container.start()
    container.pause()
    with container.events() as events:
        assert events.ready() == []
        container.resume()
        assert soon(events) == Resumed(container.id)


def test_one_that_has_ended(waiting: tuple[Container, int]) -> None:
    container, writer = waiting
    container.start()
    go_on(writer)
    container.wait(PATIENCE)
    with container.events() as events:
        assert select.select([events], [], [], 0)[0]
        assert list(events) == [Exited(container.id, ExitStatus(3))]
        assert not select.select([events], [], [], 0)[0]


def test_one_that_lived_and_died_before_anybody_looked(workshop: Workshop) -> None:
    container = workshop.create(script("exit 4"))
    with container.events() as events:
        container.start()
        container.wait(PATIENCE)
        container.delete()
        assert events.ready() == [Started(container.id), Exited(container.id, ExitStatus(4))]


def test_one_that_is_deleted_without_a_start(waiting: tuple[Container, int]) -> None:
    container, _ = waiting
    with container.events() as events:
        container.delete()
        assert events.ready() == [Exited(container.id, ExitStatus(-9))]


def test_one_that_is_killed_without_a_start(waiting: tuple[Container, int]) -> None:
    container, _ = waiting
    with container.events() as events:
        container.kill()
        assert list(events) == [Exited(container.id, ExitStatus(-9))]


def test_one_that_is_killed_while_paused(waiting: tuple[Container, int]) -> None:
    container, _ = waiting
    container.start()
    with container.events() as events:
        container.pause()
        assert soon(events) == Paused(container.id)
        container.kill()
        assert until(events, Exited)[-1] == Exited(container.id, ExitStatus(-9))


ELSEWHERE = """
import sys
from libcontainer_py import Factory
with Factory(sys.argv[1]).load(sys.argv[2]).events() as events:
    print("watching", flush=True)
    while event := events.next(timeout=60):
        print(event, flush=True)
"""


def test_from_another_process(workshop: Workshop, waiting: tuple[Container, int]) -> None:
    container, writer = waiting
    command = [sys.executable, "-W", "error", "-c", ELSEWHERE, str(workshop.root), container.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "watching\n"
        for act, kind in ((container.start, "Started"), (container.pause, "Paused"), (container.resume, "Resumed")):
            act()
            assert other.stdout.readline() == f"{kind}(container_id={container.id!r})\n"
        go_on(writer)
        rest = other.stdout.read()
    assert rest.startswith(f"Exited(container_id={container.id!r}, status=ExitStatus(returncode=None"), rest
    assert other.returncode == 0


# -- memory -----------------------------------------------------------------------------------------------------------


def test_out_of_memory(workshop: Workshop) -> None:
    container = workshop.create(limited(HOG))
    with container.events() as events:
        needs_memory(events)
        container.start()
        found = until(events, Exited)
    assert [type(event) for event in found] == [Started, OutOfMemory, OomKill, Exited]
    assert found[2] == OomKill(container.id, 1)
    assert isinstance(found[3], Exited)
    assert found[3].status.returncode == -9


def test_out_of_memory_before_anybody_looked(workshop: Workshop) -> None:
    """The counters go with the cgroup; who deletes it has read them."""
    container = workshop.create(limited(HOG))
    with container.events() as events:
        needs_memory(events)
        container.start()
        container.wait(PATIENCE)
        container.delete()
        found = [event for event in events.ready() if not isinstance(event, MemoryPressure)]
    assert [type(event) for event in found] == [Started, OutOfMemory, OomKill, Exited]
    assert found[2:] == [OomKill(container.id, 1), Exited(container.id, ExitStatus(-9, oom_kills=1))]


@pytest.mark.parametrize("_", range(10))
def test_another_than_init_is_killed_for_memory(workshop: Workshop, _: int) -> None:
    """On v1 the kernel says that memory ran out before it kills, and nothing when it has killed."""
    reader, writer = os.pipe()
    container = workshop.create(limited(f"while read line; do ( {HOG} ); done"), stdin=reader)
    os.close(reader)
    try:
        with container.events() as events:
            needs_memory(events)
            container.start()
            assert soon(events) == Started(container.id)
            for _ in range(3):
                go_on(writer)
                found = until(events, OomKill)
                assert found[-1] == OomKill(container.id, 1)
                assert [type(event) for event in found] == [OutOfMemory, OomKill]
            container.kill()
            assert until(events, Exited) == [Exited(container.id, ExitStatus(-9, oom_kills=3))]
    finally:
        os.close(writer)


def test_pressure(workshop: Workshop) -> None:
    container = workshop.create(limited(HOG))
    with container.events() as events:
        if MemoryPressure not in events.kinds:
            pytest.skip("needs cgroup v1, or a kernel that measures pressure (PSI)")
        container.start()
        found = list(events)  # at the latest when it is killed
    levels = [event.level for event in found if isinstance(event, MemoryPressure)]
    assert levels
    assert set(levels) <= {"low", "medium", "critical"}


def test_without_the_memory_controller(workshop: Workshop, waiting: tuple[Container, int]) -> None:
    """As on a host that has none: of what is not there, nothing is promised."""
    container, writer = waiting
    paths = {key: path for key, path in container._record.cgroup_paths.items() if key not in ("memory", "")}
    container._record = container._record._replace(cgroup_paths=paths)
    with container.events() as events:
        assert not events.kinds & {OutOfMemory, OomKill, MemoryPressure}
        container.start()
        go_on(writer)
        assert list(events) == [Started(container.id), Exited(container.id, ExitStatus(3))]


# -- waiting for them -------------------------------------------------------------------------------------------------


def test_one_descriptor_for_all_of_them(waiting: tuple[Container, int]) -> None:
    container, writer = waiting
    with container.events() as events:
        assert not select.select([events], [], [], 0)[0]
        container.start()
        go_on(writer)
        assert select.select([events], [], [], PATIENCE)[0]
        pidfd = pidfd_open(*container._record.init)
        if pidfd is not None:
            select.select([pidfd], [], [], PATIENCE)
            os.close(pidfd)
        # two things happened: while one is left, it is readable
        assert events.next(0) == Started(container.id)
        assert select.select([events], [], [], 0)[0]
        assert events.next(0) == Exited(container.id, ExitStatus(3))
        assert not select.select([events], [], [], 0)[0]


def test_a_timeout(waiting: tuple[Container, int]) -> None:
    container, _ = waiting
    with container.events() as events:
        begin = time.monotonic()
        with pytest.raises(ContainerTimeout, match=r"nothing happened to .* within 0\.05 s"):
            events.next(0.05)
        assert time.monotonic() - begin >= 0.05
        with pytest.raises(ContainerTimeout):
            events.next(0)


def test_nothing_is_polled(waiting: tuple[Container, int]) -> None:
    container, _ = waiting
    container.start()
    with container.events() as events:
        before = resource.getrusage(resource.RUSAGE_THREAD)
        with pytest.raises(ContainerTimeout):
            events.next(1)
        after = resource.getrusage(resource.RUSAGE_THREAD)
    assert after.ru_nvcsw - before.ru_nvcsw <= 3  # each wait is one


def test_asyncio(workshop: Workshop) -> None:
    """Ten containers, one loop, no thread."""

    async def watch(container: Container, events: Events, found: list[Event]) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def read() -> None:
            found.extend(events.ready())
            if events.ended:
                ended.set()

        loop.add_reader(events.fileno(), read)
        try:
            await asyncio.wait_for(ended.wait(), PATIENCE)
        finally:
            loop.remove_reader(events.fileno())

    async def main() -> None:
        async def start() -> None:
            for container in containers:
                container.start()
                await asyncio.sleep(0)

        watches = [watch(container, *pair) for container, pair in zip(containers, pairs, strict=True)]
        await asyncio.gather(*watches, start())

    bundle = workshop.bundle(script("exit 5"))
    containers = [workshop.create(bundle) for _ in range(10)]
    with contextlib.ExitStack() as stack:
        pairs: list[tuple[Events, list[Event]]] = [
            (stack.enter_context(container.events()), []) for container in containers
        ]
        asyncio.run(main())
    for container, (_, found) in zip(containers, pairs, strict=True):
        assert found == [Started(container.id), Exited(container.id, ExitStatus(5))]


# -- descriptors ------------------------------------------------------------------------------------------------------


def descriptors() -> set[str]:
    gc.collect()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(name + " " + os.readlink(f"/proc/self/fd/{name}"))
    return found


def test_no_descriptor_is_left(workshop: Workshop) -> None:
    container = workshop.create(limited(f"( {HOG} ); exit 3"))
    before = descriptors()
    with container.events() as events:
        container.start()
        assert list(events)
    with container.events() as events:
        pass
    assert descriptors() <= before


EXHAUSTED = """
import os, resource, sys
from libcontainer_py import ContainerError, Factory
container = Factory(sys.argv[1]).load(sys.argv[2])
container.events().close()
first = {*os.listdir("/proc/self/fd")}
outcomes = []
for limit in range(len(first), len(first) + 16):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))
    try:
        container.events().close()
    except ContainerError as error:
        outcomes.append(error)
    else:
        outcomes.append(None)
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
assert {*os.listdir("/proc/self/fd")} == first, "descriptors are left"
assert outcomes[0] is not None and outcomes[-1] is None, outcomes
for error in outcomes:
    if error is not None:
        print(error)
"""


def test_where_descriptors_run_out(workshop: Workshop, waiting: tuple[Container, int]) -> None:
    container, _ = waiting
    command = [sys.executable, "-W", "error", "-c", EXHAUSTED, str(workshop.root), container.id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines
    assert all("Too many open files" in line for line in lines)
    assert any("cannot be watched" in line and "ulimit -n" in line for line in lines)


NO_INOTIFY = """
import sys
from libcontainer_py import ContainerError, Factory
open("/proc/sys/user/max_inotify_instances", "w").write("0")
try:
    Factory(sys.argv[1]).load(sys.argv[2]).events().close()
except ContainerError as error:
    print(error)
"""


@pytest.mark.parametrize("started", [False, True])
def test_where_inotify_runs_out(workshop: Workshop, waiting: tuple[Container, int], *, started: bool) -> None:
    container, _ = waiting
    if started:
        container.start()
    command = [sys.executable, "-c", NO_INOTIFY, str(workshop.root), container.id]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", *command], capture_output=True, text=True, timeout=PATIENCE
    )
    if started and cgroups.detect() is cgroups.Mode.V2:
        assert (done.stdout, done.returncode) == ("", 0), done.stderr  # it takes none
    else:
        assert "cannot be watched" in done.stdout, done.stderr
        assert "raise fs.inotify.max_user_instances" in done.stdout


def test_a_cgroup_that_is_gone(workshop: Workshop, waiting: tuple[Container, int]) -> None:
    """Its directories were moved from under us: what can be told is told."""
    container, writer = waiting
    paths = {key: path + "-gone" for key, path in container._record.cgroup_paths.items()}
    container._record = container._record._replace(cgroup_paths=paths)
    with container.events() as events:
        assert events.kinds == {Started, Exited}
        container.start()
        go_on(writer)
        assert list(events) == [Started(container.id), Exited(container.id, ExitStatus(3))]
