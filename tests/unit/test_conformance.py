"""docs/conformance.md: no field is forgotten, none is made up, and what proves each of them exists."""

from __future__ import annotations

import ast
import functools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from libcontainer_py.spec import Spec, validate

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs" / "conformance.md").read_text(encoding="utf-8")
_, *NAMES = (CHECKOUT / "tests" / "data" / "spec-fields.txt").read_text(encoding="utf-8").splitlines()

SUPPORTED = {"yes", "refused", "ignored", "gone", "read"}
AT_MOST = 10


class Row(NamedTuple):
    fields: list[str]
    """JSON paths, as tests/data/spec-fields.txt writes them."""
    supported: str
    since: str
    tests: list[str]
    differs: list[str]


class Difference(NamedTuple):
    number: str
    what: str
    stands_on: str
    tests: list[str]


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def cells(text: str, width: int) -> list[list[str]]:
    """The rows of all tables in a text, without their heads."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert [row for row in rows if len(row) != width] == []
    rules = [index for index, row in enumerate(rows) if set(row[0]) == {"-"}]
    return [row for index, row in enumerate(rows) if index not in rules and index + 1 not in rules]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def whole(names: list[str]) -> list[str]:
    """With the beginning of the first for each that begins with `.` or `[`."""
    return [names[0] + name if name[0] in ".[" else name for name in names]


ROWS = [
    Row(whole(quoted(fields)), supported, since, quoted(tests), re.findall(r"\d+", differs))
    for fields, supported, since, tests, differs in cells(section("Fields"), 5)
]
DIFFERENCES = [
    Difference(number, what, stands_on, quoted(tests))
    for number, what, _, _, stands_on, tests in cells(section("Differences"), 6)
]
LISTED = [field for row in ROWS for field in row.fields]


def status_of(row: Row) -> str:
    found = re.match(r"\w+", row.supported)
    return found[0] if found else ""


def of_status(*wanted: str) -> set[str]:
    return {field for row in ROWS if status_of(row) in wanted for field in row.fields}


# -- fields -----------------------------------------------------------------------------------------------------------


def test_every_field_is_in_the_table() -> None:
    assert [name for name in NAMES if name not in LISTED] == []


def test_no_field_is_made_up() -> None:
    assert [name for name in LISTED if name not in NAMES] == []


def test_each_field_is_there_once() -> None:
    assert [name for name in LISTED if LISTED.count(name) > 1] == []


def test_each_row_says_whether_it_is_supported_and_if_not_why() -> None:
    for row in ROWS:
        assert status_of(row) in SUPPORTED, row.fields
        if status_of(row) in ("refused", "ignored", "gone"):
            assert re.match(r"\w+: .+", row.supported), row.fields
        # which kernel has it is a question of what can be had; the oldest that we run on is 5.12
        for major, minor in re.findall(r"(?<!until )(\d+)\.(\d+)", row.since):
            assert (int(major), int(minor)) > (5, 12), row.fields


# -- what is refused --------------------------------------------------------------------------------------------------

REFUSED: dict[str, object] = {
    "linux.personality": {"domain": "LINUX32", "flags": ["x"]},
}
"""A value for which create refuses the field. Of personality it is what stands in it."""


def minimal() -> dict[str, Any]:
    return Spec.default(["true"]).to_dict()


def problems(document: dict[str, Any]) -> list[str]:
    """The paths of what validation says of a document."""
    spec = Spec.from_dict(document)
    return [problem.path for problem in [*validate.problems(spec), *validate.unsupported(spec)]]


def test_what_the_validation_does_not_support_is_what_is_refused() -> None:
    assert of_status("refused") == ({*REFUSED} - {"linux.personality"}) | {"linux.personality.flags"}


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_refused(path: str) -> None:
    document = minimal()
    assert problems(document) == []
    *above, last = path.split(".")
    place = document
    for name in above:
        place = place.setdefault(name, {})
    place[last] = REFUSED[path]
    found = problems(document)
    assert len(found) == 1
    assert found[0] in (path, ".".join(above), f"{path}.flags")


IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
HOOK = {"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}
ARGUMENT = {"index": 1, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}
RATE = [{"major": 8, "minor": 0, "rate": 1048576}]
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
CAPABILITIES = ("bounding", "effective", "inheritable", "permitted", "ambient")
THROTTLES = ("throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice")

EVERYTHING: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "process": {
        "terminal": True,
        "consoleSize": {"height": 40, "width": 120},
        "user": {"uid": 1, "gid": 1, "umask": 18, "additionalGids": [2]},
        "args": ["true"],
        "env": ["A=b"],
        "cwd": "/",
        "capabilities": {name: ["CAP_KILL"] for name in CAPABILITIES},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}],
        "noNewPrivileges": True,
        "apparmorProfile": "profile",
        "oomScoreAdj": 5,
        "scheduler": {"policy": "SCHED_RR", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"], "nice": 1},
        "selinuxLabel": "u:r:t:s0",
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 5},
        "execCPUAffinity": {"initial": "0", "final": "0-1"},
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "host",
    "domainname": "domain",
    "mounts": [
        {"destination": "/x", "type": "none", "source": "/y", "options": ["bind"], "uidMappings": IDS}
        | {"gidMappings": IDS}
    ],
    "hooks": {kind: [HOOK] for kind in KINDS},
    "annotations": {"key": "value"},
    "linux": {
        "uidMappings": IDS,
        "gidMappings": IDS,
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "resources": {
            "devices": [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
            "memory": {"limit": 1 << 30, "reservation": 1 << 29, "swap": 1 << 30, "kernel": 1, "kernelTCP": 1}
            | {"swappiness": 1, "disableOOMKiller": True, "useHierarchy": True, "checkBeforeUpdate": True},
            "cpu": {"shares": 5, "quota": 5000, "burst": 5000, "period": 5000, "realtimeRuntime": 5}
            | {"realtimePeriod": 500, "cpus": "0", "mems": "0"},
            "pids": {"limit": 5},
            "blockIO": {"weight": 10, "leafWeight": 10}
            | {"weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 10}]}
            | dict.fromkeys(THROTTLES, RATE),
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}],
            "network": {"classID": 1, "priorities": [{"name": "lo", "priority": 1}]},
            "rdma": {"mlx5_1": {"hcaHandles": 1, "hcaObjects": 1}},
            "unified": {"memory.high": "1"},
        },
        "cgroupsPath": "/a/b",
        "namespaces": [{"type": kind} for kind in ("mount", "user", "uts", "time", "pid", "ipc")]
        + [{"type": "network", "path": "/run/netns/x"}],
        "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
        "netDevices": {"eth0": {"name": "eth1"}},
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 5,
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/listener",
            "listenerMetadata": "data",
            "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_TRACE", "errnoRet": 5, "args": [ARGUMENT]}],
        },
        "rootfsPropagation": "private",
        "maskedPaths": ["/proc/keys"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "u:r:t:s0",
        "intelRdt": {"closID": "gold", "schemata": ["L2:0=f"], "l3CacheSchema": "L3:0=ff", "memBwSchema": "MB:0=20"}
        | {"enableMonitoring": True},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "personality": {"domain": "LINUX32"},
        "timeOffsets": {"monotonic": {"secs": 1, "nanosecs": 1}},
    },
}
"""Every field that is not refused, in one valid document, but for what excludes another."""

DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 5000, "period": 5000}
IDLE = {"idle": 1}


def valid() -> list[dict[str, Any]]:
    """EVERYTHING, and what can only be instead of some of it."""
    other: dict[str, Any] = json.loads(json.dumps(EVERYTHING))
    other["process"]["scheduler"] = DEADLINE
    other["linux"]["resources"]["cpu"] = IDLE
    return [EVERYTHING, other]


KEYED = ("linux.netDevices", "linux.timeOffsets", "linux.resources.rdma")
DATA = ("annotations", "linux.sysctl", "linux.resources.unified")


def paths(value: object, path: str = "") -> set[str]:
    """The fields of a document that are set."""
    found: set[str] = set()
    if isinstance(value, list):
        for item in value:
            found |= paths(item, f"{path}[]")
    elif isinstance(value, dict) and path not in DATA:
        for name, item in value.items():
            inner = f"{path}.*" if path in KEYED else f"{path}.{name}".lstrip(".")
            found |= ({inner} if path not in KEYED else set()) | paths(item, inner)
    return found


def test_nothing_else_is_refused() -> None:
    for document in valid():
        assert problems(document) == []
    given = {path for document in valid() for path in paths(document)}
    documents = ("state.", "containerProcessState.", "features.")
    of_config = {name for name in of_status("yes", "ignored", "gone") if not name.startswith(documents)}
    assert given == of_config


def test_only_documents_of_other_runtimes_are_read() -> None:
    assert of_status("read") == {name for name in NAMES if name.startswith("features.")}


# -- tests ------------------------------------------------------------------------------------------------------------


@functools.cache
def functions(path: str) -> set[str]:
    """The tests of a file."""
    file = CHECKOUT / path
    if not file.is_file():
        return set()
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return {one.name for one in body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")}


def missing(tests: list[str]) -> list[str]:
    split = [test.partition("::") for test in tests]
    return [path + colons + name for path, colons, name in split if name not in functions(path)]


def test_every_test_exists() -> None:
    assert missing([test for row in [*ROWS, *DIFFERENCES] for test in row.tests]) == []


def test_a_test_that_does_not_exist_is_seen() -> None:
    here = "tests/unit/test_conformance.py"
    wrong = [f"{here}::test_of_nothing", "tests/unit/test_nowhere.py::test_of_nothing", here, f"{here}::missing"]
    assert missing([f"{here}::test_every_test_exists", *wrong]) == wrong


def test_every_field_has_a_test() -> None:
    assert [row.fields for row in ROWS if not row.tests] == []


def test_every_field_is_looked_at_in_the_kernel() -> None:
    elsewhere = [row.fields for row in ROWS if not any(test.startswith("tests/kernel/") for test in row.tests)]
    assert elsewhere == []


# -- differences ------------------------------------------------------------------------------------------------------

SOURCES = re.compile(r"config(-linux)?\.md, [A-Z]|runtime\.md, [A-Z]|\b[a-z_]+\([1-8]\)|\b[a-z0-9-]+\.rst\b")


def test_at_most_ten_differ() -> None:
    assert [one.number for one in DIFFERENCES] == [str(number + 1) for number in range(len(DIFFERENCES))]
    assert 0 < len(DIFFERENCES) <= AT_MOST


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda one: one.number)
def test_a_difference_has_a_source_and_a_test_and_a_field(difference: Difference) -> None:
    assert SOURCES.search(difference.stands_on)
    assert difference.tests != []
    assert any(difference.number in row.differs for row in ROWS)


def test_each_number_of_a_difference_is_one() -> None:
    numbers = {one.number for one in DIFFERENCES}
    assert [row.fields for row in ROWS if not numbers.issuperset(row.differs)] == []
