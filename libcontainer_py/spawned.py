"""A further process of a container, as `Container.spawn` gives it: what subprocess.Popen is to an ordinary one.

`Conversation` is what both faces share, the synchronous one here and asyncio's.
"""

from __future__ import annotations

from math import inf

from libcontainer_py.command import ending
from libcontainer_py.errors import ContainerError, ContainerTimeout
from libcontainer_py.process import signal_number
from libcontainer_py.streams import Capture, Exchange
from libcontainer_py.waiting import carry_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from types import TracebackType

    from libcontainer_py.backends.base import Exit, Spawned
    from libcontainer_py.pipes import Pipes
    from libcontainer_py.terminal import Terminal
    from libcontainer_py.waiting import Steps

_SIGTERM, _SIGKILL = 15, 9


class Conversation:
    """What is said between us and a further process, and how it ends. `patient` steps block where it has to end."""

    def __init__(self, spawned: Spawned, args: tuple[str, ...], pipes: Pipes, terminal: Terminal | None) -> None:
        self.spawned = spawned
        self.args = args
        self.pipes = pipes
        self.terminal = terminal
        self.exchange: Exchange | None = None
        self.returncode: int | None = None
        self._captured: dict[str, Capture] = {}

    def begin(self, given: bytes | None, deadline: float) -> Exchange:
        """Feed it `given`, where it is fed by us, and read; or go on with that, to a new deadline."""
        if self.exchange is None:
            feeds = self.pipes.descriptor("stdin") is not None
            self.exchange = Exchange(given=(given or b"") if feeds else None, outputs=self.pipes.outputs)
        elif given is not None:
            raise ValueError("its input was given before")
        self.exchange.deadline = deadline
        return self.exchange

    def communicating(self, given: bytes | None, timeout: float | None, *, patient: bool) -> Steps[tuple[bytes, bytes]]:
        """The steps of `ContainerProcess.communicate`."""
        deadline = self.deadline_of(timeout)
        if not self._captured:
            self._captured = {"stdout": Capture(None), "stderr": Capture(None)}
        exchange = self.begin(given, deadline)
        while not exchange.over and exchange.left(self.pipes.medium.now()):
            descriptors = yield self.pipes.wants(exchange)
            for name, chunk in self.pipes.step(exchange, descriptors):
                self._captured[name].take(chunk)
        if not exchange.over or (yield from self.ending(deadline, patient=patient)) is None:
            raise self.late(timeout)
        return self._captured["stdout"].value(), self._captured["stderr"].value()

    def ending(self, deadline: float, *, patient: bool) -> Steps[int | None]:
        """Wait for its end: its returncode; None: the deadline has come."""
        if self.returncode is None:
            ended = yield from ending(self, deadline, self.pipes.medium, patient=patient)
            if ended is None:
                return None
            if ended.returncode is None and not self.spawned.killed:
                raise ContainerError(
                    f"how process {self.spawned.pid} ended cannot be known: somebody else reaped it",
                    hint="does this process ignore SIGCHLD, or wait for any child? Linux 6.15 would tell all the same",
                )
            self.returncode = -_SIGKILL if ended.returncode is None else ended.returncode
        return self.returncode

    def wait(self, *, timeout: float | None) -> Exit | None:
        """As `Spawned.wait`."""
        return self.spawned.wait(timeout=timeout)

    def pidfds(self) -> list[int]:
        """Its pidfd, another one of it."""
        pidfd = self.spawned.fileno()
        return [] if pidfd < 0 else [self.pipes.medium.duplicate(pidfd)]

    def late(self, timeout: float | None) -> ContainerTimeout:
        """It did not end in time."""
        reason = f"process {self.spawned.pid} did not end within {timeout:g} s"
        return ContainerTimeout(reason, timeout=timeout, released=True)

    def deadline_of(self, timeout: float | None) -> float:
        """When that time is up."""
        return inf if timeout is None else self.pipes.medium.now() + timeout


def resize(terminal: Terminal | None, pid: int, columns: int, rows: int) -> None:
    """See `ContainerProcess.resize`."""
    if terminal is None:
        raise ValueError(f"we have no terminal of process {pid}: spawn(..., terminal=True)")
    terminal.resize(columns, rows)


