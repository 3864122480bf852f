"""Further processes: Container.spawn and run, and Sandbox, as root and as an ordinary user."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from libcontainer_py import (
    PIPE,
    CommandFailed,
    ConfigError,
    ContainerProcess,
    ContainerTimeout,
    IllegalOperation,
    Outcome,
    ProgramNotFound,
    Sandbox,
)
from libcontainer_py.backends.base import SpawnRequest
from libcontainer_py.spec.config import Process, User
from libcontainer_py.streams import DEVNULL
from tests.crashes import readable
from tests.kernel.workshop import PATIENCE, cgroups_of, runc_spec
from tests.repetitions import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libcontainer_py import Container
    from tests.kernel.users import User as SomeUser
    from tests.kernel.workshop import Workshop

TIMES = times(5)
STUBBORN = "(trap '' TERM; while :; do sleep 1000; done) & echo $!; "
BIG = "x=$(head -c 200000000 /dev/zero | tr '\\0' x)"

pytestmark = pytest.mark.usefixtures("root_only")


def await_that(holds: Callable[[], bool]) -> None:
    """For what nobody reports: look again until it is so."""
    nothing = select.poll()
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        nothing.poll(5)


@pytest.fixture
def container(workshop: Workshop) -> Iterator[Container]:
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    with workshop.create(config, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as created:
        created.start()
        yield created


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as opened:
        yield opened


# -- Popen's verbs ----------------------------------------------------------------------------------------------------


def test_a_process(container: Container) -> None:
    with container.spawn(["/bin/sh", "-c", "read x; exit 7"], stdin=PIPE) as process:
        assert process.args == ("/bin/sh", "-c", "read x; exit 7")
        assert os.path.exists(f"/proc/{process.pid}")
        assert (process.poll(), process.returncode) == (None, None)
        assert not readable(process.pidfd, 0)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        assert process.wait(PATIENCE) == 7
        assert (process.poll(), process.returncode, process.pidfd) == (7, 7, -1)
        assert (process.stdout, process.stderr) == (None, None)


def test_its_streams_are_files(container: Container) -> None:
    command = ["/bin/sh", "-c", "busybox cat; echo e >&2"]
    with container.spawn(command, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"given")
        process.stdin.close()
        assert (process.stdout.readall(), process.stderr.readall()) == (b"given", b"e\n")
        assert process.wait(PATIENCE) == 0


def test_communicate(container: Container) -> None:
    given = os.urandom(1 << 20) * 3
    with container.spawn(["/bin/busybox", "cat"], stdin=PIPE, stdout=PIPE) as process:
        assert process.communicate(given, PATIENCE) == (given, b"")
    with pytest.raises(ValueError, match="given before"):
        process.communicate(b"more")


def test_communicate_goes_on_after_a_timeout(container: Container) -> None:
    script = "echo first; read x; echo second"
    with container.spawn(["/bin/sh", "-c", script], stdout=PIPE, stdin=PIPE) as process:
        process.send_signal("STOP")  # it says no more until it is let go
        with pytest.raises(ContainerTimeout):
            process.communicate(timeout=0.1)
        process.send_signal("CONT")
        assert process.communicate(timeout=PATIENCE) == (b"first\nsecond\n", b"")


def test_the_order_of_arrival(container: Container) -> None:
    script = "echo 1; read x; echo 2 >&2; read x; echo 3"
    fifo, told = os.pipe()
    seen = []
    with container.spawn(["/bin/sh", "-c", script], stdin=fifo, stdout=PIPE, stderr=PIPE) as process:
        os.close(fifo)
        for name, chunk in process.stream(PATIENCE):
            seen.append((name, chunk))
            try:
                os.write(told, b"\n")
            except BrokenPipeError:
                pass
        os.close(told)
        assert process.wait(PATIENCE) == 0
    assert seen == [("stdout", b"1\n"), ("stderr", b"2\n"), ("stdout", b"3\n")]


@pytest.mark.parametrize(
    ("verb", "returncode"),
    [
        (lambda process: process.kill(), -9),
        (lambda process: process.terminate(), -15),
        (lambda process: process.send_signal("USR1"), -10),
        (lambda process: process.send_signal(signal.SIGKILL), -9),
    ],
)
def test_signals(container: Container, verb: Callable[[ContainerProcess], None], returncode: int) -> None:
    with container.spawn(["/bin/busybox", "sleep", "1000"]) as process:
        verb(process)
        assert process.wait(PATIENCE) == returncode
        process.kill()  # silent


def test_an_error_in_the_block_kills_it(container: Container) -> None:
    with pytest.raises(ZeroDivisionError), container.spawn(["/bin/busybox", "sleep", "1000"]) as process:
        raise ZeroDivisionError
    assert process.poll() == -9


def test_it_has_no_public_constructor() -> None:
    with pytest.raises(TypeError, match=r"Container\.spawn"):
        ContainerProcess()


# -- what it is -------------------------------------------------------------------------------------------------------


def test_it_is_in_the_container(container: Container) -> None:
    result = container.run(["/bin/sh", "-c", "busybox ps -o comm; busybox hostname"], text=True)
    assert "busybox" in result.stdout
    assert "runc" in result.stdout


def test_what_it_is_given(container: Container) -> None:
    script = "busybox id -u; busybox id -g; echo $A $B; pwd"
    user = User(uid=12, gid=34)
    result = container.run(["/bin/sh", "-c", script], env={"A": "1", "B": "2"}, cwd="/tmp", user=user, text=True)
    assert result.stdout.split() == ["12", "34", "1", "2", "/tmp"]


def test_a_whole_process(container: Container) -> None:
    process = Process(args=("/bin/sh", "-c", "busybox env; exit 5"), env=("ONLY=this",), cwd="/")
    with container.spawn(process, stdout=PIPE) as spawned:
        output, _ = spawned.communicate(timeout=PATIENCE)
        assert b"ONLY=this" in output
        assert b"PATH=/usr" not in output
        assert spawned.returncode == 5


def test_what_cannot_be_spawned(container: Container) -> None:
    with pytest.raises(ProgramNotFound) as missing:
        container.run(["no-such-program"])
    assert missing.value.result is not None
    assert missing.value.result.outcome is Outcome.START_FAILED
    with pytest.raises(TypeError, match="there is no shell"):
        container.spawn("sh")
    container.pause()
    with pytest.raises(IllegalOperation, match="cannot exec in a paused container"):
        container.spawn(["/bin/sh"])
    container.resume()
    container.kill()
    container.wait(PATIENCE)
    with pytest.raises(IllegalOperation, match="cannot exec in a stopped container"):
        container.run(["/bin/sh"])


# -- how a command ends in one that stays -----------------------------------------------------------------------------

TABLE = {
    "exit 0": ("exit 0", {}, ("exited", 0)),
    "exit 137": ("exit 137", {}, ("exited", 137)),
    "its own SIGKILL": ("kill -9 $$", {}, ("signaled", -9)),
    "timeout": ("exec sleep 1000", {"timeout": 0.2}, ("timeout", -9)),
    "timeout with a stubborn grandchild": (STUBBORN + "exec sleep 1000", {"timeout": 0.2}, ("timeout", -9)),
}

IN_SANDBOX = """
import ast, sys
from libcontainer_py import ContainerTimeout, Sandbox
times, script, keywords = ast.literal_eval(sys.argv[1])
found = []
with Sandbox() as sandbox:
    for _ in range(times):
        try:
            result = sandbox.run(["sh", "-c", script], stdin=-3, **keywords)
        except ContainerTimeout as error:
            result = error.result
        found.append((str(result.outcome), result.returncode))
    # whatever it was, the sandbox is there for the next one, and nothing of it goes on
    assert sandbox.run(["echo", "here"]).stdout == b"here\\n"
    print(found, sandbox.run(["sh", "-c", "ps -e -o comm= | grep -c sleep || true"], text=True).stdout.strip())
