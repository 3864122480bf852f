"""Rules on scheduling, parameters, clocks, network devices, resctrl and seccomp: what is refused, what passes."""

from __future__ import annotations

import pytest

from libcontainer_py.errors import ConfigError
from libcontainer_py.spec import Spec, validate

LEAST = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}}
KINDS = ("mount", "uts", "ipc", "network", "time")


def document(section: str, fields: dict[str, object], kinds: tuple[str, ...] = KINDS) -> dict[str, object]:
    process: dict[str, object] = {"args": ["true"], "cwd": "/"}
    linux: dict[str, object] = {"namespaces": [{"type": kind} for kind in kinds]}
    {"process": process, "linux": linux}[section].update(fields)
    return {**LEAST, "process": process, "linux": linux}


def found(section: str, fields: dict[str, object], kinds: tuple[str, ...] = KINDS) -> list[str]:
    problems = validate.problems(Spec.from_dict(document(section, fields, kinds)))
    return [f"{problem.path}: {problem.reason}" for problem in problems]


# -- scheduling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"scheduler": {"policy": "SCHED_BATCH", "nice": -20, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}}, []),
        ({"scheduler": {"policy": "SCHED_RR", "priority": 99}}, []),
        ({"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}}, []),
        ({"scheduler": {"policy": "BATCH"}}, ["process.scheduler.policy: 'BATCH' is unknown"]),
        (
            {"scheduler": {"policy": "SCHED_IDLE", "flags": ["SCHED_FLAG_RESET_ON_FORK", "FAST"]}},
            ["process.scheduler.flags[1]: 'FAST' is unknown"],
        ),
        ({"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}, ["process.scheduler.nice: is from -20 to 19"]),
        (
            {"scheduler": {"policy": "SCHED_OTHER", "priority": 1}},
            ["process.scheduler.priority: is for SCHED_FIFO and SCHED_RR alone"],
        ),
        (
            {"scheduler": {"policy": "SCHED_FIFO", "runtime": 1}},
            ["process.scheduler.runtime: is for SCHED_DEADLINE alone"],
        ),
        ({"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 7}}, []),
        ({"ioPriority": {"class": "IDLE", "priority": 0}}, ["process.ioPriority.class: 'IDLE' is unknown"]),
        (
            {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}},
            ["process.ioPriority.priority: is from 0 to 7"],
        ),
    ],
)
def test_scheduling(fields: dict[str, object], expected: list[str]) -> None:
    assert found("process", fields) == expected


@pytest.mark.parametrize("text", ["0", "0-3,7", "7,0-3", "", "3-3", "65535", " 1 , 2-4"])
def test_lists_of_processors(text: str) -> None:
    assert found("process", {"execCPUAffinity": {"initial": text, "final": text}}) == []


@pytest.mark.parametrize(
    "text", ["x", "1-", "-1", "3-1", "0-3,y", "1-2-3", "0x1", "65536", "1:2", "\u0661", "\u00b2", "9" * 5000]
)
@pytest.mark.parametrize("name", ["initial", "final"])
def test_what_is_no_list_of_processors(name: str, text: str) -> None:
    expected = [f"process.execCPUAffinity.{name}: is no list of processors, such as 0-3,7"]
    assert found("process", {"execCPUAffinity": {name: text}}) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1,3", "flags": ["MPOL_F_STATIC_NODES"]}}, []),
        ({"memoryPolicy": {"mode": "BIND"}}, ["linux.memoryPolicy.mode: 'BIND' is unknown"]),
        (
            {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["X"]}},
            ["linux.memoryPolicy.flags[0]: 'X' is unknown"],
        ),
        (
            {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "1024"}},
            ["linux.memoryPolicy.nodes: is no list of nodes, such as 0-3,7"],
        ),
        ({"personality": {"domain": "LINUX32"}}, []),
        ({"personality": {"domain": "linux"}}, ["linux.personality.domain: 'linux' is unknown"]),
        (
            {"personality": {"domain": "LINUX", "flags": ["X"]}},
            ["linux.personality.flags: the specification defines none"],
        ),
    ],
)
def test_memory_and_personality(fields: dict[str, object], expected: list[str]) -> None:
    assert found("linux", fields) == expected


# -- what belongs to namespaces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("net.ipv4.ip_forward", ""),
        ("net/ipv4/conf/eth0.1/forwarding", ""),
        ("kernel.domainname", ""),
        ("kernel.shmmax", ""),
        ("fs.mqueue.msg_max", ""),
        ("kernel.hostname", "would contradict hostname"),
        ("kernel.panic", "belongs to no namespace: it would change the host"),
        ("vm.swappiness", "belongs to no namespace: it would change the host"),
        ("net/../vm/swappiness", "is no name of a kernel parameter"),
        ("net..x", "is no name of a kernel parameter"),
        ("", "is no name of a kernel parameter"),
        ("user.max_pid_namespaces", "needs a user namespace of the container's own"),
    ],
)
def test_sysctl(name: str, reason: str) -> None:
    expected = [f'linux.sysctl["{name}"]: {reason}'] if reason else []
    assert found("linux", {"sysctl": {name: "1"}}) == expected


