"""run(): how it ends, what it takes and gives, what it is limited to; as root and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from libcontainer_py import (
    Bind,
    CommandFailed,
    ConfigError,
    ContainerTimeout,
    CreateError,
    Outcome,
    ProgramNotFound,
    StartError,
    run,
)
from libcontainer_py.sandbox import files
from libcontainer_py.streams import DEVNULL, STDOUT
from tests.kernel.workshop import PATIENCE
from tests.repetitions import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kernel.users import User

TIMES = times(5)
"""How often each row of the truth table must come out right."""
MIB = 1 << 20
BIG = "x=$(head -c 200000000 /dev/zero | tr '\\0' x)"
"""A shell that keeps 200 MB in its own memory."""
GRANDCHILD = "(trap '' TERM; while :; do sleep 1000; done) & echo held; "

pytestmark = pytest.mark.usefixtures("root_only")


# -- how it ends ------------------------------------------------------------------------------------------------------

TABLE = {
    "exit 0": ("exit 0", {}, ("exited", 0, None)),
    "exit 3": ("exit 3", {}, ("exited", 3, None)),
    "exit 137": ("exit 137", {}, ("exited", 137, None)),
    "its own SIGKILL": ("kill -9 $$", {}, ("signaled", -9, 9)),
    "its own SIGTERM": ("kill -15 $$", {}, ("signaled", -15, 15)),
    "timeout": ("echo begun; exec sleep 1000", {"timeout": 0.2}, ("timeout", -9, 9)),
    "timeout with a stubborn grandchild": (GRANDCHILD + "exec sleep 1000", {"timeout": 0.2}, ("timeout", -9, 9)),
}


@pytest.mark.parametrize("row", TABLE)
def test_outcomes(user: User, row: str) -> None:
    script, keywords, expected = TABLE[row]
    for ran in user.runs(TIMES, ["sh", "-c", script], **keywords):
        assert (ran.outcome, ran.returncode, ran.signal) == expected, ran
        assert ran.error == ("ContainerTimeout" if expected[0] == "timeout" else ""), ran


OOM = {
    "of the command": (BIG, ("oom", -9, 9)),
    "of its child, and it fails": ('sh -c "$0"; exit 5', ("oom", 5, None)),
    "of its child, and it goes on": ('sh -c "$0"; exit 0', ("exited", 0, None)),
}


@pytest.mark.parametrize("row", OOM)
def test_memory_that_is_short(row: str) -> None:
    script, expected = OOM[row]
    for _ in range(TIMES):
        result = run(["sh", "-c", script, BIG], memory="64M", stdin=DEVNULL)
        assert (str(result.outcome), result.returncode, result.signal) == expected, result
        assert result.oom_kills == 1
        assert result.usage.peak_memory_bytes <= 64 * MIB


@pytest.mark.parametrize(
    ("program", "code"), [("no-such-program", 127), ("/no/such/program", 127), ("/etc/passwd", 126), ("/etc", 126)]
)
def test_what_never_ran(user: User, program: str, code: int) -> None:
    for ran in user.runs(TIMES, [program]):
        assert (ran.error, ran.outcome, ran.returncode) == ("ProgramNotFound", "start_failed", code), ran


def test_a_program_that_the_kernel_does_not_take(user: User, tmp_path: Path) -> None:
    # executable, and found; that it is no program shows at execve alone
    program = tmp_path / "program"
    program.write_bytes(b"\0no program")
    program.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    ran = user.run(["/program"], binds={str(program): "/program"})
    assert (ran.error, ran.outcome, ran.returncode) == ("StartError", "start_failed", 126), ran


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs the x32 calls of x86-64")
def test_a_call_that_the_filter_kills_for(user: User) -> None:
    # x32 is no architecture of the profile: such a call kills
    code = "import ctypes; ctypes.CDLL(None).syscall(0x40000000 + 39)"
    for ran in user.runs(TIMES, ["/usr/bin/python3", "-I", "-S", "-c", code]):
        assert (ran.outcome, ran.returncode, ran.signal) == ("signaled", -31, 31), ran


def test_the_time_that_it_took(user: User) -> None:
    assert 0.3 <= user.run(["sleep", "0.3"]).duration < PATIENCE


def test_errors_carry_the_result() -> None:
    with pytest.raises(ContainerTimeout) as timeout:
        run(["sh", "-c", "echo out; echo err >&2; exec sleep 1000"], timeout=0.3, stdin=DEVNULL)
    result = timeout.value.result
    assert result is not None
    assert (result.stdout, result.stderr, result.outcome) == (b"out\n", b"err\n", Outcome.TIMEOUT)
    assert timeout.value.timeout == 0.3
    with pytest.raises(ProgramNotFound) as missing:
        run(["no-such-program"], text=True)
    assert missing.value.result is not None
    assert missing.value.result.stdout == ""
    assert isinstance(missing.value, StartError)


def test_a_timeout_leaves_nothing(user: User) -> None:
    begun = time.monotonic()
    ran = user.run(["sh", "-c", GRANDCHILD * 3 + "exec sleep 1000"], timeout=0.2)
    assert time.monotonic() - begun < PATIENCE
    assert ran.stdout == b"held\n" * 3


def test_a_timeout_of_nothing() -> None:
    with pytest.raises(ContainerTimeout):
        run(["sleep", "1000"], timeout=0, stdin=DEVNULL)


def test_check() -> None:
    assert run(["true"], check=True, stdin=DEVNULL).returncode == 0
    with pytest.raises(CommandFailed) as failed:
        run(["sh", "-c", "echo x; exit 4"], check=True, stdin=DEVNULL)
    assert (failed.value.result.returncode, failed.value.result.stdout) == (4, b"x\n")


def test_what_it_used() -> None:
    script = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done"
    busy = run(["sh", "-c", script], stdin=DEVNULL)
    idle = run(["sleep", "0.2"], stdin=DEVNULL)
    assert busy.usage.cpu_seconds > idle.usage.cpu_seconds
    assert idle.usage.cpu_seconds < 0.2  # what it took us to make the container does not count
    large = run(["sh", "-c", BIG], stdin=DEVNULL)
    assert large.usage.peak_memory_bytes > 190 * MIB > idle.usage.peak_memory_bytes


# -- streams ----------------------------------------------------------------------------------------------------------


def test_text(user: User) -> None:
    script = r"printf 'gr\303\274\303\237e\n'; printf '\377' >&2"
    ran = user.run(["sh", "-c", script], text=True)
    assert (ran.stdout, ran.stderr) == ("grüße\n", "\ufffd")
    assert user.run(["sh", "-c", r"printf '\374'"], encoding="latin-1").stdout == "ü"


def test_input(user: User) -> None:
    assert user.run(["cat"], input=b"\0\xff").stdout == b"\0\xff"
    assert user.run(["cat"], input="grüße", text=True).stdout == "grüße"
    assert user.run(["wc", "-c"], input=b"").stdout == b"0\n"


def test_input_that_nobody_reads() -> None:
    assert run(["true"], input=b"x" * MIB).returncode == 0
    assert run(["head", "-c1"], input=b"x" * MIB).stdout == b"x"


def test_stderr_with_stdout() -> None:
    result = run(["sh", "-c", "echo a; echo b >&2; echo c"], stderr=STDOUT, stdin=DEVNULL)
    assert (result.stdout, result.stderr) == (b"a\nb\nc\n", b"")


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"input": b"x", "stdin": DEVNULL}, ValueError),
        ({"input": "x"}, TypeError),
        ({"max_output": -1}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"encoding": "no-such-encoding"}, LookupError),
        ({"stdout": STDOUT}, ValueError),
    ],
)
def test_what_does_not_go_together(keywords: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        run(["true"], **keywords)  # type: ignore[call-overload]  # that is the test


@pytest.mark.parametrize(
    ("size", "truncated"), [(0, False), (999, False), (1000, False), (1001, True), (5_000_000, True)]
)
def test_the_cap(size: int, truncated: bool) -> None:
    result = run(["sh", "-c", f"head -c {size} /dev/zero; exit 9"], max_output=1000, stdin=DEVNULL, stderr=DEVNULL)
    assert (len(result.stdout), result.returncode, result.truncated) == (min(size, 1000), 9, truncated)


def test_each_stream_has_its_own_cap() -> None:
    script = "head -c 3000 /dev/zero; head -c 500 /dev/zero >&2"
    result = run(["sh", "-c", script], max_output=1000, stdin=DEVNULL)
    assert (len(result.stdout), len(result.stderr), result.truncated) == (1000, 500, True)


FLOOD = """
import re
from libcontainer_py import run
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
run(["true"], stdin=-3)
before = peak()
result = run(["sh", "-c", "head -c 1073741824 /dev/zero; exit 7"], max_output=1 << 20, stdin=-3)
assert (len(result.stdout), result.returncode, result.truncated) == (1 << 20, 7, True), result.returncode
print(peak() - before)
"""


def test_a_gigabyte_of_output_costs_no_memory() -> None:
    done = subprocess.run([sys.executable, "-c", FLOOD], capture_output=True, text=True, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16 * 1024  # KiB


def test_a_hundred_megabytes_both_ways() -> None:
    given = os.urandom(MIB) * 100
    result = run(["cat"], input=given, max_output=200 * MIB)
    assert result.stdout == given
    assert not result.truncated


# -- limits -----------------------------------------------------------------------------------------------------------


def test_the_number_of_processes() -> None:
    # the shell is one of them, and what it starts
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 0.3 & done 2>/dev/null; wait; echo $?"
    few = run(["sh", "-c", script], pids=4, stdin=DEVNULL)
    assert few.returncode != 0 or b"fork" in few.stderr, few
    assert run(["sh", "-c", "sleep 0 & wait"], pids=2, stdin=DEVNULL).returncode == 0
    assert run(["true"], pids=1, stdin=DEVNULL).returncode == 0


def test_processor_time() -> None:
    script = "i=0; while :; do i=$((i + 1)); done"
    with pytest.raises(ContainerTimeout) as slow:
        run(["sh", "-c", script], cpus=0.1, timeout=1, stdin=DEVNULL)
    assert slow.value.result is not None
    assert slow.value.result.usage.cpu_seconds < 0.5


@pytest.mark.parametrize("limit", [{"memory": "64M"}, {"cpus": 0.5}, {"pids": 5}])
def test_limits_that_an_ordinary_user_cannot_have(user: User, limit: dict[str, object]) -> None:
    ran = user.run(["true"], **limit)
    if user.uid == 0:
        assert (ran.error, ran.returncode) == ("", 0)
    else:
        assert ran.error == "CgroupError", ran
        assert "systemd-run --user --scope --property=Delegate=yes" in ran.message


@pytest.mark.parametrize(
    ("size", "count"),
    [(1 << 20, 1 << 20), ("1048576", 1 << 20), ("64M", 64 << 20), ("64MiB", 64 << 20), ("1.5G", 3 << 29)],
)
def test_sizes(size: int | str, count: int) -> None:
    from libcontainer_py.sandbox.options import bytes_of

    assert bytes_of(size) == count


@pytest.mark.parametrize("size", ["", "M", "64X", "-1", "1e6", 0, -5, True, None, "0"])
def test_what_is_no_size(size: object) -> None:
    from libcontainer_py.sandbox.options import bytes_of

    with pytest.raises(ValueError, match="is no size"):
        bytes_of(size)  # type: ignore[arg-type]  # that is the test


def test_every_mistake_at_once() -> None:
    with pytest.raises(ConfigError) as wrong:
        run(
            ["true"],
            rootfs="/nowhere",
            binds=[Bind("/nowhere", "inside"), Bind("/etc", "/")],
            cwd="relative",
            user="nobody-of-that-name",
            memory="much",
            cpus=0,
            pids=0,
        )
    assert [problem.path for problem in wrong.value.problems] == [
        "rootfs",
        "binds[0].source",
        "binds[0].destination",
        "binds[1].destination",
        "user",
        "memory",
        "cpus",
        "pids",
        "cwd",
    ]


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that everybody may look into, hidden in the sandbox."""
    path = Path(f"/var/tmp/lcpy-{os.urandom(6).hex()}")
    path.mkdir()
    path.chmod(0o777)
    (path / "file").write_text("content\n")
    (path / "below").mkdir()
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("inside", ["/tmp/inside", "/home/me/there", "/srv/lcpy/new", "/lcpy-new", "/opt/lcpy/a/b"])
def test_binds(user: User, folder: Path, inside: str) -> None:
    ran = user.run(
        ["sh", "-c", f"cat {inside}/file; touch {inside}/new 2>&1; ls {inside}"], binds={str(folder): inside}, text=True
    )
    assert ran.error == "", ran
    first, refused, *names = ran.stdout.splitlines()
    assert (first, names) == ("content", ["below", "file"])
    assert refused.endswith("Read-only file system")
    assert not os.path.lexists(inside.replace("/tmp/inside", "/lcpy-nothing"))


