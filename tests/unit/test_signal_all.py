"""`Container.processes` and `signal(all=True)` over the memory backend."""

from __future__ import annotations

import pytest

from libcontainer_py import Container, Factory, IllegalOperation, MemoryBackend, Spec, Status
from libcontainer_py.backends.memory import MemoryProgram
from libcontainer_py.spec import Linux, Namespace, Process, Root

TERM, USR1 = 15, 10


def running(backend: MemoryBackend, *kinds: str) -> Container:
    linux = Linux(namespaces=tuple(Namespace(type=kind) for kind in ("mount", *kinds)))
    container = Factory(backend=backend).create(
        "web", Spec(root=Root(path="rootfs"), process=Process(args=("true",), cwd="/"), linux=linux)
    )
    container.start()
    return container


@pytest.mark.parametrize("kinds", [("pid",), ()], ids=["own", "shared"])
def test_all_of_it(kinds: tuple[str, ...]) -> None:
    backend = MemoryBackend(program=MemoryProgram(ends_on=((TERM, 3),)))
    container = running(backend, *kinds)
    further = container.spawn(["x"])
    assert container.processes() == [container.init_pid, further.pid]
    container.signal(TERM)
    assert (container.status, further.poll()) == (Status.STOPPED, None if not kinds else -9)


def test_a_signal_for_all_reaches_each_with_its_own_manners() -> None:
    container = running(MemoryBackend(), "pid")
    further = container.spawn(["x"])
    container.pause()
    container.signal(USR1, all=True)
    assert further.poll() is None
    container.resume()
    assert further.poll() == -USR1
    assert container.status is Status.RUNNING  # pid 1 ignores what it has no handler for
    assert container.processes() == [container.init_pid]


def test_what_init_left_behind() -> None:
    backend = MemoryBackend()
    container = running(backend)
    further = container.spawn(["x"])
    backend.host.end(backend.load("web").init, 0)
    assert container.processes() == [further.pid]
    with pytest.raises(IllegalOperation):
        container.signal("KILL")
    container.signal("KILL", all=True)
    assert further.poll() == -9
    assert container.processes() == []
    with pytest.raises(IllegalOperation):
        container.signal("KILL", all=True)


def test_a_paused_one_is_killed() -> None:
    container = running(MemoryBackend())
    further = container.spawn(["x"])
    container.pause()
    container.signal("KILL", all=True)
    assert (container.status, further.poll()) == (Status.STOPPED, -9)


def test_another_of_its_id() -> None:
    backend = MemoryBackend()
    container = running(backend)
    container.delete(force=True)
    again = running(backend)
    assert container.processes() == []
    with pytest.raises(IllegalOperation):
        container.signal("KILL", all=True)
    assert again.status is Status.RUNNING
