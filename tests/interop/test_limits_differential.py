"""Control files of cgroups under runc and under this library: the same, but for rows of docs/conformance.md."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis import HealthCheck, given, settings

from libcontainer_py import DEVNULL, ContainerError, cgroups
from libcontainer_py.cgroups import Mode
from libcontainer_py.spec import CPU, Resources
from libcontainer_py.testing import strategies
from tests.bundles import config
from tests.crashes import PATIENCE
from tests.disks import weighed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.conftest import Yard

CONFORMANCE = Path(__file__).parents[2] / "docs" / "conformance.md"
EXAMPLES = int(os.environ.get("LIBCONTAINER_PY_TESTS_DIFFERENTIAL", "5"))
"""How many settings are made by chance; 200 by hand, after a change of what is written."""
V2 = cgroups.detect() is Mode.V2
MIB = 1 << 20

# What counts or shows, and nothing sets.
COUNTERS = re.compile(
    r"tasks|cgroup\.(procs|threads|stat|events|controllers|event_control|kill|pressure)|cpuacct\..*|"
    r".*\.(stat|events|current|peak|pressure|usage_in_bytes|max_usage_in_bytes|failcnt|numa_stat|slabinfo|local)|"
    r".*(pressure|io_service|\.io_|usage|reclaim|shown_ram|effective).*"
)


class Row(NamedTuple):
    """A row of the table "Differences" in docs/conformance.md, and the files in which it shows."""

    what: str
    files: tuple[str, ...]


ROWS = {
    "swap": Row("a `memory.limit` without `memory.swap`", ("memory.memsw.limit_in_bytes", "memory.swap.max")),
    "none": Row("a `memory.limit` without `memory.swap`; a `pids.limit` of 0", ("pids.max",)),
    "kernel": Row("`memory.kernel`, `memory.kernelTCP`", ("memory.kmem.tcp.limit_in_bytes",)),
    "v2": Row("`memory.kernel`, `memory.kernelTCP`, a `memory.useHierarchy` of false; on v2 what v2", ()),
}


class Setting(NamedTuple):
    """Resources, and the rows that they show: on v1, and on v2."""

    resources: dict[str, Any]
    rows: set[str] = set()  # noqa: RUF012  (never changed)
    rows_v2: set[str] | None = None


DISK = next(
    (
        {"major": int(major), "minor": int(minor)}
        for file in sorted(Path("/sys/block").glob("[!l]*/dev"))
        for major, minor in [file.read_text().split(":")]
    ),
    {"major": 7, "minor": 0},
)
LAST = str(max(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else "0"
GIB = 1 << 30

SETTINGS = {
    "nothing": Setting({}),
    "shares": Setting({"cpu": {"shares": 512}}),
    "fewest shares": Setting({"cpu": {"shares": 2}}),
    "most shares": Setting({"cpu": {"shares": 262144}}),
    "too few shares": Setting({"cpu": {"shares": 1}}),
    "too many shares": Setting({"cpu": {"shares": 262145}}),
    "no shares": Setting({"cpu": {"shares": 0}}),
    "quota": Setting({"cpu": {"quota": 50000}}),
    "period": Setting({"cpu": {"period": 20000}}),
    "quota and period": Setting({"cpu": {"quota": 400000, "period": 200000}}),
    "long period": Setting({"cpu": {"quota": 1000000, "period": 1000000}}),
    "no quota": Setting({"cpu": {"quota": -1, "period": 50000}}),
    "quota of 0": Setting({"cpu": {"quota": 0, "period": 0}}),
    "too short a quota": Setting({"cpu": {"quota": 900}}),
    "too short a period": Setting({"cpu": {"period": 900}}),
    "realtime that is not there": Setting({"cpu": {"realtimeRuntime": 1000}}, set(), {"v2"}),
    "realtime period": Setting({"cpu": {"realtimePeriod": 500000}}, set(), {"v2"}),
    "first processor": Setting({"cpu": {"cpus": "0"}}),
    "last processor": Setting({"cpu": {"cpus": LAST, "mems": "0"}}),
    "all processors": Setting({"cpu": {"cpus": f"0-{LAST}"}}),
    "no such processor": Setting({"cpu": {"cpus": "1000"}}),
    "no such node": Setting({"cpu": {"mems": "900"}}),
    "memory": Setting({"memory": {"limit": 64 * MIB}}, {"swap"}),
    "memory by halves of a page": Setting({"memory": {"limit": 64 * MIB + 2048, "swap": 64 * MIB + 2048}}),
    "memory and as much swap": Setting({"memory": {"limit": 64 * MIB, "swap": 128 * MIB}}),
    "memory without swap": Setting({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}),
    "memory and all swap": Setting({"memory": {"limit": 64 * MIB, "swap": -1}}),
    "unlimited memory": Setting({"memory": {"limit": -1}}),
    "all unlimited": Setting({"memory": {"limit": -1, "swap": -1, "reservation": -1}}),
    "reservation": Setting({"memory": {"reservation": 32 * MIB}}),
    "memory of 0": Setting({"memory": {"limit": 0, "swap": 0, "reservation": 0}}),
    "swappiness": Setting({"memory": {"swappiness": 10}}, set(), {"v2"}),
    "no swappiness": Setting({"memory": {"swappiness": 0}}, set(), {"v2"}),
    "too much swappiness": Setting({"memory": {"swappiness": 101}}, set(), {"v2"}),
    "no OOM killer": Setting({"memory": {"limit": GIB, "swap": GIB, "disableOOMKiller": True}}, set(), {"v2"}),
    "an OOM killer": Setting({"memory": {"disableOOMKiller": False}}),
    "kernel memory": Setting({"memory": {"kernel": 64 * MIB}}, {"kernel"}),
    "no hierarchy": Setting({"memory": {"useHierarchy": False}}, {"kernel"}),
    "no limit of kernel memory": Setting({"memory": {"kernel": -1, "kernelTCP": -1}}),
    "sockets": Setting({"memory": {"kernelTCP": 64 * MIB}}, {"kernel"}),
    "hierarchy": Setting({"memory": {"useHierarchy": True}}),
    "tasks": Setting({"pids": {"limit": 64}}),
    "all tasks": Setting({"pids": {"limit": -1}}),
    "no further task": Setting({"pids": {"limit": 0}}, {"none"}),
    "weight": Setting({"blockIO": {"weight": 300}}),
    "least weight": Setting({"blockIO": {"weight": 10}}),
    "most weight": Setting({"blockIO": {"weight": 1000}}),
    "weight of leaves": Setting({"blockIO": {"leafWeight": 300}}, set(), {"v2"}),
    "weight of a device": Setting({"blockIO": {"weightDevice": [{**DISK, "weight": 300}]}}, set(), {"v2"}),
    "bytes": Setting(
        {
            "blockIO": {
                "throttleReadBpsDevice": [{**DISK, "rate": MIB}],
                "throttleWriteBpsDevice": [{**DISK, "rate": 2 * MIB}],
            }
        }
    ),
    "operations": Setting(
        {
            "blockIO": {
                "throttleReadIOPSDevice": [{**DISK, "rate": 100}],
                "throttleWriteIOPSDevice": [{**DISK, "rate": 200}],
            }
        }
    ),
    "no such device": Setting({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 255, "rate": MIB}]}}),
    "no such pages": Setting({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]}),
    "mark of traffic": Setting({"network": {"classID": 5}}, set(), {"v2"}),
    "no mark": Setting({"network": {"classID": 0, "priorities": []}}),
    "RDMA that is not there": Setting({"rdma": {"mlx5_1": {"hcaHandles": 3}}}),
    "files of v2": Setting({"unified": {"pids.max": "33"}}),
    "many": Setting(
        {
            "cpu": {"shares": 2048, "quota": 150000, "period": 50000, "cpus": "0", "mems": "0"},
            "memory": {"limit": 128 * MIB, "swap": 256 * MIB, "reservation": 64 * MIB},
            "pids": {"limit": 77},
            "blockIO": {"weight": 200},
        }
    ),
}


class Found(NamedTuple):
    """What became of one container."""

    files: dict[str, str]
    """Each control file that sets something, by controller and name."""
    error: str
    """Why there was no container, or ""."""


class Pair:
    """Makes the same container on both sides, in two cgroups side by side."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.group = f"/lcpy-pair-{uuid.uuid4().hex[:12]}"

    def bundle(self, side: str, resources: dict[str, Any]) -> Path:
        document = config("/bin/sleep", "1000", cgroups_path=f"{self.group}/{side}")
        document["linux"]["resources"] |= resources
        return self.yard.make_bundle(document)

    def files(self, side: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for controller, path in cgroups.for_container(f"{self.group}/{side}", "").paths.items():
            for file in Path(path).iterdir():
                if file.is_file() and not COUNTERS.fullmatch(file.name):
                    try:
                        found[f"{controller}/{file.name}"] = file.read_text()
                    except OSError as error:
                        found[f"{controller}/{file.name}"] = str(error.errno)
        return found

    def theirs(self, resources: dict[str, Any]) -> Found:
        bundle = self.bundle("runc", resources)
        container_id = self.yard.new_id()
        log = bundle / "log"
        done = subprocess.run(
            [*self.yard.command, "--log", str(log), "create", "--bundle", str(bundle), container_id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
        if done.returncode:
            return Found({}, log.read_text())
        try:
            return Found(self.files("runc"), "")
        finally:
            self.yard.runc("delete", "--force", container_id)

    def ours(self, resources: dict[str, Any]) -> Found:
        bundle = self.bundle("ours", resources)
        try:
            container = self.yard.factory.create(
                self.yard.new_id(), bundle, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
            )
        except ContainerError as error:
            return Found({}, str(error))
        with container:
            return Found(self.files("ours"), "")

    def clean(self) -> None:
        whole = cgroups.for_container(self.group, "")
        whole.kill()
        whole.remove()


@pytest.fixture
def pair(yard: Yard) -> Iterator[Pair]:
    pair = Pair(yard)
    yield pair
    pair.clean()


def rows_of(theirs: Found, ours: Found) -> set[str]:
    """The rows that two outcomes show; a file that differs and that none of them explains fails."""
    names = {name for name in theirs.files.keys() | ours.files.keys() if theirs.files.get(name) != ours.files.get(name)}
    if V2:
        # 1.1.5 converts shares to weights on a straight line, which runc has given up since
        names.discard("/cpu.weight")
        names.discard("/cpu.weight.nice")
    shown = {key for key, row in ROWS.items() if any(name.endswith(row.files) for name in names if row.files)}
    explained = tuple(file for key in shown for file in ROWS[key].files)
    left = {name: (theirs.files.get(name), ours.files.get(name)) for name in names if not name.endswith(explained)}
    assert left == {}
    return shown


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting(pair: Pair, name: str) -> None:
    setting = SETTINGS[name]
    rows = setting.rows_v2 if V2 and setting.rows_v2 is not None else setting.rows
    theirs, ours = pair.theirs(setting.resources), pair.ours(setting.resources)
    if V2 and "cpu.weight" in theirs.error:
        assert ours.files["/cpu.weight"] == "1\n"  # of 1 share 1.1.5 makes a number that no file takes; see rows_of
        return
    if bool(theirs.error) != bool(ours.error):
        # of one side alone: what cannot be applied, and runc leaves out
        assert ours.error, theirs.error
        assert rows & {"kernel", "v2"}, ours.error
        return
    if not theirs.error:
        assert rows_of(theirs, ours) <= rows


def test_the_weight_of_a_device(pair: Pair, tmp_path: Path) -> None:
    with weighed(tmp_path) as (major, minor):
        device = {"major": major, "minor": minor, "weight": 300}
        theirs, ours = (
            pair.theirs({"blockIO": {"weightDevice": [device]}}),
            pair.ours({"blockIO": {"weightDevice": [device]}}),
        )
    assert (theirs.error, ours.error, rows_of(theirs, ours)) == ("", "", set())
    assert any(f"{major}:{minor} 300" in text for text in ours.files.values())


def test_each_row_is_documented_and_shown() -> None:
    text = CONFORMANCE.read_text(encoding="utf-8").partition("## Differences")[2]
    for row in ROWS.values():
        assert len(re.findall(rf"^\| \d+ \| {re.escape(row.what)}", text, re.MULTILINE)) == 1, row.what
    assert {key for setting in SETTINGS.values() for key in setting.rows | (setting.rows_v2 or set())} == set(ROWS)
    assert len(SETTINGS) >= 40


def roomy(resources: Resources) -> Resources:
    """As they were drawn, but with what both need to start, and in time: runc takes some 10 MiB, and threads."""
    memory, cpu, pids = resources.memory, resources.cpu, resources.pids
    least = 64 * MIB
    if memory is not None and memory.limit is not None and 0 < memory.limit < least:
        swap = memory.swap if memory.swap is None or memory.swap < 0 else memory.swap + least
        memory = attrs.evolve(memory, limit=memory.limit + least, swap=swap)
    if pids is not None and pids.limit is not None and pids.limit > 0:
        pids = attrs.evolve(pids, limit=max(pids.limit, 64))
    if cpu is not None:
        # bursts and idle groups 1.1.5 does not know; realtime would have to be given by the cgroup above
        quota = cpu.quota if cpu.quota is None or cpu.quota < 0 else max(cpu.quota, cpu.period or 100000)
        cpu = CPU(shares=cpu.shares, quota=quota, period=cpu.period)
    return attrs.evolve(resources, memory=memory, cpu=cpu, pids=pids, devices=(), unified={})


def test_settings_by_chance(pair: Pair) -> None:
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(strategies.resources(None if V2 else 1, hardware=False).map(roomy))
    def the_same(found: Resources) -> None:
        document = found.to_dict()
        theirs, ours = pair.theirs(document), pair.ours(document)
        assert (theirs.error, ours.error) == ("", "")
        rows_of(theirs, ours)

    the_same()