def test_a_bind_of_a_file(user: User, folder: Path) -> None:
    assert user.output("cat /lcpy/one/file", binds={str(folder / "file"): "/lcpy/one/file"}) == "content\n"
    assert user.output("cat /etc/hostname", binds={str(folder / "file"): "/etc/hostname"}) == "content\n"


def test_mount_points_that_were_made_are_seen_in_their_place_alone(user: User, folder: Path) -> None:
    script = "ls -d /srv/lcpy/new; ls /usr /var /etc | grep -c '^lcpy$\\|^srv$\\|^new$' || true"
    assert user.output(script, binds={str(folder): "/srv/lcpy/new"}) == "/srv/lcpy/new\n0\n"


def test_a_writable_bind(folder: Path) -> None:
    run(["sh", "-c", "echo more >/w/new"], binds=[Bind(folder, "/w", writable=True)], check=True, stdin=DEVNULL)
    assert (folder / "new").read_text() == "more\n"


def test_the_working_directory_of_a_bind(user: User, folder: Path) -> None:
    assert user.output("pwd; cat ../file", binds={str(folder): "/work"}, cwd="/work/below") == "/work/below\ncontent\n"


@pytest.mark.parametrize("cwd", ["/nowhere", "/tmp/nowhere", "/etc/passwd", "/work/nothing"])
def test_a_working_directory_that_is_not_there(user: User, folder: Path, cwd: str) -> None:
    ran = user.run(["pwd"], cwd=cwd, binds={str(folder): "/work"})
    assert ran.error == "ConfigError", ran
    assert ran.message == f"cwd: there is no directory {cwd} in the sandbox"