def test_sysctl_of_a_namespace_that_is_the_hosts() -> None:
    assert found("linux", {"sysctl": {"net.x": "1"}}, ("mount",)) == [
        'linux.sysctl["net.x"]: needs a network namespace of the container\'s own'
    ]


def test_clocks() -> None:
    offsets = {"timeOffsets": {"monotonic": {"secs": 5}, "boottime": {"secs": 5}}}
    assert found("linux", offsets) == []
    assert found("linux", offsets, ("mount",)) == ["linux.timeOffsets: needs a time namespace of the container's own"]
    assert found("linux", {"timeOffsets": {"realtime": {}}}) == [
        'linux.timeOffsets["realtime"]: is no clock of a time namespace'
    ]


# -- network devices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "devices",
    [
        {"eth0": {}, "eth1": {"name": "inner"}},
        {"eth0": {"name": "eth1"}, "eth1": {"name": "eth0"}},
        {"eth0": {"name": "eth%d"}, "eth1": {"name": "eth%d"}},
        {"a" * 15: {"name": "b" * 15}},
        {"\u00e9": {"name": ""}},
    ],
)
def test_network_devices(devices: dict[str, object]) -> None:
    assert found("linux", {"netDevices": devices}) == []
    assert found("linux", {"netDevices": devices}, ("mount",)) == [
        "linux.netDevices: needs a network namespace of the container's own"
    ]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        *(
            ({name: {}}, f"[{shown}]: is no name of a network device")
            for name, shown in (
                *(("", '""'), ("a" * 16, f'"{"a" * 16}"'), (".", '"."'), ("..", '".."'), ("a/b", '"a/b"')),
                *(("a:1", '"a:1"'), ("a b", '"a b"'), ("a\n", '"a\\n"'), ("eth%d", '"eth%d"'), ("\u00e9" * 8, None)),
            )
            for shown in [shown or '"' + "\\u00e9" * 8 + '"']
        ),
        *(
            ({"eth0": {"name": name}}, '["eth0"].name: is no name of a network device')
            for name in ("a" * 16, ".", "..", "a/b", "a:1", "a\tb", "%d%d", "eth%s", "eth%", "100%%d")
        ),
        ({"a\0b": {}}, '["a\\u0000b"]: is no name of a network device'),
        ({"\ud800": {}}, '["\\ud800"]: is no name of a network device'),
        ({"lo": {"name": "x"}}, '["lo"]: the loopback device cannot be moved'),
        ({"eth0": {"name": "lo"}}, '["eth0"].name: is the name of the loopback device'),
        ({"eth0": {}, "eth1": {"name": "eth0"}}, "[\"eth1\"].name: another device is to be 'eth0' too"),
        ({"eth1": {"name": "eth0"}, "eth0": {}}, "[\"eth0\"]: another device is to be 'eth0' too"),
    ],
)
def test_names_that_a_network_device_cannot_have(devices: dict[str, object], expected: str) -> None:
    assert found("linux", {"netDevices": devices}) == [f"linux.netDevices{expected}"]


# -- resctrl ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"closID": "gold", "l3CacheSchema": "L3:0=ff;1=c0", "memBwSchema": "MB:0=20"}, []),
        ({"closID": "/", "schemata": ["L2:0=f", "MB:0=20"], "enableMonitoring": True}, []),
        ({"closID": "..gold"}, []),
        *(
            ({"closID": name}, ["closID: is no name of a control group"])
            for name in ("..", ".", "a/b", "/a", "info", "mon_groups", "mon_data", "a\nb")
        ),
        ({"memBwSchema": "L3:0=f"}, ["memBwSchema: must begin with MB:"]),
        ({"memBwSchema": "MB:0=1\nL3:0=f"}, ["memBwSchema: must be one line"]),
        ({"schemata": ["L3:0=f", "L3:0=f\nL3:1=f"]}, ["schemata[1]: must be one line"]),
    ],
)
def test_resctrl(fields: dict[str, object], expected: list[str]) -> None:
    assert found("linux", {"intelRdt": fields}) == [f"linux.intelRdt.{problem}" for problem in expected]


# -- seccomp ----------------------------------------------------------------------------------------------------------


def test_seccomp_is_said_with_all_the_rest() -> None:
    profile = {"defaultAction": "SCMP_ACT_X", "syscalls": [{"names": [], "action": "SCMP_ACT_ALLOW"}]}
    wrong = document("linux", {"seccomp": profile, "maskedPaths": ["proc"]})
    with pytest.raises(ConfigError) as caught:
        validate.check(Spec.from_dict(wrong))
    assert [problem.path for problem in caught.value.problems] == [
        "linux.maskedPaths[0]",
        "linux.seccomp.defaultAction",
        "linux.seccomp.syscalls[0].names",
    ]
    with pytest.raises(ConfigError) as caught:  # also beside what cannot be decoded
        Spec.from_dict({**wrong, "hostname": 5})
    assert {problem.path for problem in caught.value.problems} == {
        "hostname",
        "linux.maskedPaths[0]",
        "linux.seccomp.defaultAction",
        "linux.seccomp.syscalls[0].names",
    }
