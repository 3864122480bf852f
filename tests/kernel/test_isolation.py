"""What of the host's must not reach a container: interpreter, descriptors, signals, terminal; nor its modules us."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from libcontainer_py import Container, LinuxBackend, ProgramNotFound, Spec
from libcontainer_py.backends import forkservers
from libcontainer_py.backends.base import CreateRequest
from libcontainer_py.kernel.constants import CAPABILITIES
from tests.kernel.workshop import NOBODY, PATIENCE, Config, Workshop, python_for_everybody, python_mounts, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALL_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
EROFS = errno.EROFS

# Tries every way to write to files of /proc that lead to executables and libraries: one line of JSON for each. None of
# the ways changes anything where it succeeds. A running program is busy (ETXTBSY) before anybody looks at the mount;
# truncate and chmod look at the mount first.
ATTACK = """
import errno, json, os, sys
def tried(path, what, act):
    try:
        target = os.readlink(path)
    except PermissionError:
        target = ""
    try:
        act()
    except OSError as error:
        print(json.dumps([path, target, what, errno.errorcode[error.errno]]))
    else:
        print(json.dumps([path, target, what, "DONE"]))
def attack(path):
    tried(path, "open", lambda: os.close(os.open(path, os.O_WRONLY)))
    tried(path, "open rw", lambda: os.close(os.open(path, os.O_RDWR | os.O_APPEND)))
    tried(path, "truncate", lambda: os.truncate(path, os.stat(path).st_size))
    tried(path, "chmod", lambda: os.chmod(path, os.stat(path).st_mode & 0o7777))
for pid in sys.argv[1:] or ["self"]:
    attack(f"/proc/{pid}/exe")
    folder = f"/proc/{pid}/map_files"
    try:
        for name in os.listdir(folder):
            attack(f"{folder}/{name}")
    except PermissionError:
        pass
"""


class Attempt:
    """A line of ATTACK's."""

    def __init__(self, line: str) -> None:
        self.path, self.target, self.what, self.result = json.loads(line)

    def __repr__(self) -> str:
        return f"{self.what} {self.path} ({self.target}): {self.result}"

    @property
    def refused(self) -> bool:
        """Whether it was refused for the mount's sake, or for the right to follow the link.

        Busy is no protection, but for that there are the other ways into the same file.
        """
        busy = self.what.startswith("open") and self.result == "ETXTBSY"
        return busy or self.result in ("EROFS", "EPERM", "EACCES")


def attempts(text: str) -> list[Attempt]:
    return [Attempt(line) for line in text.splitlines()]


def all_capabilities(config: Config) -> Config:
    """Everything that can be granted here."""
    ours = int(re.search(r"CapPrm:\s*(\w+)", Path("/proc/self/status").read_text())[1], 16)  # type: ignore[index]
    names = [name for bit, name in enumerate(CAPABILITIES) if ours >> bit & 1]
    config["process"]["capabilities"] = dict.fromkeys(ALL_SETS, names)
    config["process"]["noNewPrivileges"] = False
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
    return config


@pytest.fixture
def config() -> Config:
    return all_capabilities(runc_spec())


def debian(folder: Path) -> str:
    path = "/usr/bin/python3"
    check = [path, "-c", "import sys, ctypes; sys.exit(sys.version_info < (3, 10))"]
    if not os.path.exists(path) or subprocess.run(check).returncode:
        pytest.skip("needs Debian's python3, of 3.10 or later: apt-get install python3")
    return path


def venv(folder: Path) -> str:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    return str(folder / "venv/bin/python")


def copied(folder: Path) -> str:
    """A copy that nobody else executes, so that it is not busy."""
    return str(shutil.copy(os.path.realpath(sys.executable), folder / "python"))


