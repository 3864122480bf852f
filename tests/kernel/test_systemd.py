"""Containers in scopes of the machine's own systemd, root's and an ordinary user's. Runs in tests/vm --systemd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import (
    CgroupError,
    ConfigError,
    ContainerError,
    Exited,
    Factory,
    LinuxBackend,
    OomKill,
    OutOfMemory,
    Paused,
    Resumed,
    Started,
    Status,
    UnsupportedPlatform,
    cgroups,
)
from libcontainer_py.backends.base import CreateRequest
from libcontainer_py.backends.linux import LinuxHost
from libcontainer_py.backends.procedures import Procedures
from libcontainer_py.spec import CPU, Memory, Pids, Resources
from libcontainer_py.state.directory import Directory
from libcontainer_py.streams import DEVNULL
from tests.crashes import Child, Line, Stepped, orphanage
from tests.kernel.workshop import PATIENCE, Config, Workshop, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libcontainer_py import Container

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

MIB = 1 << 20


@pytest.fixture
def shop(tmp_path: Path, root_only: None, peer: Callable[[str], str]) -> Iterator[Workshop]:
    if Path("/proc/1/comm").read_text() != "systemd\n":
        pytest.skip("needs systemd as pid 1")
    if cgroups.detect() is not cgroups.Mode.V2:
        pytest.skip("needs cgroup v2")
    pytest.importorskip("jeepney", reason="jeepney is missing: pip install jeepney")
    shop = Workshop(tmp_path, peer("busybox"), lambda root: LinuxBackend(root, cgroup_driver="systemd"))
    yield shop
    shop.clean()


def sleeping(cgroups_path: str | None = None, **resources: Any) -> Config:
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000000"]
    config["linux"]["resources"] |= resources
    if cgroups_path is not None:
        config["linux"]["cgroupsPath"] = cgroups_path
    return config


def place_of(container: Container) -> Path:
    state = json.loads(Path(container.directory, "state.json").read_text())
    return Path(state["cgroup_paths"][""])


def shown(unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit."""
    command = ["systemctl", "show", unit, f"--property={','.join(names)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def is_there(unit: str) -> bool:
    return shown(unit, "LoadState")["LoadState"] != "not-found"


def test_its_form_is_for_its_driver(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match="is systemd's slice:prefix:name") as caught:
        workshop.create(sleeping("system.slice:web:1"))
    (problem,) = caught.value.problems
    assert (problem.path, problem.value) == ("linux.cgroupsPath", "system.slice:web:1")
    assert "LinuxBackend(cgroup_driver='systemd')" in problem.hint


def test_it_takes_cgroup_v2_alone(workshop: Workshop) -> None:
    if cgroups.detect() is cgroups.Mode.V2:
        pytest.skip("needs cgroup v1")
    factory = Factory(backend=LinuxBackend(str(workshop.root), cgroup_driver="systemd"))
    with pytest.raises(UnsupportedPlatform, match="needs cgroup v2 alone"):
        factory.create(workshop.new_id(), workshop.bundle(sleeping()))
    assert workshop.entries() == []


def test_there_are_two_drivers() -> None:
    with pytest.raises(ValueError, match="a cgroup driver is cgroupfs or systemd, not 'docker'"):
        LinuxBackend(cgroup_driver="docker")  # type: ignore[arg-type]


def test_a_life(shop: Workshop) -> None:
    with shop.create(sleeping()) as container:
        unit = f"libcontainer_py-{container.id}.scope"
        place = place_of(container)
        assert place == Path("/sys/fs/cgroup/system.slice", unit)
        assert (place / "cgroup.procs").read_text() == f"{container.init_pid}\n"
        assert shown(unit, "ActiveState", "Slice", "Delegate", "Transient", "CPUAccounting", "MemoryAccounting") == {
            "ActiveState": "active",
            "Slice": "system.slice",
            "Delegate": "yes",
            "Transient": "yes",
            "CPUAccounting": "yes",
            "MemoryAccounting": "yes",
        }
        with container.events() as events:
            container.start()
            container.pause()
            assert [events.next(PATIENCE), events.next(PATIENCE)] == [Started(container.id), Paused(container.id)]
            assert container.status is Status.PAUSED
            container.resume()
            assert events.next(PATIENCE) == Resumed(container.id)
            container.kill()
            assert isinstance(events.next(PATIENCE), Exited)
    assert not is_there(unit)
    assert not place.exists()


def test_its_own_cgroup_is_the_root_of_its_namespace(shop: Workshop) -> None:
    config = sleeping()
    config["linux"]["namespaces"].append({"type": "cgroup"})
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/cgroup"]
    assert shop.output(config) == "0::/\n"


def test_slice_prefix_name(shop: Workshop) -> None:
    with shop.create(sleeping("lcpy-tests.slice:web:1")) as container:
        assert place_of(container) == Path("/sys/fs/cgroup/lcpy.slice/lcpy-tests.slice/web-1.scope")
        known = json.loads(Path(container.directory, "state.json").read_text())["config"]["cgroups"]
        wanted = {"name": "1", "parent": "lcpy-tests.slice", "scope_prefix": "web", "Systemd": True}
        assert {key: known[key] for key in wanted} == wanted
        with pytest.raises(CgroupError, match="it is not empty"):
            shop.create(sleeping("lcpy-tests.slice:web:1"))
        # of the same name elsewhere
        with pytest.raises(CgroupError, match="UnitExists") as caught:
            shop.create(sleeping(":web:1"))
        assert "delete what has it" in caught.value.hint
        assert container.status is Status.CREATED
    assert not is_there("web-1.scope")
    subprocess.run(["systemctl", "stop", "lcpy.slice"], check=True)


def test_limits_are_systemds_and_the_kernels(shop: Workshop) -> None:
    config = sleeping(
        memory={"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
        cpu={"quota": 33_333, "period": 100_000, "shares": 512},
        pids={"limit": 20},
        unified={"memory.high": str(48 * MIB)},
    )
    with shop.create(config) as container:
        unit, place = f"libcontainer_py-{container.id}.scope", place_of(container)

        def read(name: str) -> str:
            return (place / name).read_text().strip()

        assert shown(unit, "MemoryMax", "MemoryLow", "MemorySwapMax", "MemoryHigh", "TasksMax", "CPUWeight") == {
            "MemoryMax": str(64 * MIB),
            "MemoryLow": str(32 * MIB),
            "MemorySwapMax": str(32 * MIB),
            "MemoryHigh": str(48 * MIB),
            "TasksMax": "20",
            "CPUWeight": "59",
        }
        assert shown(unit, "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec") == {
            "CPUQuotaPerSecUSec": "340ms",
            "CPUQuotaPeriodUSec": "100ms",
        }
        assert [read(name) for name in ("memory.max", "memory.low", "pids.max")] == [
            str(64 * MIB),
            str(32 * MIB),
            "20",
        ]
        assert read("cpu.max") == "33333 100000"
        container.start()
        container.update(Resources(memory=Memory(limit=80 * MIB, swap=80 * MIB), pids=Pids(limit=30)))
        assert (read("memory.max"), read("pids.max")) == (str(80 * MIB), "30")
        assert shown(unit, "MemoryMax", "TasksMax") == {"MemoryMax": str(80 * MIB), "TasksMax": "30"}
        assert read("cpu.max") == "33333 100000"
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        # and it is still so, but that it rounds the quota up
        assert (read("memory.max"), read("pids.max")) == (str(80 * MIB), "30")
        assert read("cpu.max") in ("33333 100000", "34000 100000")


def test_an_update_that_fails_changes_nothing(shop: Workshop) -> None:
    config = sleeping(cpu={"quota": 33_333, "period": 100_000}, pids={"limit": 20})
    with shop.create(config) as container:
        unit, place = f"libcontainer_py-{container.id}.scope", place_of(container)
        container.start()
        with pytest.raises(CgroupError):
            container.update(Resources(pids=Pids(limit=2**40), cpu=CPU(quota=50_000)))
        assert (place / "pids.max").read_text() == "20\n"
        assert (place / "cpu.max").read_text() == "33333 100000\n"
        assert shown(unit, "TasksMax", "CPUQuotaPerSecUSec") == {"TasksMax": "20", "CPUQuotaPerSecUSec": "340ms"}
        # state.json cannot be written
        held = Path(container.directory, "state.json")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(container.directory)], check=True)
        try:
            with pytest.raises(ContainerError):
                container.update(Resources(pids=Pids(limit=30)))
        finally:
            subprocess.run(["umount", str(container.directory)], check=True)
        assert held.exists()
        assert (place / "pids.max").read_text() == "20\n"
        assert shown(unit, "TasksMax") == {"TasksMax": "20"}


