"""run() and `python -m libcontainer_py sandbox`, as root and as an ordinary user."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.kernel.workshop import NOBODY, PATIENCE, python_for_everybody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernel.users import User

CONNECT = """
import socket, sys
print("ready", flush=True)
for line in sys.stdin:
    path = line.rstrip("\\n")
    kind, where = (socket.AF_INET, ("127.0.0.1", int(path[4:]))) if path.startswith("tcp:") else (socket.AF_UNIX, path)
    with socket.socket(kind, socket.SOCK_STREAM) as client:
        try:
            client.connect("\\0" + where[1:] if where[0] == "@" else where)
        except OSError as error:
            print(type(error).__name__, flush=True)
        else:
            print("connected", flush=True)
"""


# -- what comes back --------------------------------------------------------------------------------------------------


def test_output_is_bytes(user: User) -> None:
    script = 'printf "\\377\\000a\\r\\n"; printf "b\\376" >&2; exit 7'
    assert user.call(["sh", "-c", script]) == (("sh", "-c", script), 7, b"\xff\0a\r\n", b"b\xfe")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_is_negative(user: User, number: int) -> None:
    assert user.call(["sh", "-c", f"kill -{number} $$"])[1] == -number
    assert user.sandbox("--", "sh", "-c", f"kill -{number} $$")[0] == 128 + number


def test_streams_can_be_left_alone_or_given(user: User) -> None:
    code = (
        "import os, tempfile\n"
        "from libcontainer_py import DEVNULL, run\n"
        "with tempfile.TemporaryFile() as file:\n"
        "    file.write(b'given'); file.seek(0)\n"
        "    result = run(['sh', '-c', 'cat; echo e >&2'], stdin=file, stdout=None, stderr=DEVNULL)\n"
        "    assert (result.stdout, result.stderr) == (b'', b'')\n"
        "assert run(['cat'], stdin=DEVNULL).stdout == b''\n"
    )
    process = user.popen("-c", code)
    assert process.communicate(timeout=PATIENCE) == (b"given", b"")
    assert process.returncode == 0


def test_a_lot_of_output_on_both_streams(user: User) -> None:
    script = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero"
    _, returncode, output, error = user.call(["sh", "-c", script])
    assert (returncode, len(output), len(error)) == (0, 6000000, 3000000)


def test_check(user: User) -> None:
    code = (
        "from libcontainer_py import CommandFailed, run\n"
        "assert run(['true'], check=True).returncode == 0\n"
        "try:\n"
        "    run(['sh', '-c', 'echo out; exit 3'], check=True)\n"
        "except CommandFailed as error:\n"
        "    print(error.result.returncode, error.result.stdout, error)\n"
    )
    process = user.popen("-c", code)
    output, error = process.communicate(timeout=PATIENCE)
    assert output.decode() == "3 b'out\\n' command 'sh' failed with exit code 3\n", error


def test_words_that_are_no_list(user: User) -> None:
    process = user.popen("-c", "from libcontainer_py import run; run('echo hello')")
    _, error = process.communicate(timeout=PATIENCE)
    assert b"TypeError: args is a sequence of words" in error


# -- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line(user: User) -> None:
    assert user.sandbox("--", "echo", "hello") == (0, b"hello\n", b"")
    assert user.sandbox("echo", "-n", "--", "a  b") == (0, b"-- a  b", b"")
    assert user.sandbox("--", "sh", "-c", "cat; echo e >&2; exit 9", given=b"\0given") == (9, b"\0given", b"e\n")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--", "no-such-program"), 127, 'exec: "no-such-program": executable file not found in $PATH'),
        (("--", "/no/such/program"), 127, "no such file or directory"),
        (("--", "/etc/passwd"), 126, "permission denied"),
        (("--", "/etc"), 126, "is a directory"),
        ((), 1, "USAGE:"),
        (("--",), 1, "USAGE:"),
        (("--bad-option", "x"), 1, "flag provided but not defined: -bad-option"),
    ],
)
def test_exit_codes(user: User, words: tuple[str, ...], code: int, text: str) -> None:
    found, output, error = user.sandbox(*words)
    assert (found, output) == (code, b"")
    assert text in error.decode()
    assert "Traceback" not in error.decode()


def test_exit_code_125_when_no_container_can_be_made(user: User, tmp_path: Path) -> None:
    # where the root of the state directories is a file
    command = [user.python, "-m", "libcontainer_py", "sandbox", "--", "true"]
    settings = {"capture_output": True, "text": True, "cwd": "/", "timeout": PATIENCE}
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        os.chown(runtime, user.uid, user.uid)
        Path(runtime, "libcontainer_py").touch()
        if user.uid == 0:  # in a mount namespace of its own
            hide = f'mount --bind {runtime} /run; exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", hide, "sh", *command]
        else:
            command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
        done = subprocess.run(command, env=user.environment | {"XDG_RUNTIME_DIR": runtime}, **settings)  # type: ignore[call-overload]  # as they stand above
    assert (done.returncode, done.stdout) == (125, ""), done.stderr
    assert re.match(r"libcontainer_py: /\S+/libcontainer_py", done.stderr)
    assert "Traceback" not in done.stderr


def test_an_interrupt_ends_it(user: User) -> None:
    process = user.popen("-m", "libcontainer_py", "sandbox", "--", "sh", "-c", "echo $$ began; exec sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline().endswith(b" began\n")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert b"Traceback" not in error


def test_an_interrupt_of_run_leaves_nothing(user: User) -> None:
    code = "from libcontainer_py import run\nrun(['sh', '-c', 'echo began >&2; exec sleep 1000'], stderr=None)"
    process = user.popen("-c", code)
    assert process.stderr is not None
    assert process.stderr.readline() == b"began\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert error.endswith(b"KeyboardInterrupt\n")


# -- what the command is ----------------------------------------------------------------------------------------------


def test_the_environment(user: User) -> None:
    assert user.call(["env", "-0"])[2].split(b"\0") == [
        b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        b"HOME=/tmp",
        b"LANG=C.UTF-8",
        b"",
    ]
    more = user.call(["env"], env={"HOME": "/", "MORE": "x y"})[2].decode().splitlines()
    assert more[1:] == ["HOME=/", "LANG=C.UTF-8", "MORE=x y"]


def test_the_working_directory(user: User) -> None:
    assert user.output("pwd") == "/\n"
    assert user.output("pwd", cwd="/usr/bin") == "/usr/bin\n"


def test_it_has_no_privileges(user: User) -> None:
    status = dict(line.split(":\t", 1) for line in user.output("cat /proc/self/status").splitlines())
    sets = {name: int(value, 16) for name, value in status.items() if name.startswith("Cap")}
    assert sets == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0)
    assert status["NoNewPrivs"].strip() == "1"


SYSTEM_CALLS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    return errno.errorcode.get(ctypes.get_errno(), "?") if libc.syscall(*arguments) < 0 else "fine"
numbers = {"x86_64": (250, 321, 272, 39), "aarch64": (219, 280, 97, 172)}[os.uname().machine]
keyctl, bpf, unshare, getpid = numbers
print(call(keyctl, 0, -3, 0), call(bpf, 0, 0, 0), call(unshare, 0x10000000), call(getpid))
"""