@pytest.fixture(params=[debian, venv, copied])
def interpreter(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An interpreter of the host's."""
    find: Callable[[Path], str] = request.param
    return find(tmp_path)


@pytest.fixture
def attacked(tmp_path: Path, root_only: None, peer: Callable[[str], str], interpreter: str) -> Iterator[Workshop]:
    """A workshop whose inits are made by this interpreter."""
    shop = Workshop(tmp_path, peer("busybox"), lambda root: LinuxBackend(root, python=interpreter))
    yield shop
    shop.clean()
    forkservers.shutdown()


def mounts_of(interpreter: str) -> list[Config]:
    """What the interpreter needs to run in the container."""
    prefix = subprocess.run(
        [interpreter, "-I", "-c", "import sys; print(sys.base_prefix)"], check=True, capture_output=True, text=True
    ).stdout.strip()
    mounts = python_mounts()
    if all(not prefix.startswith(mount["destination"]) for mount in mounts):
        mounts.append({"destination": prefix, "source": prefix, "options": ["rbind", "ro"]})
    return mounts


def script(shop: Workshop, config: Config, interpreter: str, code: str) -> Path:
    """A bundle whose program is a script with `#!/proc/self/exe`: what init is running, the host's interpreter."""
    config["mounts"] += mounts_of(interpreter)
    config["process"]["args"] = ["/bin/attack"]
    bundle = shop.bundle(config)
    (bundle / "rootfs/bin/attack").write_text(f"#!/proc/self/exe\n{code}")
    (bundle / "rootfs/bin/attack").chmod(0o755)
    return bundle


def test_a_script_for_proc_self_exe_cannot_write_the_interpreter(
    attacked: Workshop, config: Config, interpreter: str
) -> None:
    bundle = script(attacked, config, interpreter, ATTACK)
    found = [one for one in attempts(attacked.output(bundle)) if one.path == "/proc/self/exe"]
    assert {os.path.basename(one.target) for one in found} == {os.path.basename(os.path.realpath(interpreter))}
    assert {one.what: one.result for one in found if not one.what.startswith("open")} == {
        "truncate": "EROFS",
        "chmod": "EROFS",
    }
    assert [one for one in found if not one.refused] == []


def test_the_whole_attack_on_the_interpreter(tmp_path: Path, workshop: Workshop, config: Config) -> None:
    # It opens the interpreter for reading, executes something else, and writes when nobody is running it any more.
    python = copied(tmp_path)
    shop = Workshop(tmp_path / "own", shutil.which("busybox") or "", lambda root: LinuxBackend(root, python=python))
    code = (
        "import os\n"
        "fd = os.dup2(os.open('/proc/self/exe', os.O_RDONLY), 9)\n"
        "say = 'readlink /proc/self/fd/9; echo held; read go; echo x >>/proc/self/fd/9; echo $?'\n"
        "os.execv('/bin/busybox', ['sh', '-c', say])\n"
    )
    bundle = script(shop, config, python, code)
    before = Path(python).read_bytes()
    ours, theirs = socket.socketpair()
    try:
        with ours, shop.create(bundle, stdin=theirs, stdout=theirs, stderr=theirs) as container:
            theirs.close()
            container.start()
            forkservers.shutdown()
            with ours.makefile("rw") as stream:
                target = stream.readline().strip()
                assert (os.path.basename(target), stream.readline()) == (os.path.basename(python), "held\n")
                with open(python, "ab"):
                    pass  # nobody runs it
                stream.write("go\n")
                stream.flush()
                assert stream.readline() == "sh: can't create /proc/self/fd/9: Read-only file system\n"
                assert stream.readline() == "1\n"
            container.wait(PATIENCE)
    finally:
        shop.clean()
    assert Path(python).read_bytes() == before


def test_no_library_that_is_mapped_in_init_can_be_written(attacked: Workshop, config: Config, interpreter: str) -> None:
    # Pid 1 is our reaper, with all the libraries of an init that waits; the program beside it has every capability.
    config["mounts"] += python_mounts()
    config["process"]["args"] = [os.path.realpath(sys.executable), "-I", "-S", "-c", ATTACK, "1"]
    config["root"]["path"] = str(attacked.rootfs(attacked.folder / "rootfs"))
    path = attacked.folder / "output"
    with path.open("wb") as file:
        spec = Spec.from_json(json.dumps(config))
        request = CreateRequest(attacked.new_id(), "", spec, None, file.fileno(), None, reaper=True)
        with Container.of(attacked.factory.backend, attacked.factory.backend.create(request), owner=True) as container:
            container.start()
            assert container.wait(PATIENCE).returncode == 0
    found = attempts(path.read_text())
    assert [one for one in found if not one.refused] == []
    targets = {os.path.basename(one.target) for one in found if one.result == "EROFS"}
    assert os.path.basename(os.path.realpath(interpreter)) in targets
    assert [name for name in targets if name.startswith(("libc.so", "libc-"))]
    assert [name for name in targets if name.startswith("_ctypes")]
    assert len(targets) > 4


def test_the_fork_server_cannot_be_written_through_the_hosts_pid_namespace(
    attacked: Workshop, config: Config, interpreter: str
) -> None:
    config["linux"]["namespaces"] = [{"type": kind} for kind in ("mount", "network", "ipc", "uts")]
    with attacked.create(config | {"process": config["process"] | {"args": ["/bin/busybox", "true"]}}):
        pass  # the fork server is there now
    (server,) = [pid for pid in children() if interpreter in arguments_of(pid) and "forkserver" in arguments_of(pid)[4]]
    config["mounts"] += python_mounts()
    config["process"]["args"] = [os.path.realpath(sys.executable), "-I", "-S", "-c", ATTACK, server]
    found = attempts(attacked.output(config))
    assert [one for one in found if not one.refused] == []
    assert len([one for one in found if one.result == "EROFS"]) > 10


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def arguments_of(pid: str) -> list[str]:
    return [*Path(f"/proc/{pid}/cmdline").read_text().split("\0"), "", "", "", "", ""]


def test_the_attack_sees_what_is_not_protected(workshop: Workshop, config: Config, tmp_path: Path) -> None:
    # so that the tests above can fail: the same attempts on a program of the container's that is writable
    python = copied(tmp_path)
    config["root"]["readonly"] = False
    config["mounts"] += [*python_mounts(), {"destination": "/own", "source": str(tmp_path), "options": ["bind"]}]
    config["process"]["args"] = ["/own/python", "-I", "-S", "-c", ATTACK]
    found = [one for one in attempts(workshop.output(config)) if one.path == "/proc/self/exe"]
    assert {one.what: one.result for one in found} == {
        "open": "ETXTBSY",
        "open rw": "ETXTBSY",
        "truncate": "ETXTBSY",
        "chmod": "DONE",
    }
    assert os.path.exists(python)


# As an ordinary user whose interpreter is his own: run as him, with the package where he may read it.
OF_A_USER = """
import json, os, sys
from libcontainer_py import Container, LinuxBackend, Spec
from libcontainer_py.backends.base import CreateRequest
folder, python, reaper = sys.argv[1], sys.argv[2], sys.argv[3] == "reaper"
spec = Spec.from_json(open(folder + "/config.json").read())
backend = LinuxBackend(folder + "/root", python=python)
with open(folder + "/output", "wb") as file:
    request = CreateRequest("attacked", "", spec, None, file.fileno(), file.fileno(), reaper=reaper)
    with Container.of(backend, backend.create(request), owner=True) as container:
        container.start()
        assert container.wait(60).returncode == 0, open(folder + "/output").read()
"""


@pytest.mark.parametrize("way", ["script", "reaper"])
def test_an_ordinary_users_own_interpreter(
    workshop: Workshop, config: Config, as_nobody: Callable[..., subprocess.CompletedProcess[str]], way: str
) -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        of_all = python_for_everybody()
        python = str(shutil.copy(of_all, folder / "python"))
        config["process"]["capabilities"] = {name: [*CAPABILITIES] for name in ALL_SETS}
        config["process"]["rlimits"] = []
        config["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "mount", "user", "uts", "ipc", "network")]
        mapping = [{"containerID": 0, "hostID": NOBODY, "size": 1}]
        config["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
        del config["linux"]["resources"]
        config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] in ("/proc", "/dev")]
        config["mounts"] += python_mounts("/usr") if of_all.startswith("/usr/") else python_mounts()
        config["root"] = {"path": str(workshop.rootfs(folder / "rootfs"))}
        if way == "script":
            config["process"]["args"] = ["/bin/attack"]
            (folder / "rootfs/bin/attack").write_text(f"#!/proc/self/exe\n{ATTACK}")
            (folder / "rootfs/bin/attack").chmod(0o755)
        else:
            config["process"]["args"] = [of_all, "-I", "-S", "-c", ATTACK, "1"]
        (folder / "config.json").write_text(json.dumps(config))
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        done = as_nobody("-c", OF_A_USER, str(folder), python, way)
        assert done.returncode == 0, done.stderr
        found = attempts((folder / "output").read_text())
        assert [one for one in found if not one.refused] == []
        of_exe = {one.what: one.result for one in found if one.path.endswith("/exe")}
        # pid 1 is no process of the user namespace's: not even the links can be followed
        assert of_exe["truncate"] == of_exe["chmod"] == ("EROFS" if way == "script" else "EACCES")
    finally:
        shutil.rmtree(folder)


# -- modules ----------------------------------------------------------------------------------------------------------


def booby_trap(rootfs: Path) -> None:
    """Modules of every standard name, wherever the interpreter of an init could look for them."""
    folders = [path for path in sys.path if path.startswith("/")] + [str(Path(os.__file__).parent), "/"]
    folders.append(str(Path(forkservers.__file__).parents[2]))
    for folder in dict.fromkeys(folders):
        place = rootfs / folder.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for name in (*sys.stdlib_module_names, "libcontainer_py", "sitecustomize"):
            (place / f"{name}.py").write_text("open('/marker', 'a').write(__name__ + ' ')\nraise SystemExit\n")


@pytest.mark.parametrize("program", ["/bin/sh", "/bin/nowhere"])
def test_no_module_of_the_root_file_system_is_imported(workshop: Workshop, program: str) -> None:
    config = runc_spec()
    config["root"]["readonly"] = False
    config["process"]["args"] = [program, "-c", "echo fine"]
    config["hooks"] = {"startContainer": [{"path": "/bin/busybox", "args": ["true"]}]}
    bundle = workshop.bundle(config)
    booby_trap(bundle / "rootfs")
    if program == "/bin/sh":
        assert workshop.output(bundle) == "fine\n"
    else:
        with pytest.raises(ProgramNotFound):
            workshop.create(bundle)
    assert not (bundle / "rootfs/marker").exists()


LIFE = """
import sys
from libcontainer_py import Factory
with Factory(sys.argv[1]).create(sys.argv[2], sys.argv[3]) as container:
    container.start()
    assert container.wait(60).returncode == 0
"""


def test_init_opens_no_module_after_pivot_root(workshop: Workshop, peer: Callable[[str], str]) -> None:
    trace = workshop.folder / "trace"
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "true"]
    calls = "trace=open,openat,openat2,pivot_root,execve,execveat"
    arguments = [str(workshop.root), workshop.new_id(), str(workshop.bundle(config))]
    command = [peer("strace"), "-f", "-qq", "-e", calls, "-o", str(trace), sys.executable, "-c", LIFE, *arguments]
    subprocess.run(command, check=True, timeout=PATIENCE)
    lines = [line.split(maxsplit=1) for line in trace.read_text().splitlines()]
    (at,) = [index for index, (_, call) in enumerate(lines) if call.startswith("pivot_root(")]
    init = lines[at][0]
    before = [call for pid, call in lines[:at] if pid == init]
    after = [call for pid, call in lines[at:] if pid == init]
    ((end, _),) = [(index, call) for index, call in enumerate(after) if call.startswith("execve(")]
    opened = [call for call in after[:end] if call.startswith("open")]
    assert before
    assert opened, "the fifo at least"
    assert [call for call in opened if re.search(r"\.(py|pyc|so|pth|zip)\b|python|site-packages", call)] == []


