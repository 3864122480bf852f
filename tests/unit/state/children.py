"""Forked children that stand in for other processes. Each is ended and waited for when its test is over."""

from __future__ import annotations

import os
import select
import signal
import sys

from libcontainer_py.kernel import process
from libcontainer_py.record import Init

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Callable

PATIENCE = 20.0
"""Seconds after which something that should have happened did not."""


class Child:
    """A forked child: it runs `work(child)`, then exits with the number that it returns, else with 0.

    `say` in the child wakes `hear` in the parent, and the other way round `tell` wakes `listen`.
    """

    def __init__(self, work: Callable[[Child], object]) -> None:
        self._from_child, self._to_parent = os.pipe()
        self._from_parent, self._to_child = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            try:
                signal.signal(signal.SIGPIPE, signal.SIG_IGN)
                result = work(self)
                code = result if isinstance(result, int) else 0
            finally:
                os._exit(code)
        os.close(self._to_parent)
        os.close(self._from_parent)
        self.pidfd = os.pidfd_open(self.pid)
        self.init = Init(self.pid, process.stat(self.pid).start)
        self._status: int | None = None

    # in the child

    def say(self, word: bytes = b"!") -> None:
        os.write(self._to_parent, word)

    def listen(self) -> bytes:
        """Wait for the parent; b"": it is gone."""
        return os.read(self._from_parent, 64)

    @staticmethod
    def name(comm: str) -> None:
        with open("/proc/self/comm", "w") as file:
            file.write(comm)

    # in the parent

    def hear(self) -> bytes:
        assert readable(self._from_child), "the child said nothing"
        return os.read(self._from_child, 4096)

    def tell(self, word: bytes = b"!") -> None:
        os.write(self._to_child, word)

    def sleeps(self) -> None:
        """Wait until it blocks in the kernel."""
        for _ in range(2_000_000):
            if process.stat(self.pid).state == "S":
                return
        raise AssertionError("the child never blocked")

    def kill(self) -> None:
        """Kill it and wait until it is dead, without reaping it."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        assert readable(self.pidfd)

    def wait(self) -> int:
        """Its exit code as in subprocess."""
        if self._status is None:
            assert readable(self.pidfd), "the child did not end"
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def end(self) -> None:
        if self._status is None:
            self.kill()
            self.wait()
        for descriptor in (self._from_child, self._to_child, self.pidfd):
            os.close(descriptor)


class at_call:  # noqa: N801  (reads as what it says)
    """Inside `with`, run `action` once, just before `function`, one written in Python, does its first call."""

    def __init__(self, function: Callable[..., object], action: Callable[[], object]) -> None:
        self._code = getattr(function, "__code__")  # noqa: B009  (no type has it)
        self._action = action
        self._done = False

    def _look(self, frame: types.FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code is self._code and not self._done:
            self._done = True
            sys.setprofile(None)
            self._action()

    def __enter__(self) -> None:
        sys.setprofile(self._look)

    def __exit__(self, *exception: object) -> None:
        sys.setprofile(None)
        assert self._done, "the function was never called"


def waits_as(name: str) -> Callable[[Child], object]:
    """An init of this name that goes to no fifo; ends when told."""

    def work(child: Child) -> None:
        child.name(name)
        child.say()
        child.listen()

    return work


def readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(PATIENCE * 1000))
