"""The virtual clock of the memory backend, and with it the one lock that everything there shares."""

from __future__ import annotations

import threading
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

FOREVER = float("inf")
"""A deadline that never comes."""


class _Changed(threading.Condition):
    """A condition that also tells those who do not wait in a thread."""

    def __init__(self, listeners: list[Callable[[], None]]) -> None:
        super().__init__(threading.RLock())
        self._listeners = listeners

    def notify_all(self) -> None:
        """Wake all who wait, and tell the listeners."""
        super().notify_all()
        for listener in tuple(self._listeners):
            listener()


class MemoryClock:
    """Seconds that pass when nothing else can happen.

    A thread that waits for something with a deadline makes the clock jump to the next deadline or alarm, unless another
    thread works, that is: holds a container's lock and waits for nothing. With `autojump` False the clock stands until
    `advance()`.

    `changed` guards the whole backend. Whoever changes what another may wait for notifies it; `listeners` are called
    each time, with the lock held. `alarms` are times at which some listener wants to be called, by whose they are.
    """

    def __init__(self) -> None:
        self.listeners: list[Callable[[], None]] = []
        self.changed: threading.Condition = _Changed(self.listeners)
        self.alarms: dict[object, float] = {}
        self.autojump = True
        self._now = 0.0
        self._waiting: dict[object, tuple[Callable[[], bool], float]] = {}
        self._working: list[int] = []

    def now(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass; what has an alarm meanwhile happens in its turn."""
        with self.changed:
            end = self._now + seconds
            while (soonest := min(self.alarms.values(), default=FOREVER)) <= end:
                self._now = max(self._now, soonest)
                self._ring()
            self._now = max(self._now, end)
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Wait until `condition` holds (True) or the deadline has come (False).

        Raises RuntimeError where that can never be: nobody but this thread is there, and nothing is to come.
        """
        me = threading.get_ident()
        with self.changed:
            before = self._waiting.get(me)
            self._waiting[me] = (condition, deadline)
            try:
                while not condition():
                    if self._now >= deadline:
                        return False
                    if not self._jump():
                        self._check_hope()
                        self.changed.wait()
                return True
            finally:
                if before is None:
                    del self._waiting[me]
                else:
                    self._waiting[me] = before
                self.changed.notify_all()

    def expect(self, condition: Callable[[], bool], deadline: float) -> Callable[[], None]:
        """Somebody who is no thread waits, until what this returns is called."""
        who = object()
        with self.changed:
            self._waiting[who] = (condition, deadline)

        def forget() -> None:
            with self.changed:
                self._waiting.pop(who, None)
                self.changed.notify_all()

        return forget

    def jump(self) -> bool:
        """Let time pass until something happens; False where it may not, or nothing is to come."""
        with self.changed:
            return self._jump()

    def _jump(self) -> bool:
        alarm = min(self.alarms.values(), default=FOREVER)
        soonest = min([alarm, *(deadline for _, deadline in self._waiting.values())])
        if not self.autojump or soonest == FOREVER:
            return False
        if soonest <= self._now and soonest != alarm:
            return False  # another thread is about to give up; it goes first
        me = threading.get_ident()  # an event loop holds locks while it waits
        if any(thread != me and thread not in self._waiting for thread in self._working):
            return False
        if any(condition() for condition, _ in self._waiting.values()):
            return False  # that thread goes on at this time
        self._now = max(self._now, soonest)
        self._ring()
        return True

    def _ring(self) -> None:
        """The time has changed."""
        for whose in [whose for whose, when in self.alarms.items() if when <= self._now]:
            del self.alarms[whose]
        self.changed.notify_all()

    def _check_hope(self) -> None:
        """A test that can only hang fails instead."""
        others = threading.active_count() > 1 or len(self._waiting) > 1
        if not others and self.autojump and not self.alarms:
            raise RuntimeError(
                "this waits for ever: there is no other thread, and no program has anything left to do; "
                "give a timeout, or a program that ends"
            )

    @contextmanager
    def working(self) -> Generator[None, None, None]:
        """No time passes while this thread works in here."""
        me = threading.get_ident()
        with self.changed:
            self._working.append(me)
        try:
            yield
        finally:
            with self.changed:
                self._working.remove(me)
                self.changed.notify_all()
