"""What programs of the memory backend do: scripts, which are generators of acts, and who carries those out.

An act takes no time, but for those that say so; what it gave is sent back into the script. A script returns its exit
code (None is 0). Nobody is called while its process is frozen or stopped, and a script that has to wait, for time, for
input or for room in a pipe, is asked again whenever something changed.
"""

from __future__ import annotations

import os
import traceback
from math import inf
from typing import NamedTuple

from libcontainer_py.backends.memory.medium import CAPACITY, FIRST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import TypeAlias

    from libcontainer_py.backends.memory.host import MemoryHost
    from libcontainer_py.backends.memory.processes import MemoryProcess

    Act: TypeAlias = "Work | Sleep | Write | Read | Eat | Start | Handle | Die"
    Script: TypeAlias = "Generator[Act, object, int | None]"

_SIGPIPE = 13
_SLIGHT = 1e-9
"""Seconds of processor time that are lost in rounding."""


class Call(NamedTuple):
    """How a program was called: what its script is made for."""

    container_id: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    pid: int
    now: Callable[[], float]
    """Seconds of the virtual clock."""


class Sleep(NamedTuple):
    """Do nothing for so many seconds."""

    seconds: float


class Work(NamedTuple):
    """Use so many seconds of processor time, `cpus` processors at a time; longer where less is allowed."""

    seconds: float
    cpus: float = 1.0


class Write(NamedTuple):
    """Write to stdout or stderr, and wait until all was taken. Who has no reader any more ends by SIGPIPE."""

    stream: str
    data: bytes


class Read(NamedTuple):
    """Read standard input: at least a byte, `most` at most, or to its end. Sends the bytes."""

    most: int | None = None


class Eat(NamedTuple):
    """Have so many more bytes of memory; who is over a limit of its cgroup is killed, or the largest one there is."""

    size: int


class Start(NamedTuple):
    """Start so many processes, which live until they are killed. Sends whether all could be."""

    processes: int


class Handle(NamedTuple):
    """From now on end with `returncode` at these signals, or for None ignore them."""

    signals: frozenset[int]
    returncode: int | None = None


class Die(NamedTuple):
    """End by this signal."""

    signal: int


class Run:
    """A script that runs."""

    __slots__ = ("act", "done", "process", "script", "sent", "until")

    def __init__(self, process: MemoryProcess, script: Script) -> None:
        self.process: MemoryProcess = process
        self.script: Script = script
        self.act: Act | None = None
        """What it waits for."""
        self.sent: object = None
        self.until: float = 0.0
        """When it has slept enough, or used enough processor time, on the clock of that."""
        self.done: bytes = b""
        """What it has read."""


