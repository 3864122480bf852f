"""A further process of a container of the memory backend."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.backends.base import Exit
    from libcontainer_py.backends.memory.host import MemoryHost
    from libcontainer_py.backends.memory.processes import MemoryProcess

_SIGKILL = 9


class MemorySpawned:
    """One that joined."""

    def __init__(self, host: MemoryHost, process: MemoryProcess) -> None:
        self._host = host
        self._process = process
        self._killed = False
        self._pidfd: int | None = None

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.init.pid

    def fileno(self) -> int:
        """A descriptor that is readable when it has ended, for who asks while it runs; -1 once it was waited for.

        A pipe of this system's, so that others can wait for it, where they can wait for pipes.
        """
        if self._pidfd is None:
            self._pidfd = self._host.descriptor(self._process)
        return -1 if self._pidfd is None else self._pidfd

    def wait(self, *, timeout: float | None) -> Exit | None:
        """Wait for its end on the virtual clock."""
        ended = self._host.wait(self._process.init, timeout=timeout)
        if ended is not None:
            self._close()
        return ended

    def _close(self) -> None:
        if self._pidfd is not None:
            self._host.medium.close(self._pidfd)
            self._pidfd = None

    def __del__(self) -> None:
        self._close()

    def signal(self, signal: int) -> None:
        """Send it a signal."""
        self._killed |= signal == _SIGKILL and self._process.alive
        self._host.signal(self._process.init, signal)

    @property
    def killed(self) -> bool:
        """Whether we sent it SIGKILL."""
        return self._killed

    def kill_all(self) -> None:
        """SIGKILL to it and to what it started."""
        self.signal(_SIGKILL)
        self._host.kill_children(self._process.init)
