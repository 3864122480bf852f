"""Docker's verbs, each as a user types it."""

from __future__ import annotations

import json

import pytest

from tests.engines.docker import Docker
from tests.engines.images import BUSYBOX
from tests.engines.podman import alive, cgroup_of
from tests.engines.programs import SHELL, converse, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LOOP = 'trap "echo usr1" USR1; trap "echo term; exit 3" TERM; echo ready; while :; do sleep 0.05; done'


@pytest.fixture
def looping(docker: Docker, named: str) -> Iterator[str]:
    """A container that says what signals it gets, and exits with 3 at SIGTERM."""
    docker.start(named, "sh", "-c", LOOP)
    docker.logs_have(named, "ready")
    yield named
    docker("rm", "--force", named, check=False)


def test_the_runtime_is_known(docker: Docker) -> None:
    assert "pyrunc" in json.loads(docker.says("info", "--format", "{{json .Runtimes}}"))


def test_run(docker: Docker) -> None:
    done = docker.run(BUSYBOX, "sh", "-c", "echo out; echo error >&2; exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "error\n")
    assert docker.run("--interactive", BUSYBOX, "cat", given="through\n").stdout == "through\n"


@pytest.mark.parametrize(("program", "code"), [("nowhere", 127), ("/bin/nowhere", 127), ("/bin/plain", 126)])
def test_a_program_that_cannot_run_has_dockers_exit_code(docker: Docker, program: str, code: int) -> None:
    done = docker.run(BUSYBOX, program, check=False)
    assert done.returncode == code, done.stderr
    assert program in done.stderr


def test_run_at_a_terminal(docker: Docker) -> None:
    command = ("run", "-it", "--rm", "--runtime", "pyrunc", "--network", "none", BUSYBOX)
    with docker.at_terminal(*command, *SHELL) as session:
        converse(session)


def test_exec(docker: Docker, looping: str) -> None:
    done = docker("exec", looping, "sh", "-c", "echo out; echo error >&2; exit 5", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "error\n")
    assert docker("exec", "--interactive", looping, "cat", given="through\n").stdout == "through\n"
    options = ("--user", "nobody", "--workdir", "/tmp", "--env", "A=1")
    done = docker("exec", *options, looping, "sh", "-c", "id -u; pwd; echo $A")
    assert done.stdout.split() == ["65534", "/tmp", "1"]
    for program, reason in (("nowhere", "executable file not found in $PATH"), ("/bin/plain", "permission denied")):
        done = docker("exec", looping, program, check=False)
        assert done.returncode == 126  # Docker 20.10 says so of either
        assert f'exec: "{program}"' in done.stdout
        assert reason in done.stdout


def test_exec_at_a_terminal(docker: Docker, looping: str) -> None:
    with docker.at_terminal("exec", "-it", looping, *SHELL) as session:
        converse(session)


def test_pause_and_unpause(docker: Docker, looping: str) -> None:
    docker("pause", looping)
    assert docker.state(looping)["Status"] == "paused"
    docker("unpause", looping)
    docker("kill", "--signal", "USR1", looping)
    docker.logs_have(looping, "usr1")


def test_stop_and_restart(docker: Docker, looping: str) -> None:
    docker("stop", looping)
    state = docker.state(looping)
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 3, False)
    docker("start", looping)
    wait_until(lambda: docker("logs", looping).stdout.count("ready") == 2)
    docker("restart", looping)
    wait_until(lambda: docker("logs", looping).stdout.count("ready") == 3)


def test_kill_and_remove(docker: Docker, looping: str) -> None:
    pid = docker.state(looping)["Pid"]
    docker("kill", looping)
    assert docker.says("wait", looping) == "137"
    assert not alive(pid)
    docker("rm", looping)


def test_top(docker: Docker, looping: str) -> None:
    lines = docker.says("top", looping, "-o", "pid,args").splitlines()
    assert lines[0].split() == ["PID", "COMMAND"]
    assert lines[1].split()[:2] == [str(docker.state(looping)["Pid"]), "sh"]


def test_stats(docker: Docker, looping: str) -> None:
    found = json.loads(docker.says("stats", "--no-stream", "--format", "{{json .}}", looping))
    assert found["Name"] == looping
    assert int(found["PIDs"]) >= 1
    assert not found["MemUsage"].startswith("0B")


def test_limits_and_update(docker: Docker, named: str) -> None:
    options = ("--memory", "64m", "--pids-limit", "50", "--cpus", "0.5")
    docker.start(named, "sleep", "1000", options=options)
    docker("update", "--memory", "32m", "--memory-swap", "32m", "--cpus", "0.25", "--pids-limit", "40", named)
    pid = docker.state(named)["Pid"]
    memory, cpu, pids = (cgroup_of(pid, controller) for controller in ("memory", "cpu", "pids"))
    assert (pids / "pids.max").read_text() == "40\n"
    if (memory / "memory.max").exists():
        assert (memory / "memory.max").read_text() == "33554432\n"
        assert (cpu / "cpu.max").read_text() == "25000 100000\n"
    else:
        assert (memory / "memory.limit_in_bytes").read_text() == "33554432\n"
        assert (cpu / "cpu.cfs_quota_us").read_text() == "25000\n"
    docker("rm", "--force", named)


def test_killed_for_want_of_memory(docker: Docker, named: str) -> None:
    script = "tail /dev/zero; echo $?; exec sleep 1000"
    docker.start(named, "sh", "-c", script, options=("--memory", "16m", "--memory-swap", "16m"))
    docker.logs_have(named, "137")
    docker("kill", named)
    docker("wait", named)
    assert docker.state(named)["OOMKilled"] is True
    docker("rm", named)


def test_init(docker: Docker) -> None:
    done = docker.run("--init", BUSYBOX, "sh", "-c", "cat /proc/1/comm; kill -9 $$", check=False)
    assert (done.returncode, done.stdout) == (137, "docker-init\n")


def test_confinement(docker: Docker) -> None:
    options = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--tmpfs", "/run")
    script = "touch /made; touch /run/made; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status"
    done = docker.run(*options, BUSYBOX, "sh", "-c", script, check=False)
    assert done.stdout.split() == ["CapBnd:", f"{0:016x}", "NoNewPrivs:", "1", "Seccomp:", "2"]
    assert "/made: Read-only file system" in done.stderr
