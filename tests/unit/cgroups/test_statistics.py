"""Statistics read from files as kernels showed them, in directories that stand for cgroups."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from libcontainer_py.cgroups import from_paths, statistics
from libcontainer_py.errors import CgroupError
from libcontainer_py.stats import (
    CpuStats,
    HugetlbStats,
    IoStats,
    PidsStats,
    PressureStats,
    RdmaStats,
    Stall,
    Stalls,
    Stats,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PSI = "some avg10=0.22 avg60=0.17 avg300=1.11 total=58761459\nfull avg10=0.00 avg60=0.13 avg300=0.96 total=57001\n"

V1 = {
    "cpu/cpu.stat": "nr_periods 57\nnr_throttled 12\nthrottled_time 345678\nnr_bursts 1\nburst_time 99\n",
    "cpuacct/cpuacct.usage": "123456789\n",
    "cpuacct/cpuacct.stat": "user 7\nsystem 5\n",
    "memory/memory.usage_in_bytes": "5000000\n",
    "memory/memory.limit_in_bytes": "67108864\n",
    "memory/memory.max_usage_in_bytes": "6000000\n",
    "memory/memory.memsw.limit_in_bytes": "100663296\n",
    "memory/memory.failcnt": "3\n",
    "memory/memory.kmem.usage_in_bytes": "90112\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "memory/memory.stat": "cache 1\ntotal_cache 4096\ntotal_rss 8192\ntotal_swap 512\ntotal_inactive_file 1024\n",
    "pids/pids.current": "4\n",
    "pids/pids.max": "9\n",
    "pids/pids.events": "max 6\n",
    "blkio/blkio.throttle.io_service_bytes_recursive": (
        "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 1\n254:0 Total 12288\n8:16 Read 5\nTotal 12293\n"
    ),
    "blkio/blkio.throttle.io_serviced_recursive": "254:0 Read 1\n254:0 Write 2\n254:0 Discard 7\nTotal 3\n",
    "hugetlb/hugetlb.2MB.usage_in_bytes": "2097152\n",
    "hugetlb/hugetlb.2MB.rsvd.usage_in_bytes": "4194304\n",
    "hugetlb/hugetlb.2MB.limit_in_bytes": "9223372036852678656\n",
    "hugetlb/hugetlb.2MB.max_usage_in_bytes": "6291456\n",
    "hugetlb/hugetlb.2MB.failcnt": "8\n",
    "rdma/rdma.current": "mlx4_0 hca_handle=1 hca_object=20\nocrdma1 hca_handle=0 hca_object=0\n",
    "rdma/rdma.max": "mlx4_0 hca_handle=2 hca_object=max\n",
    "unified/cpu.pressure": PSI,
    "unified/memory.pressure": PSI.splitlines()[0] + "\n",
}

V2 = {
    "cpu.stat": (
        "usage_usec 123456\nuser_usec 70000\nsystem_usec 53456\nnr_periods 57\nnr_throttled 12\n"
        "throttled_usec 345\nnr_bursts 1\nburst_usec 9\n"
    ),
    "memory.current": "5000000\n",
    "memory.max": "67108864\n",
    "memory.peak": "6000000\n",
    "memory.swap.current": "512\n",
    "memory.swap.max": "33554432\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 4\noom_kill 2\noom_group_kill 0\n",
    "memory.stat": "anon 8192\nfile 4096\nkernel 90112\ninactive_file 1024\n",
    "pids.current": "4\n",
    "pids.max": "9\n",
    "pids.events": "max 6\n",
    "io.stat": (
        "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n8:16 rbytes=5 wbytes=0 rios=0 wios=0\n"
    ),
    "hugetlb.2MB.current": "2097152\n",
    "hugetlb.2MB.rsvd.current": "4194304\n",
    "hugetlb.2MB.max": "max\n",
    "hugetlb.2MB.events": "max 8\n",
    "rdma.current": V1["rdma/rdma.current"],
    "rdma.max": V1["rdma/rdma.max"],
    "cpu.pressure": PSI,
    "memory.pressure": PSI.splitlines()[0] + "\n",
}


@pytest.fixture(autouse=True)
def _one_size_of_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_page_sizes", lambda: ("2MB",))


def make(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """The paths of a cgroup with these files: a directory for each controller, or the one of v2."""
    paths: dict[str, str] = {}
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        paths[file.parent.name if file.parent != folder else ""] = str(file.parent)
    if "unified" in paths:
        paths[""] = paths.pop("unified")
    return paths


def read(folder: Path, files: Mapping[str, str]) -> Stats:
    return from_paths(make(folder, files)).stats()


SOME = Stall(avg10=0.22, avg60=0.17, avg300=1.11, total_us=58761459)


@pytest.mark.parametrize("version", [1, 2])
def test_every_number(tmp_path: Path, version: int) -> None:
    found = read(tmp_path, V1 if version == 1 else V2)
    v1 = version == 1
    assert found.cpu == CpuStats(
        usage_ns=123456789 if v1 else 123456000,
        user_ns=70_000_000,
        system_ns=50_000_000 if v1 else 53_456_000,
        periods=57,
        throttled_periods=12,
        throttled_ns=345678 if v1 else 345000,
        burst_periods=1,
        burst_ns=99 if v1 else 9000,
    )
    memory = found.memory
    assert memory is not None
    assert (memory.usage_bytes, memory.limit_bytes, memory.peak_bytes) == (5000000, 67108864, 6000000)
    assert (memory.swap_bytes, memory.swap_limit_bytes) == (512, 33554432)
    assert (memory.cache_bytes, memory.anonymous_bytes, memory.kernel_bytes) == (4096, 8192, 90112)
    assert (memory.inactive_file_bytes, memory.working_set_bytes) == (1024, 4998976)
    assert (memory.limit_hits, memory.oom_kills) == (3, 2)
    assert memory.raw["total_rss" if v1 else "anon"] == 8192
    assert found.pids == PidsStats(current=4, limit=9, refused=6)
    assert found.io == (
        IoStats(major=8, minor=16, read_bytes=5, written_bytes=0, reads=0, writes=0),
        IoStats(major=254, minor=0, read_bytes=4096, written_bytes=8192, reads=1, writes=2),
    )
    assert found.hugetlb == {
        "2MB": HugetlbStats(
            usage_bytes=2097152,
            reserved_bytes=4194304,
            limit_bytes=None,
            peak_bytes=6291456 if v1 else None,
            refused=8,
        )
    }
    assert found.rdma == {
        "mlx4_0": RdmaStats(handles=1, objects=20, handle_limit=2, object_limit=None),
        "ocrdma1": RdmaStats(handles=0, objects=0, handle_limit=None, object_limit=None),
    }
    full = Stall(avg10=0.0, avg60=0.13, avg300=0.96, total_us=57001)
    assert found.pressure == PressureStats(
        cpu=Stalls(some=SOME, full=full), memory=Stalls(some=SOME, full=None), io=None
    )


@pytest.mark.parametrize("version", [1, 2])
def test_no_limits(tmp_path: Path, version: int) -> None:
    names = ("memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes")
    limits = dict.fromkeys(names if version == 1 else (), "9223372036854771712\n")
    limits |= dict.fromkeys(("memory.max", "memory.swap.max") if version == 2 else (), "max\n")
    pids = {"pids/pids.max" if version == 1 else "pids.max": "max\n"}
    found = read(tmp_path, (V1 if version == 1 else V2) | limits | pids)
    assert found.memory is not None
    assert found.pids is not None
    assert (found.memory.limit_bytes, found.memory.swap_limit_bytes, found.pids.limit) == (None, None, None)


@pytest.mark.parametrize("version", [1, 2])
def test_controllers_that_are_off(tmp_path: Path, version: int) -> None:
    found = read(tmp_path, {"pids/pids.current": "1\n", "pids/pids.max": "max\n"} if version == 1 else {"cpu.stat": ""})
    assert (found.cpu, found.memory, found.io, found.hugetlb, found.rdma) == (None, None, (), {}, {})
    assert (found.pids is None) == (version == 2)
    assert found.pressure == PressureStats(cpu=None, memory=None, io=None)


@pytest.mark.parametrize("version", [1, 2])
def test_older_kernels(tmp_path: Path, version: int) -> None:
    """Without peaks, bursts, events of pids, sums of kernel memory, swap, and counts of what is below."""
    missing = {
        *("pids/pids.events", "memory/memory.memsw.limit_in_bytes", "hugetlb/hugetlb.2MB.rsvd.usage_in_bytes"),
        *("blkio/blkio.throttle.io_serviced_recursive", "blkio/blkio.throttle.io_service_bytes_recursive"),
        *("pids.events", "memory.peak", "memory.swap.current", "memory.swap.max"),
    }
    old = {name: text for name, text in (V1 if version == 1 else V2).items() if name not in missing}
    if version == 1:
        old |= {
            "cpu/cpu.stat": "nr_periods 57\nnr_throttled 12\nthrottled_time 345678\n",
            "blkio/blkio.throttle.io_serviced": "8:0 Read 3\nTotal 3\n",
            "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n",
        }
    else:
        old |= {
            "memory.stat": "anon 1\nfile 2\nkernel_stack 3\nslab 4\nsock 5\n",
            "memory.events": "low 0\nmax 3\noom 4\n",
        }
    found = read(tmp_path, old)
    assert found.pids is not None
    assert found.memory is not None
    assert found.cpu is not None
    assert (found.pids.refused, found.memory.oom_kills) == (0, 0)
    if version == 1:
        assert (found.cpu.burst_periods, found.cpu.burst_ns) == (0, 0)
        assert found.memory.swap_limit_bytes is None
        assert found.io == (IoStats(major=8, minor=0, read_bytes=0, written_bytes=0, reads=3, writes=0),)
        assert found.hugetlb["2MB"].reserved_bytes == 0
    else:
        assert (found.memory.peak_bytes, found.memory.swap_bytes, found.memory.kernel_bytes) == (None, 0, 12)


@pytest.mark.parametrize("version", [1, 2])
def test_a_cgroup_that_is_gone(tmp_path: Path, version: int) -> None:
    cgroup = from_paths(make(tmp_path, V1 if version == 1 else V2))
    cgroup.stats()
    for path in cgroup.directories:
        shutil.rmtree(path)
    with pytest.raises(CgroupError) as caught:
        cgroup.stats()
    assert caught.value.errno == errno.ENOENT
    assert caught.value.path in cgroup.directories


def test_they_are_values(tmp_path: Path) -> None:
    found = read(tmp_path, V1)
    again = from_paths(make(tmp_path, V1)).stats()
    assert (found.cpu, found.memory, found.io) == (again.cpu, again.memory, again.io)
    assert again.taken_ns > found.taken_ns
    assert "total_cache" not in repr(found)
    with pytest.raises(AttributeError):
        found.io = ()  # type: ignore[misc]  # frozen
