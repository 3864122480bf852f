"""slice:prefix:name, annotations, and limits in systemd's words."""

from __future__ import annotations

from typing import Any

import pytest

from libcontainer_py.cgroups import units
from libcontainer_py.cgroups.units import Unit
from libcontainer_py.spec import Resources

INFINITY = 2**64 - 1


@pytest.mark.parametrize(
    ("wanted", "user", "path"),
    [
        (None, False, "/system.slice/libcontainer_py-web.scope"),
        ("", True, "/user.slice/libcontainer_py-web.scope"),
        ("system.slice:runc:434234", False, "/system.slice/runc-434234.scope"),
        ("::1", False, "/system.slice/-1.scope"),
        (":p:", False, "/system.slice/p-.scope"),
        ("-.slice:p:n", False, "/p-n.scope"),
        ("a-b-c.slice:p:n", False, "/a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
        ("machine.slice:libpod:0a1b", True, "/machine.slice/libpod-0a1b.scope"),
        (r"a.slice:p:x\x2by", False, r"/a.slice/p-x\x2by.scope"),
        ("a.slice:p:x@1", False, "/a.slice/p-x@1.scope"),
    ],
)
def test_path(wanted: str | None, user: bool, path: str) -> None:
    assert units.parse(wanted, "web").path(user=user) == path


def test_a_plus_sign_of_an_id() -> None:
    assert units.parse(None, "a+b") == Unit("", "libcontainer_py", r"a\x2bb")


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("/a/b", "is not of the form slice:prefix:name"),
        ("a:b", "is not of the form"),
        ("a.slice:b:c:d", "is not of the form"),
        ("a.slice/b.slice:p:n", "is not of the form"),
        ("a:p:n", "'a' is no slice"),
        (".slice:p:n", "is no slice"),
        ("a--b.slice:p:n", "is no slice"),
        ("-a.slice:p:n", "is no slice"),
        ("a b.slice:p:n", "is no slice"),
        ("a.slice:p:n.slice", "names a slice"),
        ("a.slice::", "names no unit"),
        ("a.slice:p q:n", "names no unit"),
        ("a.slice:p:n\0", "names no unit"),
        ("a.slice:p:" + "n" * 250, "258 characters, and a unit has at most 255"),
    ],
)
def test_what_is_no_unit(wanted: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        units.parse(wanted, "web")
    assert why in str(caught.value)


# -- annotations ------------------------------------------------------------------------------------------------------


def test_annotations() -> None:
    found, problems = units.annotated(
        {
            "org.systemd.property.CollectMode": "'inactive'",
            "org.systemd.property.TimeoutStopUSec": "uint64 123456789",
            "org.systemd.property.TimeoutStopSec": "2.5",
            "org.systemd.property.RuntimeMaxSec": "uint32 7",
            "org.systemd.property.CPUQuotaPerSec": "uint64 1",
            "org.example.property.Other": "not for systemd",
        }
    )
    assert problems == []
    assert found == [
        ("CollectMode", ("s", "inactive")),
        ("TimeoutStopUSec", ("t", 123456789)),
        ("TimeoutStopUSec", ("t", 2_500_000)),
        ("RuntimeMaxUSec", ("t", 7_000_000)),
        ("CPUQuotaPerUSec", ("t", 1_000_000)),
    ]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("Ab", "1", "does not name a property"),
        ("Some-thing", "1", "does not name a property"),
        ("CollectMode", "inactive", "'inactive' is no value"),
        ("TimeoutStopSec", "'soon'", "TimeoutStopSec is a number of seconds"),
        ("TimeoutStopSec", "true", "TimeoutStopSec is a number of seconds"),
        ("TimeoutStopSec", "-1", "TimeoutStopSec is a number of seconds"),
    ],
)
def test_annotations_that_are_wrong(name: str, text: str, why: str) -> None:
    found, (problem,) = units.annotated({f"org.systemd.property.{name}": text})
    assert found == []
    assert problem.path == f'annotations["org.systemd.property.{name}"]'
    assert why in problem.reason
    assert problem.value == text


