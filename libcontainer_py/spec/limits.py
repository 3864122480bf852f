"""Rules for what a control group is to be set to: `linux.resources`, but for its devices.

A rule on several fields has the path of the section that they are in. What depends on the machine (which devices and
processors there are, which version of cgroups) the kernel says when it is applied. Source: config-linux.md, Control
groups; where only the kernel demands something, the rule says so.
"""

from __future__ import annotations

import re

from libcontainer_py.errors import Problem
from libcontainer_py.spec import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from libcontainer_py.spec.linux import CPU, BlockIO, HugepageLimit, Memory, Resources

_WEIGHTS = range(10, 1001)
"""blkio.weight, 0 is none. Source: cgroup-v1/blkio-controller.rst."""
_PAGE_SIZE = re.compile(r"[1-9][0-9]*[KMG]B", re.ASCII)
_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", re.ASCII)
_FILE = re.compile(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)+", re.ASCII)
_ACTS = frozenset(f"cgroup.{name}" for name in ("procs", "threads", "kill", "freeze", "type", "subtree_control"))
"""Files of v2 that set no limit, but do something to processes, which is the runtime's to do."""
_SWAPPINESS = range(101)
_UNSET_SWAPPINESS = 2**64 - 1  # -1, as some engines write it


SAYS_NOTHING = {
    "Memory": frozenset({"limit", "reservation", "swap", "kernel", "kernel_tcp"}),
    "CPU": frozenset({"shares", "quota", "period", "realtime_runtime", "realtime_period"}),
    "BlockIO": frozenset({"weight", "leaf_weight"}),
}
"""Fields of which 0 is as good as nothing, by class."""
_IS_SO_ANYWAY = {
    "Memory": frozenset({"disable_oom_killer", "check_before_update"}),
    "CPU": frozenset({"idle", "burst"}),
    "Network": frozenset({"class_id"}),
}
"""Fields of which 0 and false are what a new cgroup has."""


def asks_nothing(resources: Resources) -> bool:
    """Whether a new cgroup is as they want it, whatever they say of devices."""
    if resources.pids is not None and resources.pids.limit is not None:
        return False
    sections = (resources.memory, resources.cpu, resources.block_io, resources.network)
    lists = (resources.hugepage_limits, resources.rdma, resources.unified)
    return not any(lists) and not any(section is not None and _asks(section) for section in sections)


def _asks(section: codec.Node) -> bool:
    name = type(section).__name__
    passed = SAYS_NOTHING.get(name, frozenset[str]()) | _IS_SO_ANYWAY.get(name, frozenset[str]())
    for member in codec.tree(type(section)).plan():
        value: object = getattr(section, member.name)
        if value not in (None, "", ()) and not (value == 0 and member.name in passed):
            return True
    return False


def of_resources(resources: Resources, path: str) -> Iterator[Problem]:
    """Everything that is wrong with them; `path` is where they stand, such as `linux.resources`, or ""."""
    at = f"{path}." if path else ""
    if resources.memory is not None:
        yield from _memory(resources.memory, f"{at}memory")
    if resources.cpu is not None:
        yield from _cpu(resources.cpu, f"{at}cpu")
    if resources.block_io is not None:
        yield from _block_io(resources.block_io, f"{at}blockIO")
    yield from _pages(resources.hugepage_limits, f"{at}hugepageLimits")
    for index, one in enumerate(resources.network.priorities if resources.network else ()):
        if not _is_word(one.name):
            yield Problem(f"{at}network.priorities[{index}].name", "is no name of an interface", one.name)
    for name, rdma in resources.rdma.items():
        where = f'{at}rdma["{name}"]'
        if not _is_word(name):
            yield Problem(where, "is no name of a device", name)
        elif rdma.hca_handles is None and rdma.hca_objects is None:
            yield Problem(where, "needs hcaHandles or hcaObjects")
    for file in resources.unified:
        where = f'{at}unified["{file}"]'
        if not _FILE.fullmatch(file):
            yield Problem(where, "is no file of a cgroup", file, "such as memory.high")
        elif file in _ACTS:
            yield Problem(where, "is no setting: it acts on processes", file)


