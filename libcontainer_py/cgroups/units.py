"""Names and properties of a container's unit under systemd: what `slice:prefix:name` means, what annotations ask for,
and what `linux.resources` is in systemd's words. Pure.

Source: runc, docs/systemd.md; systemd.unit(5), systemd.slice(5), systemd.resource-control(5).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from libcontainer_py.cgroups import gvariant
from libcontainer_py.cgroups.controllers.cpuset import members
from libcontainer_py.errors import Problem
from libcontainer_py.kernel import weights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from libcontainer_py.cgroups.bus import Property
    from libcontainer_py.spec import CPU, Memory, Resources

PREFIX = "libcontainer_py"
"""Of the units of containers whose configuration names none."""
ANNOTATION = "org.systemd.property."
FORM = "slice:prefix:name, as in system.slice:web:1 or :web:1"

_INFINITY = 2**64 - 1
_USUAL_PERIOD = 100_000
_STEP = 10_000
"""Microseconds a second, one percent: systemd keeps quotas in whole percents."""
_LONGEST = 255
_WITH_PERIOD, _WITH_CPUSET, _WITH_IDLE, _WITH_OOM_POLICY = 242, 244, 252, 253
"""The versions of systemd that know CPUQuotaPeriodUSec, AllowedCPUs, a CPUWeight of 0, OOMPolicy of scopes."""


class Unit(NamedTuple):
    """A scope, by the three parts of its cgroupsPath."""

    slice: str
    """"" is the default: system.slice, of an ordinary user user.slice."""
    prefix: str
    name: str

    @property
    def unit(self) -> str:
        """The name of the unit."""
        return f"{self.prefix}-{self.name}.scope"

    def slice_of(self, *, user: bool) -> str:
        """The name of its slice."""
        return self.slice or ("user.slice" if user else "system.slice")

    def path(self, *, user: bool) -> str:
        """Its cgroup, below that of systemd: a dash in the name of a slice is a step down."""
        return "/".join(["", *_expanded(self.slice_of(user=user)), self.unit])


def parse(wanted: str | None, container_id: str) -> Unit:
    """What a `linux.cgroupsPath` names; None and "" is `:libcontainer_py:ID`. Raises ValueError."""
    if not wanted:
        # of an id's characters the plus sign is none of a unit's: written as systemd-escape does
        return Unit("", PREFIX, container_id.replace("+", "\\x2b"))
    parts = wanted.split(":")
    if len(parts) != 3 or "/" in wanted:
        raise ValueError(f"is not of the form {FORM}")
    found = Unit(*parts)
    if found.name.endswith(".slice"):
        raise ValueError("names a slice, and processes are in scopes alone")
    if found.slice:
        _expanded(found.slice)
    if not re.fullmatch(r"[A-Za-z0-9:_.\\@-]+", found.prefix + found.name):
        raise ValueError(f"names no unit: {FORM}; its characters are A-Z a-z 0-9 _ . - @ and \\")
    if len(found.unit) > _LONGEST:
        raise ValueError(f"makes a name of {len(found.unit)} characters, and a unit has at most {_LONGEST}")
    return found


def _expanded(name: str) -> list[str]:
    """The slices from the top down: a-b.slice is in a.slice; `-` and `-.slice` are the root. Raises ValueError."""
    stem = name.removesuffix(".slice")
    if stem == "-":
        return []
    parts = stem.split("-")
    if stem == name or not all(parts) or not re.fullmatch(r"[A-Za-z0-9:_.\\-]+", stem):
        raise ValueError(f"{name!r} is no slice: it is like system.slice, or a-b.slice for one below a.slice")
    return ["-".join(parts[: count + 1]) + ".slice" for count in range(len(parts))]


def annotated(annotations: Mapping[str, str]) -> tuple[list[Property], list[Problem]]:
    """The properties that annotations ask for, and what is wrong with them."""
    found: list[Property] = []
    problems: list[Problem] = []
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        where = f'annotations["{key}"]'
        name = key.removeprefix(ANNOTATION)
        if not re.fullmatch(r"[A-Za-z]{3,}", name):
            problems.append(Problem(where, "does not name a property", text, "three letters or more, and nothing else"))
            continue
        try:
            found.append(_in_microseconds(name, *gvariant.parse(text)))
        except ValueError as error:
            hint = "GVariant's text form: 'text', true, uint64 7, ['a', 'b']"
            problems.append(Problem(where, str(error), text, hint))
    return found, problems


def _in_microseconds(name: str, signature: str, value: object) -> Property:
    """Properties that are documented as TimeoutStopSec are TimeoutStopUSec on the bus."""
    stem = name.removesuffix("Sec")
    if stem == name or not stem[-1:].islower():
        return name, (signature, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ValueError(f"{name} is a number of seconds")
    return stem + "USec", ("t", int(value * 1_000_000))


def of_scope(unit: Unit, container_id: str, *, user: bool) -> list[Property]:
    """What every container's scope has: its cgroup is ours, all is accounted, and a failed one stays no longer."""
    return [
        ("Description", ("s", f"libcontainer container {container_id}")),
        ("Slice", ("s", unit.slice_of(user=user))),
        ("Delegate", ("b", True)),
        *((f"{name}Accounting", ("b", True)) for name in ("Memory", "CPU", "IO", "Tasks")),
        ("DefaultDependencies", ("b", False)),
        ("CollectMode", ("s", "inactive-or-failed")),
    ]


