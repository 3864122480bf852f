"""podman's own verbs, each as a user types it."""

from __future__ import annotations

import json

import pytest

from tests.engines.images import BUSYBOX
from tests.engines.podman import Podman, alive
from tests.engines.programs import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LOOP = 'trap "echo usr1" USR1; trap "echo term; exit 3" TERM; echo ready; while :; do sleep 0.05; done'


@pytest.fixture
def looping(podman: Podman, named: str) -> Iterator[str]:
    """A container that says what signals it gets, and exits with 3 at SIGTERM."""
    podman.start(named, "sh", "-c", LOOP)
    podman.logs_have(named, "ready")
    yield named
    podman("rm", "--force", "--time", "0", named, check=False)


def test_run(podman: Podman) -> None:
    done = podman.run(BUSYBOX, "sh", "-c", "echo out; echo error >&2; exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "error\n")
    assert podman.run("--interactive", BUSYBOX, "cat", given="through\n").stdout == "through\n"


def test_the_program_is_what_podman_says(podman: Podman) -> None:
    options = ("--env", "A=1", "--workdir", "/tmp", "--user", "65534:7", "--hostname", "box", "--umask", "0027")
    done = podman.run(*options, BUSYBOX, "sh", "-c", "echo $A; pwd; id -u; id -g; hostname; umask; cat /proc/1/comm")
    assert done.stdout.split() == ["1", "/tmp", "65534", "7", "box", "0027", "cat"]


@pytest.mark.parametrize(("program", "code"), [("nowhere", 127), ("/bin/nowhere", 127), ("/bin/plain", 126)])
def test_a_program_that_cannot_run_has_podmans_exit_code(podman: Podman, program: str, code: int) -> None:
    done = podman.run(BUSYBOX, program, check=False)
    assert done.returncode == code, done.stderr
    assert program in done.stderr


def test_detached_with_logs_and_wait(podman: Podman, named: str) -> None:
    podman.start(named, "sh", "-c", "echo out; echo error >&2; exit 9")
    assert podman.says("wait", named) == "9"
    logs = podman("logs", named)
    assert (logs.stdout, logs.stderr) == ("out\n", "error\n")
    state = podman.inspect(named)["State"]
    assert (state["Status"], state["ExitCode"], state["Error"]) == ("exited", 9, "")
    podman("rm", named)


def test_killed_by_itself(podman: Podman) -> None:
    assert podman.run(BUSYBOX, "sh", "-c", "kill -9 $$", check=False).returncode == 0  # pid 1 does not hear it
    assert podman.run("--pid", "host", BUSYBOX, "sh", "-c", "kill -9 $$", check=False).returncode == 137


def test_exec(podman: Podman, looping: str) -> None:
    done = podman("exec", looping, "sh", "-c", "echo out; echo error >&2; exit 5", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "error\n")
    assert podman("exec", "--interactive", looping, "cat", given="through\n").stdout == "through\n"
    options = ("--env", "A=1", "--workdir", "/tmp", "--user", "nobody")
    done = podman("exec", *options, looping, "sh", "-c", "echo $A; pwd; id -u; readlink /proc/self/ns/pid")
    assert done.stdout.split()[:3] == ["1", "/tmp", "65534"]
    assert done.stdout.split()[3] == podman.says("exec", looping, "readlink", "/proc/1/ns/pid")


def test_exec_of_what_cannot_run(podman: Podman, looping: str, named: str) -> None:
    assert podman("exec", looping, "nowhere", check=False).returncode == 127
    assert podman("exec", looping, "/bin/plain", check=False).returncode == 126
    podman("stop", "--time", "0", named)
    done = podman("exec", looping, "true", check=False)
    assert done.returncode == 255
    assert "container state improper" in done.stderr


def test_exec_detached(podman: Podman, looping: str) -> None:
    session = podman.says("exec", "--detach", looping, "sh", "-c", "echo $$ >/tmp/pid; exec sleep 1000")
    wait_until(lambda: podman("exec", looping, "cat", "/tmp/pid", check=False).stdout.strip() != "")
    pid = podman.says("exec", looping, "cat", "/tmp/pid")
    assert podman.says("exec", looping, "cat", f"/proc/{pid}/comm") == "sleep"
    assert session


def test_pause_and_unpause(podman: Podman, looping: str) -> None:
    podman("pause", looping)
    assert podman.status(looping) == "paused"
    stat = f"/proc/{podman.pid(looping)}/stat"

    def ticks() -> list[str]:
        with open(stat) as file:
            return file.read().rpartition(")")[2].split()[11:13]

    podman("kill", "--signal", "USR1", looping)
    before = ticks()
    assert podman("exec", looping, "true", check=False).returncode != 0
    assert ticks() == before
    assert "usr1" not in podman("logs", looping).stdout
    podman("unpause", looping)
    assert podman.status(looping) == "running"
    podman.logs_have(looping, "usr1")


def test_stop(podman: Podman, looping: str) -> None:
    podman("stop", looping)
    state = podman.inspect(looping)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 3)
    assert "term" in podman("logs", looping).stdout