FAMILIES = """
import errno, socket
for family in ("AF_UNIX", "AF_INET", "AF_NETLINK", "AF_VSOCK", "AF_ALG"):
    try:
        socket.socket(getattr(socket, family), socket.SOCK_DGRAM if family != "AF_ALG" else socket.SOCK_SEQPACKET)
        print(family, "open")
    except OSError as error:
        print(family, errno.errorcode[error.errno])
"""


def test_families_of_sockets(user: User) -> None:
    # vsock is in no network namespace: it leads from a virtual machine to its host
    assert user.output(f"/usr/bin/python3 -I -S -c '{FAMILIES}'").splitlines() == [
        "AF_UNIX open",
        "AF_INET open",
        "AF_NETLINK open",
        "AF_VSOCK EAFNOSUPPORT",
        "AF_ALG EAFNOSUPPORT",
    ]


def test_it_makes_no_user_namespace(user: User) -> None:
    # nor any other in it: much of the kernel can only be reached by who has one
    script = "for kind in --user --net --mount --pid --ipc --uts --cgroup; do unshare $kind true 2>&1; done; true"
    lines = user.output(script).splitlines()
    assert len(lines) == 7
    assert [line for line in lines if not line.endswith("Operation not permitted")] == []


def test_what_ordinary_programs_have_no_use_for_is_closed(user: User) -> None:
    output = user.output(f"/usr/bin/python3 -I -S -c '{SYSTEM_CALLS}'; grep ^Seccomp: /proc/self/status")
    assert output == "EPERM EPERM EPERM fine\nSeccomp:\t2\n"


