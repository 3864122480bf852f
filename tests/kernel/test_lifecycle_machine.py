"""The lifecycle machine on Linux: the same model, real containers."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from libcontainer_py import Container, Factory, Status
from libcontainer_py.testing.machine import LifecycleMachine
from tests.kernel.workshop import Workshop, cgroups_of, runc_spec


class LinuxLifecycle(LifecycleMachine):
    """`folder` and `config` belong to the test; each example has a root and ids of its own."""

    folder: Path
    config: str

    def make_factory(self) -> Factory:
        self.root = Path(tempfile.mkdtemp(prefix="root-", dir=self.folder))
        self.torn: dict[str, bytes] = {}
        self.pids: set[int] = set()
        return Factory(self.root)

    def configuration(self) -> str:
        return self.config

    def id_of(self, word: str) -> str:
        return f"{word}-{self.root.name}"

    def state_file(self, container_id: str) -> Path:
        return self.root / container_id / "state.json"

    def end_init(self, container: Container) -> bool:
        if container.status is Status.PAUSED:
            return False  # a frozen process of a v1 cgroup dies when it is thawed
        assert container.init_pid is not None
        os.kill(container.init_pid, 9)
        return True

    def tear_state(self, container_id: str) -> bool:
        self.torn[container_id] = self.state_file(container_id).read_bytes()
        self.state_file(container_id).write_bytes(self.torn[container_id][:-7])
        return True

    def mend_state(self, container_id: str) -> None:
        self.state_file(container_id).write_bytes(self.torn.pop(container_id))

    def create_one(self, container_id: str) -> None:
        super().create_one(container_id)
        pid = self.lives[container_id].init_pid
        assert pid is not None
        self.pids.add(pid)

    def nothing_is_left(self) -> None:
        assert [name for name in os.listdir(self.root) if name != ",lock"] == []
        assert [pid for pid in self.pids if os.path.exists(f"/proc/{pid}")] == []
        for word in ("a", "web-1", "B_2.+"):
            assert cgroups_of(self.id_of(word)) == []


def test_lifecycle(workshop: Workshop) -> None:
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000000"]

    class Machine(LinuxLifecycle):
        folder = workshop.folder

    Machine.config = str(workshop.bundle(config))
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
