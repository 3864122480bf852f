"""sweep(): what it takes for abandoned, and what it must leave alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from libcontainer_py import StateError, Status, cgroups
from libcontainer_py.backends import procedures
from libcontainer_py.kernel import process
from libcontainer_py.record import Init, Intent
from libcontainer_py.state.directory import Directory
from libcontainer_py.streams import DEVNULL
from tests.crashes import PATIENCE, Child, in_child, readable
from tests.kernel.workshop import runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer_py import Container
    from tests.kernel.workshop import Workshop

MANY = 50
CRUN = (Path(__file__).parents[1] / "data" / "status-crun-1.27.1.json").read_text(encoding="utf-8")
YOUKI = json.dumps({"ociVersion": "1.0.2", "id": "y", "status": "running", "pid": 1, "bundle": "/b"})


def sleeper(workshop: Workshop) -> Container:
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    return workshop.create(config, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)


def store_of(workshop: Workshop) -> Directory:
    return Directory(str(workshop.root))


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# -- beside those who work --------------------------------------------------------------------------------------------


def test_beside_creates(workshop: Workshop) -> None:
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    bundle = workshop.bundle(config)
    workshop.create(bundle, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL).delete(force=True)  # there is a root now
    watches, ends = os.pipe()

    def sweep() -> tuple[int, list[str]]:
        sweeps, removed = 0, []
        while not readable(watches, 0):
            removed += [one.id + one.reason for one in workshop.factory.sweep() if one.removed]
            sweeps += 1
        return sweeps, removed

    sweepers = [Child(sweep) for _ in range(2)]
    containers = []
    try:
        for _ in range(MANY):
            container = workshop.create(bundle, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
            containers.append(container)
            container.start()
        assert [one.status for one in containers] == [Status.RUNNING] * MANY
        assert workshop.factory.ids() == sorted(one.id for one in containers)
    finally:
        os.write(ends, b"!")
        results = [sweeper.wait() for sweeper in sweepers]
        for container in containers:
            container.delete(force=True)
        os.close(watches)
        os.close(ends)
    for result in results:
        sweeps, removed = result.said
        assert removed == []
        assert sweeps > MANY / 2  # they went on all the time


def test_what_somebody_works_on(workshop: Workshop) -> None:
    store = store_of(workshop)
    # as a create has it while it works: its directory, its intent, the lock
    store.make("web", intent_of(dead()))
    with store.lock("web", timeout=0):
        assert in_child(lambda: [list(one) for one in workshop.factory.sweep()]).said == []
        assert store.exists("web")
    (swept,) = workshop.factory.sweep()
    assert (swept.id, swept.removed) == ("web", True)


@pytest.mark.parametrize("status", ["created", "running", "paused", "stopped"])
def test_complete_containers(workshop: Workshop, status: str) -> None:
    with sleeper(workshop) as container:
        if status != "created":
            container.start()
        if status == "paused":
            container.pause()
        if status == "stopped":
            container.kill()
            container.wait(PATIENCE)
        assert workshop.factory.sweep() == []
        assert container.status == status


# -- intents ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def somebody() -> Iterator[Init]:
    """A process that lives."""
    waits, ends = os.pipe()
    child = Child(lambda: os.read(waits, 1).decode())
    yield Init(child.pid, process.stat(child.pid).start)
    os.write(ends, b"!")
    assert child.wait() == (0, "!"), "it was killed"
    os.close(waits)
    os.close(ends)


def dead() -> Init:
    """A process that was."""
    pid, start = in_child(lambda: [os.getpid(), process.stat("self").start]).said
    return Init(pid, start)


def intent_of(
    creator: Init,
    *,
    boot_id: str | None = None,
    pid_namespace: int | None = None,
    cgroup: tuple[str, int] | None = None,
    init: Init | None = None,
) -> Intent:
    return Intent(
        creator,
        boot_id or process.boot_id(),
        pid_namespace or process.namespace_inode("pid"),
        {} if cgroup is None else {cgroup[0]: cgroup[1]},
        init,
    )


@pytest.fixture
def group() -> Iterator[tuple[str, int]]:
    """A cgroup directory with its inode."""
    name = f"sweep-{os.urandom(6).hex()}"
    cgroup = cgroups.for_container(f"/{name}", name)
    made = cgroup.create()
    yield next(iter(made.items()))
    cgroup.remove(made)


def test_a_dead_creator(workshop: Workshop, root_only: None, group: tuple[str, int]) -> None:
    store_of(workshop).make("web", intent_of(dead(), cgroup=group))
    (swept,) = workshop.factory.sweep()
    assert (swept.id, swept.removed) == ("web", True)
    assert workshop.entries() == []
    assert not os.path.exists(group[0])


def test_a_cgroup_that_became_another(workshop: Workshop, root_only: None, group: tuple[str, int]) -> None:
    store_of(workshop).make("web", intent_of(dead(), cgroup=(group[0], group[1] + 1_000_000)))
    (swept,) = workshop.factory.sweep()
    assert swept.removed
    assert os.path.exists(group[0])


@pytest.mark.parametrize("who", ["creator", "init"])
def test_somebody_lives(workshop: Workshop, who: str, somebody: Init) -> None:
    intent = intent_of(somebody) if who == "creator" else intent_of(dead(), init=somebody)
    store_of(workshop).make("web", intent)
    assert workshop.factory.sweep() == []
    assert workshop.entries() == ["web"]


def test_after_a_reboot(workshop: Workshop, somebody: Init, group: tuple[str, int]) -> None:
    # its pids and cgroups belong to others by now
    intent = intent_of(somebody, boot_id="00000000-0000-4000-8000-000000000000", cgroup=group, init=somebody)
    store_of(workshop).make("web", intent)
    (swept,) = workshop.factory.sweep()
    assert (swept.id, swept.removed) == ("web", True)
    assert workshop.entries() == []
    assert os.path.exists(group[0])


def test_of_another_pid_namespace(workshop: Workshop, root_only: None, group: tuple[str, int]) -> None:
    intent = intent_of(dead(), pid_namespace=process.namespace_inode("pid") + 1, cgroup=group)
    store_of(workshop).make("web", intent)
    assert [one for one in workshop.factory.sweep() if one.removed] == []
    assert workshop.entries() == ["web"]
    assert os.path.exists(group[0])


# -- directories without an intent ------------------------------------------------------------------------------------


def test_an_empty_directory(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.root.mkdir(0o700)
    directory = workshop.root / "web"
    directory.mkdir()
    os.utime(directory, (0, 0))  # what anybody can set says nothing of its age
    (swept,) = workshop.factory.sweep()
    assert (swept.id, swept.removed) == ("web", False)
    assert directory.exists()
    monkeypatch.setattr(procedures, "EMPTY_AGE", 0.0)
    (swept,) = workshop.factory.sweep()
    assert (swept.id, swept.removed) == ("web", True)
    assert not directory.exists()


def test_a_directory_that_is_not_ours(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procedures, "EMPTY_AGE", 0.0)
    directory = workshop.root / "web"
    directory.mkdir(parents=True)
    workshop.root.chmod(0o700)
    (directory / "note").write_text("mine")
    (workshop.root / "file").write_text("mine")
    (swept,) = workshop.factory.sweep()
    assert (swept.id, swept.removed, swept.reason) == ("web", False, "neither a state.json nor an intent of ours")
    assert contents(directory) == {"note": b"mine"}
    assert (workshop.root / "file").exists()


@pytest.mark.parametrize(
    ("runtime", "files"),
    [("crun", {"status": CRUN, "config.json": "{}"}), ("youki", {"state.json": YOUKI})],
)
def test_other_runtimes(
    workshop: Workshop, runtime: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procedures, "EMPTY_AGE", 0.0)
    directory = workshop.root / "web"
    directory.mkdir(parents=True)
    workshop.root.chmod(0o700)
    for name, text in files.items():
        (directory / name).write_text(text)
    before = contents(directory)
    (swept,) = workshop.factory.sweep()
    assert (swept.id, swept.removed) == ("web", False)
    assert runtime in swept.reason
    with pytest.raises(StateError, match=f"created by {runtime}"):
        workshop.factory.delete("web", force=True)
    assert contents(directory) == before


# -- state.json that ends in the middle -------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "kept"), [("created", 0), ("created", 500), ("running", 500)])
def test_torn_state_of_a_living_container(workshop: Workshop, status: str, kept: int) -> None:
    with sleeper(workshop) as container:
        if status == "running":
            container.start()
        file = Path(container.directory, "state.json")
        whole = file.read_bytes()
        file.write_bytes(whole[:kept])
        try:
            (swept,) = workshop.factory.sweep()
            assert (swept.id, swept.removed) == (container.id, False)
            assert file.read_bytes() == whole[:kept]
            assert container.status == status
        finally:
            file.write_bytes(whole)


@pytest.mark.parametrize("kept", [0, 500])
def test_torn_state_of_a_dead_container(workshop: Workshop, kept: int) -> None:
    container = sleeper(workshop)
    file = Path(container.directory, "state.json")
    whole = file.read_bytes()
    container.kill()
    container.wait(PATIENCE)
    file.write_bytes(whole[:kept])
    (swept,) = workshop.factory.sweep()
    # its cgroups nobody knows any more
    cgroups.from_paths(json.loads(whole)["cgroup_paths"]).remove()
    assert (swept.id, swept.removed) == (container.id, True)
    assert workshop.entries() == []
