"""`BackendSuite`: what any backend must do, as tests to subclass with one fixture.

The fixture `bench` says how to make a factory, and of what; what a backend cannot do, it says too (`Can`)::

    class TestMine(BackendSuite):
        @pytest.fixture
        def bench(self, tmp_path):
            bench = BundleBench(Factory(backend=MyBackend(tmp_path / "root")), tmp_path, busybox="/bin/busybox")
            yield bench
            bench.clean()

The same tests run on memory, on Linux, and on runc and crun through `testing.runtime.RuntimeBackend`. pytest is needed:
the extra `test`.
"""

from __future__ import annotations

from libcontainer_py.testing.suite.bench import Bench, Can
from libcontainer_py.testing.suite.bundles import BundleBench
from libcontainer_py.testing.suite.ends import Deletes, Signals, Waits
from libcontainer_py.testing.suite.further import Events, Limits, Spawns
from libcontainer_py.testing.suite.hooks import HooksRun
from libcontainer_py.testing.suite.verbs import Creates, Looks, Pauses, Starts, Table

__all__ = ["BackendSuite", "Bench", "BundleBench", "Can"]


class BackendSuite(Table, Creates, Looks, Starts, Pauses, Signals, Waits, Deletes, Limits, Events, Spawns, HooksRun):
    """All of it; a subclass gives the fixture `bench`."""
