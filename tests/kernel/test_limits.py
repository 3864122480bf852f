"""Limits of real containers: set when they are created, changed while they are there, told by their state."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import (
    CgroupError,
    ConfigError,
    ContainerNotFound,
    CreateError,
    HookError,
    IllegalOperation,
    Operation,
    ProgramNotFound,
    StateError,
    Status,
    cgroups,
)
from libcontainer_py.cgroups import Mode
from libcontainer_py.spec import Resources
from tests.kernel.workshop import PATIENCE, Config, Workshop, cgroups_of, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libcontainer_py import Container

MIB = 1 << 20


def limited(*args: str, **resources: Any) -> Config:
    """A configuration with these limits, and this program: by default one that runs for ever."""
    config = runc_spec()
    config["process"]["args"] = list(args) or ["/bin/busybox", "sleep", "1000000"]
    config["linux"]["resources"] |= resources
    return config


def directory(container: Container, controller: str) -> Path:
    """Where a controller of v1 is, or the one directory of v2."""
    state = json.loads(Path(container.directory, "state.json").read_text())
    paths: dict[str, str] = state["cgroup_paths"]
    return Path(paths.get(controller) or paths[""])


def pids_max(container: Container) -> str:
    return (directory(container, "pids") / "pids.max").read_text().strip()


def memory_max(container: Container) -> int:
    name = "memory.max" if cgroups.detect() is Mode.V2 else "memory.limit_in_bytes"
    return int((directory(container, "memory") / name).read_text())


def kept(container: Container) -> dict[str, Any]:
    """What state.json says of limits, in runc's words."""
    state = json.loads(Path(container.directory, "state.json").read_text())
    names = {"devices", "name", "path", "scope_prefix", "Systemd", "Rootless"}
    return {key: value for key, value in state["config"]["cgroups"].items() if key not in names}


def resources(**sections: Any) -> Resources:
    return Resources.from_dict(sections)


# -- create -----------------------------------------------------------------------------------------------------------


def test_limits_are_there_before_the_program(workshop: Workshop) -> None:
    config = limited(pids={"limit": 9}, memory={"limit": 64 * MIB}, cpu={"shares": 512})
    with workshop.create(config) as container:
        assert container.status is Status.CREATED
        assert (pids_max(container), memory_max(container)) == ("9", 64 * MIB)
        assert kept(container) == {"pids_limit": 9, "memory": 64 * MIB, "cpu_shares": 512, "cpu_weight": 59}
        container.start()
        assert (pids_max(container), memory_max(container)) == ("9", 64 * MIB)


def test_no_task_but_init(workshop: Workshop) -> None:
    """Init itself is born into its cgroup on v2, where a limit of 0 would let nobody be born."""
    script = "/bin/busybox true || echo refused; exec /bin/busybox echo $?"
    assert "refused" not in workshop.output(limited("/bin/sh", "-c", script, pids={"limit": 2}))
    told = workshop.output(limited("/bin/sh", "-c", script, pids={"limit": 0}), returncode=None)
    assert "can't fork" in told


def test_without_limits_nothing_of_them_is_loaded(workshop: Workshop) -> None:
    code = (
        "import sys\n"
        "from libcontainer_py import Factory\n"
        "with Factory(sys.argv[1]).create(sys.argv[2], sys.argv[3]) as container:\n"
        "    container.start()\n"
        "    container.kill()\n"
        "    container.wait()\n"
        "print([name for name in sys.modules if 'cgroups.control' in name])\n"
    )
    for config, loaded in ((limited(), False), (limited(pids={"limit": 5}), True)):
        arguments = [str(workshop.root), workshop.new_id(), str(workshop.bundle(config))]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        assert (done.stdout != "[]\n") is loaded


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"pids": {"limit": 2**40}}, "pids.limit"),
        ({"pids": {"limit": 5}, "cpu": {"quota": 5}}, "cpu.quota"),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 255, "rate": 5}]}}, ""),
        ({"hugepageLimits": [{"pageSize": "3MB", "limit": 5}]}, "hugepageLimits[0].limit"),
    ],
)
def test_a_limit_that_cannot_be_had(workshop: Workshop, sections: dict[str, Any], field: str) -> None:
    container_id = workshop.new_id()
    with pytest.raises(CgroupError) as caught:
        workshop.factory.create(container_id, workshop.bundle(limited(**sections)))
    assert caught.value.field == field or caught.value.field.startswith("blockIO.")
    assert caught.value.errno
    assert workshop.entries() == []
    assert cgroups_of(container_id) == []