class Scripts:
    """Carries the acts out, for all processes of a host."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._runs: list[Run] = []
        self._is_pumping = False
        self._again = False
        self._called: Run | None = None
        """Whose script is being asked for its next act."""

    def begin(self, process: MemoryProcess, call: Call) -> None:
        """The program of a process was executed."""
        script = process.program.script
        if script is not None:
            if not self._runs:
                self._host.clock.listeners.append(self.pump)
            self._runs.append(Run(process, script(call)))

    def forget(self, process: MemoryProcess) -> None:
        """It has ended."""
        for run in [run for run in self._runs if run.process is process]:
            self._runs.remove(run)
            self._host.clock.alarms.pop(run, None)
            if run is not self._called:  # it ended itself by calling the test's own code
                run.script.close()
            if not self._runs:
                self._host.clock.listeners.remove(self.pump)

    def pump(self) -> None:
        """Let all go on who can; the clock's lock is held."""
        self._again = True
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while self._again:
                self._again = False
                for run in tuple(self._runs):
                    self._go_on(run)
        finally:
            self._is_pumping = False

    def _go_on(self, run: Run) -> None:
        while run.process.alive and not self._host.is_held(run.process):
            if run.act is None and not self._next(run):
                return
            if run.act is None or not self._carry_out(run, run.act):
                return
            run.act = None

    def _next(self, run: Run) -> bool:
        """Have its next act; False: it has ended."""
        self._called = run
        try:
            act = run.script.send(run.sent)
        except StopIteration as stop:
            code: int | None = stop.value
        except Exception:  # noqa: BLE001  (as an interpreter tells it)
            self._put(run.process, "stderr", traceback.format_exc().encode())
            code = 1
        else:
            run.act, run.sent, run.done = act, None, b""
            self._prepare(run, act)
            return True
        finally:
            self._called = None
        self._host.end(run.process.init, (code or 0) & 0xFF)  # what wait(2) tells of it
        return False

    def _prepare(self, run: Run, act: Act) -> None:
        process = run.process
        if isinstance(act, Sleep):
            run.until = self._host.clock.now() + act.seconds
        elif isinstance(act, Work):
            self._host.charge(process)
            process.cpus = act.cpus
            run.until = process.cpu_seconds + act.seconds
        elif isinstance(act, Write):
            run.done = act.data

    def _carry_out(self, run: Run, act: Act) -> bool:
        """Whether it is done."""
        process, host = run.process, self._host
        if isinstance(act, Sleep):
            return self._wait_until(run, run.until)
        if isinstance(act, Work):
            return self._work(run)
        if isinstance(act, Write):
            return self._write(run, act)
        if isinstance(act, Read):
            return self._read(run, act)
        if isinstance(act, Eat):
            host.take_memory(process, act.size)
        elif isinstance(act, Start):
            run.sent = host.start_children(process, act.processes)
        elif isinstance(act, Handle):
            process.handlers.update(dict.fromkeys(act.signals, act.returncode))
        else:
            host.end(process.init, -act.signal)
        return True

    def _wait_until(self, run: Run, when: float) -> bool:
        if self._host.clock.now() >= when:
            return True
        if when < inf:
            self._host.clock.alarms[run] = when
        return False

    def _work(self, run: Run) -> bool:
        process = run.process
        self._host.charge(process)
        left = run.until - process.cpu_seconds
        if left <= _SLIGHT:
            process.cpus = 0.0
            return True
        speed = self._host.speed(process)
        # who is allowed nothing at all waits until that changes
        self._wait_until(run, self._host.clock.now() + left / speed if speed > 0 else inf)
        return False

    def _write(self, run: Run, act: Write) -> bool:
        while run.done:
            try:
                taken = self._put(run.process, act.stream, run.done)
            except BlockingIOError:
                return False
            except BrokenPipeError:
                self._host.end(run.process.init, -_SIGPIPE)
                return True
            run.done = run.done[taken:]
        return True

    def _put(self, process: MemoryProcess, stream: str, data: bytes) -> int:
        """How many bytes were taken: all, where nobody wants them."""
        descriptor = process.streams.get(stream, -1)
        taken = len(data) if descriptor < 0 else self._host.medium.write(descriptor, data)
        process.written[stream] += data[:taken]
        return taken

    def _read(self, run: Run, act: Read) -> bool:
        descriptor = run.process.streams.get("stdin", -1)
        while descriptor >= 0 and self._may_read(descriptor):
            count = CAPACITY if act.most is None else act.most
            try:
                chunk = self._host.medium.read(descriptor, count)
            except BlockingIOError:
                return False
            run.done += chunk
            if not chunk or act.most is not None:
                break
        else:
            if descriptor >= 0:
                return False
        run.sent = run.done
        return True

    def _may_read(self, descriptor: int) -> bool:
        """Of a descriptor of this system, whether there is something; else the one thread of a test would hang."""
        if descriptor >= FIRST or os.path.isfile(f"/dev/fd/{descriptor}"):
            return True
        from libcontainer_py.waiting import Wait  # noqa: PLC0415  (few are fed by files)

        return bool(self._host.medium.look(Wait(reading=(descriptor,), until=inf)))
