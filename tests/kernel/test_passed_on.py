"""What a command line passes on to create and spawn: roots without pivot_root, keyrings, descriptors, cgroups."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from libcontainer_py import PIPE, IllegalOperation, LinuxBackend
from libcontainer_py import Factory as LibraryFactory
from libcontainer_py.backends import forkservers
from tests.kernel.workshop import PATIENCE, Config, Workshop, runc_spec


def sleeper() -> Config:
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    return config


def outcome(workshop: Workshop, script: str, **options: object) -> str:
    config = runc_spec()
    config["process"]["args"] = ["/bin/sh", "-c", script]
    path = workshop.folder / f"output-{os.urandom(4).hex()}"
    with path.open("wb") as file, workshop.create(config, stdout=file, stderr=file, **options) as container:
        container.start()
        assert container.wait(PATIENCE).returncode == 0, path.read_text()
    return path.read_text()


def test_a_root_without_pivot_root(workshop: Workshop) -> None:
    script = "ls -d /proc/1/root/bin/busybox /bin/busybox; ls /; grep -c . /proc/mounts >/dev/null && echo mounted"
    assert outcome(workshop, script, no_pivot=True) == outcome(workshop, script)


SHARED = """
import os, sys
from libcontainer_py import Factory
with Factory(sys.argv[1]).create(sys.argv[2], sys.argv[3], no_pivot=True) as container:
    container.start()
    print(container.wait(60).returncode, os.path.exists("/proc/self/mounts"), os.path.exists("/sys/kernel"))
"""


@pytest.mark.parametrize("propagation", [None, "rshared"])
def test_nothing_of_it_reaches_a_host_whose_mounts_are_shared(workshop: Workshop, propagation: str | None) -> None:
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "true"]
    if propagation:
        config["linux"]["rootfsPropagation"] = propagation
    bundle = str(workshop.bundle(config))
    script = 'mount --make-rshared / && mount --bind "$0" "$0" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, f"{bundle}/rootfs"]
    python = [sys.executable, "-c", SHARED, str(workshop.root), workshop.new_id(), bundle]
    done = subprocess.run([*command, *python], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout == "0 True True\n", done.stderr


def test_a_keyring_of_its_own_unless_it_shall_have_ours(workshop: Workshop) -> None:
    for shared in (False, True):
        config = runc_spec()
        config["process"]["args"] = ["/bin/sh", "-c", "cat /proc/keys"]
        config["linux"]["maskedPaths"] = []
        path = workshop.folder / f"keys-{shared}"
        with path.open("wb") as file, workshop.create(config, stdout=file, no_new_keyring=shared) as container:
            container.start()
            assert container.wait(PATIENCE).returncode == 0
            state = json.loads(Path(container.directory, "state.json").read_text())
        assert (f"_ses.{container.id}" in path.read_text()) is not shared  # it is shown to its owner
        assert state["config"].get("no_new_keyring", False) is shared


def test_so_many_descriptors_and_no_more(workshop: Workshop) -> None:
    """In a process of its own, whose descriptors 3 to 5 are ours to choose."""
    config = runc_spec()
    config["process"]["args"] = ["/bin/sh", "-c", "echo three >&3; echo four >&4; ls /proc/self/fd | wc -l"]
    bundle = str(workshop.bundle(config))
    code = (
        "import os, sys\n"
        "from libcontainer_py import Factory\n"
        "reader, writer = os.pipe()\n"
        "for number in (23, 24, 25): os.dup2(writer, number, inheritable=True)\n"
        "os.closerange(3, 20)\n"
        "for number in (3, 4, 5): os.dup2(number + 20, number, inheritable=True)\n"
        "with Factory(sys.argv[1]).create(sys.argv[2], sys.argv[3], preserve_fds=2) as container:\n"
        "    container.start()\n"
        "    assert container.wait(60).returncode == 0\n"
    )
    command = [sys.executable, "-c", code, str(workshop.root), workshop.new_id(), bundle]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, "6\n"), done.stderr  # 0 to 4, and that of the listing


def test_who_joins_a_paused_container_waits(workshop: Workshop) -> None:
    with workshop.create(sleeper()) as container:
        container.start()
        container.pause()
        with pytest.raises(IllegalOperation, match="paused"):
            container.spawn(["/bin/busybox", "true"])
        container.resume()
        with container.spawn(["/bin/busybox", "echo", "there"], stdout=PIPE, ignore_paused=True) as process:
            assert process.communicate(timeout=PATIENCE) == (b"there\n", b"")


@pytest.mark.parametrize("threads", [0, 1])
def test_a_launcher_for_one_verb_leaves_no_server(workshop: Workshop, threads: int) -> None:
    forkservers.shutdown()
    factory = LibraryFactory(backend=LinuxBackend(str(workshop.root), launcher="once", python=_python(threads)))
    bundle = workshop.bundle(sleeper())
    with factory.create(workshop.new_id(), bundle) as container:
        container.start()
        with container.spawn(["/bin/busybox", "true"]) as process:
            assert process.wait(PATIENCE) == 0
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
        assert not [command for command in commands if b"forkserver" in command]


def _python(threads: int) -> str | None:
    """Named, it is executed; else a process of one thread forks."""
    return os.path.realpath(sys.executable) if threads else None
