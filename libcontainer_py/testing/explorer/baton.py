"""Threads of which one runs at a time: who has the baton. Before each step the one who has it asks who comes next."""

from __future__ import annotations

import threading
from typing import NamedTuple

from libcontainer_py.backends.memory.clock import FOREVER, MemoryClock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

NOBODY = -1
"""Instead of a thread: the run is not worth going on with."""


class Abandoned(BaseException):
    """The run has ended; it comes out of every step, so that no thread changes anything any more."""


class Waiting(NamedTuple):
    """What a thread waits for, and until when."""

    condition: Callable[[], bool]
    deadline: float


class _Unlocked(threading.Condition):
    """The condition of a clock that one thread at a time uses: there is nobody to exclude, and nobody to wake."""

    def __enter__(self) -> bool:
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del kind, error, traceback

    def notify_all(self) -> None:
        """Who waits is asked before each step."""


class BatonClock(MemoryClock):
    """A clock on which who waits hands the baton on. Time passes when nobody can do anything else."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self.changed: threading.Condition = _Unlocked()
        self._relay = relay

    def wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Wait until `condition` holds (True) or the deadline has come (False)."""
        while not condition():
            if self.now() >= deadline:
                return False
            self._relay.wait(Waiting(condition, deadline))
        return True


def _taken() -> threading.Lock:
    """A lock that one thread takes and another releases."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class Relay:
    """One run of some threads.

    `choose` gets those that can go on and who has the baton (`NOBODY` at first), and says who gets it; `NOBODY` ends
    the run there. It is called by whichever thread has the baton.
    """

    def __init__(self, bodies: Sequence[Callable[[], object]], choose: Callable[[list[int], int], int]) -> None:
        self.clock: BatonClock = BatonClock(self)
        self.is_stuck: bool = False
        """Nobody could go on, and not all had ended."""
        self._choose = choose
        self._batons = [_taken() for _ in bodies]
        self._end = _taken()
        self._abandoned = False
        self._waiting: dict[int, Waiting] = {}
        self._left = set(range(len(bodies)))
        self._current = NOBODY
        self._threads = [
            threading.Thread(target=self._carry_out, args=(number, body), name=f"explorer {number}", daemon=True)
            for number, body in enumerate(bodies)
        ]

    def run(self) -> None:
        """Run them until all have ended, nobody can go on, or `choose` says so. None of them runs afterwards."""
        for thread in self._threads:
            thread.start()
        self._hand_on()
        self._end.acquire()
        self._abandoned = True
        for number in sorted(self._left):
            self._batons[number].release()
        for thread in self._threads:
            thread.join()

    @property
    def is_complete(self) -> bool:
        """Whether all came to their end."""
        return not self._left

    @property
    def waits(self) -> frozenset[int]:
        """Those that wait for something."""
        return frozenset(self._waiting)

    @property
    def current(self) -> int:
        """Who has the baton."""
        return self._current

    def step(self) -> None:
        """Let another go first, perhaps. Raises Abandoned."""
        if self._abandoned:
            raise Abandoned
        me = self._current
        if self._next() != me:
            self._hand_over(me)

    def wait(self, waiting: Waiting) -> None:
        """Hand the baton on until it is worth looking again. Raises Abandoned."""
        if self._abandoned:
            raise Abandoned
        me = self._current
        self._waiting[me] = waiting
        if self._next() != me:
            self._hand_over(me)
        del self._waiting[me]

    def _hand_over(self, me: int) -> None:
        self._wake()
        self._batons[me].acquire()
        if self._abandoned:
            raise Abandoned

    def _hand_on(self) -> None:
        self._next()
        self._wake()

    def _next(self) -> int:
        """Decide who comes next."""
        able = self._able()
        if not able and self._left:
            soonest = min(self._waiting[number].deadline for number in self._left)
            if soonest == FOREVER:
                self.is_stuck = True
            else:
                self.clock.advance(soonest - self.clock.now())
                able = self._able()
        self._current = self._choose(able, self._current) if able else NOBODY
        return self._current

    def _able(self) -> list[int]:
        now = self.clock.now()
        return [
            number
            for number in sorted(self._left)
            if (waiting := self._waiting.get(number)) is None or waiting.deadline <= now or waiting.condition()
        ]

    def _wake(self) -> None:
        (self._end if self._current == NOBODY else self._batons[self._current]).release()

    def _carry_out(self, number: int, body: Callable[[], object]) -> None:
        self._batons[number].acquire()
        try:
            if not self._abandoned:
                body()
        except Abandoned:
            return
        if not self._abandoned:
            self._left.discard(number)
            self._hand_on()
