"""Namespaces that are joined by path, and time namespaces with their offsets."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from libcontainer_py import ConfigError, CreateError
from libcontainer_py.kernel.constants import NAMESPACES
from tests.kernel.workshop import PATIENCE, Config, Workshop, runc_spec

JOINABLE = ("network", "ipc", "uts", "pid", "cgroup")


def without(config: Config, *kinds: str) -> Config:
    config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] not in kinds]
    return config


def sleeper() -> Config:
    config = runc_spec()
    config["linux"]["namespaces"].append({"type": "cgroup"})
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    return config


@pytest.mark.parametrize("kind", JOINABLE)
def test_a_namespace_is_joined(workshop: Workshop, kind: str) -> None:
    file = NAMESPACES[kind][0]
    with workshop.create(workshop.bundle(sleeper())) as first:
        first.start()
        path = f"/proc/{first.init_pid}/ns/{file}"
        config = without(runc_spec(), kind)
        config["linux"]["namespaces"].append({"type": kind, "path": path})
        if kind == "uts":
            del config["hostname"]
        with workshop.create(workshop.bundle(config)) as second:
            assert os.stat(f"/proc/{second.init_pid}/ns/{file}").st_ino == os.stat(path).st_ino
            others = {"mnt", *(NAMESPACES[one][0] for one in ("network", "ipc", "pid") if one != kind)}
            for other in others:
                ours, theirs = (os.stat(f"/proc/{one.init_pid}/ns/{other}").st_ino for one in (second, first))
                assert ours != theirs, other
            assert f"join the {kind} namespace {path}" in second.explain()


def test_all_of_another_container_are_joined_with_its_user_namespace(workshop: Workshop) -> None:
    for folder in (workshop.folder, *workshop.folder.parents):  # its root must find its files
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)
    config = sleeper()
    config["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle = workshop.bundle(config)
    subprocess.run(["chown", "-R", "100000:100000", str(bundle / "rootfs")], check=True)
    with workshop.create(bundle) as first:
        first.start()
        kinds = (*JOINABLE, "user")
        joiner = without(runc_spec(), *kinds)
        for kind in kinds:
            path = f"/proc/{first.init_pid}/ns/{NAMESPACES[kind][0]}"
            joiner["linux"]["namespaces"].append({"type": kind, "path": path})
        del joiner["hostname"]
        joiner["process"]["args"] = ["/bin/busybox", "sh", "-c", "id -u; cat /proc/self/uid_map"]
        joiner["mounts"] = [one for one in joiner["mounts"] if one["destination"] in ("/proc", "/dev")]
        other = workshop.bundle(joiner)
        subprocess.run(["chown", "-R", "100000:100000", str(other / "rootfs")], check=True)
        output = workshop.output(other).split()
        assert output == ["0", "0", "100000", "65536"]


def test_message_queues_and_devices_belong_to_the_user_namespace(workshop: Workshop) -> None:
    config = runc_spec()
    config["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [{"containerID": 0, "hostID": 100000, "size": 100}]
    config["process"]["args"] = ["/bin/busybox", "stat", "-c", "%u %g %a", "/dev/mqueue", "/sys/class/net/lo/mtu"]
    bundle = workshop.bundle(config)
    for folder in (bundle, *bundle.parents):  # its root must find its files
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o005)
    assert workshop.output(bundle) == "0 65534 1777\n0 0 644\n"  # nobody's group, as with runc


needs_time = pytest.mark.skipif(not os.path.exists("/proc/self/ns/time"), reason="needs a kernel with time namespaces")


@needs_time
def test_time_moves_on(workshop: Workshop) -> None:
    config = runc_spec()
    config["linux"]["namespaces"].append({"type": "time"})
    config["linux"]["timeOffsets"] = {"monotonic": {"secs": 1000, "nanosecs": 5}, "boottime": {"secs": 100_000}}
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/uptime", "/proc/self/timens_offsets"]
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    uptime, _, *offsets = workshop.output(workshop.bundle(config)).split()
    assert 100_000 - 1 <= float(uptime) - before <= 100_000 + PATIENCE
    assert offsets == ["monotonic", "1000", "5", "boottime", "100000", "0"]


@needs_time
def test_a_time_namespace_without_offsets(workshop: Workshop) -> None:
    config = runc_spec()
    config["linux"]["namespaces"].append({"type": "time"})
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    with workshop.create(workshop.bundle(config)) as container:
        assert os.stat(f"/proc/{container.init_pid}/ns/time").st_ino != os.stat("/proc/self/ns/time").st_ino


def test_a_path_that_is_not_there_or_of_another_kind(workshop: Workshop, tmp_path: Path) -> None:
    for path, text in ((f"{tmp_path}/none", "no such file or directory"), ("/proc/self/ns/ipc", "Invalid argument")):
        config = without(runc_spec(), "network")
        config["linux"]["namespaces"].append({"type": "network", "path": path})
        with pytest.raises((ConfigError, CreateError), match=text) as caught:
            workshop.create(workshop.bundle(config))
        assert "network namespace" in str(caught.value) or "linux.namespaces" in str(caught.value)
        assert workshop.entries() == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"timeOffsets": {"monotonic": {"secs": 1}}}, "linux.timeOffsets"),
        ({"sysctl": {"kernel.panic": "1"}}, 'linux.sysctl["kernel.panic"]'),
        ({"sysctl": {"net/../kernel/panic": "1"}}, 'linux.sysctl["net/../kernel/panic"]'),
        ({"sysctl": {"kernel.hostname": "x"}}, 'linux.sysctl["kernel.hostname"]'),
        ({"personality": {"domain": "BSD"}}, "linux.personality.domain"),
        ({"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "x"}}, "linux.memoryPolicy.nodes"),
    ],
)
def test_what_is_refused(workshop: Workshop, change: Config, where: str) -> None:
    config = runc_spec()
    config["linux"] |= change
    with pytest.raises(ConfigError) as caught:
        workshop.create(workshop.bundle(config))
    assert [problem.path for problem in caught.value.problems] == [where]


def test_a_mount_namespace_cannot_be_joined(workshop: Workshop) -> None:
    config = without(runc_spec(), "mount")
    config["linux"]["namespaces"].append({"type": "mount", "path": "/proc/self/ns/mnt"})
    with pytest.raises(ConfigError, match="a mount namespace cannot be joined"):
        workshop.create(workshop.bundle(config))


def test_kernel_parameters(workshop: Workshop) -> None:
    config = runc_spec()
    config["linux"]["sysctl"] = {
        "net.ipv4.ip_forward": "1",
        "net/ipv4/conf/lo/forwarding": "1",
        "kernel.msgmax": "4242",
        "fs.mqueue.msg_max": "11",
        "kernel.domainname": "inside",
    }
    files = "net/ipv4/ip_forward net/ipv4/conf/lo/forwarding kernel/msgmax fs/mqueue/msg_max kernel/domainname"
    before = [Path(f"/proc/sys/{name}").read_text() for name in files.split()]
    config["process"]["args"] = ["/bin/busybox", "cat", *(f"/proc/sys/{name}" for name in files.split())]
    assert workshop.output(workshop.bundle(config)).split() == ["1", "1", "4242", "11", "inside"]
    assert [Path(f"/proc/sys/{name}").read_text() for name in files.split()] == before


def test_scheduling(workshop: Workshop) -> None:
    config = runc_spec()
    config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
    config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    config["linux"]["personality"] = {"domain": "LINUX32"}
    script = "cat /proc/self/personality; ionice; cat /proc/self/stat"
    config["process"]["args"] = ["/bin/busybox", "sh", "-c", script]
    output = workshop.output(workshop.bundle(config))
    personality, ionice, stat = output.splitlines()
    assert int(personality, 16) == 8  # PER_LINUX32
    assert ionice == "best-effort: prio 6"
    after_comm = stat.rpartition(")")[2].split()
    assert after_comm[16] == "7"  # nice, field 19. Source: proc(5)
    assert after_comm[38] == "3"  # policy, field 41: SCHED_BATCH


@pytest.mark.skipif(not os.path.exists("/proc/self/numa_maps"), reason="needs a kernel with NUMA")
def test_memory_policy(workshop: Workshop) -> None:
    config = runc_spec()
    config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/numa_maps"]
    assert "bind=static:0" in workshop.output(workshop.bundle(config))
