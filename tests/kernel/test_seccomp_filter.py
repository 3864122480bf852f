"""Filters in the kernel: loaded in a forked child, which then makes the calls that they are about."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from libcontainer_py.kernel import constants, libc, seccomp
from libcontainer_py.plan.default_seccomp import default_seccomp
from libcontainer_py.plan.seccomp import compile_filter
from libcontainer_py.spec.linux import Seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

ALLOW_ALL = "SCMP_ACT_ALLOW"
CLONE_NEWUTS = 0x04000000


def in_child(work: Callable[[], str]) -> tuple[str, int]:
    """Run `work` in a forked child. Returns what it returned, and the child's exit code, or minus its signal."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(60)  # a call that nobody answers would hang
            os.close(reader)
            os.write(writer, work().encode())
        except BaseException as error:  # noqa: BLE001  (whatever it is, the parent must hear of it)
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read().decode()
    return said, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def load(profile: Seccomp) -> int | None:
    """Load a filter for a profile; also as an ordinary user."""
    made = compile_filter(profile, os.uname().machine)
    libc.prctl(constants.PR_SET_NO_NEW_PRIVS, 1)
    return seccomp.set_mode_filter(made.program, made.flags)


def rule(action: str, *names: str, **fields: object) -> Seccomp:
    return Seccomp.from_dict(
        {
            "defaultAction": ALLOW_ALL,
            "syscalls": [{"names": names, "action": f"SCMP_ACT_{action}", **fields}],
            "listenerPath": "/nowhere",
        }
    )


