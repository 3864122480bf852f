"""kill -9 of the embedding process anywhere; then another process removes what is left, and nothing else.

A forked child lives a whole life of a container (create, start, kill, delete) and dies before a certain step: each call
that goes through the seam, then each change of the file system that it announces, then at any moment. Its orphans
become ours, so that none can be overlooked. Nothing happens after a step and before the next one.
"""

from __future__ import annotations

import os
import random
import sys
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest

from libcontainer_py import ContainerError, ContainerNotFound, Factory, Status
from libcontainer_py.backends.base import CreateRequest
from libcontainer_py.backends.linux import LinuxHost
from libcontainer_py.backends.procedures import Procedures
from libcontainer_py.state.directory import Directory
from libcontainer_py.streams import DEVNULL
from tests.bundles import config, make_bundle
from tests.crashes import Child, Line, Orphanage, Stepped, orphanage, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from libcontainer_py.record import Record

    class Recovery(Protocol):
        def __call__(self, place: Place, home: Orphanage, *, released: bool) -> None: ...


pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="makes containers"),
    pytest.mark.slow,
    pytest.mark.usefixtures("root_only"),
]

HIERARCHIES = Path("/sys/fs/cgroup")
MOMENTS = 25
"""How often it is killed at a moment that nobody chose."""


class Place(NamedTuple):
    """Where containers live and die, among things that are not theirs."""

    root: str
    bundle: str
    group: str
    """The name of a cgroup that is there already in some hierarchies, and holds something else."""
    factory: Factory
    foreign: frozenset[Path]
    bystander: int

    def left(self) -> set[str]:
        """What is in the root, in the cgroups and mounted that was made for containers other than the bystander."""
        mine = {path for path in cgroups_below(self.group) if path not in self.foreign}
        root = {path for path in Path(self.root).iterdir() if path.name not in {",lock", "bystander", "foreign"}}
        with open("/proc/self/mountinfo") as file:
            mounts = {line for line in file if self.bundle in line or self.root in line}
        return {str(path) for path in mine | root} | mounts

    def check_foreign(self) -> None:
        """The bystander runs, and what is not ours is there."""
        bystander = self.factory.load("bystander")
        assert (bystander.status, bystander.init_pid) == (Status.RUNNING, self.bystander)
        assert [path for path in self.foreign if not path.exists()] == []
        assert (Path(self.root) / "foreign" / "note").read_text() == "mine"


def cgroups_below(group: str) -> set[Path]:
    """All cgroup directories of that name, and those below."""
    found = set()
    for directory, names, _ in os.walk(HIERARCHIES):
        found |= {Path(directory, name) for name in names if group in Path(directory, name).parts}
    return found


