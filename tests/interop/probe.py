"""What a process can find out about itself and about its container, as JSON on its standard output.

The program of the containers in test_differential.py. It needs an interpreter and nothing else: no package, and of the
container's files what is asked for. Each look is taken by itself, and where the kernel refuses, the errno is what was
seen. Its argument is JSON: `hidden`, `readonly`: paths that are to be tried; `trees`: directories.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import json
import os
import resource
import socket
import stat
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

# numbers of system calls: those of x86_64, and those of the generic table (aarch64, riscv64)
_KEYCTL, _IOPRIO_GET, _GET_MEMPOLICY, _SCHED_GETATTR = (
    (250, 252, 239, 315) if os.uname().machine == "x86_64" else (219, 31, 236, 275)
)
_SESSION_KEYRING, _DESCRIBE = -3, 6
_SIOCGIFFLAGS = 0x8913
_FORKNOEXEC = 0x40
_SCHED_DEADLINE = 6
_EACH_TIME_ANOTHER = (  # lines of /proc/self/status
    "Name Pid PPid Tgid Ngid FDSize NSpid NSpgid NSsid NStgid SigQ voluntary_ctxt_switches nonvoluntary_ctxt_switches"
).split()
_SYSCTLS = (
    *("kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax"),
    *("kernel/shmmni", "kernel/shm_rmid_forced", "kernel/hostname", "kernel/domainname", "fs/mqueue/msg_max"),
    *("fs/mqueue/msgsize_max", "fs/mqueue/queues_max", "net/ipv4/ip_forward", "net/ipv4/ip_unprivileged_port_start"),
    *("net/ipv4/ping_group_range", "net/core/somaxconn", "net/ipv4/conf/lo/forwarding", "user/max_user_namespaces"),
)
_LIMITS = (
    *("cpu/cpu.shares", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us", "cpu/cpu.rt_runtime_us", "cpu/cpu.idle"),
    *("cpuset/cpuset.cpus", "cpuset/cpuset.mems", "pids/pids.max", "devices/devices.list", "blkio/blkio.weight"),
    *(f"memory/memory.{one}" for one in ("limit_in_bytes", "soft_limit_in_bytes", "memsw.limit_in_bytes")),
    *(f"memory/memory.{one}" for one in ("swappiness", "oom_control", "kmem.tcp.limit_in_bytes", "use_hierarchy")),
    *(f"blkio/blkio.throttle.{way}_{unit}_device" for way in ("read", "write") for unit in ("bps", "iops")),
)
_CONTROLS = {  # of prctl(2), those that report a state
    "pdeathsig": 2,
    "dumpable": 3,
    "keepcaps": 7,
    "timing": 13,
    "seccomp": 21,
    "securebits": 27,
    "timerslack": 30,
    "mce_kill": 34,
    "subreaper": 37,
    "no_new_privs": 39,
    "thp_disable": 42,
}
_BY_POINTER = ("pdeathsig", "subreaper")
_NODES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "fuse", "net/tun")
_OF_THE_PROBE = "made by the probe"


def look(what: Callable[..., Any], *arguments: object) -> Any:
    """What was seen, or the errno's name."""
    try:
        return what(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "unknown error")


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def words(path: str) -> list[str]:
    return read(path).split()


def syscall(number: int, *arguments: object) -> int:
    result = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "syscall")
    return int(result)


# -- the process ------------------------------------------------------------------------------------------------------


def status() -> dict[str, Any]:
    found = {name: value.strip() for name, _, value in map(_parted, read("/proc/self/status").splitlines())}
    depth = {name: len(found[name].split()) for name in ("NSpid", "NSpgid", "NSsid") if name in found}
    kept = (name for name in found if not name.startswith(("Vm", "Rss", "Hugetlb")) and name not in _EACH_TIME_ANOTHER)
    return {name: found[name] for name in kept} | depth


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def family() -> dict[str, Any]:
    """How pid, group, session, parent and terminal relate; the numbers of a host's pid namespace say nothing."""
    rest = read("/proc/self/stat").rpartition(")")[2].split()
    parent, group, session, terminal, foreground, flags = rest[1:7]
    me = str(os.getpid())
    return {
        "is pid 1": me == "1",
        "parent": parent if me == "1" else parent != "0",
        "leads its group": group == me,
        "leads its session": session == me,
        "terminal": (terminal, foreground),
        "never executed": int(flags) & _FORKNOEXEC,
        "exit signal": rest[35],
        "name": words("/proc/self/comm"),
        "executable": os.readlink("/proc/self/exe"),
    }


