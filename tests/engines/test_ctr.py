"""containerd's shim, driven by containerd's own client."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engines.containerd import Ctr
from tests.engines.podman import alive, cgroup_of
from tests.engines.programs import SHELL, converse, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sleeping(ctr: Ctr, named: str) -> Iterator[str]:
    """A task that sleeps."""
    ctr.start(named, "sleep", "1000")
    yield named
    ctr.remove(named)


def test_run(ctr: Ctr, named: str) -> None:
    done = ctr.run(named, "sh", "-c", "echo out; echo error >&2; exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "error\n")
    assert ctr.run(named, "head", "-n", "1", given="through\n").stdout == "through\n"
    assert os.listdir(ctr.root / "lcpy-engines") in ([], [",lock"])


def test_run_of_what_is_not_there(ctr: Ctr, named: str) -> None:
    done = ctr.run(named, "nowhere", check=False)
    assert done.returncode == 1
    assert 'exec: "nowhere": executable file not found in $PATH' in done.stderr
    assert named not in ctr.tasks()


def test_run_at_a_terminal(ctr: Ctr, named: str) -> None:
    with ctr.at_terminal_run(named, *SHELL) as session:
        converse(session)


def test_options(ctr: Ctr, named: str) -> None:
    options = ("--memory-limit", "33554432", "--cap-drop", "CAP_CHOWN", "--read-only", "--env", "A=1", "--seccomp")
    script = "echo $A; grep Seccomp: /proc/self/status; touch /made; chown 1 /tmp; cat /proc/self/mountinfo"
    done = ctr.run(named, "sh", "-c", script, options=options, check=False)
    assert done.stdout.split()[:3] == ["1", "Seccomp:", "2"]
    assert "/made: Read-only file system" in done.stderr
    pid = ctr.start(named, "sleep", "1000", options=options)
    folder = cgroup_of(pid, "memory")
    name = "memory.max" if (folder / "memory.max").exists() else "memory.limit_in_bytes"
    assert (folder / name).read_text() == "33554432\n"
    ctr.remove(named)


def test_exec(ctr: Ctr, sleeping: str) -> None:
    done = ctr.exec(sleeping, "sh", "-c", "echo out; echo error >&2; exit 5", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "error\n")
    assert ctr.exec(sleeping, "head", "-n", "1", given="through\n").stdout == "through\n"
    assert ctr.exec(sleeping, "cat", "/proc/1/comm").stdout == "sleep\n"
    done = ctr.exec(sleeping, "nowhere", check=False)
    assert done.returncode == 1
    assert "executable file not found in $PATH" in done.stderr


def test_exec_at_a_terminal(ctr: Ctr, sleeping: str) -> None:
    options = ("--tty", "--exec-id", "two", "--fifo-dir", str(ctr.folder / "fifo"))
    with ctr.at_terminal("task", "exec", *options, sleeping, *SHELL) as session:
        converse(session)


def test_pause_and_resume(ctr: Ctr, sleeping: str) -> None:
    ctr("task", "pause", sleeping)
    assert ctr.tasks()[sleeping][1] == "PAUSED"
    refused = ctr.exec(sleeping, "true", check=False)
    assert refused.returncode == 1
    assert "cannot exec in a paused" in refused.stderr
    ctr("task", "resume", sleeping)
    assert ctr.tasks()[sleeping][1] == "RUNNING"
    ctr.exec(sleeping, "true")


def test_kill_and_delete(ctr: Ctr, named: str) -> None:
    pid = ctr.start(named, "sh", "-c", "trap 'exit 3' TERM; echo $$ >/tmp/ready; while :; do sleep 0.05; done")
    wait_until(lambda: ctr.exec(named, "cat", "/tmp/ready", check=False).stdout == "1\n")
    refused = ctr("task", "delete", named, check=False)
    assert refused.returncode == 1
    ctr("task", "kill", named)
    wait_until(lambda: ctr.tasks()[named][1] == "STOPPED")
    assert not alive(pid)
    assert "exit code 3" in ctr("task", "delete", named).stderr
    ctr("container", "delete", named)
    assert not (ctr.root / "lcpy-engines" / named).exists()


def test_kill_of_what_is_dead(ctr: Ctr, sleeping: str) -> None:
    ctr("task", "kill", "--signal", "KILL", sleeping)
    wait_until(lambda: ctr.tasks()[sleeping][1] == "STOPPED")
    again = ctr("task", "kill", sleeping, check=False)
    assert again.returncode == 1
    assert "not found" in again.stderr


def test_processes(ctr: Ctr, sleeping: str) -> None:
    lines = ctr.says("task", "ps", sleeping).splitlines()
    assert [line.split()[0] for line in lines] == ["PID", str(ctr.tasks()[sleeping][0])]


def test_metrics(ctr: Ctr, sleeping: str) -> None:
    found = ctr.metrics(sleeping)
    pids = found["pids"]
    assert isinstance(pids, dict)
    assert pids["current"] == 1
    assert "memory" in found


def test_the_shim_is_the_parent_of_init(ctr: Ctr, sleeping: str) -> None:
    stat = Path(f"/proc/{ctr.tasks()[sleeping][0]}/stat").read_text()
    parent = stat.rpartition(")")[2].split()[1]
    assert Path(f"/proc/{parent}/comm").read_text().startswith("containerd-shim")
