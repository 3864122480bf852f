"""Limits, set on real cgroups: what the kernel took, and what it does with it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import cgroups
from libcontainer_py.cgroups import Mode
from libcontainer_py.errors import CgroupError
from libcontainer_py.spec import Resources
from tests.disks import unweighed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from libcontainer_py.cgroups import Cgroup
    from libcontainer_py.cgroups.control import Change


def on_v2() -> bool:
    return cgroups.detect() is Mode.V2


def place(cgroup: Cgroup, controller: str) -> Path:
    """The directory of a controller of v1, else the one of v2; without the controller the test skips."""
    if on_v2():
        path = Path(cgroup.paths[""])
        if controller not in (path / "cgroup.controllers").read_text().split():
            pytest.skip(f"needs cgroup v1 or v2 with {controller}")
        return path
    if controller not in cgroup.paths:
        pytest.skip(f"needs cgroup v1 or v2 with {controller}")
    return Path(cgroup.paths[controller])


def set_limits(cgroup: Cgroup, **resources: Any) -> Change:
    return cgroup.set(Resources.from_dict(resources))


def refused(cgroup: Cgroup, **resources: Any) -> CgroupError:
    with pytest.raises(CgroupError) as caught:
        set_limits(cgroup, **resources)
    return caught.value


def shown(directory: Path, *names: str) -> list[str]:
    return [(directory / name).read_text().strip() for name in names]


# -- pids -------------------------------------------------------------------------------------------------------------

FORKS = """
for number in range(100):
    try:
        if os.fork() == 0:
            signal.pause()
    except BlockingIOError:
        break