def test_a_working_directory_that_is_hidden(user: User, folder: Path) -> None:
    ran = user.run(["pwd"], cwd=str(folder))
    assert ran.message == (
        f"cwd: there is no directory {folder} in the sandbox (it is hidden there, as homes and temporary files are: "
        "bind it)"
    )


@pytest.fixture
def rootfs(folder: Path, peer: Callable[[str], str]) -> Path:
    """A root file system of busybox, with no more than that."""
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(peer("busybox"), root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nwho:x:1234:4321::/:/bin/sh\n")
    subprocess.run(["chmod", "-R", "a+rX", str(root)], check=True)
    return root


def tree(path: Path) -> list[str]:
    return sorted(str(one.relative_to(path)) for one in path.rglob("*"))


def test_a_root_file_system(user: User, rootfs: Path) -> None:
    before = tree(rootfs)
    script = "busybox ls /; echo x >/tmp/x; busybox cat /tmp/x; busybox ls /dev/null /proc/1/comm; echo y >/etc/y"
    ran = user.run(["sh", "-c", script], rootfs=str(rootfs), text=True)
    assert ran.stdout.split() == [
        *("bin", "dev", "etc", "proc", "run", "tmp", "var", "x", "/dev/null", "/proc/1/comm"),
    ], ran
    assert "Read-only file system" in ran.stderr
    assert tree(rootfs) == before


def test_binds_into_a_root_file_system(user: User, rootfs: Path, folder: Path) -> None:
    before = tree(rootfs)
    script = "busybox cat /new/place/file"
    assert user.output(script, rootfs=str(rootfs), binds={str(folder): "/new/place"}) == "content\n"
    assert tree(rootfs) == before


def test_a_symlink_in_a_root_file_system_leads_nowhere_else(user: User, rootfs: Path, folder: Path) -> None:
    (rootfs / "data").symlink_to("/etc")
    assert (
        user.output("busybox ls /etc", rootfs=str(rootfs), binds={str(folder / "file"): "/data/passwd"}) == "passwd\n"
    )
    assert user.output("busybox cat /etc/passwd", rootfs=str(rootfs)).startswith("root:")


# -- who and where ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "ids"), [("nobody", (65534, 65534)), (1000, (1000, 1000)), ("1000:7", (1000, 7)), (0, (0, 0))]
)
def test_the_user(who: int | str, ids: tuple[int, int]) -> None:
    script = "id -u; id -g; id -G; echo >/tmp/mine; echo out >/dev/stdout"
    result = run(["sh", "-c", script], user=who, text=True, stdin=DEVNULL)
    assert result.stdout.split() == [str(ids[0]), str(ids[1]), str(ids[1]), "out"], result


