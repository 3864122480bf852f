"""The suite for backends on Linux."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libcontainer_py import Factory
from libcontainer_py.testing.suite import BackendSuite, BundleBench
from tests.kernel.workshop import cgroups_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class LinuxBench(BundleBench):
    def left(self) -> list[str]:
        root = Path(self.factory.backend.root)
        entries = [name for name in os.listdir(root) if name != ",lock"] if root.exists() else []
        return [*entries, *(path for container_id in self._made for path in cgroups_of(container_id))]


class TestLinux(BackendSuite):
    @pytest.fixture
    def bench(self, tmp_path: Path, root_only: None, peer: Callable[[str], str]) -> Iterator[LinuxBench]:
        bench = LinuxBench(Factory(tmp_path / "root"), tmp_path, busybox=peer("busybox"))
        yield bench
        bench.clean()
        assert bench.left() == []
