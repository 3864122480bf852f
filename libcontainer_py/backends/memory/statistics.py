"""Statistics of a cgroup in memory: what is modelled there has its numbers, and nothing else has any but 0."""

from __future__ import annotations

from libcontainer_py.stats import (
    CpuStats,
    HugetlbStats,
    MemoryStats,
    PidsStats,
    PressureStats,
    RdmaStats,
    Stats,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.backends.memory.processes import MemoryCgroup, MemoryProcess
    from libcontainer_py.spec import Memory, Resources


def stats(cgroup: MemoryCgroup, members: list[MemoryProcess], now: float) -> Stats:
    """Those of a cgroup that these processes are in, `now` in seconds of the virtual clock."""
    resources = cgroup.resources
    used = int((cgroup.cpu_seconds + sum(one.cpu_seconds for one in members)) * 1e9)
    return Stats(
        taken_ns=int(now * 1e9),
        cpu=CpuStats(
            usage_ns=used,
            user_ns=used,
            system_ns=0,
            periods=0,
            throttled_periods=0,
            throttled_ns=int(cgroup.throttled * 1e9),
            burst_periods=0,
            burst_ns=0,
        ),
        memory=_memory(None if resources is None else resources.memory, cgroup, sum(one.memory for one in members)),
        pids=PidsStats(current=len(members), limit=_pids_limit(resources), refused=cgroup.refused),
        io=(),
        hugetlb={
            one.page_size: HugetlbStats(
                usage_bytes=0, reserved_bytes=0, limit_bytes=one.limit, peak_bytes=None, refused=0
            )
            for one in (resources.hugepage_limits if resources is not None else ())
        },
        rdma={
            name: RdmaStats(handles=0, objects=0, handle_limit=one.hca_handles, object_limit=one.hca_objects)
            for name, one in (resources.rdma.items() if resources is not None else ())
        },
        pressure=PressureStats(cpu=None, memory=None, io=None),
    )


def _memory(memory: Memory | None, cgroup: MemoryCgroup, used: int) -> MemoryStats:
    limit, swap = (0, 0) if memory is None else (memory.limit or 0, memory.swap or 0)
    return MemoryStats(
        usage_bytes=used,
        limit_bytes=limit if limit > 0 else None,
        peak_bytes=cgroup.peak_memory,
        swap_bytes=0,
        # without a limit of its own, swap is bound together with memory
        swap_limit_bytes=None if limit <= 0 or swap < 0 else max(0, swap - limit),
        cache_bytes=0,
        inactive_file_bytes=0,
        anonymous_bytes=used,
        kernel_bytes=0,
        limit_hits=cgroup.ooms,
        oom_kills=cgroup.oom_kills,
        raw={},
    )


def _pids_limit(resources: Resources | None) -> int | None:
    if resources is None or resources.pids is None or resources.pids.limit is None or resources.pids.limit < 0:
        return None
    return resources.pids.limit
