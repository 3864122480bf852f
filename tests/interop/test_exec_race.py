"""exec() by many at once, and exec() that is killed: one starts the program, and everybody gets a right answer."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from typing import NamedTuple

import pytest

from libcontainer_py import ContainerError, Factory, Status
from libcontainer_py.backends.linux import LinuxHost
from libcontainer_py.backends.procedures import Procedures
from libcontainer_py.state.directory import Directory
from tests.bundles import config
from tests.crashes import PATIENCE, Child, Line, Stepped, in_child, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.interop.conftest import Yard

CONTAINERS = 25
WON = "won"
END = "."
LOST = "cannot start an already running container"
HANGS = 2.0
"""Seconds after which a `runc start` hangs: it takes 0.05 alone."""


def attempt(factory: Factory, container_id: str) -> str:
    """Start a container: WON, or what the library says."""
    try:
        factory.load(container_id).exec()
    except ContainerError as error:
        return str(error)
    return WON


class Racer:
    """A process that starts the containers that it is told of, each when it is told to go."""

    def __init__(self, root: str) -> None:
        reads, self._tell = os.pipe()
        self._hear, writes = os.pipe()

        def work() -> None:
            factory = Factory(root)
            # not until an end of file: racers that are forked later hold the pipe as well
            while (container_id := os.read(reads, 256).decode()) != END:
                os.write(writes, b"ready")
                os.read(reads, 1)
                os.write(writes, attempt(factory, container_id).encode())

        self._child = Child(work)
        os.close(reads)
        os.close(writes)

    def prepare(self, container_id: str) -> None:
        os.write(self._tell, container_id.encode())
        assert self.answer() == "ready"

    def go(self) -> None:
        os.write(self._tell, b"!")

    def answer(self) -> str:
        assert readable(self._hear), "a racer hangs"
        return os.read(self._hear, 4096).decode()

    def end(self) -> None:
        os.write(self._tell, END.encode())
        os.close(self._tell)
        os.close(self._hear)
        assert self._child.wait().returncode == 0


@pytest.fixture
def racers(yard: Yard) -> Iterator[list[Racer]]:
    racers: list[Racer] = []
    try:
        for _ in range(4):
            racers.append(Racer(str(yard.root)))  # noqa: PERF401  (those that were made are ended)
        yield racers
    finally:
        for racer in racers:
            racer.end()


class Outcome(NamedTuple):
    """How one race went."""

    ours: Sequence[str]
    theirs: Sequence[int | None]
    """The exit codes of `runc start`; None for one that hung."""

    @property
    def winners(self) -> int:
        return [*self.ours].count(WON) + [*self.theirs].count(0)


def race(yard: Yard, container_id: str, racers: list[Racer], *, threads: int, runcs: int, limit: float) -> Outcome:
    """Let all of them start one container at the same time."""
    barrier = threading.Barrier(threads + 1, timeout=PATIENCE)
    answers: list[str] = []

    def run() -> None:
        barrier.wait()
        answers.append(attempt(yard.factory, container_id))

    runners = [threading.Thread(target=run) for _ in range(threads)]
    for racer in racers:
        racer.prepare(container_id)
    for runner in runners:
        runner.start()
    starts = [
        subprocess.Popen(
            [*yard.command, "start", container_id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(runcs)
    ]
    pidfd = os.pidfd_open(starts[0].pid)
    readable(pidfd, random.uniform(0, 0.06))  # runc takes about so long until it comes to the fifo
    os.close(pidfd)
    for racer in racers:
        racer.go()
    barrier.wait()
    ours = [racer.answer() for racer in racers]
    for runner in runners:
        runner.join(PATIENCE)
        assert not runner.is_alive(), "a thread hangs"
    theirs: list[int | None] = []
    for start in starts:
        try:
            theirs.append(start.wait(limit))
        except subprocess.TimeoutExpired:
            start.kill()
            start.wait()
            theirs.append(None)
    return Outcome([*ours, *answers], theirs)


def judge(outcome: Outcome, *, ours: int) -> None:
    assert outcome.winners == 1, outcome
    assert len(outcome.ours) == ours
    assert set(outcome.ours) <= {WON, LOST}, outcome


def test_eight_racers(yard: Yard, racers: list[Racer]) -> None:
    for _ in range(CONTAINERS):
        with yard.create() as container:
            outcome = race(yard, container.id, racers, threads=3, runcs=1, limit=PATIENCE)
            judge(outcome, ours=7)
            assert None not in outcome.theirs, "runc start hangs"
            assert container.status is Status.RUNNING
            assert yard.runc_status(container.id) == "running"


def test_two_of_runc_among_them(yard: Yard, racers: list[Racer], record_property: pytest.RecordProperty) -> None:
    hung = 0
    for _ in range(CONTAINERS):
        with yard.create() as container:
            outcome = race(yard, container.id, racers, threads=2, runcs=2, limit=HANGS)
            judge(outcome, ours=6)
            hung += outcome.theirs.count(None)
            assert container.status is Status.RUNNING
    record_property("runc start that hung", hung)
    print(f"{hung} of {2 * CONTAINERS} runc start hung")


# -- killed in the middle ---------------------------------------------------------------------------------------------


def release(root: str, container_id: str, fatal: int | None) -> list[str]:
    """exec() that dies before step number `fatal`."""
    line = Line(fatal)
    host = LinuxHost()
    store = Directory(root)
    procedures = Procedures(Stepped(store, line, "store"), Stepped(host, line, "host"))  # type: ignore[arg-type]
    procedures.release(container_id, timeout=None)
    return line.names


@pytest.mark.parametrize("verb", ["exec", "start"])
def test_killed_between_every_two_steps(yard: Yard, verb: str) -> None:
    root = str(yard.root)
    bundle = yard.make_bundle(config("/bin/sh", "-c", "echo ran; exec sleep 1000"))

    def next_caller(container_id: str) -> object:
        def work() -> None:
            getattr(Factory(root).load(container_id), verb)()

        ended = in_child(work)
        assert ended.returncode == 0
        return ended.said

    with yard.create(bundle) as container:
        names = in_child(lambda: release(root, container.id, None)).said
    taken = names.index("Fifo.take")
    assert names[taken - 1 : taken + 2] == ["store.open_fifo", "Fifo.take", "store.unlink_fifo"]
    refused = ["IllegalOperation", LOST]
    for number, name in enumerate(names):
        hears, says = os.pipe()
        with yard.create(bundle, stdout=says) as container:
            os.close(says)
            where = f"killed before step {number}, {name}"
            assert in_child(lambda: release(root, container.id, number)).returncode == -9, where  # noqa: B023
            answer = next_caller(container.id)
            if number < taken:
                assert answer is None, where
            elif number > taken:
                assert answer == refused, where  # who has read the `0` has started it, though he could tell nobody
            else:
                assert answer in (None, refused), where  # the open fifo lets init go on, perhaps before he was killed
            assert readable(hears), where
            assert container.status is Status.RUNNING, where
            assert next_caller(container.id) == refused, where
            container.kill()
            container.wait(PATIENCE)
        said = b""
        while piece := os.read(hears, 64):
            said += piece
        os.close(hears)
        assert said == b"ran\n", where


def test_one_who_opens_the_fifo_and_goes(yard: Yard) -> None:
    """Init is woken by him, finds nobody to write to, and waits for the next one."""
    refused = 0
    for _ in range(CONTAINERS):
        with yard.create() as container:
            fifo = yard.root / container.id / "exec.fifo"
            os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
            answer = attempt(yard.factory, container.id)
            assert answer in (WON, LOST)  # not: it has stopped
            assert container.status is not Status.STOPPED
            refused += answer == LOST  # it wrote its `0` just before he went
    assert refused < CONTAINERS