def limits() -> dict[str, Any]:
    return {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}


def scheduling() -> dict[str, Any]:
    attributes = ctypes.create_string_buffer(56)
    syscall(_SCHED_GETATTR, ctypes.c_int(0), attributes, ctypes.c_uint(56), ctypes.c_uint(0))
    _, policy, flags, nice, priority, runtime, deadline, period = struct.unpack_from("=IIQiIQQQ", attributes)
    return {
        "policy": (policy, flags, nice, priority),
        "deadline": (runtime, deadline, period) if policy == _SCHED_DEADLINE else (),  # else it may be the slice
        "cpus": sorted(os.sched_getaffinity(0)),
        "io": syscall(_IOPRIO_GET, ctypes.c_int(1), ctypes.c_int(0)),
        "memory": look(_memory_policy),
    }


def _memory_policy() -> int:
    mode = ctypes.c_int()
    syscall(_GET_MEMPOLICY, ctypes.byref(mode), None, 0, None, 0)
    return mode.value


def controls() -> dict[str, Any]:
    return {name: look(_control, name) for name in _CONTROLS}


def _control(name: str) -> int:
    value = ctypes.c_int()
    result = _libc.prctl(_CONTROLS[name], ctypes.byref(value) if name in _BY_POINTER else 0, 0, 0, 0)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return value.value if name in _BY_POINTER else int(result)


def keyring() -> list[str]:
    """The session keyring: type, owner, group, permissions and name."""
    text = ctypes.create_string_buffer(256)
    syscall(_KEYCTL, ctypes.c_int(_DESCRIBE), ctypes.c_int(_SESSION_KEYRING), text, ctypes.c_ulong(256))
    return text.value.decode().split(";")


def descriptors() -> dict[str, Any]:
    """Of each what it is, whose, how it is open, and whether it can be opened again."""
    found = {name: look(_descriptor, int(name)) for name in os.listdir("/proc/self/fd")}
    return {name: one for name, one in found.items() if one != "EBADF"}  # that of the listing


def _descriptor(number: int) -> dict[str, Any]:
    at = os.fstat(number)
    return {
        "mode": stat.filemode(at.st_mode),
        "owner": (at.st_uid, at.st_gid),
        "device": (os.major(at.st_rdev), os.minor(at.st_rdev)),
        "is in /dev": at.st_dev == os.stat("/dev").st_dev,
        "flags": (fcntl.fcntl(number, fcntl.F_GETFL), fcntl.fcntl(number, fcntl.F_GETFD)),
        "opened again": look(_opened, f"/proc/self/fd/{number}", os.O_WRONLY if number else os.O_RDONLY),
    }


def _opened(path: str, flags: int) -> None:
    os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))


def namespaces() -> dict[str, Any]:
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}


# -- the file system --------------------------------------------------------------------------------------------------


def mounts() -> dict[str, Any]:
    """By the point, those above each other in order: root, options, propagation, type, source, data."""
    found: dict[str, Any] = {}
    for line in read("/proc/self/mountinfo").splitlines():
        left, right = line.split(" - ", 1)
        _, _, _, root, point, options, *propagation = left.split()
        fstype, source, data = right.split(" ")
        told = [root, sorted(options.split(",")), sorted(one.partition(":")[0] for one in propagation)]
        found.setdefault(point, []).append([*told, fstype, source, sorted(data.split(","))])
    return found


def entry(path: str) -> list[Any]:
    """Kind and mode, device, owner; of a symlink its target."""
    at = os.lstat(path)
    if stat.S_ISLNK(at.st_mode):
        return ["l", os.readlink(path)]
    is_device = stat.S_ISCHR(at.st_mode) or stat.S_ISBLK(at.st_mode)
    number = [os.major(at.st_rdev), os.minor(at.st_rdev)] if is_device else []
    return [stat.filemode(at.st_mode), number, at.st_uid, at.st_gid]


def tree(top: str) -> dict[str, Any]:
    """What is at a path and below, but not in file systems that are mounted below."""
    found: dict[str, Any] = {top: entry(top)}
    device = os.lstat(top).st_dev
    left = [top] if os.path.isdir(top) else []
    while left:
        path = left.pop()
        for name in os.listdir(path):
            inside = f"{path.rstrip('/')}/{name}"
            found[inside] = look(entry, inside)
            at = os.lstat(inside)
            if stat.S_ISDIR(at.st_mode) and at.st_dev == device:
                left.append(inside)
    return found


