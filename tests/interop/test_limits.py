"""Limits of one runtime's containers in the other one's hands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import ConfigError, Status
from libcontainer_py.spec import Resources
from tests.bundles import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py import Container
    from tests.interop.conftest import Yard

MIB = 1 << 20


def limited(yard: Yard, **resources: Any) -> Path:
    document = config("/bin/sleep", "1000")
    document["linux"]["resources"] |= resources
    return yard.make_bundle(document)


def state_of(container: Container) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(Path(container.directory, "state.json").read_text())
    return state


def shown(container: Container, controller: str, v1: str, v2: str) -> str:
    paths = state_of(container)["cgroup_paths"]
    file = Path(paths[controller], v1) if controller in paths else Path(paths[""], v2)
    return file.read_text().strip()


def pids(container: Container) -> str:
    return shown(container, "pids", "pids.max", "pids.max")


def memory(container: Container) -> int:
    return int(shown(container, "memory", "memory.limit_in_bytes", "memory.max"))


def test_our_update_of_theirs(yard: Yard) -> None:
    bundle = limited(yard, pids={"limit": 9}, memory={"limit": 64 * MIB, "swap": 64 * MIB})
    container = yard.factory.load(yard.runc_create(bundle))
    before = state_of(container)
    container.update(Resources.from_dict({"pids": {"limit": 7}}))
    after = state_of(container)
    assert (pids(container), memory(container)) == ("7", 64 * MIB)
    assert after["config"]["cgroups"]["pids_limit"] == 7
    assert after["config"]["cgroups"]["memory"] == 64 * MIB
    # all that is no limit is as runc wrote it
    for state in (before, after):
        cgroups = state["config"].pop("cgroups")
        state["config"]["rest"] = {key: cgroups[key] for key in ("devices", "path", "Systemd", "Rootless")}
    assert after == before
    # what is known of it is what runc wrote down
    with pytest.raises(ConfigError, match="less than the limit"):
        container.update(Resources.from_dict({"memory": {"limit": 65 * MIB}}))
    assert yard.runc_status(container.id) == "created"
    yard.runc("update", "--pids-limit", "11", container.id)
    assert pids(container) == "11"
    container.start()
    assert yard.runc_status(container.id) == "running"


def test_their_update_of_ours(yard: Yard) -> None:
    container = yard.create(limited(yard, pids={"limit": 9}, memory={"limit": 64 * MIB}, cpu={"shares": 512}))
    container.start()
    yard.runc("update", "--memory", str(96 * MIB), "--memory-swap", str(96 * MIB), "--cpu-share", "256", container.id)
    yard.runc("update", "--pids-limit", "11", container.id)
    assert (pids(container), memory(container)) == ("11", 96 * MIB)
    again = yard.factory.load(container.id)
    assert (again.status, container.status) == (Status.RUNNING, Status.RUNNING)
    assert state_of(container)["config"]["cgroups"]["pids_limit"] == 11
    again.update(Resources.from_dict({"pids": {"limit": 12}}))
    assert pids(container) == "12"
    again.delete(force=True)
    assert yard.left(container.id) == []


def test_their_statistics_of_ours(yard: Yard) -> None:
    container = yard.create(limited(yard, pids={"limit": 9}, memory={"limit": 64 * MIB}))
    container.start()
    told = json.loads(yard.runc("events", "--stats", container.id).stdout)["data"]
    assert told["pids"] == {"current": 1, "limit": 9}
    assert told["memory"]["usage"]["limit"] == 64 * MIB