@pytest.fixture
def ready_made() -> Iterator[str]:
    """A cgroup that was there before, with a limit of 33 tasks."""
    name = f"/lcpy-ready-{os.urandom(4).hex()}"
    cgroup = cgroups.for_container(name, "")
    cgroup.create()
    cgroup.set(resources(pids={"limit": 33}))
    yield name
    cgroup.remove()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"linux": {"resources": {"cpu": {"quota": 5}}}}, CgroupError),
        ({"process": {"args": ["/nothing/there"]}}, ProgramNotFound),
        ({"hooks": {"createRuntime": [{"path": "/bin/false"}]}}, HookError),
    ],
)
def test_a_failed_create_leaves_a_cgroup_the_limits_that_it_had(
    workshop: Workshop, ready_made: str, change: Config, error: type[Exception]
) -> None:
    config = limited(pids={"limit": 5})
    config["linux"]["cgroupsPath"] = ready_made
    config["linux"]["resources"] |= change.get("linux", {}).get("resources", {})
    config["process"] |= change.get("process", {})
    config["hooks"] = change.get("hooks", {})
    cgroup = cgroups.for_container(ready_made, "")
    file = Path(cgroup.paths.get("pids") or cgroup.paths[""], "pids.max")
    with pytest.raises(error):
        workshop.create(config)
    assert file.read_text() == "33\n"
    config["linux"]["resources"].pop("cpu", None)
    config["process"]["args"] = ["/bin/busybox", "true"]
    config["hooks"] = {}
    with workshop.create(config):
        assert file.read_text() == "5\n"


def test_a_cgroup_that_was_killed_before(workshop: Workshop, ready_made: str) -> None:
    """On v2 nobody can be born there by clone3 any more."""
    unified = cgroups.for_container(ready_made, "").paths.get("")
    if unified is None or not Path(unified, "cgroup.kill").exists():
        pytest.skip("needs cgroup v2 with cgroup.kill")
    Path(unified, "cgroup.kill").write_text("1")
    config = limited()
    config["linux"]["cgroupsPath"] = ready_made
    with workshop.create(config) as container:
        container.start()
        assert container.init_pid is not None
        assert f"0::{ready_made}\n" in Path(f"/proc/{container.init_pid}/cgroup").read_text()


def test_a_cgroup_that_passes_controllers_down(workshop: Workshop, ready_made: str) -> None:
    """No process can be in it on v2."""
    if cgroups.detect() is not Mode.V2:
        pytest.skip("needs cgroup v2 alone")
    unified = cgroups.for_container(ready_made, "").paths[""]
    Path(unified, "cgroup.subtree_control").write_text("+memory")
    Path(unified, "below").mkdir()
    config = limited(pids={"limit": 5})
    config["linux"]["cgroupsPath"] = ready_made
    with pytest.raises(CgroupError, match="passes controllers down") as caught:
        workshop.create(config)
    assert (caught.value.errno, caught.value.path) == (errno.EBUSY, unified)
    assert workshop.entries() == []
    assert Path(unified, "pids.max").read_text() == "33\n"
    config["linux"]["cgroupsPath"] = f"{ready_made}/below"
    with workshop.create(config) as container:
        assert pids_max(container) == "5"


