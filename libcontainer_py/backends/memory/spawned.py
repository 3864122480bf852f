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

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.init.pid

    def fileno(self) -> int:
        """There is no descriptor behind it."""
        return -1

    def wait(self, *, timeout: float | None) -> Exit | None:
        """Wait for its end on the virtual clock."""
        return self._host.wait(self._process.init, timeout=timeout)

    def signal(self, signal: int) -> None:
        """Send it a signal."""
        self._killed |= signal == _SIGKILL and self._process.alive
        self._host.signal(self._process.init, signal)

    @property
    def killed(self) -> bool:
        """Whether we sent it SIGKILL."""
        return self._killed

    def kill_all(self) -> None:
        """It starts nobody here."""
        self.signal(_SIGKILL)