def test_it_is_no_pid_1(user: User) -> None:
    pid, parent, first = user.output("echo $$; echo $PPID; cat /proc/1/comm").split()
    assert (parent, first) == ("1", "reaper")
    assert int(pid) > 1


def test_pid_1_shows_nothing_of_the_library(user: User) -> None:
    assert user.output("cat /proc/1/cmdline").strip("\0") == "reaper"
    assert user.output("cat /proc/1/environ 2>/dev/null || true") == ""
    assert user.output("readlink /proc/1/exe || true") == ""


ORPHAN = "while read -r pid name state parent rest </proc/$$/stat; [ $parent != 1 ]; do :; done"


def test_orphans_are_reaped(user: User) -> None:
    # it ends once it is an orphan; were it not reaped, its directory would stay, and the loop go on
    script = (
        f"p=$(sh -c 'sh -c \"$0\" >/dev/null & echo $!' '{ORPHAN}'); while [ -d /proc/$p ]; do :; done; echo reaped"
    )
    assert user.output(script) == "reaped\n"


def test_it_ends_with_its_command_whatever_that_leaves_running(user: User) -> None:
    assert user.call(["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo done"])[1:] == (0, b"done\n", b"")


# -- what the command sees --------------------------------------------------------------------------------------------


def test_the_files_of_the_host_can_be_read_but_not_written(user: User) -> None:
    assert user.output("cat /etc/passwd") == Path("/etc/passwd").read_text()
    script = "for d in / /etc /usr /usr/bin /var/lib; do touch $d/lcpy-new 2>&1; done; true"
    lines = user.output(script).splitlines()
    assert len(lines) == 5
    assert [line for line in lines if "Read-only file system" not in line and "Permission denied" not in line] == []
    if user.uid == 0:
        assert [line for line in lines if "Read-only file system" not in line] == []
    assert not any(os.path.exists(f"{folder}/lcpy-new") for folder in ("/", "/etc", "/usr", "/usr/bin", "/var/lib"))


def test_hidden_directories_are_empty(user: User, tmp_path: Path) -> None:
    assert os.listdir("/tmp")  # there is something to hide
    for folder in ("/run", "/var/run", "/tmp", "/var/tmp", "/root", "/home", "/sys"):
        if os.path.isdir(folder):
            assert user.output(f"ls -A {folder}") == "", folder


def test_its_tmp_is_its_own_and_writable(user: User) -> None:
    script = "echo x >/tmp/lcpy-mine; cat /tmp/lcpy-mine; echo y >/dev/shm/lcpy-mine; cat /dev/shm/lcpy-mine"
    assert user.output(script) == "x\ny\n"
    assert not os.path.exists("/tmp/lcpy-mine")
    assert not os.path.exists("/dev/shm/lcpy-mine")