# -- limits -----------------------------------------------------------------------------------------------------------


def properties(version: int = 252, **resources: Any) -> dict[str, object]:
    return {name: value for name, (_, value) in units.of_resources(Resources.from_dict(resources), version)}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, {}),
        ({"memory": {"limit": 1 << 20}}, {"MemoryMax": 1 << 20, "MemorySwapMax": 0}),
        ({"memory": {"limit": 1 << 20, "swap": 3 << 20}}, {"MemoryMax": 1 << 20, "MemorySwapMax": 2 << 20}),
        ({"memory": {"limit": -1, "swap": -1}}, {"MemoryMax": INFINITY, "MemorySwapMax": INFINITY}),
        ({"memory": {"reservation": 4096}}, {"MemoryLow": 4096}),
        ({"memory": {"limit": 0}}, {}),
        ({"cpu": {"shares": 1024}}, {"CPUWeight": 100}),
        ({"cpu": {"shares": 1024, "idle": 1}}, {"CPUWeight": 0}),
        ({"cpu": {"quota": 50000, "period": 100000}}, {"CPUQuotaPerSecUSec": 500000, "CPUQuotaPeriodUSec": 100000}),
        ({"cpu": {"quota": 33333}}, {"CPUQuotaPerSecUSec": 340000}),
        ({"cpu": {"quota": 1000, "period": 1000000}}, {"CPUQuotaPerSecUSec": 10000, "CPUQuotaPeriodUSec": 1000000}),
        ({"cpu": {"quota": -1}}, {"CPUQuotaPerSecUSec": INFINITY}),
        ({"cpu": {"cpus": "0-3,9", "mems": "0"}}, {"AllowedCPUs": [0b1111, 0b10], "AllowedMemoryNodes": [1]}),
        ({"pids": {"limit": 7}}, {"TasksMax": 7}),
        ({"pids": {"limit": 0}}, {"TasksMax": 1}),
        ({"pids": {"limit": -1}}, {"TasksMax": INFINITY}),
        ({"unified": {"memory.high": "4096", "memory.min": "max"}}, {"MemoryHigh": 4096, "MemoryMin": INFINITY}),
        ({"unified": {"memory.swap.max": " 0 \n", "pids.max": "max"}}, {"MemorySwapMax": 0, "TasksMax": INFINITY}),
        ({"unified": {"cpu.max": "max 50000"}}, {"CPUQuotaPerSecUSec": INFINITY, "CPUQuotaPeriodUSec": 50000}),
        ({"unified": {"cpu.max": "50000"}}, {"CPUQuotaPerSecUSec": 500000, "CPUQuotaPeriodUSec": 100000}),
        ({"unified": {"cpu.weight": "7", "cpu.idle": "1"}}, {"CPUWeight": 0}),
        ({"unified": {"cpu.idle": "1", "cpu.weight": "7"}}, {"CPUWeight": 0}),
        ({"unified": {"cpuset.cpus": "1"}}, {"AllowedCPUs": [2]}),
        ({"unified": {"memory.max": "much", "io.max": "8:0 rbps=1", "misc.max": "x 1"}}, {}),
    ],
)
def test_limits(resources: dict[str, Any], expected: dict[str, object]) -> None:
    assert properties(**resources) == expected


def test_what_older_ones_do_not_know() -> None:
    assert properties(241, cpu={"quota": 50000, "period": 50000}) == {"CPUQuotaPerSecUSec": 1000000}
    assert properties(243, cpu={"cpus": "0"}) == {}
    assert properties(251, cpu={"idle": 1}) == {}
    group = Resources.from_dict({"unified": {"memory.oom.group": "1"}})
    assert units.oom_policy(group, 252) == []
    assert units.oom_policy(group, 253) == [("OOMPolicy", ("s", "kill"))]
    assert units.oom_policy(Resources.from_dict({}), 253) == []
