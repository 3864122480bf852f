"""The configurations that test_differential.py runs under both runtimes, picked by hand."""

from __future__ import annotations

from tests.interop.configurations import linux, mounts, namespaces, process
from tests.interop.configurations.parts import CONFIGURATIONS

__all__ = ["CONFIGURATIONS", "linux", "mounts", "namespaces", "process"]
