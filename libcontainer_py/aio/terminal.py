"""Terminal for asyncio."""

from __future__ import annotations

import os

from libcontainer_py.aio.loop import ready
from libcontainer_py.waiting import Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from libcontainer_py import terminal

_CHUNK = 65536


class Terminal:
    """The host's end of a container's terminal, read and written without blocking: see `libcontainer_py.Terminal`.

    As an asynchronous context manager it closes, which hangs up, on leaving.
    """

    __slots__ = ("_terminal",)

    _terminal: terminal.Terminal

    def __init__(self) -> None:
        raise TypeError("terminals come from Factory.create() and Container.spawn()")

    @classmethod
    def of(cls, taken: terminal.Terminal) -> Terminal:
        """For Factory and Container alone: it is closed through this from now on."""
        self = object.__new__(cls)
        os.set_blocking(taken.fileno(), False)
        self._terminal = taken
        return self

    def __repr__(self) -> str:
        return repr(self._terminal)

    async def __aenter__(self) -> Terminal:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor, which does not block. Raises ValueError where closed."""
        return self._terminal.fileno()

    async def read(self, size: int = _CHUNK) -> bytes:
        """What was shown, as soon as there is some, at most `size` bytes; b"" once nobody has the terminal open."""
        while True:
            try:
                return self._terminal.read(size)
            except BlockingIOError:
                await ready(Wait((self.fileno(),)))

    async def write(self, data: bytes) -> None:
        """Type this, all of it: where the program does not read, wait. Raises OSError where it was hung up."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self.fileno(), left) :]
            except BlockingIOError:
                await ready(Wait(writing=(self.fileno(),)))

    @property
    def size(self) -> os.terminal_size:
        """Its columns and lines."""
        return self._terminal.size

    def resize(self, columns: int, rows: int) -> None:
        """Set its size, in characters; who is in the foreground gets SIGWINCH, where that changes it."""
        self._terminal.resize(columns, rows)

    def close(self) -> None:
        """Hang up. Silent when repeated."""
        self._terminal.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._terminal.closed
