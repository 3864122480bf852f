"""FakeFactory: a Factory whose containers live in memory, on a clock that jumps, and do what a test tells them to.

    fake = FakeFactory(program=exits(3, after=2.5))
    container = fake.create("web")
    container.start()
    container.wait()          # ExitStatus(returncode=3), at once: fake.now() is 2.5

Whoever takes a `Factory` takes this one: `run(..., factory=fake)`, `Sandbox(factory=fake)`, and `fake.aio` for the
verbs of asyncio. The procedures are the library's own, over dictionaries instead of files and the kernel.

Time passes only when all wait: then it jumps to the next moment at which something happens. A thread of the test that
does something else, as reading a socket, is not known to wait; with `autojump` False time stands until `advance()`.
"""

from __future__ import annotations

from contextlib import contextmanager
from errno import EBUSY
from typing import TYPE_CHECKING, Any

from libcontainer_py.backends.memory import MemoryProgram
from libcontainer_py.errors import CgroupError, StateError
from libcontainer_py.factory import Factory
from libcontainer_py.spec import Spec
from libcontainer_py.testing.faults import FOR_EVER, FaultyBackend
from libcontainer_py.testing.programs import memory_program

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from libcontainer_py.backends.memory import HookRun, MemoryBackend, MemoryProcess
    from libcontainer_py.container import Container
    from libcontainer_py.factory import StrPath
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.testing.fake_aio import AioFakeFactory
    from libcontainer_py.testing.programs import AnyProgram

_SIGKILL = 9
_WRITES = frozenset({"store.make", "store.note", "store.save", "store.draft", "store.make_fifo"})
NOBODY = ("program",)
"""The words of a configuration that nobody gave."""


