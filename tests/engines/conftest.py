"""Debian's engines, each with stores, state and sockets of its own, and the runtime that they are to drive."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tests.engines import containerd as containerd_of
from tests.engines import cri as cri_of
from tests.engines import docker as docker_of
from tests.engines.containerd import Containerd, Ctr
from tests.engines.cri import Cri
from tests.engines.docker import Docker, Dockerd
from tests.engines.images import BUSYBOX, PAUSE, write_archive
from tests.engines.podman import Podman, RootlessPodman
from tests.engines.programs import PATH, wait_until
from tests.engines.pyrunc import IMPORTED, copy_package, write_pyrunc
from tests.kernel.workshop import python_for_everybody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

if not sys.platform.startswith("linux"):
    collect_ignore_glob = ["test_*.py"]

NOBODY = 65534

# program: Debian's package
ENGINES = {
    "podman": "podman",
    "conmon": "conmon",
    "containerd": "containerd",
    "ctr": "containerd",
    "dockerd": "docker.io",
    "docker": "docker.io",
    "docker-init": "docker.io",
    "newuidmap": "uidmap",
    "busybox": "busybox-static",
    "setsid": "util-linux",
}


def needs(*programs: str) -> None:
    """Skip where one of these is missing, or for an ordinary user."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in programs:
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} is missing: apt-get install {ENGINES[program]}")


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A directory for all of it, which an ordinary user may pass.

    Its name is short: sockets are made in it, and podman's clean-up gives up at a runroot of more than 50 characters.
    """
    folder = Path(tempfile.mkdtemp(prefix="lcpy-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def runtime(place: Path) -> str:
    """The path of the runtime: pyrunc of this checkout, or another that the environment names, to test the tests."""
    return os.environ.get("LIBCONTAINER_PY_ENGINES_RUNTIME") or str(
        write_pyrunc(place / "pyrunc", sys.executable, dict.fromkeys(IMPORTED))
    )


@pytest.fixture(scope="session")
def images(place: Path) -> Path:
    """The archive of the images."""
    needs("busybox")
    archive = place / "images.tar"
    write_archive(archive, shutil.which("busybox", path=PATH) or "")
    return archive


@pytest.fixture(scope="session")
def podman(place: Path, runtime: str, images: Path) -> Iterator[Podman]:
    """podman of root's."""
    needs("podman", "conmon", "setsid")
    folder = place / "podman"
    folder.mkdir()
    podman = Podman(folder, runtime)
    try:
        podman.begin(images)
        yield podman
    finally:
        podman.end()
        remove_cgroups("libpod_parent")


@pytest.fixture(scope="session")
def rootless(place: Path, images: Path) -> Iterator[RootlessPodman]:
    """podman of an ordinary user's."""
    needs("podman", "conmon", "newuidmap", "setsid")
    folder = place / "user"
    folder.mkdir()
    (folder / "package").mkdir()
    copy_package(folder / "package", NOBODY)
    runtime = os.environ.get("LIBCONTAINER_PY_ENGINES_RUNTIME")
    runtime = runtime or str(write_pyrunc(folder / "pyrunc", python_for_everybody(), [folder / "package"]))
    podman = RootlessPodman(folder, runtime, NOBODY)
    try:
        podman.begin(images)
        yield podman
    finally:
        podman.end()


@pytest.fixture(scope="session")
def containerd(place: Path, runtime: str) -> Iterator[Containerd]:
    """The daemon, until the end of the run. Its shims keep sockets below /run/containerd."""
    needs("containerd", "ctr", "setsid")
    folder = place / "containerd"
    folder.mkdir()
    with going_again("/run/containerd"):
        daemon = Containerd(folder, runtime)
        try:
            yield daemon
        finally:
            daemon.end()


@pytest.fixture(scope="session")
def ctr(containerd: Containerd, runtime: str, images: Path) -> Iterator[Ctr]:
    """containerd's own client."""
    ctr = containerd.client(runtime)
    ctr.load(images)
    try:
        ctr.run("warm", "true")
        yield ctr
    finally:
        for name in ctr.tasks():
            ctr.remove(name)
        remove_cgroups(containerd_of.NAMESPACE)


@pytest.fixture(scope="session")
def docker(place: Path, runtime: str, containerd: Containerd, images: Path) -> Iterator[Docker]:
    """Docker's client, with a daemon until the end of the run."""
    needs("dockerd", "docker", "docker-init")
    folder = place / "docker"
    folder.mkdir()
    with going_again("/run/docker"):
        daemon = Dockerd(folder, runtime, containerd.socket)
        docker = daemon.client()
        try:
            docker("load", "--quiet", "--input", str(images))
            docker.run(BUSYBOX, "true")
            yield docker
        finally:
            left = docker.says("ps", "--all", "--quiet").split()
            if left:
                docker("rm", "--force", *left)
            daemon.end()
            remove_cgroups(docker_of.PARENT)


@pytest.fixture(scope="session")
def cri(containerd: Containerd, runtime: str, images: Path) -> Iterator[Cri]:
    """What the kubelet has of containerd."""
    grpc = pytest.importorskip("grpc", reason="grpc is missing: pip install grpcio")
    containerd.client(runtime, cri_of.NAMESPACE).load(images)
    logs = images.parent / "pods"
    logs.mkdir()
    with grpc.insecure_channel(f"unix://{containerd.socket}") as channel:
        cri = Cri(channel, logs, containerd.socket.parent / "state/io.containerd.runtime.v2.task")
        wait_until(lambda: cri.has_images(BUSYBOX, PAUSE))
        try:
            cri.sandbox("warm").remove()
            yield cri
        finally:
            for item in cri.call("ListPodSandbox")["items"]:
                cri.call("StopPodSandbox", pod_sandbox_id=item["id"])
                cri.call("RemovePodSandbox", pod_sandbox_id=item["id"])
            remove_cgroups(cri_of.PARENT)


@pytest.fixture
def named(request: pytest.FixtureRequest) -> str:
    """A name for the container of a test."""
    return f"t-{os.urandom(6).hex()}"


@contextlib.contextmanager
def going_again(folder: str) -> Iterator[None]:
    """Remove a directory that a daemon makes wherever its state is, unless it was there."""
    there = os.path.exists(folder)
    yield
    if not there:
        shutil.rmtree(folder, ignore_errors=True)


def remove_cgroups(name: str) -> None:
    """Remove an engine's directory in each hierarchy, where no container is in it: engines leave it."""
    for top in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        for path, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # somebody is in there
                os.rmdir(path)
