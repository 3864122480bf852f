"""Limits and confinement: what the user asked podman for is what the container has."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.engines.images import BUSYBOX
from tests.engines.podman import Podman, cgroup_of

MEBI = 1 << 20


def limit(pid: int, controller: str, v1: str, v2: str) -> str:
    """What a file of a process's cgroup says, whichever version it is of."""
    folder = cgroup_of(pid, controller)
    return next((folder / name).read_text().strip() for name in (v1, v2) if (folder / name).exists())


def test_memory(podman: Podman, named: str) -> None:
    podman.start(named, "sleep", "1000", options=("--memory", "32m", "--memory-reservation", "16m"))
    pid = podman.pid(named)
    assert limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(32 * MEBI)
    assert limit(pid, "memory", "memory.soft_limit_in_bytes", "memory.low") == str(16 * MEBI)
    podman("rm", "--force", "--time", "0", named)


def test_killed_for_want_of_memory(podman: Podman, named: str) -> None:
    options = ("--memory", "16m", "--memory-swap", "16m")
    podman.start(named, "sh", "-c", "tail /dev/zero; echo $?; sleep 1000", options=options)
    podman.logs_have(named, "137")
    podman("rm", "--force", "--time", "0", named)


def test_pids(podman: Podman) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait"
    done = podman.run("--pids-limit", "5", BUSYBOX, "sh", "-c", script, check=False)
    assert done.returncode != 0
    assert "can't fork: Resource temporarily unavailable" in done.stderr


def test_processor(podman: Podman, named: str) -> None:
    podman.start(named, "sleep", "1000", options=("--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0"))
    folder = cgroup_of(podman.pid(named), "cpu")
    if (folder / "cpu.max").exists():
        assert (folder / "cpu.max").read_text() == "50000 100000\n"
    else:
        assert (folder / "cpu.cfs_quota_us").read_text() == "50000\n"
        assert (folder / "cpu.shares").read_text() == "512\n"
    assert podman.says("exec", named, "grep", "Cpus_allowed_list", "/proc/1/status").split() == [
        "Cpus_allowed_list:",
        "0",
    ]
    podman("rm", "--force", "--time", "0", named)


def test_update(podman: Podman, named: str) -> None:
    podman.start(named, "sleep", "1000", options=("--memory", "64m"))
    podman("update", "--memory", "32m", "--cpus", "0.25", named)
    pid = podman.pid(named)
    assert limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(32 * MEBI)
    assert limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"
    podman("rm", "--force", "--time", "0", named)


def test_read_only(podman: Podman) -> None:
    script = "touch /made; touch /tmp/made && touch /run/made && echo well"
    done = podman.run("--read-only", BUSYBOX, "sh", "-c", script)
    assert done.stdout == "well\n"
    assert "Read-only file system" in done.stderr


def test_capabilities(podman: Podman) -> None:
    said = podman.run("--cap-drop", "all", "--cap-add", "chown", BUSYBOX, "grep", "Cap", "/proc/self/status").stdout
    assert {line.split()[1] for line in said.splitlines()} == {f"{0:016x}", f"{1:016x}"}
    done = podman.run("--cap-drop", "chown", BUSYBOX, "chown", "1", "/tmp", check=False)
    assert "Operation not permitted" in done.stderr


def test_user_namespace(podman: Podman) -> None:
    options = ("--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536")
    done = podman.run(
        *options, BUSYBOX, "sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -u; stat -c %u /bin/sh"
    )
    assert done.stdout.split() == ["0", "100000", "65536", "0", "200000", "65536", "0", "0"]
    done = podman.run("--userns", "host", BUSYBOX, "readlink", "/proc/self/ns/user")
    assert done.stdout.strip() == os.readlink("/proc/self/ns/user")


def test_seccomp(podman: Podman) -> None:
    assert podman.run(BUSYBOX, "grep", "Seccomp:", "/proc/self/status").stdout.split() == ["Seccomp:", "2"]
    done = podman.run("--security-opt", "seccomp=unconfined", BUSYBOX, "grep", "Seccomp:", "/proc/self/status")
    assert done.stdout.split() == ["Seccomp:", "0"]
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    profile = Path(podman.folder / "profile.json")
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    done = podman.run("--security-opt", f"seccomp={profile}", BUSYBOX, "mkdir", "/tmp/made", check=False)
    assert done.returncode == 1
    assert "Operation not supported" in done.stderr


