"""Limits, statistics, and who was killed for want of memory, on the memory backend; tests/kernel asks a kernel."""

from __future__ import annotations

from libcontainer_py.backends.memory import MemoryBackend
from libcontainer_py.container import Container
from libcontainer_py.factory import Factory
from libcontainer_py.process import ExitStatus
from libcontainer_py.spec import Linux, Memory, Namespace, Pids, Process, Resources, Root, Spec

CGROUP = "/sys/fs/cgroup/web"


def running(backend: MemoryBackend) -> Container:
    container = Factory(backend=backend).create("web", "/bundle")
    container.start()
    return container


def run_out(backend: MemoryBackend, *, init: bool = True) -> None:
    """A process of it is killed because memory is short: init, or another."""
    if init:
        backend.host.run_out_of_memory(backend.load("web").init)
    else:
        backend.host.cgroups[CGROUP].oom_kills += 1


def test_who_is_killed_for_it_is_counted() -> None:
    backend = MemoryBackend()
    container = running(backend)
    run_out(backend)
    assert container.wait() == ExitStatus(-9, oom_kills=1)
    assert Factory(backend=backend).load("web").wait() == ExitStatus(-9, oom_kills=1)


def test_another_than_init() -> None:
    backend = MemoryBackend()
    container = running(backend)
    run_out(backend, init=False)
    run_out(backend, init=False)
    backend.host.end(backend.load("web").init, 3)
    assert container.wait() == ExitStatus(3, oom_kills=2)


def test_killed_by_somebody() -> None:
    container = running(MemoryBackend())
    container.kill()
    assert container.wait() == ExitStatus(-9, oom_kills=0)


def test_after_a_delete_and_another_of_its_id() -> None:
    backend = MemoryBackend()
    container = running(backend)
    other = Factory(backend=backend).load("web")
    run_out(backend, init=False)
    other.delete(force=True)
    again = running(backend)
    again.kill()
    assert container.wait() == other.wait() == ExitStatus(-9, oom_kills=1)
    assert again.wait() == ExitStatus(-9, oom_kills=0)


def test_what_a_cgroup_counted_before() -> None:
    backend = MemoryBackend()
    backend.host.make_cgroup(CGROUP).oom_kills = 5
    container = running(backend)
    run_out(backend)
    assert container.wait() == ExitStatus(-9, oom_kills=1)


def test_statistics_in_memory() -> None:
    """What is modelled has its numbers; limits are those that were set."""
    backend = MemoryBackend()
    resources = Resources.from_dict(
        {
            "memory": {"limit": 100, "swap": 130},
            "pids": {"limit": 7},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 5}],
            "rdma": {"mlx5_1": {"hcaHandles": 3}},
        }
    )
    spec = Spec(
        root=Root(path="rootfs"),
        process=Process(args=("true",), cwd="/"),
        linux=Linux(namespaces=[Namespace(type="mount")], resources=resources),
    )
    container = Factory(backend=backend).create("web", spec)
    found = container.stats()
    assert found.memory is not None
    assert found.pids is not None
    assert (found.memory.usage_bytes, found.memory.limit_bytes, found.memory.swap_limit_bytes) == (0, 100, 30)
    assert (found.pids.current, found.pids.limit) == (1, 7)
    assert found.hugetlb["2MB"].limit_bytes == 5
    assert (found.rdma["mlx5_1"].handle_limit, found.rdma["mlx5_1"].object_limit) == (3, None)
    container.update(Resources(pids=Pids(limit=-1), memory=Memory(limit=-1)))
    run_out(backend)
    changed = container.stats()
    assert changed.memory is not None
    assert changed.pids is not None
    assert (changed.memory.limit_bytes, changed.memory.swap_limit_bytes, changed.memory.oom_kills) == (None, None, 1)
    assert (changed.pids.current, changed.pids.limit) == (0, None)


def test_without_limits_in_memory() -> None:
    found = running(MemoryBackend()).stats()
    assert found.memory is not None
    assert found.pids is not None
    assert (found.memory.limit_bytes, found.memory.swap_limit_bytes, found.pids.limit) == (None, None, None)
    assert (found.hugetlb, found.rdma, found.io) == ({}, {}, ())