def test_devices(user: User) -> None:
    assert (
        user.output("head -c2 /dev/zero | od -An -tx1; head -c9 /dev/urandom | wc -c; echo >/dev/null") == " 00 00\n9\n"
    )
    allowed = {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty"}
    assert set(user.output("ls /dev").split()) <= allowed | {"urandom", "zero", "core"}


def test_processes_of_the_host_are_not_seen(user: User) -> None:
    assert len(user.output("echo /proc/[0-9]*").split()) == 2
    for kind in ("pid", "net", "ipc", "uts", "mnt", "cgroup"):
        assert user.output(f"readlink /proc/self/ns/{kind}").strip() != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_there_is_no_network(user: User) -> None:
    assert [line.split(":")[0].strip() for line in user.output("cat /proc/net/dev").splitlines()[2:]] == ["lo"]


@pytest.fixture
def listeners() -> Iterator[list[str]]:
    """Sockets of the host's, which anybody may connect to, all over the place."""
    folders = [
        tempfile.mkdtemp(prefix="lcpy-", dir=place) for place in ("/srv", "/var/lib", "/tmp", "/run", "/opt", "/usr")
    ]
    folders.append(tempfile.mkdtemp(prefix="lcpy-", dir=os.path.expanduser("~")))
    paths = [f"{folder}/socket" for folder in folders]
    paths.append(f"@lcpy-{os.urandom(8).hex()}")
    made: list[socket.socket] = []
    try:
        made += map(listener, paths)
        inet = socket.create_server(("127.0.0.1", 0), backlog=100)
        made.append(inet)
        yield [*paths, f"tcp:{inet.getsockname()[1]}"]
    finally:
        for one in made:
            one.close()
        for folder in folders:
            shutil.rmtree(folder)


def listener(path: str) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.bind("\0" + path[1:] if path.startswith("@") else path)
    one.listen(100)
    if not path.startswith("@"):
        os.chmod(path, 0o777)
        os.chmod(os.path.dirname(path), 0o755)
    return one


def test_no_socket_of_the_host_can_be_connected(user: User, listeners: list[str]) -> None:
    python = python_for_everybody()  # that of a virtual environment may lie in a hidden directory
    given = "".join(f"{path}\n" for path in listeners).encode()
    outside = subprocess.run([python, "-c", CONNECT], input=given, capture_output=True, timeout=PATIENCE)
    assert outside.stdout.split() == [b"ready", *[b"connected"] * len(listeners)]
    process = user.popen("-m", "libcontainer_py", "sandbox", "--", python, "-I", "-c", CONNECT)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    later = [f"{os.path.dirname(path)}/later" for path in listeners if path.startswith("/")]
    opened = [listener(path) for path in later]
    try:
        for path in (*listeners, *later):
            process.stdin.write(f"{path}\n".encode())
            process.stdin.flush()
            answer = process.stdout.readline().decode().strip()
            assert answer in ("ConnectionRefusedError", "FileNotFoundError", "PermissionError"), path
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
        for one in opened:
            one.close()


# -- side by side -----------------------------------------------------------------------------------------------------


def test_many_at_once(user: User) -> None:
    code = (
        "import concurrent.futures\n"
        "from libcontainer_py import run\n"
        "with concurrent.futures.ThreadPoolExecutor(8) as pool:\n"
        "    results = pool.map(lambda n: run(['sh', '-c', f'echo {n}; exit {n}']), range(24))\n"
        "    print([(r.returncode, r.stdout) for r in results] == [(n, b'%d\\n' % n) for n in range(24)])\n"
    )
    process = user.popen("-c", code)
    output, error = process.communicate(timeout=PATIENCE)
    assert (output, error) == (b"True\n", b"")


def test_a_program_that_is_not_there_leaves_nothing(user: User) -> None:
    process = user.popen("-c", "from libcontainer_py import run\nrun(['no-such-program'])")
    _, error = process.communicate(timeout=PATIENCE)
    assert b'ProgramNotFound: exec: "no-such-program": executable file not found in $PATH' in error
