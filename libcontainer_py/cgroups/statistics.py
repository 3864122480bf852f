"""Reads the statistics of a cgroup. Loaded on first use, because it loads attrs.

A file that is missing belongs to a controller that is off, or to another kernel; what is left has its numbers. Source:
cgroup-v1/*.rst and cgroup-v2.rst of Linux.
"""

from __future__ import annotations

import errno
import functools
import os
import time

from libcontainer_py.cgroups.base import failure, oom_kills_in
from libcontainer_py.cgroups.tree import read
from libcontainer_py.errors import CgroupError
from libcontainer_py.stats import (
    CpuStats,
    HugetlbStats,
    IoStats,
    MemoryStats,
    PidsStats,
    PressureStats,
    RdmaStats,
    Stall,
    Stalls,
    Stats,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UNLIMITED = 1 << 62
"""v1 shows no limit as the largest number of whole pages."""


class _Files:
    """The files of one directory; None for what is not there."""

    __slots__ = ("_directory",)

    def __init__(self, directory: str | None) -> None:
        self._directory = directory

    def text(self, file: str) -> str | None:
        if self._directory is None:
            return None
        try:
            return read(f"{self._directory}/{file}")
        except OSError as error:
            # EOPNOTSUPP: pressure that the kernel was told not to measure (psi=0)
            if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
                return None
            raise failure(f"{self._directory}/{file}", "cannot be read", error) from error

    def number(self, file: str) -> int | None:
        """None is `max` too."""
        text = self.text(file)
        return None if text is None or text.startswith("max") else int(text)

    def limit(self, file: str) -> int | None:
        """As v1 shows it."""
        number = self.number(file)
        return None if number is None or number >= _UNLIMITED else number

    def table(self, file: str) -> dict[str, int]:
        """Lines of a word and a number."""
        return _table(self.text(file) or "")


def read_v1(paths: Mapping[str, str], oom_kills: Callable[[], int]) -> Stats:
    """The statistics of v1; `paths` as `Cgroup.paths`. Raises CgroupError, also where the cgroup is gone."""
    taken = time.monotonic_ns()
    found = Stats(
        taken_ns=taken,
        cpu=_cpu_v1(_Files(paths.get("cpu")), _Files(paths.get("cpuacct"))),
        memory=_memory_v1(_Files(paths.get("memory")), oom_kills),
        pids=_pids(_Files(paths.get("pids"))),
        io=_io_v1(_Files(paths.get("blkio"))),
        hugetlb=_hugetlb_v1(_Files(paths.get("hugetlb"))),
        rdma=_rdma(_Files(paths.get("rdma"))),
        pressure=_pressure(_Files(paths.get(""))),
    )
    if found.cpu is None and found.memory is None and found.pids is None:
        _require(paths)
    return found


def read_v2(path: str) -> Stats:
    """The statistics of v2. Raises CgroupError, also where the cgroup is gone."""
    taken = time.monotonic_ns()
    files = _Files(path)
    found = Stats(
        taken_ns=taken,
        cpu=_cpu_v2(files),
        memory=_memory_v2(files),
        pids=_pids(files),
        io=_io_v2(files),
        hugetlb=_hugetlb_v2(files),
        rdma=_rdma(files),
        pressure=_pressure(files),
    )
    if found.cpu is None and found.memory is None and found.pids is None:
        _require({"": path})
    return found


def _require(paths: Mapping[str, str]) -> None:
    if not any(map(os.path.isdir, paths.values())):
        path = next(iter(paths.values()), "")
        raise CgroupError(path, "it is gone", errno=errno.ENOENT, hint="statistics end with delete()")


def _table(text: str) -> dict[str, int]:
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


# -- cpu --------------------------------------------------------------------------------------------------------------


@functools.cache
def _tick_ns() -> int:
    """What cpuacct.stat counts in."""
    return 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _cpu_v1(cpu: _Files, account: _Files) -> CpuStats | None:
    usage, held = account.number("cpuacct.usage"), cpu.text("cpu.stat")
    if usage is None and held is None:
        return None
    modes, table = account.table("cpuacct.stat"), _table(held or "")
    return CpuStats(
        usage_ns=usage or 0,
        user_ns=modes.get("user", 0) * _tick_ns(),
        system_ns=modes.get("system", 0) * _tick_ns(),
        periods=table.get("nr_periods", 0),
        throttled_periods=table.get("nr_throttled", 0),
        throttled_ns=table.get("throttled_time", 0),
        burst_periods=table.get("nr_bursts", 0),
        burst_ns=table.get("burst_time", 0),
    )


def _cpu_v2(files: _Files) -> CpuStats | None:
    table = files.table("cpu.stat")
    if not table:
        return None
    return CpuStats(
        usage_ns=table.get("usage_usec", 0) * 1000,
        user_ns=table.get("user_usec", 0) * 1000,
        system_ns=table.get("system_usec", 0) * 1000,
        periods=table.get("nr_periods", 0),
        throttled_periods=table.get("nr_throttled", 0),
        throttled_ns=table.get("throttled_usec", 0) * 1000,
        burst_periods=table.get("nr_bursts", 0),
        burst_ns=table.get("burst_usec", 0) * 1000,
    )


# -- memory -----------------------------------------------------------------------------------------------------------


def _memory_v1(files: _Files, oom_kills: Callable[[], int]) -> MemoryStats | None:
    usage = files.number("memory.usage_in_bytes")
    if usage is None:
        return None
    limit, both = files.limit("memory.limit_in_bytes"), files.limit("memory.memsw.limit_in_bytes")
    table = files.table("memory.stat")
    return MemoryStats(
        usage_bytes=usage,
        limit_bytes=limit,
        peak_bytes=files.number("memory.max_usage_in_bytes"),
        swap_bytes=table.get("total_swap", 0),
        swap_limit_bytes=None if both is None else both - (limit or 0),
        cache_bytes=table.get("total_cache", 0),
        inactive_file_bytes=table.get("total_inactive_file", 0),
        anonymous_bytes=table.get("total_rss", 0),
        kernel_bytes=files.number("memory.kmem.usage_in_bytes") or 0,
        limit_hits=files.number("memory.failcnt") or 0,
        oom_kills=oom_kills(),
        raw=table,
    )


def _memory_v2(files: _Files) -> MemoryStats | None:
    usage = files.number("memory.current")
    if usage is None:
        return None
    table, events = files.table("memory.stat"), files.text("memory.events") or ""
    return MemoryStats(
        usage_bytes=usage,
        limit_bytes=files.number("memory.max"),
        peak_bytes=files.number("memory.peak"),
        swap_bytes=files.number("memory.swap.current") or 0,
        swap_limit_bytes=files.number("memory.swap.max"),
        cache_bytes=table.get("file", 0),
        inactive_file_bytes=table.get("inactive_file", 0),
        anonymous_bytes=table.get("anon", 0),
        kernel_bytes=table.get("kernel", _kernel_of(table)),
        limit_hits=_table(events).get("max", 0),
        oom_kills=oom_kills_in(events),
        raw=table,
    )


def _kernel_of(table: Mapping[str, int]) -> int:
    """`kernel` of memory.stat, before Linux 5.18 added it up."""
    return sum(table.get(name, 0) for name in ("kernel_stack", "pagetables", "percpu", "vmalloc", "slab", "sock"))


# -- pids, io ---------------------------------------------------------------------------------------------------------


def _pids(files: _Files) -> PidsStats | None:
    current = files.number("pids.current")
    if current is None:
        return None
    return PidsStats(current=current, limit=files.number("pids.max"), refused=files.table("pids.events").get("max", 0))


def _io_v1(files: _Files) -> tuple[IoStats, ...]:
    """Lines such as `8:0 Read 4096`, and a total."""
    found: dict[tuple[int, int], dict[str, int]] = {}
    for file, read_name, write_name in (
        ("blkio.throttle.io_service_bytes", "read_bytes", "written_bytes"),
        ("blkio.throttle.io_serviced", "reads", "writes"),
    ):
        text = files.text(f"{file}_recursive")
        if text is None:  # before Linux 4.18 without cgroups below
            text = files.text(file) or ""
        names = {"Read": read_name, "Write": write_name}
        for line in text.splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in names:
                major, _, minor = words[0].partition(":")
                found.setdefault((int(major), int(minor)), {})[names[words[1]]] = int(words[2])
    return tuple(_device(number, counts) for number, counts in sorted(found.items()))


def _device(number: tuple[int, int], counts: Mapping[str, int]) -> IoStats:
    return IoStats(
        major=number[0],
        minor=number[1],
        read_bytes=counts.get("read_bytes", 0),
        written_bytes=counts.get("written_bytes", 0),
        reads=counts.get("reads", 0),
        writes=counts.get("writes", 0),
    )


def _io_v2(files: _Files) -> tuple[IoStats, ...]:
    """Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`."""
    names = {"rbytes": "read_bytes", "wbytes": "written_bytes", "rios": "reads", "wios": "writes"}
    found: list[IoStats] = []
    for line in (files.text("io.stat") or "").splitlines():
        place, *words = line.split()
        major, _, minor = place.partition(":")
        counts = {names[key]: int(value) for key, _, value in (word.partition("=") for word in words) if key in names}
        if counts:  # a device that went away leaves its numbers alone
            found.append(_device((int(major), int(minor)), counts))
    return tuple(sorted(found, key=lambda one: (one.major, one.minor)))


# -- huge pages, RDMA -------------------------------------------------------------------------------------------------


@functools.cache
def _page_sizes() -> tuple[str, ...]:
    """The sizes of huge pages that this machine has, as control files write them."""
    try:
        names = os.listdir("/sys/kernel/mm/hugepages")
    except OSError:
        return ()
    sizes: list[str] = []
    for kilobytes in sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in names):
        if kilobytes >= 1 << 20:
            sizes.append(f"{kilobytes >> 20}GB")
        else:
            sizes.append(f"{kilobytes >> 10}MB" if kilobytes >= 1 << 10 else f"{kilobytes}KB")
    return tuple(sizes)