class ContainerProcess:
    """A process that runs in a container, from `Container.spawn`. Wait for it: until then the kernel keeps it.

    As a context manager it closes its streams and waits on leaving; after an error it is killed before.
    """

    __slots__ = ("_conversation", "_files", "_pipes", "_spawned", "args", "pid", "terminal")

    _conversation: Conversation
    _files: dict[str, io.RawIOBase]
    _pipes: Pipes
    _spawned: Spawned
    args: tuple[str, ...]
    pid: int
    terminal: Terminal | None
    """Our end of its terminal, where it was asked for one without a console socket."""

    def __init__(self) -> None:
        raise TypeError("processes of a container come from Container.spawn()")

    @classmethod
    def of(cls, conversation: Conversation) -> ContainerProcess:
        """For Container alone: its pipes and terminal belong to the process from now on."""
        self = object.__new__(cls)
        self._conversation = conversation
        self._spawned = conversation.spawned
        self._pipes = conversation.pipes
        self._files = {}
        self.args = conversation.args
        self.pid = conversation.spawned.pid
        self.terminal = conversation.terminal
        return self

    def __repr__(self) -> str:
        return f"<ContainerProcess {self.pid}: {' '.join(self.args[:1])}>"

    def __enter__(self) -> ContainerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.kill()
        self.close()
        self._spawned.wait(timeout=None)

    # -- streams --------------------------------------------------------------------------------------------------

    @property
    def stdin(self) -> io.RawIOBase | None:
        """Its standard input, to write to and to close; None where that is no PIPE. Not beside communicate()."""
        return self._file("stdin", "wb")

    @property
    def stdout(self) -> io.RawIOBase | None:
        """Its standard output, to read from; None where that is no PIPE. Not beside communicate() or stream()."""
        return self._file("stdout", "rb")

    @property
    def stderr(self) -> io.RawIOBase | None:
        """As `stdout`."""
        return self._file("stderr", "rb")

    def _file(self, name: str, mode: str) -> io.RawIOBase | None:
        if name not in self._files:
            descriptor = self._pipes.take(name)
            if descriptor is None:
                return None
            self._files[name] = self._pipes.medium.file(descriptor, mode)
        return self._files[name]

    def communicate(self, given: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Feed it `given`, read both streams to their ends, and wait for it. Empty where a stream is no PIPE.

        After a ContainerTimeout nothing is lost: call it again, without `given`.
        """
        return carry_out(self._conversation.communicating(given, timeout, patient=True), self._pipes.medium)

    def stream(self, timeout: float | None = None) -> Iterator[tuple[str, bytes]]:
        """What it writes, as it arrives: ("stdout" or "stderr", bytes), until both have ended. Raises ContainerTimeout.

        Between two streams that said something at the same moment the kernel knows no order.
        """
        exchange = self._conversation.begin(None, self._conversation.deadline_of(timeout))
        yield from self._pipes.drive(exchange)
        if not exchange.over:
            raise self._conversation.late(timeout)

    # -- its end --------------------------------------------------------------------------------------------------

    @property
    def pidfd(self) -> int:
        """A descriptor that is readable when it has ended; -1 once it was waited for, and where there is none."""
        return self._spawned.fileno()

    def fileno(self) -> int:
        """The pidfd, for poll and event loops."""
        return self._spawned.fileno()

    @property
    def returncode(self) -> int | None:
        """As poll() or wait() last saw it: the exit code, or the negative number of a signal; None while it runs."""
        return self._conversation.returncode

    def poll(self) -> int | None:
        """Its returncode, or None while it runs."""
        return carry_out(self._conversation.ending(0.0, patient=True), self._pipes.medium)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ended: its returncode. It kills nothing. Raises ContainerTimeout."""
        deadline = self._conversation.deadline_of(timeout)
        returncode = carry_out(self._conversation.ending(deadline, patient=True), self._pipes.medium)
        if returncode is None:
            raise self._conversation.late(timeout)
        return returncode

    # -- what can be done to it -----------------------------------------------------------------------------------

    def send_signal(self, sig: int | str) -> None:
        """Send it a signal, by number or name; silent where it has ended. Raises ValueError for what is no signal."""
        self._spawned.signal(signal_number(sig))

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(_SIGTERM)

    def kill(self) -> None:
        """SIGKILL, to it alone: what it started goes on."""
        self.send_signal(_SIGKILL)

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal, in characters. Raises ValueError where we have none."""
        resize(self.terminal, self.pid, columns, rows)

    def close(self) -> None:
        """Close our ends of its streams; it goes on, but a terminal hangs up."""
        if self.terminal is not None:
            self.terminal.close()
        for file in self._files.values():
            file.close()
        self._pipes.close()
