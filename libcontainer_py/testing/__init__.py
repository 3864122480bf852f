"""For whoever tests on top of this library: a fake of it, and machines that hold a backend to a model.

    fake        FakeFactory: containers in memory, on a clock that jumps
    programs    what their programs do
    faults      what goes wrong with them, and when
    explorer    explore: every interleaving of a few callers, and the shortest that breaks something
    suite       BackendSuite: what any backend must do; needs pytest (the extra `test`)
    runtime     RuntimeBackend, which drives the binary of a runtime: runc, crun, pyrunc
    plugin      fixtures for pytest, which finds it by itself
    machine     LifecycleMachine, for any backend; needs Hypothesis (the extra `test`)
    strategies  what to draw configurations from; needs Hypothesis

Names are loaded on first use, so that who needs no Hypothesis needs not have it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.testing.fake import FakeFactory as FakeFactory
    from libcontainer_py.testing.faults import Crashed as Crashed
    from libcontainer_py.testing.programs import Call as Call
    from libcontainer_py.testing.programs import Program as Program
    from libcontainer_py.testing.programs import cannot_run as cannot_run
    from libcontainer_py.testing.programs import dies as dies
    from libcontainer_py.testing.programs import eats_memory as eats_memory
    from libcontainer_py.testing.programs import ends_on as ends_on
    from libcontainer_py.testing.programs import exits as exits
    from libcontainer_py.testing.programs import ignores as ignores
    from libcontainer_py.testing.programs import is_missing as is_missing
    from libcontainer_py.testing.programs import prints as prints
    from libcontainer_py.testing.programs import reads_stdin as reads_stdin
    from libcontainer_py.testing.programs import runs_forever as runs_forever
    from libcontainer_py.testing.programs import sleeps as sleeps
    from libcontainer_py.testing.programs import starts as starts
    from libcontainer_py.testing.programs import works as works

__all__ = [
    "Call",
    "Crashed",
    "FakeFactory",
    "Program",
    "cannot_run",
    "dies",
    "eats_memory",
    "ends_on",
    "exits",
    "ignores",
    "is_missing",
    "prints",
    "reads_stdin",
    "runs_forever",
    "sleeps",
    "starts",
    "works",
]

# Each room with the public names that live in it.
_ROOMS = {
    "faults": ("Crashed",),
    "fake": ("FakeFactory",),
    "programs": (
        "Call",
        "Program",
        "cannot_run",
        "dies",
        "eats_memory",
        "ends_on",
        "exits",
        "ignores",
        "is_missing",
        "prints",
        "reads_stdin",
        "runs_forever",
        "sleeps",
        "starts",
        "works",
    ),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

# A type checker must not see __getattr__: it would take every misspelled name for a public one.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        room = _HOMES.get(name)
        if room is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  (nothing is imported before a name is used)

        value = getattr(import_module(f"{__name__}.{room}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
