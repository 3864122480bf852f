"""One schedule, from the beginning to its end, or to where it is not worth going on."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, cast

from libcontainer_py.backends.memory import MemoryBackend
from libcontainer_py.factory import Factory
from libcontainer_py.testing.explorer import scene
from libcontainer_py.testing.explorer.baton import NOBODY, Relay
from libcontainer_py.testing.explorer.scene import Ending
from libcontainer_py.testing.explorer.taps import Course, Tap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py.backends.base import Backend, Host, Store
    from libcontainer_py.backends.procedures import Procedures
    from libcontainer_py.testing.explorer.scene import Operation
    from libcontainer_py.testing.explorer.taps import Step

SEAMS = frozenset(
    {"store.has_fifo", "store.lock", "host.freeze", "host.thaw", "host.signal", "host.signal_all", "host.kill"}
)
"""Where the reference may leave an operation that holds no lock: it found the container, or looked, and acts now."""
LOCKED_SEAMS = frozenset({"host.kill", "store.remove"})
"""And one that does: who takes no lock may pause what a delete is about to kill, and see what it is about to remove."""


class Scenario(NamedTuple):
    """What is run in each schedule."""

    threads: tuple[tuple[tuple[str, Operation], ...], ...]
    before: tuple[Operation, ...]
    procedures: Callable[[Store, Host], Procedures]
    is_reference: bool
    """Whether threads are left at the seams alone, so that what is done under the lock is done in one go."""


class Plan(NamedTuple):
    """How a run begins: who goes on, wherever there is a choice."""

    choices: tuple[int, ...]
    preemptions: int


class Run:
    """A run that begins as planned, and then leaves nobody who can go on. It ends in a state that was seen before."""

    def __init__(self, scenario: Scenario, plan: Plan, seen: set[int]) -> None:
        self.plan = plan
        self.others: list[Plan] = []
        """How else it could have gone on after its beginning."""
        self.broken: str = ""
        """What it breaks, but for its ending."""
        self.ending: Ending | None = None
        self._scenario = scenario
        self._seen = seen
        self._choices: list[int] = []
        self._told: list[list[str]] = [[] for _ in scenario.threads]
        self._course = Course(len(scenario.threads))
        self._relay = Relay([partial(self._live, number) for number in range(len(scenario.threads))], self._choose)
        self._backend = MemoryBackend()
        for operation in scenario.before:
            operation(Factory(backend=self._backend))
        self._backend.host.clock = self._relay.clock
        tap = Tap(self._relay, self._course)
        store, host = tap.on("store", self._backend.store), tap.on("host", self._backend.host)
        procedures = scenario.procedures(cast("Store", store), cast("Host", host))
        # but for `explain`, which nobody calls, they are all of a backend
        self._factory = Factory(backend=cast("Backend", procedures))

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was done, in this order."""
        return tuple(self._course.steps)

    def go(self) -> None:
        """Run it."""
        self._relay.run()
        if self._relay.is_stuck:
            self.broken = "all of them wait, and nothing can wake them"
        elif self._relay.is_complete and not self.broken:
            told = tuple(tuple(answers) for answers in self._told)
            self.ending = Ending(told, scene.status(self._backend))
            self.broken = scene.lost(self._backend) or scene.left(self._backend)

    def _live(self, number: int) -> None:
        """What a thread does."""
        course = self._course
        for name, operation in self._scenario.threads[number]:
            course.begin(number, name)
            try:
                answer = scene.outcome(operation, self._factory)
            except Exception as error:  # noqa: BLE001  (whatever it is: it is what the run has found)
                self.broken = f"{name} raised {error!r}"
                return
            self._told[number].append(answer)
            course.histories[number] = hash(tuple(self._told[number]))

    def _choose(self, able: list[int], current: int) -> int:
        """Who goes on. Everything that is looked at here belongs to the one who has the baton: this thread."""
        number = len(self._choices)
        if number < len(self.plan.choices):
            if len(able) == 1:
                return able[0]
            self._choices.append(self.plan.choices[number])
            return self._choices[-1]
        self.broken = self.broken or scene.lost(self._backend)
        if self.broken or self._was_here(current):
            return NOBODY
        if current not in able:
            best, cost, others = able[0], 0, able[1:]
        else:
            best, cost = current, int(not self._is_seam(current))
            others = [one for one in able if one != current]
        if len(able) > 1:
            if not (cost and self._scenario.is_reference):
                path = tuple(self._choices)
                self.others += [Plan((*path, one), self.plan.preemptions + cost) for one in others]
            self._choices.append(best)
        return best

    def _is_seam(self, thread: int) -> bool:
        """Whether leaving that thread here costs nothing."""
        course = self._course
        if course.is_between(thread) or not self._scenario.is_reference:
            return course.is_between(thread)
        return course.next_of(thread) in (LOCKED_SEAMS if course.holds(thread) else SEAMS)

    def _was_here(self, current: int) -> bool:
        state = hash((current, scene.key(self._backend), self._course.key(), self._relay.waits))
        if state in self._seen:
            return True
        self._seen.add(state)
        return False