def _hugetlb_v1(files: _Files) -> dict[str, HugetlbStats]:
    found: dict[str, HugetlbStats] = {}
    for size in _page_sizes():
        usage = files.number(f"hugetlb.{size}.usage_in_bytes")
        if usage is None:
            break  # one is there for each size, or none
        found[size] = HugetlbStats(
            usage_bytes=usage,
            reserved_bytes=files.number(f"hugetlb.{size}.rsvd.usage_in_bytes") or 0,
            limit_bytes=files.limit(f"hugetlb.{size}.limit_in_bytes"),
            peak_bytes=files.number(f"hugetlb.{size}.max_usage_in_bytes"),
            refused=files.number(f"hugetlb.{size}.failcnt") or 0,
        )
    return found


def _hugetlb_v2(files: _Files) -> dict[str, HugetlbStats]:
    found: dict[str, HugetlbStats] = {}
    for size in _page_sizes():
        usage = files.number(f"hugetlb.{size}.current")
        if usage is None:
            break
        found[size] = HugetlbStats(
            usage_bytes=usage,
            reserved_bytes=files.number(f"hugetlb.{size}.rsvd.current") or 0,
            limit_bytes=files.number(f"hugetlb.{size}.max"),
            peak_bytes=None,
            refused=files.table(f"hugetlb.{size}.events").get("max", 0),
        )
    return found