def test_too_little_memory_to_start(workshop: Workshop) -> None:
    container_id = workshop.new_id()
    with pytest.raises(CreateError, match="too little memory") as caught:
        workshop.factory.create(container_id, workshop.bundle(limited(memory={"limit": 65536})))
    assert (caught.value.errno, caught.value.subject) == (errno.ENOMEM, "linux.resources.memory")
    assert caught.value.hint
    assert workshop.entries() == []
    assert cgroups_of(container_id) == []


def test_little_memory_is_enough(workshop: Workshop) -> None:
    assert workshop.output(limited("/bin/busybox", "echo", "done", memory={"limit": 4 * MIB})) == "done\n"


def test_an_ordinary_user_is_told_what_to_do(
    as_nobody: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    config = limited(pids={"limit": 5})
    config["linux"]["namespaces"].append({"type": "user"})
    maps = [{"containerID": 0, "hostID": 65534, "size": 1}]
    config["linux"] |= {"uidMappings": maps, "gidMappings": maps}
    config["root"]["path"] = "/usr"
    code = (
        "import sys\n"
        "from libcontainer_py import CgroupError, Factory, Spec\n"
        "try:\n"
        "    Factory(sys.argv[1]).create('mine', Spec.from_json(sys.argv[2]))\n"
        "except CgroupError as error:\n"
        "    print(error.errno, error.path, error.hint)\n"
    )
    done = as_nobody("-c", code, f"/tmp/lcpy-{os.urandom(6).hex()}", json.dumps(config))
    assert done.stdout.startswith(f"{errno.EACCES} linux.resources name a cgroup that was delegated"), done.stderr


# -- update -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["created", "running", "paused"])
def test_update(workshop: Workshop, status: str) -> None:
    with workshop.create(limited(pids={"limit": 9}, memory={"limit": 64 * MIB, "swap": 96 * MIB})) as container:
        if status != "created":
            container.start()
        if status == "paused":
            container.pause()
        container.update(resources(pids={"limit": 7}))
        assert container.status.value == status
        assert (pids_max(container), memory_max(container)) == ("7", 64 * MIB)
        expected = {"pids_limit": 7, "memory": 64 * MIB, "memory_swap": 96 * MIB}
        assert kept(container) == expected
        # another handle, another process: what was not given is what the state tells
        other = workshop.factory.load(container.id)
        other.update(resources(memory={"limit": 80 * MIB}, cpu={"quota": 50000}))
        assert kept(container) == {**expected, "memory": 80 * MIB, "cpu_quota": 50000}
        assert (pids_max(container), memory_max(container)) == ("7", 80 * MIB)
        container.update(resources(cpu={"period": 50000}))
        v2 = cgroups.detect() is Mode.V2
        bandwidth = [
            (directory(container, "cpu") / name).read_text().split()
            for name in (["cpu.max"] if v2 else ["cpu.cfs_quota_us", "cpu.cfs_period_us"])
        ]
        assert [word for words in bandwidth for word in words] == ["50000", "50000"]
        if status == "paused":
            container.resume()
        if status == "created":
            container.start()
        assert container.status is Status.RUNNING


def test_update_of_a_stopped_one(workshop: Workshop) -> None:
    with workshop.create(limited(pids={"limit": 9})) as container:
        container.kill()
        container.wait(PATIENCE)
        before = kept(container)
        with pytest.raises(IllegalOperation, match=r"^container not running$") as caught:
            container.update(resources(pids={"limit": 7}))
        assert (caught.value.operation, caught.value.status) == (Operation.UPDATE, Status.STOPPED)
        assert kept(container) == before
        assert pids_max(container) == "9"
    with pytest.raises(ContainerNotFound):
        container.update(resources(pids={"limit": 7}))


def test_an_update_that_fails_changes_nothing(workshop: Workshop) -> None:
    with workshop.create(limited(pids={"limit": 9}, memory={"limit": 64 * MIB, "swap": 64 * MIB})) as container:
        container.start()
        before = kept(container)

        def unchanged() -> bool:
            return (kept(container), pids_max(container), memory_max(container)) == (before, "9", 64 * MIB)

        with pytest.raises(CgroupError) as caught:
            container.update(resources(cpu={"shares": 512, "quota": 1}, pids={"limit": 7}))
        assert (caught.value.field, caught.value.value, caught.value.errno) == ("cpu.quota", "1", errno.EINVAL)
        assert unchanged()
        # together with what is known it is wrong
        with pytest.raises(ConfigError, match="less than the limit") as wrong:
            container.update(resources(pids={"limit": 7}, memory={"limit": 65 * MIB}))
        assert [problem.path for problem in wrong.value.problems] == ["memory"]
        assert unchanged()
        with pytest.raises(ConfigError, match="devices"):
            container.update(resources(pids={"limit": 7}, devices=[{"allow": True, "access": "rwm"}]))
        with pytest.raises(TypeError, match="from_dict makes one"):
            container.update({"pids": {"limit": 7}})  # type: ignore[arg-type]  # wrong on purpose
        assert unchanged()
        # and neither does one that cannot be written down
        os.rename(container.directory, container.directory + ".gone")
        try:
            with pytest.raises(ContainerNotFound):
                container.update(resources(pids={"limit": 7}))
        finally:
            os.rename(container.directory + ".gone", container.directory)
        assert unchanged()
        container.update(resources(pids={"limit": 7}, memory={"limit": 65 * MIB, "swap": 65 * MIB}))
        assert (pids_max(container), memory_max(container)) == ("7", 65 * MIB)


def test_an_update_that_cannot_be_written_down(workshop: Workshop) -> None:
    with workshop.create(limited(pids={"limit": 9})) as container:
        before = kept(container)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # control files have no size, state.json would have one
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            with pytest.raises(StateError, match="File too large"):
                container.update(resources(pids={"limit": 7}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (kept(container), pids_max(container)) == (before, "9")


def test_unlimited_again(workshop: Workshop) -> None:
    config = limited(pids={"limit": 9}, memory={"limit": 64 * MIB, "swap": 64 * MIB})
    with workshop.create(config) as container:
        container.update(resources(pids={"limit": -1}, memory={"limit": -1}))
        assert pids_max(container) == "max"
        assert kept(container) == {"pids_limit": -1, "memory": -1}
        name = "memory.max" if cgroups.detect() is Mode.V2 else "memory.limit_in_bytes"
        shown = (directory(container, "memory") / name).read_text().strip()
        assert shown in ("max", str(0x7FFFFFFFFFFFF000))


# -- statistics -------------------------------------------------------------------------------------------------------


def test_statistics(workshop: Workshop) -> None:
    config = limited(pids={"limit": 9}, memory={"limit": 64 * MIB, "swap": 96 * MIB})
    with workshop.create(config) as container:
        container.start()
        found = container.stats()
        assert found.pids is not None
        assert found.memory is not None
        assert found.cpu is not None
        assert (found.pids.current, found.pids.limit) == (1, 9)
        assert (found.memory.limit_bytes, found.memory.swap_limit_bytes) == (64 * MIB, 32 * MIB)
        assert 0 < found.memory.usage_bytes < 64 * MIB
        container.pause()
        again = workshop.factory.load(container.id).stats()
        assert again.cpu is not None
        assert (again.taken_ns > found.taken_ns, again.cpu.usage_ns >= found.cpu.usage_ns) == (True, True)
        container.kill()
        container.wait(PATIENCE)
        ended = container.stats()
        assert ended.pids is not None
        assert ended.pids.current == 0
    with pytest.raises(CgroupError, match="gone") as caught:
        container.stats()
    assert caught.value.errno == errno.ENOENT
    # and not those of another that has its id
    with workshop.factory.create(container.id, workshop.bundle(limited())):
        with pytest.raises(CgroupError, match="gone"):
            container.stats()
        workshop.factory.load(container.id).stats()
