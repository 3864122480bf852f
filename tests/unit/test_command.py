"""What the verbs that run a command share, over real processes that are in no container."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from libcontainer_py import CommandFailed, ContainerError, ContainerTimeout, Outcome
from libcontainer_py.backends.base import Exit, Measured
from libcontainer_py.command import finish, terms
from libcontainer_py.pipes import Pipes
from libcontainer_py.streams import DEVNULL, PIPE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.command import Terms

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: pidfds, and the size of a pipe")


class Ordinary:
    """A process as `finish` wants it."""

    def __init__(self, process: subprocess.Popen[bytes], *, known: bool = True, oom_kills: int = 0) -> None:
        self.process = process
        self.known = known
        self.oom_kills = oom_kills
        self.killed = False

    def fileno(self) -> int | None:
        return None

    def wait(self, *, timeout: float | None) -> Exit | None:
        try:
            returncode = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        return Exit(returncode if self.known else None)

    def pidfds(self) -> list[int]:
        return [os.pidfd_open(self.process.pid)]

    def kill(self) -> None:
        self.process.kill()

    def measure(self) -> Measured:
        return Measured(self.oom_kills)


def agreed(timeout: float | None = None, *, check: bool = False) -> Terms:
    return terms(
        ["x"],
        input=None,
        stdin=DEVNULL,
        text=False,
        encoding=None,
        max_output=100,
        timeout=timeout,
        check=check,
    )


def start(pipes: Pipes, script: str) -> subprocess.Popen[bytes]:
    stdin, stdout, stderr = pipes.given
    process = subprocess.Popen(["sh", "-c", script], stdin=stdin, stdout=stdout, stderr=stderr)
    pipes.release()
    return process


def test_what_was_said_before_the_end_is_kept_after_a_timeout() -> None:
    with Pipes(DEVNULL, PIPE, PIPE) as pipes, start(pipes, "echo out; exec sleep 1000") as process:
        poll = select.poll()
        poll.register(pipes.descriptor("stdout") or -1, select.POLLIN)
        poll.poll()  # it lies in the pipe, and nobody has read it when the time is up
        with pytest.raises(ContainerTimeout) as timeout:
            finish(Ordinary(process), pipes, agreed(0))
        result = timeout.value.result
        assert result is not None
        assert (result.stdout, result.outcome, result.returncode) == (b"out\n", Outcome.TIMEOUT, -9)


def test_one_that_was_killed_by_us() -> None:
    with Pipes(DEVNULL, PIPE, PIPE) as pipes, start(pipes, "exec sleep 1000") as process:
        running = Ordinary(process)
        running.killed = True
        process.send_signal(signal.SIGKILL)
        result = finish(running, pipes, agreed())
        assert (result.outcome, result.signal) == (Outcome.KILLED, 9)


def test_one_whose_end_nobody_knows() -> None:
    with (
        Pipes(DEVNULL, PIPE, PIPE) as pipes,
        start(pipes, "exit 3") as process,
        pytest.raises(ContainerError, match="cannot be known"),
    ):
        finish(Ordinary(process, known=False), pipes, agreed())


def test_one_whose_end_nobody_knows_but_us() -> None:
    with Pipes(DEVNULL, PIPE, PIPE) as pipes, start(pipes, "exec sleep 1000") as process:
        with pytest.raises(ContainerTimeout) as timeout:
            finish(Ordinary(process, known=False), pipes, agreed(0))
        assert timeout.value.result is not None
        assert timeout.value.result.returncode == -9


def test_memory_that_was_short() -> None:
    with Pipes(DEVNULL, PIPE, PIPE) as pipes, start(pipes, "exit 3") as process:
        with pytest.raises(CommandFailed, match="memory was short") as failed:
            finish(Ordinary(process, oom_kills=1), pipes, agreed(check=True))
        assert failed.value.result.outcome is Outcome.OOM


def test_no_descriptor_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    with Pipes(DEVNULL, PIPE, PIPE) as pipes, start(pipes, "echo x") as process:
        assert finish(Ordinary(process), pipes, agreed()).stdout == b"x\n"
    assert os.listdir("/proc/self/fd") == before
