"""A running machine: started, watched until its command has run, its output passed on, and always ended."""

from __future__ import annotations

import ctypes
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from engines import Engine
    from job import Job

PR_SET_PDEATHSIG = 1

SYSTEMD = (
    "systemd.unit=vm-command.target systemd.unified_cgroup_hierarchy=1 systemd.show_status=no "
    "systemd.log_target=console systemd.log_level=warning systemd.firstboot=off"
)


class BootHung(Exception):
    """The command did not begin in time."""


class Machine:
    """One boot of an engine for one job."""

    def __init__(self, engine: Engine, job: Job, kernel: Sequence[str], *, systemd: bool, verbose: bool) -> None:
        self.job = job
        self.command = engine.command(job, [*kernel, *(["vm.init=systemd", *SYSTEMD.split()] if systemd else [])])
        self.outputs = engine.outputs(job)
        self.console_is_stdout = engine.console_is_stdout
        if verbose:
            print(shlex.join(self.command), file=sys.stderr)

    def run(self, *, timeout: float, boot_timeout: float) -> None:
        """Boot, and wait until it has powered off. Raises TimeoutError, BootHung; it is ended then."""
        console = (self.job.folder / "console").open("wb") if self.console_is_stdout else subprocess.DEVNULL
        with (self.job.folder / "engine").open("wb") as errors:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=errors,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  (no thread was started yet)
            )
        if console is not subprocess.DEVNULL:
            console.close()
        ended = threading.Event()
        threads = [threading.Thread(target=_pass_on, args=(*output, ended)) for output in self.outputs]
        for thread in threads:
            thread.start()
        try:
            self._watch(process, timeout=timeout, boot_timeout=boot_timeout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            ended.set()
            for thread in threads:
                thread.join()

    def _watch(self, process: subprocess.Popen[bytes], *, timeout: float, boot_timeout: float) -> None:
        start = time.monotonic()
        while True:
            try:
                process.wait(0.05)
                return
            except subprocess.TimeoutExpired:
                passed = time.monotonic() - start
            if passed > timeout:
                raise TimeoutError
            if passed > boot_timeout and not self.job.has_begun():
                raise BootHung


def _pass_on(source: int, target: int, ended: threading.Event) -> None:
    """Copy what appears in a file or pipe until the machine has ended and nothing is left."""
    with open(source, "rb", buffering=0) as file:
        is_pipe = select.poll()
        is_pipe.register(source, select.POLLIN)
        while True:
            was_ended = ended.is_set()
            data = file.read(65536)
            if data:
                os.write(target, data)
            elif was_ended:
                return
            else:
                ended.wait(0.03)


def _die_with_parent() -> None:
    """A machine must not outlive whoever started it, however that one ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
