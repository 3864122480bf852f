"""What happens to a container, as it happens: `Container.events()`, and the events that it gives.

    with container.events() as events:
        for event in events:
            match event:
                case OomKill(count=count): ...
                case Exited(status=status): ...

Nothing asks again and again, and there is no thread: the kernel makes `fileno()` readable. So `select`, asyncio or trio
can wait for the events of many containers, and `ready()` gives what has happened::

    loop.add_reader(events.fileno(), lambda: [print(event) for event in events.ready()])

Events tell what changed since one looked last: a pause and a resume between two looks are not seen, and of things that
the kernel counts one event tells how often they happened.
"""

from __future__ import annotations

import warnings

import attrs

from libcontainer_py.errors import ContainerTimeout
from libcontainer_py.process import ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from libcontainer_py.backends.base import Happening, Watch


@attrs.frozen
class Event:
    """Something that happened to one container."""

    container_id: str


@attrs.frozen
class Started(Event):
    """It was let go from exec.fifo, by whomever. Should its program not run, `Exited` follows."""


@attrs.frozen
class Paused(Event):
    """It was frozen, by whomever."""


@attrs.frozen
class Resumed(Event):
    """It was thawed."""


@attrs.frozen
class OutOfMemory(Event):
    """Its memory ran out, `count` times: some process is to be killed, or waits where nobody is killed.

    On v1 also where a cgroup above ran out of it, on v2 also where one below did that has a limit of its own.
    """

    count: int = 1


@attrs.frozen
class OomKill(Event):
    """`count` of its processes were killed because memory was short.

    After the `OutOfMemory` that it was for. There is none where the whole host was short of memory, or on v2 a cgroup
    above, or on v1 one below.
    """

    count: int = 1


@attrs.frozen
class MemoryPressure(Event):
    """Memory is short, but has not run out.

    `level` is low, medium or critical. cgroup v1: as the kernel says it. v2: medium where some task waited for memory
    for 0.2 s within two seconds, critical where all did. Source: cgroup-v1/memory.rst, 11; accounting/psi.rst.
    """

    level: str


@attrs.frozen
class Exited(Event):
    """Its init ended. This is the last event."""

    status: ExitStatus


_CLASSES: dict[str, type[Event]] = {
    "started": Started,
    "paused": Paused,
    "resumed": Resumed,
    "oom": OutOfMemory,
    "oom_kill": OomKill,
    "pressure": MemoryPressure,
    "exited": Exited,
}


class Events:
    """The events of one container since `Container.events()` was called; an iterator and a context manager.

    For one thread at a time. Close it, or leave it as a context manager: it holds descriptors.
    """

    def __init__(self, container_id: str, watch: Watch, ended: Callable[[], ExitStatus]) -> None:
        """For Container.events() alone."""
        self._container_id = container_id
        self._watch: Watch | None = watch
        self._status = ended
        self._kinds = frozenset(_CLASSES[kind] for kind in watch.kinds)
        self._ended = False

    def __repr__(self) -> str:
        state = "closed" if self._watch is None else "ended" if self._ended else "open"
        return f"<Events of {self._container_id!r}, {state}>"

    @property
    def kinds(self) -> frozenset[type[Event]]:
        """The classes of events that can come.

        All but those whose source is not there: without a cgroup `Started` and `Exited` alone, without the memory
        controller nothing about memory, and `MemoryPressure` on cgroup v2 only where the kernel measures it (PSI).
        """
        return self._kinds

    @property
    def ended(self) -> bool:
        """Whether the last event, `Exited`, was given."""
        return self._ended

    def fileno(self) -> int:
        """A descriptor that is readable while there may be events: for select, asyncio, trio. Ours to close.

        Raises ValueError after close().
        """
        return self._open().fileno()

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event, waited for `timeout` seconds at most (None: for ever); None after the last one.

        Raises ContainerTimeout, and ValueError after close().
        """
        watch = self._open()
        if self._ended:
            return None
        happening = watch.take(timeout)
        if happening is None:
            raise ContainerTimeout(f"nothing happened to {self._container_id!r} within {timeout:g} s", timeout=timeout)
        return self._event(happening)

    def ready(self) -> list[Event]:
        """What has happened and was not given yet, oldest first; does not wait. Raises ValueError after close()."""
        watch = self._open()
        found: list[Event] = []
        while not self._ended and (happening := watch.take(0)) is not None:
            found.append(self._event(happening))
        return found

    def _event(self, happening: Happening) -> Event:
        kind = _CLASSES[happening.kind]
        if kind is Exited:
            self._ended = True
            return Exited(self._container_id, self._status())
        if kind is MemoryPressure:
            return MemoryPressure(self._container_id, happening.level)
        if kind is OutOfMemory or kind is OomKill:
            return kind(self._container_id, happening.times)
        return kind(self._container_id)

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up watching. Silent when repeated."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def __del__(self) -> None:
        if getattr(self, "_watch", None) is None:
            return
        if not self._ended:  # a loop that went on to the end needs no `with`
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        self.close()

    def _open(self) -> Watch:
        if self._watch is None:
            raise ValueError(f"the events of {self._container_id!r} are closed")
        return self._watch
