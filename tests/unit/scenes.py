"""Scenes for the tests of the procedures: a world with others in it, what is done there, and a tap on every step.

`Tap` stands between the procedures and the parts. Each call of Store, Gate, Host and Birth is one step. A `Crash` is a
kill -9: it comes out of one step, and every later call raises it again, so that no code which undoes things can do so.
"""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from libcontainer_py.backends.base import CreateRequest
from libcontainer_py.backends.memory import MemoryBackend, MemoryDirectory
from libcontainer_py.backends.procedures import Procedures
from libcontainer_py.errors import HookError
from libcontainer_py.lifecycle import status_of
from libcontainer_py.spec import CPU, Hook, Hooks, Linux, Namespace, Pids, Process, Resources, Root, Spec

REQUEST = CreateRequest("web", "/bundle")
LIMITS = Resources(pids=Pids(limit=5), cpu=CPU(shares=512))


class Crash(BaseException):
    """Kill -9."""


class Tap:
    """What all taps of one run share: the steps so far, and what shall happen at which."""

    def __init__(self, backend, *, at=None, when="before", error=Crash, watch=None):
        self.backend = backend
        self.steps: list[str] = []
        self.at = at
        self.when = when
        self.error = error
        self.watch = watch
        self.dead = False

    def procedures(self) -> Procedures:
        return Procedures(Tapped(self, "store", self.backend.store), Tapped(self, "host", self.backend.host))

    def step(self, name, call):
        if self.dead:
            raise Crash
        number = len(self.steps)
        self.steps.append(name)
        if self.watch is not None:
            self.watch(name)
        if number == self.at and self.when == "before":
            self._fail()
        try:
            return call()
        finally:
            if number == self.at and self.when == "after":
                self._fail()

    def _fail(self):
        self.dead = self.error is Crash
        raise self.error("injected")


class Tapped:
    """One part, or what it gave: each method call is a step."""

    def __init__(self, tap, name, part):
        self.tap, self.name, self.part = tap, name, part

    def __getattr__(self, name):
        value = getattr(self.part, name)
        if not callable(value):
            return value

        def call(*args, **kwargs):
            step = f"{self.name}.{name}"
            if name == "lock":
                return self._lock(value, args, kwargs)
            result = self.tap.step(step, lambda: value(*args, **kwargs))
            if name == "open_fifo" and result is not None:
                return Tapped(self.tap, "gate", result)
            return Tapped(self.tap, "birth", result) if name == "make_init" else result

        return call

    @contextmanager
    def _lock(self, lock, args, kwargs):
        manager = self.tap.step("store.lock", lambda: lock(*args, **kwargs))
        with manager:
            yield
        # the lock is left whatever happens; a process that was killed leaves it too (`MemoryBackend.crash`)
        if not self.tap.dead:
            self.tap.steps.append("store.unlock")


def picture(backend) -> dict[str, object]:
    """Everything that is there, but for the processes that use the library."""
    host, store = backend.host, backend.store
    creators = {process.init for process in host.processes.values() if process.parent is None and not process.cgroups}
    return {
        "processes": {process.init for process in host.processes.values() if process.alive} - creators,
        "cgroups": {path: (cgroup.inode, cgroup.frozen, cgroup.resources) for path, cgroup in host.cgroups.items()},
        "directories": store.ids(),
        "locks": dict(store.locked),
        "readers": len(store.gates),
    }


def world(program=None) -> MemoryBackend:
    """A backend on which others live: a running container, another runtime's directory, a cgroup of somebody."""
    backend = MemoryBackend(program=program)
    backend.create(CreateRequest("other", "/bundle"))
    backend.release("other", timeout=None)
    backend.store.directories["crun"] = MemoryDirectory(foreign=True)
    backend.host.make_cgroup("/sys/fs/cgroup/somebody")
    somebody = backend.host.spawn()
    somebody.cgroups = ("/sys/fs/cgroup/somebody",)
    return backend


def status(backend, container_id="web") -> str:
    return str(status_of(backend.observe(backend.load(container_id))))


def init_of(backend, container_id="web"):
    return backend.load(container_id).init


def hooked(**kinds: int) -> Spec:
    """A Spec with so many hooks of each kind; their paths are `/<kind>/<number>`."""
    hooks = {kind: [Hook(path=f"/{kind}/{number}") for number in range(count)] for kind, count in kinds.items()}
    return Spec(
        process=Process(args=("true",), cwd="/"),
        root=Root(path="rootfs"),
        hooks=Hooks(**hooks),
        linux=Linux(namespaces=[Namespace(type="pid"), Namespace(type="mount")], resources=LIMITS),
    )


ALL_KINDS = hooked(prestart=1, create_runtime=1, create_container=1, start_container=1, poststart=1, poststop=2)


def fails(kind: str, state: str):
    raise HookError(kind, 0, "/hook", "exit code 1", returncode=1)


# -- scenarios: what was before, and what is done ---------------------------------------------------------------------


def nothing(backend):
    pass


def created(backend):
    backend.create(CreateRequest("web", "", ALL_KINDS))


def running(backend):
    created(backend)
    backend.release("web", timeout=None)


def paused(backend):
    running(backend)
    backend.freeze(backend.load("web"))


def stopped(backend):
    running(backend)
    backend.host.end(init_of(backend), 3)


def half_made(backend):
    """A create that was killed when init was there, and nothing was saved."""
    tap = Tap(backend, at=steps_of(nothing, create).index("birth.until_ready"))
    with pytest.raises(Crash):
        create(tap.procedures())
    backend.crash()


def create(procedures):
    procedures.create(CreateRequest("web", "", ALL_KINDS))


def release(procedures):
    procedures.release("web", timeout=None)


def destroy(procedures):
    procedures.destroy("web", force=False)


def destroy_by_force(procedures):
    procedures.destroy("web", force=True)


def update(procedures):
    procedures.update("web", Resources(pids=Pids(limit=7)))


def sweep(procedures):
    procedures.sweep()


SCENARIOS = {
    "create": (nothing, create),
    "release": (created, release),
    "update": (running, update),
    "destroy stopped": (stopped, destroy),
    "destroy created": (created, destroy),
    "destroy running": (running, destroy_by_force),
    "destroy paused": (paused, destroy_by_force),
    "destroy half-made": (half_made, destroy_by_force),
    "sweep half-made": (half_made, sweep),
}


def steps_of(before, act) -> list[str]:
    backend = world()
    before(backend)
    tap = Tap(backend)
    act(tap.procedures())
    return tap.steps


def moments(scenario):
    """Before and after each step of a scenario that runs through."""
    before, act = SCENARIOS[scenario]
    return [(number, when, name) for number, name in enumerate(steps_of(before, act)) for when in ("before", "after")]


def run_into(scenario, number, when, error):
    """The world in which a scenario met its error, and the picture of it without the container."""
    backend = world()
    empty = picture(backend)
    before, act = SCENARIOS[scenario]
    before(backend)
    tap = Tap(backend, at=number, when=when, error=error)
    with pytest.raises(error):
        act(tap.procedures())
    return backend, empty


def crash_at(step, *, nth=0, when="after"):
    """A create that was killed at that step."""
    steps = steps_of(nothing, create)
    number = [index for index, name in enumerate(steps) if name == step][nth]
    return run_into("create", number, when, Crash)