"""


@pytest.mark.parametrize("row", TABLE)
def test_outcomes(user: SomeUser, row: str) -> None:
    script, keywords, expected = TABLE[row]
    said = user.python_says(IN_SANDBOX, repr((TIMES, script, keywords)))
    assert said == f"{[expected] * TIMES} 0\n"


def test_one_that_we_kill(sandbox: Sandbox) -> None:
    for _ in range(TIMES):
        with sandbox.spawn(["sleep", "1000"]) as process:
            process.kill()
            assert process.wait(PATIENCE) == -9


def test_memory_that_is_short() -> None:
    with Sandbox(memory="64M") as sandbox:
        for _ in range(times(2)):
            result = sandbox.run(["sh", "-c", BIG], stdin=DEVNULL)
            assert (result.outcome, result.returncode, result.oom_kills) == (Outcome.OOM, -9, 1)
            result = sandbox.run(["sh", "-c", 'sh -c "$0"; exit 0', BIG], stdin=DEVNULL)
            assert (result.outcome, result.returncode, result.oom_kills) == (Outcome.EXITED, 0, 1)
            assert sandbox.run(["true"], stdin=DEVNULL).oom_kills == 0


def test_a_timeout_ends_one_command_alone(sandbox: Sandbox) -> None:
    with sandbox.spawn(["sleep", "1000"]) as other:
        with pytest.raises(ContainerTimeout) as timeout:
            sandbox.run(["sh", "-c", STUBBORN + "exec sleep 1000"], timeout=0.2, stdin=DEVNULL)
        assert timeout.value.result is not None
        (pid,) = timeout.value.result.stdout.split()
        assert other.poll() is None
        assert sandbox.run(["test", "-d", f"/proc/{int(pid)}"], stdin=DEVNULL).returncode == 1
        other.kill()


def test_without_a_cgroup_a_timeout_ends_all_commands(
    as_nobody: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    code = """
        from libcontainer_py import ContainerTimeout, Sandbox
        with Sandbox() as sandbox:
            with sandbox.spawn(["sleep", "1000"]) as other:
                try:
                    sandbox.run(["sleep", "1000"], timeout=0.2, stdin=-3)
                except ContainerTimeout:
                    print(other.wait(60))
            print(sandbox.run(["echo", "on"], text=True, stdin=-3).stdout, end="")
    """
    done = as_nobody("-c", textwrap.dedent(code))
    assert (done.stdout, done.returncode) == ("-9\non\n", 0), done.stderr


def test_one_that_another_ones_timeout_ends_was_killed_by_us(
    as_nobody: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    code = """
        import threading
        from libcontainer_py import ContainerTimeout, Sandbox
        found = []
        with Sandbox() as sandbox:
            other = threading.Thread(target=lambda: found.append(sandbox.run(["sleep", "1000"], stdin=-3)))
            other.start()
            while sandbox.run(["sh", "-c", "ps -e -o comm= | grep -q ^sleep"], stdin=-3).returncode:
                pass
            try:
                sandbox.run(["sleep", "1000"], timeout=0.2, stdin=-3)
            except ContainerTimeout:
                pass
            other.join()
        print(found[0].outcome, found[0].returncode)
    """
    done = as_nobody("-c", textwrap.dedent(code))
    assert (done.stdout, done.returncode) == ("killed -9\n", 0), done.stderr


def test_who_sent_the_signal_is_known(workshop: Workshop, container: Container) -> None:
    backend = workshop.factory.backend
    record = backend.load(container.id)
    killed = backend.spawn(record, SpawnRequest(("/bin/busybox", "sleep", "1000")))
    killed.signal(18)
    assert not killed.killed
    killed.signal(9)
    assert killed.wait(timeout=PATIENCE) is not None
    assert killed.killed
    ended = backend.spawn(record, SpawnRequest(("/bin/busybox", "true")))
    assert readable(ended.fileno())
    ended.signal(9)  # it comes too late, and has ended nothing
    assert ended.wait(timeout=PATIENCE) is not None
    assert not ended.killed


def test_no_cgroup_of_a_command_stays(sandbox: Sandbox) -> None:
    before = [sorted(os.listdir(path)) for path in cgroups_of(sandbox.container.id)]
    for _ in range(TIMES):
        sandbox.run(["true"], stdin=DEVNULL)
        with pytest.raises(ContainerTimeout):
            sandbox.run(["sleep", "1000"], timeout=0.05, stdin=DEVNULL)
    with pytest.raises(ProgramNotFound):
        sandbox.run(["no-such-program"], stdin=DEVNULL)
    await_that(lambda: [sorted(os.listdir(path)) for path in cgroups_of(sandbox.container.id)] == before)


# -- Sandbox ----------------------------------------------------------------------------------------------------------

LASTING = """
import os
from libcontainer_py import CommandFailed, Sandbox
with Sandbox(env={"MORE": "x"}) as sandbox:
    sandbox.run(["sh", "-c", "echo kept >/tmp/file"], check=True)
    print(sandbox.run(["cat", "/tmp/file"], text=True).stdout, end="")
    print(sandbox.run(["sh", "-c", "echo $MORE; cat /proc/1/comm; echo $$"], text=True).stdout.split()[:2])
    print(sandbox.run(["cat"], input="grüße", text=True).stdout)
    status = sandbox.run(["cat", "/proc/self/status"], text=True).stdout
    print([line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "NoNewPrivs", "Seccomp:"))])
    sandbox.run(["sh", "-c", "sleep 1000 & echo started"], stdout=-3, stderr=-3, check=True)
    try:
        sandbox.run(["false"], check=True)
    except CommandFailed as error:
        print(error.result.returncode)
