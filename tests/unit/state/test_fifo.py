"""Who starts a container: real fifos, with a forked child as init."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from libcontainer_py.init.messages import pack_failure
from libcontainer_py.kernel import process
from libcontainer_py.record import Failure, Init
from libcontainer_py.state import fifo
from libcontainer_py.state.fifo import WAITING_NAMES, Fifo
from tests.unit.state.children import PATIENCE, Child, at_call, waits_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Fork = Callable[[Callable[[Child], object]], Child]

RECORD = pack_failure("execve", 8, "exec format error")


class Place:
    """A directory with an exec.fifo, and the gates that were opened there."""

    def __init__(self, path: Path) -> None:
        self.path = str(path / fifo.NAME)
        self.directory = os.open(path, os.O_RDONLY)
        self.gates: list[Fifo] = []
        fifo.make(self.directory, (os.geteuid(), os.getegid()))

    def open(self, frozen: Callable[[], bool] = lambda: False) -> Fifo:
        gate = Fifo.open(self.directory, frozen=frozen)
        assert gate is not None
        self.gates.append(gate)
        return gate

    def unlink(self) -> None:
        os.unlink(self.path)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for gate in made.gates:
        gate.close()
    os.close(made.directory)


def soon() -> float:
    return time.monotonic() + PATIENCE


def execute(child: Child) -> None:
    """When told, become a program that stays."""
    child.listen()
    become_a_program()


def become_a_program() -> None:
    os.execv("/bin/sh", ["sh", "-c", "kill -STOP $$"])


def init(
    place: Place, *pieces: bytes, then: Callable[[Child], object] = lambda child: None
) -> Callable[[Child], object]:
    """An init that goes to the fifo and writes these."""

    def work(child: Child) -> int | None:
        child.name(WAITING_NAMES[0])
        child.say()
        descriptor = os.open(place.path, os.O_WRONLY | os.O_CLOEXEC)
        for piece in pieces:
            os.write(descriptor, piece)
        return then(child)

    return work


def test_whoever_reads_the_zero_wins(place: Place, fork: Fork) -> None:
    child = fork(init(place, b"0", then=Child.listen))
    child.hear()
    gate = place.open()
    assert gate.take(child.init, deadline=soon()) == "won"


def test_the_program_runs_at_end_of_file(place: Place, fork: Fork) -> None:
    child = fork(init(place, b"0", then=execute))
    child.hear()
    gate = place.open()
    assert gate.take(child.init, deadline=soon()) == "won"
    with pytest.raises(TimeoutError):
        gate.outcome(child.init, deadline=time.monotonic() + 0.03)
    child.tell()
    assert gate.outcome(child.init, deadline=soon()) is None


@pytest.mark.parametrize("pieces", [(b"0" + RECORD,), (b"0", RECORD), (b"0", RECORD[:7], RECORD[7:])])
def test_a_record_says_why_it_does_not(place: Place, fork: Fork, pieces: tuple[bytes, ...]) -> None:
    child = fork(init(place, *pieces, then=Child.listen))
    child.hear()
    gate = place.open()
    assert gate.take(child.init, deadline=soon()) == "won"
    assert gate.outcome(child.init, deadline=soon()) == Failure("execve", 8, "exec format error")


@pytest.mark.parametrize("junk", [b"1", b"LCPY", b"LCPY" + b"\xff" * 60, b"x" * 4095, b"\0" * 20_000, RECORD[:-1]])
def test_what_is_no_record_is_not_believed(place: Place, fork: Fork, junk: bytes) -> None:
    child = fork(init(place, b"0" + junk))
    child.hear()
    gate = place.open()
    assert gate.take(child.init, deadline=soon()) == "won"
    assert gate.outcome(child.init, deadline=soon()) is None


def test_an_init_that_was_killed_after_the_zero_does_not_hang(place: Place, fork: Fork) -> None:
    holder = fork(init(place, then=Child.listen))  # somebody else keeps the writing end
    holder.hear()
    child = fork(init(place, b"0"))
    child.hear()
    gate = place.open()
    assert gate.take(child.init, deadline=soon()) == "won"
    child.kill()
    assert gate.outcome(child.init, deadline=soon()) is None
    holder.tell()


def test_the_zero_of_an_init_that_ended_since_counts(place: Place, fork: Fork) -> None:
    child = fork(init(place, b"0"))
    child.hear()
    gate = place.open()
    assert child.wait() == 0
    assert gate.take(child.init, deadline=soon()) == "won"
    assert gate.outcome(child.init, deadline=soon()) is None


@pytest.mark.parametrize("byte", [b"1", b"\0", b"x0"])
def test_another_byte_is_no_win(place: Place, fork: Fork, byte: bytes) -> None:
    child = fork(init(place, byte, then=Child.listen))
    child.hear()
    assert place.open().take(child.init, deadline=soon()) == "lost"


def test_another_reader_won(place: Place, fork: Fork) -> None:
    def leave(child: Child) -> None:
        child.say()
        execute(child)

    child = fork(init(place, b"0", then=leave))
    child.hear()
    gate = place.open()
    child.hear()  # it wrote
    other = os.open(place.path, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(other, 1) == b"0"
    os.close(other)
    child.tell()
    assert gate.take(child.init, deadline=soon()) == "lost"


def test_an_unlinked_fifo_is_lost(place: Place, fork: Fork) -> None:
    child = fork(waits_as(WAITING_NAMES[0]))
    child.hear()
    gate = place.open()
    place.unlink()
    assert gate.take(child.init, deadline=soon()) == "lost"


def test_a_fifo_that_is_gone_opens_as_none(place: Place) -> None:
    place.unlink()
    assert Fifo.open(place.directory, frozen=lambda: False) is None


def test_an_init_that_is_dead(place: Place, fork: Fork) -> None:
    child = fork(lambda child: None)
    child.wait()
    assert place.open().take(child.init, deadline=soon()) == "stopped"


def test_another_process_of_the_same_pid_is_not_init(place: Place, fork: Fork) -> None:
    child = fork(init(place, then=Child.listen))
    child.hear()
    stranger = Init(child.pid, child.init.start + 1)
    assert place.open().take(stranger, deadline=soon()) == "stopped"


def test_an_init_that_dies_while_we_wait(place: Place, fork: Fork) -> None:
    child = fork(waits_as(WAITING_NAMES[1]))
    child.hear()
    killer = fork(lambda killer: (killer.listen(), os.kill(child.pid, 9)))

    def frozen() -> bool:  # asked from the second slice on: take is waiting by then
        killer.tell()
        killer.wait()
        return False

    assert place.open(frozen).take(child.init, deadline=soon()) == "stopped"


def test_an_init_that_dies_between_open_and_write(place: Place, fork: Fork) -> None:
    child = fork(init(place, then=lambda child: os.kill(os.getpid(), 9)))
    child.hear()
    gate = place.open()
    assert gate.take(child.init, deadline=soon()) == "stopped"


def test_a_stale_fifo(place: Place, fork: Fork) -> None:
    """The winner was killed between reading and unlinking: init left, and nobody will ever write."""
    child = fork(init(place, b"0", then=execute))
    child.hear()
    winner = place.open()
    assert winner.take(child.init, deadline=soon()) == "won"
    child.tell()
    assert winner.outcome(child.init, deadline=soon()) is None
    winner.close()
    asked: list[bool] = []
    gate = place.open(lambda: asked.append(True) is None)
    assert gate.take(child.init, deadline=soon()) == "stale"
    assert asked == []


def test_a_zero_that_came_between_two_looks_counts(place: Place, fork: Fork) -> None:
    """Init writes and leaves after poll said nothing, and before /proc is asked who it is."""

    def work(child: Child) -> None:
        child.name(WAITING_NAMES[0])
        child.say()
        descriptor = os.open(place.path, os.O_WRONLY | os.O_CLOEXEC)
        child.listen()
        os.write(descriptor, b"0")
        become_a_program()

    child = fork(work)
    child.hear()
    gate = place.open()

    def leave() -> None:
        child.tell()
        while process.stat(child.pid).comm in WAITING_NAMES:
            pass

    with at_call(fifo._has_left, leave):
        assert gate.take(child.init, deadline=soon()) == "won"
    assert gate.outcome(child.init, deadline=soon()) is None


def test_a_zero_that_came_before_init_ended_counts(place: Place, fork: Fork) -> None:
    def work(child: Child) -> None:
        child.name(WAITING_NAMES[0])
        child.say()
        descriptor = os.open(place.path, os.O_WRONLY | os.O_CLOEXEC)
        child.listen()
        os.write(descriptor, b"0")

    child = fork(work)
    child.hear()
    gate = place.open()

    def end() -> None:
        child.tell()
        child.wait()

    with at_call(process.has_ended, end):
        assert gate.take(child.init, deadline=soon()) == "won"


@pytest.mark.parametrize("name", WAITING_NAMES)
def test_an_init_that_does_not_come_is_waited_for(place: Place, fork: Fork, name: str) -> None:
    child = fork(waits_as(name))
    child.hear()
    began = time.monotonic()
    assert place.open().take(child.init, deadline=began + 0.1) == "timeout"
    assert time.monotonic() - began >= 0.1
    assert place.open().take(child.init, deadline=began) == "timeout"


def test_a_frozen_init(place: Place, fork: Fork) -> None:
    child = fork(waits_as(WAITING_NAMES[0]))
    child.hear()
    asked: list[float] = []

    def frozen() -> bool:
        asked.append(time.monotonic())
        return len(asked) == 2

    began = time.monotonic()
    assert place.open(frozen).take(child.init, deadline=soon()) == "paused"
    assert len(asked) == 2
    assert asked[0] - began >= 0.04, "it was asked before the second slice was over"
    assert asked[1] - asked[0] >= 0.02


def test_unblock_frees_a_reader_that_blocks_in_open(place: Place, fork: Fork) -> None:
    def read(child: Child) -> int:
        child.say()
        descriptor = os.open(place.path, os.O_RDONLY)  # as runc does
        return 5 if os.read(descriptor, 1) == b"" else 6

    child = fork(read)
    child.hear()
    child.sleeps()
    gate = place.open()
    place.unlink()
    assert fifo.NAME not in os.listdir(place.directory)
    gate.unblock()
    assert child.wait() == 5


def test_of_many_gates_one_wins(place: Place, fork: Fork) -> None:
    child = fork(init(place, b"0", then=execute))
    child.hear()

    def race(racer: Child) -> int:
        racer.say()
        racer.listen()
        gate = Fifo.open(place.directory, frozen=lambda: False)
        if gate is None:
            return 10
        taken = gate.take(child.init, deadline=soon())
        if taken == "won":
            place.unlink()
            gate.unblock()
        return {"won": 11, "lost": 10, "stale": 10}[taken]

    racers = [fork(race) for _ in range(8)]
    for racer in racers:
        racer.hear()
    for racer in racers:
        racer.tell()
    child.tell()
    assert sorted(racer.wait() for racer in racers) == [10] * 7 + [11]


def test_mode_and_owner(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        os.close(Place(tmp_path).directory)
    finally:
        os.umask(before)
    status = os.stat(tmp_path / fifo.NAME)
    assert stat.S_ISFIFO(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o622
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


@pytest.mark.usefixtures("root_only")
def test_another_owner(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fifo.make(descriptor, (1234, 5678))
    os.close(descriptor)
    status = os.stat(tmp_path / fifo.NAME)
    assert (status.st_uid, status.st_gid) == (1234, 5678)


def test_a_file_in_its_place_is_refused(place: Place) -> None:
    place.unlink()
    Path(place.path).write_text("0")
    with pytest.raises(OSError, match="not a fifo"):
        Fifo.open(place.directory, frozen=lambda: False)


def test_close_twice(place: Place) -> None:
    gate = place.open()
    gate.close()
    gate.close()
