"""What an import loads, as sys.modules of a fresh interpreter tells it: milliseconds depend on the machine.

Also: the whole package can be imported on systems that lack what is Linux's alone.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import typing_extensions

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "libcontainer_py"
MODULES = sorted(
    ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)
LIGHT = {"kernel", "init"}  # what becomes a container's init
UNDER_THE_VERBS = {"backends", "state", "container", "factory", "lifecycle"}
# loaded by create, spawn and stats alone, which need classes of attrs anyway
ON_DEMAND = {f"libcontainer_py.backends.{name}" for name in ("preparation", "demands", "spawning", "memory.statistics")}


def within(rooms: set[str]) -> list[str]:
    return [name for name in MODULES if name.partition(".")[2].split(".")[0] in rooms and name not in ON_DEMAND]


IMPORTABLE = [name for name in MODULES if name != "libcontainer_py.__main__"]  # which runs the command

# Where the dependencies are: the interpreter starts without site, whose .pth files may load anything.
SITE = sorted({str(Path(module.__file__).parents[depth]) for module, depth in ((attrs, 1), (typing_extensions, 0))})

INIT_MAY_NOT_LOAD = {
    "argparse", "attr", "attrs", "dataclasses", "enum", "inspect", "json", "re", "signal", "socket", "typing",
    "typing_extensions",
}  # fmt: skip
VERBS_MAY_NOT_LOAD = {"argparse", "attr", "attrs", "dataclasses", "inspect", "typing_extensions"}


def fresh(code: str, *arguments: str) -> list[str]:
    """Run code in an interpreter that has loaded nothing yet. Returns the lines that it printed."""
    prelude = f"import sys\nsys.path[:0] = {[str(CHECKOUT), *SITE]!r}\nbefore = set(sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", prelude + code, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_the_package_loads_itself_alone() -> None:
    loaded = fresh("import libcontainer_py\nprint(*sorted(set(sys.modules) - before), sep='\\n')")
    assert loaded == ["__future__", "libcontainer_py"]


@pytest.mark.parametrize("name", within(LIGHT))
def test_what_becomes_init_stays_light(name: str) -> None:
    loaded = fresh(f"import {name}\nprint(*sys.modules, sep='\\n')")
    assert INIT_MAY_NOT_LOAD.intersection(loaded) == set()


@pytest.mark.parametrize("name", within(UNDER_THE_VERBS))
def test_the_rooms_under_the_verbs_load_no_attrs(name: str) -> None:
    loaded = fresh(f"import {name}\nprint(*sys.modules, sep='\\n')")
    assert VERBS_MAY_NOT_LOAD.intersection(loaded) == set()


def test_an_error_is_light() -> None:
    loaded = fresh("from libcontainer_py import ContainerNotFound\nprint(*sys.modules, sep='\\n')")
    ours = [name for name in loaded if name.startswith("libcontainer_py")]
    assert ours == ["libcontainer_py", "libcontainer_py.errors"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_load_and_status(tmp_path: Path) -> None:
    directory = tmp_path / "root" / "c1"
    directory.mkdir(parents=True)
    directory.parent.chmod(0o700)
    state = {
        "id": "c1",
        "init_process_pid": 2**22 + 1,  # above pid_max: nobody's
        "init_process_start": 1,
        "created": "2026-01-02T03:04:05.678901234Z",
        "config": {
            "rootfs": "/nowhere",
            "labels": ["bundle=/nowhere"],
            "version": "1.0.2",
            "namespaces": [{"type": "NEWPID", "path": ""}],
            "cgroups": {"name": "c1", "path": "/c1"},
        },
        "rootless": False,
        "cgroup_paths": {},
        "namespace_paths": {},
        "external_descriptors": ["/dev/null", "/dev/null", "/dev/null"],
        "intel_rdt_path": "",
    }
    (directory / "state.json").write_text(json.dumps(state), encoding="utf-8")
    code = (
        "from libcontainer_py import Factory\n"
        "print(Factory(sys.argv[1]).load('c1').status)\n"
        "print(*sys.modules, sep='\\n')"
    )
    status, *loaded = fresh(code, str(directory.parent))
    assert status == "stopped"
    assert VERBS_MAY_NOT_LOAD.intersection(loaded) == set()
    # reading a state needs nothing of what makes containers
    assert not [name for name in loaded if name.startswith(("libcontainer_py.plan", "libcontainer_py.init.executor"))]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize("verb", ["start", "state", "kill", "delete", "pause", "resume"])
def test_the_verbs_of_the_command_line_that_engines_call_most(verb: str, tmp_path: Path) -> None:
    """A container that is not there will do: all is loaded by the time that it is looked for."""
    code = (
        "from libcontainer_py.cli import main\n"
        f"code = main(['--root', sys.argv[1], '--log', '/dev/null', {verb!r}, 'nope'])\n"
        "print(code, *sys.modules, sep='\\n')"
    )
    tmp_path.chmod(0o700)
    code_of_exit, *loaded = fresh(code, str(tmp_path))
    assert code_of_exit == "1"
    assert {*VERBS_MAY_NOT_LOAD, "typing", "re", "json", "threading", "ctypes"}.intersection(loaded) == set()
    assert "libcontainer_py.backends.linux" in loaded


# -- other systems ----------------------------------------------------------------------------------------------------

# What CPython on these systems does not have. Windows lacks all that macOS lacks, and more.
NOT_ON_DARWIN = {
    "os": """
        CLONE_FILES CLONE_FS CLONE_NEWCGROUP CLONE_NEWIPC CLONE_NEWNET CLONE_NEWNS CLONE_NEWPID CLONE_NEWUSER
        CLONE_NEWUTS EFD_CLOEXEC MFD_ALLOW_SEALING MFD_CLOEXEC O_DIRECT O_LARGEFILE O_NOATIME O_PATH O_RSYNC
        O_TMPFILE P_PIDFD PIDFD_NONBLOCK copy_file_range eventfd getrandom getxattr listxattr memfd_create
        pidfd_open pipe2 posix_fadvise posix_fallocate sched_getaffinity sched_setaffinity setns setresgid
        setresuid setxattr splice timerfd_create unshare
    """,
    "select": """
        epoll EPOLLIN EPOLLOUT EPOLLHUP EPOLLERR
    """,
    "_signal": """
        pidfd_send_signal SIGCLD SIGPOLL SIGPWR SIGRTMAX SIGRTMIN SIGSTKFLT sigtimedwait sigwaitinfo
    """,
    "_socket": """
        AF_NETLINK AF_PACKET AF_VSOCK SO_PEERSEC SO_PASSCRED SCM_CREDENTIALS
    """,
}
NOT_ON_WINDOWS = {
    "os": """
        O_ASYNC O_CLOEXEC O_DIRECTORY O_DSYNC O_NDELAY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC P_ALL P_PGID
        P_PID WCONTINUED WEXITED WEXITSTATUS WIFEXITED WIFSIGNALED WNOHANG WNOWAIT WSTOPPED WTERMSIG WUNTRACED
        chown chroot fchdir fchmod fchown fork forkpty fdatasync getegid geteuid getgid getgroups getpgid
        getpgrp getpriority getresgid getresuid getsid getuid initgroups killpg lchown lockf major makedev
        minor mkfifo mknod nice openpty posix_openpt posix_spawn pread preadv pwrite readv register_at_fork
        sendfile setegid seteuid setgid setgroups setpgid setpriority setregid setreuid setsid setuid statvfs
        sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 waitid writev
    """,
    "select": """
        poll POLLIN POLLOUT POLLHUP POLLERR POLLNVAL
    """,
    "_signal": """
        ITIMER_REAL SIGALRM SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGTTIN
        SIGTTOU SIGUSR1 SIGUSR2 SIGWINCH SIG_BLOCK SIG_SETMASK SIG_UNBLOCK pthread_kill pthread_sigmask
        setitimer sigwait
    """,
    "_socket": """
        AF_UNIX CMSG_LEN CMSG_SPACE MSG_CMSG_CLOEXEC MSG_DONTWAIT MSG_NOSIGNAL SCM_RIGHTS SOCK_CLOEXEC
        SOCK_SEQPACKET socketpair
    """,
}
NO_MODULES_ON_WINDOWS = ["_posixsubprocess", "fcntl", "grp", "pty", "pwd", "readline", "resource", "termios", "tty"]

ELSEWHERE = """
import importlib, json
platform, blocked, missing, preload, names = json.loads(sys.argv[1])
for name in preload:  # Python's own modules and the dependencies: not what is tested, and they look at sys.platform
    importlib.import_module(name)
for module, attributes in missing:
    for attribute in attributes.split():
        if hasattr(sys.modules.get(module), attribute):
            delattr(sys.modules[module], attribute)
for name in blocked:
    sys.modules[name] = None
sys.platform = platform
for name in names:
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(f"{name}: {type(error).__name__}: {error}")
"""


def foreign_imports() -> list[str]:
    """All modules that the package names at the top of its modules and that are not its own."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
    return sorted(name for name in found if not name.startswith("libcontainer_py"))


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_the_package_imports_elsewhere(platform: str) -> None:
    tables = [NOT_ON_DARWIN] if platform == "darwin" else [NOT_ON_DARWIN, NOT_ON_WINDOWS]
    blocked = [] if platform == "darwin" else NO_MODULES_ON_WINDOWS
    missing = [item for table in tables for item in table.items()]
    preload = ["os", "select", "_signal", "_socket", *(name for name in foreign_imports() if name not in blocked)]
    assert fresh(ELSEWHERE, json.dumps([platform, blocked, missing, preload, IMPORTABLE])) == []