def test_annotations_are_properties(shop: Workshop) -> None:
    config = sleeping()
    config["annotations"] = {
        "org.systemd.property.TimeoutStopSec": "uint64 7",
        "org.systemd.property.CollectMode": "'inactive'",
        "org.systemd.property.Documentation": "['man:a(1)', 'man:b(1)']",
    }
    with shop.create(config) as container:
        unit = f"libcontainer_py-{container.id}.scope"
        assert shown(unit, "TimeoutStopUSec", "CollectMode", "Documentation") == {
            "TimeoutStopUSec": "7s",
            "CollectMode": "inactive",
            "Documentation": '"man:a(1)" "man:b(1)"',
        }
    assert not is_there(unit)


@pytest.mark.parametrize(
    ("annotation", "text", "kind", "why"),
    [
        ("CollectMode", "inactive", ConfigError, "'inactive' is no value"),
        ("NoSuchProperty", "true", CgroupError, "NoSuchProperty"),
        ("TimeoutStopUSec", "'x'", CgroupError, "systemd does not start it"),
    ],
)
def test_annotations_that_are_wrong(
    shop: Workshop, annotation: str, text: str, kind: type[Exception], why: str
) -> None:
    config = sleeping()
    config["annotations"] = {f"org.systemd.property.{annotation}": text}
    container_id = shop.new_id()
    with pytest.raises(kind, match=why):
        shop.factory.create(container_id, shop.bundle(config))
    assert shop.entries() == []
    assert not is_there(f"libcontainer_py-{container_id}.scope")


