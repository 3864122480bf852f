"""podman of an ordinary user: the runtime is root in the user namespace that podman made, and has no cgroups."""

from __future__ import annotations

import os

import pytest

from tests.engines.images import BUSYBOX
from tests.engines.podman import RootlessPodman, alive
from tests.engines.programs import SHELL, converse, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sleeping(rootless: RootlessPodman, named: str) -> Iterator[str]:
    """A container that sleeps."""
    rootless.start(named, "sleep", "1000")
    yield named
    rootless("rm", "--force", "--time", "0", named, check=False)


def test_run(rootless: RootlessPodman) -> None:
    done = rootless.run(
        BUSYBOX, "sh", "-c", "echo out; echo error >&2; id -u; cat /proc/self/uid_map; exit 7", check=False
    )
    assert (done.returncode, done.stderr) == (7, "error\n")
    assert done.stdout.split() == ["out", "0", "0", "65534", "1", "1", "300000", "65536"]


@pytest.mark.parametrize(("program", "code"), [("nowhere", 127), ("/bin/plain", 126)])
def test_a_program_that_cannot_run(rootless: RootlessPodman, program: str, code: int) -> None:
    assert rootless.run(BUSYBOX, program, check=False).returncode == code


def test_root_is_the_user_outside(rootless: RootlessPodman, sleeping: str) -> None:
    assert os.stat(f"/proc/{rootless.pid(sleeping)}").st_uid == 65534


def test_another_user_is_of_the_range(rootless: RootlessPodman, named: str) -> None:
    rootless.start(named, "sleep", "1000", options=("--user", "1000"))
    assert os.stat(f"/proc/{rootless.pid(named)}").st_uid == 300999
    rootless("rm", "--force", "--time", "0", named)


def test_exec(rootless: RootlessPodman, sleeping: str) -> None:
    done = rootless("exec", sleeping, "sh", "-c", "echo out; exit 5", check=False)
    assert (done.returncode, done.stdout) == (5, "out\n")
    assert rootless("exec", sleeping, "nowhere", check=False).returncode == 127


def test_at_a_terminal(rootless: RootlessPodman, sleeping: str) -> None:
    with rootless.at_terminal("run", "-it", "--rm", BUSYBOX, *SHELL) as session:
        converse(session)
    with rootless.at_terminal("exec", "-it", sleeping, *SHELL) as session:
        converse(session)


def test_kill_stop_and_restart(rootless: RootlessPodman, named: str) -> None:
    rootless.start(named, "sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    rootless.logs_have(named, "ready")
    rootless("stop", named)
    assert rootless.inspect(named)["State"]["ExitCode"] == 3
    rootless("start", named)
    wait_until(lambda: rootless("logs", named).stdout.count("ready") == 2)
    pid = rootless.pid(named)
    rootless("kill", named)
    assert rootless.says("wait", named) == "137"
    assert not alive(pid)
    rootless("rm", named)


def test_remove_by_force(rootless: RootlessPodman, sleeping: str) -> None:
    pid = rootless.pid(sleeping)
    rootless("rm", "--force", "--time", "0", sleeping)
    assert not alive(pid)


def test_confinement(rootless: RootlessPodman) -> None:
    options = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--volume", "/etc:/host:ro")
    script = "touch /made; touch /host/made; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status"
    done = rootless.run(*options, BUSYBOX, "sh", "-c", script)
    assert done.stdout.split() == ["CapBnd:", f"{0:016x}", "NoNewPrivs:", "1", "Seccomp:", "2"]
    assert done.stderr.count("Read-only file system") == 2


def test_keep_id(rootless: RootlessPodman) -> None:
    done = rootless.run("--userns", "keep-id", BUSYBOX, "sh", "-c", "id -u; cat /proc/self/uid_map")
    assert done.stdout.split()[0] == "65534"
