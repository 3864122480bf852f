"""Taps between the procedures and their store and host: each call is one step, before which another may come first."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from libcontainer_py.testing.explorer.baton import Relay

ALONE = frozenset({"store.directory", "store.root", "host.now", "host.creator", "host.prepare", "birth.record"})
"""Steps that neither change nor see what others change: when they come makes no difference."""


class Step(NamedTuple):
    """Something that a thread did."""

    thread: int
    operation: str
    name: str
    """The part and its method: `store.lock`."""


class Course:
    """What happened in a run so far; of each thread, all that its next step can depend on."""

    def __init__(self, threads: int) -> None:
        self.steps: list[Step] = []
        self.histories: list[int] = [0] * threads
        """Hashes of what each was told so far: the same code that is told the same does the same."""
        self._operations = [""] * threads
        self._next = [""] * threads
        self._fresh = [True] * threads
        self._locks = [0] * threads

    def begin(self, thread: int, operation: str) -> None:
        """The thread begins with an operation."""
        self._operations[thread] = operation
        self._fresh[thread] = True

    def stand(self, thread: int, step: str) -> None:
        """The thread stands before a step."""
        self._next[thread] = step

    def take(self, thread: int) -> None:
        """The thread does the step that it stands before."""
        self._fresh[thread] = False
        self.steps.append(Step(thread, self._operations[thread], self._next[thread]))

    def tell(self, thread: int, answer: object) -> None:
        """The thread was told something that hashes as what it says."""
        self.histories[thread] = hash((self.histories[thread], self._next[thread], answer))

    def hold(self, thread: int, locks: int) -> None:
        """The thread holds so many locks more than before."""
        self._locks[thread] += locks

    def is_between(self, thread: int) -> bool:
        """Whether it is between two operations."""
        return self._fresh[thread]

    def holds(self, thread: int) -> bool:
        """Whether it holds a lock."""
        return self._locks[thread] > 0

    def next_of(self, thread: int) -> str:
        """The step that it stands before."""
        return self._next[thread]

    def key(self) -> int:
        """A hash of where all threads stand."""
        return hash((tuple(self.histories), tuple(self._next), tuple(self._fresh)))


class Tap:
    """What all taps of one run share."""

    def __init__(self, relay: Relay, course: Course) -> None:
        self.relay = relay
        self.course = course

    def on(self, name: str, part: object) -> Any:
        """A part of which each call is a step."""
        return _Tapped(self, name, part)

    def step(self, name: str, call: Callable[[], Any]) -> Any:
        """Do it when it is its turn."""
        course, me = self.course, self.relay.current
        course.stand(me, name)
        if name not in ALONE:
            self.relay.step()
            course.take(me)
        try:
            result = call()
        except Exception as error:
            course.tell(me, repr(error))
            raise
        # of a part that it was given, what matters is that it was: what it does is in the world's state
        course.tell(me, result is None if type(result).__module__.startswith(_PARTS) else repr(result))
        return result


_PARTS = "libcontainer_py.backends."
_GIVES = {"open_fifo": "gate", "make_init": "birth"}
"""Methods whose result is a part again."""


class _Tapped:
    def __init__(self, tap: Tap, name: str, part: object) -> None:
        self._tap = tap
        self._name = name
        self._part = part

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if not callable(value):
            return value
        tap, step = self._tap, f"{self._name}.{name}"
        if name == "lock":
            return partial(_locked, tap, value)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = tap.step(step, lambda: value(*args, **kwargs))
            return tap.on(_GIVES[name], result) if name in _GIVES and result is not None else result

        setattr(self, name, call)
        return call


@contextmanager
def _locked(tap: Tap, lock: Callable[..., Any], container_id: str, *, timeout: float | None) -> Generator[None]:
    manager = lock(container_id, timeout=timeout)
    tap.step("store.lock", manager.__enter__)
    me = tap.relay.current
    tap.course.hold(me, 1)
    try:
        yield
    finally:
        tap.course.hold(me, -1)
        manager.__exit__(None, None, None)