class FakeFactory(Factory):
    """A `Factory` in memory.

    `program` is what all programs do, where nothing else is said; without it they run until they are killed.
    `programs` says it by the words that are run, by all of them (a tuple) or by the first, with or without its
    directory. Where there are such, others do what `program` says; without one they are not found, as on a system that
    does not have them.
    """

    def __init__(
        self,
        root: str = "/run/fake",
        *,
        program: AnyProgram | None = None,
        programs: Mapping[str | tuple[str, ...], AnyProgram] | None = None,
    ) -> None:
        memory = FaultyBackend(root)
        super().__init__(backend=memory)
        self._memory = memory
        self._faults = memory.faults
        self._store, self._host = memory.inner
        self._default = None if program is None else memory_program(program)
        self._programs: dict[str | tuple[str, ...], MemoryProgram] = {}
        self._of_containers: dict[str, MemoryProgram] = {}
        self._host.choose = self._choose
        for words, one in (programs or {}).items():
            self.install(words, one)

    def __repr__(self) -> str:
        return f"FakeFactory({self._memory.root!r})"

    @property
    def memory(self) -> MemoryBackend:
        """The backend, to be looked into: `memory.host` and `memory.store`."""
        return self._memory

    # -- programs -------------------------------------------------------------------------------------------------

    def install(self, words: str | tuple[str, ...], program: AnyProgram) -> None:
        """From now on this is what is run by these words: see `programs` of the class. Raises TypeError."""
        self._programs[words] = memory_program(program)

    def _choose(self, container_id: str, args: tuple[str, ...]) -> MemoryProgram:
        chosen = self._of_containers.pop(container_id, None)
        if chosen is not None:
            return chosen
        first = args[0] if args else ""
        for words in (args, first, first.rpartition("/")[2]):
            if words in self._programs:
                return self._programs[words]
        if self._default is not None:
            return self._default
        return MemoryProgram(found=not self._programs or args == NOBODY)

    @contextmanager
    def giving(self, container_id: str, program: AnyProgram | None) -> Generator[None, None, None]:
        """While a container of that id is made: this is its program, where there is one."""
        if program is not None:
            self._of_containers[container_id] = memory_program(program)
        try:
            yield
        finally:
            self._of_containers.pop(container_id, None)

    # -- Factory --------------------------------------------------------------------------------------------------

    def create(
        self,
        container_id: str,
        bundle: StrPath | Spec | None = None,
        *,
        program: AnyProgram | None = None,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        die_with_parent: bool = False,
        console_socket: StrPath | None = None,
        pid_file: StrPath | None = None,
        pidfd_socket: StrPath | None = None,
        preserve_fds: int = 0,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
    ) -> Container:
        """As `Factory.create`. It needs no bundle, and a bundle's directory need not be there.

        `program` is what this container's program does. Raises what `Factory.create` raises.
        """
        with self.giving(container_id, program):
            return super().create(
                container_id,
                Spec.default(NOBODY) if bundle is None else bundle,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                die_with_parent=die_with_parent,
                console_socket=console_socket,
                pid_file=pid_file,
                pidfd_socket=pidfd_socket,
                preserve_fds=preserve_fds,
                no_pivot=no_pivot,
                no_new_keyring=no_new_keyring,
            )

    @property
    def aio(self) -> AioFakeFactory:
        """The same containers, for asyncio."""
        from libcontainer_py.testing.fake_aio import AioFakeFactory  # noqa: PLC0415  (asyncio, for who asks for it)

        return AioFakeFactory(self)

    # -- time -----------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Seconds of its clock, which began at 0."""
        return self._host.now()

    def sleep(self, seconds: float) -> None:
        """Wait on its clock, in place of time.sleep: give it to the code that is tested."""
        clock = self._host.clock
        clock.wait(lambda: False, clock.now() + seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass, whoever works or waits."""
        self._host.clock.advance(seconds)

    @property
    def autojump(self) -> bool:
        """Whether time passes by itself when all wait; True at first."""
        return self._host.clock.autojump

    @autojump.setter
    def autojump(self, value: bool) -> None:
        self._host.clock.autojump = value

    # -- what happened, and what shall ----------------------------------------------------------------------------

    @property
    def hooks(self) -> dict[str, Callable[[str, str], None]]:
        """What hooks do, by their paths: called with kind and state, they raise HookError to fail. Others succeed."""
        return self._host.hooks

    @property
    def hooks_run(self) -> list[HookRun]:
        """The hooks that ran, in their order."""
        return self._host.hooks_run

    def output(self, container_id: str, stream: str = "stdout") -> bytes:
        """What the program of the last container of that id wrote, wherever that went. Raises LookupError."""
        process = self._init(container_id)
        processes = self._host.processes.values()
        command = [one for one in processes if one.reaper == process.init]
        return bytes((command or [process])[0].written[stream])

    def end(self, container_id: str, returncode: int = -9) -> None:
        """Its init ends, by another's hand: with an exit code, or the negative number of a signal."""
        self._host.end(self._init(container_id).init, returncode)

    def run_out_of_memory(self, container_id: str) -> None:
        """Its init is killed because memory is short."""
        self._host.run_out_of_memory(self._init(container_id).init)

    def press_memory(self, container_id: str, level: str) -> None:
        """Its memory is short: low, medium or critical, which its events tell."""
        for path in self._init(container_id).cgroups:
            self._host.press_memory(path, level)

    # -- faults ---------------------------------------------------------------------------------------------------

    @property
    def moments(self) -> list[str]:
        """All verbs and steps until now, at which something could have gone wrong: see `testing.faults`."""
        return self._faults.seen

    def fail_next(self, moment: str, error: BaseException, *, skip: int = 0) -> None:
        """The next time that this verb or step is to happen, it raises this instead; `skip` times it goes well before.

        A step may be named without its part: `publish` is `store.publish`. Raises ValueError for what is neither.
        """

        def fail(_: tuple[object, ...]) -> None:
            raise error

        self._faults.plan(moment, fail, skip=skip)

    def crash(self) -> None:
        """Kill -9 of the process that uses the fake; what comes next is done by another one.

        Where it is called in the middle of a verb, by a hook or from a program, it raises Crashed.
        """
        self._faults.crash()

    def crash_at(self, moment: str, *, skip: int = 0) -> None:
        """Kill it when this verb or step is to happen next, which raises Crashed."""
        self._faults.plan(moment, lambda _: self._faults.crash(), skip=skip)

    def kill_init_at(self, moment: str, *, skip: int = 0) -> None:
        """When this is to happen next, the youngest init that lives gets a SIGKILL, by another's hand."""

        def kill(_: tuple[object, ...]) -> None:
            inits = [one for one in self._host.processes.values() if one.preparation is not None and one.alive]
            if inits:
                self._host.end(inits[-1].init, -_SIGKILL)

        self._faults.plan(moment, kill, skip=skip)

    def reuse_pid(self, container_id: str) -> None:
        """Its init has ended, if it had not, and was reaped by a stranger; another process has its pid now."""
        self._host.reuse_pid(self._init(container_id).init)

    def tear(self, container_id: str) -> None:
        """Its state.json ends in the middle, as after a power cut."""
        self._store.tear(container_id)

    def mend(self, container_id: str) -> None:
        """Its state.json is whole again."""
        self._store.mend(container_id)

    def lose_next_start(self) -> None:
        """The next start finds that another process, of a runtime that knows no lock of ours, comes before it."""

        def win(arguments: tuple[Any, ...]) -> None:
            container_id: str = arguments[0]
            gate = self._store.open_fifo(container_id)
            if gate is not None:
                gate.take(self._store.load(container_id).init, deadline=self.now())
                self._store.unlink_fifo(container_id)
                gate.close()

        self._faults.plan("open_fifo", win)

    def stick_cgroup(self, container_id: str) -> Callable[[], None]:
        """Its cgroup cannot be removed, as while a process hangs in it, until what this returns is called."""
        paths = frozenset(self._init(container_id).cgroups)

        def refuse(arguments: tuple[Any, ...]) -> None:
            for path in arguments[0]:
                if path in paths:
                    raise CgroupError(path, "Device or resource busy", errno=EBUSY)

        return self._faults.plan("remove_cgroups", refuse, times=FOR_EVER)

    def fill_disk(self) -> Callable[[], None]:
        """Nothing can be written under the root any more, until what this returns is called."""

        def refuse(_: tuple[object, ...]) -> None:
            raise StateError(self._memory.root, "No space left on device", hint="the file system is full")

        return self._faults.plan(_WRITES, refuse, times=FOR_EVER)

    def _init(self, container_id: str) -> MemoryProcess:
        found = [
            process
            for process in self._host.processes.values()
            if process.preparation is not None and process.preparation.container_id == container_id
        ]
        if not found:
            raise LookupError(f"there was no container {container_id!r}")
        return found[-1]
