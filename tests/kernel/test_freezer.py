"""Freezing what does not want to stand still."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import pytest

from libcontainer_py import cgroups
from tests.crashes import PATIENCE, readable

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="makes cgroups"),
    pytest.mark.usefixtures("root_only"),
]

# as Go's runtime does in runc's init: several threads, and one of them executes a program; here for ever
EXECUTES = """
import os, sys, threading
for _ in range(8):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", sys.argv[1], sys.argv[1]])
"""
ROUNDS = 300  # without the thaw in between about every hundredth hangs


def test_a_process_that_executes_a_program_while_it_has_threads() -> None:
    name = f"freezer-{uuid.uuid4().hex[:12]}"
    cgroup = cgroups.for_container(f"/{name}", name)
    made = cgroup.create()
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", EXECUTES, EXECUTES])
    try:
        for directory in cgroup.directories:
            with open(f"{directory}/cgroup.procs", "w") as file:
                file.write(str(process.pid))
        pidfd = os.pidfd_open(process.pid)
        try:
            for number in range(ROUNDS):
                cgroup.freeze(timeout=5)
                assert cgroup.frozen()
                cgroup.thaw()
                # at another moment of its life each time
                assert not readable(pidfd, number % 7 * 0.003)
            cgroup.freeze()
            cgroup.kill()
            assert readable(pidfd, PATIENCE)
        finally:
            os.close(pidfd)
    finally:
        process.kill()
        cgroup.thaw()
        process.wait(PATIENCE)
        cgroup.remove(made)