def test_a_user_of_the_root_file_system(rootfs: Path) -> None:
    result = run(["sh", "-c", "busybox id -u; busybox id -g"], rootfs=rootfs, user="who", text=True, stdin=DEVNULL)
    assert result.stdout == "1234\n4321\n"


def test_an_ordinary_user_is_himself_alone(user: User) -> None:
    ran = user.run(["id", "-u"], user=1000, text=True)
    if user.uid == 0:
        assert ran.stdout == "1000\n"
    else:
        assert ran.message.startswith("user: an ordinary user has one id to give, his own (leave it out")


def test_the_network(user: User) -> None:
    ours = os.readlink("/proc/self/ns/net")
    assert user.output("readlink /proc/self/ns/net") != f"{ours}\n"
    assert user.output("readlink /proc/self/ns/net", network=True) == f"{ours}\n"
    assert user.output("cat /etc/resolv.conf", network=True) == Path("/etc/resolv.conf").read_text()


def test_who_answers_for_names_may_be_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # as systemd-resolved has it: a symlink into /run
    (tmp_path / "stub").write_text("nameserver 127.0.0.53\n")
    (tmp_path / "resolv.conf").symlink_to(tmp_path / "stub")
    monkeypatch.setattr(files, "_RESOLVER", str(tmp_path / "resolv.conf"))
    stub = os.path.realpath(tmp_path / "stub")
    assert stub.startswith("/tmp/")
    assert run(["cat", stub], network=True, stdin=DEVNULL).stdout == b"nameserver 127.0.0.53\n"
    assert run(["cat", stub], stdin=DEVNULL).returncode != 0


