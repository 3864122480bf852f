"""Containers in groups of resctrl, from create to delete, and what is left of them after a crash: nothing.

No machine of ours has resctrl, so a directory stands for it; without that create refuses, which is tested too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from libcontainer_py import CgroupError, ConfigError, Factory, ProgramNotFound
from libcontainer_py.backends.base import SpawnRequest
from libcontainer_py.kernel import process
from tests.kernel.workshop import PATIENCE, Config, Workshop, cgroups_of, runc_spec
from tests.resctrl import StandIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNTED = "libcontainer_py.cgroups.resctrl.mounted"


def asking(**fields: Any) -> Config:
    config = runc_spec()
    config["linux"]["intelRdt"] = fields
    config["process"]["args"] = ["/bin/busybox", "true"]
    return config


@pytest.fixture
def resctrl(tmp_path: Path, root_only: None, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn(tmp_path / "resctrl")
    monkeypatch.setattr(MOUNTED, lambda: found)
    return found


def test_where_there_is_none_create_says_so(workshop: Workshop) -> None:
    known = "resctrl" in Path("/proc/filesystems").read_text().split()
    if known and any(" - resctrl " in line for line in Path("/proc/self/mountinfo").read_text().splitlines()):
        pytest.skip("needs a machine without resctrl")
    with pytest.raises(ConfigError) as caught:
        workshop.create(asking())
    (problem,) = caught.value.problems
    assert problem.path == "linux.intelRdt"
    if known:
        assert (problem.reason, problem.hint) == (
            "no resctrl file system is mounted here",
            "mount -t resctrl resctrl /sys/fs/resctrl",
        )
    else:
        assert problem.reason == "this kernel or this processor has no resctrl"
        assert "CONFIG_X86_CPU_RESCTRL" in problem.hint
    assert workshop.entries() == []


def test_a_group_lives_as_long_as_its_container(workshop: Workshop, resctrl: StandIn) -> None:
    config = asking(l3CacheSchema="L3:0=f", memBwSchema="MB:1=30", schemata=["L3:1=f"], enableMonitoring=True)
    hook = f'grep -q "$(sed \'s/.*"pid": *\\([0-9]*\\).*/\\1/\')" {resctrl.root}/*/tasks'
    config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", hook], "env": ["PATH=/usr/bin:/bin"]}]
    }
    with workshop.create(config) as container:
        name = container.id
        assert resctrl.groups() == {name, f"{name}/mon_groups/{name}"}
        for group in resctrl.groups():
            assert resctrl.tasks(group) == [str(container.init_pid)]
        assert resctrl.schemata(name) == {"L3": "0=f;1=f", "MB": "0=100;1=30"}
        assert f"on the host: resctrl {name} L3:0=f MB:1=30 L3:1=f    <- linux.intelRdt" in container.explain()
        saved = json.loads(Path(container.directory, "state.json").read_text())
        assert saved["intel_rdt_path"] == f"{resctrl.root}/{name}"
        assert saved["intel_rdt_mon_path"] == f"{resctrl.root}/{name}/mon_groups/{name}"
        assert saved["config"]["intel_rdt"] == {
            "l3_cache_schema": "L3:0=f",
            "memBwSchema": "MB:1=30",
            "schemata": ["L3:1=f"],
            "enableMonitoring": True,
        }
        container.start()
        container.wait(60)
        container.delete()
        assert resctrl.groups() == set()


def test_a_further_process_enters_the_groups(workshop: Workshop, resctrl: StandIn) -> None:
    config = asking(enableMonitoring=True)
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    with workshop.create(config) as container:
        container.start()
        files = [Path(resctrl.root, group, "tasks") for group in resctrl.groups()]
        for file in files:
            file.write_text("")
        request = SpawnRequest(("/bin/busybox", "true"))
        spawned = container._backend.spawn(container._record, request)
        ended = spawned.wait(timeout=PATIENCE)
        assert ended is not None
        assert ended.returncode == 0
        assert [file.read_text() for file in files] == ["0", "0"]  # itself, as the kernel takes it
        files[0].unlink()
        with pytest.raises(CgroupError, match="cannot be entered: No such file or directory; is resctrl mounted"):
            container._backend.spawn(container._record, request)


def test_even_an_empty_object_asks_for_a_group(workshop: Workshop, resctrl: StandIn) -> None:
    with workshop.create(asking()) as container:
        assert resctrl.groups() == {container.id}
    assert resctrl.groups() == set()


def test_a_named_group_outlives_its_containers(workshop: Workshop, resctrl: StandIn) -> None:
    config = asking(closID="gold", memBwSchema="MB:0=50", enableMonitoring=True)
    with workshop.create(config) as one, workshop.create(config) as two:
        assert resctrl.groups() == {"gold", f"gold/mon_groups/{one.id}", f"gold/mon_groups/{two.id}"}
        assert set(resctrl.tasks("gold")) == {str(one.init_pid), str(two.init_pid)}
    assert resctrl.groups() == {"gold"}
    with workshop.create(asking(closID="gold")) as container:
        assert str(container.init_pid) in resctrl.tasks("gold")
    assert resctrl.groups() == {"gold"}


def test_the_default_group(workshop: Workshop, resctrl: StandIn) -> None:
    with workshop.create(asking(closID="/")) as container:
        assert str(container.init_pid) in resctrl.tasks("")
        assert resctrl.groups() == set()
    assert Path(resctrl.root, "schemata").exists()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"closID": "silver"}, "linux.intelRdt.closID"),
        ({"closID": "gold", "memBwSchema": "MB:0=10"}, "linux.intelRdt.memBwSchema"),
        ({"closID": "gold", "l3CacheSchema": "L3:0=1"}, "linux.intelRdt.l3CacheSchema"),
    ],
)
def test_what_does_not_fit_the_groups_that_are_there(
    workshop: Workshop, resctrl: StandIn, fields: Config, path: str
) -> None:
    resctrl.make_directory(f"{resctrl.root}/gold")
    with pytest.raises(ConfigError) as caught:
        workshop.create(asking(**fields))
    assert [problem.path for problem in caught.value.problems] == [path]
    assert resctrl.groups() == {"gold"}


@pytest.mark.parametrize("fields", [{}, {"closID": "gold", "memBwSchema": "MB:0=50"}, {"enableMonitoring": True}])
def test_a_failed_create_leaves_no_group(workshop: Workshop, resctrl: StandIn, fields: Config) -> None:
    config = asking(**fields)
    config["process"]["args"] = ["/no/such/program"]
    with pytest.raises(ProgramNotFound):
        workshop.create(config)
    assert resctrl.groups() == set()
    assert [order for order in resctrl.orders if order.endswith("/tasks")]  # it had come that far


def test_what_the_kernel_refuses(workshop: Workshop, resctrl: StandIn) -> None:
    container_id = workshop.new_id()
    with pytest.raises(CgroupError, match="Unknown or unsupported resource name 'L9'"):
        workshop.factory.create(container_id, workshop.bundle(asking(schemata=["L9:0=1"])))
    assert resctrl.groups() == set()
    assert workshop.entries() == []
    assert cgroups_of(container_id) == []


CREATOR = """
import sys
from pathlib import Path
from libcontainer_py import Factory
from libcontainer_py.cgroups import resctrl
from tests.resctrl import StandIn
root, container_id, bundle, folder, order = sys.argv[1:]
standing = StandIn(Path(folder), dies_after=order)
resctrl.mounted = lambda: standing
Factory(root).create(container_id, bundle)
"""


def wait_for_init(intent: Path) -> None:
    """It ends when its creator does, but not at once; as long as it lives nobody sweeps."""
    init = json.loads(intent.read_text())["init"]
    pidfd = process.pidfd_open(init["pid"], init["start"]) if init is not None else None
    if pidfd is not None:
        assert process.has_ended(pidfd, PATIENCE)
        os.close(pidfd)


@pytest.mark.parametrize("undo", ["sweep", "delete"])
@pytest.mark.parametrize(
    ("fields", "order"),
    [
        ({}, "mkdir ID"),
        ({"memBwSchema": "MB:0=50", "enableMonitoring": True}, "write ID/schemata"),
        ({"memBwSchema": "MB:0=50", "enableMonitoring": True}, "mkdir ID/mon_groups/ID"),
        ({"enableMonitoring": True}, "write ID/tasks"),
        ({"enableMonitoring": True}, "write ID/mon_groups/ID/tasks"),
        ({"closID": "gold", "memBwSchema": "MB:0=50"}, "mkdir gold"),
        ({"closID": "gold", "memBwSchema": "MB:0=50"}, "write gold/schemata"),
    ],
)
def test_a_creator_that_is_killed(workshop: Workshop, resctrl: StandIn, fields: Config, order: str, undo: str) -> None:
    container_id = workshop.new_id()
    bundle = workshop.bundle(asking(**fields))
    arguments = [str(workshop.root), container_id, str(bundle), resctrl.root, order.replace("ID", container_id)]
    done = subprocess.run([sys.executable, "-c", CREATOR, *arguments], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert resctrl.groups()
    wait_for_init(workshop.root / container_id / "intent.json")
    factory = Factory(workshop.root)
    if undo == "sweep":
        assert [swept.removed for swept in factory.sweep()] == [True]
    else:
        factory.delete(container_id, force=True)
    assert resctrl.groups() == set()
    assert workshop.entries() == []
    assert cgroups_of(container_id) == []


def test_a_torn_state(workshop: Workshop, resctrl: StandIn) -> None:
    container = workshop.create(asking(enableMonitoring=True))
    Path(container.directory, "state.json").write_text("{")
    workshop.factory.delete(container.id, force=True)
    assert resctrl.groups() == set()


@pytest.mark.parametrize("clos", ["", "gold", "ID"])
def test_a_container_of_runcs(workshop: Workshop, resctrl: StandIn, clos: str) -> None:
    """As its state.json tells it; also where the name that it was given is its id."""
    container = workshop.create(runc_spec())
    name = clos.replace("ID", container.id)
    group = f"{resctrl.root}/{name or container.id}"
    resctrl.make_directory(group)
    resctrl.make_directory(f"{group}/mon_groups/{container.id}")
    file = Path(container.directory, "state.json")
    state = json.loads(file.read_text())
    del state["libcontainer_py"]
    state["intel_rdt_path"] = group
    state["config"]["intel_rdt"] = {"closID": name, "enableMonitoring": True}
    file.write_text(json.dumps(state))
    workshop.factory.delete(container.id, force=True)
    assert resctrl.groups() == ({name} if name else set())


def test_what_asks_for_nothing_looks_at_nothing(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where resctrl is mounted: `if intelRdt is not set, the runtime MUST NOT manipulate any`."""

    def mounted() -> None:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(MOUNTED, mounted)
    with workshop.create(runc_spec()):
        assert os.path.exists(workshop.root)
