"""What docs/conformance.md says of fields that no other file of this directory looks at from inside of a container."""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import CgroupError, ConfigError, CreateError, cgroups
from libcontainer_py.backends.base import SpawnRequest
from libcontainer_py.cgroups import Mode
from libcontainer_py.kernel import constants as c
from libcontainer_py.spec import Resources
from tests.disks import unweighed
from tests.kernel.workshop import PATIENCE, Config, Workshop, cgroups_of, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20


# -- process ----------------------------------------------------------------------------------------------------------


def test_the_size_of_a_terminal_that_there_is_not(workshop: Workshop) -> None:
    config = runc_spec()
    config["process"]["consoleSize"] = {"height": 40, "width": 120}
    assert workshop.sh(config, "[ -e /dev/console ] || echo none") == "none\n"


# sched_getattr(2), which no module of Python's has.
SCHEDULED = """
import ctypes, json, os, struct
number = {"x86_64": 315, "i686": 352, "riscv64": 275, "aarch64": 275, "armv7l": 381}[os.uname().machine]
room = ctypes.create_string_buffer(48)
assert ctypes.CDLL(None).syscall(number, 0, room, 48, 0) == 0
print(json.dumps(struct.unpack("=IIQiIQQQ", room.raw)[1:]))
"""


@pytest.fixture
def group() -> Iterator[str]:
    """A cgroup for containers to be in. Where this kernel shares out realtime, it has some."""
    name = f"/lcpy-{os.urandom(6).hex()}"
    above = cgroups.for_container(name, "")
    above.create()
    if _shares_out_realtime(above.paths):
        above.set(Resources.from_dict({"cpu": {"realtimeRuntime": 20000}}))
    yield name
    above.remove()


def _shares_out_realtime(paths: Any) -> bool:
    return os.path.exists(f"{paths.get('cpu')}/cpu.rt_runtime_us")


@pytest.mark.parametrize("policy", ["SCHED_FIFO", "SCHED_RR"])
def test_a_realtime_program(workshop: Workshop, group: str, policy: str) -> None:
    config = runc_spec()
    config["linux"]["cgroupsPath"] = f"{group}/container"
    shared = _shares_out_realtime(cgroups.for_container(group, "").paths)
    if shared:
        config["linux"]["resources"]["cpu"] = {"realtimeRuntime": 5000, "realtimePeriod": 500000}
    config["process"]["scheduler"] = {"policy": policy, "priority": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    files = [f"/sys/fs/cgroup/cpu/cpu.rt_{name}_us" for name in ("runtime", "period")] * shared
    show = f"for name in {files}:\n    print(open(name).read().strip())\n"
    try:
        attributes, *limits = workshop.python(config, SCHEDULED + show).splitlines()
    except CreateError as error:
        # A kernel that shares out realtime has none for groups of v2. Source: cgroup-v2.rst, CPU
        if not on_v2() or (error.errno, error.step) != (errno.EPERM, "scheduler"):
            raise
        return
    assert json.loads(attributes) == [c.SCHED_POLICIES[policy], 1, 0, 7, 0, 0, 0]
    assert limits == ["5000", "500000"] * shared


def test_a_program_with_a_deadline(workshop: Workshop) -> None:
    config = runc_spec()
    times = {"runtime": 10_000_000, "deadline": 20_000_000, "period": 30_000_000}
    flags = ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]
    config["process"]["scheduler"] = {"policy": "SCHED_DEADLINE", "flags": flags, **times}
    assert json.loads(workshop.python(config, SCHEDULED)) == [6, 1 | 4, 0, 0, *times.values()]


@pytest.mark.parametrize("final", [False, True])
def test_processors_of_a_further_process(workshop: Workshop, final: bool) -> None:
    here = sorted(os.sched_getaffinity(0))
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    config["process"]["execCPUAffinity"] = {"initial": f"{here[-1]}"}
    if final:
        config["process"]["execCPUAffinity"]["final"] = f"{here[0]}"
    with workshop.create(config) as container:
        assert container.init_pid is not None
        assert sorted(os.sched_getaffinity(container.init_pid)) == here
        spawned = container._backend.spawn(container._record, SpawnRequest(("/bin/busybox", "sleep", "1000")))
        try:
            assert os.sched_getaffinity(spawned.pid) == {here[0] if final else here[-1]}
        finally:
            spawned.signal(9)
            assert spawned.wait(timeout=PATIENCE) is not None


