"""What is written where, and undone, on either version: directories of plain files stand for cgroups.

The kernel's part (what it takes, and what comes of it) is in tests/kernel/cgroups.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py.cgroups.controllers import set_v1, set_v2
from libcontainer_py.errors import CgroupError
from libcontainer_py.kernel import weights
from libcontainer_py.spec import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

Files = dict[str, str]


class Cgroup:
    """A directory for each controller (v1) or one (v2) of files with these contents; "" takes and shows all writes."""

    def __init__(self, folder: Path, version: int, files: Mapping[str, str]) -> None:
        self.version = version
        self.folder = folder
        self.paths: dict[str, str] = {}
        for name, text in files.items():
            controller = {"cpuset": "cpuset", "io": "blkio"}.get(name.split(".")[0], name.split(".")[0])
            directory = folder / controller if version == 1 else folder
            directory.mkdir(exist_ok=True)
            (directory / name).write_text(text)
            self.paths[controller if version == 1 else ""] = str(directory)

    def set(self, **resources: Any) -> Any:
        asked = Resources.from_dict(resources)
        return set_v1(self.paths, asked) if self.version == 1 else set_v2(self.paths[""], asked)

    def changed(self, before: Mapping[str, str]) -> Files:
        """The files that are not as they were."""
        found = {path.name: path.read_text() for path in self.folder.rglob("*") if path.is_file()}
        return {name: text for name, text in found.items() if text != before.get(name, text)}


def check(folder: Path, version: int, files: Files, resources: dict[str, Any], expected: Files) -> None:
    """What is expected is written and, where the old content can be written over the new one, undone."""
    cgroup = Cgroup(folder, version, files)
    change = cgroup.set(**resources)
    assert cgroup.changed(files) == expected
    change.undo()
    left = cgroup.changed(files)
    # a plain file keeps the end of what was longer, and of an empty line nothing but the newline can be written
    assert all(text.startswith(files[name].strip() or "\n") for name, text in left.items()), left


def refused(folder: Path, version: int, files: Files, resources: dict[str, Any]) -> CgroupError:
    cgroup = Cgroup(folder, version, files)
    with pytest.raises(CgroupError) as caught:
        cgroup.set(**resources)
    assert cgroup.changed(files) == {}
    assert caught.value.errno
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("limit", "text"), [(7, "7"), (0, "0"), (-1, "max"), (-5, "max")])
def test_pids(tmp_path: Path, version: int, limit: int, text: str) -> None:
    check(tmp_path, version, {"pids.max": ""}, {"pids": {"limit": limit}}, {"pids.max": text})


def test_undo_goes_backwards(tmp_path: Path) -> None:
    cgroup = Cgroup(tmp_path, 2, {"pids.max": "100\n", "cgroup.controllers": "pids"})
    first = cgroup.set(pids={"limit": 200})
    second = cgroup.set(pids={"limit": 300})
    assert (tmp_path / "pids.max").read_text() == "300\n"
    second.undo()
    assert (tmp_path / "pids.max").read_text() == "200\n"
    first.undo()
    assert (tmp_path / "pids.max").read_text() == "100\n"


def test_a_hierarchy_that_is_not_mounted(tmp_path: Path) -> None:
    error = refused(tmp_path, 1, {"cpu.shares": ""}, {"pids": {"limit": 5}})
    assert (error.path, error.field, error.value, error.errno) == ("pids", "pids.limit", "5", errno.ENOENT)
    assert "not mounted" in str(error)


def test_a_file_that_this_kernel_has_not(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    error = refused(tmp_path, 1, {"pids.current": ""}, {"pids": {"limit": 5}})
    assert error.path == str(tmp_path / "pids" / "pids.max")
    assert "no such file" in error.hint


def test_a_controller_that_is_not_passed_down(tmp_path: Path) -> None:
    """The hint names the cgroup that has it and keeps it."""
    (tmp_path / "cgroup.controllers").write_text("cpu pids\n")
    for name in ("a", "a/b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.controllers").write_text("cpu\n")
    error = refused(tmp_path / "a" / "b", 2, {"cgroup.procs": ""}, {"pids": {"limit": 5}})
    assert f"pids controller is not in {tmp_path}/cgroup.subtree_control" in error.hint
    assert ("+pids" in error.hint) == (os.geteuid() == 0)
    (tmp_path / "cgroup.controllers").write_text("cpu\n")
    error = refused(tmp_path / "a" / "b", 2, {"cgroup.procs": ""}, {"pids": {"limit": 5}})
    assert "no pids controller" in error.hint


# -- cpu --------------------------------------------------------------------------------------------------------------

V1_CPU = dict.fromkeys(
    (
        "cpu.shares",
        "cpu.cfs_period_us",
        "cpu.cfs_quota_us",
        "cpu.cfs_burst_us",
        "cpu.rt_period_us",
        "cpu.rt_runtime_us",
    ),
    "",
) | {"cpu.idle": "", "cpuset.cpus": "0\n", "cpuset.mems": "0\n"}
V2_CPU = {
    "cpu.weight": "1\n",
    "cpu.idle": "",
    "cpu.max": "max 100000\n",
    "cpu.max.burst": "0\n",
    "cpuset.cpus": "\n",
    "cpuset.cpus.effective": "0-1\n",
    "cpuset.mems": "\n",
    "cpuset.mems.effective": "0\n",
}


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ({}, {}),
        ({"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": ""}, {}),
        ({"shares": 512}, {"cpu.shares": "512"}),
        ({"quota": 5000}, {"cpu.cfs_quota_us": "5000"}),
        ({"quota": -3}, {"cpu.cfs_quota_us": "-1"}),
        (
            {"quota": 5000, "period": 2000, "burst": 10},
            {"cpu.cfs_quota_us": "5000", "cpu.cfs_period_us": "2000", "cpu.cfs_burst_us": "10"},
        ),
        ({"burst": 0}, {"cpu.cfs_burst_us": "0"}),
        ({"idle": 1}, {"cpu.idle": "1"}),
        ({"idle": 0, "shares": 9}, {"cpu.idle": "0", "cpu.shares": "9"}),
        ({"realtimeRuntime": 5, "realtimePeriod": 6}, {"cpu.rt_runtime_us": "5", "cpu.rt_period_us": "6"}),
        ({"cpus": "0-3", "mems": "0-1"}, {"cpuset.cpus": "0-3", "cpuset.mems": "0-1"}),
    ],
)
def test_cpu_v1(tmp_path: Path, cpu: dict[str, Any], expected: Files) -> None:
    check(tmp_path, 1, V1_CPU, {"cpu": cpu}, expected)


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ({}, {}),
        ({"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": ""}, {}),
        ({"shares": 512}, {"cpu.weight": "59"}),
        ({"quota": 1_000_000_000}, {"cpu.max": "1000000000\n"}),  # the kernel keeps the period
        ({"quota": -1, "period": 200000}, {"cpu.max": "max 200000\n"}),
        ({"quota": 5000, "period": 200000}, {"cpu.max": "5000 200000"}),
        ({"period": 200000}, {"cpu.max": "max 200000\n"}),
        ({"burst": 70}, {"cpu.max.burst": "70"}),
        ({"idle": 1}, {"cpu.idle": "1"}),
        ({"idle": 0, "shares": 1024}, {"cpu.idle": "0", "cpu.weight": "100"}),
        ({"cpus": "0-1"}, {"cpuset.cpus": "0-1"}),
    ],
)
def test_cpu_v2(tmp_path: Path, cpu: dict[str, Any], expected: Files) -> None:
    check(tmp_path, 2, V2_CPU, {"cpu": cpu}, expected)


@pytest.mark.parametrize("field", ["realtimeRuntime", "realtimePeriod"])
def test_v2_has_no_realtime(tmp_path: Path, field: str) -> None:
    error = refused(tmp_path, 2, V2_CPU, {"cpu": {"shares": 7, field: 1}})
    assert (error.field, error.errno) == (f"cpu.{field}", errno.EOPNOTSUPP)


def test_shares_that_the_kernel_brings_into_its_range(tmp_path: Path) -> None:
    """It takes them and shows others; a file that is longer than what is written does so too."""
    cgroup = Cgroup(tmp_path, 1, {"cpu.shares": "1024\n"})
    with pytest.raises(CgroupError, match="took 1024 instead; 2 to 262144"):
        cgroup.set(cpu={"shares": 1})


def test_processors_that_v2_does_not_give(tmp_path: Path) -> None:
    files = {**V2_CPU, "cpuset.cpus": "0", "cpuset.cpus.effective": "0-1\n"}
    (tmp_path / "c").mkdir()
    (tmp_path / "cpuset.cpus.effective").write_text("0-1\n")
    cgroup = Cgroup(tmp_path / "c", 2, files)
    with pytest.raises(CgroupError, match=r"none of these is there.*the cgroup above has 0-1"):
        cgroup.set(cpu={"cpus": "7"})


def test_kernels_without_bursts_and_idle_groups(tmp_path: Path) -> None:
    old = {name: text for name, text in V1_CPU.items() if "burst" not in name and "idle" not in name}
    cgroup = Cgroup(tmp_path, 1, old)
    cgroup.set(cpu={"burst": 0, "idle": 0})  # as they are
    for field, since in (("burst", "5.14"), ("idle", "5.15")):
        with pytest.raises(CgroupError, match=rf"since Linux {since}") as caught:
            cgroup.set(cpu={field: 1})
        assert caught.value.errno == errno.ENOENT
    assert cgroup.changed(old) == {}


def test_the_same_share_of_processors_and_disks() -> None:
    """Least, usual and most of v1 are those of v2, and more is never less."""
    assert [weights.cpu_weight(shares) for shares in (0, 1, 2, 512, 1024, 2**18 - 1, 2**18, 2**40)] == [
        0, 1, 1, 59, 100, 10000, 10000, 10000,
    ]  # fmt: skip
    found = [weights.cpu_weight(shares) for shares in range(2, 2**18, 97)]
    assert found == sorted(found)
    assert set(found) <= {*range(1, 10001)}
    assert [weights.io_weight(weight) for weight in (0, 1, 10, 11, 500, 1000)] == [0, 1, 1, 11, 4950, 10000]


# -- memory -----------------------------------------------------------------------------------------------------------

V1_MEMORY = {
    "memory.limit_in_bytes": "9\n",
    "memory.memsw.limit_in_bytes": "9\n",
    "memory.soft_limit_in_bytes": "",
    "memory.kmem.limit_in_bytes": "9\n",
    "memory.kmem.tcp.limit_in_bytes": "",
    "memory.swappiness": "",
    "memory.use_hierarchy": "1\n",
    "memory.oom_control": "oom_kill_disable 0\n",
}
V2_MEMORY = dict.fromkeys(("memory.max", "memory.swap.max", "memory.low"), "") | {"memory.current": "100\n"}
NOT_SWAPPED = {name: text for name, text in V1_MEMORY.items() if "memsw" not in name}
TOP = 2**64 - 1


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({}, {}),
        ({"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0, "swappiness": TOP}, {}),
        ({"limit": 4096}, {"memory.limit_in_bytes": "4096", "memory.memsw.limit_in_bytes": "4096"}),
        ({"limit": -1}, {"memory.limit_in_bytes": "-1", "memory.memsw.limit_in_bytes": "-1"}),
        ({"limit": 40, "swap": 99}, {"memory.limit_in_bytes": "40", "memory.memsw.limit_in_bytes": "99"}),
        ({"limit": 40, "swap": -1}, {"memory.limit_in_bytes": "40", "memory.memsw.limit_in_bytes": "-1"}),
        ({"swap": -1}, {"memory.memsw.limit_in_bytes": "-1"}),
        ({"reservation": 5}, {"memory.soft_limit_in_bytes": "5"}),
        ({"kernel": -1, "useHierarchy": True, "disableOOMKiller": False, "checkBeforeUpdate": True}, {}),
        ({"kernelTCP": 5}, {"memory.kmem.tcp.limit_in_bytes": "5"}),
        ({"kernelTCP": -1}, {"memory.kmem.tcp.limit_in_bytes": "-1"}),
        ({"swappiness": 0}, {"memory.swappiness": "0"}),
        ({"useHierarchy": False}, {"memory.use_hierarchy": "0\n"}),
    ],
)
def test_memory_v1(tmp_path: Path, memory: dict[str, Any], expected: Files) -> None:
    check(tmp_path, 1, V1_MEMORY, {"memory": memory}, expected)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({}, {}),
        ({"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0, "swappiness": TOP}, {}),
        ({"kernel": -1, "kernelTCP": -1, "useHierarchy": True, "disableOOMKiller": False}, {}),
        ({"limit": 4096}, {"memory.max": "4096", "memory.swap.max": "0"}),
        ({"limit": -1}, {"memory.max": "max", "memory.swap.max": "max"}),
        ({"limit": 4096, "swap": 4096}, {"memory.max": "4096", "memory.swap.max": "0"}),
        ({"limit": 4096, "swap": 5000}, {"memory.max": "4096", "memory.swap.max": "904"}),
        ({"limit": 4096, "swap": -1}, {"memory.max": "4096", "memory.swap.max": "max"}),
        ({"swap": -1}, {"memory.swap.max": "max"}),
        ({"reservation": 5}, {"memory.low": "5"}),
        ({"reservation": -1}, {"memory.low": "max"}),
        ({"checkBeforeUpdate": True, "limit": 101}, {"memory.max": "101", "memory.swap.max": "0"}),
        ({"checkBeforeUpdate": False, "limit": 100}, {"memory.max": "100", "memory.swap.max": "0"}),
    ],
)
def test_memory_v2(tmp_path: Path, memory: dict[str, Any], expected: Files) -> None:
    check(tmp_path, 2, V2_MEMORY, {"memory": memory}, expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [("kernel", 5), ("kernelTCP", 5), ("swappiness", 0), ("disableOOMKiller", True), ("useHierarchy", False)],
)
def test_what_v2_has_not(tmp_path: Path, field: str, value: object) -> None:
    error = refused(tmp_path, 2, V2_MEMORY, {"memory": {"limit": 5000, field: value}})
    assert (error.field, error.value, error.errno) == (f"memory.{field}", str(value), errno.EOPNOTSUPP)


@pytest.mark.parametrize("memory", [{"limit": 100}, {"limit": 50, "swap": 100}, {"limit": 200, "swap": 100}])
def test_less_than_is_used(tmp_path: Path, memory: dict[str, Any]) -> None:
    cgroup = Cgroup(tmp_path, 2, V2_MEMORY)
    with pytest.raises(CgroupError, match="100 bytes are in use") as caught:
        cgroup.set(memory={**memory, "checkBeforeUpdate": True})
    assert caught.value.errno == errno.EBUSY
    assert cgroup.changed(V2_MEMORY) == {}


def test_kernels_that_account_no_swap(tmp_path: Path) -> None:
    for version, files, limit in ((1, NOT_SWAPPED, "memory.limit_in_bytes"), (2, {"memory.max": ""}, "memory.max")):
        folder = tmp_path / str(version)
        folder.mkdir()
        cgroup = Cgroup(folder, version, files)
        for memory in ({"limit": 4096}, {"limit": 4096, "swap": -1} if version == 2 else {"limit": 4096}):
            cgroup.set(memory=memory)
            assert cgroup.changed(files) == {limit: "4096"}
        with pytest.raises(CgroupError, match="swapaccount=1") as caught:
            cgroup.set(memory={"limit": 8192, "swap": 16384})
        assert (caught.value.field, caught.value.errno) == ("memory.swap", errno.ENOENT)
        assert cgroup.changed(files) == {limit: "4096"}


def test_kernel_memory_that_is_not_limited_any_more(tmp_path: Path) -> None:
    """The kernel takes the number and does nothing: the file shows what it showed."""
    files = {**V1_MEMORY, "memory.kmem.limit_in_bytes": "9223372036854771712\n"}
    cgroup = Cgroup(tmp_path, 1, files)
    with pytest.raises(CgroupError, match=r"Linux 5\.16") as caught:
        cgroup.set(memory={"kernel": 5})
    assert (caught.value.field, caught.value.errno) == ("memory.kernel", errno.EOPNOTSUPP)


# -- block devices ----------------------------------------------------------------------------------------------------

V1_IO = dict.fromkeys(
    (
        "blkio.weight",
        "blkio.weight_device",
        "blkio.leaf_weight",
        "blkio.leaf_weight_device",
        *(f"blkio.throttle.{way}_{what}_device" for way in ("read", "write") for what in ("bps", "iops")),
    ),
    "",
)
BFQ = {"blkio.bfq.weight": "", "blkio.bfq.weight_device": "default 100\n8:0 70\n"}
V2_IO = {"io.weight": "default 1\n", "io.max": "8:0 rbps=1\n"}
SDA = {"major": 8, "minor": 0}
SDB = {"major": 8, "minor": 16}


@pytest.mark.parametrize(
    ("block_io", "expected"),
    [
        ({}, {}),
        ({"weight": 0, "leafWeight": 0, "weightDevice": [{**SDA, "weight": 0}]}, {}),
        ({"weight": 300, "leafWeight": 20}, {"blkio.weight": "300", "blkio.leaf_weight": "20"}),
        (
            {"weightDevice": [{**SDB, "weight": 300, "leafWeight": 20}]},
            {"blkio.weight_device": "8:16 300", "blkio.leaf_weight_device": "8:16 20"},
        ),
        (
            {
                "throttleReadBpsDevice": [{**SDA, "rate": 1}],
                "throttleWriteBpsDevice": [{**SDA, "rate": 2}],
                "throttleReadIOPSDevice": [{**SDA, "rate": 3}],
                "throttleWriteIOPSDevice": [{**SDA, "rate": 0}],
            },
            {
                "blkio.throttle.read_bps_device": "8:0 1",
                "blkio.throttle.write_bps_device": "8:0 2",
                "blkio.throttle.read_iops_device": "8:0 3",
                "blkio.throttle.write_iops_device": "8:0 0",
            },
        ),
    ],
)
def test_blkio_v1(tmp_path: Path, block_io: dict[str, Any], expected: Files) -> None:
    cgroup = Cgroup(tmp_path, 1, V1_IO)
    change = cgroup.set(blockIO=block_io)
    assert cgroup.changed(V1_IO) == expected
    change.undo()
    # no device had anything before, and 0 is nothing
    assert all(text.split()[-1][0] in "0123" for text in cgroup.changed(V1_IO).values())
    assert all(text.startswith("8:") for name, text in cgroup.changed(V1_IO).items() if "device" in name)


def test_weights_of_bfq_on_v1(tmp_path: Path) -> None:
    cgroup = Cgroup(tmp_path, 1, BFQ)
    change = cgroup.set(blockIO={"weight": 300, "weightDevice": [{**SDA, "weight": 500}]})
    file = tmp_path / "blkio" / "blkio.bfq.weight_device"
    assert cgroup.changed(BFQ)["blkio.bfq.weight"] == "300"
    assert file.read_text().startswith("8:0 500")
    change.undo()
    assert file.read_text().startswith("8:0 70")
    change = cgroup.set(blockIO={"weightDevice": [{**SDB, "weight": 500}]})
    assert file.read_text().startswith("8:16 500")
    change.undo()
    assert file.read_text().startswith("8:16 default")  # 0 it refuses


@pytest.mark.parametrize(
    ("block_io", "files", "expected"),
    [
        ({}, V2_IO, {}),
        ({"weight": 1000}, V2_IO, {"io.weight": "10000lt 1\n"}),
        ({"weightDevice": [{**SDA, "weight": 1000}]}, V2_IO, {"io.weight": "8:0 10000\n"}),
        ({"throttleReadBpsDevice": [{**SDA, "rate": 77}]}, V2_IO, {"io.max": "8:0 rbps=77"}),
        ({"throttleWriteBpsDevice": [{**SDA, "rate": 77}]}, V2_IO, {"io.max": "8:0 wbps=77"}),
        ({"throttleReadIOPSDevice": [{**SDB, "rate": 7}]}, V2_IO, {"io.max": "8:16 riops=7"}),
        ({"throttleWriteIOPSDevice": [{**SDB, "rate": 0}]}, V2_IO, {"io.max": "8:16 wiops=max"}),
        ({"weight": 700}, {"io.bfq.weight": "default 100\n"}, {"io.bfq.weight": "700ault 100\n"}),
        ({"weightDevice": [{**SDA, "weight": 70}]}, {"io.bfq.weight": "1\n"}, {"io.bfq.weight": "8:0 70"}),
    ],
)
def test_io_v2(tmp_path: Path, block_io: dict[str, Any], files: Files, expected: Files) -> None:
    cgroup = Cgroup(tmp_path, 2, files)
    change = cgroup.set(blockIO=block_io)
    assert cgroup.changed(files) == expected
    change.undo()
    left = cgroup.changed(files)
    starts = ("default ", "8:0 default", "8:0 rbps=1", "8:0 wbps=max", "8:16 riops=max", "8:16 wiops=max")
    assert all(text.startswith(starts) for text in left.values()), left


@pytest.mark.parametrize("block_io", [{"leafWeight": 10}, {"weightDevice": [{**SDA, "leafWeight": 10}]}])
def test_leaves_have_no_weight_any_more(tmp_path: Path, block_io: dict[str, Any]) -> None:
    for version, files, number in ((1, BFQ, errno.ENOENT), (2, V2_IO, errno.EOPNOTSUPP)):
        folder = tmp_path / str(version)
        folder.mkdir()
        error = refused(folder, version, files, {"blockIO": block_io})
        assert error.errno == number
        assert error.field.lower().endswith("leafweight")


def test_without_a_scheduler_that_weighs(tmp_path: Path) -> None:
    files = {"io.max": ""}
    for block_io in ({"weight": 100}, {"weightDevice": [{**SDA, "weight": 100}]}):
        error = refused(tmp_path, 2, files, {"blockIO": block_io})
        assert "BFQ" in error.hint


# -- huge pages, network, RDMA, unified -------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "suffix"), [(1, "limit_in_bytes"), (2, "max")])
def test_huge_pages(tmp_path: Path, version: int, suffix: str) -> None:
    """With a limit of what is reserved, where the kernel has one."""
    files = {f"hugetlb.2MB.{suffix}": "", f"hugetlb.2MB.rsvd.{suffix}": "", f"hugetlb.1GB.{suffix}": ""}
    limits = [{"pageSize": "2MB", "limit": 4194304}, {"pageSize": "1GB", "limit": 0}]
    expected = {
        f"hugetlb.2MB.{suffix}": "4194304",
        f"hugetlb.2MB.rsvd.{suffix}": "4194304",
        f"hugetlb.1GB.{suffix}": "0",
    }
    check(tmp_path, version, files, {"hugepageLimits": limits}, expected)


def test_a_size_that_no_page_has(tmp_path: Path) -> None:
    error = refused(
        tmp_path, 1, {"hugetlb.2MB.limit_in_bytes": ""}, {"hugepageLimits": [{"pageSize": "4MB", "limit": 1}]}
    )
    assert (error.field, error.errno) == ("hugepageLimits[0].limit", errno.ENOENT)
    assert "/sys/kernel/mm/hugepages" in error.hint


NETWORK = {"net_cls.classid": "0\n", "net_prio.ifpriomap": "lo 4\neth0 0\n"}


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ({}, {}),
        ({"classID": 0}, {}),
        ({"classID": 1048577}, {"net_cls.classid": "1048577"}),
        ({"priorities": [{"name": "lo", "priority": 5}]}, {"net_prio.ifpriomap": "lo 5\neth0 0\n"}),
    ],
)
def test_network_v1(tmp_path: Path, network: dict[str, Any], expected: Files) -> None:
    check(tmp_path, 1, NETWORK, {"network": network}, expected)


@pytest.mark.parametrize("network", [{"classID": 5}, {"priorities": [{"name": "lo", "priority": 0}]}])
def test_v2_marks_no_network_traffic(tmp_path: Path, network: dict[str, Any]) -> None:
    error = refused(tmp_path, 2, {"cgroup.controllers": ""}, {"network": network})
    assert error.errno == errno.EOPNOTSUPP
    Cgroup(tmp_path, 2, {"cgroup.controllers": ""}).set(network={"classID": 0, "priorities": []})


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"hcaHandles": 3}, "mlx5_1 hca_handle=3"),
        ({"hcaObjects": 0}, "mlx5_1 hca_object=0"),
        ({"hcaHandles": 3, "hcaObjects": 10000}, "mlx5_1 hca_handle=3 hca_object=10000"),
    ],
)
def test_rdma(tmp_path: Path, version: int, limits: dict[str, int], text: str) -> None:
    cgroup = Cgroup(tmp_path, version, {"rdma.max": ""})
    change = cgroup.set(rdma={"mlx5_1": limits})
    assert cgroup.changed({"rdma.max": ""}) == {"rdma.max": text}
    change.undo()
    assert cgroup.changed({"rdma.max": ""})["rdma.max"].startswith("mlx5_1 hca_handle=max hca_object=max")


def test_unified(tmp_path: Path) -> None:
    files = {"memory.high": "", "io.max": "8:0 rbps=5 wbps=max\n", "misc.max": "", "cpuset.cpus": ""}
    cgroup = Cgroup(tmp_path, 2, files)
    change = cgroup.set(
        unified={"memory.high": "1000", "misc.max": "sev 1\nsev_es 2", "io.max": "8:0 rbps=77 wbps=max"}
    )
    # each line is a write of its own, and a plain file takes one over the other
    assert cgroup.changed(files) == {
        "memory.high": "1000",
        "misc.max": "sev_es 2",
        "io.max": "8:0 rbps=77 wbps=max",
    }
    change.undo()
    assert (tmp_path / "io.max").read_text().startswith("8:0 rbps=5 wbps=max")
    cgroup.set(unified={"cpuset.cpus": ""})
    assert (tmp_path / "cpuset.cpus").read_text() == "\n"


def test_unified_is_for_v2(tmp_path: Path) -> None:
    error = refused(tmp_path, 1, {"memory.limit_in_bytes": ""}, {"unified": {"memory.high": "1000"}})
    assert (error.field, error.value, error.errno) == ('unified["memory.high"]', "1000", errno.EOPNOTSUPP)


def test_unified_of_a_controller_that_there_is_not(tmp_path: Path) -> None:
    files = {"cgroup.controllers": "cpu memory\n", "memory.high": ""}
    error = refused(tmp_path, 2, files, {"unified": {"misc.max": "res_a 1"}})
    assert "no misc controller" in error.hint
    error = refused(tmp_path, 2, files, {"unified": {"memory.tomorrow": "1"}})
    assert "no such file" in error.hint
    error = refused(tmp_path, 2, files, {"unified": {"cgroup.tomorrow": "1"}})
    assert "no such file" in error.hint
