"""Processes of a cgroup: in it, frozen, killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libcontainer_py import cgroups
from libcontainer_py.cgroups import Mode
from libcontainer_py.cgroups.hierarchies import read_hierarchies
from libcontainer_py.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py.cgroups import Cgroup


def processor_ticks(pid: int) -> int:
    """How long a process ran: utime and stime of /proc/PID/stat, clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def mkdir_in_all(cgroup: Cgroup, name: str) -> None:
    for path in cgroup.directories:
        os.makedirs(f"{path}/{name}")


# each child forks the next one and ends, so no list of pids is ever right; they end by themselves after a minute
FORK = """
end = time.monotonic() + 60
for _ in range(6):
    if os.fork() == 0:
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
        os._exit(0)
signal.pause()
"""


def test_processes_of_it_and_below_it(
    cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]], descriptors: Callable[[], set[str]]
) -> None:
    first = join(cgroup)
    mkdir_in_all(cgroup, "below")
    if cgroups.detect() is Mode.V2:
        below = cgroups.from_paths({"": cgroup.paths[""] + "/below"})
    else:
        below = cgroups.from_paths({key: path + "/below" for key, path in cgroup.paths.items() if key != "cpuset"})
    second = join(below)
    assert cgroup.processes() == sorted([first.pid, second.pid])
    assert below.processes() == [second.pid]
    before = descriptors()
    cgroup.kill()
    assert descriptors() == before
    assert cgroup.processes() == []
    assert {first.wait(5), second.wait(5)} == {-signal.SIGKILL}


def test_one_that_is_gone_has_no_processes_and_is_not_frozen(cgroup: Cgroup) -> None:
    cgroup.remove()
    assert cgroup.processes() == []
    assert not cgroup.frozen()
    cgroup.kill()
    with pytest.raises(CgroupError, match="frozen"):
        cgroup.freeze()
    with pytest.raises(CgroupError, match="thawed"):
        cgroup.thaw()


def test_attached_in_every_hierarchy(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    process = join(cgroup)
    own = {
        controller: path
        for line in Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
        for _, controllers, path in [line.split(":", 2)]
        for controller in controllers.split(",")
    }
    for controller, path in cgroup.paths.items():
        assert path.endswith(own[controller])


def test_clone_into_the_v2_directory(cgroup: Cgroup) -> None:
    descriptor = cgroup.clone_descriptor()
    if descriptor is None:
        assert "" not in cgroup.paths
        pytest.skip("needs cgroup v2, beside v1 or alone")
    # struct clone_args: flags CLONE_INTO_CGROUP, exit_signal SIGCHLD, cgroup
    code = f"""
import os
from libcontainer_py.kernel import libc
import ctypes, struct
arguments = struct.pack("=11Q", 1 << 33, 0, 0, 0, {signal.SIGCHLD.value}, 0, 0, 0, 0, 0, {descriptor})
pid = libc.syscall("clone3", ctypes.create_string_buffer(arguments, 88), 88)
if pid == 0:
    os.write(1, open("/proc/self/cgroup", "rb").read())
    os._exit(0)
os.waitpid(pid, 0)
"""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], pass_fds=[descriptor], capture_output=True, text=True, check=True
        )
    finally:
        os.close(descriptor)
    own = [line for line in done.stdout.splitlines() if line.startswith("0::")]
    assert cgroup.paths[""].endswith(own[0].removeprefix("0::"))


def test_frozen_processes_stand_still(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    process = join(cgroup, "while True: pass")
    assert not cgroup.frozen()
    cgroup.freeze()
    assert cgroup.frozen()
    ticks = processor_ticks(process.pid)
    # it would have run for about 20 ticks
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    assert processor_ticks(process.pid) == ticks
    cgroup.freeze()
    cgroup.thaw()
    assert not cgroup.frozen()
    cgroup.thaw()
    end = time.monotonic() + 5
    while processor_ticks(process.pid) == ticks:
        assert time.monotonic() < end, "it does not go on"


def test_a_frozen_parent_is_not_ones_own_setting(cgroup: Cgroup, group: str) -> None:
    above = cgroups.for_container(group, "above")
    above.freeze()
    try:
        assert above.frozen()
        assert not cgroup.frozen()
    finally:
        above.thaw()


def test_what_is_not_frozen_in_time_is_thawed(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    # more running processes than processors: those that wait for one cannot stand still at once
    join(cgroup, f"for _ in range({4 * (os.cpu_count() or 1)}):\n    if os.fork() == 0: break\nwhile True: pass")
    end = time.monotonic() + 5
    while len(cgroup.processes()) <= 4 * (os.cpu_count() or 1):
        assert time.monotonic() < end
    with pytest.raises(CgroupError, match="stand still") as caught:
        cgroup.freeze(timeout=0)
    assert caught.value.errno == errno.ETIMEDOUT
    assert not cgroup.frozen()
    cgroup.freeze()
    assert cgroup.frozen()


@pytest.mark.parametrize("is_frozen", [False, True])
def test_kill_ends_processes_that_keep_forking(
    cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]], is_frozen: bool
) -> None:
    process = join(cgroup, FORK)
    end = time.monotonic() + 5
    while len(cgroup.processes()) < 4:
        assert time.monotonic() < end
    if is_frozen:
        cgroup.freeze()
    cgroup.kill()
    assert cgroup.processes() == []
    assert not cgroup.frozen()
    assert process.wait(5) == -signal.SIGKILL
    cgroup.remove()


def test_kill_without_the_kernels_own_kill(
    cgroup: Cgroup,
    join: Callable[..., subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
    descriptors: Callable[[], set[str]],
) -> None:
    """cgroup.kill is there since Linux 5.14; before, and on v1, each process is killed."""
    monkeypatch.setattr("libcontainer_py.cgroups.killing.kill_at_once", lambda path: False)
    process = join(cgroup, FORK)
    before = descriptors()
    cgroup.kill()
    assert descriptors() == before
    assert cgroup.processes() == []
    assert process.wait(5) == -signal.SIGKILL


def test_kill_finds_processes_that_left_some_hierarchies(
    cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]
) -> None:
    if len(cgroup.directories) < 3:
        pytest.skip("needs cgroup v1: on v2 there is one hierarchy")
    process = join(cgroup)
    for controller in ("freezer", "devices", ""):
        mount = read_hierarchies().mounts.get(controller)
        if mount is not None:
            Path(mount.point, "cgroup.procs").write_text(str(process.pid))
    assert cgroup.processes() == []
    cgroup.kill()
    assert process.wait(5) == -signal.SIGKILL
    cgroup.remove()


def test_an_empty_one_is_thawed_by_kill(cgroup: Cgroup) -> None:
    cgroup.freeze()
    cgroup.kill()
    assert not cgroup.frozen()


def test_kill_thaws_what_the_container_froze_below(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    mkdir_in_all(cgroup, "below")
    below = cgroups.from_paths({key: path + "/below" for key, path in cgroup.paths.items() if key != "cpuset"})
    process = join(below)
    below.freeze()
    cgroup.kill()
    assert process.wait(5) == -signal.SIGKILL


def test_kill_gives_up_at_its_deadline(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]], group: str) -> None:
    join(cgroup)
    if cgroups.detect() is Mode.V2:
        pytest.skip("needs cgroup v1: frozen processes of v2 can be killed")
    above = cgroups.for_container(group, "above")
    above.freeze()
    try:
        with pytest.raises(CgroupError, match="does not die"):
            cgroup.kill(time.monotonic() + 0.2)
    finally:
        above.thaw()
