"""Statistics again and again, on the virtual clock."""

from __future__ import annotations

import attrs
import pytest

from libcontainer_py import Container, Factory, MemoryBackend
from libcontainer_py.errors import CgroupError
from libcontainer_py.stats import sample


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def container(backend: MemoryBackend) -> Container:
    container = Factory(backend=backend).create("web", "/bundle")
    container.start()
    return container


def test_a_sample_each_interval(backend: MemoryBackend, container: Container) -> None:
    samples = container.watch_stats(2.5)
    for seconds in (2.5, 5.0):
        found = next(samples)
        assert (found.seconds, found.stats.taken_ns) == (2.5, seconds * 1e9)
        assert found.cpu_percent == 0
    assert backend.host.now() == 5.0


def test_it_ends_with_the_container(backend: MemoryBackend, container: Container) -> None:
    samples = container.watch_stats(60)
    next(samples)
    backend.host.end(backend.load("web").init, 0)
    assert list(samples) == []
    assert backend.host.now() == 60  # at once


def test_it_ends_with_a_deleted_one(container: Container) -> None:
    samples = container.watch_stats(1)
    next(samples)
    container.delete(force=True)
    assert list(samples) == []


def test_a_cgroup_that_is_gone_is_an_error(backend: MemoryBackend, container: Container) -> None:
    samples = container.watch_stats(1)
    backend.host.cgroups.clear()
    with pytest.raises(CgroupError):
        next(samples)
    with pytest.raises(CgroupError):
        container.watch_stats(1)


@pytest.mark.parametrize("interval", [0, -1.0, float("nan")])
def test_an_interval_that_is_none(container: Container, interval: float) -> None:
    with pytest.raises(ValueError, match="an interval is above 0 s"):
        container.watch_stats(interval)


def test_percent(container: Container) -> None:
    before = container.stats()
    assert before.cpu is not None
    cpu = attrs.evolve(before.cpu, usage_ns=before.cpu.usage_ns + 3_000_000)
    found = sample(before, attrs.evolve(before, taken_ns=before.taken_ns + 2_000_000, cpu=cpu))
    assert (found.cpu_percent, found.seconds) == (150.0, 0.002)
    assert sample(before, attrs.evolve(before, taken_ns=before.taken_ns + 1, cpu=None)).cpu_percent is None
    assert sample(before, before).cpu_percent is None
