"""A further process of a container, for asyncio."""

from __future__ import annotations

from libcontainer_py.aio.loop import carry_out, ready
from libcontainer_py.aio.terminal import Terminal
from libcontainer_py.command import KILL_TIMEOUT
from libcontainer_py.process import signal_number
from libcontainer_py.spawned import resize
from libcontainer_py.waiting import Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from libcontainer_py.spawned import Conversation
    from libcontainer_py.waiting import Medium, Steps

_SIGTERM, _SIGKILL = 15, 9


class ContainerProcess:
    """A process that runs in a container, from `Container.spawn`. Wait for it: until then the kernel keeps it.

    As an asynchronous context manager it closes its streams and waits on leaving; after an error, or when it is
    cancelled, it is killed before.
    """

    __slots__ = ("_conversation", "_stdin", "args", "pid", "terminal")

    _conversation: Conversation
    _stdin: int | None
    args: tuple[str, ...]
    pid: int
    terminal: Terminal | None
    """Our end of its terminal."""

    def __init__(self) -> None:
        raise TypeError("processes of a container come from Container.spawn()")

    @classmethod
    def of(cls, conversation: Conversation) -> ContainerProcess:
        """For Container alone: its pipes belong to the process from now on."""
        self = object.__new__(cls)
        self._conversation = conversation
        self._stdin = None
        self.args = conversation.args
        self.pid = conversation.spawned.pid
        self.terminal = None if conversation.terminal is None else Terminal.of(conversation.terminal)
        return self

    def __repr__(self) -> str:
        return f"<ContainerProcess {self.pid}: {' '.join(self.args[:1])}>"

    async def __aenter__(self) -> ContainerProcess:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.kill()
        self.close()
        await carry_out(self._leaving(), self._medium)

    def _leaving(self) -> Steps[None]:
        spawned = self._conversation.spawned
        try:
            while spawned.wait(timeout=0) is None:
                yield Wait((spawned.fileno(),))
        except BaseException:
            self.kill()
            deadline = self._medium.now() + KILL_TIMEOUT
            while spawned.wait(timeout=0) is None and self._medium.now() < deadline:
                yield Wait((spawned.fileno(),), until=deadline)
            raise

    @property
    def _medium(self) -> Medium:
        return self._conversation.pipes.medium

    # -- streams --------------------------------------------------------------------------------------------------

    async def communicate(
        self,
        given: bytes | None = None,
        timeout: float | None = None,
    ) -> tuple[bytes, bytes]:
        """Feed it `given`, read both streams to their ends, and wait for it. Empty where a stream is no PIPE.

        After a ContainerTimeout, or when it was cancelled, nothing is lost: call it again, without `given`.
        """
        return await carry_out(self._conversation.communicating(given, timeout, patient=False), self._medium)

    async def stream(self, timeout: float | None = None) -> AsyncIterator[tuple[str, bytes]]:
        """What it writes, as it arrives: ("stdout" or "stderr", bytes), until both have ended. Raises ContainerTimeout.

        Its standard input is closed, unless `write` was called before.
        """
        pipes = self._conversation.pipes
        exchange = self._conversation.begin(None, self._conversation.deadline_of(timeout))
        while not exchange.over and exchange.left(self._medium.now()):
            descriptors = await ready(pipes.wants(exchange), self._medium)
            for item in pipes.step(exchange, descriptors):
                yield item
        if not exchange.over:
            raise self._conversation.late(timeout)

    async def write(self, data: bytes) -> None:
        """Write to its standard input, which was given as PIPE, and wait until the pipe has taken it.

        Not beside communicate(). Raises BrokenPipeError where nobody reads it any more, ValueError where there is none.
        """
        if self._stdin is None:
            self._stdin = self._conversation.pipes.take("stdin")
            if self._stdin is None:
                raise ValueError("its standard input is no PIPE, or was closed")
            self._medium.unblock(self._stdin)
        left = memoryview(data)
        while left:
            try:
                left = left[self._medium.write(self._stdin, left) :]
            except BlockingIOError:
                await ready(Wait(writing=(self._stdin,)), self._medium)

    def write_eof(self) -> None:
        """Close its standard input."""
        if self._stdin is not None:
            self._medium.close(self._stdin)
        else:
            descriptor = self._conversation.pipes.take("stdin")
            if descriptor is not None:
                self._medium.close(descriptor)
        self._stdin = None

    # -- its end --------------------------------------------------------------------------------------------------

    @property
    def pidfd(self) -> int:
        """A descriptor that is readable when it has ended; -1 once it was waited for, and where there is none."""
        return self._conversation.spawned.fileno()

    def fileno(self) -> int:
        """The pidfd."""
        return self._conversation.spawned.fileno()

    @property
    def returncode(self) -> int | None:
        """As wait() last saw it: the exit code, or the negative number of a signal; None while it runs."""
        return self._conversation.returncode

    async def wait(self, timeout: float | None = None) -> int:
        """Wait until it ended: its returncode. It kills nothing. Raises ContainerTimeout."""
        deadline = self._conversation.deadline_of(timeout)
        returncode = await carry_out(self._conversation.ending(deadline, patient=False), self._medium)
        if returncode is None:
            raise self._conversation.late(timeout)
        return returncode

    # -- what can be done to it -----------------------------------------------------------------------------------

    def send_signal(self, sig: int | str) -> None:
        """Send it a signal, by number or name; silent where it has ended. Raises ValueError for what is no signal."""
        self._conversation.spawned.signal(signal_number(sig))

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(_SIGTERM)

    def kill(self) -> None:
        """SIGKILL, to it alone: what it started goes on."""
        self.send_signal(_SIGKILL)

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal, in characters. Raises ValueError where we have none."""
        resize(self._conversation.terminal, self.pid, columns, rows)

    def close(self) -> None:
        """Close our ends of its streams; it goes on, but a terminal hangs up."""
        if self.terminal is not None:
            self.terminal.close()
        self.write_eof()
        self._conversation.pipes.close()
