"""Processes that are killed in the middle of their work: at a step of the seam, or before a change of the file system.

They are forked, so that what is loaded stays loaded. Every wait has a limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import NamedTuple

from libcontainer_py.kernel import libc, process
from libcontainer_py.record import Init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

PATIENCE = 20.0
"""Seconds after which something that should have happened did not."""
PR_SET_CHILD_SUBREAPER = 36
WRAPPED = ("Lock", "Fifo", "LinuxBirth")
"""What Store and Host give that has steps of its own."""
CHANGES = frozenset(
    "os.mkdir os.rmdir os.rename os.remove os.chmod os.chown os.symlink os.posix_spawn socket.sendmsg".split()
)
"""Audit events that announce a change."""


def readable(descriptor: int, timeout: float = PATIENCE) -> bool:
    """Whether there is something to read, or the process of a pidfd ended, within `timeout` seconds."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def die() -> None:
    """As kill -9 does it: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Line:
    """Counts steps, and dies before the one of number `fatal` (None: never)."""

    def __init__(self, fatal: int | None) -> None:
        self.fatal = fatal
        self.names: list[str] = []
        self.verb = ""

    def step(self, name: str) -> None:
        """Say that `name` is about to happen."""
        if len(self.names) == self.fatal:
            die()
        self.names.append(f"{self.verb}: {name}" if self.verb else name)

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        """An audit hook whose steps are changes of the file system, new processes and messages."""
        if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3):
            subject = arguments[0] if arguments and isinstance(arguments[0], str) else ""
            self.step(f"{event} {subject}".strip())


class Stepped:
    """A Store or a Host whose every method is a step on a `Line`; what it returns, too."""

    def __init__(self, inner: Any, line: Line, role: str) -> None:
        self._inner = inner
        self._line = line
        self._role = role

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            self._line.step(f"{self._role}.{name}")
            result = value(*arguments, **options)
            kind = type(result).__name__
            return Stepped(result, self._line, kind) if kind in WRAPPED else result

        return call

    def __enter__(self) -> None:
        self._line.step(f"{self._role}.enter")
        self._inner.__enter__()

    def __exit__(self, *error: object) -> None:
        self._line.step(f"{self._role}.exit")
        self._inner.__exit__(*error)


class Ended(NamedTuple):
    """How a forked child ended."""

    returncode: int
    said: Any
    """What its work returned, through JSON; None where it was killed before."""


class Child:
    """A forked child that runs `work` and passes on what it returns, or the text of what it raises."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._answer, answer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.close(self._answer)
                sys.dont_write_bytecode = True
                try:
                    said = work()
                except Exception as error:  # noqa: BLE001  (the parent judges it)
                    said = [type(error).__name__, str(error)]
                os.write(answer, json.dumps(said).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(answer)
        self.pidfd = os.pidfd_open(self.pid)

    def kill(self) -> None:
        """SIGKILL."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def wait(self, timeout: float = PATIENCE) -> Ended:
        """Wait for its end; one that takes longer than `timeout` seconds is killed, and that is a failure."""
        in_time = readable(self.pidfd, timeout)
        if not in_time:
            self.kill()
        status = os.waitpid(self.pid, 0)[1]
        with open(self._answer, "rb") as file:
            os.set_blocking(self._answer, False)
            said = file.read()  # None or b"": nothing
        os.close(self.pidfd)
        assert in_time, f"a child did not end within {timeout:g} s"
        return Ended(os.waitstatus_to_exitcode(status), json.loads(said) if said else None)


def in_child(work: Callable[[], Any], timeout: float = PATIENCE) -> Ended:
    """Run `work` in a forked child."""
    return Child(work).wait(timeout)


def children() -> set[Init]:
    """The children of this process, zombies too."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            pids = file.read().split()
        for pid in pids:
            with contextlib.suppress(OSError):
                found.add(Init(int(pid), process.stat(int(pid)).start))
    return found


class Orphanage:
    """While it is open, processes whose parents die become our children: none of them can be overlooked."""

    def __init__(self) -> None:
        self.known: set[Init] = set()

    def orphans(self) -> set[Init]:
        """Those that came since the orphanage opened."""
        return children() - self.known

    def bury(self, *, spare: Init | None = None, timeout: float = PATIENCE) -> None:
        """Wait until all orphans have ended, except `spare`; one that does not is a failure."""
        deadline = time.monotonic() + timeout
        while orphans := self.orphans() - {spare}:
            for pid, start in orphans:
                pidfd = process.pidfd_open(pid, start)
                if pidfd is None:
                    continue
                try:
                    if not readable(pidfd, max(0.0, deadline - time.monotonic())):
                        with open(f"/proc/{pid}/cmdline") as file:
                            words = file.read().replace("\0", " ")
                        raise AssertionError(f"process {pid} ({process.stat(pid).comm}: {words}) goes on")
                finally:
                    os.close(pidfd)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)


@contextlib.contextmanager
def orphanage() -> Iterator[Orphanage]:
    """Open one; at the end every orphan that is still there is killed."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    home = Orphanage()
    home.known = children()
    try:
        yield home
    finally:
        for pid, start in home.orphans():
            process.send_signal(pid, start, signal.SIGKILL)
        try:
            home.bury()
        finally:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 0)
