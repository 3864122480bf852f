"""Terminals: whose they are and what they do, where the host's end goes, and root file systems that mean no good."""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from libcontainer_py import PIPE, ConfigError, CreateError, ProgramNotFound, StartError, Status, Terminal
from libcontainer_py.backends import birth, children, launcher
from libcontainer_py.init import messages
from libcontainer_py.spec import ConsoleSize, Process
from libcontainer_py.spec.config import User
from tests.kernel.workshop import NOBODY, PATIENCE, Config, Workshop, cgroups_of, namespaces, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libcontainer_py import Container, ContainerProcess

WHAT = """
tty; stty size; stat -c '%t:%T %u:%g %a' /dev/console "$(tty)"
for one in /proc/$$/fd/*; do readlink $one; done
cut -d' ' -f6,7 /proc/$$/stat; echo heard >/dev/tty; echo seen >/dev/console
"""
"""The terminal's name, size and owner, the streams that lead to it, whose controlling terminal it is, its names."""


def interactive(*script: str) -> Config:
    config = runc_spec()
    config["process"]["terminal"] = True
    config["process"]["args"] = ["/bin/sh", "-c", "\n".join(script)]
    return config


def waiting() -> Config:
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    return config


def terminal_of(owner: Container | ContainerProcess) -> Terminal:
    assert owner.terminal is not None
    return owner.terminal


def until(terminal: Terminal, text: str) -> str:
    """Read until it says this."""
    found = ""
    deadline = time.monotonic() + PATIENCE
    while text not in found:
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        assert ready, found
        chunk = terminal.read()
        assert chunk, found
        found += chunk.decode()
    return found


def rest(terminal: Terminal) -> str:
    """Read to the end."""
    found = b""
    deadline = time.monotonic() + PATIENCE
    while True:
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        assert ready, found
        chunk = terminal.read()
        found += chunk
        if not chunk:
            return found.decode().replace("\r\n", "\n")


def shown(workshop: Workshop, config: Config | Path) -> str:
    """What a container says on its terminal, to its end."""
    with workshop.create(config) as container:
        container.start()
        assert container.wait(PATIENCE).returncode == 0
        return rest(terminal_of(container))


def open_to_all(workshop: Workshop) -> None:
    for folder in (workshop.folder, *workshop.folder.parents):  # another user must find his files
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)