# -- descriptors, signals, terminal -----------------------------------------------------------------------------------


def test_no_descriptor_of_the_host_leaks(workshop: Workshop, tmp_path: Path) -> None:
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "ls", "-l", "/proc/self/fd"]
    opened = [os.open(tmp_path, os.O_RDONLY), *os.pipe(), os.memfd_create("host")]
    high = os.dup2(opened[0], 200)
    for descriptor in (*opened, high):
        os.set_inheritable(descriptor, True)
    try:
        forkservers.shutdown()  # a new fork server could inherit them
        listed = workshop.output(config).splitlines()
    finally:
        for descriptor in (*opened, high):
            os.close(descriptor)
    seen = {int(match[1]): match[2] for line in listed if (match := re.search(r" (\d+) -> (.*)", line))}
    assert set(seen) == {0, 1, 2}


def test_an_init_that_waits_has_no_way_to_the_host(workshop: Workshop) -> None:
    # whoever shares its pid namespace and may ptrace it follows /proc/PID/fd
    with workshop.create(runc_spec()) as container:
        descriptors = Path(f"/proc/{container.init_pid}/fd")
        directories = [path for path in descriptors.iterdir() if path.is_dir()]
        assert directories  # its own descriptors, through which it opens exec.fifo
        for directory in directories:
            for up in ("", "..", "../../.."):
                assert {*os.listdir(directory / up)} <= {*os.listdir(descriptors)}