def devices() -> dict[str, Any]:
    """Whether they work."""
    found = {f"{name} read": look(_read_some, f"/dev/{name}") for name in _NODES}
    found |= {f"{name} written": look(_write_some, f"/dev/{name}") for name in ("null", "zero", "full")}
    return found | {"pair": look(_terminal)}


def _read_some(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return len(os.read(descriptor, 4))
    finally:
        os.close(descriptor)


def _write_some(path: str) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def _terminal() -> list[Any]:
    pair = os.openpty()
    try:
        path = os.ttyname(pair[1])
        return [path, *entry(path)]
    finally:
        for descriptor in pair:
            os.close(descriptor)


def tried(path: str) -> list[Any]:
    """What there is, what is in it, and whether it can be written; nothing is changed where it can."""
    is_directory = os.path.isdir(path)
    content = look(_listed, path) if is_directory else look(_has_content, path)
    written = look(_made_in, path) if is_directory else look(_opened, path, os.O_WRONLY)
    return [look(entry, path), content, written]


def _listed(path: str) -> list[str]:
    return sorted(os.listdir(path))[:100]


def _has_content(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return bool(os.read(descriptor, 1))
    finally:
        os.close(descriptor)


def _made_in(path: str) -> None:
    os.mkdir(f"{path}/{_OF_THE_PROBE}")
    os.rmdir(f"{path}/{_OF_THE_PROBE}")


def place() -> dict[str, Any]:
    return {
        "cwd": look(os.getcwd),
        "link": look(os.readlink, "/proc/self/cwd"),
        "root": look(os.readlink, "/proc/self/root"),
        "top": look(entry, "/"),
        "in it": look(_listed, "/"),
        "is above itself": look(os.path.samefile, "/..", "/"),
        "here": look(entry, "."),
    }


# -- names, networks, cgroups -----------------------------------------------------------------------------------------


def network() -> dict[str, Any]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return {name: look(_flags, probe, name) for _, name in socket.if_nameindex()}


def _flags(probe: socket.socket, name: str) -> int:
    request = array.array("B", struct.pack("16sh22x", name.encode(), 0))
    fcntl.ioctl(probe, _SIOCGIFFLAGS, request)
    return int(struct.unpack("16sh22x", request)[1])


def names() -> list[Any]:
    found = os.uname()
    return [found.sysname, found.nodename, found.machine, look(words, "/proc/sys/kernel/domainname")]


def cgroups() -> list[str]:
    return sorted(line.partition(":")[2] for line in read("/proc/self/cgroup").splitlines())


def hierarchies() -> dict[str, Any]:
    """What is to be seen of cgroups: links; or whether we are in it, others are below, and one can be made."""
    top = "/sys/fs/cgroup"
    return {name: look(_hierarchy, f"{top}/{name}") for name in os.listdir(top)}


def _hierarchy(path: str) -> Any:
    if not os.path.isdir(path) or os.path.islink(path):
        return entry(path)
    ours = look(lambda: str(os.getpid()) in words(f"{path}/cgroup.procs"))
    return [ours, any(os.path.isdir(f"{path}/{one}") for one in os.listdir(path)), look(_made_in, path)]


def cgroup_limits() -> dict[str, Any]:
    """The limits of v1, where they are mounted."""
    return {name: look(_lines, f"/sys/fs/cgroup/{name}") for name in _LIMITS}


def _lines(path: str) -> list[str]:
    return sorted(read(path).splitlines())


# -- all of it --------------------------------------------------------------------------------------------------------


def main() -> None:
    asked: dict[str, list[str]] = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    looks: tuple[Callable[[], Any], ...] = (
        *(cgroup_limits, cgroups, controls, descriptors, devices, family, hierarchies, keyring, limits, mounts, names),
        *(namespaces, network, place, scheduling, status),
    )
    found: dict[str, Any] = {one.__name__: look(one) for one in looks}
    found |= {name: {path: tried(path) for path in asked.get(name, [])} for name in ("hidden", "readonly")}
    found["trees"] = {path: look(tree, path) for path in ("/dev", *asked.get("trees", []))}
    found["environment"] = look(lambda: read("/proc/self/environ").split("\0"))
    found["arguments"] = look(lambda: read("/proc/self/cmdline").split("\0"))
    found["clocks"] = look(words, "/proc/self/timens_offsets")
    found["sysctl"] = {name: look(words, f"/proc/sys/{name}") for name in _SYSCTLS}
    found["files"] = {
        name: look(words, f"/proc/self/{name}")
        for name in (
            *("attr/current", "attr/exec", "coredump_filter", "gid_map", "loginuid", "oom_score_adj", "personality"),
            *("setgroups", "uid_map"),
        )
    }
    json.dump(found, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main()