print(number, flush=True)
signal.pause()
"""


def test_pids(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    directory = place(cgroup, "pids")
    change = set_limits(cgroup, pids={"limit": 6})
    assert shown(directory, "pids.max") == ["6"]
    process = join(cgroup, FORKS)
    assert process.stdout is not None
    assert process.stdout.readline() == "5\n"  # and itself
    assert shown(directory, "pids.current") == ["6"]
    change.undo()
    assert shown(directory, "pids.max") == ["max"]


def test_no_pids_lets_nothing_fork(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    directory = place(cgroup, "pids")
    process = join(cgroup, "sys.stdin.readline()\n" + FORKS)
    set_limits(cgroup, pids={"limit": 0})
    assert shown(directory, "pids.max") == ["0"]
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"


@pytest.mark.parametrize("limit", [-1, -7])
def test_no_limit_of_pids(cgroup: Cgroup, limit: int) -> None:
    directory = place(cgroup, "pids")
    set_limits(cgroup, pids={"limit": 5})
    set_limits(cgroup, pids={"limit": limit})
    assert shown(directory, "pids.max") == ["max"]


def test_more_pids_than_there_can_be(cgroup: Cgroup) -> None:
    directory = place(cgroup, "pids")
    error = refused(cgroup, pids={"limit": 2**40})
    assert (error.path, error.errno) == (f"{directory}/pids.max", errno.EINVAL)
    assert (error.field, error.value) == ("pids.limit", str(2**40))


# -- cpu --------------------------------------------------------------------------------------------------------------


def bandwidth(cgroup: Cgroup) -> tuple[int, int]:
    """Quota and period, microseconds; -1 is no quota."""
    directory = place(cgroup, "cpu")
    if on_v2():
        quota, period = (directory / "cpu.max").read_text().split()
    else:
        quota, period = shown(directory, "cpu.cfs_quota_us", "cpu.cfs_period_us")
    return -1 if quota == "max" else int(quota), int(period)


def test_shares(cgroup: Cgroup) -> None:
    directory = place(cgroup, "cpu")
    change = set_limits(cgroup, cpu={"shares": 512})
    assert shown(directory, "cpu.weight" if on_v2() else "cpu.shares") == ["59" if on_v2() else "512"]
    change.undo()
    assert shown(directory, "cpu.weight" if on_v2() else "cpu.shares") == ["100" if on_v2() else "1024"]


@pytest.mark.parametrize("shares", [1, 2**18 + 1])
def test_shares_out_of_range(cgroup: Cgroup, shares: int) -> None:
    directory = place(cgroup, "cpu")
    if on_v2():  # their weights are the least and the most
        set_limits(cgroup, cpu={"shares": shares})
        assert shown(directory, "cpu.weight") == ["1" if shares == 1 else "10000"]
        return
    error = refused(cgroup, cpu={"shares": shares})
    assert (error.field, error.value, error.hint) == ("cpu.shares", str(shares), "2 to 262144")
    assert shown(directory, "cpu.shares") == ["1024"]


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        ({"quota": 50000}, {}, (50000, 100000)),
        ({"period": 20000}, {}, (-1, 20000)),
        ({"quota": 50000, "period": 20000}, {"quota": 1000, "period": 1000}, (1000, 1000)),
        ({"quota": 1000, "period": 1000}, {"quota": 500000, "period": 1000000}, (500000, 1000000)),
        ({"quota": 50000}, {"period": 50000}, (50000, 50000)),
        ({"quota": 50000, "period": 50000}, {"quota": -1}, (-1, 50000)),
    ],
)
def test_bandwidth(cgroup: Cgroup, first: dict[str, int], then: dict[str, int], expected: tuple[int, int]) -> None:
    before = bandwidth(cgroup)
    changes = [set_limits(cgroup, cpu=cpu) for cpu in (first, then)]
    assert bandwidth(cgroup) == expected
    for change in reversed(changes):
        change.undo()
    assert bandwidth(cgroup) == before


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"quota": 10000, "period": 20000}, {"quota": 50000, "period": 100000}),
        ({"quota": 50000, "period": 100000}, {"quota": 10000, "period": 20000}),
    ],
)
def test_bandwidth_within_that_of_the_cgroup_above(
    cgroup: Cgroup, group: str, first: dict[str, int], then: dict[str, int]
) -> None:
    """Either way one of the two alone would be more than half a processor, and be refused on v1."""
    place(cgroup, "cpu")
    above = cgroups.for_container(group, "above")
    set_limits(above, cpu={"quota": 50000, "period": 100000})
    set_limits(cgroup, cpu=first)
    set_limits(cgroup, cpu=then)
    assert bandwidth(cgroup) == (then["quota"], then["period"])
    if not on_v2():  # v2 takes it, and gives no more than there is above
        error = refused(cgroup, cpu={"quota": 60000, "period": 100000})
        assert (error.errno, error.field) == (errno.EINVAL, "cpu.quota")
        assert "above" in error.hint
        assert bandwidth(cgroup) == (then["quota"], then["period"])


def test_burst(cgroup: Cgroup) -> None:
    directory = place(cgroup, "cpu")
    name = "cpu.max.burst" if on_v2() else "cpu.cfs_burst_us"
    if not (directory / name).exists():
        pytest.skip("needs Linux 5.14")
    set_limits(cgroup, cpu={"quota": 5000, "burst": 5000})
    assert shown(directory, name) == ["5000"]
    # the new burst is above the old quota
    set_limits(cgroup, cpu={"quota": 50000, "burst": 50000})
    assert shown(directory, name) == ["50000"]
    # the new quota is below the old burst
    set_limits(cgroup, cpu={"quota": 6000, "burst": 6000})
    assert (shown(directory, name), bandwidth(cgroup)[0]) == (["6000"], 6000)
    error = refused(cgroup, cpu={"burst": 7000})
    assert (error.errno, error.field) == (errno.EINVAL, "cpu.burst")


def test_idle(cgroup: Cgroup) -> None:
    directory = place(cgroup, "cpu")
    if not (directory / "cpu.idle").exists():
        pytest.skip("needs Linux 5.15")
    change = set_limits(cgroup, cpu={"idle": 1})
    assert shown(directory, "cpu.idle") == ["1"]
    error = refused(cgroup, cpu={"shares": 512})
    assert (error.errno, "idle" in error.hint) == (errno.EINVAL, True)
    set_limits(cgroup, cpu={"idle": 0, "shares": 512})
    assert shown(directory, "cpu.idle") == ["0"]
    change.undo()
    assert shown(directory, "cpu.idle") == ["0"]


def test_realtime(cgroup: Cgroup, group: str) -> None:
    directory = place(cgroup, "cpu")
    if not (directory / "cpu.rt_runtime_us").exists():
        pytest.skip("needs cgroup v1 with realtime groups (CONFIG_RT_GROUP_SCHED)")
    error = refused(cgroup, cpu={"realtimeRuntime": 1000})
    assert (error.errno, error.field) == (errno.EINVAL, "cpu.realtimeRuntime")
    assert "above" in error.hint
    set_limits(cgroups.for_container(group, "above"), cpu={"realtimeRuntime": 20000})
    set_limits(cgroup, cpu={"realtimeRuntime": 1000, "realtimePeriod": 100000})
    assert shown(directory, "cpu.rt_runtime_us", "cpu.rt_period_us") == ["1000", "100000"]
    # the period is below the runtime as it was
    set_limits(cgroup, cpu={"realtimeRuntime": 10, "realtimePeriod": 500})
    assert shown(directory, "cpu.rt_runtime_us", "cpu.rt_period_us") == ["10", "500"]


BURNS = """
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    with open(sys.argv[4]) as file:
        if "nr_throttled 0" not in file.read():
            print("throttled", flush=True)
            break
