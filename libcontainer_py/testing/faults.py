"""Faults of a `FakeFactory`: what goes wrong, at which verb or at which step of the procedures, and for how long.

Verbs are those of a container and a factory: create, start, delete... Steps are the methods of Store, Gate, Host and
Birth, of which the procedures are made (`libcontainer_py.backends.base`): `store.publish`, `birth.until_ready`. A fault
comes before its verb or step, and nothing of that happens. All is decided by counting, nothing by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from libcontainer_py.backends.base import Birth, Gate, Host, Store
from libcontainer_py.backends.memory import MemoryBackend

if TYPE_CHECKING:
    from libcontainer_py.backends.memory import MemoryHost, MemoryStore

VERBS: dict[str, tuple[str, ...]] = {
    "create": ("create", "creating"),
    "delete": ("destroy", "destroying"),
    "kill": ("kill",),
    "list": ("ids",),
    "load": ("load",),
    "pause": ("freeze",),
    "processes": ("processes",),
    "resume": ("thaw",),
    "signal": ("signal", "signal_all"),
    "spawn": ("spawn",),
    "start": ("release", "releasing"),
    "stats": ("stats",),
    "sweep": ("sweep",),
    "update": ("update", "updating"),
    "wait": ("wait",),
}
"""Each verb with the methods of a backend that carry it out."""
_PARTS = {"store": Store, "host": Host, "birth": Birth, "gate": Gate}
STEPS = frozenset(
    f"{part}.{name}"
    for part, protocol in _PARTS.items()
    for name in vars(protocol)
    if not name.startswith("_") and name != "root"
)
"""All steps, by part and name."""


class Crashed(BaseException):
    """The process that uses the library was killed, as by kill -9: nobody who catches an Exception sees it.

    When it comes out of the verb, all is as the kill left it, and the fake is that of the next process.
    """


class _Fault(NamedTuple):
    moments: frozenset[str]
    """The verbs and steps that it is for."""
    act: Callable[[tuple[Any, ...]], None]
    """What happens: it gets their arguments."""
    skip: int
    """How often they go well before."""
    times: float


class Faults:
    """What is to go wrong."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._seen: list[str] = []
        self._depths: dict[int, int] = {}
        self.is_dead: bool = False
        """Whether the process was killed in the middle of a verb, which has not ended yet."""
        self.on_crash: Callable[[], None] = lambda: None

    @property
    def seen(self) -> list[str]:
        """All verbs and steps until now."""
        return [*self._seen]

    def plan(
        self, moment: str | frozenset[str], act: Callable[[tuple[Any, ...]], None], *, skip: int = 0, times: float = 1
    ) -> Callable[[], None]:
        """Have it happen at a moment; returns what calls it off. Raises ValueError for what is none."""
        moments = frozenset(map(moment_of, (moment,) if isinstance(moment, str) else moment))

        def happen(arguments: tuple[Any, ...]) -> None:
            act(arguments)

        def call_off() -> None:
            self._faults = [one for one in self._faults if one.act is not happen]

        self._faults.append(_Fault(moments, happen, skip, times))

        return call_off

    def meet(self, moment: str, arguments: tuple[Any, ...]) -> None:
        """It is about to happen."""
        if self.is_dead:
            raise Crashed
        self._seen.append(moment)
        for index, fault in enumerate(self._faults):
            if moment not in fault.moments:
                continue
            if fault.skip:
                self._faults[index] = fault._replace(skip=fault.skip - 1)
                continue
            if fault.times > 1:
                self._faults[index] = fault._replace(times=fault.times - 1)
            else:
                del self._faults[index]
            fault.act(arguments)
            return

    def crash(self) -> None:
        """The process is killed now. Raises Crashed in the middle of a verb."""
        if self._depths.get(get_ident()):
            self.is_dead = True
            raise Crashed
        self.on_crash()

    def enter(self, verb: str, arguments: tuple[Any, ...]) -> None:
        """A verb begins."""
        me = get_ident()
        self._depths[me] = self._depths.get(me, 0) + 1
        self.meet(verb, arguments)

    def leave(self) -> None:
        """It ended, in whatever way."""
        me = get_ident()
        self._depths[me] -= 1
        if not self._depths[me]:
            del self._depths[me]
        if self.is_dead and me not in self._depths:
            self.is_dead = False
            self.on_crash()


def moment_of(word: str) -> str:
    """A verb or a step, which may be named without its part. Raises ValueError."""
    if word in VERBS or word in STEPS:
        return word
    found = sorted(step for step in STEPS if step.partition(".")[2] == word)
    if len(found) == 1:
        return found[0]
    hint = (
        f"is it {' or '.join(found)}?" if found else f"verbs are {', '.join(VERBS)}; steps {', '.join(sorted(STEPS))}"
    )
    raise ValueError(f"{word!r} is neither a verb nor a step: {hint}")


class Tripped:
    """A part of the backend, each of whose methods is a step."""

    def __init__(self, faults: Faults, part: str, inner: object) -> None:
        object.__setattr__(self, "_tripped", (faults, part, inner))

    def __getattr__(self, name: str) -> Any:
        faults, part, inner = cast("tuple[Faults, str, object]", object.__getattribute__(self, "_tripped"))
        value = getattr(inner, name)
        step = f"{part}.{name}"
        if step not in STEPS:
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            faults.meet(step, arguments)
            result = value(*arguments, **options)
            if step == "host.make_init":
                return Tripped(faults, "birth", result)
            if step == "store.open_fifo" and result is not None:
                return Tripped(faults, "gate", result)
            return result

        return call

    def __setattr__(self, name: str, value: object) -> None:
        _, _, inner = cast("tuple[Faults, str, object]", object.__getattribute__(self, "_tripped"))
        setattr(inner, name, value)


class FaultyBackend(MemoryBackend):
    """A memory backend where things go wrong as `faults` says."""

    store: MemoryStore
    host: MemoryHost

    def __init__(self, root: str) -> None:
        super().__init__(root=root)
        self.faults: Faults = Faults()
        self.faults.on_crash = super().crash
        self.inner: tuple[MemoryStore, MemoryHost] = (self.store, self.host)
        """The parts themselves, in which nothing goes wrong."""
        self.store = cast("MemoryStore", Tripped(self.faults, "store", self.store))
        self.host = cast("MemoryHost", Tripped(self.faults, "host", self.host))
        for verb, names in VERBS.items():
            for name in names:
                setattr(self, name, _guarded(self.faults, verb, getattr(self, name), stepwise=name.endswith("ing")))

    def crash(self) -> None:
        """Kill -9 of the process that uses the library: see `MemoryBackend.crash`."""
        self.faults.crash()


def _guarded(faults: Faults, verb: str, method: Callable[..., Any], *, stepwise: bool) -> Callable[..., Any]:
    """A method of the backend that is a verb; `stepwise`: that gives the steps of one."""

    @wraps(method)
    def whole(*arguments: Any, **options: Any) -> Any:
        try:
            faults.enter(verb, arguments)
            return method(*arguments, **options)
        finally:
            faults.leave()

    @wraps(method)
    def steps(*arguments: Any, **options: Any) -> Generator[Any, Any, object]:
        try:
            faults.enter(verb, arguments)
            begun = cast("Generator[Any, Any, object]", method(*arguments, **options))
            return (yield from begun)
        finally:
            faults.leave()

    return steps if stepwise else whole


FOR_EVER = inf
"""As `times` of a plan: until it is called off."""
