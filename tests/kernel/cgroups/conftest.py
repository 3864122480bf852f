"""Cgroups to test with, and processes to put into them; all is gone afterwards."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid

import pytest

from libcontainer_py import cgroups
from libcontainer_py.cgroups import Mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libcontainer_py.cgroups import Cgroup


# Joins by the descriptors of its first argument and the v2 directory of its second, says so, and does the third.
MEMBER = """
import os, signal, sys, time
descriptors, directory, code = sys.argv[1:4]
for descriptor in filter(None, descriptors.split(",")):
    os.write(int(descriptor), b"0")
if directory:
    with open(directory + "/cgroup.procs", "w") as file:
        file.write("0")
print("in", flush=True)
exec(code)
"""
WAIT = "signal.pause()"


@pytest.fixture(autouse=True)
def _needs_cgroups(root_only: None) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("needs Linux")
    if cgroups.detect() is Mode.NONE:
        pytest.skip("needs cgroups mounted")


@pytest.fixture
def group() -> Iterator[str]:
    """A cgroupsPath that nobody else uses; it is gone afterwards, also where it was used as a relative one."""
    name = f"/lcpy-{uuid.uuid4().hex[:12]}"
    yield name
    for path in (name, name.strip("/")):
        whole = cgroups.for_container(path, "")
        whole.kill()
        whole.remove()


@pytest.fixture
def cgroup(group: str) -> Cgroup:
    """A cgroup that is there."""
    cgroup = cgroups.for_container(f"{group}/c1", "c1")
    cgroup.create()
    return cgroup


@pytest.fixture
def join(group: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that joins a cgroup and runs some code there."""
    started: list[subprocess.Popen[str]] = []
    joined: list[Cgroup] = []

    def start(cgroup: Cgroup, code: str = WAIT, *arguments: str) -> subprocess.Popen[str]:
        descriptors = list(cgroup.attach_descriptors().values())
        try:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    MEMBER,
                    ",".join(map(str, descriptors)),
                    cgroup.paths.get("", ""),
                    code,
                    *arguments,
                ],
                pass_fds=descriptors,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        started.append(process)
        joined.append(cgroup)
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        return process

    yield start
    for cgroup in joined:
        cgroup.kill()
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def descriptors() -> Callable[[], set[str]]:
    """What this process has open; the one that lists them is closed again by the time it is looked at."""

    def list_descriptors() -> set[str]:
        found = set()
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.add(name + " " + os.readlink(f"/proc/self/fd/{name}"))
        return found

    return list_descriptors