@pytest.fixture
def place(tmp_path: Path, peer: Callable[[str], str]) -> Iterator[Place]:
    """A root and a bundle whose containers have hooks of every kind that the host runs."""
    group = f"crash-{uuid.uuid4().hex[:12]}"
    busybox = peer("busybox")
    true = [{"path": busybox, "args": ["true"]}]
    document = config("/bin/sleep", "1000", cgroups_path=f"/{group}/box")
    document["hooks"] = dict.fromkeys(("prestart", "createRuntime", "poststart", "poststop"), true)
    bundle = make_bundle(tmp_path / "bundle", busybox, document)
    other = make_bundle(tmp_path / "other", busybox, config("/bin/sleep", "1000", cgroups_path=f"/{group}/bystander"))
    root = tmp_path / "root"
    root.mkdir(0o700)
    (root / "foreign").mkdir()
    (root / "foreign" / "note").write_text("mine")
    # a group that somebody made, in some of the hierarchies; in the others it comes and goes with our containers
    some = [path for name in ("freezer", "pids", "unified") if (path := HIERARCHIES / name).is_dir()] or [HIERARCHIES]
    foreign = [directory / group / "foreign" for directory in some]
    try:
        for path in foreign:
            path.mkdir(parents=True)
        factory = Factory(root)
        with factory.create("bystander", other, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as bystander:
            bystander.start()
            pid = bystander.init_pid
            assert pid is not None
            kept = cgroups_below(group) - {path for path in cgroups_below(group) if path.name == "box"}
            yield Place(str(root), str(bundle), group, factory, frozenset(kept), pid)
    finally:
        # all that there is: what a failed test left, too
        for path in sorted(cgroups_below(group), reverse=True):
            path.rmdir()


@pytest.fixture
def home(place: Place) -> Iterator[Orphanage]:
    with orphanage() as opened:
        yield opened


def life(place: Place, line: Line, *, seam: bool) -> list[str]:
    """Create, start, kill and delete one container."""
    host = LinuxHost()
    directory = Directory(place.root)
    procedures = (
        Procedures(Stepped(directory, line, "store"), Stepped(host, line, "host"))  # type: ignore[arg-type]
        if seam
        else Procedures(directory, host)
    )
    line.verb = "create"
    record = procedures.create(CreateRequest("box", place.bundle, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL))
    line.verb = "start"
    procedures.release("box", timeout=10)
    line.verb = "kill"
    procedures.kill(record)
    procedures.wait(record, timeout=10)
    line.verb = "delete"
    procedures.destroy("box", force=False)
    return line.names


def life_by_seam(place: Place, fatal: int | None) -> list[str]:
    return life(place, Line(fatal), seam=True)


def life_by_changes(place: Place, fatal: int | None) -> list[str]:
    line = Line(fatal)
    sys.addaudithook(line.audit)
    return life(place, line, seam=False)


LIVES = {"steps": life_by_seam, "changes": life_by_changes}


def box(place: Place) -> Record | None:
    """The container that is there; None: there is no complete one."""
    try:
        return Directory(place.root).load("box")
    except ContainerNotFound:
        return None


def by_delete(place: Place, home: Orphanage, *, released: bool) -> None:
    """At once, while orphans may still be about to end."""
    place.factory.delete("box", force=True)


def by_sweep(place: Place, home: Orphanage, *, released: bool) -> None:
    """When what ends by itself has ended. A complete container is left alone, and its init waits or runs."""
    complete = box(place) if released else None
    home.bury(spare=None if complete is None else complete.init)
    swept = place.factory.sweep()
    if complete is None:
        return
    assert [one for one in swept if one.id == "box"] == []
    assert place.factory.load("box").status in {Status.CREATED, Status.RUNNING, Status.STOPPED}
    place.factory.delete("box", force=True)


def check(place: Place, home: Orphanage) -> None:
    """Nothing is left, and what is foreign is as it was."""
    home.bury()
    assert place.left() == set()
    place.check_foreign()


RECOVERIES = [by_delete, by_sweep]


@pytest.mark.parametrize(("kind", "letting_go"), [("steps", "LinuxBirth.let_go"), ("changes", "os.rename intent.json")])
@pytest.mark.parametrize("recover", RECOVERIES)
def test_at_every_step(place: Place, home: Orphanage, kind: str, letting_go: str, recover: Recovery) -> None:
    whole = Child(lambda: LIVES[kind](place, None)).wait()
    assert whole.returncode == 0, whole
    names = whole.said
    check(place, home)
    last = names.index(f"create: {letting_go}")
    wrong = []
    for number, name in enumerate(names):
        ended = Child(lambda number=number: LIVES[kind](place, number)).wait()  # type: ignore[misc]
        try:
            assert ended.returncode == -9, f"it was not killed: {ended}"
            # until it was let go, an init ends with its creator
            recover(place, home, released=number > last if kind == "steps" else number >= last)
            check(place, home)
        except (AssertionError, ContainerError) as error:
            wrong.append(f"killed before step {number}, {name}: {type(error).__name__}: {error}")
            place.factory.delete("box", force=True)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("recover", RECOVERIES)
def test_at_any_moment(place: Place, home: Orphanage, recover: Recovery) -> None:
    moments = random.Random()
    for _ in range(MOMENTS):
        hears, says = os.pipe()

        def lives(says: int = says) -> None:
            life(place, Line(None), seam=False)  # with this the fork server is there
            os.write(says, b"!")
            while True:
                life(place, Line(None), seam=False)

        child = Child(lives)
        assert readable(hears)
        os.close(hears)
        os.close(says)
        readable(child.pidfd, moments.uniform(0, 0.04))  # a whole life takes about as long
        child.kill()
        assert child.wait().returncode == -9
        # whether init was let go nobody knows: then it waits, or has ended, or is about to
        recover(place, home, released=True)
        place.factory.delete("box", force=True)
        check(place, home)
