"""One state machine that holds any backend to the same model of a container's life.

Hypothesis draws operations, legal or not, on containers that exist, are deleted, or never were, through any handle. An
illegal one must raise the right error and change nothing; after each step the backend must show what the model says::

    class TestMine(LifecycleMachine.TestCase): ...

A subclass of `LifecycleMachine` says how to make a factory on its backend, and plays the accidents: an init that dies,
a pid that is used again, a state file that was torn. The model is written down here once more on purpose, with its own
table of what is legal; it knows nothing of `libcontainer_py.lifecycle` but the words.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from libcontainer_py.errors import (
    CgroupError,
    ConfigError,
    ContainerExists,
    ContainerNotFound,
    ContainerTimeout,
    IllegalOperation,
    InvalidId,
    StateError,
)
from libcontainer_py.process import ExitStatus
from libcontainer_py.spec import CPU, Memory, Pids, Resources
from libcontainer_py.testing.table import MAY, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py.container import Container
    from libcontainer_py.factory import Factory
    from libcontainer_py.spec import Spec

E = TypeVar("E", bound=Exception)

SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGUSR1, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP, SIGWINCH = (
    1, 2, 3, 9, 10, 15, 17, 18, 19, 28,
)  # fmt: skip
ENDS_AT_FIFO = frozenset({SIGHUP, SIGINT, SIGQUIT, SIGTERM})

UPDATES = (
    Resources(pids=Pids(limit=64)),
    Resources(pids=Pids(limit=-1)),
    Resources(cpu=CPU(shares=512, quota=50_000)),
    Resources(memory=Memory(limit=1 << 30)),
    Resources(pids=Pids(limit=99), memory=Memory(limit=1 << 31, swap=1 << 32)),
)
WRONG_UPDATES = (
    Resources(cpu=CPU(idle=3)),
    Resources(pids=Pids(limit=5), memory=Memory(limit=-7)),
)

WORDS = ("a", "web-1", "B_2.+")
BAD_IDS = ("", ".", "..", "a/b", "x" * 256, "café", "a b", ",lock")


class Life:
    """The model of one container, from its creation until it is deleted."""

    def __init__(self, container_id: str, init_pid: int | None) -> None:
        self.id = container_id
        self.init_pid = init_pid
        self.alive: bool = True
        self.frozen: bool = False
        self.at_fifo = True
        self.stopped: bool = False
        """By SIGSTOP: no status of its own, but init does not answer."""
        self.most_tasks: int | None = None
        """Its limit of tasks; -1 is none. Configurations that are drawn from have none."""
        self.pending: list[int] = []
        self.returncodes: set[int | None] = set()
        """How it may have ended: of several signals that came while it could not act, any may be the one."""

    def __repr__(self) -> str:
        return f"<{self.status} {self.id}>"

    @property
    def status(self) -> str:
        """The OCI status that it must show."""
        if not self.alive:
            return "stopped"
        if self.frozen:
            return "paused"
        return "created" if self.at_fifo else "running"

    def end(self, *returncodes: int | None) -> None:
        """Init ends in one of these ways, unless it has ended."""
        if self.alive:
            self.alive = self.frozen = False
            self.returncodes = set(returncodes)

    def receive(self, signal: int) -> None:
        """What init does with a signal. The program is pid 1 of its pid namespace, and has no handlers."""
        if signal == SIGKILL:
            self.end(-SIGKILL)
        elif signal == SIGSTOP:
            self.stopped = True
        else:
            if signal == SIGCONT:
                self.stopped = False
            self.pending.append(signal)
            self.act()

    def act(self) -> None:
        """Act on what came while it could not."""
        if self.frozen or self.stopped:
            return
        fatal = ENDS_AT_FIFO.intersection(self.pending)
        if self.at_fifo and fatal:
            self.end(*(128 + signal for signal in fatal))
        self.pending.clear()


class LifecycleMachine(RuleBasedStateMachine):
    """Subclass it for a backend: `make_factory` is what it needs, the others say what else can be done there."""

    SIGNALS: ClassVar[tuple[int, ...]] = (
        SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGUSR1, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP, SIGWINCH,
    )  # fmt: skip
    """The signals that are drawn. Init at the fifo and the program must have no other handlers than runc's."""
    PATIENCE: ClassVar[float] = 30.0
    """Seconds within which what must happen happens."""
    SHORT: ClassVar[float] = 0.02
    """Seconds that it waits for what will not happen."""

    # -- what a backend says of itself ----------------------------------------------------------------------------

    def make_factory(self) -> Factory:
        """A factory on an empty root. It is asked once for each example."""
        raise TypeError("a subclass says how to make a factory: LifecycleMachine.make_factory")

    def configuration(self) -> str | Spec:
        """What the containers are made of. The program runs until it is killed, in a pid namespace of its own."""
        return "/bundle"

    def id_of(self, word: str) -> str:
        """The id that stands for a word, where the words themselves may be somebody else's containers."""
        return word

    def end_init(self, container: Container) -> bool:
        """Let init be killed by SIGKILL, past the library. False: that cannot be done in its present status."""
        del container
        return False

    def reuse_pid(self, container: Container) -> bool:
        """Give init's pid to another process; a living init was killed and reaped by a stranger. False: impossible."""
        del container
        return False

    def tear_state(self, container_id: str) -> bool:
        """Tear its state.json. False: impossible."""
        del container_id
        return False

    def mend_state(self, container_id: str) -> None:
        """Put the state.json back that `tear_state` tore."""
        del container_id

    def nothing_is_left(self) -> None:
        """Assert that no process, cgroup or file of any container is left. Called when all are deleted."""

    # -- the machine ----------------------------------------------------------------------------------------------

    def __init__(self) -> None:
        super().__init__()
        self.lives: dict[str, Life] = {}
        self.known: list[tuple[Container, Life]] = []
        self.factory: Factory = self.make_factory()

    def teardown(self) -> None:
        """Delete everything, and nothing is left."""
        for container_id in self.factory.ids():
            self.factory.delete(container_id, force=True)
        assert self.factory.ids() == []
        self.nothing_is_left()

    @invariant()
    def shows_what_the_model_says(self) -> None:
        """Every handle, of containers that exist and of deleted ones, and the factory."""
        for container, life in self.known:
            self._matches(container, life)
        assert self.factory.ids() == sorted(self.lives)

    def _matches(self, container: Container, life: Life) -> None:
        assert container.status.value == life.status, f"{life.id}: {container.status} is not {life.status}"
        assert container.init_pid == (life.init_pid if life.alive else None)
        state = container.state()
        assert (state.id, state.status) == (life.id, life.status)
        assert state.pid == (life.init_pid if life.alive else 0)

    # -- how errors are asserted ----------------------------------------------------------------------------------

    def _refused(self, call: Callable[[], object], operation: str, life: Life) -> None:
        status = life.status
        error = _raised(call, IllegalOperation)
        assert (error.container_id, error.operation.value, error.status.value) == (life.id, operation, status)
        assert str(error) == refusal(life.id, operation, status)

    def _may(self, call: Callable[[], object], operation: str, life: Life) -> bool:
        """Do it where it is legal, and say so; where it is not, it must be refused."""
        if life.status not in MAY[operation]:
            self._refused(call, operation, life)
            return False
        call()
        return True

    # -- create, load, look ---------------------------------------------------------------------------------------

    @initialize(words=st.sets(st.sampled_from(WORDS), min_size=1))
    def begin(self, words: set[str]) -> None:
        """Some containers: there may come no `create` in an example."""
        for word in sorted(words):
            self.create_one(self.id_of(word))

    @rule(word=st.sampled_from(WORDS))
    def create(self, word: str) -> None:
        """An id that is taken stays what it was."""
        container_id = self.id_of(word)
        if container_id in self.lives:
            error = _raised(lambda: self.factory.create(container_id, self.configuration()), ContainerExists)
            assert error.container_id == container_id
            assert str(error).startswith("container with given ID already exists")
        else:
            self.create_one(container_id)

    def create_one(self, container_id: str) -> None:
        """Make it, and know it from now on."""
        container = self.factory.create(container_id, self.configuration())
        assert container.id == container_id
        self.lives[container_id] = Life(container_id, container.init_pid)
        self.known.append((container, self.lives[container_id]))

    @rule(word=st.sampled_from(WORDS))
    def load(self, word: str) -> None:
        """One more handle on the same container."""
        container_id = self.id_of(word)
        life = self.lives.get(container_id)
        if life is None:
            error = _raised(lambda: self.factory.load(container_id), ContainerNotFound)
            assert str(error).startswith("container does not exist")
        else:
            self.known.append((self.factory.load(container_id), life))

    @rule()
    def look(self) -> None:
        """List them, by new handles; and sweep: nothing here was left by a crash, so nothing goes."""
        listed = self.factory.list()
        assert [container.id for container in listed] == sorted(self.lives)
        for container in listed:
            self._matches(container, self.lives[container.id])
        assert [swept for swept in self.factory.sweep() if swept.removed] == []

    @rule(container_id=st.sampled_from(BAD_IDS), number=st.sampled_from((-1, 0, 65)))
    def ask_nonsense(self, container_id: str, number: int) -> None:
        """An id that cannot be one is refused by every verb that takes one; so is a signal, whatever the status."""
        _raised(lambda: self.factory.create(container_id, self.configuration()), InvalidId)
        _raised(lambda: self.factory.load(container_id), InvalidId)
        _raised(lambda: self.factory.delete(container_id, force=True), InvalidId)
        for container, _ in self.known:
            _raised(partial(container.signal, number), ValueError)

    # -- verbs on a handle ----------------------------------------------------------------------------------------

    def _pick(self, data: st.DataObject) -> tuple[Container, Life]:
        """A handle, mostly one whose container lives: most of them are of dead ones before long."""
        living = [handle for handle in self.known if handle[1].alive]
        anyone: bool = not living or data.draw(st.sampled_from((False, False, False, True)), label="anyone")
        pool = self.known if anyone else living
        return data.draw(st.sampled_from(pool), label="handle")

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """Looks at the status of its own container first."""
        container, life = self._pick(data)
        if life.status in MAY["start"]:
            self._release(container.start, life)
        else:
            self._refused(container.start, "start", life)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def exec(self, data: st.DataObject) -> None:
        """Of a handle's own container, and never of another that has its id now."""
        container, life = self._pick(data)
        if self.lives.get(life.id) is not life:
            _raised(container.exec, ContainerNotFound)
        elif life.status in MAY["start"]:
            self._release(container.exec, life)
        else:
            self._refused(container.exec, "start", life)

    def _release(self, call: Callable[..., object], life: Life) -> None:
        if life.stopped:
            error = _raised(lambda: call(timeout=self.SHORT), ContainerTimeout)
            assert not error.released
        else:
            call(timeout=self.PATIENCE)
            life.at_fifo = False

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        """Created or running."""
        container, life = self._pick(data)
        if self._may(container.pause, "pause", life):
            life.frozen = True

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """Back to what it was; signals that came meanwhile arrive."""
        container, life = self._pick(data)
        if self._may(container.resume, "resume", life):
            life.frozen = False
            life.act()
            self._outlive(container, life)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def signal(self, data: st.DataObject) -> None:
        """Of a running program, the kernel drops those that it has no handler for: it is pid 1. It is alone."""
        container, life = self._pick(data)
        number = data.draw(st.sampled_from(self.SIGNALS), label="signal")
        everybody = data.draw(st.booleans(), label="all")
        if self._may(lambda: container.signal(number, all=everybody), "signal", life):
            life.receive(number)
            self._outlive(container, life)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """In every status but stopped, paused too."""
        container, life = self._pick(data)
        if self._may(container.kill, "kill", life):
            life.end(-SIGKILL)
            self._outlive(container, life)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), wrong=st.booleans())
    def update(self, data: st.DataObject, wrong: bool) -> None:  # noqa: FBT001  (drawn by name)
        """Of a handle's own container; it changes no status, and what is wrong with limits nothing at all."""
        container, life = self._pick(data)
        resources = data.draw(st.sampled_from(WRONG_UPDATES if wrong else UPDATES), label="resources")
        call = partial(container.update, resources)
        if self.lives.get(life.id) is not life:
            _raised(call, ContainerNotFound)
        elif wrong and life.status in MAY["update"]:
            _raised(call, ConfigError)
        elif self._may(call, "update", life) and resources.pids is not None:
            life.most_tasks = resources.pids.limit

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def stats(self, data: st.DataObject) -> None:
        """Of a handle's own container, in each status, until it is deleted; they tell its limits."""
        container, life = self._pick(data)
        if self.lives.get(life.id) is not life:
            _raised(container.stats, CgroupError)
            return
        found = container.stats()
        assert found.pids is not None
        assert found.pids.limit == (None if life.most_tasks in (None, -1) else life.most_tasks)
        assert found.pids.current == (1 if life.alive else 0)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        """Kills nothing; every handle gets the same result, also after a delete."""
        container, life = self._pick(data)
        if life.alive:
            error = _raised(lambda: container.wait(self.SHORT), ContainerTimeout)
            assert error.timeout == self.SHORT
        else:
            self._outlive(container, life)

    def _outlive(self, container: Container, life: Life) -> None:
        """Where the model says that it ends, wait for it: signals arrive when they arrive."""
        if not life.alive:
            ended = container.wait(self.PATIENCE)
            assert ended in {ExitStatus(returncode) for returncode in life.returncodes}
            life.returncodes = {ended.returncode}

    # -- delete ---------------------------------------------------------------------------------------------------

    @rule(data=st.data(), word=st.sampled_from(WORDS), force=st.booleans())
    def delete(self, data: st.DataObject, word: str, force: bool) -> None:  # noqa: FBT001  (drawn by name)
        """By the factory, also of what never was, or by a handle: never another container that has its id now."""
        by_handle: bool = bool(self.known) and data.draw(st.booleans(), label="by handle")
        if by_handle:
            container, life = self._pick(data)
            current = life if self.lives.get(life.id) is life else None
            self._delete(partial(container.delete, force=force), current, force=force)
        else:
            container_id = self.id_of(word)
            call = partial(self.factory.delete, container_id, force=force)
            self._delete(call, self.lives.get(container_id), force=force)

    def _delete(self, call: Callable[[], object], life: Life | None, *, force: bool) -> None:
        if life is None:
            if force:
                call()
            else:
                _raised(call, ContainerNotFound)
        elif force or life.status in MAY["delete"]:
            call()
            del self.lives[life.id]
            life.end(-SIGKILL)
        else:
            self._refused(call, "delete", life)

    # -- accidents ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.known)
    @rule(data=st.data(), reuse=st.booleans())
    def init_dies(self, data: st.DataObject, reuse: bool) -> None:  # noqa: FBT001  (drawn by name)
        """By another's hand, at any moment; and the process that has its pid next is not the container's."""
        container, life = self._pick(data)
        if reuse:
            self._outlive(container, life)  # before the pid of a dead one is free, somebody has waited for it
            if self.reuse_pid(container):
                life.end(None)
        elif life.alive and self.end_init(container):
            life.end(-SIGKILL)
        self._outlive(container, life)

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def state_is_torn(self, data: st.DataObject) -> None:
        """It cannot be loaded, and is passed over by list; handles from before see what they saw."""
        life = self.lives[data.draw(st.sampled_from(sorted(self.lives)), label="torn")]
        if not self.tear_state(life.id):
            return
        try:
            error = _raised(lambda: self.factory.load(life.id), StateError)
            assert error.container_id == life.id
            broken: list[StateError] = []
            listed = self.factory.list(on_error=broken.append)
            assert [container.id for container in listed] == sorted(self.lives.keys() - {life.id})
            assert [error.container_id for error in broken] == [life.id]
            _raised(lambda: self.factory.delete(life.id), StateError)
            for container, its in self.known:
                if its is life:
                    self._matches(container, its)
                    _raised(container.exec, StateError)
        finally:
            self.mend_state(life.id)


def _raised(call: Callable[[], object], kind: type[E]) -> E:
    """The error that `call` raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")