@pytest.mark.parametrize(("domain", "number"), [("LINUX", 0), ("LINUX32", 8)])
def test_the_domain_of_a_personality(workshop: Workshop, domain: str, number: int) -> None:
    """PER_LINUX and PER_LINUX32, without any of the flags in the higher bits; for further processes too."""
    config = runc_spec()
    config["linux"]["personality"] = {"domain": domain, "flags": []}
    assert int(workshop.sh(config, "cat /proc/self/personality"), 16) == number
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    with workshop.create(config) as container:
        spawned = container._backend.spawn(container._record, SpawnRequest(("/bin/busybox", "sleep", "1000")))
        try:
            for pid in (container.init_pid, spawned.pid):
                assert int(Path(f"/proc/{pid}/personality").read_text(), 16) == number
        finally:
            spawned.signal(9)
            assert spawned.wait(timeout=PATIENCE) is not None


def test_flags_of_a_personality(workshop: Workshop) -> None:
    """Not even those that the kernel has: "Currently no flag values are supported". Source: config-linux.md."""
    config = runc_spec()
    config["linux"]["personality"] = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}
    container_id = workshop.new_id()
    with pytest.raises(ConfigError) as caught:
        workshop.factory.create(container_id, workshop.bundle(config))
    (problem,) = caught.value.problems
    assert (problem.path, problem.value) == ("linux.personality.flags", ["ADDR_NO_RANDOMIZE"])
    assert (workshop.entries(), cgroups_of(container_id)) == ([], [])


# -- control groups, as the container sees its own --------------------------------------------------------------------


def on_v2() -> bool:
    return cgroups.detect() is Mode.V2


def seen(workshop: Workshop, resources: Config, v1: Config, v2: Config) -> None:
    """Compare files with what stands in them, inside of a container with these limits."""
    config = runc_spec()
    config["linux"]["resources"] |= resources
    expected = v2 if on_v2() else v1
    script = "; ".join(f"cat /sys/fs/cgroup/{name} || echo none" for name in expected)
    lines = workshop.sh(config, script).splitlines()
    assert dict(zip(expected, lines, strict=True)) == expected


def needs(controller: str, file: str = "") -> None:
    """Skip where this machine has not the controller, or not the file of v1 or v2."""
    if on_v2():
        there = controller in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    else:
        directory = Path("/sys/fs/cgroup", controller)
        there = directory.exists() and (not file or (directory / file).exists())
    if not there:
        pytest.skip(f"needs cgroup v1 or v2 with {controller} {file}".rstrip())


@pytest.mark.parametrize(("swap", "together"), [(96 * MIB, 96 * MIB), (None, 64 * MIB)])
def test_memory(workshop: Workshop, swap: int | None, together: int) -> None:
    memory = {"limit": 64 * MIB, "reservation": 32 * MIB} | ({} if swap is None else {"swap": swap})
    v1 = {
        "memory/memory.limit_in_bytes": str(64 * MIB),
        "memory/memory.memsw.limit_in_bytes": str(together),
        "memory/memory.soft_limit_in_bytes": str(32 * MIB),
    }
    v2 = {"memory.max": str(64 * MIB), "memory.low": str(32 * MIB)}
    if Path("/proc/swaps").exists():
        v2["memory.swap.max"] = str(together - 64 * MIB)
    seen(workshop, {"memory": memory}, v1, v2)