sandbox.close()
"""


def test_a_sandbox(user: SomeUser) -> None:
    said = user.python_says(LASTING).splitlines()
    assert said == ["kept", "['x', 'reaper']", "grüße", "['0000000000000000', '1', '2']", "1"]


def test_orphans_are_reaped(sandbox: Sandbox) -> None:
    sandbox.run(["sh", "-c", "sh -c 'sleep 0.05 &'"], stdout=DEVNULL, stderr=DEVNULL, stdin=DEVNULL)
    # one that has ended and that nobody reaped would be listed for ever
    count = ["sh", "-c", "ps -e -o comm= | grep -c ^sleep || true"]
    await_that(lambda: sandbox.run(count, text=True, stdin=DEVNULL).stdout == "0\n")


def test_users_of_a_sandbox() -> None:
    with Sandbox(user="nobody") as sandbox:
        assert sandbox.run(["id", "-u"], text=True, stdin=DEVNULL).stdout == "65534\n"
        assert sandbox.run(["id", "-u"], user=1000, text=True, stdin=DEVNULL).stdout == "1000\n"
        with pytest.raises(ConfigError, match="neither a number nor a name"):
            sandbox.run(["true"], user="nobody-of-that-name")


def test_every_mistake_at_once() -> None:
    with pytest.raises(ConfigError) as wrong:
        Sandbox(memory="much", cwd="relative", pids=0)
    assert [problem.path for problem in wrong.value.problems] == ["memory", "pids", "cwd"]


def test_a_sandbox_that_is_closed() -> None:
    sandbox = Sandbox()
    sandbox.close()
    sandbox.close()
    with pytest.raises(IllegalOperation):
        sandbox.run(["true"])


def test_many_commands_at_once(sandbox: Sandbox) -> None:
    results: list[tuple[int, bytes]] = []

    def work(number: int) -> None:
        for _ in range(3):
            result = sandbox.run(["sh", "-c", f"cat; exit {number}"], input=b"%d" % number)
            results.append((result.returncode, result.stdout))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted((number, b"%d" % number) for number in range(8) for _ in range(3))


AT_EXIT = """
import sys
from libcontainer_py import Sandbox
sandbox = Sandbox()
print(sandbox.container.init_pid, sandbox.container.id, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["end", "kill"])
def test_what_is_left_when_the_process_ends(user: SomeUser, how: str) -> None:
    process = user.popen("-c", AT_EXIT)
    assert process.stdin is not None
    assert process.stdout is not None
    pid, container_id = process.stdout.readline().decode().split()
    pidfd = os.pidfd_open(int(pid))
    if how == "kill":
        process.kill()
    else:
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert process.wait(PATIENCE) == (-9 if how == "kill" else 0)
    assert readable(pidfd)
    os.close(pidfd)
    if how == "kill":
        user.python_says("from libcontainer_py import Factory\nFactory().sweep()")
    assert container_id not in user.containers()
    assert cgroups_of(container_id) == []


