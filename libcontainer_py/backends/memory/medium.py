"""Descriptors and time of the memory backend: pipes that are buffers, ends of processes, and its virtual clock.

Its descriptors are numbers that no system gives, so that both can stand beside each other: a program's output may go
into a file of the test's, and who waits may wait for a socket too. Source for what pipes do: pipe(7).
"""

from __future__ import annotations

import errno
import io
import os
from math import inf
from typing import NamedTuple

from libcontainer_py.waiting import Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from typing_extensions import Buffer

    from libcontainer_py.backends.memory.clock import MemoryClock
    from libcontainer_py.backends.memory.processes import MemoryProcess

    Thing: TypeAlias = "MemoryPipe | MemoryProcess"

FIRST = 1 << 30
"""The first of our descriptors: a system gives the lowest that is free, and never so many."""
CAPACITY = 65536
"""Bytes that lie in a pipe at most. Source: pipe(7)."""


class MemoryPipe:
    """What was written and not read yet, and how many descriptors lead to either end."""

    __slots__ = ("data", "readers", "writers")

    def __init__(self) -> None:
        self.data: bytearray = bytearray()
        self.readers: int = 0
        self.writers: int = 0


class _End(NamedTuple):
    thing: Thing
    writing: bool = False


class MemoryMedium:
    """See `waiting.Imagined`. What is no descriptor of ours is one of the system's."""

    longest_wait: float = inf

    def __init__(self, clock: MemoryClock) -> None:
        self._clock = clock
        self._ends: dict[int, _End] = {}
        self._next = FIRST

    # -- time -----------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Seconds of the virtual clock."""
        return self._clock.now()

    def ready(self, wait: Wait) -> frozenset[int]:
        """Wait on the virtual clock."""
        with self._clock.changed:
            self._clock.wait(lambda: bool(self._found(wait)), wait.until)
            return self._found(wait)

    def look(self, wait: Wait) -> frozenset[int] | None:
        """What is ready; none: the time has come; None: neither."""
        with self._clock.changed:
            found = self._found(wait)
            return found if found or self._clock.now() >= wait.until else None

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have it called at each change."""
        with self._clock.changed:
            self._clock.listeners.append(listener)

        def ignore() -> None:
            with self._clock.changed:
                self._clock.listeners.remove(listener)

        return ignore

    def expect(self, wait: Wait) -> Callable[[], None]:
        """Somebody waits for this who is no thread."""
        return self._clock.expect(lambda: bool(self._found(wait)), wait.until)

    def jump(self) -> bool:
        """Let time pass."""
        return self._clock.jump()

    def _found(self, wait: Wait) -> frozenset[int]:
        """Those that are ready."""
        foreign = tuple(one for one in (*wait.reading, *wait.writing) if one not in self._ends)
        found = {one for one in (*wait.reading, *wait.writing) if one in self._ends and self._is_ready(self._ends[one])}
        if foreign:
            found.update(_ready_here(foreign, wait))
        return frozenset(found)

    def _is_ready(self, end: _End) -> bool:
        if not isinstance(end.thing, MemoryPipe):
            return not end.thing.alive
        if end.writing:
            return len(end.thing.data) < CAPACITY or not end.thing.readers
        return bool(end.thing.data) or not end.thing.writers

    # -- descriptors ----------------------------------------------------------------------------------------------

    @property
    def opened(self) -> int:
        """How many descriptors of ours are open: a test may ask that nobody forgets one."""
        return len(self._ends)

    def pipe(self) -> tuple[int, int]:
        """A new one."""
        with self._clock.changed:
            pipe = MemoryPipe()
            return self._open(_End(pipe)), self._open(_End(pipe, writing=True))

    def end_of(self, process: MemoryProcess) -> int:
        """A descriptor that is readable when that process has ended."""
        with self._clock.changed:
            return self._open(_End(process))

    def _open(self, end: _End) -> int:
        self._next += 1
        self._ends[self._next] = end
        if isinstance(end.thing, MemoryPipe):
            end.thing.readers += not end.writing
            end.thing.writers += end.writing
        return self._next

    def unblock(self, descriptor: int) -> None:
        """Ours never block."""
        if descriptor < FIRST:
            os.set_blocking(descriptor, False)

    def read(self, descriptor: int, count: int) -> bytes:
        """Some bytes. Raises BlockingIOError, OSError (EBADF)."""
        if descriptor < FIRST:
            return os.read(descriptor, count)
        with self._clock.changed:
            pipe = self._pipe(descriptor, writing=False)
            if not pipe.data and pipe.writers:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            chunk = bytes(pipe.data[:count])
            del pipe.data[:count]
            self._clock.changed.notify_all()
            return chunk

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """How many bytes there was room for. Raises BlockingIOError, BrokenPipeError, OSError (EBADF)."""
        if descriptor < FIRST:
            return os.write(descriptor, data)
        with self._clock.changed:
            pipe = self._pipe(descriptor, writing=True)
            if not pipe.readers:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")
            room = min(CAPACITY - len(pipe.data), len(data))
            if data and not room:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            pipe.data += data[:room]
            self._clock.changed.notify_all()
            return room

    def _pipe(self, descriptor: int, *, writing: bool) -> MemoryPipe:
        end = self._ends.get(descriptor)
        if end is None or not isinstance(end.thing, MemoryPipe) or end.writing is not writing:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return end.thing

    def capacity(self, descriptor: int) -> int:
        """Of any."""
        return CAPACITY

    def file(self, descriptor: int, mode: str) -> io.RawIOBase:
        """Whose reads and writes wait on the virtual clock."""
        return MemoryFile(self, descriptor, mode)

    def duplicate(self, descriptor: int) -> int:
        """Another one. Raises OSError (EBADF)."""
        if descriptor < FIRST:
            return os.dup(descriptor)
        with self._clock.changed:
            if descriptor not in self._ends:
                raise OSError(errno.EBADF, "Bad file descriptor")
            return self._open(self._ends[descriptor])

    def close(self, descriptor: int) -> None:
        """Close it. Raises OSError (EBADF)."""
        if descriptor < FIRST:
            os.close(descriptor)
            return
        with self._clock.changed:
            end = self._ends.pop(descriptor, None)
            if end is None:
                raise OSError(errno.EBADF, "Bad file descriptor")
            if isinstance(end.thing, MemoryPipe):
                end.thing.readers -= not end.writing
                end.thing.writers -= end.writing
            self._clock.changed.notify_all()


class MemoryFile(io.RawIOBase):
    """One end of a pipe as an unbuffered file."""

    def __init__(self, medium: MemoryMedium, descriptor: int, mode: str) -> None:
        super().__init__()
        self._medium = medium
        self._descriptor = descriptor
        self.mode: str = mode

    def fileno(self) -> int:
        """Its number, which this system knows nothing of."""
        return self._descriptor

    def readable(self) -> bool:
        """Whether it is the end to read from."""
        return self.mode == "rb"

    def writable(self) -> bool:
        """Whether it is the end to write to."""
        return self.mode == "wb"

    def readinto(self, buffer: Buffer) -> int:
        """Wait until there is something to read, or nothing more can come."""
        view = memoryview(buffer).cast("B")
        self._medium.ready(Wait(reading=(self._descriptor,)))
        chunk = self._medium.read(self._descriptor, len(view))
        view[: len(chunk)] = chunk
        return len(chunk)

    def write(self, data: Buffer) -> int:
        """Wait until there is room for some of it. Raises BrokenPipeError."""
        self._medium.ready(Wait(writing=(self._descriptor,)))
        return self._medium.write(self._descriptor, memoryview(data).cast("B"))

    def close(self) -> None:
        """Silent when repeated."""
        if not self.closed:
            self._medium.close(self._descriptor)
        super().close()


def _ready_here(descriptors: tuple[int, ...], wait: Wait) -> set[int]:
    """Those of this system that are ready now; without poll they can be sockets alone."""
    import select  # noqa: PLC0415  (most containers have none of these)

    if not hasattr(select, "poll"):
        reading, writing, _ = select.select(
            [one for one in wait.reading if one in descriptors],
            [one for one in wait.writing if one in descriptors],
            [],
            0,
        )
        return {*reading, *writing}
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN if descriptor in wait.reading else select.POLLOUT)
    return {descriptor for descriptor, _ in poll.poll(0)}
