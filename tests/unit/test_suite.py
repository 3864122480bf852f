"""The suite for backends on the memory backend."""

from __future__ import annotations

import pytest

from libcontainer_py.backends.memory import MemoryBackend, MemoryProgram
from libcontainer_py.errors import HookError
from libcontainer_py.factory import Factory
from libcontainer_py.spec import Hook, Hooks
from libcontainer_py.testing.suite import BackendSuite, Bench, Can

KINDS = {
    "prestart": "prestart",
    "createRuntime": "create_runtime",
    "createContainer": "create_container",
    "startContainer": "start_container",
    "poststart": "poststart",
    "poststop": "poststop",
}


class MemoryBench(Bench):
    can = Can.EVERYTHING - {Can.RUN}  # a program here runs until it is killed, whatever its words are

    def __init__(self):
        self.backend = MemoryBackend()
        super().__init__(Factory(backend=self.backend))

    def bundle(self, *, ends_on=None, missing=False, annotations=None, resources=None, hooks=None):
        self.backend.host.program = MemoryProgram(ends_on=tuple((ends_on or {}).items()), found=not missing)
        return self.spec("/bin/sleep", "1000000", annotations=annotations, resources=resources, hooks=hooks)

    def hooks(self, *kinds, failing=""):
        def fail(kind, state):
            del state
            raise HookError(kind, 0, f"/hooks/{kind}", "exit code 1", returncode=1)

        if failing:
            self.backend.host.hooks[f"/hooks/{failing}"] = fail
        return Hooks(**{KINDS[kind]: (Hook(path=f"/hooks/{kind}"),) for kind in kinds})

    def ran(self):
        return [run.kind for run in self.backend.host.hooks_run]

    def die(self, container):
        self.backend.host.end(container._record.init, -9)

    def left(self):
        host = self.backend.host
        alive = [str(one.init) for one in host.processes.values() if one.alive and one.preparation is not None]
        return [*alive, *host.cgroups, *self.backend.store.directories]


class TestMemory(BackendSuite):
    @pytest.fixture
    def bench(self):
        bench = MemoryBench()
        yield bench
        bench.clean()
        assert bench.left() == []


def test_there_are_enough_of_them():
    names = [name for name in dir(BackendSuite) if name.startswith("test_")]
    assert len(names) >= 45  # of which many are several