def test_a_fork_does_not_close_its_parents() -> None:
    code = """
        import os, sys
        from libcontainer_py import Sandbox
        with Sandbox() as sandbox:
            if os.fork() == 0:
                sandbox.close()
                sys.exit(0)  # with atexit
            os.wait()
            print(sandbox.run(["echo", "here"], text=True, stdin=-3).stdout, end="")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.stdout, done.returncode) == ("here\n", 0), done.stderr


def test_an_interrupt_ends_the_command_alone() -> None:
    code = """
        import os, signal, threading
        from libcontainer_py import Sandbox
        with Sandbox() as sandbox:
            try:
                sandbox.run(["sh", "-c", "echo began >&2; exec sleep 1000"], stderr=None)
            except KeyboardInterrupt:
                print(sandbox.run(["sh", "-c", "ps -e -o comm= | grep -c sleep || true"], text=True).stdout, end="")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=DEVNULL
    )
    assert process.stderr is not None
    assert process.stderr.readline() == b"began\n"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert (output, process.returncode) == (b"0\n", 0)


def test_descriptors_stay_flat(sandbox: Sandbox) -> None:
    sandbox.run(["true"], stdin=DEVNULL)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        sandbox.run(["cat"], input=b"x")
        with sandbox.spawn(["true"], stdout=PIPE) as process:
            process.communicate()
    with pytest.raises(CommandFailed):
        sandbox.run(["false"], check=True, stdin=DEVNULL)
    assert len(os.listdir("/proc/self/fd")) == before
    assert Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().count(" ") <= 3
