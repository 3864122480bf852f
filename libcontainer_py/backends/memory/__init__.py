"""The backend without a kernel: the same procedures over dictionaries, a table of processes and a virtual clock.

It runs on any system, needs no root and never sleeps. What shall happen, a test says to the parts::

    backend = MemoryBackend()
    factory = Factory(backend=backend)
    init = backend.load("web").init
    backend.host.end(init, 0)          # the program ends by itself
    backend.host.reuse_pid(init)       # its pid belongs to another process from now on
    backend.host.run_out_of_memory(init)   # and is killed for it
    backend.store.tear("web")          # state.json was torn by a power cut
    backend.crash()                    # kill -9 of the process that uses the library

Processes behave as the kernel's do where it matters here: pid 1 of a pid namespace ignores every signal that it has no
handler for, but SIGKILL and SIGSTOP; a frozen or stopped process acts on its signals when it goes on; a process is its
pid and its start, and only its parent learns how it ended. Sources: pid_namespaces(7), signal(7), fifo(7).
"""

from __future__ import annotations

from libcontainer_py.backends.memory.birth import MemoryBirth
from libcontainer_py.backends.memory.clock import MemoryClock
from libcontainer_py.backends.memory.host import MemoryHost
from libcontainer_py.backends.memory.medium import MemoryMedium
from libcontainer_py.backends.memory.processes import (
    HookRun,
    MemoryCgroup,
    MemoryChange,
    MemoryPreparation,
    MemoryProcess,
    MemoryProgram,
)
from libcontainer_py.backends.memory.store import MemoryDirectory, MemoryFifo, MemoryGate, MemoryStore
from libcontainer_py.backends.memory.watching import MemoryWatch
from libcontainer_py.backends.procedures import Procedures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.record import Record

__all__ = [
    "HookRun",
    "MemoryBackend",
    "MemoryBirth",
    "MemoryCgroup",
    "MemoryChange",
    "MemoryClock",
    "MemoryDirectory",
    "MemoryFifo",
    "MemoryGate",
    "MemoryHost",
    "MemoryMedium",
    "MemoryPreparation",
    "MemoryProcess",
    "MemoryProgram",
    "MemoryStore",
    "MemoryWatch",
]


class MemoryBackend(Procedures):
    """Containers without a kernel. `host` and `store` are there to be looked into and played with."""

    store: MemoryStore
    host: MemoryHost

    def __init__(self, *, program: MemoryProgram | None = None, root: str = "/run/memory") -> None:
        host = MemoryHost(program=program)
        super().__init__(MemoryStore(host, root=root), host)

    @property
    def medium(self) -> MemoryMedium:
        """Its virtual clock, and descriptors that are its own."""
        return self.host.medium

    def crash(self) -> None:
        """Kill -9 of the process that uses the library: its locks and descriptors go, and inits not let go yet.

        Everything else stays as it is; the backend is that of the process that comes next.
        """
        self.host.crash()
        self.store.crash()

    def explain(self, record: Record) -> str:
        """Which parts it has."""
        cgroups = ", ".join(record.cgroup_paths.values())
        return f"{record.id}: init {record.init.pid} in memory, cgroup {cgroups}\n"
