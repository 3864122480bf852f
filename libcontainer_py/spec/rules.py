"""Rules for how the program is scheduled, for kernel parameters, clocks, network devices and resctrl.

The words of these fields are those of the kernel's interfaces, so they come from `kernel.constants`. Source: config.md,
Scheduler and IO Priority; config-linux.md, Memory Policy, Personality, Sysctl, Offset for Time Namespace, Network
Devices, IntelRdt.
"""

from __future__ import annotations

from libcontainer_py.errors import Problem
from libcontainer_py.kernel import constants as c
from libcontainer_py.spec.shapes import byte_length, keyed, unfit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libcontainer_py.spec.config import Spec

_CLOCKS = ("monotonic", "boottime")
_OF_IPC = frozenset(
    "kernel/" + name for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split()
)
_KINDS = {"ipc": "an ipc", "network": "a network", "uts": "a uts", "user": "a user"}
_IO_PRIORITIES = range(8)
_NICE = range(-20, 20)
_MOST_NODES = 1024
_LONGEST_NUMBER = 9
_MOST_PROCESSORS = 65536  # runc's limit; Linux is built for 8192 at the most
_LONGEST_DEVICE = 15  # IFNAMSIZ, with the NUL at its end
_OF_RESCTRL = frozenset({".", "..", "info", "mon_data", "mon_groups"})
"""Names in resctrl that are no control group's. Source: Documentation/filesystems/resctrl.rst."""


def of_time(spec: Spec) -> Iterator[Problem]:
    """Offsets are for the two clocks that a time namespace has, and for a namespace of the container's own."""
    if spec.linux is None or not spec.linux.time_offsets:
        return
    if not any(one.type == "time" and not one.path for one in spec.linux.namespaces):
        hint = 'add {"type": "time"} to linux.namespaces'
        yield Problem("linux.timeOffsets", "needs a time namespace of the container's own", hint=hint)
    for clock in spec.linux.time_offsets:
        if clock not in _CLOCKS:
            yield Problem(
                f'linux.timeOffsets["{clock}"]', "is no clock of a time namespace", clock, "monotonic or boottime"
            )


def of_scheduling(spec: Spec) -> Iterator[Problem]:
    """Words that these fields do not know, and numbers out of their ranges."""
    process, linux = spec.process, spec.linux
    if process is not None and process.scheduler is not None:
        scheduler = process.scheduler
        yield from _word("process.scheduler.policy", scheduler.policy, c.SCHED_POLICIES)
        for index, flag in enumerate(scheduler.flags):
            yield from _word(f"process.scheduler.flags[{index}]", flag, c.SCHED_FLAGS)
        if scheduler.nice not in _NICE:
            yield Problem("process.scheduler.nice", "is from -20 to 19", scheduler.nice)
        yield from _scheduler_rules(scheduler.policy, scheduler.priority, scheduler.runtime)
    if process is not None and process.io_priority is not None:
        yield from _word("process.ioPriority.class", process.io_priority.class_, c.IOPRIO_CLASSES)
        if process.io_priority.priority not in _IO_PRIORITIES:
            yield Problem("process.ioPriority.priority", "is from 0 to 7", process.io_priority.priority)
    if process is not None and process.exec_cpu_affinity is not None:
        for name in ("initial", "final"):
            text: str = getattr(process.exec_cpu_affinity, name) or ""
            if processors_of(text) is None:
                yield Problem(f"process.execCPUAffinity.{name}", "is no list of processors, such as 0-3,7", text)
    if linux is not None and linux.memory_policy is not None:
        yield from _word("linux.memoryPolicy.mode", linux.memory_policy.mode, c.MEMORY_POLICIES)
        for index, flag in enumerate(linux.memory_policy.flags):
            yield from _word(f"linux.memoryPolicy.flags[{index}]", flag, c.MEMORY_POLICY_FLAGS)
        if nodes_of(linux.memory_policy.nodes or "") is None:
            reason = "is no list of nodes, such as 0-3,7"
            yield Problem("linux.memoryPolicy.nodes", reason, linux.memory_policy.nodes)
    if linux is not None and linux.personality is not None:
        yield from _word("linux.personality.domain", linux.personality.domain, c.PERSONALITIES)
        if linux.personality.flags:
            yield Problem("linux.personality.flags", "the specification defines none", list(linux.personality.flags))


def _word(path: str, word: str, known: Mapping[str, int]) -> Iterator[Problem]:
    if word not in known:
        yield Problem(path, f"{word!r} is unknown", word, f"one of {', '.join(known)}")


def _scheduler_rules(policy: str, priority: int, runtime: int) -> Iterator[Problem]:
    if priority and policy not in ("SCHED_FIFO", "SCHED_RR"):
        yield Problem("process.scheduler.priority", "is for SCHED_FIFO and SCHED_RR alone", priority)
    if runtime and policy != "SCHED_DEADLINE":
        yield Problem("process.scheduler.runtime", "is for SCHED_DEADLINE alone", runtime)


