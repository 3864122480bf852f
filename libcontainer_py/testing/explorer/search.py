"""The search: run after run from the same beginning, those with the fewest preemptions first, no state twice."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from libcontainer_py.backends.procedures import Procedures
from libcontainer_py.testing.explorer.run import Plan, Run, Scenario
from libcontainer_py.testing.explorer.scene import OPERATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from libcontainer_py.backends.base import Host, Store
    from libcontainer_py.testing.explorer.scene import Ending, Operation
    from libcontainer_py.testing.explorer.taps import Step


class Race(NamedTuple):
    """A schedule that breaks something."""

    reason: str
    preemptions: int
    """How often a thread was left in the middle of an operation although it could go on."""
    steps: tuple[Step, ...]
    """What was done, in this order."""

    def __str__(self) -> str:
        lines = [f"{self.reason}: {len(self.steps)} steps, {self.preemptions} preemptions"]
        before: tuple[int, str] | None = None
        for step in self.steps:
            if (step.thread, step.operation) != before:
                before = (step.thread, step.operation)
                lines.append(f"  thread {step.thread}, {step.operation}:")
            lines.append(f"    {step.name}")
        return "\n".join(lines)


class Explored(NamedTuple):
    """What an exploration found."""

    race: Race | None
    """The one with the fewest preemptions, and of those the one with the fewest steps."""
    schedules: int
    """How many were run, to their end or to a state that another had been in."""
    states: int
    """How many there were, of all threads and the world."""
    is_complete: bool
    """Whether all within the bound of preemptions were run."""


class _Search:
    """Runs, those with the fewest preemptions first."""

    def __init__(self, scenario: Scenario, preemptions: int) -> None:
        self.seen: set[int] = set()
        self._scenario = scenario
        self._plans: list[deque[Plan]] = [deque() for _ in range(preemptions + 1)]
        self._plans[0].append(Plan((), 0))

    def runs(self) -> Iterator[Run]:
        """One after the other. Whoever stops in between leaves the others undone."""
        for level in self._plans:
            while level:
                run = Run(self._scenario, level.popleft(), self.seen)
                run.go()
                for plan in run.others:
                    if plan.preemptions < len(self._plans):
                        self._plans[plan.preemptions].append(plan)
                yield run

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing left to run."""
        return not any(self._plans)


def explore(
    threads: Sequence[Sequence[str | Operation]],
    *,
    before: Sequence[str | Operation] = (),
    procedures: Callable[[Store, Host], Procedures] = Procedures,
    preemptions: int = 2,
    schedules: int = 100_000,
    compare: bool = True,
) -> Explored:
    """Run the operations of these threads in every order of their steps; `before` happens before all of it.

    An operation is a word of `OPERATIONS`, or gets a Factory; it keeps nothing from one call to the next. `procedures`
    is what is explored, and its outcomes must be those of `Procedures`. At most so many `preemptions` in a schedule,
    and so many `schedules` in all. Without `compare` how they end is not compared, for which all that can come of whole
    operations must be found first: that takes long where three threads do three things. Raises KeyError for a word that
    is none.
    """
    named = tuple(tuple(_named(operation) for operation in thread) for thread in threads)
    first = tuple(_named(operation)[1] for operation in before)
    right = _endings(Scenario(named, first, Procedures, is_reference=True)) if compare else None
    search = _Search(Scenario(named, first, procedures, is_reference=False), preemptions)
    best: Race | None = None
    done = 0
    for run in search.runs():
        if best is not None and run.plan.preemptions > best.preemptions:
            break
        done += 1
        reason = run.broken
        if right is not None and not reason and run.ending is not None and run.ending not in right:
            reason = f"no order of whole operations ends so: {_told(named, run.ending)}"
        if reason and (best is None or len(run.steps) < len(best.steps)):
            best = Race(reason, run.plan.preemptions, run.steps)
        if done == schedules:
            break
    return Explored(best, done, len(search.seen), search.is_complete)


def _named(operation: str | Operation) -> tuple[str, Operation]:
    if isinstance(operation, str):
        return operation, OPERATIONS[operation]
    return getattr(operation, "__name__", repr(operation)), operation


def _endings(scenario: Scenario) -> set[Ending]:
    """All that can come of a scenario, which breaks nothing."""
    return {run.ending for run in _Search(scenario, 0).runs() if run.ending is not None}


def _told(threads: Sequence[Sequence[tuple[str, Operation]]], ending: Ending) -> str:
    answers = [
        f"thread {number}: " + ", ".join(f"{name} {answer}" for (name, _), answer in zip(thread, told, strict=True))
        for number, (thread, told) in enumerate(zip(threads, ending.told, strict=True))
    ]
    return "; ".join([*answers, f"the container is {ending.status or 'gone'}"])
