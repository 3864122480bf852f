"""Input and output of a command, as logic alone: no descriptor, no clock, no loop.

An `Exchange` is told what happened, and says what there is to wait for; a `Capture` keeps what a stream said, up to a
limit. Whoever drives them does the I/O: `pipes` with poll, or an event loop. So a rule about streams stands here once,
and can be tested without a process.

The order of arrival is the order in which the driver reads: between two streams that are readable at the same moment
the kernel knows no order.
"""

from __future__ import annotations

from math import inf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PIPE = -1
"""For a stream: a pipe to or from us. The same number as subprocess.PIPE."""
STDOUT = -2
"""For stderr: where stdout goes. The same number as subprocess.STDOUT."""
DEVNULL = -3
"""For a stream: /dev/null. The same number as subprocess.DEVNULL."""

MAX_OUTPUT = 16 << 20
"""Bytes of each stream that are kept where nobody says how many."""
CHUNK = 65536
"""Bytes that are read or written at once: what a pipe holds by default. Source: pipe(7)."""


class Capture:
    """The first `limit` bytes of a stream; what comes after them is counted and dropped."""

    __slots__ = ("_data", "_limit", "dropped")

    def __init__(self, limit: int | None) -> None:
        self._data = bytearray()
        self._limit = limit
        self.dropped: int = 0
        """Bytes that came beyond the limit."""

    def take(self, chunk: bytes) -> None:
        """Keep what there is room for."""
        room = len(chunk) if self._limit is None else min(len(chunk), self._limit - len(self._data))
        self._data += chunk if room == len(chunk) else chunk[:room]
        self.dropped += len(chunk) - room

    def value(self) -> bytes:
        """What was kept."""
        return bytes(self._data)


class Exchange:
    """What is between us and a command: input that it has yet to get, outputs that have not ended, a deadline.

    `given` is its whole input, None where it gets none from us. `outputs` are names of streams. `deadline` is on the
    driver's clock. It is over when there is nothing more to write and every output has ended.
    """

    __slots__ = ("_given", "_open", "_writing", "deadline")

    def __init__(self, *, given: bytes | None = None, outputs: Iterable[str] = (), deadline: float = inf) -> None:
        self._given = memoryview(b"" if given is None else given)
        self._open = dict.fromkeys(outputs)
        self._writing = given is not None
        self.deadline: float = deadline

    # -- what to wait for -----------------------------------------------------------------------------------------

    @property
    def reading(self) -> tuple[str, ...]:
        """The outputs that have not ended."""
        return tuple(self._open)

    @property
    def writing(self) -> bool:
        """Whether its standard input is still ours to write to, or to close: nothing may be left to write."""
        return self._writing

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return not self._writing and not self._open

    def left(self, now: float) -> float:
        """Seconds until the deadline, 0 when it has come; inf without one."""
        return max(0.0, self.deadline - now)

    # -- what happened --------------------------------------------------------------------------------------------

    def chunk(self) -> memoryview:
        """What to write next; empty: the input is complete, close it and say `closed`."""
        return self._given[:CHUNK]

    def wrote(self, count: int) -> None:
        """So many bytes of `chunk` were taken."""
        self._given = self._given[count:]

    def closed(self) -> None:
        """Standard input is closed: it was complete, or nobody reads it any more (EPIPE), which is no error."""
        self._given = self._given[:0]
        self._writing = False

    def received(self, name: str, chunk: bytes) -> None:
        """An output said something; b"" is its end."""
        if not chunk:
            self._open.pop(name, None)

    def give_up(self) -> None:
        """Wait for nothing more: the command is gone, and who still holds its streams is somebody else."""
        self.closed()
        self._open.clear()
