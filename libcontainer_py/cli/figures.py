"""events: what a container uses, and when its memory ran out, as lines of JSON in runc's layout."""

from __future__ import annotations

import sys
import time

from libcontainer_py import ContainerError, ContainerTimeout, Exited, OutOfMemory, Status
from libcontainer_py.cli import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py import Container, HugetlbStats, IoStats, Stall, Stalls, Stats
    from libcontainer_py.cli.flags import Parsed
    from libcontainer_py.cli.settings import Settings

_NO_SIZE = 9223372036854771712
"""What cgroup v1 says where memory is not limited, and so does runc."""


def events(settings: Settings, parsed: Parsed) -> int:
    """Print statistics every --interval until it ends, and each time that its memory ran out; or --stats once."""
    container = settings.load(parsed.words)
    interval = parsed.seconds("interval")
    if interval <= 0:
        raise ValueError("duration interval must be greater than 0")
    if container.status is Status.STOPPED:
        raise ValueError(f"container with id {container.id} is not running")
    if parsed.on("stats"):
        _print(container, "stats", document(container.stats()))
    else:
        _follow(settings, container, interval)
    return 0


def _follow(settings: Settings, container: Container, interval: float) -> None:
    due = time.monotonic() + interval
    with container.events() as stream:
        while True:
            try:
                event = stream.next(timeout=max(0.0, due - time.monotonic()))
            except ContainerTimeout:
                event = None
            if isinstance(event, Exited):
                return
            if isinstance(event, OutOfMemory):
                _print(container, "oom", None)
            if time.monotonic() >= due:
                due += interval
                try:
                    _print(container, "stats", document(container.stats()))
                except ContainerError as error:
                    settings.log.failed(str(error))  # and on, as runc does: it ends with the container


def _print(container: Container, kind: str, data: object) -> None:
    event: dict[str, object] = {"type": kind, "id": container.id}
    if data is not None:
        event["data"] = data
    sys.stdout.write(text.line(event))
    sys.stdout.flush()


def document(stats: Stats) -> dict[str, object]:
    """Statistics in runc's layout. What it leaves out where it is 0, is left out. Source: runc, types/events.go."""
    return {
        "cpu": _cpu(stats),
        "cpuset": {
            "cpu_exclusive": 0,
            "mem_hardwall": 0,
            "mem_exclusive": 0,
            "memory_migrate": 0,
            "memory_spread_page": 0,
            "memory_spread_slab": 0,
            "memory_pressure": 0,
            "sched_load_balance": 0,
            "sched_relax_domain_level": 0,
        },
        "memory": _memory(stats),
        "pids": {} if stats.pids is None else _some({"current": stats.pids.current, "limit": stats.pids.limit}),
        "blkio": _blkio(stats.io, stats.pressure.io),
        "hugetlb": {size: _hugetlb(one) for size, one in stats.hugetlb.items()},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _some(values: Mapping[str, object]) -> dict[str, object]:
    """Those that say something: omitempty."""
    return {key: value for key, value in values.items() if value}


def _cpu(stats: Stats) -> dict[str, object]:
    cpu = stats.cpu
    if cpu is None:
        return {"usage": {"kernel": 0, "user": 0}, "throttling": {}}
    usage = {**_some({"total": cpu.usage_ns}), "kernel": cpu.system_ns, "user": cpu.user_ns}
    throttling = _some(
        {
            "periods": cpu.periods,
            "throttledPeriods": cpu.throttled_periods,
            "throttledTime": cpu.throttled_ns,
        }
    )
    return {"usage": usage, "throttling": throttling, **_psi(stats.pressure.cpu)}


def _memory(stats: Stats) -> dict[str, object]:
    memory = stats.memory
    if memory is None:
        return {}
    return {
        **_some({"cache": memory.cache_bytes}),
        "usage": _entry(memory.usage_bytes, memory.limit_bytes, memory.peak_bytes, memory.limit_hits),
        "swap": _entry(memory.swap_bytes, memory.swap_limit_bytes, None, 0),
        "kernel": _entry(memory.kernel_bytes, None, None, 0),
        "kernelTCP": _entry(0, None, None, 0),
        **_some({"raw": dict(memory.raw)}),
        **_psi(stats.pressure.memory),
    }


def _entry(usage: int, limit: int | None, peak: int | None, hits: int) -> dict[str, object]:
    return {
        "limit": _NO_SIZE if limit is None else limit,
        **_some({"usage": usage, "max": peak}),
        "failcnt": hits,
    }


def _blkio(devices: tuple[IoStats, ...], stalls: Stalls | None) -> dict[str, object]:
    sizes = [entry for one in devices for entry in _both(one, one.read_bytes, one.written_bytes)]
    counts = [entry for one in devices for entry in _both(one, one.reads, one.writes)]
    return {**_some({"ioServiceBytesRecursive": sizes, "ioServicedRecursive": counts}), **_psi(stalls)}


def _both(device: IoStats, reads: int, writes: int) -> list[dict[str, object]]:
    return [
        _some({"major": device.major, "minor": device.minor, "op": word, "value": value})
        for word, value in (("Read", reads), ("Write", writes))
    ]


def _hugetlb(one: HugetlbStats) -> dict[str, object]:
    return {**_some({"usage": one.usage_bytes, "max": one.peak_bytes}), "failcnt": one.refused}


def _psi(stalls: Stalls | None) -> dict[str, object]:
    if stalls is None:
        return {}
    return {"psi": {"some": _stall(stalls.some), **({} if stalls.full is None else {"full": _stall(stalls.full)})}}


def _stall(one: Stall) -> dict[str, object]:
    return {"avg10": one.avg10, "avg60": one.avg60, "avg300": one.avg300, "total": one.total_us}