def _rdma(files: _Files) -> dict[str, RdmaStats]:
    """Lines such as `mlx4_0 hca_handle=2 hca_object=2000`, or `=max`; a device without a limit shows all the same."""
    limits = {name: words for name, *words in map(str.split, (files.text("rdma.max") or "").splitlines())}
    found: dict[str, RdmaStats] = {}
    for name, *words in map(str.split, (files.text("rdma.current") or "").splitlines()) if limits else ():
        used, most = _pairs(words), _pairs(limits.get(name, []))
        found[name] = RdmaStats(
            handles=used.get("hca_handle") or 0,
            objects=used.get("hca_object") or 0,
            handle_limit=most.get("hca_handle"),
            object_limit=most.get("hca_object"),
        )
    return found


def _pairs(words: list[str]) -> dict[str, int | None]:
    parts = (word.partition("=") for word in words)
    return {key: None if value == "max" else int(value) for key, _, value in parts}


# -- pressure ---------------------------------------------------------------------------------------------------------


def _pressure(files: _Files) -> PressureStats:
    return PressureStats(
        cpu=_stalls(files.text("cpu.pressure")),
        memory=_stalls(files.text("memory.pressure")),
        io=_stalls(files.text("io.pressure")),
    )


def _stalls(text: str | None) -> Stalls | None:
    """Lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`."""
    if not text:
        return None
    found: dict[str, Stall] = {}
    for line in text.splitlines():
        kind, *words = line.split()
        values = dict(word.split("=") for word in words)
        found[kind] = Stall(
            avg10=float(values["avg10"]),
            avg60=float(values["avg60"]),
            avg300=float(values["avg300"]),
            total_us=int(values["total"]),
        )
    return Stalls(some=found["some"], full=found.get("full")) if "some" in found else None
