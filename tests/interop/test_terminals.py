"""Terminals beside runc: what it sends to a console socket, and each one's containers in the other's hands."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import Terminal
from tests.bundles import config
from tests.crashes import PATIENCE, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.conftest import Yard

LOOK = "busybox tty; busybox stty size; busybox stat -c '%t:%T %u %a' /dev/console; echo seen >/dev/console"


class ConsoleSocket:
    """Who listens there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.settimeout(PATIENCE)

    def receive(self) -> tuple[bytes, Terminal]:
        """What was sent: the text and the terminal."""
        connection, _ = self._socket.accept()
        with connection:
            text, (master,), _, _ = socket.recv_fds(connection, 100, 5)
        return text, Terminal.of(master)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def console() -> Iterator[ConsoleSocket]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a socket's path has 107 bytes
    one = ConsoleSocket(folder / "console")
    yield one
    one.close()
    shutil.rmtree(folder)


def interactive(script: str) -> dict[str, Any]:
    document = config("/bin/sh", "-c", script)
    document["process"] |= {"terminal": True, "consoleSize": {"height": 40, "width": 120}, "user": {"uid": 7, "gid": 7}}
    document["process"]["env"] = ["PATH=/bin"]
    return document


def rest(terminal: Terminal) -> str:
    found = b""
    while readable(terminal.fileno()):
        chunk = terminal.read()
        if not chunk:
            break
        found += chunk
    return found.decode().replace("\r\n", "\n")


def test_the_same_as_runc(yard: Yard, console: ConsoleSocket) -> None:
    bundle = yard.make_bundle(interactive(LOOK))
    container_id = yard.new_id()
    yard.runc("create", "--bundle", str(bundle), "--console-socket", str(console.path), container_id)
    said, terminal = console.receive()
    with terminal:
        yard.runc("start", container_id)
        theirs = said, rest(terminal)
    with yard.factory.create(yard.new_id(), bundle, console_socket=console.path) as container:
        said, terminal = console.receive()
        with terminal:
            container.start()
            assert (said, rest(terminal)) == theirs
    assert theirs[1].splitlines()[:2] == ["/dev/pts/0", "40 120"]


def test_runc_starts_ours_and_runs_more_in_it(yard: Yard, console: ConsoleSocket) -> None:
    bundle = yard.make_bundle(interactive("echo ready; read line; echo got $line"))
    with yard.factory.create(yard.new_id(), bundle) as container:
        assert container.terminal is not None
        yard.runc("start", container.id)
        process = yard.folder / "process.json"
        process.write_text(json.dumps(interactive("busybox tty")["process"]))
        words = ("exec", "--process", str(process), "--detach", "--console-socket", str(console.path), container.id)
        yard.runc(*words)
        _, terminal = console.receive()
        with terminal:
            assert rest(terminal) == "/dev/pts/1\n"
        container.terminal.write(b"it\n")
        assert container.wait(PATIENCE).returncode == 0
        assert rest(container.terminal).splitlines() == ["ready", "it", "got it"]


def test_more_runs_in_theirs(yard: Yard, console: ConsoleSocket) -> None:
    bundle = yard.make_bundle(interactive("busybox sleep 1000"))
    container_id = yard.new_id()
    yard.runc("create", "--bundle", str(bundle), "--console-socket", str(console.path), container_id)
    _, terminal = console.receive()
    with terminal:
        container = yard.factory.load(container_id)
        container.start()
        assert container.terminal is None
        with container.spawn(["sh", "-c", "busybox tty; busybox stat -c %u $(busybox tty)"], terminal=True) as process:
            assert process.terminal is not None
            assert rest(process.terminal) == "/dev/pts/1\n7\n"
        container.delete(force=True)


def test_nobody_listens_there(yard: Yard, console: ConsoleSocket) -> None:
    bundle = yard.make_bundle(interactive(LOOK))
    done = yard.runc("create", "--bundle", str(bundle), yard.new_id(), check=False)
    assert "cannot allocate tty if runc will detach without setting console socket" in done.stderr
    with yard.factory.create(yard.new_id(), bundle) as container:  # a library has somebody
        assert container.terminal is not None
        assert os.isatty(container.terminal.fileno())