def _is_word(text: str) -> bool:
    """Whether it can stand before a number in a control file."""
    return text.split() == [text]


def _pages(limits: Iterable[HugepageLimit], path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, one in enumerate(limits):
        where = f"{path}[{index}].pageSize"
        if not _PAGE_SIZE.fullmatch(one.page_size):  # it is part of a file's name
            yield Problem(where, f"{one.page_size!r} is no size of a page", one.page_size, "such as 2MB or 1GB")
        elif one.page_size in seen:
            yield Problem(where, f"the size {one.page_size} is there twice", one.page_size)
        seen.add(one.page_size)


def _memory(memory: Memory, path: str) -> Iterator[Problem]:
    for name, value in (
        ("limit", memory.limit),
        ("reservation", memory.reservation),
        ("swap", memory.swap),
        ("kernel", memory.kernel),
        ("kernelTCP", memory.kernel_tcp),
    ):
        if value is not None and value < -1:
            yield Problem(f"{path}.{name}", f"{value} is no number of bytes", value, "-1 is no limit")
    limit, swap = memory.limit or 0, memory.swap or 0
    if swap > 0 and limit <= 0:
        # the kernel's (v1), and v2 would not know how much of it is swap
        yield Problem(path, "swap counts memory and swap together, so it needs a limit", swap, "set limit too")
    elif swap > 0 and swap < limit:
        yield Problem(path, f"swap counts memory and swap together, and {swap} is less than the limit", swap)
    swappiness = memory.swappiness
    if swappiness is not None and swappiness not in _SWAPPINESS and swappiness != _UNSET_SWAPPINESS:
        yield Problem(f"{path}.swappiness", f"{swappiness} is out of range (0 to 100)", swappiness)


def _cpu(cpu: CPU, path: str) -> Iterator[Problem]:
    for name, text in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        if text and not _LIST.fullmatch(text):
            yield Problem(f"{path}.{name}", f"{text!r} is no list of numbers", text, "such as 0-3,7")
    if cpu.idle not in (None, 0, 1):
        yield Problem(f"{path}.idle", f"{cpu.idle} is neither 0 nor 1", cpu.idle)
    elif cpu.idle and cpu.shares:
        # the kernel's: its weight is the least, and EINVAL is said to any other
        yield Problem(path, "an idle cgroup has no shares", cpu.shares, "leave out one of the two")
    if cpu.burst and cpu.quota and 0 < cpu.quota < cpu.burst:
        yield Problem(path, f"the burst, {cpu.burst}, is above the quota, {cpu.quota}", cpu.burst)


def _block_io(block_io: BlockIO, path: str) -> Iterator[Problem]:
    yield from _weight(f"{path}.weight", block_io.weight)
    yield from _weight(f"{path}.leafWeight", block_io.leaf_weight)
    for index, device in enumerate(block_io.weight_device):
        where = f"{path}.weightDevice[{index}]"
        yield from _numbers(where, device.major, device.minor)
        if device.weight is None and device.leaf_weight is None:
            yield Problem(where, "needs weight or leafWeight")
        yield from _weight(f"{where}.weight", device.weight)
        yield from _weight(f"{where}.leafWeight", device.leaf_weight)
    for name, devices in (
        ("throttleReadBpsDevice", block_io.throttle_read_bps_device),
        ("throttleWriteBpsDevice", block_io.throttle_write_bps_device),
        ("throttleReadIOPSDevice", block_io.throttle_read_iops_device),
        ("throttleWriteIOPSDevice", block_io.throttle_write_iops_device),
    ):
        for index, throttle in enumerate(devices):
            yield from _numbers(f"{path}.{name}[{index}]", throttle.major, throttle.minor)


def _weight(path: str, weight: int | None) -> Iterator[Problem]:
    if weight and weight not in _WEIGHTS:
        yield Problem(path, f"{weight} is out of range (10 to 1000)", weight)


def _numbers(path: str, major: int, minor: int) -> Iterator[Problem]:
    for name, value in (("major", major), ("minor", minor)):
        if value < 0:
            yield Problem(f"{path}.{name}", f"{value} is no device number", value)
