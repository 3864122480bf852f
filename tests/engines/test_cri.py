"""Kubernetes' way to a runtime: containerd's CRI, with a handler that a RuntimeClass would name."""

from __future__ import annotations

import pytest

from tests.engines.cri import CONTAINER, CREATED, EXITED, HANDLER, NOT_READY, POD, READY, RUNNING, Cri, Pod
from tests.engines.podman import cgroup_of
from tests.engines.programs import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MEBI = 1 << 20


@pytest.fixture
def pod(cri: Cri, named: str) -> Iterator[Pod]:
    """A pod whose containers have pid namespaces of their own."""
    pod = cri.sandbox(named, pid=CONTAINER)
    yield pod
    pod.remove()


def said(cri: Cri, container_id: str, *words: str) -> list[str]:
    """The words that a command in a container writes."""
    answer = cri.call("ExecSync", container_id=container_id, cmd=words, timeout=20)
    assert (answer["exit_code"], answer["stderr"]) == (0, b"")
    return answer["stdout"].decode().split()


def test_sandbox(cri: Cri, named: str) -> None:
    pod = cri.sandbox(named)
    status = cri.call("PodSandboxStatus", pod_sandbox_id=pod.id)["status"]
    assert status == {"state": READY, "runtime_handler": HANDLER}
    cri.call("StopPodSandbox", pod_sandbox_id=pod.id)
    assert cri.call("PodSandboxStatus", pod_sandbox_id=pod.id)["status"]["state"] == NOT_READY
    cri.call("RemovePodSandbox", pod_sandbox_id=pod.id)
    assert pod.id not in [item["id"] for item in cri.call("ListPodSandbox")["items"]]


def test_container(cri: Cri, pod: Pod, named: str) -> None:
    made = pod.create(named, "sh", "-c", "echo out; echo error >&2; exit 7")
    assert pod.status(made)["state"] == CREATED
    cri.call("StartContainer", container_id=made)
    wait_until(lambda: pod.status(made)["state"] == EXITED)
    assert (pod.status(made)["exit_code"], pod.status(made)["reason"]) == (7, "Error")
    assert sorted(pod.log(named)) == ["stderr error", "stdout out"]
    cri.call("RemoveContainer", container_id=made)


def test_exec(cri: Cri, pod: Pod, named: str) -> None:
    made = pod.start(named, "sleep", "1000", envs=[{"key": "A", "value": "1"}], working_dir="/tmp")
    assert pod.status(made)["state"] == RUNNING
    script = "echo out; echo error >&2; exit 5"
    answer = cri.call("ExecSync", container_id=made, cmd=["sh", "-c", script], timeout=20)
    assert answer == {"stdout": b"out\n", "stderr": b"error\n", "exit_code": 5}
    assert said(cri, made, "sh", "-c", "echo $A; pwd; cat /proc/1/comm") == ["1", "/tmp", "sleep"]


def test_exec_ends_when_its_time_is_over(cri: Cri, pod: Pod, named: str) -> None:
    import grpc

    made = pod.start(named, "sleep", "1000")
    with pytest.raises(grpc.RpcError) as caught:
        cri.call("ExecSync", container_id=made, cmd=["sleep", "100"], timeout=1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert said(cri, made, "sh", "-c", "ps | grep -c 'sleep 10[0]$' || true") == ["0"]


def test_stop(cri: Cri, pod: Pod, named: str) -> None:
    script = "trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    made = pod.start(named, "sh", "-c", script)
    wait_until(lambda: pod.log(named) == ["stdout ready"])
    cri.call("StopContainer", container_id=made, timeout=20)
    assert pod.status(made)["exit_code"] == 3
    assert pod.log(named)[-1] == "stdout term"


def test_stop_of_one_that_will_not(cri: Cri, pod: Pod, named: str) -> None:
    made = pod.start(named, "sleep", "1000")
    cri.call("StopContainer", container_id=made, timeout=0)
    assert (pod.status(made)["state"], pod.status(made)["exit_code"]) == (EXITED, 137)


def test_resources_and_update(cri: Cri, pod: Pod, named: str) -> None:
    resources = {"memory_limit_in_bytes": 64 * MEBI, "cpu_period": 100000, "cpu_quota": 50000, "cpu_shares": 512}
    made = pod.start(named, "sleep", "1000", resources=resources)

    def limits() -> list[str]:
        pid = pid_of(cri, made)
        memory, cpu = cgroup_of(pid, "memory"), cgroup_of(pid, "cpu")
        if (memory / "memory.max").exists():
            return [(memory / "memory.max").read_text().strip(), (cpu / "cpu.max").read_text().split()[0]]
        return [(memory / "memory.limit_in_bytes").read_text().strip(), (cpu / "cpu.cfs_quota_us").read_text().strip()]

    assert limits() == [str(64 * MEBI), "50000"]
    changed = {"memory_limit_in_bytes": 32 * MEBI, "cpu_period": 100000, "cpu_quota": 25000}
    cri.call("UpdateContainerResources", container_id=made, linux=changed)
    assert limits() == [str(32 * MEBI), "25000"]


def test_stats(cri: Cri, pod: Pod, named: str) -> None:
    made = pod.start(named, "sleep", "1000")
    stats = cri.call("ContainerStats", container_id=made)["stats"]
    assert stats["cpu"]["usage_core_nano_seconds"]["value"] > 0
    assert 0 < stats["memory"]["working_set_bytes"]["value"] < 64 * MEBI


def test_killed_for_want_of_memory(cri: Cri, pod: Pod, named: str) -> None:
    made = pod.start(named, "tail", "/dev/zero", resources={"memory_limit_in_bytes": 16 * MEBI})
    wait_until(lambda: pod.status(made)["state"] == EXITED)
    status = pod.status(made)
    assert (status["exit_code"], status["reason"]) == (137, "OOMKilled")


def test_confinement(cri: Cri, pod: Pod, named: str) -> None:
    security = {
        "capabilities": {"drop_capabilities": ["ALL"]},
        "run_as_user": {"value": 65534},
        "readonly_rootfs": True,
        "no_new_privs": True,
        "seccomp": {"profile_type": 0},
    }
    made = pod.start(named, "sleep", "1000", security=security)
    status = said(cri, made, "grep", "-E", "CapBnd|NoNewPrivs|Seccomp:", "/proc/self/status")
    assert status == ["CapBnd:", f"{0:016x}", "NoNewPrivs:", "1", "Seccomp:", "2"]
    answer = cri.call("ExecSync", container_id=made, cmd=["sh", "-c", "id -u; touch /tmp/made"], timeout=20)
    assert answer["stdout"] == b"65534\n"
    assert b"Read-only file system" in answer["stderr"]


def test_containers_of_a_pod_share_what_it_says(cri: Cri, named: str) -> None:
    pod = cri.sandbox(named, pid=POD)
    try:
        one, two = (pod.start(f"{named}-{number}", "sleep", f"100{number}") for number in (1, 2))
        script = "for i in pid ipc uts mnt; do readlink /proc/self/ns/$i; done"
        theirs, others = (said(cri, made, "sh", "-c", script) for made in (one, two))
        assert theirs[:3] == others[:3]
        assert theirs[3] != others[3]
        assert "1002" in said(cri, one, "ps")
    finally:
        pod.remove()


def pid_of(cri: Cri, container_id: str) -> int:
    """The pid of a container's init, which containerd writes down beside its bundle."""
    (found,) = cri.bundles.glob(f"*/{container_id}/init.pid")
    return int(found.read_text())
