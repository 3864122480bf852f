"""Statistics of real cgroups are what their files say, and mean what their names say."""

from __future__ import annotations

import errno
import os
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import cgroups
from libcontainer_py.cgroups import Mode
from libcontainer_py.errors import CgroupError
from libcontainer_py.spec import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable

    from libcontainer_py.cgroups import Cgroup
    from libcontainer_py.stats import MemoryStats, Stats

MIB = 1 << 20
WORKS = """
hoard = bytearray(24 << 20)
began = time.process_time()
while time.process_time() < began + 0.05:
    pass
print("worked", flush=True)
signal.pause()
"""


def text_of(cgroup: Cgroup, controller: str, name: str) -> str:
    path = cgroup.paths.get("", "") if cgroups.detect() is Mode.V2 else cgroup.paths.get(controller, "")
    file = Path(path, name)
    return file.read_text() if path and file.exists() else ""


def numbers_of(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


def number_of(text: str) -> int | None:
    return None if text.strip() in ("", "max") or int(text) > 1 << 62 else int(text)


def told_by_files(cgroup: Cgroup) -> dict[str, Any]:
    """The same numbers, read and named once more."""

    def number(controller: str, name: str) -> int | None:
        return number_of(text_of(cgroup, controller, name))

    def table(controller: str, name: str) -> dict[str, int]:
        return numbers_of(text_of(cgroup, controller, name))

    found: dict[str, Any] = {
        "pids.current": number("pids", "pids.current"),
        "pids.limit": number("pids", "pids.max"),
        "pids.refused": table("pids", "pids.events").get("max", 0),
        "cpu.periods": table("cpu", "cpu.stat").get("nr_periods", 0),
        "cpu.throttled_periods": table("cpu", "cpu.stat").get("nr_throttled", 0),
    }
    if cgroups.detect() is Mode.V2:
        memory, cpu = table("", "memory.stat"), table("", "cpu.stat")
        return found | {
            "cpu.usage_ns": cpu["usage_usec"] * 1000,
            "cpu.user_ns": cpu["user_usec"] * 1000,
            "cpu.system_ns": cpu["system_usec"] * 1000,
            "cpu.throttled_ns": cpu.get("throttled_usec", 0) * 1000,
            "memory.usage_bytes": number("", "memory.current"),
            "memory.limit_bytes": number("", "memory.max"),
            "memory.peak_bytes": number("", "memory.peak"),
            "memory.swap_bytes": number("", "memory.swap.current") or 0,
            "memory.swap_limit_bytes": number("", "memory.swap.max"),
            "memory.cache_bytes": memory["file"],
            "memory.anonymous_bytes": memory["anon"],
            "memory.kernel_bytes": memory["kernel"],
            "memory.limit_hits": table("", "memory.events")["max"],
            "memory.oom_kills": table("", "memory.events")["oom_kill"],
        }
    memory = table("memory", "memory.stat")
    limit, both = number("memory", "memory.limit_in_bytes"), number("memory", "memory.memsw.limit_in_bytes")
    return found | {
        "cpu.usage_ns": number("cpuacct", "cpuacct.usage"),
        "cpu.user_ns": table("cpuacct", "cpuacct.stat")["user"] * 10_000_000,
        "cpu.system_ns": table("cpuacct", "cpuacct.stat")["system"] * 10_000_000,
        "cpu.throttled_ns": table("cpu", "cpu.stat")["throttled_time"],
        "memory.usage_bytes": number("memory", "memory.usage_in_bytes"),
        "memory.limit_bytes": limit,
        "memory.peak_bytes": number("memory", "memory.max_usage_in_bytes"),
        "memory.swap_bytes": memory["total_swap"],
        "memory.swap_limit_bytes": None if both is None or limit is None else both - limit,
        "memory.cache_bytes": memory["total_cache"],
        "memory.anonymous_bytes": memory["total_rss"],
        "memory.kernel_bytes": number("memory", "memory.kmem.usage_in_bytes"),
        "memory.limit_hits": number("memory", "memory.failcnt"),
        "memory.oom_kills": table("memory", "memory.oom_control")["oom_kill"],
    }


def flat(stats: Stats, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(getattr(stats, name.split(".")[0]), name.split(".")[1]) for name in names}


def between(cgroup: Cgroup) -> None:
    """Each number of the statistics is the one of the file before or after it, or in between."""
    before = told_by_files(cgroup)
    found = flat(cgroup.stats(), before)
    after = told_by_files(cgroup)
    for name, value in found.items():
        if before[name] is None or after[name] is None:
            assert value == before[name] == after[name], name
        else:
            assert min(before[name], after[name]) <= value <= max(before[name], after[name]), name


def memory_of(cgroup: Cgroup) -> MemoryStats:
    found = cgroup.stats().memory
    assert found is not None
    return found


def test_they_are_what_the_files_say(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    between(cgroup)
    empty = cgroup.stats()
    assert empty.pids is not None
    assert (empty.pids.current, empty.pids.limit, memory_of(cgroup).limit_bytes) == (0, None, None)
    cgroup.set(
        Resources.from_dict(
            {
                "pids": {"limit": 9},
                "memory": {"limit": 64 * MIB, "swap": 80 * MIB},
                "cpu": {"quota": 20000, "period": 100000},
            }
        )
    )
    process = join(cgroup, WORKS)
    assert process.stdout is not None
    assert process.stdout.readline() == "worked\n"
    between(cgroup)
    found = cgroup.stats()
    assert found.pids is not None
    assert found.cpu is not None
    assert (found.pids.current, found.pids.limit, found.pids.refused) == (1, 9, 0)
    assert found.cpu.usage_ns >= 40_000_000  # of which 50 were asked for; clocks are coarse
    memory = memory_of(cgroup)
    assert (memory.limit_bytes, memory.swap_limit_bytes) == (64 * MIB, 16 * MIB)
    assert memory.anonymous_bytes >= 24 * MIB
    assert memory.usage_bytes >= memory.anonymous_bytes
    assert memory.peak_bytes is None or memory.peak_bytes >= memory.usage_bytes
    assert memory.oom_kills == 0
    assert empty.taken_ns < found.taken_ns < time.monotonic_ns()


def test_they_count_what_is_below(cgroup: Cgroup, group: str, join: Callable[..., subprocess.Popen[str]]) -> None:
    below = cgroups.for_container(f"{group}/c1/below", "below")
    below.create()
    process = join(below, WORKS)
    assert process.stdout is not None
    assert process.stdout.readline() == "worked\n"
    found = cgroup.stats()
    assert found.pids is not None
    assert found.cpu is not None
    assert found.pids.current == 1
    assert found.cpu.usage_ns >= 40_000_000
    assert memory_of(cgroup).anonymous_bytes >= 24 * MIB


FORKS = """
try:
    os.fork()
except BlockingIOError:
    print("refused", flush=True)
signal.pause()
"""


def test_forks_that_are_refused(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    cgroup.set(Resources.from_dict({"pids": {"limit": 1}}))
    process = join(
        cgroup, "try:\n    os.fork()\nexcept BlockingIOError:\n    print('refused', flush=True)\nsignal.pause()"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "refused\n"
    found = cgroup.stats()
    assert found.pids is not None
    assert found.pids.refused == 1


WRITES = """
import mmap
descriptor = os.open(sys.argv[4], os.O_CREAT | os.O_WRONLY | os.O_DIRECT)
os.write(descriptor, mmap.mmap(-1, 1 << 20))
os.fsync(descriptor)
print("written", flush=True)
signal.pause()
"""


def test_what_goes_to_a_disk(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    device = os.stat(tmp_path).st_dev
    if os.major(device) == 0:
        pytest.skip("needs a block device under the directory for temporary files")
    process = join(cgroup, WRITES, str(tmp_path / "file"))
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    written = sum(one.written_bytes for one in cgroup.stats().io)
    assert written >= MIB
    assert sum(one.writes for one in cgroup.stats().io) >= 1


def test_pressure(cgroup: Cgroup) -> None:
    found = cgroup.stats().pressure
    for name, stalls in (("cpu", found.cpu), ("memory", found.memory), ("io", found.io)):
        file = Path(cgroup.paths.get("", ""), f"{name}.pressure")
        assert (stalls is not None) == ("" in cgroup.paths and file.exists())
        if stalls is not None:
            assert f"total={stalls.some.total_us}" in file.read_text()
            assert 0 <= stalls.some.avg10 <= 100


def test_of_one_that_is_gone(cgroup: Cgroup) -> None:
    cgroup.remove()
    with pytest.raises(CgroupError, match="gone") as caught:
        cgroup.stats()
    assert caught.value.errno == errno.ENOENT


def test_they_are_cheap(cgroup: Cgroup) -> None:
    """Half a millisecond, where a system call takes what it takes on a machine, and a third of it on a quiet one."""
    began = time.perf_counter()
    for _ in range(1000):
        os.close(os.open(cgroup.directories[0] + "/cgroup.procs", os.O_RDONLY))
    unit = (time.perf_counter() - began) / 1000
    cgroup.stats()
    found = []
    for _ in range(100):
        began = time.perf_counter()
        cgroup.stats()
        found.append(time.perf_counter() - began)
    assert statistics.median(found) < max(0.0005, 120 * unit)
