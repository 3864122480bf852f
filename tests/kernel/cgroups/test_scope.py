"""Scopes, made in real cgroups by a systemd of the tests' own, which can be told to fail."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jeepney", reason="jeepney is missing: pip install jeepney")

from libcontainer_py.cgroups import systemd as driver
from libcontainer_py.cgroups.hierarchies import read_hierarchies
from libcontainer_py.cgroups.systemd import Scope
from libcontainer_py.errors import CgroupError
from libcontainer_py.spec import Resources
from tests import dbus

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from libcontainer_py.cgroups import Cgroup

if not sys.platform.startswith("linux"):
    pytest.skip("needs Linux", allow_module_level=True)


class Maker(dbus.Systemd):
    """Makes the cgroup of a scope, and moves the process there, as systemd does."""

    def __init__(self, top: str) -> None:
        super().__init__()
        self.top = top
        self.start = self.make
        self.place = ""
        """Where else than it should it makes them."""

    def make(self, unit: str, properties: dict[str, tuple[str, Any]]) -> None:
        path = f"{self.top}{self.place}/{unit}"
        os.makedirs(path, exist_ok=True)
        (pid,) = properties["PIDs"][1]
        Path(path, "cgroup.procs").write_text(str(pid))
        mount = read_hierarchies().mounts[""].point
        properties["ControlGroup"] = ("s", path.removeprefix(mount))
        self.units[unit] = properties


@pytest.fixture
def top(cgroup: Cgroup) -> str:
    """A directory on v2."""
    if "" not in cgroup.paths:
        pytest.skip("needs cgroup v2, or a hybrid host")
    return cgroup.paths[""]


@pytest.fixture
def maker(top: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    maker = Maker(top)
    maker.serve(str(tmp_path / "bus"))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
    yield maker
    maker.close()


@pytest.fixture
def process(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """One that waits somewhere else."""
    return join(cgroup)


def scope(top: str, **resources: Any) -> Scope:
    given = Resources.from_dict(resources) if resources else None
    return Scope(f"{top}/p-n.scope", "p-n.scope", properties=[("Delegate", ("b", True))], resources=given)


def test_start(maker: Maker, top: str, process: subprocess.Popen[str]) -> None:
    one = scope(top, pids={"limit": 9}, memory={"limit": 1 << 24})
    assert one.missing() == (one.path,)
    assert one.create_birthplace() == {}
    made = one.start(process.pid)
    assert made == {one.path: os.stat(one.path).st_ino}
    assert one.processes() == [process.pid]
    asked = maker.units["p-n.scope"]
    assert asked["Delegate"] == ("b", True)
    assert asked["PIDs"] == ("au", [process.pid])
    assert (asked["TasksMax"], asked["MemoryMax"]) == (("t", 9), ("t", 1 << 24))
    one.kill()
    one.remove(made)
    driver.forget([one.path])
    assert maker.units == {}


def test_a_place_that_is_in_use(maker: Maker, top: str, process: subprocess.Popen[str]) -> None:
    one = scope(top)
    one.start(process.pid)
    before = maker.named("StartTransientUnit")
    with pytest.raises(CgroupError, match=f"it is not empty: process {process.pid}"):
        scope(top).start(process.pid)
    assert maker.named("StartTransientUnit") == before


def test_a_unit_that_is_there(maker: Maker, top: str, process: subprocess.Popen[str]) -> None:
    maker.units["p-n.scope"] = {"ActiveState": ("s", "active")}
    with pytest.raises(CgroupError, match="already exists") as caught:
        scope(top).start(process.pid)
    assert caught.value.errno == errno.EEXIST
    assert "delete what has it" in caught.value.hint
    assert maker.units["p-n.scope"] == {"ActiveState": ("s", "active")}


def test_a_unit_that_failed_is_in_nobodys_way(maker: Maker, top: str, process: subprocess.Popen[str]) -> None:
    maker.units["p-n.scope"] = {"ActiveState": ("s", "failed")}
    assert list(scope(top).start(process.pid)) == [f"{top}/p-n.scope"]


def test_a_job_that_fails(maker: Maker, top: str, process: subprocess.Popen[str]) -> None:
    maker.start = lambda unit, properties: None
    maker.result = "failed"
    with pytest.raises(CgroupError, match="came to 'failed'"):
        scope(top).start(process.pid)
    assert maker.named("ResetFailedUnit") == [("p-n.scope",)]
    assert not Path(top, "p-n.scope").exists()


def test_one_that_is_made_elsewhere_is_stopped(maker: Maker, top: str, process: subprocess.Popen[str]) -> None:
    maker.place = "/elsewhere"
    with pytest.raises(CgroupError, match="systemd made it elsewhere"):
        scope(top).start(process.pid)
    assert maker.named("StopUnit") == [("p-n.scope", "replace")]


def test_a_property_that_is_refused(maker: Maker, top: str, process: subprocess.Popen[str]) -> None:
    def refuse(unit: str, properties: object) -> None:
        raise dbus.Refusal("PropertyReadOnly", "Cannot set property Nonsense, or unknown property.")

    maker.start = refuse
    with pytest.raises(CgroupError, match="Cannot set property Nonsense") as caught:
        scope(top).start(process.pid)
    assert caught.value.errno == errno.EINVAL


# -- limits -----------------------------------------------------------------------------------------------------------


def test_what_the_kernel_refuses_systemd_has_as_before(maker: Maker, top: str, process: subprocess.Popen[str]) -> None:
    one = scope(top, pids={"limit": 9})
    one.start(process.pid)
    with pytest.raises(CgroupError):
        one.set(Resources.from_dict({"pids": {"limit": 2**40}}))
    assert [properties for _, _, properties in maker.named("SetUnitProperties")] == [
        [("TasksMax", ("t", 2**40))],
        [("TasksMax", ("t", 9))],
    ]


def test_an_update_that_is_undone(maker: Maker, top: str, process: subprocess.Popen[str]) -> None:
    one = scope(top, cpu={"shares": 1024})
    one.start(process.pid)
    # no controller takes part: what the file is, each cgroup has
    change = one.set(Resources.from_dict({"unified": {"cgroup.max.depth": "7"}, "cpu": {}}))
    assert Path(one.path, "cgroup.max.depth").read_text() == "7\n"
    change.undo()
    assert Path(one.path, "cgroup.max.depth").read_text() == "max\n"


# -- forgetting -------------------------------------------------------------------------------------------------------


def test_of_another_place_it_is_anothers(maker: Maker, top: str, tmp_path: Path) -> None:
    maker.units["p-n.scope"] = {"ControlGroup": ("s", "/elsewhere/p-n.scope")}
    driver.forget([f"{top}/p-n.scope"])
    assert "p-n.scope" in maker.units


def test_one_with_processes_is_let_be(maker: Maker, top: str, process: subprocess.Popen[str]) -> None:
    one = scope(top)
    one.start(process.pid)
    driver.forget([one.path, f"{top}/none"])
    assert maker.named("StopUnit") == []


def test_without_systemd_nothing_is_said(top: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    driver.forget([f"{top}/p-n.scope"])
