"""Groups in resctrl: which there are, what is written to them and in which order, what is refused, what is removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libcontainer_py.cgroups.resctrl import Group
from libcontainer_py.errors import CgroupError
from libcontainer_py.spec import IntelRdt
from tests.resctrl import StandIn

if not hasattr(os, "geteuid"):
    pytest.skip("needs a POSIX system", allow_module_level=True)


@pytest.fixture
def resctrl(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "resctrl")


def group(resctrl: StandIn, **fields: object) -> Group:
    return resctrl.group("c1", IntelRdt.from_dict(fields))


def said(resctrl: StandIn, **fields: object) -> list[str]:
    return [f"{problem.path}: {problem.reason}" for problem in group(resctrl, **fields).problems()]


def test_a_group_of_its_own(resctrl: StandIn) -> None:
    mine = group(resctrl)
    assert mine.path == f"{resctrl.root}/c1"
    assert mine.missing() == (mine.path,)
    assert list(mine.problems()) == []
    assert mine.make() == {mine.path: os.stat(mine.path).st_ino}
    assert resctrl.orders == ["mkdir c1"]  # nothing asks for schemata, so nothing is written
    mine.assign(os.getpid())
    assert resctrl.tasks("c1") == [str(os.getpid())]
    resctrl.remove({mine.path: os.stat(mine.path).st_ino})
    assert resctrl.groups() == set()


def test_schemata_come_last_and_count(resctrl: StandIn) -> None:
    mine = group(resctrl, schemata=["MB:1=70", "L3:0=f"], memBwSchema="MB:0=15;1=15", l3CacheSchema="L3:0=7f0;1=1f")
    mine.make()
    assert resctrl.orders == ["mkdir c1", *["write c1/schemata"] * 3]
    assert resctrl.schemata("c1") == {"L3": "0=f;1=1f", "MB": "0=20;1=70"}


def test_the_default_group(resctrl: StandIn) -> None:
    mine = group(resctrl, closID="/", enableMonitoring=True)
    assert list(mine.problems()) == []
    assert mine.missing() == (f"{resctrl.root}/mon_groups/c1",)
    made = mine.make()
    assert list(made) == [f"{resctrl.root}/mon_groups/c1"]
    mine.assign(os.getpid())
    assert resctrl.tasks("mon_groups/c1") == [str(os.getpid())]
    resctrl.remove(made)
    assert resctrl.groups() == set()
    assert Path(resctrl.root, "tasks").exists()


def test_a_closid_that_is_there_is_left_there(resctrl: StandIn) -> None:
    resctrl.make_directory(f"{resctrl.root}/gold")
    mine = group(resctrl, closID="gold", enableMonitoring=True)
    assert list(mine.problems()) == []
    made = mine.make()
    assert list(made) == [f"{resctrl.root}/gold/mon_groups/c1"]
    resctrl.remove(made)
    assert resctrl.groups() == {"gold"}


def test_a_closid_that_we_make_is_undone_only_where_nobody_is_in_it(resctrl: StandIn) -> None:
    mine = group(resctrl, closID="gold", memBwSchema="MB:0=50")
    made = mine.make()
    assert made == {f"{resctrl.root}/gold": 0}
    resctrl.order(f"{resctrl.root}/gold/tasks", str(os.getpid()))
    resctrl.remove(made)
    assert resctrl.groups() == {"gold"}
    resctrl.order(f"{resctrl.root}/tasks", str(os.getpid()))
    resctrl.make_directory(f"{resctrl.root}/gold/mon_groups/other")
    resctrl.remove(made)
    assert resctrl.groups() == {"gold", "gold/mon_groups/other"}
    resctrl.remove({f"{resctrl.root}/gold/mon_groups/other": -1, **made})
    assert resctrl.groups() == set()


def test_a_closid_alone_must_be_there(resctrl: StandIn) -> None:
    assert said(resctrl, closID="gold") == ["linux.intelRdt.closID: there is no such control group"]
    assert said(resctrl, closID="gold", schemata=["MB:0=50"]) == []
    Path(resctrl.root, "file").mkdir()
    assert said(resctrl, closID="file") == [f"linux.intelRdt.closID: {resctrl.root}/file is no control group"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"l3CacheSchema": "L3:0=7f0"}, []),
        ({"l3CacheSchema": "L3: 1=01f ; 0=7F0"}, []),  # the kernel's spelling is another
        ({"memBwSchema": "MB:0=20;1=70"}, []),
        ({"memBwSchema": "MB:0=11;1=61"}, []),  # rounded up, as the kernel did
        ({"schemata": ["L3:0=1"]}, []),  # these are written, not compared
        ({"l3CacheSchema": "L3:0=7f1"}, ["l3CacheSchema: the control group has L3:0=7f0;1=1f"]),
        ({"l3CacheSchema": "L3:2=1"}, ["l3CacheSchema: the control group has L3:0=7f0;1=1f"]),
        ({"l3CacheSchema": "L3CODE:0=1"}, ["l3CacheSchema: the control group has L3CODE:none"]),
        ({"memBwSchema": "MB:0=21"}, ["memBwSchema: the control group has MB:0=20;1=70"]),
        (
            {"l3CacheSchema": "L3:0=1", "memBwSchema": "MB:1=10"},
            [
                "l3CacheSchema: the control group has L3:0=7f0;1=1f",
                "memBwSchema: the control group has MB:0=20;1=70",
            ],
        ),
    ],
)
def test_a_closid_that_is_there_must_be_alike(resctrl: StandIn, fields: dict[str, object], expected: list[str]) -> None:
    group(resctrl, closID="gold", l3CacheSchema="L3:0=7f0;1=1f", memBwSchema="MB:0=20;1=70").make()
    assert said(resctrl, closID="gold", **fields) == [f"linux.intelRdt.{problem}" for problem in expected]


def test_a_monitoring_group_is_the_containers_alone(resctrl: StandIn) -> None:
    mine = group(resctrl, enableMonitoring=True)
    assert mine.missing() == (f"{resctrl.root}/c1", f"{resctrl.root}/c1/mon_groups/c1")
    assert len(mine.make()) == 2
    assert said(resctrl, enableMonitoring=True) == [
        f"linux.intelRdt.enableMonitoring: {resctrl.root}/c1/mon_groups/c1 is there already"
    ]
    with pytest.raises(CgroupError, match="the monitoring group cannot be made: File exists"):
        mine.make()
    assert resctrl.groups() == {"c1", "c1/mon_groups/c1"}  # what was there stays
    Path(resctrl.root, "mon_groups").rmdir()
    assert said(resctrl, enableMonitoring=True) == [
        "linux.intelRdt.enableMonitoring: this processor or kernel cannot monitor"
    ]


def test_what_the_kernel_refuses_is_told_in_its_words_and_undone(resctrl: StandIn) -> None:
    mine = group(resctrl, memBwSchema="MB:0=50", schemata=["L9:0=1"])
    with pytest.raises(CgroupError) as caught:
        mine.make()
    assert caught.value.path == f"{resctrl.root}/c1/schemata"
    assert "'L9:0=1\\n' is refused: Invalid argument (Unknown or unsupported resource name 'L9')" in str(caught.value)
    assert resctrl.groups() == set()
    for name in ("a", "b", "c", "d"):
        resctrl.make_directory(f"{resctrl.root}/{name}")
    with pytest.raises(CgroupError, match=r"cannot be made: No space left on device \(Out of CLOSIDs\); info/\*/num"):
        group(resctrl).make()


def test_a_process_that_is_gone_is_passed_over(resctrl: StandIn) -> None:
    mine = group(resctrl)
    mine.make()
    mine.assign(2**22 + 1)  # above pid_max
    assert resctrl.tasks("c1") == []


def test_only_what_was_made_is_removed(resctrl: StandIn, tmp_path: Path) -> None:
    mine = group(resctrl)
    made = mine.make()
    outside = tmp_path / "outside"
    outside.mkdir()
    others = {
        str(outside): -1,
        f"{resctrl.root}/../outside": -1,
        resctrl.root: -1,
        f"{resctrl.root}/never": 5,
        f"{resctrl.root}/tasks/x": 5,
        mine.path: made[mine.path] + 1,
    }
    resctrl.remove(others)
    assert resctrl.groups() == {"c1"}
    assert outside.exists()
    resctrl.remove({mine.path: -1})
    assert resctrl.groups() == set()