def in_user_namespace(workshop: Workshop, config: Config) -> Path:
    open_to_all(workshop)
    config["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle = workshop.bundle(config)
    subprocess.run(["chown", "-R", "100000:100000", str(bundle / "rootfs")], check=True)
    return bundle


# -- of a container ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("foreign", [False, True], ids=["", "user namespace"])
def test_a_terminal_of_its_own(workshop: Workshop, uid: int, foreign: bool) -> None:
    config = interactive(WHAT)
    config["process"] |= {"user": {"uid": uid, "gid": uid}, "consoleSize": {"height": 40, "width": 120}}
    bundle = in_user_namespace(workshop, config) if foreign else workshop.bundle(config)
    owner = f"88:0 {uid}:5 620"
    expected = ["/dev/pts/0", "40 120", owner, owner, *["/dev/pts/0"] * 3]
    assert shown(workshop, bundle).splitlines() == [*expected, "1 34816", "heard", "seen"]


def test_without_a_tmpfs_on_dev_and_with_a_readonly_root(workshop: Workshop) -> None:
    config = interactive("stat -c %t:%T /dev/console; touch /x || echo closed")
    config["mounts"] = [one for one in config["mounts"] if one["destination"] != "/dev"]
    config["root"]["readonly"] = True
    bundle = workshop.bundle(config)
    for name in ("pts", "shm", "mqueue"):
        (bundle / "rootfs/dev" / name).mkdir()
    assert shown(workshop, bundle) == "88:0\ntouch: /x: Read-only file system\nclosed\n"
    assert (bundle / "rootfs/dev/console").read_bytes() == b""


def test_what_is_typed_is_read_and_what_the_master_says_at_the_end(workshop: Workshop) -> None:
    with workshop.create(interactive("read line; echo got $line")) as container:
        terminal = terminal_of(container)
        assert (container.status, terminal.closed) == (Status.CREATED, False)
        assert terminal.write(b"words\n") == 6  # it waits there for who reads
        container.start()
        assert container.wait(PATIENCE).returncode == 0
        assert rest(terminal) == "words\ngot words\n"
        with pytest.raises(OSError, match="Input/output error") as caught:
            os.read(terminal.fileno(), 1)
        assert caught.value.errno == errno.EIO
        assert terminal.read() == b""
    assert terminal.closed
    with pytest.raises(ValueError, match="closed"):
        terminal.fileno()


def test_the_size_follows(workshop: Workshop) -> None:
    script = "trap 'stty size; exit 0' WINCH; stty size; echo ready; while :; do read x; done"
    with workshop.create(interactive(script)) as container:
        terminal = terminal_of(container)
        assert terminal.size == (0, 0)
        terminal.resize(81, 24)
        container.start()
        assert until(terminal, "ready\r\n") == "24 81\r\nready\r\n"
        terminal.resize(columns=132, rows=50)
        assert (terminal.size.columns, terminal.size.lines) == (132, 50)
        assert rest(terminal).split() == ["50", "132"]
        for size in ((-1, 5), (5, 65536)):
            with pytest.raises(ValueError, match="65535"):
                terminal.resize(*size)


def test_it_controls_the_session(workshop: Workshop) -> None:
    script = "trap : INT; (trap - INT; echo ready; exec sleep 1000); echo over $?"
    with workshop.create(interactive(script)) as container:
        terminal = terminal_of(container)
        assert os.tcgetpgrp(terminal.fileno()) == container.init_pid
        container.start()
        until(terminal, "ready\r\n")
        terminal.write(b"\x03")
        assert rest(terminal) == "^Cover 130\n"
        assert container.wait(PATIENCE).returncode == 0


def test_closing_it_hangs_up(workshop: Workshop) -> None:
    with workshop.create(
        interactive("trap 'exit 7' HUP; echo ready; while :; do sleep 1000 & wait; done")
    ) as container:
        container.start()
        until(terminal_of(container), "ready")
        terminal_of(container).close()
        assert container.wait(PATIENCE).returncode == 7


def test_a_container_outlives_what_its_handle_had(workshop: Workshop) -> None:
    with workshop.create(interactive("trap '' HUP; echo ready; exec sleep 1000")) as container:
        container.start()
        until(terminal_of(container), "ready")
        loaded = workshop.factory.load(container.id)
        assert loaded.terminal is None
        container.close()
        assert terminal_of(container).closed
        assert loaded.status is Status.RUNNING
        loaded.delete(force=True)


def masters_of(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    return [link for name in os.listdir(folder) if "ptmx" in (link := os.readlink(f"{folder}/{name}"))]


def test_the_master_is_with_us_alone(workshop: Workshop) -> None:
    with workshop.create(interactive("exec sleep 1000")) as container:
        assert container.init_pid is not None
        assert masters_of(container.init_pid) == []
        container.start()
        with container.spawn(["/bin/busybox", "cat"], terminal=True) as process:
            assert masters_of(container.init_pid) == masters_of(process.pid) == []
            ours = [terminal_of(one).fileno() for one in (container, process)]
            assert not any(os.get_inheritable(number) for number in ours)
            assert all("ptmx" in os.readlink(f"/proc/self/fd/{number}") for number in ours)
            process.kill()


def test_it_is_explained(workshop: Workshop) -> None:
    config = interactive("true")
    config["process"] |= {"consoleSize": {"height": 40, "width": 120}}
    with workshop.create(config) as container:
        text = container.explain()
    assert "terminal 0 120 40    <- process.terminal, process.consoleSize\n" in text
    assert "console    <- process.terminal\n" in text
    assert "stdio" not in text


def test_in_namespaces_of_another(workshop: Workshop) -> None:
    with workshop.create(waiting()) as first:
        first.start()
        config = interactive(WHAT)
        joined = {kind: f"/proc/{first.init_pid}/ns/{file}" for kind, file in (("pid", "pid"), ("ipc", "ipc"))}
        spaces = [one for one in config["linux"]["namespaces"] if one["type"] not in joined]
        config["linux"]["namespaces"] = [*spaces, *({"type": kind, "path": path} for kind, path in joined.items())]
        lines = shown(workshop, config).splitlines()
        assert lines[0] == "/dev/pts/0"
        assert lines[-2:] == ["heard", "seen"]


OF_A_USER = """
import sys
from libcontainer_py import Factory, Spec
folder = sys.argv[1]
with Factory(folder + "/root").create("typing", Spec.from_json(open(folder + "/config.json").read())) as container:
    container.start()
    with container.spawn(["/bin/sh", "-c", "tty; id -u"], terminal=True) as process:
        while chunk := process.terminal.read():
            sys.stdout.write(chunk.decode())
    container.terminal.write(b"go\\n")
    container.wait(60)
    while chunk := container.terminal.read():
        sys.stdout.write(chunk.decode())
"""


def test_of_an_ordinary_user(workshop: Workshop, as_nobody: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        config = namespaces(interactive("read x; echo $x; tty; stat -c %u /dev/console"), "pid", "mount", "user")
        for kind in ("uid", "gid"):
            config["linux"][f"{kind}Mappings"] = [{"containerID": 0, "hostID": NOBODY, "size": 1}]
        del config["linux"]["resources"], config["hostname"]
        for mount in config["mounts"]:
            mount["options"] = [option for option in mount.get("options", []) if option != "gid=5"]
        config["mounts"] = [one for one in config["mounts"] if one["type"] in ("proc", "tmpfs", "devpts")]
        config["root"] = {"path": str(workshop.rootfs(folder / "rootfs"))}
        (folder / "config.json").write_text(json.dumps(config))
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(folder)], check=True)
        done = as_nobody("-c", OF_A_USER, str(folder))
        assert done.stdout.split() == ["/dev/pts/1", "0", "go", "go", "/dev/pts/0", "0"], done.stderr
    finally:
        shutil.rmtree(folder)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_streams_and_a_terminal(workshop: Workshop, stream: str) -> None:
    container_id = workshop.new_id()
    with pytest.raises(ValueError, match="the terminal is stdin, stdout and stderr"):
        workshop.factory.create(container_id, workshop.bundle(interactive("true")), **{stream: 1})
    assert workshop.entries() == []


def without_devpts(config: Config) -> Config:
    """With what the root file system itself has in /dev."""
    config["mounts"] = [one for one in config["mounts"] if not one["destination"].startswith("/dev")]
    return config


@pytest.mark.parametrize("there", ["nothing", "a file", "a device", "a symlink", "a directory"])
def test_a_ptmx_that_is_none(workshop: Workshop, there: str) -> None:
    bundle = workshop.bundle(without_devpts(interactive("true")))
    pts = bundle / "rootfs/dev/pts"
    pts.mkdir()
    fake = pts / "ptmx"
    if there == "a file":
        fake.touch(mode=0o666)
    elif there == "a device":
        os.mknod(fake, 0o666 | 0o020000, os.makedev(5, 2))
    elif there == "a symlink":
        fake.symlink_to("/proc/self/fd/0")
    elif there == "a directory":
        fake.mkdir()
    container_id = workshop.new_id()
    with pytest.raises(CreateError, match="a terminal needs") as caught:
        workshop.factory.create(container_id, bundle)
    assert (caught.value.step, caught.value.errno) == ("terminal", errno.ENODEV)
    assert '"type": "devpts"' in caught.value.hint
    assert workshop.entries() == []
    assert cgroups_of(container_id) == []


def test_a_console_that_is_a_symlink(workshop: Workshop) -> None:
    config = interactive("true")
    config["mounts"] = [one for one in config["mounts"] if one["destination"] != "/dev"]
    bundle = workshop.bundle(config)
    for name in ("pts", "shm", "mqueue"):
        (bundle / "rootfs/dev" / name).mkdir()
    (bundle / "rootfs/dev/console").symlink_to("/etc/passwd")
    with pytest.raises(CreateError, match="/dev/console: it is a symlink") as caught:
        workshop.create(bundle)
    assert (caught.value.step, caught.value.errno) == ("console", errno.ELOOP)
    assert not (bundle / "rootfs/etc/passwd").exists()
    assert workshop.entries() == []


def test_a_create_that_fails_keeps_no_terminal(workshop: Workshop) -> None:
    config = interactive()
    config["process"]["args"] = ["/nope"]
    counts = []
    for _ in range(3):
        with pytest.raises(ProgramNotFound):
            workshop.create(config)
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[0] == counts[1] == counts[2]


# -- of a further process ---------------------------------------------------------------------------------------------


@pytest.fixture
def container(workshop: Workshop) -> Iterator[Container]:
    with workshop.create(waiting()) as container:
        container.start()
        yield container


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_further_process(container: Container, uid: int) -> None:
    script = 'tty; stty size; stat -c "%u:%g %a" $(tty); cut -d" " -f7 /proc/$$/stat; echo heard >/dev/tty; exit 5'
    args = ["/bin/sh", "-c", f"read x; {script}"]
    with container.spawn(args, terminal=True, user=User(uid=uid, gid=uid)) as process:
        assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
        process.resize(columns=90, rows=30)
        terminal_of(process).write(b"\n")
        owner = f"{uid}:5 620"
        assert rest(terminal_of(process)).splitlines() == ["", "/dev/pts/0", "30 90", owner, "34816", "heard"]
        assert process.wait(PATIENCE) == 5


def test_a_further_process_before_the_start(workshop: Workshop) -> None:
    with workshop.create(waiting()) as container:
        with container.spawn(["/bin/sh", "-c", "tty"], terminal=True) as process:
            assert rest(terminal_of(process)) == "/dev/pts/0\n"
        assert container.status is Status.CREATED


def test_it_interrupts_a_further_process(container: Container) -> None:
    with container.spawn(["/bin/sh", "-c", "echo ready; exec sleep 1000"], terminal=True) as process:
        until(terminal_of(process), "ready")
        terminal_of(process).write(b"\x03")
        assert process.wait(PATIENCE) == -signal.SIGINT


def test_leaving_hangs_up(container: Container) -> None:
    with container.spawn(["/bin/sh", "-c", "echo ready; exec sleep 1000"], terminal=True) as process:
        until(terminal_of(process), "ready")
    assert process.wait(PATIENCE) == -signal.SIGHUP
    assert terminal_of(process).closed


def test_each_has_its_own(container: Container) -> None:
    with (
        container.spawn(["/bin/busybox", "cat"], terminal=True) as first,
        container.spawn(["/bin/sh", "-c", "tty"], terminal=True) as second,
    ):
        assert rest(terminal_of(second)) == "/dev/pts/1\n"
        terminal_of(first).write(b"x\x04\x04")
        assert first.wait(PATIENCE) == 0
        assert rest(terminal_of(first)) == "xx"


def test_a_process_that_says_so_itself(container: Container) -> None:
    wanted = Process(
        args=["/bin/sh", "-c", "stty size"], cwd="/", terminal=True, console_size=ConsoleSize(height=7, width=8)
    )
    with container.spawn(wanted) as process:
        assert rest(terminal_of(process)) == "7 8\n"


def test_of_a_container_with_a_terminal_each_has_another(workshop: Workshop) -> None:
    with workshop.create(interactive("exec sleep 1000")) as container:
        with container.spawn(["/bin/sh", "-c", "tty"], terminal=True) as process:
            assert rest(terminal_of(process)) == "/dev/pts/1\n"
        result = container.run(["/bin/sh", "-c", "tty"], text=True, stdin=PIPE, input="")
        assert (result.stdout, result.returncode) == ("not a tty\n", 1)


def test_in_a_user_namespace(workshop: Workshop) -> None:
    bundle = in_user_namespace(workshop, waiting())
    with workshop.create(bundle) as container:
        container.start()
        args = ["/bin/sh", "-c", "stat -c %u:%g $(tty)"]
        with container.spawn(args, terminal=True, user=User(uid=1000, gid=1000)) as process:
            assert rest(terminal_of(process)) == "1000:5\n"


IN_A_SANDBOX = """
import sys
from libcontainer_py import Sandbox
with Sandbox() as sandbox, sandbox.spawn(["sh", "-c", "tty; read x; echo got $x"], terminal=True) as process:
    process.terminal.write(b"it\\n")
    while chunk := process.terminal.read():
        sys.stdout.write(chunk.decode())
    sys.exit(process.wait(60))
"""


@pytest.mark.parametrize("who", ["root", "nobody"])
def test_in_a_sandbox(workshop: Workshop, as_nobody: Callable[..., subprocess.CompletedProcess[str]], who: str) -> None:
    if who == "root":
        command = [sys.executable, "-c", IN_A_SANDBOX]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    else:
        done = as_nobody("-c", IN_A_SANDBOX)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert sorted(lines) == sorted(["it", "/dev/pts/0", "got it", ""])


def test_where_there_is_no_devpts(workshop: Workshop) -> None:
    with workshop.create(without_devpts(waiting())) as container:
        container.start()
        with pytest.raises(StartError, match="/dev/pts/ptmx: there is none, and a terminal needs a devpts") as caught:
            container.spawn(["/bin/sh"], terminal=True)
        assert (caught.value.step, caught.value.errno) == ("terminal", errno.ENODEV)


def send_terminal(control: socket.socket) -> None:
    """As init or a joiner does; here something that is told apart from a terminal."""
    null = os.open("/dev/null", os.O_RDONLY)
    socket.send_fds(control, [messages.TERMINAL], [null])
    os.close(null)


def send_terminal_as_another(control: socket.socket) -> None:
    code = f"import os, socket; control = socket.socket(fileno={control.fileno()}); "
    code += f"socket.send_fds(control, [{messages.TERMINAL!r}], [os.open('/dev/zero', os.O_RDONLY)])"
    subprocess.run([sys.executable, "-c", code], pass_fds=[control.fileno()], check=True)


@pytest.fixture
def control() -> Iterator[tuple[launcher.Launch, socket.socket]]:
    """A launch that hears us in place of a fork server, as that whose namespaces are joined."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    launch = object.__new__(launcher.Launch)
    launch.control, launch._early, launch._server, launch._terminal, launch._child = ours, [], None, -1, None
    with ours, theirs:
        yield launch, theirs
        launch._forget()


def test_whose_terminal_it_is_says_the_joiner_alone(control: tuple[launcher.Launch, socket.socket]) -> None:
    """Not whoever got hold of the socket: the caller would take what that one likes for a terminal."""
    launch, theirs = control
    before = len(os.listdir("/proc/self/fd"))
    send_terminal_as_another(theirs)
    send_terminal(theirs)
    send_terminal_as_another(theirs)
    theirs.send(messages.MADE + bytes(4))
    launch._answer((messages.MADE,), by=os.getpid())
    launch._find_terminal(os.getpid())
    master = launch.take_terminal()
    assert os.readlink(f"/proc/self/fd/{master}") == "/dev/null"
    os.close(master)
    assert launch.take_terminal() == -1
    assert launch._early == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_of_an_init_that_ran_ahead_of_its_maker(control: tuple[launcher.Launch, socket.socket]) -> None:
    launch, theirs = control
    send_terminal_as_another(theirs)
    send_terminal(theirs)
    theirs.send(messages.MADE + bytes(4))
    launch._answer((messages.MADE,), by=os.getpid())
    launch._child = children.Child(os.getpid(), -1, 0)
    assert launch.hear_with() == (messages.TERMINAL, -1)
    said, master = launch.hear_with()
    assert said == messages.TERMINAL
    assert os.readlink(f"/proc/self/fd/{master}") == "/dev/null"
    os.close(master)


def test_descriptors_have_run_out(control: tuple[launcher.Launch, socket.socket]) -> None:
    launch, theirs = control
    born = object.__new__(birth.LinuxBirth)
    born._launch = launch
    born._preparation = SimpleNamespace(request=SimpleNamespace(container_id="web"))  # type: ignore[assignment]  # enough
    theirs.send(messages.TERMINAL)  # so it looks when the kernel found no number
    with pytest.raises(CreateError, match="Too many open files") as caught:
        born._expect_descriptor(messages.TERMINAL)
    assert (caught.value.container_id, caught.value.errno) == ("web", errno.EMFILE)


def test_what_spawn_refuses(container: Container) -> None:
    for streams in ({"stdin": PIPE}, {"stdout": PIPE}, {"stderr": 1}):
        with pytest.raises(ValueError, match="a terminal is stdin, stdout and stderr"):
            container.spawn(["/bin/sh"], terminal=True, **streams)  # type: ignore[arg-type]  # of one kind each
    with pytest.raises(ValueError, match="a console socket is for a terminal"):
        container.spawn(["/bin/sh"], console_socket="/nowhere")
    with container.spawn(["/bin/busybox", "true"]) as process:
        with pytest.raises(ValueError, match="no terminal of process"):
            process.resize(80, 25)
        assert process.terminal is None
    with pytest.raises(ProgramNotFound):
        container.spawn(["/nope"], terminal=True)


# -- console sockets --------------------------------------------------------------------------------------------------


class Listener:
    """Who listens on a console socket, as conmon does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.socket.settimeout(PATIENCE)

    def receive(self) -> tuple[bytes, int]:
        """The text and the descriptor of the next message; nothing may come after it."""
        connection, _ = self.socket.accept()
        with connection:
            text, descriptors, _, _ = socket.recv_fds(connection, 100, 5)
            assert connection.recv(1) == b""
        (master,) = descriptors
        return text, master

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a socket's path has 107 bytes
    one = Listener(folder / "console")
    yield one
    one.close()
    shutil.rmtree(folder)


def read_all(master: int) -> str:
    with Terminal.of(master) as terminal:
        return rest(terminal)


def test_a_console_socket(workshop: Workshop, listener: Listener) -> None:
    with workshop.create(interactive("echo hello"), console_socket=listener.path) as container:
        text, master = listener.receive()
        assert text == b"/dev/ptmx"
        assert container.terminal is None
        container.start()
        assert container.wait(PATIENCE).returncode == 0
        assert read_all(master) == "hello\n"


def test_a_console_socket_of_a_further_process(container: Container, listener: Listener) -> None:
    args = ["/bin/sh", "-c", "echo hello"]
    with container.spawn(args, terminal=True, console_socket=str(listener.path)) as process:
        text, master = listener.receive()
        assert text == b"/dev/ptmx"
        assert process.terminal is None
        assert process.wait(PATIENCE) == 0
        assert read_all(master) == "hello\n"


def test_nobody_listens(workshop: Workshop, container: Container, listener: Listener) -> None:
    listener.close()
    before = workshop.entries()
    with pytest.raises(CreateError, match=f"^console socket {listener.path}: connection refused") as caught:
        workshop.create(interactive("true"), console_socket=listener.path)
    assert (caught.value.step, caught.value.errno) == ("console_socket", errno.ECONNREFUSED)
    with pytest.raises(StartError, match="no such file or directory") as late:
        container.spawn(["/bin/sh"], terminal=True, console_socket="/nowhere")
    assert (late.value.step, late.value.errno) == ("console_socket", errno.ENOENT)
    assert workshop.entries() == before


def test_a_listener_that_goes_before_the_terminal_comes(workshop: Workshop, listener: Listener) -> None:
    config = interactive("true")
    config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "kill -USR1 $PPID"]}]}
    container_id = workshop.new_id()
    before = signal.signal(signal.SIGUSR1, lambda *_: listener.close())
    try:
        with pytest.raises(CreateError, match="broken pipe") as caught:
            workshop.factory.create(container_id, workshop.bundle(config), console_socket=listener.path)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (caught.value.step, caught.value.errno) == ("console_socket", errno.EPIPE)
    assert workshop.entries() == []
    assert cgroups_of(container_id) == []


def test_a_console_socket_without_a_terminal(workshop: Workshop, listener: Listener) -> None:
    with pytest.raises(ConfigError, match=r"process\.terminal: is false: nothing for a console socket"):
        workshop.create(waiting(), console_socket=listener.path)
    assert workshop.entries() == []
