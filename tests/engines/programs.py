"""Programs of an engine: commands, commands at a terminal, and daemons."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

PATIENCE = 30.0
"""Seconds after which a test that waits for something gives up."""
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where Debian's engines are: what somebody put in front of them on PATH is not what is tested."""

Done = subprocess.CompletedProcess[str]


class Program:
    """A program with the options and the environment that all its commands here have."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.command = list(command)
        self.folder = folder
        """Where it is run: conmon writes a file there when a container is out of memory."""
        inherited = {name: value for name, value in os.environ.items() if name.startswith("LIBCONTAINER_PY_")}
        self.environment = {"PATH": PATH, "HOME": "/root", "TERM": "xterm", **inherited, **environment}

    def __call__(self, *words: str, check: bool = True, given: str = "") -> Done:
        """Run a command to its end, which comes in time or is a failure."""
        done = subprocess.run(
            [*self.command, *words],
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert not check or done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done

    def says(self, *words: str) -> str:
        """What a command that succeeds writes to standard output, without the end of its line."""
        return self(*words).stdout.strip()

    def at_terminal(self, *words: str) -> Session:
        """The same command at a terminal of its own."""
        return Session([*self.command, *words], self.folder, self.environment)


class Session:
    """A command whose controlling terminal is ours to type at."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.resize(24, 80)
        self.seen = ""
        try:
            self.process = subprocess.Popen(
                ["setsid", "--ctty", *command],
                cwd=folder,
                env=environment,
                stdin=slave,
                stdout=slave,
                stderr=slave,
            )
        finally:
            os.close(slave)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def resize(self, rows: int, columns: int) -> None:
        """Make the window as large as that."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._master, text.encode())

    def until(self, text: str) -> str:
        """Read until it says this. What came up to its end is returned, and what comes later is kept."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert self._read(deadline), f"{text!r} did not come: {self.seen!r}"
        told, _, self.seen = self.seen.partition(text)
        return told

    def end(self) -> int:
        """Read to the end; the command's exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing came: {self.seen!r}"
        try:
            chunk = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self.seen += chunk.decode(errors="replace")
        return bool(chunk)


class Daemon:
    """A daemon, from when it answers until the end of the block. What it writes is in `log`."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def wait_for(self, answers: Callable[[], bool]) -> None:
        """Wait until it answers."""
        wait_until(lambda: self._process.poll() is not None or answers(), self.log.read_text)
        assert self._process.poll() is None, self.log.read_text()

    def end(self) -> None:
        """Ask it to end, and wait until it did."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)


def wait_until(happened: Callable[[], bool], tell: Callable[[], str] = str) -> None:
    """Wait for what an engine does behind our back, and nothing reports."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, tell()
        select.select([], [], [], 0.02)


SHELL = ("sh", "-c", "trap 'echo inter''rupted' INT; echo re''ady; while :; do read line && eval \"$line\"; done")
"""A shell that draws nothing by itself, and is still there after Ctrl-C."""


def converse(session: Session) -> None:
    """What a person does in that shell: the terminal, the size of its window, Ctrl-C, and an exit with 7."""
    session.until("ready")
    session.type("tty; echo don''e\r")
    told = session.until("done")
    assert "/dev/pts/0\r" in told, told  # one engine in raw mode, another not yet
    # the engine passes the window's size on when it comes to it
    for rows, columns in ((24, 80), (33, 111)):
        session.resize(rows, columns)
        session.type(f"until stty size | grep -q '{rows} {columns}'; do sleep 0.05; done; echo re''sized\r")
        session.until("resized")
    session.type("(echo a''sleep; exec sleep 1000)\r")
    session.until("asleep")
    session.type("\x03")
    session.until("interrupted")
    session.type("exit 7\r")
    assert session.end() == 7