def outcome(call: Callable[[], object]) -> str:
    """`ok`, or the name of the errno."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def field(name: str) -> str:
    """A line of /proc/self/status."""
    with open("/proc/self/status", encoding="ascii") as file:
        match = re.search(rf"^{name}:\s*(.*)$", file.read(), re.MULTILINE)
    assert match
    return match[1]


def test_errno() -> None:
    def work() -> str:
        before = int(field("Seccomp_filters"))
        load(rule("ERRNO", "umask", "mkdir", "mkdirat", errnoRet=61))
        more = int(field("Seccomp_filters")) - before
        return f"{outcome(lambda: os.mkdir('/nowhere/x'))} {field('Seccomp')} {more}"

    assert in_child(work) == ("ENODATA 2 1", 0)


@pytest.mark.parametrize("action", ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"])
def test_killed_by_sigsys(action: str) -> None:
    def work() -> str:
        load(rule(action, "umask"))
        os.umask(0)
        return "survived"

    assert in_child(work) == ("", -signal.SIGSYS)


CPUINFO = Path("/proc/cpuinfo")
IN_USER_MODE = CPUINFO.exists() and "User Mode Linux" in CPUINFO.read_text()


@pytest.mark.skipif(IN_USER_MODE, reason="user-mode-linux sends no SIGSYS for SECCOMP_RET_TRAP")
def test_trap_can_be_caught() -> None:
    def work() -> str:
        caught: list[int] = []
        signal.signal(signal.SIGSYS, lambda number, frame: caught.append(number))
        load(rule("TRAP", "umask"))
        os.umask(0)
        return str(caught == [signal.SIGSYS])

    assert in_child(work) == ("True", 0)


@pytest.mark.parametrize(("action", "expected"), [("LOG", "ok"), ("ALLOW", "ok"), ("TRACE", "ENOSYS")])
def test_actions_that_go_on(action: str, expected: str) -> None:
    # nobody traces: then a call that is to be traced is as if it did not exist
    def work() -> str:
        made = rule(action, "mkdir", "mkdirat", **({"errnoRet": 5} if action == "TRACE" else {}))
        load(made if action != "ALLOW" else rule("ERRNO", "umask"))
        return outcome(lambda: os.listdir("/")) + " " + outcome(lambda: os.mkdir("/nowhere/x")).replace("ENOENT", "ok")

    assert in_child(work) == (f"ok {expected}", 0)


def test_arguments() -> None:
    def work() -> str:
        args = [{"index": 1, "value": 0xFF, "valueTwo": 0o022, "op": "SCMP_CMP_MASKED_EQ"}]
        load(rule("ERRNO", "fchmod", args=args))
        descriptor = os.open("/dev/null", os.O_RDONLY | os.O_PATH)  # for which fchmod says EBADF
        modes = (0o022, 0o777, 0o1022, 0o1023)
        return " ".join(outcome(lambda mode=mode: os.fchmod(descriptor, mode)) for mode in modes)

    # 0o1022 is 0x212
    assert in_child(work) == ("EPERM EBADF EPERM EBADF", 0)


def test_a_wide_argument() -> None:
    value = 0x1_0000_0005

    def work() -> str:
        load(rule("ERRNO", "prctl", args=[{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}], errnoRet=61))
        asked = (value, 5, value + 1, value + (1 << 32))
        return " ".join(outcome(lambda number=number: libc.prctl(0x7FFFFFFF, number)) for number in asked)

    # there is no such option
    assert in_child(work) == ("ENODATA EINVAL EINVAL EINVAL", 0)


def test_new_calls_do_not_exist() -> None:
    def work() -> str:
        profile = Seccomp.from_dict(
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [
                    {"names": ["write", "exit_group", "brk", "mmap", "munmap", "futex", "close"], "action": ALLOW_ALL}
                ],
            }
        )
        library = ctypes.CDLL(None, use_errno=True)
        getpid = 39 if os.uname().machine == "x86_64" else 172
        load(profile)
        library.syscall(ctypes.c_long(439), 0, 0, 0, 0)  # faccessat2
        new = ctypes.get_errno()
        library.syscall(ctypes.c_long(getpid))
        return f"{errno.errorcode[new]} {errno.errorcode[ctypes.get_errno()]}"

    assert in_child(work) == ("ENOSYS EPERM", 0)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs x86_64, this is another machine")
def test_a_listener_is_asked_and_answers() -> None:
    # struct seccomp_notif is 80 bytes, struct seccomp_notif_resp 24: seccomp_unotify(2)
    receive, send = 0xC0502100, 0xC0182101

    def work() -> str:
        listener = load(rule("NOTIFY", "mkdir"))
        assert listener is not None
        assert not os.get_inheritable(listener)
        seen: list[int] = []

        def answer() -> None:
            asked = bytearray(80)
            fcntl.ioctl(listener, receive, asked)
            seen.append(int.from_bytes(asked[16:20], "little"))
            # id, value, error, flags
            fcntl.ioctl(listener, send, asked[:8] + bytes(8) + (-61).to_bytes(4, "little", signed=True) + bytes(4))

        agent = threading.Thread(target=answer)
        agent.start()
        answered = outcome(lambda: os.mkdir("/nowhere/x"))
        agent.join()
        return f"{answered} {seen} {outcome(lambda: load(rule('NOTIFY', 'umask')))}"

    assert in_child(work) == ("ENODATA [83] EBUSY", 0)


def test_threads_follow_with_tsync() -> None:
    def work() -> str:
        made = compile_filter(rule("ERRNO", "mkdir", "mkdirat", errnoRet=61), os.uname().machine)
        libc.prctl(constants.PR_SET_NO_NEW_PRIVS, 1)
        loaded = threading.Event()
        results: list[str] = []

        def other() -> None:
            loaded.wait()
            results.append(outcome(lambda: os.mkdir("/nowhere/x")))

        thread = threading.Thread(target=other)
        thread.start()
        seccomp.set_mode_filter(made.program, constants.SECCOMP_FILTER_FLAG_TSYNC)
        loaded.set()
        thread.join()
        return results[0]

    assert in_child(work) == ("ENODATA", 0)


def test_a_thread_that_cannot_follow_is_an_error() -> None:
    def work() -> str:
        made = compile_filter(rule("ERRNO", "mkdir", errnoRet=61), os.uname().machine)
        libc.prctl(constants.PR_SET_NO_NEW_PRIVS, 1)
        loaded, done = threading.Event(), threading.Event()

        def other() -> None:
            seccomp.set_mode_filter(made.program)
            loaded.set()
            done.wait()

        thread = threading.Thread(target=other)
        thread.start()
        loaded.wait()
        answer = outcome(lambda: seccomp.set_mode_filter(made.program, constants.SECCOMP_FILTER_FLAG_TSYNC))
        done.set()
        thread.join()
        return answer

    assert in_child(work) == ("ESRCH", 0)


def test_what_the_kernel_refuses() -> None:
    def work() -> str:
        libc.prctl(constants.PR_SET_NO_NEW_PRIVS, 1)
        before = field("Seccomp_filters")
        refused = [
            outcome(lambda: seccomp.set_mode_filter(b"", 0)),
            outcome(lambda: seccomp.set_mode_filter(b"\0" * 8, 0)),
            outcome(lambda: seccomp.set_mode_filter(b"\x06\0\0\0\0\0\0\0", 1 << 30)),
        ]
        return f"{' '.join(refused)} {field('Seccomp_filters') == before}"

    assert in_child(work) == ("EINVAL EINVAL EINVAL True", 0)


def test_actions_that_the_kernel_knows() -> None:
    assert seccomp.get_action_avail(constants.SECCOMP_RET_USER_NOTIF)
    assert seccomp.get_action_avail(constants.SECCOMP_RET_ALLOW)
    assert not seccomp.get_action_avail(0x12340000)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda: libc.unshare(CLONE_NEWUTS), "EPERM"),
        (lambda: libc.unshare(0x400), "ok"),
        (lambda: libc.syscall("keyctl", 0, 0, 0, 0, 0), "EPERM"),
        (lambda: libc.syscall("bpf", 0, 0, 0), "EPERM"),
        (lambda: libc.syscall("clone3", 0, 0), "ENOSYS"),
        (lambda: libc.mount("none", "/nowhere", "tmpfs", 0), "EPERM"),
        (lambda: libc.umount2("/nowhere"), "EPERM"),
        (lambda: libc.setns(0), "EPERM"),
        (lambda: libc.openat2(constants.AT_FDCWD, "/", os.O_PATH), "ok"),
        (lambda: os.sethostname("x") if hasattr(os, "sethostname") else libc.syscall("bpf", 0, 0, 0), "EPERM"),
        (lambda: os.waitpid(os.fork() or os._exit(0), 0), "ok"),
        (lambda: socket.socket(40, 1), "EAFNOSUPPORT"),
        (socket.socket, "ok"),
        (lambda: fcntl.ioctl(0, 0x5412, b"x"), "EPERM"),
    ],
)
def test_the_default_profile(work: Callable[[], object], expected: str) -> None:
    def filtered() -> str:
        load(default_seccomp())
        return outcome(work)

    assert in_child(filtered) == (expected, 0)


@pytest.mark.parametrize(
    "program",
    [
        [sys.executable, "-c", "import subprocess, threading; threading.Thread(target=print, args='a').start()"],
        [sys.executable, "-c", "import multiprocessing as m; m.Pool(2).map(abs, range(9)); import ssl, socket, ctypes"],
        ["sh", "-c", "ls -l / | sort | head -n 2; sleep 0; id; date; df / ; ps >&2; echo $$"],
    ],
)
def test_ordinary_programs_run_under_the_default_profile(program: list[str]) -> None:
    def work() -> str:
        devnull = os.open(os.devnull, os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(devnull, target)
        load(default_seccomp())
        os.execvp(program[0], program)

    assert in_child(work) == ("", 0)
