"""run and exec from a terminal: what is typed and shown, its size, ^C and ^Z; and console sockets for who detaches."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Desk

PATIENCE = 20.0


class Session:
    """A terminal, and a command line in the foreground of it, as a person has it."""

    def __init__(self, *command: str) -> None:
        self.master, slave = os.openpty()
        self.resize(97, 31)
        self._before = termios.tcgetattr(slave)
        # a leader of a session that opens a terminal gets it as its own
        script = 'tty=$1; shift; exec "$@" <$tty >$tty 2>&1'
        words = ["/bin/sh", "-c", script, "sh", os.ttyname(slave), *command]
        self.process = subprocess.Popen(words, start_new_session=True)
        self._slave = slave
        self._shown = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, text: str) -> str:
        """What was shown since the last time, up to this text."""
        while text.encode() not in self._shown:
            assert select.select([self.master], [], [], PATIENCE)[0], self._shown
            self._shown += os.read(self.master, 65536)
        before, found, self._shown = self._shown.partition(text.encode())
        return (before + found).decode()

    def end(self) -> int:
        """Wait for its end: its exit code. The terminal is as it was."""
        code = self.process.wait(PATIENCE)
        assert termios.tcgetattr(self._slave) == self._before
        return code

    def close(self) -> None:
        os.close(self.master)
        os.close(self._slave)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)


@contextlib.contextmanager
def session(*command: str) -> Iterator[Session]:
    one = Session(*command)
    try:
        yield one
    finally:
        one.close()


INTERACTIVE = """
PS1=; trap 'echo interrupted' INT; trap 'stty size' WINCH
stty size; tty; echo ready; while :; do read line && echo "got $line"; [ "$line" = end ] && exit 6; done
"""


def test_run_from_a_terminal(desk: Desk) -> None:
    bundle = desk.make_bundle("/bin/sh", "-c", INTERACTIVE, terminal=True)
    with session(*desk.command, "run", "--bundle", str(bundle), desk.new_id()) as here:
        assert here.until("ready").replace("\r", "").split("\n")[-3:-1] == ["31 97", "/dev/pts/0"]
        here.type("one\r")
        here.until("got one")
        here.resize(80, 25)
        here.until("25 80")
        here.type("\x03")
        here.until("interrupted")
        here.type("end\r")
        here.until("got end")
        assert here.end() == 6
    assert desk("list", "--quiet").stdout == ""


def test_jobs_in_a_shell(desk: Desk) -> None:
    container_id = desk.running()
    with session(*desk.command, "exec", "--tty", container_id, "sh", "-i") as here:
        # it says so itself: by then it is in the foreground, and what is typed is for it
        here.type("sh -c 'echo $((1 + 1))ready; exec cat'\r")
        here.until("2ready")
        here.type("\x1a")
        here.until("Stopped")
        here.type("jobs; echo back$((3 + 4))\r")
        assert "exec cat" in here.until("back7")


MUCH = """
/bin/busybox stty raw -echo; echo ready; /bin/busybox head -c 100000 | /bin/busybox wc -c
i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); echo line-$i; done
"""


def test_much_is_typed_at_once_and_much_is_shown(desk: Desk) -> None:
    """Nobody waits for the other for ever, though neither terminal holds all of it."""
    container_id = desk.running()
    with session(*desk.command, "exec", "-t", container_id, "sh", "-c", MUCH) as here:
        here.until("ready")
        for _ in range(100):
            here.type("x" * 1000)
        here.until("100000")
        here.until("line-3000")
        assert here.end() == 0


def test_a_terminal_that_hangs_up(desk: Desk) -> None:
    """Who closes the window ends what ran in it, and leaves nothing."""
    container_id = desk.running()
    with session(*desk.command, "exec", "-t", container_id, "sh", "-c", "echo ready; exec sleep 1000") as here:
        here.until("ready")
        os.close(here.master)
        here.process.wait(PATIENCE)
        here.master = os.open("/dev/null", os.O_RDONLY)
    assert len(json.loads(desk("ps", "--format", "json", container_id).stdout)) == 1


@contextlib.contextmanager
def listening(desk: Desk) -> Iterator[tuple[str, socket.socket]]:
    path = desk.folder / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(PATIENCE)
        try:
            yield str(path), listener
        finally:
            path.unlink()


def received(listener: socket.socket) -> int:
    connection, _ = listener.accept()
    with connection:
        _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
    return int(array.array("i", ancillary[0][2])[0])


def until(master: int, text: bytes) -> None:
    shown = b""
    while text not in shown:
        assert select.select([master], [], [], PATIENCE)[0], shown
        shown += os.read(master, 65536)


def test_console_sockets(desk: Desk) -> None:
    """As conmon and containerd's shim use them."""
    bundle = desk.make_bundle("/bin/sh", "-c", "echo hello; read line; exec sleep 1000", terminal=True)
    with listening(desk) as (path, listener):
        container_id = desk.create("--console-socket", path, bundle=bundle)
        master = received(listener)
    desk("start", container_id)
    until(master, b"hello")
    os.write(master, b"go on\n")
    with listening(desk) as (path, listener):
        words = ("--tty", "--detach", "--console-socket", path, "--pid-file", str(desk.folder / "pid"))
        desk("exec", *words, container_id, "sh", "-c", "tty; exec sleep 1000")
        second = received(listener)
    until(second, b"/dev/pts/1")
    assert int((desk.folder / "pid").read_text()) in json.loads(desk("ps", "-f", "json", container_id).stdout)
    desk.end(container_id)
    os.close(master)
    os.close(second)


def test_a_console_socket_for_who_stays_is_refused(desk: Desk) -> None:
    container_id = desk.running()
    done = desk("exec", "--tty", "--console-socket", "/nonexistent", container_id, "true", code=255)
    assert "cannot use console socket if runc will not detach or allocate tty" in done.stderr
    done = desk("exec", "--tty", "--detach", container_id, "true", code=255)
    assert "cannot allocate tty if runc will detach without setting console socket" in done.stderr