def test_a_path_is_for_the_other_driver(shop: Workshop) -> None:
    with pytest.raises(ConfigError, match="is not of the form slice:prefix:name") as caught:
        shop.create(sleeping("/group/name"))
    assert "cgroup_driver='cgroupfs'" in str(caught.value)


def test_an_error_after_the_scope_is_there(shop: Workshop) -> None:
    config = sleeping()
    config["process"]["args"] = ["/no/such/program"]
    container_id = shop.new_id()
    with pytest.raises(FileNotFoundError):
        shop.factory.create(container_id, shop.bundle(config))
    assert shop.entries() == []
    assert not is_there(f"libcontainer_py-{container_id}.scope")


HOG = "a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done"


def test_killed_for_memory_and_gone(shop: Workshop) -> None:
    """systemd keeps what failed; nothing may be in the way of the next of that name."""
    config = sleeping(memory={"limit": 24 * MIB})
    config["process"]["args"] = ["/bin/sh", "-c", HOG]
    config["annotations"] = {"org.systemd.property.CollectMode": "'inactive'"}
    bundle = shop.bundle(config)
    container_id = shop.new_id()
    for _ in range(2):
        with shop.factory.create(container_id, bundle) as container:
            container.start()
            assert container.wait(PATIENCE).returncode == -9
        assert not is_there(f"libcontainer_py-{container_id}.scope")


def test_what_was_killed_while_it_lives(shop: Workshop) -> None:
    """When the last process has ended, systemd removes the cgroup, with what it counted."""
    config = sleeping(memory={"limit": 24 * MIB})
    config["process"]["args"] = ["/bin/sh", "-c", f"( {HOG} ); sleep 1000000"]
    with shop.create(config) as container, container.events() as events:
        container.start()
        found = [events.next(PATIENCE) for _ in range(3)]
        assert found == [Started(container.id), OutOfMemory(container.id, 1), OomKill(container.id, 1)]
        memory = container.stats().memory
        assert memory is not None
        assert memory.oom_kills == 1


def test_any_handle_may_delete(shop: Workshop) -> None:
    """Who loads a container needs to know of no driver."""
    container = shop.create(sleeping())
    container.start()
    other = Factory(shop.root).load(container.id)
    assert "unshare" in other.explain() or "mount" in other.explain()
    other.update(Resources(pids=Pids(limit=30)))
    unit = f"libcontainer_py-{container.id}.scope"
    assert shown(unit, "TasksMax") == {"TasksMax": "30"}
    other.delete(force=True)
    assert not is_there(unit)


