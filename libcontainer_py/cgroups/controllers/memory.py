"""Limits of memory and swap.

Source: cgroup-v1/memory.rst; cgroup-v2.rst, Memory; config-linux.md, Memory.
"""

from __future__ import annotations

import errno
import os

from libcontainer_py.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.cgroups.control import Controller
    from libcontainer_py.spec import Memory

_LIMIT = "memory.limit_in_bytes"
_SWAP = "memory.memsw.limit_in_bytes"
_NO_SWAP_LIMIT = {errno.ENOENT: "this kernel does not account swap: boot with swapaccount=1, or leave memory.swap out"}
_ONLY_V1 = "cgroup v2 has no such setting"
_UNSET_SWAPPINESS = 2**64 - 1
"""-1 as Go writes it into an unsigned number: engines did so for what was not asked for."""


def apply_v1(at: Controller, memory: Memory) -> None:
    """memory.limit_in_bytes and the other files of v1. A limit without one for swap is one for both together."""
    _set_hierarchy(at, memory)
    _set_limits_v1(at, memory)
    if memory.reservation:
        at.write("memory.reservation", "memory.soft_limit_in_bytes", memory.reservation)
    _set_kernel_v1(at, memory)
    if memory.disable_oom_killer is not None:
        _set_oom_killer(at, disabled=memory.disable_oom_killer)
    if memory.swappiness not in (None, _UNSET_SWAPPINESS):
        at.write("memory.swappiness", "memory.swappiness", memory.swappiness)


def apply_v2(at: Controller, memory: Memory) -> None:
    """memory.max, memory.swap.max and memory.low; what only v1 has is refused, unless it asks for nothing."""
    for field, value, nothing in (
        ("kernel", memory.kernel, (None, 0, -1)),
        ("kernelTCP", memory.kernel_tcp, (None, 0, -1)),
        ("swappiness", memory.swappiness, (None, _UNSET_SWAPPINESS)),
        ("disableOOMKiller", memory.disable_oom_killer, (None, False)),
        ("useHierarchy", memory.use_hierarchy, (None, True)),
    ):
        if value not in nothing:
            raise at.refusal(f"memory.{field}", value, _ONLY_V1, hint="leave it out", number=errno.EOPNOTSUPP)
    if memory.check_before_update:
        _check_usage(at, memory)
    limit, swap = memory.limit or 0, memory.swap or 0
    if swap > 0:
        at_most = swap - limit
        if at_most or not _is_without_swap(at, "memory.swap.max"):
            at.write("memory.swap", "memory.swap.max", at_most, hints=_NO_SWAP_LIMIT)
    elif (swap or limit) and (at.has("memory.swap.max") or not at.has("memory.max")):
        # -1 is no limit for either; and without one for swap memory shall not grow into it
        field = "memory.swap" if swap else "memory.limit"
        at.write(field, "memory.swap.max", "max" if swap < 0 or limit < 0 else 0)
    if limit:
        at.write("memory.limit", "memory.max", _or_max(limit))
    if memory.reservation:
        at.write("memory.reservation", "memory.low", _or_max(memory.reservation))


def _or_max(limit: int) -> str:
    return str(limit) if limit > 0 else "max"


def _is_without_swap(at: Controller, file: str) -> bool:
    """Whether the kernel can swap nothing at all, so that there is nothing to limit."""
    return not at.has(file) and not os.path.exists("/proc/swaps")


def _check_usage(at: Controller, memory: Memory) -> None:
    """Refuse what is lower than what is used: v2 would kill for it. Source: config-linux.md, checkBeforeUpdate."""
    for field, limit in (("memory.limit", memory.limit or 0), ("memory.swap", memory.swap or 0)):
        if limit > 0 and at.has("memory.current"):
            usage = at.number("memory.current")
            if limit <= usage:
                raise at.refusal(field, limit, f"{usage} bytes are in use", number=errno.EBUSY)


def _set_limits_v1(at: Controller, memory: Memory) -> None:
    """Both limits, in an order in which memory's is never above that of memory and swap together."""
    limit, swap = memory.limit or 0, memory.swap or 0
    if limit and not swap and at.has(_SWAP):
        swap = limit
        swap_field = "memory.limit"
    else:
        swap_field = "memory.swap"
    if swap == limit and _is_without_swap(at, _SWAP):
        swap = 0
    if swap and (swap < 0 or not limit or swap >= at.number(_LIMIT)):
        _write_swap(at, swap_field, swap)
        swap = 0
    if limit:
        _write_limit(at, limit)
    if swap:
        _write_swap(at, swap_field, swap)


def _write_limit(at: Controller, limit: int) -> None:
    try:
        at.write("memory.limit", _LIMIT, max(limit, -1), hints={errno.EINVAL: "is it above memory.swap as it is now?"})
    except CgroupError as error:
        if error.errno != errno.EBUSY:
            raise
        # as much could not be reclaimed
        usage, peak = at.number("memory.usage_in_bytes"), at.number("memory.max_usage_in_bytes")
        reason = f"{usage} bytes are in use, and were {peak} at most"
        raise at.refusal("memory.limit", limit, reason, number=errno.EBUSY) from error


def _write_swap(at: Controller, field: str, swap: int) -> None:
    hints = {**_NO_SWAP_LIMIT, errno.EINVAL: "it counts memory and swap together: memory.limit or more"}
    at.write(field, _SWAP, max(swap, -1), hints=hints)


def _set_kernel_v1(at: Controller, memory: Memory) -> None:
    if memory.kernel and memory.kernel > 0:
        file = "memory.kmem.limit_in_bytes"
        at.write("memory.kernel", file, memory.kernel)
        if not 0 <= at.number(file) <= memory.kernel:  # it takes any number and does nothing
            reason = "this kernel limits no kernel memory by itself"
            hint = "Linux 5.16 removed it: leave it out"
            raise at.refusal("memory.kernel", memory.kernel, reason, hint=hint, number=errno.EOPNOTSUPP)
    if memory.kernel_tcp:
        at.write("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", max(memory.kernel_tcp, -1))


def _set_hierarchy(at: Controller, memory: Memory) -> None:
    if memory.use_hierarchy is None:
        return
    wanted = int(memory.use_hierarchy)
    if not at.has("memory.use_hierarchy") or at.number("memory.use_hierarchy") != wanted:
        hint = "since Linux 5.11 memory counts for the cgroups above too, always: leave it out"
        at.write("memory.useHierarchy", "memory.use_hierarchy", wanted, hints={errno.EINVAL: hint})


def _set_oom_killer(at: Controller, *, disabled: bool) -> None:
    """memory.oom_control shows several lines, and takes one number."""
    file = "memory.oom_control"
    known = at.has(file) and "oom_kill_disable 1\n" in at.read(file)
    if disabled != known:
        at.write("memory.disableOOMKiller", file, int(disabled), before=str(int(known)))
