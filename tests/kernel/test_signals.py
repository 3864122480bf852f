"""Who belongs to a container, and signals for all of them: with a pid namespace of its own, and without."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from libcontainer_py import CgroupError, Container, ContainerProcess, IllegalOperation, Status
from libcontainer_py.kernel import process
from tests.kernel.workshop import PATIENCE, Config, Workshop, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WAITS = ["/bin/busybox", "sleep", "1000"]
CHILD = "(trap 'echo child; exit' USR1; echo ready; while :; do sleep 0.02; done) & "
LEAVES = "/bin/busybox setsid sleep 1000 < /dev/null > /dev/null 2>&1 & exit 0"


def config(script: str, *, private: bool = True) -> Config:
    made = runc_spec()
    made["process"]["args"] = ["/bin/sh", "-c", script]
    if not private:
        made["linux"]["namespaces"] = [one for one in made["linux"]["namespaces"] if one["type"] != "pid"]
    return made


def running(workshop: Workshop, script: str, *, private: bool = True) -> tuple[Container, int]:
    """With a descriptor to read what it writes."""
    reader, writer = os.pipe()
    try:
        container = workshop.create(config(script, private=private), stdin=-3, stdout=writer)
    finally:
        os.close(writer)
    container.start()
    return container, reader


def lines(reader: int, count: int) -> list[str]:
    """The next lines that it writes."""
    data = b""
    while data.count(b"\n") < count:
        piece = os.read(reader, 4096)
        assert piece, data
        data += piece
    return data.decode().split()


def gone(pid: int) -> bool:
    """Whether a process ends within our patience; one that is nobody's child any more is taken by the host's init."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EINVAL):  # EINVAL: it is being reaped just now (before Linux 6.9)
            raise
        return True
    try:
        return process.has_ended(pidfd, PATIENCE)
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("private", [True, False], ids=["own", "shared"])
def test_who_is_in_it(workshop: Workshop, private: bool) -> None:
    with workshop.create(config("exec sleep 1000", private=private)) as container:
        assert container.processes() == [container.init_pid]
        container.start()
        with container.spawn(WAITS) as further:
            assert container.processes() == sorted([container.init_pid or 0, further.pid])
            further.kill()
        assert container.processes() == [container.init_pid]
    assert container.processes() == []


def test_who_is_in_a_cgroup_below(workshop: Workshop) -> None:
    with workshop.create(config("exec sleep 1000")) as container:
        container.start()
        path = next(iter(dict(container._record.cgroup_paths).values()))
        with container.spawn(WAITS) as further:
            for place in dict(container._record.cgroup_paths).values():
                os.mkdir(f"{place}/below")
                for name in ("cpuset.cpus", "cpuset.mems"):
                    if os.path.exists(f"{place}/{name}"):
                        Path(f"{place}/below/{name}").write_text(Path(f"{place}/{name}").read_text())
                Path(f"{place}/below/cgroup.procs").write_text(str(further.pid))
            assert str(further.pid) in Path(path, "below", "cgroup.procs").read_text().split()
            assert container.processes() == sorted([container.init_pid or 0, further.pid])
            container.signal("TERM", all=True)
            assert further.wait(PATIENCE) == -15


@pytest.mark.parametrize("private", [True, False], ids=["own", "shared"])
def test_a_signal_for_all(workshop: Workshop, private: bool) -> None:
    script = "trap 'echo init' USR1; " + CHILD + "while :; do wait; done"
    container, reader = running(workshop, script, private=private)
    with container, container.spawn(WAITS) as further:
        assert lines(reader, 1) == ["ready"]
        container.signal("USR1")
        assert lines(reader, 1) == ["init"]
        assert further.poll() is None
        container.signal("USR1", all=True)
        assert sorted(lines(reader, 2)) == ["child", "init"]
        assert further.wait(PATIENCE) == -10
        assert container.status is Status.RUNNING
    os.close(reader)


def test_who_is_paused_gets_it_when_resumed(workshop: Workshop) -> None:
    with workshop.create(config("exec sleep 1000")) as container:
        container.start()
        with container.spawn(WAITS) as further:
            container.pause()
            container.signal("TERM", all=True)
            assert container.status is Status.PAUSED
            assert further.poll() is None
            container.resume()
            assert further.wait(PATIENCE) == -15
            container.pause()
            container.signal("KILL", all=True)
            assert container.wait(PATIENCE).returncode == -9


@pytest.mark.parametrize("everybody", [False, True], ids=["kill", "all"])
@pytest.mark.parametrize("private", [True, False], ids=["own", "shared"])
def test_a_kill_ends_all(workshop: Workshop, private: bool, everybody: bool) -> None:
    container, reader = running(workshop, CHILD + "exec sleep 1000", private=private)
    with container:
        assert lines(reader, 1) == ["ready"]
        before = container.processes()
        assert len(before) >= 2
        if everybody:
            container.signal(9, all=True)
        else:
            container.kill()
        assert container.wait(PATIENCE).returncode == -9
        assert all(map(gone, before))
    os.close(reader)


def test_what_init_left_behind(workshop: Workshop) -> None:
    with workshop.create(config(LEAVES, private=False), stdin=-3) as container:
        container.start()
        assert container.wait(PATIENCE).returncode == 0
        left = container.processes()
        assert len(left) == 1
        with pytest.raises(IllegalOperation, match="container not running"):
            container.signal("TERM")
        with pytest.raises(IllegalOperation, match="container not running"):
            container.kill()
        container.signal("TERM", all=True)
        assert gone(left[0])
        with pytest.raises(IllegalOperation, match="container not running"):
            container.signal("TERM", all=True)


def test_a_stopped_one_whose_processes_ended_with_init(workshop: Workshop) -> None:
    with workshop.create(config("exit 0"), stdin=-3) as container:
        container.start()
        container.wait(PATIENCE)
        assert container.processes() == []
        with pytest.raises(IllegalOperation, match="container not running"):
            container.signal("KILL", all=True)


def test_a_command_that_is_killed_with_the_container_was_killed_by_us(workshop: Workshop) -> None:
    with workshop.create(config("exec sleep 1000")) as container:
        container.start()
        process: ContainerProcess = container.spawn(WAITS)
        container.kill()
        assert process.wait(PATIENCE) == -9
        assert process._spawned.killed


def test_without_a_cgroup(as_nobody: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    code = (
        "from libcontainer_py import CgroupError, Sandbox\n"
        "with Sandbox() as sandbox:\n"
        "    for verb in (sandbox.container.processes, lambda: sandbox.container.signal('TERM', all=True)):\n"
        "        try:\n"
        "            verb()\n"
        "        except CgroupError as error:\n"
        "            print('has no cgroup of its own' in str(error))\n"
        "    sandbox.container.signal('KILL', all=True)\n"
        "    print(sandbox.container.wait(10).returncode)\n"
    )
    done = as_nobody("-c", code)
    assert (done.stdout, done.stderr) == ("True\nTrue\n-9\n", "")


def test_errors_are_ours(workshop: Workshop) -> None:
    with workshop.create(config("exec sleep 1000")) as container:
        with pytest.raises(ValueError, match="unknown signal"):
            container.signal("NONE", all=True)
        record = container._record._replace(cgroup_paths={})
        other = Container.of(container._backend, record, owner=False)
        with pytest.raises(CgroupError, match="no cgroup of its own"):
            other.processes()