# -- the embedding process --------------------------------------------------------------------------------------------

MANY = """
import concurrent.futures, os, sys, threading
from libcontainer_py import run
def fds():
    return sorted(os.listdir("/proc/self/fd"))
def one(n):
    result = run(["sh", "-c", f"cat; echo {n}; exit {n % 7}"], input=b"%d-" % n)
    return (result.stdout, result.returncode) == (b"%d-%d\\n" % (n, n), n % 7)
assert one(1)
before = fds()
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    assert all(pool.map(one, range(int(sys.argv[1]))))
assert fds() == before, (before, fds())
print("done")
"""


def test_many_at_once_from_threads(user: User) -> None:
    assert user.python_says(MANY, str(8 * times(4))) == "done\n"


def test_one_after_the_other_keeps_nothing(user: User) -> None:
    code = """
        import os, sys
        from libcontainer_py import run
        def memory():  # bytes that are resident. Source: proc(5), /proc/PID/statm
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        def some(count):
            for _ in range(count):
                assert run(["true"]).returncode == 0
        some(10)
        before, held = len(os.listdir("/proc/self/fd")), memory()
        some(int(sys.argv[1]))
        assert len(os.listdir("/proc/self/fd")) == before
        # what is kept has an end: 64 states as they were written, of 20 KiB, and 2,048 ended children
        assert memory() - held < 6 << 20, memory() - held
        print(len(os.listdir("/proc/self/task")))
    """
    assert user.python_says(textwrap.dedent(code), str(times(40))) == "1\n"