"""


def test_a_quota_throttles(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    directory = place(cgroup, "cpu")
    set_limits(cgroup, cpu={"quota": 10000, "period": 50000})
    process = join(cgroup, BURNS, str(directory / "cpu.stat"))
    assert process.stdout is not None
    assert process.stdout.readline() == "throttled\n"


# -- cpuset -----------------------------------------------------------------------------------------------------------


def test_cpuset(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    directory = place(cgroup, "cpuset")
    before = shown(directory, "cpuset.cpus", "cpuset.mems")
    last = max(os.sched_getaffinity(0))
    change = set_limits(cgroup, cpu={"cpus": str(last), "mems": "0"})
    assert shown(directory, "cpuset.cpus", "cpuset.mems") == [str(last), "0"]
    process = join(cgroup, "print(os.sched_getaffinity(0), flush=True)")
    assert process.stdout is not None
    assert process.stdout.readline() == f"{{{last}}}\n"
    cgroup.kill()
    change.undo()
    assert shown(directory, "cpuset.cpus", "cpuset.mems") == before


def test_processors_that_there_are_not(cgroup: Cgroup) -> None:
    directory = place(cgroup, "cpuset")
    before = shown(directory, "cpuset.cpus", "cpuset.mems")
    for field, value in (("cpus", "1000"), ("mems", "900")):
        error = refused(cgroup, cpu={field: value})
        assert (error.field, error.value) == (f"cpu.{field}", value)
        assert error.hint.startswith("the cgroup above has 0")
    assert shown(directory, "cpuset.cpus", "cpuset.mems") == before


def test_a_cpuset_below_needs_what_it_has(cgroup: Cgroup) -> None:
    directory = place(cgroup, "cpuset")
    if on_v2():
        pytest.skip("needs cgroup v1: on v2 cgroups below get what is left")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    below = directory / "below"
    below.mkdir()
    whole = (directory / "cpuset.cpus").read_text()
    (below / "cpuset.cpus").write_text(whole)
    error = refused(cgroup, cpu={"cpus": "0"})
    assert (error.errno, "below" in error.hint) == (errno.EBUSY, True)
    assert (directory / "cpuset.cpus").read_text() == whole


# -- memory -----------------------------------------------------------------------------------------------------------

MIB = 1 << 20
UNLIMITED = 0x7FFFFFFFFFFFF000  # how v1 shows it


def memory_limits(cgroup: Cgroup) -> tuple[int, int]:
    """The limit of memory, and that of memory and swap together, bytes; -1 is none."""
    directory = place(cgroup, "memory")
    if not on_v2():
        limit, swap = shown(directory, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        return -1 if int(limit) == UNLIMITED else int(limit), -1 if int(swap) == UNLIMITED else int(swap)
    limit, swap = shown(directory, "memory.max", "memory.swap.max")
    if limit == "max":
        return -1, -1 if swap == "max" else int(swap)
    return int(limit), -1 if swap == "max" else int(limit) + int(swap)


@pytest.fixture
def _swap_is_accounted(cgroup: Cgroup) -> None:
    if not (place(cgroup, "memory") / ("memory.swap.max" if on_v2() else "memory.memsw.limit_in_bytes")).exists():
        pytest.skip("needs swap to be accounted: swapaccount=1")


@pytest.mark.usefixtures("_swap_is_accounted")
@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({"limit": 32 * MIB}, (32 * MIB, 32 * MIB)),
        ({"limit": 32 * MIB, "swap": 32 * MIB}, (32 * MIB, 32 * MIB)),
        ({"limit": 32 * MIB, "swap": 48 * MIB}, (32 * MIB, 48 * MIB)),
        ({"limit": 32 * MIB, "swap": -1}, (32 * MIB, -1)),
        ({"limit": -1}, (-1, -1)),
        ({"swap": -1}, (-1, -1)),
    ],
)
def test_memory_and_swap(cgroup: Cgroup, memory: dict[str, int], expected: tuple[int, int]) -> None:
    """From limits that are lower, from higher ones, and from none; then back."""
    assert memory_limits(cgroup) == (-1, -1)
    for limit, swap in ((4, 8), (400, 800), (40, 44), (16, 400)):
        first = set_limits(cgroup, memory={"limit": limit * MIB, "swap": swap * MIB})
        second = set_limits(cgroup, memory=memory)
        limits = memory_limits(cgroup)
        assert limits == ((limit * MIB, -1) if memory == {"swap": -1} else expected)
        second.undo()
        assert memory_limits(cgroup) == (limit * MIB, swap * MIB)
        first.undo()
        assert memory_limits(cgroup) == (-1, -1)
    set_limits(cgroup, memory=memory)
    assert memory_limits(cgroup) == expected


def test_other_settings_of_memory(cgroup: Cgroup) -> None:
    directory = place(cgroup, "memory")
    set_limits(cgroup, memory={"reservation": 16 * MIB})
    if on_v2():
        assert shown(directory, "memory.low") == [str(16 * MIB)]
        return
    assert shown(directory, "memory.soft_limit_in_bytes") == [str(16 * MIB)]
    change = set_limits(
        cgroup,
        memory={"swappiness": 3, "disableOOMKiller": True, "useHierarchy": True, "kernel": -1, "kernelTCP": MIB},
    )
    files = ("memory.swappiness", "memory.use_hierarchy", "memory.kmem.tcp.limit_in_bytes", "memory.oom_control")
    assert [text.partition("\n")[0] for text in shown(directory, *files)] == ["3", "1", str(MIB), "oom_kill_disable 1"]
    set_limits(cgroup, memory={"disableOOMKiller": False})
    assert shown(directory, "memory.oom_control")[0].startswith("oom_kill_disable 0")
    change.undo()
    assert shown(directory, *files)[:3] == ["60", "1", str(UNLIMITED)]


def test_kernel_memory_and_no_hierarchy_are_gone(cgroup: Cgroup) -> None:
    directory = place(cgroup, "memory")
    for field, value in (("kernel", 64 * MIB), ("useHierarchy", False)):
        error = refused(cgroup, memory={"reservation": MIB, field: value})
        assert error.field == f"memory.{field}"
        assert error.hint
        if not on_v2():
            assert shown(directory, "memory.soft_limit_in_bytes") == [str(UNLIMITED)]


HOARDS = """
hoard = bytearray(24 << 20)
print("hoarded", flush=True)
signal.pause()
"""


def test_less_memory_than_is_used(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    place(cgroup, "memory")
    process = join(cgroup, HOARDS)
    assert process.stdout is not None
    assert process.stdout.readline() == "hoarded\n"
    before = memory_limits(cgroup)
    error = refused(cgroup, memory={"limit": 8 * MIB, "swap": 8 * MIB, "checkBeforeUpdate": True})
    assert (error.errno, error.field, error.value) == (errno.EBUSY, "memory.limit", str(8 * MIB))
    assert "bytes are in use" in str(error)
    assert memory_limits(cgroup) == before
    assert cgroup.oom_kills() == 0
    if on_v2():
        set_limits(cgroup, memory={"limit": 8 * MIB})
        assert process.wait(30) == -9
        assert cgroup.oom_kills() == 1


def test_too_much_memory_kills(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    place(cgroup, "memory")
    set_limits(cgroup, memory={"limit": 16 * MIB})
    assert cgroup.oom_kills() == 0
    process = join(cgroup, HOARDS)
    assert process.wait(30) == -9
    assert cgroup.oom_kills() == 1


def test_who_was_killed_below_counts(cgroup: Cgroup, group: str, join: Callable[..., subprocess.Popen[str]]) -> None:
    place(cgroup, "memory")
    below = cgroups.for_container(f"{group}/c1/below", "below")
    below.create()
    set_limits(cgroup, memory={"limit": 16 * MIB})
    process = join(below, HOARDS)
    assert process.wait(30) == -9
    assert (below.oom_kills(), cgroup.oom_kills()) == (1, 1)
    below.remove()
    cgroup.remove()
    assert cgroup.oom_kills() == 0  # gone


def test_a_process_that_was_killed_by_somebody_does_not_count(
    cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]
) -> None:
    place(cgroup, "memory")
    join(cgroup).kill()
    assert cgroup.oom_kills() == 0


# -- block devices ----------------------------------------------------------------------------------------------------

THROTTLES = ("throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice")
NO_DEVICE = {"major": 8, "minor": 255}


def disk() -> tuple[int, int]:
    """A whole block device."""
    for name in sorted(os.listdir("/sys/block"), key=lambda name: name.startswith(("loop", "ram"))):
        major, minor = Path(f"/sys/block/{name}/dev").read_text().split(":")
        return int(major), int(minor)
    pytest.skip("needs a block device")


def throttles(cgroup: Cgroup, device: str) -> list[str]:
    """The rates of a device in the order of THROTTLES."""
    directory = place(cgroup, "io" if on_v2() else "blkio")
    if on_v2():
        lines = dict(line.split(" ", 1) for line in (directory / "io.max").read_text().splitlines())
        words = dict(word.split("=") for word in lines.get(device, "").split())
        return [words.get(name, "max") for name in ("rbps", "wbps", "riops", "wiops")]
    found = []
    for name in ("read_bps", "write_bps", "read_iops", "write_iops"):
        lines = dict(line.split() for line in (directory / f"blkio.throttle.{name}_device").read_text().splitlines())
        found.append(lines.get(device, "max"))
    return found


def test_throttles(cgroup: Cgroup) -> None:
    place(cgroup, "io" if on_v2() else "blkio")
    major, minor = disk()
    device, there = f"{major}:{minor}", {"major": major, "minor": minor}
    rates = [1 << 20, 2 << 20, 300, 400]
    first = set_limits(
        cgroup, blockIO={name: [{**there, "rate": rate}] for name, rate in zip(THROTTLES, rates, strict=True)}
    )
    assert throttles(cgroup, device) == [str(rate) for rate in rates]
    second = set_limits(cgroup, blockIO={THROTTLES[0]: [{**there, "rate": 0}], THROTTLES[3]: [{**there, "rate": 7}]})
    assert throttles(cgroup, device) == ["max", str(2 << 20), "300", "7"]
    second.undo()
    assert throttles(cgroup, device) == [str(rate) for rate in rates]
    error = refused(cgroup, blockIO={THROTTLES[1]: [{**there, "rate": 5}], THROTTLES[2]: [{**NO_DEVICE, "rate": 5}]})
    assert (error.errno, error.field) == (errno.ENODEV, f"blockIO.{THROTTLES[2]}[0]")
    assert "no such block device" in error.hint
    assert throttles(cgroup, device) == [str(rate) for rate in rates]
    first.undo()
    assert throttles(cgroup, device) == ["max"] * 4


def test_weight_of_blocks(cgroup: Cgroup) -> None:
    directory = place(cgroup, "io" if on_v2() else "blkio")
    files = ("io.bfq.weight", "io.weight") if on_v2() else ("blkio.weight", "blkio.bfq.weight")
    file = next((name for name in files if (directory / name).exists()), "")
    if not file:
        error = refused(cgroup, blockIO={"weight": 300})
        assert (error.errno, "BFQ" in error.hint) == (errno.ENOENT, True)
        return
    before = shown(directory, file)
    change = set_limits(cgroup, blockIO={"weight": 300})
    expected = "2930" if file == "io.weight" else "300"
    assert shown(directory, file)[0].removeprefix("default ") == expected
    change.undo()
    assert shown(directory, file) == before


def test_the_weight_of_a_device(cgroup: Cgroup, weighed_disk: tuple[int, int]) -> None:
    file = place(cgroup, "io" if on_v2() else "blkio") / ("io.bfq.weight" if on_v2() else "blkio.bfq.weight_device")
    major, minor = weighed_disk
    device, there = f"{major}:{minor}", {"major": major, "minor": minor}
    first = set_limits(cgroup, blockIO={"weightDevice": [{**there, "weight": 300}]})
    assert file.read_text().splitlines() == ["default 100", f"{device} 300"]
    second = set_limits(cgroup, blockIO={"weightDevice": [{**there, "weight": 1000}]})
    assert file.read_text().splitlines() == ["default 100", f"{device} 1000"]
    second.undo()
    assert file.read_text().splitlines() == ["default 100", f"{device} 300"]
    error = refused(
        cgroup, blockIO={"weightDevice": [{**there, "weight": 10}, {**NO_DEVICE, "weight": 10}]}, pids={"limit": 5}
    )
    assert (error.path, error.errno) == (str(file), errno.ENODEV)
    assert error.field == "blockIO.weightDevice[1].weight"
    assert file.read_text().splitlines() == ["default 100", f"{device} 300"]
    first.undo()
    assert file.read_text().splitlines() == ["default 100"]


def test_a_device_that_does_not_weigh(cgroup: Cgroup) -> None:
    directory = place(cgroup, "io" if on_v2() else "blkio")
    numbers = unweighed()
    if numbers is None:
        pytest.skip("needs a block device without BFQ")
    major, minor = numbers
    error = refused(cgroup, blockIO={"weightDevice": [{"major": major, "minor": minor, "weight": 300}]})
    assert error.path.startswith((f"{directory}/io.", f"{directory}/blkio.bfq.weight_device"))
    assert error.errno in (errno.EOPNOTSUPP, errno.ENOENT)
    weight = 2930 if error.path.endswith("/io.weight") else 300
    assert (error.field, error.value) == ("blockIO.weightDevice[0].weight", f"{major}:{minor} {weight}")
    assert "BFQ" in error.hint


@pytest.mark.parametrize(
    ("block_io", "field", "file"),
    [
        ({"leafWeight": 300}, "blockIO.leafWeight", "blkio.leaf_weight"),
        (
            {"weightDevice": [{"major": 7, "minor": 0, "leafWeight": 300}]},
            "blockIO.weightDevice[0].leafWeight",
            "blkio.leaf_weight_device",
        ),
    ],
)
def test_leaves_have_no_weight(cgroup: Cgroup, block_io: dict[str, Any], field: str, file: str) -> None:
    """On no kernel since 5.0; and what was written before is undone."""
    pids = place(cgroup, "pids")
    directory = place(cgroup, "io" if on_v2() else "blkio")
    error = refused(cgroup, pids={"limit": 5}, blockIO=block_io)
    assert error.field == field
    assert (error.path, error.errno) == (
        (str(directory), errno.EOPNOTSUPP) if on_v2() else (f"{directory}/{file}", errno.ENOENT)
    )
    assert "leave" in error.hint
    assert shown(pids, "pids.max") == ["max"]


# -- huge pages, network, unified -------------------------------------------------------------------------------------


def test_huge_pages(cgroup: Cgroup) -> None:
    directory = place(cgroup, "hugetlb")
    suffix = "max" if on_v2() else "limit_in_bytes"
    size = next(name.split(".")[1] for name in sorted(os.listdir(directory)) if name.startswith("hugetlb."))
    before = shown(directory, f"hugetlb.{size}.{suffix}", f"hugetlb.{size}.rsvd.{suffix}")
    change = set_limits(cgroup, hugepageLimits=[{"pageSize": size, "limit": 1 << 30}])
    assert shown(directory, f"hugetlb.{size}.{suffix}", f"hugetlb.{size}.rsvd.{suffix}") == [str(1 << 30)] * 2
    change.undo()
    assert shown(directory, f"hugetlb.{size}.{suffix}", f"hugetlb.{size}.rsvd.{suffix}") == before
    error = refused(cgroup, hugepageLimits=[{"pageSize": "3MB", "limit": 0}])
    assert (error.errno, error.field) == (errno.ENOENT, "hugepageLimits[0].limit")


@pytest.mark.parametrize(
    ("controller", "resources"),
    [
        ("hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}),
        ("net_cls", {"network": {"classID": 5}}),
        ("net_prio", {"network": {"priorities": [{"name": "lo", "priority": 5}]}}),
        ("rdma", {"rdma": {"mlx5_1": {"hcaHandles": 5}}}),
    ],
)
def test_controllers_that_are_not_here(cgroup: Cgroup, controller: str, resources: dict[str, Any]) -> None:
    """With whatever came before undone."""
    pids = place(cgroup, "pids")
    if controller in cgroup.paths or (pids / f"{controller}.max").exists() or any(pids.glob(f"{controller}.*")):
        pytest.skip(f"needs cgroup v1 or v2 without {controller}")
    error = refused(cgroup, pids={"limit": 5}, **resources)
    assert error.errno in (errno.ENOENT, errno.EOPNOTSUPP)
    assert error.hint
    assert shown(pids, "pids.max") == ["max"]


def test_unified(cgroup: Cgroup) -> None:
    directory = place(cgroup, "pids")
    if not on_v2():
        error = refused(cgroup, pids={"limit": 5}, unified={"pids.max": "7"})
        assert (error.errno, error.field) == (errno.EOPNOTSUPP, 'unified["pids.max"]')
        assert shown(directory, "pids.max") == ["max"]
        return
    files = {"pids.max": "7", "memory.high": str(64 * MIB), "cgroup.max.depth": "3"}
    change = set_limits(cgroup, pids={"limit": 5}, unified=files)
    assert shown(directory, *files) == ["7", str(64 * MIB), "3"]
    error = refused(cgroup, unified={"memory.high": "max", "memory.max": "much"})
    assert (error.errno, error.field, error.value) == (errno.EINVAL, 'unified["memory.max"]', "much")
    assert shown(directory, *files) == ["7", str(64 * MIB), "3"]
    change.undo()
    assert shown(directory, *files) == ["max"] * 3


# -- errors -----------------------------------------------------------------------------------------------------------


def test_a_cgroup_that_is_gone(cgroup: Cgroup) -> None:
    directory = place(cgroup, "pids")
    cgroup.remove()
    error = refused(cgroup, pids={"limit": 5})
    assert (error.path, error.errno) == (f"{directory}/pids.max", errno.ENOENT)
    assert not os.path.exists(directory)
