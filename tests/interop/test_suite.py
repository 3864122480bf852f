"""The suite for backends on runc and crun, driven by their commands: what they do not do is listed in `suite_rows`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libcontainer_py import Factory
from libcontainer_py.testing.runtime import RuntimeBackend
from libcontainer_py.testing.suite import BackendSuite, BundleBench, Can
from tests.interop.suite_rows import CRUN, RUNC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# crun refuses a machine with both versions of cgroups; without the mount of the second one it finds the first alone
WITHOUT_UNIFIED = (
    *("unshare", "--mount", "sh", "-c"),
    'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"',
    "sh",
)


class RuntimeBench(BundleBench):
    """No command tells these things, or not two runtimes in the same way."""

    can = frozenset({Can.SPAWN, Can.RUN, Can.HOOK})
    PATIENCE = 4.0  # each of the rows that wait for what does not happen waits so long


@pytest.fixture
def folder(tmp_path: Path, root_only: None) -> Path:
    return tmp_path


def bench_of(command: tuple[str, ...], folder: Path, busybox: str) -> Iterator[RuntimeBench]:
    root = folder / "root"
    bench = RuntimeBench(Factory(backend=RuntimeBackend(command, root=root)), folder, busybox=busybox)
    yield bench
    bench.clean()
    assert not root.exists() or os.listdir(root) == []


def expect(request: pytest.FixtureRequest, rows: Mapping[str, str]) -> None:
    """A test that is listed must fail, and one that is not must pass."""
    name = request.node.name
    for row, reason in rows.items():
        if name == row or name.partition("[")[0] == row:
            request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))


class TestRunc(BackendSuite):
    @pytest.fixture
    def bench(self, request: pytest.FixtureRequest, folder: Path, peer: Callable[[str], str]) -> Iterator[RuntimeBench]:
        expect(request, RUNC)
        yield from bench_of((peer("runc"),), folder, peer("busybox"))


class TestCrun(BackendSuite):
    @pytest.fixture
    def bench(self, request: pytest.FixtureRequest, folder: Path, peer: Callable[[str], str]) -> Iterator[RuntimeBench]:
        expect(request, CRUN)
        peer("unshare")
        yield from bench_of((*WITHOUT_UNIFIED, peer("crun")), folder, peer("busybox"))
