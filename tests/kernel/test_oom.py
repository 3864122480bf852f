"""Whoever is killed because memory is short is counted, every time; who is killed by somebody is not."""

from __future__ import annotations

import os
import signal

import pytest

from libcontainer_py import ContainerNotFound, ExitStatus, cgroups
from tests.kernel.workshop import PATIENCE, Config, Workshop, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
HOARD = "/bin/busybox dd if=/dev/zero of=/dev/null bs=64M count=1"


def limited(script: str) -> Config:
    """A shell script in 16 MiB of memory."""
    config = runc_spec()
    config["process"]["args"] = ["/bin/sh", "-c", script]
    config["linux"]["resources"]["memory"] = {"limit": 16 * MIB}
    return config


def ended(workshop: Workshop, config: Config) -> ExitStatus:
    with open(os.devnull, "wb") as nowhere, workshop.create(config, stdout=nowhere, stderr=nowhere) as container:
        container.start()
        return container.wait(PATIENCE)


@pytest.mark.parametrize("times", [pytest.param(100, marks=pytest.mark.slow), 3])
def test_init_was_killed(workshop: Workshop, times: int) -> None:
    bundle = workshop.bundle(limited(f"exec {HOARD}"))
    for _ in range(times):
        with open(os.devnull, "wb") as nowhere, workshop.create(bundle, stdout=nowhere, stderr=nowhere) as container:
            container.start()
            assert container.wait(PATIENCE) == ExitStatus(-9, oom_kills=1)


@pytest.mark.parametrize("times", [pytest.param(100, marks=pytest.mark.slow), 3])
def test_another_was_killed(workshop: Workshop, times: int) -> None:
    bundle = workshop.bundle(limited(f"{HOARD}; exit 3"))
    for _ in range(times):
        with open(os.devnull, "wb") as nowhere, workshop.create(bundle, stdout=nowhere, stderr=nowhere) as container:
            container.start()
            assert container.wait(PATIENCE) == ExitStatus(3, oom_kills=1)


def test_several_were_killed(workshop: Workshop) -> None:
    assert ended(workshop, limited(f"{HOARD}; {HOARD}; exit 0")) == ExitStatus(0, oom_kills=2)


def test_nobody_was_killed(workshop: Workshop) -> None:
    assert ended(workshop, limited("exit 5")) == ExitStatus(5, oom_kills=0)


@pytest.mark.parametrize("how", ["kill", "signal", "by another"])
def test_killed_by_somebody(workshop: Workshop, how: str) -> None:
    with workshop.create(limited("while :; do /bin/busybox sleep 1; done")) as container:
        container.start()
        if how == "by another":
            assert container.init_pid is not None
            os.kill(container.init_pid, signal.SIGKILL)
        elif how == "signal":
            container.signal(signal.SIGKILL)
        else:
            container.kill()
        assert container.wait(PATIENCE) == ExitStatus(-9, oom_kills=0)


def test_it_is_known_after_a_delete_too(workshop: Workshop) -> None:
    """Nobody waits before the cgroup is gone."""
    container = workshop.create(limited(f"{HOARD}; exec /bin/busybox sleep 1000"))
    other = workshop.factory.load(container.id)
    container.start()
    while not _oom_kills(container.id):
        pass
    other.delete(force=True)
    assert container.wait(PATIENCE) == other.wait(PATIENCE) == ExitStatus(-9, oom_kills=1)
    # and another with its id begins with none
    with workshop.factory.create(container.id, workshop.bundle(limited("exit 4"))) as again:
        again.start()
        assert again.wait(PATIENCE) == ExitStatus(4)
        assert container.wait(PATIENCE) == ExitStatus(-9, oom_kills=1)
        with pytest.raises(ContainerNotFound):
            container.delete()


def _oom_kills(container_id: str) -> int:
    return cgroups.for_container(None, container_id).oom_kills()


@pytest.fixture
def ready_made() -> Iterator[str]:
    """A cgroup that was there before."""
    name = f"/lcpy-oom-{os.urandom(4).hex()}"
    cgroup = cgroups.for_container(f"{name}/inner", "")
    cgroup.create()
    yield f"{name}/inner"
    cgroups.for_container(name, "").remove()


def test_what_a_cgroup_counted_before(workshop: Workshop, ready_made: str) -> None:
    """It keeps its counter; what others did there is not this container's."""
    config = limited(f"{HOARD}; exit 3")
    config["linux"]["cgroupsPath"] = ready_made
    bundle = workshop.bundle(config)
    for _ in range(2):
        container = workshop.create(bundle, stdout=-3, stderr=-3)
        container.start()
        assert container.wait(PATIENCE) == ExitStatus(3, oom_kills=1)
        assert workshop.factory.load(container.id).wait(PATIENCE).oom_kills == 1
        os.rename(container.directory, f"{workshop.folder}/gone-{os.urandom(4).hex()}")  # the cgroup stays
        cgroups.for_container(ready_made, "").kill()


@pytest.mark.slow
def test_who_was_killed_in_a_cgroup_below(workshop: Workshop) -> None:
    """The container made it itself."""
    config = limited("")
    config["linux"]["namespaces"] += [{"type": "cgroup"}]
    for mount in config["mounts"]:
        if mount["destination"] == "/sys/fs/cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev", "relatime"]
    where = "/sys/fs/cgroup" if cgroups.detect() is cgroups.Mode.V2 else "/sys/fs/cgroup/memory"
    script = f"cd {where}; /bin/busybox mkdir below; (echo 0 >below/cgroup.procs; exec {HOARD}); exit 6"
    config["process"]["args"] = ["/bin/sh", "-c", script]
    assert ended(workshop, config) == ExitStatus(6, oom_kills=1)