def oom_policy(resources: Resources, version: int) -> list[Property]:
    """memory.oom.group, which is told when the unit is made, or never."""
    word = {"0": "continue", "1": "kill"}.get(resources.unified.get("memory.oom.group", "").strip())
    return [("OOMPolicy", ("s", word))] if word and version >= _WITH_OOM_POLICY else []


def of_resources(resources: Resources, version: int) -> list[Property]:
    """What systemd knows of the limits, so that it does not write its own over them; the rest are files alone."""
    found: dict[str, tuple[str, object]] = {}
    if resources.memory is not None:
        found.update(_of_memory(resources.memory))
    if resources.cpu is not None:
        found.update(_of_cpu(resources.cpu, version))
    if resources.pids is not None and resources.pids.limit is not None:
        found["TasksMax"] = ("t", _tasks(resources.pids.limit))
    found.update(_of_unified(resources.unified, version))
    return [*found.items()]


def _of_memory(memory: Memory) -> Iterator[Property]:
    limit, swap = memory.limit or 0, memory.swap or 0
    if swap > 0:
        yield "MemorySwapMax", ("t", swap - limit)
    elif swap or limit:  # as in controllers.memory
        yield "MemorySwapMax", ("t", _INFINITY if swap < 0 or limit < 0 else 0)
    if limit:
        yield "MemoryMax", ("t", _bytes(limit))
    if memory.reservation:
        yield "MemoryLow", ("t", _bytes(memory.reservation))


def _of_cpu(cpu: CPU, version: int) -> Iterator[Property]:
    if cpu.shares:
        yield "CPUWeight", ("t", weights.cpu_weight(cpu.shares))
    if cpu.idle and version >= _WITH_IDLE:
        yield "CPUWeight", ("t", 0)
    if cpu.quota or cpu.period:
        yield from _bandwidth(cpu.quota or 0, cpu.period or 0, version)
    yield from _cpuset((("AllowedCPUs", cpu.cpus), ("AllowedMemoryNodes", cpu.mems)), version)


def _bandwidth(quota: int, period: int, version: int) -> Iterator[Property]:
    """In whole percents, up: so systemd never allows less than was asked for; cpu.max has it exactly."""
    if period and version >= _WITH_PERIOD:
        yield "CPUQuotaPeriodUSec", ("t", period)
    if quota > 0:
        exact = -(-quota * 1_000_000 // (period or _USUAL_PERIOD))
        yield "CPUQuotaPerSecUSec", ("t", -(-exact // _STEP) * _STEP)
    elif quota < 0:
        yield "CPUQuotaPerSecUSec", ("t", _INFINITY)


def _cpuset(lists: Iterable[tuple[str, str | None]], version: int) -> Iterator[Property]:
    for name, text in lists:
        if text and version >= _WITH_CPUSET:
            yield name, ("ay", _bits(text))


def _of_unified(files: Mapping[str, str], version: int) -> Iterator[Property]:
    for file, text in files.items():
        value = text.strip()
        try:
            yield from _of_file(file, value, version)
        except ValueError:
            pass  # the kernel says what it does not take, when the file is written
    if files.get("cpu.idle", "").strip() == "1" and version >= _WITH_IDLE:
        yield "CPUWeight", ("t", 0)


def _of_file(file: str, value: str, version: int) -> Iterator[Property]:
    name = {
        "memory.high": "MemoryHigh",
        "memory.low": "MemoryLow",
        "memory.min": "MemoryMin",
        "memory.max": "MemoryMax",
        "memory.swap.max": "MemorySwapMax",
    }.get(file)
    if name is not None:
        yield name, ("t", _INFINITY if value == "max" else int(value))
    elif file == "pids.max":
        yield "TasksMax", ("t", _tasks(-1 if value == "max" else int(value)))
    elif file == "cpu.weight":
        yield "CPUWeight", ("t", int(value))
    elif file == "cpu.max":
        quota, _, period = value.partition(" ")
        yield from _bandwidth(-1 if quota == "max" else int(quota), int(period or _USUAL_PERIOD), version)
    elif file in ("cpuset.cpus", "cpuset.mems"):
        word = "AllowedCPUs" if file == "cpuset.cpus" else "AllowedMemoryNodes"
        yield from _cpuset(((word, value),), version)


def _bytes(limit: int) -> int:
    return limit if limit > 0 else _INFINITY


def _tasks(limit: int) -> int:
    """0 is none of a unit's limits; that nothing can be forked, 1 means too."""
    return _INFINITY if limit < 0 else max(1, limit)


def _bits(text: str) -> list[int]:
    """A list such as `0-3,7` as a mask, the lowest byte first."""
    mask = sum(1 << number for number in members(text))
    return [*mask.to_bytes((mask.bit_length() + 7) // 8, "little")]