# -- runc -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def runc(shop: Workshop, peer: Callable[[str], str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    command = [peer("runc"), "--root", str(shop.root), "--systemd-cgroup"]

    def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        log = shop.folder / "runc-output"
        with log.open("w+") as output:
            done = subprocess.run(
                [*command, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=PATIENCE
            )
            output.seek(0)
            text = output.read()
        assert done.returncode == 0, text
        return subprocess.CompletedProcess(done.args, 0, text, "")

    return run


def test_theirs_in_our_hands(shop: Workshop, runc: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    container_id = shop.new_id()
    bundle = shop.bundle(sleeping(":theirs:1", pids={"limit": 20}))
    runc("create", "--bundle", str(bundle), container_id)
    container = shop.factory.load(container_id)
    container.start()
    place = place_of(container)
    assert place.name == "theirs-1.scope"
    container.pause()
    container.resume()
    container.update(Resources(pids=Pids(limit=30)))
    assert (place / "pids.max").read_text() == "30\n"
    assert shown("theirs-1.scope", "TasksMax") == {"TasksMax": "30"}
    container.delete(force=True)
    assert not is_there("theirs-1.scope")


def test_ours_in_their_hands(shop: Workshop, runc: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    container = shop.create(sleeping(pids={"limit": 20}))
    unit, place = f"libcontainer_py-{container.id}.scope", place_of(container)
    runc("start", container.id)
    runc("update", "--pids-limit", "30", container.id)
    assert (place / "pids.max").read_text() == "30\n"
    assert shown(unit, "TasksMax") == {"TasksMax": "30"}
    runc("delete", "--force", container.id)
    assert not is_there(unit)
    assert not place.exists()
    container.wait(PATIENCE)


def test_the_same_properties_as_theirs(shop: Workshop, runc: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    resources = {
        "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
        "cpu": {"quota": 50_000, "period": 100_000},
        "pids": {"limit": 20},
    }
    names = (
        *("Slice", "Delegate", "MemoryMax", "MemoryLow", "MemorySwapMax", "TasksMax", "CPUQuotaPerSecUSec"),
        *("CPUQuotaPeriodUSec", "CPUAccounting", "IOAccounting", "MemoryAccounting", "TasksAccounting"),
        *("DefaultDependencies", "Transient", "OOMPolicy", "CPUWeight", "Description"),
    )
    found = []
    for prefix in ("theirs", "ours"):
        container_id = f"same-{os.getpid()}"
        bundle = shop.bundle(sleeping(f":{prefix}:{container_id}", **resources))
        if prefix == "theirs":
            runc("create", "--bundle", str(bundle), container_id)
            container = shop.factory.load(container_id)
        else:
            container = shop.factory.create(container_id, bundle)
        found.append(shown(f"{prefix}-{container_id}.scope", *names))
        container.delete(force=True)
    assert found[0] == found[1]


# -- what may go wrong ------------------------------------------------------------------------------------------------


def test_without_jeepney(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jeepney", None)
    with pytest.raises(UnsupportedPlatform, match=r"needs jeepney; pip install 'libcontainer-py\[systemd\]'"):
        shop.create(sleeping())
    assert shop.entries() == []


def test_from_another_pid_namespace(shop: Workshop, peer: Callable[[str], str]) -> None:
    """A pid of ours would be another process of systemd's."""
    bundle = shop.bundle(sleeping())
    code = f"""
from libcontainer_py import *
try:
    Factory(backend=LinuxBackend({str(shop.root)!r}, cgroup_driver="systemd")).create("x", {str(bundle)!r})
except UnsupportedPlatform as error:
    print(error)
"""
    command = [peer("unshare"), "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert "is in another pid namespace than this process" in done.stdout, done.stderr


def gone(unit: str) -> bool:
    """Whether systemd forgets it, soon: it tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while is_there(unit):
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.02)
    return True


@pytest.mark.slow
def test_killed_at_every_step(shop: Workshop) -> None:
    bundle = shop.bundle(sleeping("lcpy.slice:crash:box"))
    place = Path("/sys/fs/cgroup/lcpy.slice/crash-box.scope")

    def create(fatal: int | None) -> list[str]:
        line = Line(fatal)
        procedures = Procedures(
            Stepped(Directory(str(shop.root)), line, "store"),  # type: ignore[arg-type]
            Stepped(LinuxHost(None, "systemd"), line, "host"),  # type: ignore[arg-type]
        )
        record = procedures.create(CreateRequest("box", str(bundle), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL))
        procedures.kill(record)
        procedures.wait(record, timeout=PATIENCE)  # so that the steps are the same each time
        procedures.destroy("box", force=False)
        return line.names

    with orphanage() as home:
        whole = Child(lambda: create(None)).wait()
        assert whole.returncode == 0, whole
        home.bury()
        for number, name in enumerate(whole.said):
            ended = Child(lambda number=number: create(number)).wait()  # type: ignore[misc]
            assert ended.returncode == -9, f"it was not killed: {ended}"
            shop.factory.delete("box", force=True)
            home.bury()
            assert shop.entries() == [], name
            assert gone("crash-box.scope"), name
            assert not place.exists(), name
    subprocess.run(["systemctl", "stop", "lcpy.slice"], check=True)


# -- an ordinary user -------------------------------------------------------------------------------------------------

USER = 4242
AS_USER = """
import json, sys
from pathlib import Path
from libcontainer_py import *
from libcontainer_py.spec import Memory, Pids, Resources
root, bundle = sys.argv[1:]
factory = Factory(backend=LinuxBackend(root, cgroup_driver="systemd"))
with factory.create("mine", bundle, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as container:
    place = Path(json.loads(Path(container.directory, "state.json").read_text())["cgroup_paths"][""])
    print(place)
    container.start()
    print((place / "cgroup.procs").read_text() == f"{container.init_pid}\\n", (place / "pids.max").read_text().strip())
    container.update(Resources(pids=Pids(limit=30)))
    print((place / "pids.max").read_text().strip())
    container.pause()
    print(container.status)
    container.resume()
print(place.exists())
"""


@pytest.fixture
def user(shop: Workshop, package_for_everybody: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An ordinary user with a systemd of his own: his environment."""
    if shutil.which("useradd") is None:
        pytest.skip("useradd is missing: apt-get install passwd")
    subprocess.run(["useradd", "--uid", str(USER), "--create-home", "lcpy"], check=True)
    subprocess.run(["systemctl", "start", f"user@{USER}.service"], check=True, timeout=PATIENCE)
    import jeepney

    source = Path(jeepney.__file__).parent
    shutil.copytree(source, package_for_everybody / "jeepney", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", str(package_for_everybody)], check=True)
    yield {
        "PATH": "/usr/bin:/bin:/usr/sbin",
        "HOME": "/home/lcpy",
        "XDG_RUNTIME_DIR": f"/run/user/{USER}",
        "PYTHONPATH": str(package_for_everybody),
        "LIBCONTAINER_PY_TESTS": os.environ.get("LIBCONTAINER_PY_TESTS", ""),
    }
    subprocess.run(["systemctl", "stop", f"user@{USER}.service"], check=True, timeout=PATIENCE)
    subprocess.run(["userdel", "--remove", "lcpy"], check=True)


@pytest.mark.slow
def test_an_ordinary_user(shop: Workshop, user: dict[str, str]) -> None:
    from tests.kernel.workshop import python_for_everybody

    config = sleeping(pids={"limit": 20})
    config["linux"]["namespaces"] = [{"type": kind} for kind in ("user", "pid", "mount", "ipc", "uts")]
    for key in ("uidMappings", "gidMappings"):
        config["linux"][key] = [{"containerID": 0, "hostID": USER, "size": 1}]
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] == "proc"]
    home = Path("/home/lcpy")
    bundle = shop.bundle(config)
    shutil.copytree(bundle, home / "bundle", symlinks=True)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", str(home)], check=True)
    done = subprocess.run(
        [python_for_everybody(), "-c", AS_USER, str(home / "root"), str(home / "bundle")],
        user=USER,
        group=USER,
        extra_groups=[],
        env=user,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    service = f"/sys/fs/cgroup/user.slice/user-{USER}.slice/user@{USER}.service"
    assert done.stdout.splitlines() == [
        f"{service}/user.slice/libcontainer_py-mine.scope",
        "True 20",
        "30",
        "paused",
        "False",
    ], done.stderr