def test_stop_of_one_that_will_not(podman: Podman, named: str) -> None:
    podman.start(named, "sleep", "1000")
    podman("stop", "--time", "0", named)
    assert podman.inspect(named)["State"]["ExitCode"] == 137
    podman("rm", named)


def test_kill(podman: Podman, looping: str) -> None:
    podman("kill", "--signal", "SIGUSR1", looping)
    podman.logs_have(looping, "usr1")
    podman("kill", looping)
    assert podman.says("wait", looping) == "137"
    assert podman("kill", looping, check=False).returncode == 125


def test_restart(podman: Podman, looping: str) -> None:
    before = podman.pid(looping)
    podman("restart", "--time", "5", looping)
    wait_until(lambda: podman("logs", looping).stdout.count("ready") == 2)
    assert podman.status(looping) == "running"
    assert not alive(before)
    podman("stop", "--time", "5", looping)
    podman("start", looping)
    wait_until(lambda: podman("logs", looping).stdout.count("ready") == 3)


@pytest.mark.parametrize("paused", [False, True])
def test_remove_by_force(podman: Podman, looping: str, *, paused: bool) -> None:
    pid = podman.pid(looping)
    if paused:
        podman("pause", looping)
    refused = podman("rm", looping, check=False)
    assert refused.returncode == 2
    podman("rm", "--force", "--time", "0", looping)
    assert podman("container", "exists", looping, check=False).returncode == 1
    assert not alive(pid)


def test_created_and_removed(podman: Podman, named: str) -> None:
    podman("create", "--name", named, BUSYBOX, "echo", "hello")
    podman("init", named)
    assert podman.status(named) == "initialized"
    assert podman("start", "--attach", named).stdout == "hello\n"
    podman("rm", named)


def test_top(podman: Podman, looping: str) -> None:
    podman("exec", "--detach", looping, "sleep", "12345")
    wait_until(lambda: "sleep 12345" in podman.says("top", looping, "pid", "args"))
    lines = podman.says("top", looping, "pid", "user", "args").splitlines()
    assert lines[0].split() == ["PID", "USER", "COMMAND"]
    assert lines[1].split()[:3] == ["1", "root", "sh"]


def test_stats(podman: Podman, looping: str) -> None:
    (found,) = json.loads(podman.says("stats", "--no-stream", "--format", "json", looping))
    assert found["name"] == looping
    assert int(found["pids"]) >= 1
    assert found["mem_usage"].split("B")[0].strip() not in ("", "0")


def test_health(podman: Podman, named: str) -> None:
    options = ("--health-cmd", "test -e /tmp/well", "--health-interval", "disable", "--health-retries", "1")
    podman.start(named, "sleep", "1000", options=options)
    assert podman("healthcheck", "run", named, check=False).returncode == 1
    podman("exec", named, "touch", "/tmp/well")
    podman("healthcheck", "run", named)
    assert podman.inspect(named)["State"]["Health"]["Status"] == "healthy"
    podman("rm", "--force", "--time", "0", named)


def test_copy(podman: Podman, looping: str) -> None:
    (podman.folder / "in").write_text("there\n")
    podman("cp", str(podman.folder / "in"), f"{looping}:/tmp/in")
    assert podman.says("exec", looping, "cat", "/tmp/in") == "there"
    podman("cp", f"{looping}:/etc/passwd", str(podman.folder / "out"))
    assert (podman.folder / "out").read_text().startswith("root:")


def test_what_podman_asks_of_a_runtime_before_it_checkpoints(podman: Podman, looping: str) -> None:
    done = podman("container", "checkpoint", looping, check=False)
    assert done.returncode == 125
    assert podman.status(looping) == "running"
