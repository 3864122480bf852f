"""Rules for what a control group is to be set to, one by one: each has a path and says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from libcontainer_py.spec import Resources, limits

PATHS = {
    "memory": [
        ({"limit": -2}, ["limit"]),
        ({"reservation": -2, "kernel": -3, "kernelTCP": -4}, ["reservation", "kernel", "kernelTCP"]),
        ({"limit": -1, "reservation": -1, "swap": -1, "kernel": -1, "kernelTCP": -1}, []),
        ({"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "kernelTCP": 0}, []),
        ({"swap": -2}, ["swap"]),
        ({"swap": -1}, []),
        ({"swap": 100}, [""]),
        ({"swap": 100, "limit": 0}, [""]),
        ({"swap": 100, "limit": -1}, [""]),
        ({"swap": 100, "limit": 101}, [""]),
        ({"swap": 100, "limit": 100}, []),
        ({"swappiness": 0}, []),
        ({"swappiness": 100}, []),
        ({"swappiness": 101}, ["swappiness"]),
        ({"swappiness": 2**64 - 1}, []),
    ],
    "cpu": [
        ({"cpus": "0-3,7", "mems": "0"}, []),
        ({"cpus": "0-3,", "mems": "a"}, ["cpus", "mems"]),
        ({"cpus": "1\n"}, ["cpus"]),
        ({"cpus": "٣"}, ["cpus"]),
        ({"idle": 0, "shares": 5}, []),
        ({"idle": 1}, []),
        ({"idle": 1, "shares": 0}, []),
        ({"idle": 1, "shares": 5}, [""]),
        ({"idle": 2}, ["idle"]),
        ({"idle": -1}, ["idle"]),
        ({"burst": 5, "quota": 4}, [""]),
        ({"burst": 5, "quota": 5}, []),
        ({"burst": 5, "quota": -1}, []),
        ({"burst": 5}, []),
    ],
    "blockIO": [
        ({"weight": 10, "leafWeight": 1000}, []),
        ({"weight": 0, "leafWeight": 0}, []),
        ({"weight": 9, "leafWeight": 1001}, ["weight", "leafWeight"]),
        ({"weightDevice": [{"major": 8, "minor": 0, "weight": 10}]}, []),
        ({"weightDevice": [{"major": 8, "minor": 0}]}, ["weightDevice[0]"]),
        (
            {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}, {"major": -1, "minor": -1, "weight": 1}]},
            ["weightDevice[1].major", "weightDevice[1].minor", "weightDevice[1].weight"],
        ),
        ({"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]}, []),
        ({"throttleWriteIOPSDevice": [{"major": 8, "minor": -1, "rate": 1}]}, ["throttleWriteIOPSDevice[0].minor"]),
    ],
    "network": [
        ({"classID": 1, "priorities": [{"name": "lo", "priority": 1}]}, []),
        ({"priorities": [{"name": "", "priority": 1}]}, ["priorities[0].name"]),
        ({"priorities": [{"name": "lo", "priority": 1}, {"name": "a b", "priority": 1}]}, ["priorities[1].name"]),
    ],
}


def problems(path: str = "", **resources: Any) -> list[str]:
    return [problem.path for problem in limits.of_resources(Resources.from_dict(resources), path)]


@pytest.mark.parametrize(
    ("section", "value", "expected"), [(name, *row) for name, rows in PATHS.items() for row in rows]
)
def test_sections(section: str, value: dict[str, Any], expected: list[str]) -> None:
    assert problems(**{section: value}) == [f"{section}.{path}".rstrip(".") for path in expected]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (["2MB", "1GB", "64KB"], []),
        (["2MB", "2MB"], ["hugepageLimits[1].pageSize"]),
        (["2mb", "", "0MB", "../../2MB", "2MB\n"], [f"hugepageLimits[{index}].pageSize" for index in range(5)]),
    ],
)
def test_pages(sizes: list[str], expected: list[str]) -> None:
    assert problems(hugepageLimits=[{"pageSize": size, "limit": 1} for size in sizes]) == expected


@pytest.mark.parametrize(
    ("rdma", "expected"),
    [
        ({"mlx5_1": {"hcaHandles": 1}, "rxe3": {"hcaObjects": 0}}, []),
        ({"mlx5_1": {}}, ['rdma["mlx5_1"]']),
        ({"": {"hcaHandles": 1}, "a b": {"hcaHandles": 1}}, ['rdma[""]', 'rdma["a b"]']),
    ],
)
def test_rdma(rdma: dict[str, Any], expected: list[str]) -> None:
    assert problems(rdma=rdma) == expected


@pytest.mark.parametrize(
    "file", ["memory.high", "hugetlb.1GB.max", "io.max", "cgroup.max.depth", "memory.swap.max", "misc.max"]
)
def test_files_of_v2(file: str) -> None:
    assert problems(unified={file: "1"}) == []


@pytest.mark.parametrize(
    "file",
    ["", "memory", "../memory.max", "a/memory.max", ".max", "memory.", "memory.max\n", "cgroup.procs", "cgroup.kill"],
)
def test_no_files_of_v2(file: str) -> None:
    assert problems(unified={file: "1"}) == [f'unified["{file}"]']


def test_where_they_stand() -> None:
    assert problems("linux.resources", memory={"swap": 3, "limit": -2}) == [
        "linux.resources.memory.limit",
        "linux.resources.memory",
    ]


@pytest.mark.parametrize(
    ("resources", "nothing"),
    [
        ({}, True),
        ({"devices": [{"allow": True, "access": "rwm"}]}, True),
        ({"memory": {"limit": 0, "disableOOMKiller": False}, "cpu": {"shares": 0, "cpus": ""}, "blockIO": {}}, True),
        ({"pids": {}}, True),
        ({"memory": {"swappiness": 0}}, False),
        ({"memory": {"useHierarchy": False}}, False),
        ({"memory": {"checkBeforeUpdate": False}, "cpu": {"idle": 0, "burst": 0}, "network": {"classID": 0}}, True),
        ({"pids": {"limit": 0}}, False),
        ({"memory": {"limit": -1}}, False),
        ({"memory": {"tomorrow": 1}}, True),
        ({"cpu": {"idle": 1}}, False),
        ({"network": {"priorities": [{"name": "lo", "priority": 0}]}}, False),
        ({"unified": {"memory.high": "1"}}, False),
    ],
)
def test_what_asks_for_nothing(resources: dict[str, Any], nothing: bool) -> None:
    assert limits.asks_nothing(Resources.from_dict(resources)) is nothing
