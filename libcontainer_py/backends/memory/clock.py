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

    A thread that waits for something with a deadline makes the clock jump to the next deadline, unless another thread
    works, that is: holds a container's lock and waits for nothing. With `autojump` False the clock stands until
    `advance()`.

    `changed` guards the whole backend. Whoever changes what another may wait for notifies it; `listeners` are called
    each time, with the lock held.
    """

    def __init__(self) -> None:
        self.listeners: list[Callable[[], None]] = []
        self.changed: threading.Condition = _Changed(self.listeners)
        self.autojump = True
        self._now = 0.0
        self._waiting: dict[int, tuple[Callable[[], bool], float]] = {}
        self._working: list[int] = []

    def now(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self.changed:
            self._now += seconds
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Wait until `condition` holds (True) or the deadline has come (False)."""
        me = threading.get_ident()
        with self.changed:
            self._waiting[me] = (condition, deadline)
            try:
                while not condition():
                    if self._now >= deadline:
                        return False
                    if not self._jump():
                        self.changed.wait()
                return True
            finally:
                del self._waiting[me]
                self.changed.notify_all()

    def _jump(self) -> bool:
        soonest = min(deadline for _, deadline in self._waiting.values())
        if not self.autojump or soonest <= self._now or soonest == FOREVER:
            return False  # at `soonest <= now` another thread is about to give up; it goes first
        if any(thread not in self._waiting for thread in self._working):
            return False
        if any(condition() for condition, _ in self._waiting.values()):
            return False  # that thread goes on at this time
        self._now = soonest
        self.changed.notify_all()
        return True

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
