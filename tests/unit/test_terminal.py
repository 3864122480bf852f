"""Terminals without a container: the handle, the console socket, and what the procedures do with one."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
import warnings
from pathlib import Path

import pytest

from libcontainer_py import (
    CgroupError,
    ConfigError,
    CreateError,
    Factory,
    MemoryBackend,
    ProgramNotFound,
    StartError,
    Terminal,
)
from libcontainer_py.backends.base import CreateRequest
from libcontainer_py.backends.memory import MemoryProgram
from libcontainer_py.spec import Linux, Namespace, Process, Root, Spec
from libcontainer_py.terminal import ConsoleSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

if not hasattr(os, "openpty"):
    pytest.skip("needs pseudoterminals", allow_module_level=True)


@pytest.fixture
def pair() -> Iterator[tuple[Terminal, int]]:
    """Our end, and the other one, in which nothing is changed on its way."""
    import tty

    master, slave = os.openpty()
    tty.setraw(slave)
    with Terminal.of(master) as terminal:
        yield terminal, slave
    try:
        os.close(slave)
    except OSError:
        pass  # the test has closed it


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


# -- the handle -------------------------------------------------------------------------------------------------------


def test_both_ways_and_the_end(pair: tuple[Terminal, int]) -> None:
    terminal, slave = pair
    assert terminal.write(b"typed") == 5
    assert os.read(slave, 100) == b"typed"
    os.write(slave, b"shown")
    assert terminal.read(2) + terminal.read() == b"shown"
    os.close(slave)
    assert terminal.read() == b""


def test_its_size(pair: tuple[Terminal, int]) -> None:
    terminal, slave = pair
    terminal.resize(100, 30)
    assert terminal.size == os.get_terminal_size(slave) == (100, 30)
    with pytest.raises(ValueError, match="at most 65535"):
        terminal.resize(65536, 30)
    assert terminal.size == (100, 30)


def test_closed(pair: tuple[Terminal, int]) -> None:
    terminal, _ = pair
    assert repr(terminal) == f"<Terminal {terminal.fileno()}>"
    terminal.close()
    terminal.close()
    assert terminal.closed
    assert repr(terminal) == "<Terminal closed>"
    for act in (terminal.fileno, terminal.read, lambda: terminal.write(b"x"), lambda: terminal.resize(1, 1)):
        with pytest.raises(ValueError, match="closed"):
            act()


def test_another_error_is_no_end() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with Terminal.of(os.dup(writes)) as terminal, pytest.raises(OSError, match="Bad file descriptor"):
        terminal.read()  # not opened for reading
    os.close(writes)


def test_one_that_nobody_closes_warns(pair: tuple[Terminal, int]) -> None:
    terminal, _ = pair
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        another = Terminal.of(os.dup(terminal.fileno()))
        del another
    assert [one.category for one in caught] == [ResourceWarning]


def test_it_has_no_public_constructor() -> None:
    with pytest.raises(TypeError, match="terminals come from"):
        Terminal()


# -- the console socket -----------------------------------------------------------------------------------------------


@pytest.fixture
def path() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a socket's path has 107 bytes
    yield folder / "console"
    shutil.rmtree(folder)


def test_what_is_sent(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        master, slave = os.openpty()
        with ConsoleSocket(path, "web", CreateError) as taker:
            taker.take(master)
        connection, _ = listener.accept()
        with connection:
            text, (received,), _, _ = socket.recv_fds(connection, 100, 5)
        assert text == b"/dev/ptmx"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(master)  # it was the taker's, who closed it
        os.write(slave, b"x")
        assert os.read(received, 1) == b"x"
        os.close(received)
        os.close(slave)


@pytest.mark.parametrize("failure", [CreateError, StartError])
def test_nobody_is_there_any_more(path: Path, failure: type[CreateError | StartError]) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    before = descriptors()
    with ConsoleSocket(path, "web", failure) as taker:
        listener.close()
        master, slave = os.openpty()
        os.close(slave)
        with pytest.raises(failure, match=f"^console socket {path}: broken pipe") as caught:
            taker.take(master)
    assert (caught.value.container_id, caught.value.subject, caught.value.errno) == ("web", str(path), errno.EPIPE)
    assert descriptors() == before - 1


@pytest.mark.parametrize("name", ["missing", "x" * 200, "file"])
def test_nobody_listens(path: Path, name: str) -> None:
    (path.parent / "file").touch()
    before = descriptors()
    with pytest.raises(CreateError, match=r"^console socket ") as caught:
        ConsoleSocket(path.parent / name, "web", CreateError)
    assert caught.value.step == "console_socket"
    assert descriptors() == before


# -- the procedures, in memory ----------------------------------------------------------------------------------------


def spec(*, terminal: bool) -> Spec:
    return Spec(
        process=Process(args=["sh"], cwd="/", terminal=terminal),
        root=Root(path="rootfs"),
        linux=Linux(namespaces=[Namespace(type="mount"), Namespace(type="pid")]),
    )


def test_a_container_in_memory_has_one() -> None:
    backend = MemoryBackend()
    factory = Factory(backend=backend)
    with factory.create("web", spec(terminal=True)) as container:
        assert container.terminal is not None
        process = backend.host.processes[container._record.init]
        os.write(process.terminal, b"shown")
        assert container.terminal.read() == b"shown"
        container.terminal.resize(80, 25)
        assert os.get_terminal_size(process.terminal) == (80, 25)
        with container.spawn(["sh"], terminal=True) as further:
            assert further.terminal is not None
            further.resize(90, 30)
            further.kill()
            assert further.terminal.read() == b""
        container.start()
        container.kill()
        assert container.terminal.read() == b""
    assert container.terminal.closed
    with factory.create("web", spec(terminal=False)) as container:
        assert container.terminal is None


def test_leaving_closes_it_even_where_the_delete_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = MemoryBackend()
    container = Factory(backend=backend).create("web", spec(terminal=True))
    with monkeypatch.context() as patch, pytest.raises(CgroupError, match="no"), container:
        patch.setattr(backend.host, "remove_cgroups", lambda inodes: (_ for _ in ()).throw(CgroupError("/x", "no")))
    assert container.terminal is not None
    assert container.terminal.closed


def test_nobody_takes_it() -> None:
    backend = MemoryBackend()
    with pytest.raises(ConfigError, match=r"process\.terminal: nobody takes the terminal") as caught:
        backend.create(CreateRequest("web", "", spec(terminal=True)))
    assert "console socket" in caught.value.problems[0].hint
    assert backend.ids() == []


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_streams_beside_it(stream: str) -> None:
    factory = Factory(backend=MemoryBackend())
    with pytest.raises(ValueError, match="the terminal is stdin, stdout and stderr"):
        factory.create("web", spec(terminal=True), **{stream: 1})
    with factory.create("web", spec(terminal=False)) as container:
        with pytest.raises(ValueError, match="a terminal is stdin, stdout and stderr"):
            container.spawn(["sh"], terminal=True, **{stream: 1})
        with pytest.raises(ValueError, match="a console socket is for a terminal"):
            container.spawn(["sh"], console_socket="/x")


class Unwilling:
    """Takes nothing."""

    demanded = True

    def take(self, master: int) -> None:
        os.close(master)
        raise CreateError("no, thanks", step="console_socket")


def test_who_does_not_take_it_ends_the_create() -> None:
    backend = MemoryBackend()
    before = descriptors()
    with pytest.raises(CreateError, match="no, thanks"):
        backend.create(CreateRequest("web", "", spec(terminal=True), terminal=Unwilling()))
    assert backend.ids() == []
    assert backend.host.cgroups == {}
    assert descriptors() == before
    with pytest.raises(ConfigError, match=r"process\.terminal: is false: nothing for a console socket"):
        backend.create(CreateRequest("web", "", spec(terminal=False), terminal=Unwilling()))


def test_a_program_that_is_missing_keeps_none() -> None:
    backend = MemoryBackend()
    backend.host.program = MemoryProgram(found=False)
    before = descriptors()
    with pytest.raises(ProgramNotFound):
        Factory(backend=backend).create("web", spec(terminal=True))
    assert descriptors() == before


def test_a_failure_after_it_was_taken_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = MemoryBackend()

    def publish(container_id: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", container_id)

    monkeypatch.setattr(backend.store, "publish", publish)
    before = descriptors()
    with pytest.raises(OSError, match="No space left"):
        Factory(backend=backend).create("web", spec(terminal=True))
    assert descriptors() == before
