"""The pipes between this process and a command, without thread or signal, and nobody waited for in vain.

`drive` does all and waits; who has a loop of its own takes turns of `wants` and `step`.

While they are driven our ends are non-blocking, and ours alone: each end of a pipe is an open file of its own, so the
command's stay as a program expects them.
"""

from __future__ import annotations

import os

from libcontainer_py.streams import CHUNK, PIPE, STDOUT
from libcontainer_py.waiting import KERNEL, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from types import TracebackType
    from typing import Protocol, TypeAlias

    from libcontainer_py.streams import Exchange
    from libcontainer_py.waiting import Medium

    class HasFileno(Protocol):
        """A file."""

        def fileno(self) -> int: ...

    Stdio: TypeAlias = int | HasFileno | None


MOST_PRESERVED = 128
"""Descriptors that a program may get beside its streams: they travel in one message. Source: unix(7), SCM_MAX_FD."""


class Pipes:
    """The pipes of one command, for those of its streams that are PIPE.

    `given` is what the command is to get as stdin, stdout and stderr: descriptors, DEVNULL, or None to inherit. With
    `release` its ends are closed here, with `close` or at the end of a `with` block all of them.
    """

    __slots__ = ("_is_driven", "_ours", "_theirs", "given", "medium")

    def __init__(self, stdin: Stdio, stdout: Stdio, stderr: Stdio, medium: Medium = KERNEL) -> None:
        """Raises TypeError and ValueError for what is no stream, OSError where descriptors are short."""
        self.medium: Medium = medium
        self._ours: dict[str, int] = {}
        self._theirs: list[int] = []
        self._is_driven: bool = False
        try:
            first = self._end("stdin", stdin)
            second = self._end("stdout", stdout)
            third = (1 if second is None else second) if stderr == STDOUT else self._end("stderr", stderr)
        except BaseException:
            self.close()
            raise
        self.given: tuple[int | None, int | None, int | None] = (first, second, third)

    def _end(self, name: str, stream: Stdio) -> int | None:
        if stream != PIPE:
            return descriptor_of(stream)
        ends = self.medium.pipe()
        ours, theirs = ends[::-1] if name == "stdin" else ends
        self._ours[name] = ours
        self._theirs.append(theirs)
        return theirs

    def __enter__(self) -> Pipes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Those of `stdout` and `stderr` that we read."""
        return tuple(name for name in self._ours if name != "stdin")

    def descriptor(self, name: str) -> int | None:
        """Our end of a stream; None where it has none, or it was closed."""
        return self._ours.get(name)

    def take(self, name: str) -> int | None:
        """Our end of a stream, which the caller closes from now on; None where it has none."""
        return self._ours.pop(name, None)

    def release(self) -> None:
        """Close the command's ends: it has them now."""
        while self._theirs:
            self.medium.close(self._theirs.pop())

    def close(self) -> None:
        """Close everything."""
        self.release()
        while self._ours:
            self.medium.close(self._ours.popitem()[1])

    def _close(self, name: str) -> None:
        descriptor = self._ours.pop(name, None)
        if descriptor is not None:
            self.medium.close(descriptor)

    # -- the loop -------------------------------------------------------------------------------------------------

    def drive(self, exchange: Exchange, *, ended: int | None = None) -> Iterator[tuple[str, bytes]]:
        """Write and read until the exchange is over or its deadline has come: (stream, chunk).

        `ended` is a descriptor that becomes readable when everybody who may have the streams is gone, such as the pidfd
        of a container's init: what has arrived by then is read, and nothing more is waited for.
        """
        while not exchange.over and exchange.left(self.medium.now()):
            yield from self.step(exchange, self.medium.ready(self.wants(exchange, ended=ended)), ended=ended)

    def wants(self, exchange: Exchange, *, ended: int | None = None) -> Wait:
        """What to wait for before the next `step`; our ends are non-blocking from then on."""
        reading = tuple(self._ours[name] for name in exchange.reading)
        writing = (self._ours["stdin"],) if exchange.writing else ()
        if not self._is_driven:
            for descriptor in (*reading, *writing):
                self.medium.unblock(descriptor)
            self._is_driven = True
        return Wait(reading if ended is None else (ended, *reading), writing, exchange.deadline)

    def step(
        self, exchange: Exchange, descriptors: Container[int], *, ended: int | None = None
    ) -> Iterator[tuple[str, bytes]]:
        """Read and write where those descriptors say that one can: (stream, chunk)."""
        if ended is not None and ended in descriptors:
            yield from self.rest(exchange)
            return
        if exchange.writing and self._ours["stdin"] in descriptors:
            self._write(exchange)
        for name in exchange.reading:
            if self._ours[name] in descriptors:
                chunk = self._read(exchange, name)
                if chunk:
                    yield name, chunk

    def rest(self, exchange: Exchange) -> Iterator[tuple[str, bytes]]:
        """What lies in the pipes now, without waiting; then the exchange is over.

        No more than a pipe can hold, since somebody may go on writing.
        """
        for name in exchange.reading:
            self.medium.unblock(self._ours[name])
            left = self.medium.capacity(self._ours[name])
            while left > 0 and (chunk := self._read(exchange, name)):
                left -= len(chunk)
                yield name, chunk
        exchange.give_up()
        self._close("stdin")

    def _write(self, exchange: Exchange) -> None:
        chunk = exchange.chunk()
        try:
            if chunk:
                exchange.wrote(self.medium.write(self._ours["stdin"], chunk))
                return
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass  # the command reads no more, as `head` does
        self._close("stdin")
        exchange.closed()

    def _read(self, exchange: Exchange, name: str) -> bytes:
        """What an output says now; b"" at its end, and where it says nothing."""
        try:
            chunk = self.medium.read(self._ours[name], CHUNK)
        except BlockingIOError:
            return b""
        exchange.received(name, chunk)
        if not chunk:
            self._close(name)
        return chunk


def check_preserved(count: int) -> None:
    """Raise ValueError where not all of these descriptors, from 3 on, are there to be passed on."""
    if not 0 <= count <= MOST_PRESERVED:
        raise ValueError(f"preserve_fds is a number from 0 to {MOST_PRESERVED}, not {count}")
    for number in range(3, 3 + count):
        try:
            os.fstat(number)
        except OSError as error:
            raise ValueError(f"unable to stat preserved-fd {number - 3} (of {count}): {number} is not open") from error


def descriptor_of(stream: Stdio) -> int | None:
    """The descriptor of a stream as create takes it; None stays None: inherit. Raises TypeError, ValueError."""
    if stream is None:
        return None
    if isinstance(stream, int):
        if stream in (PIPE, STDOUT):
            name = "PIPE" if stream == PIPE else "STDOUT"
            raise ValueError(f"{name} cannot be used here: give a file or its descriptor, as one end of os.pipe()")
        return stream
    if not hasattr(stream, "fileno"):
        raise TypeError(f"a stream is None, DEVNULL, a file or its descriptor, not {type(stream).__name__}")
    return stream.fileno()