def test_no_descriptor_reaches_the_command_of_a_reaper(workshop: Workshop, tmp_path: Path) -> None:
    from libcontainer_py import run

    result = run(["/usr/bin/env", "ls", "/proc/self/fd"], factory=workshop.factory)
    assert result.stdout == b"0\n1\n2\n3\n"


@pytest.mark.parametrize("fresh", [True, False])
def test_no_signal_is_ignored_or_blocked(workshop: Workshop, fresh: bool) -> None:
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/status"]
    if fresh:
        forkservers.shutdown()
    blocked = {signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD, signal.SIGRTMIN + 5}
    ignored = (signal.SIGUSR2, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGRTMIN + 6)
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        status = workshop.output(config)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    masks = dict(re.findall(r"^(Sig\w+|ShdPnd):\t([0-9a-f]+)$", status, re.MULTILINE))
    assert {name: int(mask, 16) for name, mask in masks.items()} == dict.fromkeys(
        ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"), 0
    )


TTY = """
import os, sys
from libcontainer_py import Factory
def terminal():
    with open("/proc/self/stat") as file:
        return int(file.read().rpartition(")")[2].split()[4])
assert terminal() != 0
with Factory(sys.argv[1]).create(sys.argv[2], sys.argv[3]) as container:
    container.start()
    sys.exit(container.wait(60).returncode)
"""


def test_no_controlling_terminal(workshop: Workshop) -> None:
    config = runc_spec()
    config["process"]["args"] = [
        "/bin/sh",
        "-c",
        "cut -d' ' -f1,5,6,7 /proc/$$/stat >/seen; [ -t 0 ] && ! cat </dev/tty",
    ]
    config["root"]["readonly"] = False
    bundle = workshop.bundle(config)
    master, slave = os.openpty()
    try:
        done = subprocess.run(
            [
                "setsid",
                "--ctty",
                "--wait",
                sys.executable,
                "-c",
                TTY,
                str(workshop.root),
                workshop.new_id(),
                str(bundle),
            ],
            stdin=slave,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    finally:
        os.close(master)
        os.close(slave)
    assert (done.returncode, done.stderr) == (0, "/bin/sh: can't open /dev/tty: No such device or address\n")
    pid, group, session, terminal = (bundle / "rootfs/seen").read_text().split()
    assert (pid, group, session, terminal) == ("1", "1", "1", "0")