def test_ended_children_are_forgotten_in_the_end() -> None:
    code = """
        from libcontainer_py import run
        from libcontainer_py.backends import children
        children._MOST_REMEMBERED = 4
        for n in range(14):
            assert run(["sh", "-c", f"exit {n}"], stdin=-3).returncode == n
        print(len(children._children))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, timeout=PATIENCE)
    assert 4 <= int(done.stdout) <= 8, done.stderr


def test_a_host_that_ignores_sigchld(user: User) -> None:
    code = """
        import signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        from libcontainer_py import run
        scripts = ["exit 0", "exit 3", "exit 7", "kill -9 $$"]
        print([run(["sh", "-c", script]).returncode for script in scripts])
    """
    assert user.python_says(textwrap.dedent(code)) == "[0, 3, 7, -9]\n"


def test_a_host_that_has_forked(user: User) -> None:
    code = """
        import os
        from libcontainer_py import run
        print(run(["echo", "parent"], text=True).stdout, end="", flush=True)
        pid = os.fork()
        if pid == 0:
            print(run(["echo", "child"], text=True).stdout, end="", flush=True)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        print(run(["echo", "again"], text=True).stdout, end="")
    """
    assert user.python_says(textwrap.dedent(code)) == "parent\nchild\nagain\n"


def test_nothing_of_the_host_is_changed(user: User) -> None:
    code = """
        import os, signal
        from libcontainer_py import run
        def state():
            handlers = [signal.getsignal(n) for n in range(1, 65) if n not in (32, 33)]
            mask = os.umask(0)
            os.umask(mask)
            return handlers, signal.pthread_sigmask(signal.SIG_BLOCK, ()), os.getcwd(), mask
        before = state()
        run(["true"])
        try:
            run(["sleep", "1000"], timeout=0.1)
        except TimeoutError:
            pass
        assert state() == before
        print("the same")
    """
    assert user.python_says(textwrap.dedent(code)) == "the same\n"


def test_an_interrupt_of_the_process_group(user: User) -> None:
    # as a terminal sends it: to all of the group, and neither the server nor the container is in it
    code = "from libcontainer_py import run\nrun(['sh', '-c', 'echo began >&2; exec sleep 1000'], stderr=None)"
    process = subprocess.Popen(
        [user.python, "-c", code],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        env=user.environment,
        start_new_session=True,
        **({} if user.uid == 0 else {"user": user.uid, "group": user.uid, "extra_groups": []}),
    )
    assert process.stderr is not None
    assert process.stderr.readline() == b"began\n"
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert error.endswith(b"KeyboardInterrupt\n")


def test_memory_that_does_not_suffice_for_anything() -> None:
    with pytest.raises(CreateError, match="too little memory"):
        run(["true"], memory=1, stdin=DEVNULL)