def test_memory_of_v1(workshop: Workshop) -> None:
    if on_v2():
        pytest.skip("needs cgroup v1")
    memory = {"swappiness": 3, "disableOOMKiller": True, "useHierarchy": True, "kernelTCP": MIB}
    files = {
        "memory/memory.swappiness": "3",
        "memory/memory.use_hierarchy": "1",
        "memory/memory.kmem.tcp.limit_in_bytes": str(MIB),
    }
    config = runc_spec()
    config["linux"]["resources"]["memory"] = memory
    names = " ".join(f"/sys/fs/cgroup/{name}" for name in (*files, "memory/memory.oom_control"))
    lines = workshop.sh(config, f"cat {names}").splitlines()
    assert lines[: len(files)] == list(files.values())
    assert "oom_kill_disable 1" in lines


def test_processors(workshop: Workshop) -> None:
    cpu = {"shares": 512, "quota": 50000, "period": 200000, "burst": 10000}
    v1 = {
        "cpu/cpu.shares": "512",
        "cpu/cpu.cfs_quota_us": "50000",
        "cpu/cpu.cfs_period_us": "200000",
        "cpu/cpu.cfs_burst_us": "10000",
    }
    seen(workshop, {"cpu": cpu}, v1, {"cpu.weight": "59", "cpu.max": "50000 200000", "cpu.max.burst": "10000"})


def test_an_idle_container(workshop: Workshop) -> None:
    seen(workshop, {"cpu": {"idle": 1}}, {"cpu/cpu.idle": "1"}, {"cpu.idle": "1"})


def test_processors_and_nodes_to_run_on(workshop: Workshop) -> None:
    needs("cpuset")
    last = max(os.sched_getaffinity(0))
    config = runc_spec()
    config["linux"]["resources"]["cpu"] = {"cpus": f"{last}", "mems": "0"}
    lines = workshop.sh(config, "cat /proc/self/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines)
    assert (status["Cpus_allowed_list"], status["Mems_allowed_list"]) == (f"{last}", "0")


def test_tasks(workshop: Workshop) -> None:
    seen(workshop, {"pids": {"limit": 9}}, {"pids/pids.max": "9"}, {"pids.max": "9"})


def test_throttled_devices(workshop: Workshop) -> None:
    disks = [Path(f"/sys/block/{name}/dev").read_text().strip() for name in sorted(os.listdir("/sys/block"))]
    if not disks:
        pytest.skip("needs a block device")
    needs("io" if on_v2() else "blkio")
    major, minor = map(int, disks[0].split(":"))
    names = {"ReadBps": ("read_bps", "rbps"), "WriteBps": ("write_bps", "wbps")}
    names |= {"ReadIOPS": ("read_iops", "riops"), "WriteIOPS": ("write_iops", "wiops")}
    rates = dict(zip(names, (MIB, 2 * MIB, 300, 400), strict=True))
    wanted = {f"throttle{name}Device": [{"major": major, "minor": minor, "rate": rate}] for name, rate in rates.items()}
    v1 = {f"blkio/blkio.throttle.{names[name][0]}_device": f"{disks[0]} {rate}" for name, rate in rates.items()}
    v2 = {"io.max": f"{disks[0]} " + " ".join(f"{names[name][1]}={rate}" for name, rate in rates.items())}
    seen(workshop, {"blockIO": wanted}, v1, v2)


def test_the_weight_of_a_device(workshop: Workshop, weighed_disk: tuple[int, int]) -> None:
    major, minor = weighed_disk
    config = runc_spec()
    wanted = {"weight": 200, "weightDevice": [{"major": major, "minor": minor, "weight": 300}]}
    config["linux"]["resources"]["blockIO"] = wanted
    file = "io.bfq.weight" if on_v2() else "blkio/blkio.bfq.weight_device"
    assert workshop.sh(config, f"cat /sys/fs/cgroup/{file}").splitlines() == ["default 200", f"{major}:{minor} 300"]


LEAVES = [
    ({"leafWeight": 300}, "blockIO.leafWeight"),
    (
        {"weightDevice": [{"major": 7, "minor": 0, "leafWeight": 300}]},
        "blockIO.weightDevice[0].leafWeight",
    ),
]


def cannot_be_had(workshop: Workshop, resources: Config) -> CgroupError:
    """The error with which no container is made; nothing of it is left."""
    needs("io" if on_v2() else "blkio")
    config = runc_spec()
    config["linux"]["resources"] |= resources
    container_id = workshop.new_id()
    with pytest.raises(CgroupError) as caught:
        workshop.factory.create(container_id, workshop.bundle(config))
    assert (workshop.entries(), cgroups_of(container_id)) == ([], [])
    return caught.value


@pytest.mark.parametrize(("block_io", "field"), LEAVES, ids=["all", "device"])
def test_the_weight_of_leaves(workshop: Workshop, block_io: Config, field: str) -> None:
    error = cannot_be_had(workshop, {"blockIO": block_io})
    file = "blkio.leaf_weight_device" if "Device" in field else "blkio.leaf_weight"
    assert error.field == field
    assert on_v2() or (os.path.basename(error.path), error.errno) == (file, errno.ENOENT)
    assert not on_v2() or error.errno == errno.EOPNOTSUPP


def test_the_weight_of_a_device_that_does_not_weigh(workshop: Workshop) -> None:
    numbers = unweighed()
    if numbers is None:
        pytest.skip("needs a block device without BFQ")
    device = {"major": numbers[0], "minor": numbers[1], "weight": 300}
    error = cannot_be_had(workshop, {"blockIO": {"weightDevice": [device]}})
    assert error.field == "blockIO.weightDevice[0].weight"
    assert os.path.basename(error.path) in ("blkio.bfq.weight_device", "io.bfq.weight", "io.weight")
    assert "BFQ" in error.hint


def test_huge_pages(workshop: Workshop) -> None:
    needs("hugetlb")
    kilobytes = int(min(os.listdir("/sys/kernel/mm/hugepages")).partition("-")[2][:-2])
    size = f"{kilobytes // 1024}MB" if kilobytes < MIB else f"{kilobytes // MIB}GB"
    v1 = {f"hugetlb/hugetlb.{size}{kind}.limit_in_bytes": str(1 << 30) for kind in ("", ".rsvd")}
    v2 = {f"hugetlb.{size}{kind}.max": str(1 << 30) for kind in ("", ".rsvd")}
    seen(workshop, {"hugepageLimits": [{"pageSize": size, "limit": 1 << 30}]}, v1, v2)


def test_files_of_v2(workshop: Workshop) -> None:
    if not on_v2():
        pytest.skip("needs cgroup v2")
    files = {"memory.high": str(64 * MIB), "pids.max": "9"}
    seen(workshop, {"unified": files}, {}, files)


# -- seccomp ----------------------------------------------------------------------------------------------------------


def filtered(*rules: Config, **more: Any) -> Config:
    config = runc_spec()
    config["root"]["readonly"] = False
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **more}
    return config


