"""Linux containers from Python, without a daemon or a runtime binary: create, start, pause, watch and delete them.

Every public name is loaded on first use, from the room it lives in (PEP 562), so that `import libcontainer_py` costs
nothing and works on any system. `libcontainer_py.lifecycle`, the table of what may happen in which status, is public as
a module.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.backends.base import Backend as Backend
    from libcontainer_py.backends.linux import LinuxBackend as LinuxBackend
    from libcontainer_py.backends.memory import MemoryBackend as MemoryBackend
    from libcontainer_py.container import Container as Container
    from libcontainer_py.doctor import Condition as Condition
    from libcontainer_py.doctor import Diagnosis as Diagnosis
    from libcontainer_py.doctor import Finding as Finding
    from libcontainer_py.doctor import examine as examine
    from libcontainer_py.errors import BrokenStateWarning as BrokenStateWarning
    from libcontainer_py.errors import CgroupError as CgroupError
    from libcontainer_py.errors import CommandFailed as CommandFailed
    from libcontainer_py.errors import ConfigError as ConfigError
    from libcontainer_py.errors import ConfigWarning as ConfigWarning
    from libcontainer_py.errors import ContainerError as ContainerError
    from libcontainer_py.errors import ContainerExists as ContainerExists
    from libcontainer_py.errors import ContainerNotFound as ContainerNotFound
    from libcontainer_py.errors import ContainerTimeout as ContainerTimeout
    from libcontainer_py.errors import ContainerWarning as ContainerWarning
    from libcontainer_py.errors import CreateError as CreateError
    from libcontainer_py.errors import HookError as HookError
    from libcontainer_py.errors import HookWarning as HookWarning
    from libcontainer_py.errors import IllegalOperation as IllegalOperation
    from libcontainer_py.errors import InvalidId as InvalidId
    from libcontainer_py.errors import LauncherError as LauncherError
    from libcontainer_py.errors import Problem as Problem
    from libcontainer_py.errors import ProgramNotFound as ProgramNotFound
    from libcontainer_py.errors import StartError as StartError
    from libcontainer_py.errors import StateError as StateError
    from libcontainer_py.errors import StepError as StepError
    from libcontainer_py.errors import UnsupportedPlatform as UnsupportedPlatform
    from libcontainer_py.events import Event as Event
    from libcontainer_py.events import Events as Events
    from libcontainer_py.events import Exited as Exited
    from libcontainer_py.events import MemoryPressure as MemoryPressure
    from libcontainer_py.events import OomKill as OomKill
    from libcontainer_py.events import OutOfMemory as OutOfMemory
    from libcontainer_py.events import Paused as Paused
    from libcontainer_py.events import Resumed as Resumed
    from libcontainer_py.events import Started as Started
    from libcontainer_py.factory import Factory as Factory
    from libcontainer_py.lifecycle import Operation as Operation
    from libcontainer_py.lifecycle import Status as Status
    from libcontainer_py.process import ExitStatus as ExitStatus
    from libcontainer_py.record import Swept as Swept
    from libcontainer_py.result import Outcome as Outcome
    from libcontainer_py.result import Result as Result
    from libcontainer_py.result import Usage as Usage
    from libcontainer_py.sandbox import Bind as Bind
    from libcontainer_py.sandbox import Sandbox as Sandbox
    from libcontainer_py.sandbox import run as run
    from libcontainer_py.spawned import ContainerProcess as ContainerProcess
    from libcontainer_py.spec import Spec as Spec
    from libcontainer_py.spec import State as State
    from libcontainer_py.stats import CpuStats as CpuStats
    from libcontainer_py.stats import HugetlbStats as HugetlbStats
    from libcontainer_py.stats import IoStats as IoStats
    from libcontainer_py.stats import MemoryStats as MemoryStats
    from libcontainer_py.stats import PidsStats as PidsStats
    from libcontainer_py.stats import PressureStats as PressureStats
    from libcontainer_py.stats import RdmaStats as RdmaStats
    from libcontainer_py.stats import Sample as Sample
    from libcontainer_py.stats import Stall as Stall
    from libcontainer_py.stats import Stalls as Stalls
    from libcontainer_py.stats import Stats as Stats
    from libcontainer_py.streams import DEVNULL as DEVNULL
    from libcontainer_py.streams import PIPE as PIPE
    from libcontainer_py.streams import STDOUT as STDOUT
    from libcontainer_py.terminal import Terminal as Terminal

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "Backend",
    "Bind",
    "BrokenStateWarning",
    "CgroupError",
    "CommandFailed",
    "Condition",
    "ConfigError",
    "ConfigWarning",
    "Container",
    "ContainerError",
    "ContainerExists",
    "ContainerNotFound",
    "ContainerProcess",
    "ContainerTimeout",
    "ContainerWarning",
    "CpuStats",
    "CreateError",
    "Diagnosis",
    "Event",
    "Events",
    "ExitStatus",
    "Exited",
    "Factory",
    "Finding",
    "HookError",
    "HookWarning",
    "HugetlbStats",
    "IllegalOperation",
    "InvalidId",
    "IoStats",
    "LauncherError",
    "LinuxBackend",
    "MemoryBackend",
    "MemoryPressure",
    "MemoryStats",
    "OomKill",
    "Operation",
    "OutOfMemory",
    "Outcome",
    "Paused",
    "PidsStats",
    "PressureStats",
    "Problem",
    "ProgramNotFound",
    "RdmaStats",
    "Result",
    "Resumed",
    "Sample",
    "Sandbox",
    "Spec",
    "Stall",
    "Stalls",
    "StartError",
    "Started",
    "State",
    "StateError",
    "Stats",
    "Status",
    "StepError",
    "Swept",
    "Terminal",
    "UnsupportedPlatform",
    "Usage",
    "__version__",
    "examine",
    "run",
]

# Each room with the public names that live in it.
_ROOMS = {
    "backends.base": ("Backend",),
    "backends.linux": ("LinuxBackend",),
    "backends.memory": ("MemoryBackend",),
    "container": ("Container",),
    "doctor": ("Condition", "Diagnosis", "Finding", "examine"),
    "errors": (
        "BrokenStateWarning",
        "CgroupError",
        "CommandFailed",
        "ConfigError",
        "ConfigWarning",
        "ContainerError",
        "ContainerExists",
        "ContainerNotFound",
        "ContainerTimeout",
        "ContainerWarning",
        "CreateError",
        "HookError",
        "HookWarning",
        "IllegalOperation",
        "InvalidId",
        "LauncherError",
        "Problem",
        "ProgramNotFound",
        "StartError",
        "StateError",
        "StepError",
        "UnsupportedPlatform",
    ),
    "events": (
        "Event",
        "Events",
        "Exited",
        "MemoryPressure",
        "OomKill",
        "OutOfMemory",
        "Paused",
        "Resumed",
        "Started",
    ),
    "factory": ("Factory",),
    "lifecycle": ("Operation", "Status"),
    "process": ("ExitStatus",),
    "record": ("Swept",),
    "result": ("Outcome", "Result", "Usage"),
    "sandbox": ("Bind", "Sandbox", "run"),
    "spawned": ("ContainerProcess",),
    "spec": ("Spec", "State"),
    "stats": (
        "CpuStats",
        "HugetlbStats",
        "IoStats",
        "MemoryStats",
        "PidsStats",
        "PressureStats",
        "RdmaStats",
        "Sample",
        "Stall",
        "Stalls",
        "Stats",
    ),
    "streams": ("DEVNULL", "PIPE", "STDOUT"),
    "terminal": ("Terminal",),
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