def test_no_new_privileges(podman: Podman) -> None:
    done = podman.run("--security-opt", "no-new-privileges", BUSYBOX, "grep", "NoNewPrivs", "/proc/self/status")
    assert done.stdout.split() == ["NoNewPrivs:", "1"]


def test_mounts(podman: Podman) -> None:
    shared = podman.folder / "shared"
    shared.mkdir(exist_ok=True)
    options = (
        "--volume",
        f"{shared}:/shared",
        "--volume",
        f"{shared}:/closed:ro",
        "--tmpfs",
        "/scratch:size=1m,mode=700",
    )
    script = (
        "echo hello >/shared/file; cat /closed/file; touch /closed/x; stat -c %a /scratch; df -k /scratch | tail -n 1"
    )
    done = podman.run(*options, BUSYBOX, "sh", "-c", script)
    assert done.stdout.split()[:4] == ["hello", "700", "tmpfs", "1024"]
    assert "Read-only file system" in done.stderr
    assert (shared / "file").read_text() == "hello\n"


def test_a_volume_is_filled_from_the_image(podman: Podman, named: str) -> None:
    done = podman.run("--volume", f"{named}:/etc", BUSYBOX, "cat", "/etc/passwd")
    assert done.stdout.startswith("root:")
    podman("volume", "rm", named)


def test_devices_limits_and_sysctl(podman: Podman) -> None:
    options = ("--device", "/dev/null:/dev/nothing:r", "--sysctl", "kernel.msgmax=4096")
    limits = ("--ulimit", "nofile=64:128", "--ulimit", "nproc=500")
    script = "stat -c %t:%T /dev/nothing; ulimit -n; ulimit -Hn; cat /proc/sys/kernel/msgmax; echo x >/dev/nothing"
    done = podman.run(*options, *limits, BUSYBOX, "sh", "-c", script, check=False)
    assert done.stdout.split() == ["1:3", "64", "128", "4096"], done.stderr


def test_privileged(podman: Podman) -> None:
    done = podman.run("--privileged", BUSYBOX, "sh", "-c", "mount -t tmpfs none /tmp && grep CapEff /proc/self/status")
    mine = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    assert done.stdout.split() == mine.split()


def test_namespaces_of_the_host_and_of_others(podman: Podman, named: str) -> None:
    podman.start(named, "sleep", "1000")
    theirs = podman.says("exec", named, "readlink", "/proc/1/ns/ipc")
    options = ("--ipc", f"container:{named}", "--pid", "host", "--network", "host", "--uts", "host")
    script = "readlink /proc/self/ns/ipc /proc/self/ns/pid /proc/self/ns/net /proc/self/ns/uts"
    done = podman.run(
        *options, BUSYBOX, "sh", "-c", f"for i in {script.removeprefix('readlink ')}; do readlink $i; done"
    )
    expected = [theirs, *(os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "net", "uts"))]
    assert done.stdout.split() == expected
    podman("rm", "--force", "--time", "0", named)


@pytest.mark.parametrize("script", ["exit 0", "exit 3"])
def test_hooks(podman: Podman, script: str) -> None:
    hooks = podman.folder / "hooks"
    hooks.mkdir(exist_ok=True)
    hook = {
        "version": "1.0.0",
        "hook": {"path": "/bin/sh", "args": ["sh", "-c", f"cat >{hooks}/state; {script}"]},
        "when": {"always": True},
        "stages": ["createRuntime"],
    }
    (hooks / "hook.json").write_text(json.dumps(hook))
    done = podman("--hooks-dir", str(hooks), "run", "--rm", BUSYBOX, "echo", "hello", check=False)
    assert json.loads((hooks / "state").read_text())["status"] == "creating"
    assert (done.returncode, done.stdout) == ((0, "hello\n") if script == "exit 0" else (126, "")), done.stderr