def test_the_error_of_what_no_rule_names(workshop: Workshop) -> None:
    allowed = (
        "execve exit exit_group write brk arch_prctl set_tid_address set_robust_list rseq prlimit64 mprotect uname"
    )
    allowed += " readlink readlinkat getrandom getuid getpid fcntl newfstatat fstat ioctl umask"
    config = filtered(
        {"names": allowed.split(), "action": "SCMP_ACT_ALLOW"},
        defaultAction="SCMP_ACT_ERRNO",
        defaultErrnoRet=errno.ENOSPC,
    )
    config["process"]["args"] = ["/bin/busybox", "mkdir", "/new"]
    assert os.strerror(errno.ENOSPC) in workshop.output(config, returncode=1)


def test_a_masked_argument(workshop: Workshop) -> None:
    # every signal whose number has the bit of 16: SIGCONT is 18, 0 is none
    argument = {"index": 1, "value": 16, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}
    rule = {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSPC, "args": [argument]}
    fine, refused = workshop.sh(
        filtered(rule), "kill -0 $$ 2>&1 && echo fine; kill -CONT $$ 2>&1", returncode=None
    ).splitlines()
    assert fine == "fine"
    assert refused.endswith(os.strerror(errno.ENOSPC))


# getpid of i386, in the machine's own words: mov eax, 20; int 0x80; ret
OF_I386 = """
import ctypes, mmap, os
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex("b814000000cd80c3"))
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86_64 that runs programs of i386")
def test_another_architecture(workshop: Workshop) -> None:
    ours = subprocess.run([sys.executable, "-c", OF_I386 + "print(os.getpid())"], capture_output=True, text=True)
    if ours.returncode or len(set(ours.stdout.split())) != 1:
        pytest.skip("needs an x86_64 that runs programs of i386")
    deny = {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSPC}
    both = filtered(deny, architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
    assert workshop.python(both, OF_I386) == f"{-errno.ENOSPC}\n"
    own = filtered(deny, architectures=["SCMP_ARCH_X86_64"])
    own["process"]["args"] = both["process"]["args"]
    own["mounts"] = both["mounts"]
    with workshop.create(own) as container:
        container.start()
        assert container.wait(PATIENCE).returncode == -31  # SIGSYS


RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and _SEND. Source: seccomp_unotify(2)


class Listener:
    """Takes what a container sends to `linux.seccomp.listenerPath`, and answers one call with ENOSPC."""

    def __init__(self, path: Path, received: Callable[[int], None] = lambda pid: None) -> None:
        self.path = path
        self.told: list[Config] = []
        self._received = received
        self._server = socket.socket(socket.AF_UNIX)
        self._server.settimeout(PATIENCE)
        self._server.bind(str(path))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            data, rights, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
            self.told.append(json.loads(data))
            assert connection.recv(1) == b""  # "closed after sending"
        (listener,) = array.array("i", rights[0][2])
        try:
            while not self._answer(listener):
                pass
        finally:
            os.close(listener)

    def _answer(self, listener: int) -> bool:
        """Answer a call. False: it did not wait for the answer; when the program goes on, it calls again."""
        request = bytearray(80)
        fcntl.ioctl(listener, RECEIVE, request)
        number, pid = struct.unpack_from("=QI", request)
        self._received(pid)
        try:
            fcntl.ioctl(listener, SEND, bytearray(struct.pack("=QqiI", number, 0, -errno.ENOSPC, 0)))
        except FileNotFoundError:
            return False
        return True

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.join(PATIENCE)
        self._server.close()


def asking(listener: Listener, **more: Any) -> Config:
    config = filtered(
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}, listenerPath=str(listener.path), **more
    )
    config["process"]["args"] = ["/bin/busybox", "mkdir", "/new"]
    return config


def test_what_a_listener_is_told(workshop: Workshop, tmp_path: Path) -> None:
    with Listener(tmp_path / "listener") as listener:
        config = asking(listener, listenerMetadata="some data")
        config["ociVersion"] = "1.3.0"
        config["annotations"] = {"org.example.key": "value"}
        bundle = workshop.bundle(config)
        with workshop.create(bundle) as container:
            pid = container.init_pid
            container.start()
            assert container.wait(PATIENCE).returncode == 1
    state = {"ociVersion": "1.3.0", "id": container.id, "status": "created", "pid": pid, "bundle": str(bundle)}
    state["annotations"] = config["annotations"]
    expected = {"ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": pid, "metadata": "some data", "state": state}
    assert listener.told == [expected]


@pytest.mark.parametrize(("flags", "state"), [([], "T"), (["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], "D")])
def test_a_call_that_waits_for_its_listener(workshop: Workshop, tmp_path: Path, flags: list[str], state: str) -> None:
    """With the flag a call that was received is left for no signal but SIGKILL. Source: seccomp_unotify(2)."""
    states: list[str] = []

    def stop(pid: int) -> None:
        if states:
            return
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE
        while not states and time.monotonic() < deadline:
            now = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            states.extend(now if now in "TD" else "")
        os.kill(pid, signal.SIGCONT)

    with (
        Listener(tmp_path / "listener", stop) as listener,
        workshop.create(asking(listener, flags=flags)) as container,
    ):
        container.start()
        assert container.wait(PATIENCE).returncode == 1
    assert states == [state]