def of_sysctl(spec: Spec) -> Iterator[Problem]:
    """Parameters that belong to no namespace of the container's, and names that lead elsewhere."""
    if spec.linux is None:
        return
    kinds = {namespace.type for namespace in spec.linux.namespaces}
    for name, value in spec.linux.sysctl.items():
        where = f'linux.sysctl["{name}"]'
        path = sysctl_path(name)
        needed = _namespace_of(path)
        if not all(part and part not in (".", "..") for part in path.split("/")) or "\0" in path:
            yield Problem(where, "is no name of a kernel parameter", value)
        elif path == "kernel/hostname":
            yield Problem(where, "would contradict hostname", value, "set hostname instead")
        elif needed is None:
            yield Problem(where, "belongs to no namespace: it would change the host", value)
        elif needed not in kinds:
            yield Problem(where, f"needs {_KINDS[needed]} namespace of the container's own", value)


def sysctl_path(name: str) -> str:
    """The path below /proc/sys. With a slash before any dot slashes separate, else dots. Source: sysctl.d(5)."""
    dot, slash = name.find("."), name.find("/")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name
    return name.translate({ord("."): "/", ord("/"): "."})


def _namespace_of(path: str) -> str | None:
    if path in _OF_IPC or path.startswith("fs/mqueue/"):
        return "ipc"
    if path.startswith("net/"):
        return "network"
    if path.startswith("user/"):
        return "user"
    return "uts" if path == "kernel/domainname" else None


def nodes_of(text: str) -> tuple[int, ...] | None:
    """The numbers of a list of memory nodes such as `0-3,7`; None where it is none."""
    return _numbers(text, _MOST_NODES)


def processors_of(text: str) -> tuple[int, ...] | None:
    """The numbers of a list of processors such as `0-3,7`; None where it is none."""
    return _numbers(text, _MOST_PROCESSORS)


def _numbers(text: str, most: int) -> tuple[int, ...] | None:
    """The numbers, each below `most`, of a list such as `0-3,7`; None where it is none. Source: cpuset(7), Formats."""
    numbers: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            return None
        end = int(last) if dash else int(first)
        if not int(first) <= end < most:
            return None
        numbers.update(range(int(first), end + 1))
    return tuple(sorted(numbers))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER


def of_network(spec: Spec) -> Iterator[Problem]:
    """Devices to move: their names here and there, and a namespace to move them to."""
    if spec.linux is None or not spec.linux.net_devices:
        return
    if not any(one.type == "network" for one in spec.linux.namespaces):
        hint = 'add {"type": "network"} to linux.namespaces'
        yield Problem("linux.netDevices", "needs a network namespace of the container's own", hint=hint)
    taken: set[str] = set()
    for name, device in spec.linux.net_devices.items():
        where = keyed("linux.netDevices", name)
        there = device.name or name
        path = f"{where}.name" if device.name else where
        if not _is_device(name) or "%" in name:
            yield Problem(where, "is no name of a network device", name, _DEVICE_NAMES)
        elif device.name and not _is_device(there):
            yield Problem(path, "is no name of a network device", there, _DEVICE_NAMES)
        elif "lo" in (name, there):
            reason = "the loopback device cannot be moved" if name == "lo" else "is the name of the loopback device"
            yield Problem(where if name == "lo" else path, reason, there)
        elif there in taken:
            yield Problem(path, f"another device is to be {there!r} too", there, "a name with %d is made unique")
        if "%" not in there:
            taken.add(there)


_DEVICE_NAMES = f"1 to {_LONGEST_DEVICE} bytes without blanks, / and :; a new name may have one %d"


def _is_device(name: str) -> bool:
    """As the kernel sees it: dev_valid_name() and __dev_alloc_name() of net/core/dev.c."""
    if not 0 < byte_length(name) <= _LONGEST_DEVICE or name in (".", "..") or unfit(name):
        return False
    return not any(letter in "/:" or letter.isspace() for letter in name) and name.count("%") == name.count("%d") < 2


def of_resctrl(spec: Spec) -> Iterator[Problem]:
    """Names and lines that resctrl cannot have, or that the specification rules out."""
    if spec.linux is None or spec.linux.intel_rdt is None:
        return
    rdt, path = spec.linux.intel_rdt, "linux.intelRdt"
    clos = rdt.clos_id
    if clos is not None and clos != "/" and ("/" in clos or "\n" in clos or clos in _OF_RESCTRL):
        yield Problem(f"{path}.closID", "is no name of a control group", clos, "one directory's name, or / alone")
    if rdt.mem_bw_schema is not None and not rdt.mem_bw_schema.startswith("MB:"):
        yield Problem(f"{path}.memBwSchema", "must begin with MB:", rdt.mem_bw_schema, "as in MB:0=20;1=70")
    lines = [(f"schemata[{index}]", line) for index, line in enumerate(rdt.schemata)]
    for name, line in [("memBwSchema", rdt.mem_bw_schema or ""), *lines]:
        if "\n" in line:
            yield Problem(f"{path}.{name}", "must be one line", line)
