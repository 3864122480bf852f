"""Shares of the processors, bandwidth and realtime.

Source: cgroup-v2.rst, CPU; Documentation/scheduler/sched-bwc.rst and sched-rt-group.rst.
"""

from __future__ import annotations

import errno

from libcontainer_py.kernel import weights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.cgroups.control import Controller
    from libcontainer_py.spec import CPU

_BANDWIDTH = {
    errno.EINVAL: "quota is 1000 or more, period from 1000 to 1000000, burst not above quota, and quota in proportion "
    "to period not above that of the cgroups above",
    errno.ENOENT: "bursts are known since Linux 5.14",
}
_REALTIME = {
    errno.EINVAL: "runtime is not above period, and each cgroup above needs as much in its cpu.rt_runtime_us to give",
    errno.ENOENT: "this kernel has no realtime groups (CONFIG_RT_GROUP_SCHED)",
}
_IDLE = {errno.EINVAL: "an idle cgroup has no shares: set cpu.idle to 0 with them"}
_UNKNOWN_IDLE = {errno.ENOENT: "cgroups can be idle since Linux 5.15"}


def apply_v1(at: Controller, cpu: CPU) -> None:
    """cpu.shares, cpu.idle, cpu.cfs_* and cpu.rt_*."""
    _leave_idle(at, cpu)
    if cpu.shares:
        at.write("cpu.shares", "cpu.shares", cpu.shares, hints=_IDLE)
        found = at.number("cpu.shares")
        if found != cpu.shares:  # the kernel brings it into its range, and says nothing
            raise at.refusal("cpu.shares", cpu.shares, f"the kernel took {found} instead", hint="2 to 262144")
    orders: list[tuple[str, str, object]] = []
    if cpu.period:
        orders.append(("cpu.period", "cpu.cfs_period_us", cpu.period))
    if _has_burst(at, cpu, "cpu.cfs_burst_us"):
        orders.append(("cpu.burst", "cpu.cfs_burst_us", cpu.burst))
    if cpu.quota:
        orders.append(("cpu.quota", "cpu.cfs_quota_us", max(cpu.quota, -1)))
    at.write_together(*orders, hints=_BANDWIDTH)
    realtime: list[tuple[str, str, object]] = []
    if cpu.realtime_period:
        realtime.append(("cpu.realtimePeriod", "cpu.rt_period_us", cpu.realtime_period))
    if cpu.realtime_runtime:
        realtime.append(("cpu.realtimeRuntime", "cpu.rt_runtime_us", cpu.realtime_runtime))
    at.write_together(*realtime, hints=_REALTIME)
    _become_idle(at, cpu)


def apply_v2(at: Controller, cpu: CPU) -> None:
    """cpu.weight, cpu.idle, cpu.max and cpu.max.burst. Realtime groups are of v1 alone."""
    for field, value in (("realtimePeriod", cpu.realtime_period), ("realtimeRuntime", cpu.realtime_runtime)):
        if value:
            raise at.refusal(
                f"cpu.{field}",
                value,
                "cgroup v2 has no realtime groups",
                hint="leave it out",
                number=errno.EOPNOTSUPP,
            )
    _leave_idle(at, cpu)
    if cpu.shares:
        at.write("cpu.shares", "cpu.weight", weights.cpu_weight(cpu.shares), hints=_IDLE)
    orders: list[tuple[str, str, object]] = []
    if _has_burst(at, cpu, "cpu.max.burst"):
        orders.append(("cpu.burst", "cpu.max.burst", cpu.burst))
    if cpu.quota or cpu.period:
        field = "cpu.quota" if cpu.quota else "cpu.period"
        orders.append((field, "cpu.max", _bandwidth(at, cpu)))
    at.write_together(*orders, hints=_BANDWIDTH)
    _become_idle(at, cpu)


def _bandwidth(at: Controller, cpu: CPU) -> str:
    """`QUOTA PERIOD`; what is not given stays: of a quota without a period the kernel sees to that itself."""
    if cpu.quota:
        quota = str(cpu.quota) if cpu.quota > 0 else "max"
    else:
        quota = at.read("cpu.max").split()[0] if at.has("cpu.max") else "max"
    return f"{quota} {cpu.period}" if cpu.period else quota


def _has_burst(at: Controller, cpu: CPU, file: str) -> bool:
    """Whether there is a burst to write; none is what kernels have that know no bursts."""
    return cpu.burst is not None and (cpu.burst > 0 or at.has(file))


def _leave_idle(at: Controller, cpu: CPU) -> None:
    """Before the shares, which the kernel takes of no idle group."""
    if cpu.idle == 0 and at.has("cpu.idle"):
        at.write("cpu.idle", "cpu.idle", 0)


def _become_idle(at: Controller, cpu: CPU) -> None:
    if cpu.idle:
        at.write("cpu.idle", "cpu.idle", cpu.idle, hints=_UNKNOWN_IDLE)
