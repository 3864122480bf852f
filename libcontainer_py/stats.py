"""What a container used, and how it was held back: the same shape on cgroup v1, v2 and in memory.

Every number says its unit in its name: `_ns` nanoseconds, `_us` microseconds, `_bytes`; the others are counts. Counters
begin with the cgroup. A limit of None is none; a section of None says that its controller is not there.
"""

from __future__ import annotations

import attrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen(kw_only=True)
class CpuStats:
    """Time of processors, all of them together. Source: cpu.stat; on v1 cpuacct.usage and cpuacct.stat too."""

    usage_ns: int
    user_ns: int
    """In user mode; on v1 in steps of 10 ms, as is `system_ns`."""
    system_ns: int
    """In the kernel."""
    periods: int
    """Periods of cpu.period that it ran in, while it had a quota."""
    throttled_periods: int
    """Periods in which its quota was used up."""
    throttled_ns: int
    """How long it was held back then, added up over processors."""
    burst_periods: int
    burst_ns: int


@attrs.frozen(kw_only=True)
class MemoryStats:
    """Memory of the container and what is below it. Source: memory.stat and the files beside it."""

    usage_bytes: int
    """With its cache, and with what the kernel holds for it; without swap."""
    limit_bytes: int | None
    peak_bytes: int | None
    """The most that `usage_bytes` ever was; None where the kernel does not keep it (v2 before Linux 5.19)."""
    swap_bytes: int
    """Of swap alone, as is `swap_limit_bytes`."""
    swap_limit_bytes: int | None
    cache_bytes: int
    """Pages of files, tmpfs too."""
    inactive_file_bytes: int
    """Of the cache what can be given up first."""
    anonymous_bytes: int
    """What programs allocated."""
    kernel_bytes: int
    """What the kernel holds for it: stacks, page tables, sockets and the like."""
    limit_hits: int
    """How often the limit was reached; mostly something could be given up then."""
    oom_kills: int
    """How many processes were killed because nothing could."""
    raw: Mapping[str, int] = attrs.field(repr=False)
    """memory.stat as it stands, whose words differ from version to version."""

    @property
    def working_set_bytes(self) -> int:
        """Usage without what can be given up first: what counts towards being killed."""
        return max(0, self.usage_bytes - self.inactive_file_bytes)


@attrs.frozen(kw_only=True)
class PidsStats:
    """Tasks, that is processes and threads. Source: pids.current, pids.max, pids.events."""

    current: int
    limit: int | None
    refused: int
    """How often a fork failed because of the limit."""


@attrs.frozen(kw_only=True)
class IoStats:
    """What went to and from one block device. Source: io.stat; blkio.throttle.io_service_bytes and io_serviced."""

    major: int
    minor: int
    read_bytes: int
    written_bytes: int
    reads: int
    writes: int


@attrs.frozen(kw_only=True)
class HugetlbStats:
    """Huge pages of one size. Source: hugetlb.SIZE.*."""

    usage_bytes: int
    reserved_bytes: int
    """What was asked for and may not be in use yet; 0 where the kernel does not count it (before Linux 5.7)."""
    limit_bytes: int | None
    peak_bytes: int | None
    """The most that `usage_bytes` ever was; None on v2."""
    refused: int
    """How often there was none because of the limit."""


@attrs.frozen(kw_only=True)
class RdmaStats:
    """Resources of one RDMA device. Source: rdma.current, rdma.max."""

    handles: int
    objects: int
    handle_limit: int | None
    object_limit: int | None


@attrs.frozen(kw_only=True)
class Stall:
    """How long tasks waited for something. Source: Documentation/accounting/psi.rst."""

    avg10: float
    """Percent of the last 10 seconds."""
    avg60: float
    avg300: float
    total_us: int


@attrs.frozen(kw_only=True)
class Stalls:
    """Waiting for one thing."""

    some: Stall
    """At least one task waited."""
    full: Stall | None
    """All tasks did; None where the kernel does not say."""


@attrs.frozen(kw_only=True)
class PressureStats:
    """Waiting for processors, memory and disks; None where the kernel measures none of it for this cgroup.

    On a hybrid host it comes from the cgroup on v2; v1 alone has nothing of it.
    """

    cpu: Stalls | None
    memory: Stalls | None
    io: Stalls | None


@attrs.frozen(kw_only=True)
class Stats:
    """Everything at one moment."""

    taken_ns: int
    """When: CLOCK_MONOTONIC, to compare two of them."""
    cpu: CpuStats | None
    memory: MemoryStats | None
    pids: PidsStats | None
    io: tuple[IoStats, ...]
    """By device; those that saw nothing may be missing."""
    hugetlb: Mapping[str, HugetlbStats]
    """By the size of the pages: `2MB`, `1GB`."""
    rdma: Mapping[str, RdmaStats]
    """By the name of the device."""
    pressure: PressureStats


@attrs.frozen(kw_only=True)
class Sample:
    """Statistics, and what can be told only from two of them: what `Container.watch_stats()` gives."""

    stats: Stats
    seconds: float
    """Since the sample before."""
    cpu_percent: float | None
    """Of one processor in that time: 200 is two that did nothing else. None where processors are not counted."""


def sample(before: Stats, now: Stats) -> Sample:
    """What happened between two of them."""
    elapsed_ns = now.taken_ns - before.taken_ns
    percent = None
    if before.cpu is not None and now.cpu is not None and elapsed_ns > 0:
        percent = 100 * (now.cpu.usage_ns - before.cpu.usage_ns) / elapsed_ns
    return Sample(stats=now, seconds=elapsed_ns / 1e9, cpu_percent=percent)
