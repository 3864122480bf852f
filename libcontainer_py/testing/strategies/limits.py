"""Resources of a control group that hold for the controllers of either version.

Source: config-linux.md, Control groups; cgroup-v2.rst; cgroup-v1/*.rst for the ranges of the older files.
"""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import Any, Literal

import attrs
from hypothesis import strategies as st

from libcontainer_py.spec import (
    CPU,
    BlockIO,
    DeviceRule,
    HugepageLimit,
    InterfacePriority,
    Memory,
    Network,
    Pids,
    Rdma,
    Resources,
    ThrottleDevice,
    WeightDevice,
)
from libcontainer_py.testing.strategies.words import names, ranges, some, tuples

_HARDWARE: frozenset[str] = frozenset(("block_io", "hugepage_limits", "network", "rdma", "cpu.cpus", "cpu.mems"))

_sizes = st.integers(2**22, 2**40)
"""Bytes: from 4 MiB, under which hardly a program starts, to 1 TiB."""
_majors = st.integers(0, 511)
_minors = st.integers(0, 255)


_unlimited = st.just(-1)


def _memory(version: int | None) -> st.SearchStrategy[Memory]:
    optional = {
        "limit": _unlimited | _sizes,
        "reservation": _sizes,
        "swap": _unlimited | _sizes,
        "check_before_update": st.booleans(),
    }
    if version == 1:
        optional |= {
            "kernel": _unlimited,  # other limits are gone since Linux 5.16
            "kernel_tcp": _unlimited | _sizes,
            "swappiness": st.integers(0, 100),
            "disable_oom_killer": st.booleans(),
            "use_hierarchy": st.just(value=True),  # the kernel knows no other since 5.11
        }
    return some(Memory, {}, optional).map(_fitting_memory)


def _fitting_memory(memory: Memory) -> Memory:
    """A reservation within the limit; memory and swap together not below it, and only where there is one."""
    limit, swap = memory.limit, memory.swap
    if limit is None or limit < 0:
        return attrs.evolve(memory, swap=None if swap is None or limit is None else -1)
    reservation = None if memory.reservation is None else min(memory.reservation, limit)
    return attrs.evolve(memory, reservation=reservation, swap=swap if swap in (None, -1) else limit + swap)


def _cpu(version: int | None, *, hardware: bool) -> st.SearchStrategy[CPU]:
    periods = st.integers(1000, 1_000_000)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "shares": st.integers(2, 2**18),  # MIN_SHARES, MAX_SHARES of the kernel
        "period": periods,
        "quota": _unlimited | st.integers(1000, 10_000_000),
        "burst": st.integers(0, 1_000_000),
        "idle": st.integers(0, 1),
    }
    if hardware:
        optional |= {"cpus": ranges, "mems": ranges}
    if version == 1:
        optional |= {"realtime_period": periods, "realtime_runtime": periods}
    return some(CPU, {}, optional).map(_fitting_cpu)


def _fitting_cpu(cpu: CPU) -> CPU:
    """A burst within a quota, realtime within its period; no weight for an idle group, which can have none."""
    quota, runtime = cpu.quota, cpu.realtime_runtime
    return attrs.evolve(
        cpu,
        burst=None if cpu.burst is None or quota is None or quota < 0 else min(cpu.burst, quota),
        realtime_runtime=None if runtime is None else min(runtime, cpu.realtime_period or runtime),
        shares=None if cpu.idle else cpu.shares,
    )


def _block_io(version: int | None) -> st.SearchStrategy[BlockIO]:
    weights = st.integers(10, 1000)
    leaf = {"leaf_weight": weights} if version == 1 else {}
    numbers = {"major": _majors, "minor": _minors}

    rates = some(ThrottleDevice, {**numbers, "rate": st.integers(1, 2**40)}, {})
    throttles = tuples(rates, min_size=1, unique_by=_place)
    weighted = tuples(some(WeightDevice, {**numbers, "weight": weights}, leaf), min_size=1, unique_by=_place)
    kinds = ("read_bps", "write_bps", "read_iops", "write_iops")
    optional: dict[str, st.SearchStrategy[Any]] = {"weight": weights, "weight_device": weighted, **leaf}
    return some(BlockIO, {}, {**optional, **{f"throttle_{kind}_device": throttles for kind in kinds}})


def _place(device: WeightDevice | ThrottleDevice) -> tuple[int, int]:
    return device.major, device.minor


def _rules() -> st.SearchStrategy[DeviceRule]:
    """Rules of the allow list; one for all types of device is for all devices and kinds of access, as the kernel's."""
    access = st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"])
    everything = st.builds(
        DeviceRule, allow=st.booleans(), type=st.none() | st.just("a"), access=st.none() | st.just("rwm")
    )
    numbers = {"major": _majors, "minor": _minors, "access": access}
    return everything | some(DeviceRule, {"allow": st.booleans(), "type": st.sampled_from("cb")}, numbers)


def _rdma() -> st.SearchStrategy[Rdma]:
    limits = st.integers(0, 2**31 - 1)
    return st.builds(Rdma, hca_handles=limits, hca_objects=st.none() | limits) | st.builds(Rdma, hca_objects=limits)


def resources(version: Literal[1, 2] | None = None, *, hardware: bool = True) -> st.SearchStrategy[Resources]:
    """Resources that are right for any cgroup version; with `version` also what only that one has.

    Numbers are in the ranges of the controllers, and what belongs together fits: a reservation is no larger than its
    limit, memory and swap together no smaller, a burst no larger than its quota. Devices, interfaces, page sizes and
    numbers of processors are made up; `hardware=False` leaves all of them out, but for the rules of the allow list.
    """
    return drawn(version, _HARDWARE if not hardware else frozenset[str]())


@cache
def drawn(version: int | None, without: frozenset[str]) -> st.SearchStrategy[Resources]:
    """Resources for a version, without some fields; made once, for making strategies takes longer than drawing."""
    limits = st.builds(HugepageLimit, page_size=st.sampled_from(["2MB", "1GB"]), limit=st.integers(0, 2**40))
    priorities = st.builds(InterfacePriority, name=names, priority=st.integers(0, 100))
    network: dict[str, st.SearchStrategy[Any]] = {
        "class_id": st.integers(0, 2**32 - 1),
        "priorities": tuples(priorities, unique_by=attrgetter("name")),
    }
    files = st.sampled_from(["memory.high", "memory.low", "pids.max", "cpu.weight.nice", "memory.oom.group"])
    optional: dict[str, st.SearchStrategy[Any]] = {
        "devices": tuples(_rules(), max_size=3),
        "memory": _memory(version),
        "cpu": _cpu(version, hardware="cpu.cpus" not in without),
        "pids": st.builds(Pids, limit=st.just(-1) | st.integers(1, 2**22)),  # PID_MAX_LIMIT
        "block_io": _block_io(version),
        "hugepage_limits": tuples(limits, unique_by=attrgetter("page_size")),
        "network": some(Network, {}, network),
        "rdma": st.dictionaries(names, _rdma(), max_size=2),
        "unified": st.dictionaries(files, st.sampled_from(["0", "1"]), max_size=2),
    }
    foreign = {name for name, only in (("network", 1), ("unified", 2)) if version != only}
    return some(Resources, {}, optional, without=without | foreign)
