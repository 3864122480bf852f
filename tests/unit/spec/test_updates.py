"""What an update leads to, and what is written for it."""

from __future__ import annotations

from typing import Any

import pytest

from libcontainer_py.errors import ConfigError
from libcontainer_py.spec import Resources, updates


def resources(**sections: Any) -> Resources:
    return Resources.from_dict(sections)


def after(known: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return updates.merged(resources(**known), resources(**given)).to_dict()


def written(known: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    asked = resources(**given)
    return updates.completed(asked, updates.merged(resources(**known), asked)).to_dict()


MEMORY = {"limit": 50, "swap": 80, "swappiness": 3, "checkBeforeUpdate": True}
SDA, SDB = {"major": 8, "minor": 0}, {"major": 8, "minor": 16}


@pytest.mark.parametrize(
    ("known", "given", "expected"),
    [
        ({}, {}, {}),
        ({"pids": {"limit": 5}}, {}, {"pids": {"limit": 5}}),
        ({"pids": {"limit": 5}}, {"pids": {"limit": 0}}, {"pids": {"limit": 0}}),
        ({"pids": {"limit": 5}}, {"cpu": {"shares": 7}}, {"pids": {"limit": 5}, "cpu": {"shares": 7}}),
        # 0 says nothing where it is no limit, and something where it is a value
        ({"cpu": {"shares": 7, "quota": 8}}, {"cpu": {"shares": 0, "quota": 9}}, {"cpu": {"shares": 7, "quota": 9}}),
        ({"cpu": {"idle": 1, "burst": 5}}, {"cpu": {"idle": 0, "burst": 0}}, {"cpu": {"idle": 0, "burst": 0}}),
        ({"cpu": {"cpus": "0"}}, {"cpu": {"cpus": "", "mems": "1"}}, {"cpu": {"cpus": "0", "mems": "1"}}),
        ({"memory": MEMORY}, {"memory": {"limit": 60}}, {"memory": {**MEMORY, "limit": 60}}),
        ({"memory": MEMORY}, {"memory": {"limit": 0, "swap": 70}}, {"memory": {**MEMORY, "swap": 70}}),
        (
            {"memory": {"disableOOMKiller": True, "checkBeforeUpdate": True}},
            {"memory": {"disableOOMKiller": False, "swappiness": 0}},
            {"memory": {"disableOOMKiller": False, "checkBeforeUpdate": True, "swappiness": 0}},
        ),
        # without a limit of memory there is none of memory and swap
        ({"memory": {"limit": 50, "swap": 80}}, {"memory": {"limit": -1}}, {"memory": {"limit": -1}}),
        ({"memory": MEMORY}, {"memory": {"limit": -1, "swap": -1}}, {"memory": {**MEMORY, "limit": -1, "swap": -1}}),
        (
            {"blockIO": {"weight": 10, "throttleReadBpsDevice": [{**SDA, "rate": 1}, {**SDB, "rate": 2}]}},
            {"blockIO": {"weight": 0, "throttleReadBpsDevice": [{**SDB, "rate": 0}]}},
            {"blockIO": {"weight": 10, "throttleReadBpsDevice": [{**SDA, "rate": 1}, {**SDB, "rate": 0}]}},
        ),
        (
            {"blockIO": {"weightDevice": [{**SDA, "weight": 11, "leafWeight": 12}]}},
            {"blockIO": {"weightDevice": [{**SDA, "weight": 13}, {**SDB, "weight": 14}]}},
            {"blockIO": {"weightDevice": [{**SDA, "weight": 13, "leafWeight": 12}, {**SDB, "weight": 14}]}},
        ),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 5}]},
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 6}]},
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 6}]},
        ),
        (
            {"network": {"classID": 5, "priorities": [{"name": "lo", "priority": 1}]}},
            {"network": {"priorities": [{"name": "eth0", "priority": 2}]}},
            {"network": {"classID": 5, "priorities": [{"name": "lo", "priority": 1}, {"name": "eth0", "priority": 2}]}},
        ),
        (
            {"rdma": {"a": {"hcaHandles": 1, "hcaObjects": 2}}},
            {"rdma": {"a": {"hcaHandles": 0}, "b": {"hcaObjects": 3}}},
            {"rdma": {"a": {"hcaHandles": 0, "hcaObjects": 2}, "b": {"hcaObjects": 3}}},
        ),
        ({"unified": {"a.b": "1", "a.c": "2"}}, {"unified": {"a.c": "3"}}, {"unified": {"a.b": "1", "a.c": "3"}}),
    ],
)  # fmt: skip
def test_what_holds_afterwards(known: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert after(known, given) == expected
    assert after(expected, given) == expected  # once more changes nothing
    assert after({}, known) == known


@pytest.mark.parametrize(
    ("known", "given", "expected"),
    [
        ({"memory": MEMORY, "pids": {"limit": 3}}, {"cpu": {"shares": 7}}, {"cpu": {"shares": 7}}),
        (
            {"memory": MEMORY},
            {"memory": {"limit": 60}},
            {"memory": {"limit": 60, "swap": 80, "checkBeforeUpdate": True}},
        ),
        (
            {"memory": MEMORY},
            {"memory": {"swap": 60}},
            {"memory": {"limit": 50, "swap": 60, "checkBeforeUpdate": True}},
        ),
        ({"memory": MEMORY}, {"memory": {"reservation": 6}}, {"memory": {"reservation": 6, "checkBeforeUpdate": True}}),
        ({"memory": {"limit": 50}}, {"memory": {"limit": 60}}, {"memory": {"limit": 60}}),
        ({"memory": {"limit": 50, "swap": 80}}, {"memory": {"limit": -1}}, {"memory": {"limit": -1}}),
        ({"cpu": {"quota": 5, "period": 6, "burst": 1}}, {"cpu": {"quota": 7}}, {"cpu": {"quota": 7, "period": 6}}),
        ({"cpu": {"quota": 5, "period": 6}}, {"cpu": {"period": 7}}, {"cpu": {"quota": 5, "period": 7}}),
        ({"cpu": {"quota": 5, "period": 6}}, {"cpu": {"idle": 1}}, {"cpu": {"idle": 1}}),
        (
            {"cpu": {"realtimeRuntime": 5, "realtimePeriod": 6}},
            {"cpu": {"realtimeRuntime": 7}},
            {"cpu": {"realtimeRuntime": 7, "realtimePeriod": 6}},
        ),
    ],
)
def test_what_is_written(known: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert written(known, given) == expected


def test_what_is_wrong_with_limits_that_would_hold() -> None:
    known = resources(memory={"limit": 50, "swap": 80})
    updates.check(known)
    with pytest.raises(ConfigError) as caught:
        updates.check(updates.merged(known, resources(memory={"limit": 81})))
    assert str(caught.value).startswith("resources: memory: swap counts memory and swap together")
    with pytest.raises(ConfigError) as caught:
        updates.check(Resources(unified={"a": 5}))  # type: ignore[dict-item]  # wrong on purpose
    assert [problem.path for problem in caught.value.problems] == ['unified["a"]']


def test_devices_are_not_updated() -> None:
    updates.refuse_devices(resources(pids={"limit": 5}))
    with pytest.raises(ConfigError) as caught:
        updates.refuse_devices(resources(devices=[{"allow": True, "access": "rwm"}]))
    assert [problem.path for problem in caught.value.problems] == ["devices"]
