"""Handles on containers: what several of them, several threads and several processes see."""

from __future__ import annotations

import _socket
import concurrent.futures
import gc
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from libcontainer_py import (
    DEVNULL,
    ContainerNotFound,
    ContainerTimeout,
    ExitStatus,
    IllegalOperation,
    Status,
)
from libcontainer_py.backends import children, forkservers
from libcontainer_py.init import messages
from libcontainer_py.kernel import libc, process
from tests.kernel.workshop import PATIENCE, Config, Workshop, cgroups_of, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py import Container


def shell(script: str) -> Config:
    config = runc_spec()
    config["process"]["args"] = ["/bin/sh", "-c", script]
    return config


SLEEP = "exec sleep 1000"


class Talk:
    """A container's standard streams as a pipe in and a pipe out."""

    def __init__(self) -> None:
        self.stdin, ours = os.pipe()
        theirs, self.stdout = os.pipe()
        self.say = os.fdopen(ours, "w", buffering=1)
        self.hear = os.fdopen(theirs)

    def handed_over(self) -> None:
        """The container has its ends."""
        os.close(self.stdin)
        os.close(self.stdout)

    def close(self) -> None:
        self.say.close()
        self.hear.close()


def gone(workshop: Workshop, container: Container) -> None:
    assert workshop.entries() == []
    assert cgroups_of(container.id) == []
    with pytest.raises(ContainerNotFound):
        workshop.factory.load(container.id)


# -- handles ----------------------------------------------------------------------------------------------------------


def test_two_handles_see_the_same(workshop: Workshop) -> None:
    with workshop.create(shell(SLEEP)) as one:
        other = workshop.factory.load(one.id)
        assert other != one
        assert (other.id, other.bundle, other.directory) == (one.id, one.bundle, one.directory)
        assert (other.created, other.init_pid, other.status) == (one.created, one.init_pid, Status.CREATED)
        other.start()
        assert (one.status, other.status) == (Status.RUNNING, Status.RUNNING)
        with pytest.raises(IllegalOperation, match="cannot start an already running container"):
            one.start()
        one.pause()
        assert other.status is Status.PAUSED
        other.resume()
        other.signal(signal.SIGKILL)
        assert one.wait(PATIENCE) == other.wait(PATIENCE) == ExitStatus(-9)
        assert (one.init_pid, other.init_pid) == (None, None)
        other.delete()
        with pytest.raises(ContainerNotFound):
            one.delete()
        one.delete(force=True)


def test_leaving_a_created_handle_deletes_whatever_happened(workshop: Workshop) -> None:
    class Own(Exception):
        pass

    def use(container: Container, started: bool) -> None:
        with container:
            if started:
                container.start()
            raise Own

    for started in (True, False):
        container = workshop.create(shell(SLEEP))
        with pytest.raises(Own):
            use(container, started)
        gone(workshop, container)


def test_leaving_a_paused_container_deletes_it(workshop: Workshop) -> None:
    with workshop.create(shell(SLEEP)) as container:
        container.start()
        container.pause()
    gone(workshop, container)


def test_leaving_a_loaded_handle_deletes_nothing(workshop: Workshop) -> None:
    with workshop.create(shell(SLEEP)) as container:
        with workshop.factory.load(container.id) as loaded:
            pass
        assert (loaded.status, container.status) == (Status.CREATED, Status.CREATED)


def test_a_closed_handle_deletes_nothing(workshop: Workshop) -> None:
    with workshop.create(shell(SLEEP)) as container:
        container.close()
    assert workshop.factory.load(container.id).status is Status.CREATED
    workshop.factory.delete(container.id, force=True)
    gone(workshop, container)


def test_a_lost_handle_deletes_nothing(workshop: Workshop) -> None:
    container_id = workshop.create(shell(SLEEP)).id
    gc.collect()
    assert workshop.factory.load(container_id).status is Status.CREATED


# -- wait -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_codes(workshop: Workshop, code: int) -> None:
    with workshop.create(shell(f"exit {code}")) as container:
        container.start()
        status = container.wait(PATIENCE)
        assert (status.returncode, status.exit_code, status.signal, status.known) == (code, code, None, True)
        assert container.wait() == container.wait(0) == status


def test_a_signal(workshop: Workshop) -> None:
    with workshop.create(shell(SLEEP)) as container:
        container.start()
        container.kill()
        status = container.wait(PATIENCE)
        assert (status.returncode, status.exit_code, status.signal, status.known) == (-9, 137, 9, True)


def test_wait_from_several_threads(workshop: Workshop) -> None:
    with workshop.create(shell("read line; exit 17"), stdin=(talk := Talk()).stdin) as container:
        talk.handed_over()
        handles = [container, *(workshop.factory.load(container.id) for _ in range(3))]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            waiting = [pool.submit(handles[number % 4].wait, PATIENCE) for number in range(16)]
            container.start()
            talk.say.write("go\n")
            assert [one.result() for one in waiting] == [ExitStatus(17)] * 16
        talk.close()


def test_wait_with_a_timeout_kills_nothing(workshop: Workshop) -> None:
    with workshop.create(shell(SLEEP)) as container:
        for _ in range(2):
            with pytest.raises(ContainerTimeout, match=rf"{container.id}.* did not end within 0.01 s") as caught:
                container.wait(0.01)
            assert (caught.value.timeout, caught.value.released) == (0.01, False)
            assert isinstance(caught.value, TimeoutError)
            assert container.status is Status.CREATED
        container.start()
        with pytest.raises(ContainerTimeout):
            container.wait(0)
        assert container.status is Status.RUNNING


def test_the_status_after_init_died(workshop: Workshop) -> None:
    with workshop.create(shell(SLEEP)) as container:
        pid = container.init_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        pidfd_wait(pid)
        assert (container.status, container.init_pid, container.state().pid) == (Status.STOPPED, None, 0)
        with pytest.raises(IllegalOperation, match="cannot start a container that has stopped"):
            container.start()
        assert container.wait(PATIENCE) == ExitStatus(-9)
        container.delete()
        gone(workshop, container)


def pidfd_wait(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        assert select.select([pidfd], [], [], PATIENCE)[0]
    finally:
        os.close(pidfd)


IN_ANOTHER_PROCESS = """
import sys
from libcontainer_py import Factory
container = Factory(sys.argv[1]).create(sys.argv[2], sys.argv[3])
container.start()
container.close()
"""


def test_the_exit_of_another_processs_child_is_not_known(workshop: Workshop) -> None:
    container_id = workshop.new_id()
    config = shell("while :; do read line && exit 5; done")
    arguments = [str(workshop.root), container_id, str(workshop.bundle(config))]
    talk = Talk()
    subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, *arguments], stdin=talk.stdin, check=True, timeout=PATIENCE
    )
    talk.handed_over()
    container = workshop.factory.load(container_id)
    assert container.status is Status.RUNNING
    with pytest.raises(ContainerTimeout):
        container.wait(0.01)
    talk.say.write("go\n")
    status = container.wait(PATIENCE)
    assert (status.returncode, status.exit_code, status.signal, status.known) == (None, None, None, False)
    assert container.status is Status.STOPPED
    container.delete()
    gone(workshop, container)
    talk.close()


# -- pause, signal, kill ----------------------------------------------------------------------------------------------


def test_resume_of_one_paused_while_created_leads_back_to_created(workshop: Workshop) -> None:
    with workshop.create(shell("exit 3")) as container:
        container.pause()
        assert container.status is Status.PAUSED
        with pytest.raises(IllegalOperation, match="cannot start a container in the paused state"):
            container.start()
        container.resume()
        assert container.status is Status.CREATED
        container.start()
        assert container.wait(PATIENCE).returncode == 3


def test_pause_stops_the_program(workshop: Workshop) -> None:
    talk = Talk()
    with workshop.create(
        shell("while read line; do echo $line; done"), stdin=talk.stdin, stdout=talk.stdout
    ) as container:
        talk.handed_over()
        container.start()
        talk.say.write("one\n")
        assert talk.hear.readline() == "one\n"
        container.pause()
        talk.say.write("two\n")
        os.set_blocking(talk.hear.fileno(), False)
        with pytest.raises(ContainerTimeout):
            container.wait(0.05)
        with pytest.raises(BlockingIOError):
            os.read(talk.hear.fileno(), 100)
        os.set_blocking(talk.hear.fileno(), True)
        container.resume()
        assert talk.hear.readline() == "two\n"
        talk.close()


@pytest.mark.parametrize("started", [True, False])
def test_kill_of_a_paused_container(workshop: Workshop, started: bool) -> None:
    with workshop.create(shell(SLEEP)) as container:
        if started:
            container.start()
        container.pause()
        container.kill()
        assert container.wait(PATIENCE).signal == signal.SIGKILL
        assert container.status is Status.STOPPED
        container.delete()


def test_signals_reach_the_program(workshop: Workshop) -> None:
    talk = Talk()
    script = "trap 'echo usr1' USR1; trap 'echo term; exit 4' TERM; sleep 1000 & echo ready; while :; do wait; done"
    with workshop.create(shell(script), stdout=talk.stdout) as container:
        talk.handed_over()
        container.start()
        assert talk.hear.readline() == "ready\n"
        for wanted, word in ((signal.SIGUSR1, "usr1\n"), ("USR1", "usr1\n"), ("SIGTERM", "term\n")):
            container.signal(wanted)
            assert talk.hear.readline() == word
        assert container.wait(PATIENCE).returncode == 4
        talk.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_created_container_ends_at_a_signal(workshop: Workshop, number: int) -> None:
    # it is a pid 1, to which the kernel delivers only what it has a handler for
    with workshop.create(shell(SLEEP)) as container:
        container.signal(number)
        assert container.wait(PATIENCE).returncode == 128 + number
        container.delete()


@pytest.mark.parametrize("number", [0, -1, 65, 1000])
def test_a_number_that_is_no_signal(workshop: Workshop, number: int) -> None:
    with workshop.create(shell(SLEEP)) as container, pytest.raises(ValueError, match=f"unknown signal {number}"):
        container.signal(number)


def test_kill_without_a_pid_namespace_ends_all_processes(workshop: Workshop) -> None:
    talk = Talk()
    config = shell("sleep 1000 & sleep 1000 & echo $!; wait")
    config["linux"]["namespaces"].remove({"type": "pid"})
    with workshop.create(config, stdout=talk.stdout) as container:
        talk.handed_over()
        container.start()
        other = int(talk.hear.readline())
        watched = os.pidfd_open(other)
        container.kill()
        assert container.wait(PATIENCE).signal == signal.SIGKILL
        assert select.select([watched], [], [], PATIENCE)[0]
        assert talk.hear.read() == ""  # nobody holds the other end any more
        os.close(watched)
    talk.close()


# -- the fork server --------------------------------------------------------------------------------------------------


def servers() -> list[int]:
    """Fork servers of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def lives(workshop: Workshop) -> None:
    assert workshop.sh(runc_spec(), "echo lives") == "lives\n"


def test_one_server_for_many_containers_and_another_once_it_died(workshop: Workshop) -> None:
    forkservers.shutdown()
    assert servers() == []
    lives(workshop)
    (first,) = servers()
    lives(workshop)
    assert servers() == [first]
    with workshop.create(shell("read line; exit 8"), stdin=(talk := Talk()).stdin) as container:
        talk.handed_over()
        container.start()
        os.kill(first, signal.SIGKILL)
        pidfd_wait(first)
        lives(workshop)
        (second,) = servers()
        assert second != first
        # what the first one made is our child, and goes on
        talk.say.write("go\n")
        assert container.wait(PATIENCE).returncode == 8
        talk.close()


def test_a_dead_server_that_two_threads_find(workshop: Workshop) -> None:
    forkservers.shutdown()
    lives(workshop)
    (server,) = forkservers._servers.values()  # the second thread has it already when the first drops it
    (pid,) = servers()
    os.kill(pid, signal.SIGKILL)
    pidfd_wait(pid)
    for _ in range(2):
        forkservers.drop(server)  # what a thread does that finds it dead
    lives(workshop)


def test_an_interrupt_right_after_the_request_leaves_no_child(workshop: Workshop) -> None:
    lives(workshop)
    bundle = workshop.bundle(shell("exit 7"))

    def interrupt(_frame: object, event: str, function: object) -> None:
        if event == "c_return" and getattr(function, "__name__", "") == "sendmsg":
            sys.setprofile(None)
            raise KeyboardInterrupt

    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    sys.setprofile(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            workshop.factory.create(workshop.new_id(), bundle)
    finally:
        sys.setprofile(None)
    lives(workshop)  # the server takes one request after the other
    assert children.read_text() == before
    assert workshop.entries() == []


def test_a_start_without_time_knows_whether_the_program_runs(workshop: Workshop) -> None:
    bundle = workshop.bundle(shell("exit 7"))
    for _ in range(10):
        released = True
        with workshop.create(bundle) as container:
            try:
                container.start(timeout=0)
            except ContainerTimeout as late:
                released = late.released
            assert released
            assert container.wait(PATIENCE).returncode == 7


IGNORES = """
import signal, sys
from libcontainer_py import CreateError, Factory
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
factory = Factory(sys.argv[1])
refused = 0
for _ in range(int(sys.argv[5])):
    try:
        factory.create(sys.argv[4], sys.argv[2])
    except CreateError as error:
        refused += error.step == "mount"
with factory.create(sys.argv[4], sys.argv[3]) as container:
    container.start()
    print(refused, container.wait(60))
"""


def test_a_host_that_ignores_its_childrens_end(workshop: Workshop) -> None:
    bad = shell("exit 7")
    bad["mounts"].insert(0, {"destination": "/x", "type": "no-such-type", "source": "x"})
    bundles = [str(workshop.bundle(config)) for config in (bad, shell("exit 7"))]
    done = subprocess.run(
        [sys.executable, "-c", IGNORES, str(workshop.root), *bundles, workshop.new_id(), "200"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    # init may be gone before anybody could look at it: the kernel reaps it, and tells how it ended since Linux 6.15
    ended = ExitStatus(7 if kernel_version() >= (6, 15) else None)
    assert (done.returncode, done.stdout) == (0, f"200 {ended}\n"), done.stderr
    assert workshop.entries() == []


def test_the_server_ends_with_its_host(workshop: Workshop) -> None:
    code = (
        "import os, sys\n"
        "from libcontainer_py import run\n"
        "run(['true'])\n"
        "pids = open(f'/proc/self/task/{os.getpid()}/children').read().split()\n"
        "print(*[pid for pid in pids if 'forkserver' in open(f'/proc/{pid}/cmdline').read()], flush=True)\n"
        "sys.stdin.read(1)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    host = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert host.stdout is not None
    (pid,) = host.stdout.readline().split()
    watched = os.pidfd_open(int(pid))
    host.communicate(b"x", timeout=PATIENCE)
    assert select.select([watched], [], [], PATIENCE)[0]
    os.close(watched)


FORKED = """
import multiprocessing, os, sys
from libcontainer_py import Factory
root, bundle, *ids = sys.argv[1:]
def life(container_id):
    with Factory(root).create(container_id, bundle) as container:
        container.start()
        return container.wait(60).returncode
def servers():
    pids = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    return {pid for pid in pids if "forkserver" in open(f"/proc/{pid}/cmdline").read()}
if __name__ == "__main__":
    assert life(ids[0]) == 7
    ours = servers()
    assert len(ours) == 1
    pid = os.fork()
    if pid == 0:
        try:
            assert life(ids[1]) == 7
            assert len(servers()) == 1 and not servers() & ours
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert servers() == ours
    assert life(ids[2]) == 7
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(life, ids[3:7]) == [7] * 4
    assert life(ids[0]) == 7
    print("done")
"""


def test_forked_hosts_make_their_own(workshop: Workshop) -> None:
    program = workshop.folder / "program.py"
    program.write_text(FORKED)
    ids = [workshop.new_id() for _ in range(7)]
    bundle = str(workshop.bundle(shell("exit 7")))
    done = subprocess.run(
        [sys.executable, str(program), str(workshop.root), bundle, *ids],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_host_with_threads(workshop: Workshop) -> None:
    bundle = workshop.bundle(shell("exit 7"))
    ids = [workshop.new_id() for _ in range(24)]
    stop = threading.Event()
    busy = [threading.Thread(target=stop.wait) for _ in range(20)]
    for thread in busy:
        thread.start()

    def life(container_id: str) -> int | None:
        with workshop.factory.create(container_id, bundle) as container:
            container.start()
            return container.wait(PATIENCE).returncode

    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert [*pool.map(life, ids)] == [7] * 24
    finally:
        stop.set()
        for thread in busy:
            thread.join()
    assert workshop.entries() == []


def test_a_container_outlives_the_thread_that_made_it(workshop: Workshop) -> None:
    made: list[Container] = []
    talk = Talk()
    config = shell("read line; exit 6")
    thread = threading.Thread(target=lambda: made.append(workshop.create(config, stdin=talk.stdin)))
    thread.start()
    thread.join()
    talk.handed_over()
    with made[0] as container:
        container.start()
        talk.say.write("go\n")
        assert container.wait(PATIENCE).returncode == 6
    talk.close()


def test_limits_that_were_changed_since_travel_along(workshop: Workshop) -> None:
    lives(workshop)  # the fork server has the limits of now
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    number, most = resource.getrlimit(resource.RLIMIT_NPROC)
    config = runc_spec()
    config["process"]["rlimits"] = []
    changed = 12345 if number == resource.RLIM_INFINITY else number - 1
    resource.setrlimit(resource.RLIMIT_CORE, (0 if soft else min(4096, hard) if hard > 0 else 4096, hard))
    resource.setrlimit(resource.RLIMIT_NPROC, (changed, most))
    try:
        lines = workshop.sh(config, "cat /proc/self/limits")
        ours = Path("/proc/self/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NPROC, (number, most))
    assert lines == ours
    assert f" {changed} " in lines


# -- streams ----------------------------------------------------------------------------------------------------------


def test_streams(workshop: Workshop, tmp_path: Path) -> None:
    given, out, err = (tmp_path / name for name in ("given", "out", "err"))
    given.write_text("given\n")
    config = shell("cat; echo error >&2")
    with (
        given.open() as a,
        out.open("w") as b,
        err.open("w") as c,
        workshop.create(config, stdin=a, stdout=b.fileno(), stderr=c) as container,
    ):
        container.start()
        assert container.wait(PATIENCE).returncode == 0
    assert (out.read_text(), err.read_text()) == ("given\n", "error\n")


def test_devnull(workshop: Workshop, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = "cat; for n in 0 2; do stat -L -c %t:%T /proc/self/fd/$n; done; echo lost >&2"
    streams = {"stdin": DEVNULL, "stderr": subprocess.DEVNULL}
    with out.open("w") as file, workshop.create(shell(script), stdout=file, **streams) as container:
        container.start()
        assert container.wait(PATIENCE).returncode == 0
    assert out.read_text() == "1:3\n1:3\n"


def test_one_descriptor_for_all(workshop: Workshop, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = shell("echo a; echo b >&2")
    with out.open("w+") as file, workshop.create(config, stdin=file, stdout=file, stderr=file) as container:
        container.start()
        container.wait(PATIENCE)
    assert out.read_text() == "a\nb\n"


INHERIT = """
import os, sys
from libcontainer_py import Factory
for number in map(int, sys.argv[4].split()):
    os.close(number)
for container_id in sys.argv[2].split():  # the second finds a fork server, whose socket may have the number of a stream
    with Factory(sys.argv[1]).create(container_id, sys.argv[3]) as container:
        container.start()
        code = container.wait(60).returncode
os._exit(code)
"""


@pytest.mark.parametrize("closed", ["", "0", "0 1 2", "1", "2"])
def test_streams_are_inherited_and_closed_ones_are_dev_null(workshop: Workshop, closed: str) -> None:
    config = shell("cat; echo out; echo err >&2; for n in 0 1 2; do stat -L -c %t:%T /proc/self/fd/$n; done >/seen")
    config["root"]["readonly"] = False
    bundle = workshop.bundle(config)
    arguments = [str(workshop.root), f"{workshop.new_id()} {workshop.new_id()}", str(bundle), closed]
    done = subprocess.run(
        [sys.executable, "-c", INHERIT, *arguments], input="given\n", capture_output=True, text=True, timeout=PATIENCE
    )
    given = "" if "0" in closed else "given\n"
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("" if "1" in closed else f"{given}out\nout\n")
    assert done.stderr == ("" if "2" in closed else "err\nerr\n")
    seen = (bundle / "rootfs/seen").read_text().split()
    assert [n for n in (0, 2) if seen[n] == "1:3"] == [n for n in (0, 2) if str(n) in closed]


def test_dev_stdout_can_be_opened_by_another_user(workshop: Workshop) -> None:
    talk = Talk()
    config = shell("echo through >/dev/stdout")
    config["process"]["user"] = {"uid": 1234, "gid": 1234}
    with workshop.create(config, stdout=talk.stdout) as container:
        talk.handed_over()
        container.start()
        assert container.wait(PATIENCE).returncode == 0
    assert talk.hear.read() == "through\n"
    talk.close()


@pytest.mark.parametrize("bad", [99, -7])
def test_a_descriptor_that_is_not_open(workshop: Workshop, bad: int) -> None:
    container_id = workshop.new_id()
    with pytest.raises(OSError, match="Bad file descriptor"):
        workshop.factory.create(container_id, workshop.bundle(shell("true")), stdin=bad)
    assert workshop.entries() == []
    assert cgroups_of(container_id) == []
    lives(workshop)


# -- what a child used ------------------------------------------------------------------------------------------------


def spawned(code: str) -> int:
    """A pidfd of a Python that is our child and has ended."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", code], {})
    pidfd = os.pidfd_open(pid)
    assert process.has_ended(pidfd, PATIENCE)
    return pidfd


@pytest.mark.parametrize(
    ("code", "returncode"),
    [("pass", 0), ("import sys; sys.exit(137)", 137), ("import os; os.kill(os.getpid(), 15)", -15)],
)
def test_how_a_child_ended(code: str, returncode: int) -> None:
    pidfd = spawned(code)
    assert libc.waitid(pidfd)[0] == returncode
    with pytest.raises(ChildProcessError):
        libc.waitid(pidfd)
    os.close(pidfd)


def test_what_a_child_used_with_its_children() -> None:
    # the memory that is written to is in use: 60 MiB, in a child that it waits for; and half a second of its own
    code = (
        "import os, time\n"
        "if os.fork() == 0: bytearray(60 << 20); os._exit(0)\n"
        "os.wait()\n"
        "while time.process_time() < 0.5: pass\n"
    )
    pidfd = spawned(code)
    _, seconds, memory = libc.waitid(pidfd)
    os.close(pidfd)
    assert 0.5 <= seconds < 5
    assert memory >= 60 << 20


def test_how_a_child_ended_that_somebody_else_has_reaped() -> None:
    pidfd = spawned("import os; os.kill(os.getpid(), 15)")
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    expected = -15 if kernel_version() >= (6, 15) else None
    assert process.exit_code(pidfd) == expected
    os.close(pidfd)


def test_a_process_that_lives_has_no_exit_code() -> None:
    pidfd = os.pidfd_open(os.getpid())
    assert process.exit_code(pidfd) is None
    os.close(pidfd)


def kernel_version() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def test_measured(workshop: Workshop) -> None:
    config = shell("x=$(head -c 20000000 /dev/zero | tr '\\0' x); exit 3")
    config["linux"]["resources"]["memory"] = {"limit": 200 << 20}
    with workshop.create(config) as container:
        backend = workshop.factory.backend
        record = backend.load(container.id)
        container.start()
        pidfd = backend.pidfd(record)
        assert pidfd is not None
        assert process.has_ended(pidfd, PATIENCE)
        os.close(pidfd)
        ended = backend.wait(record, timeout=PATIENCE)
        assert ended is not None
        assert ended.returncode == 3
        assert ended.cpu_seconds > 0
        assert ended.peak_memory > 19 << 20
        measured = backend.measure(record)
        assert measured.oom_kills == 0
        assert 19 << 20 < measured.peak_memory < 200 << 20
        assert backend.pidfd(record) is None
    assert backend.measure(record) == (0, 0)  # its cgroup is gone


def test_a_reaper_says_what_it_used_itself() -> None:
    pidfd = spawned("pass")
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    child = children.Child(1, pidfd, 1)
    child.control = ours
    theirs.send(messages.EXITED + messages.pack_end(-7, 1000.0, 12345))
    theirs.close()
    assert (child.reap(), child.cpu_seconds, child.peak_memory) == (-7, 0.0, 12345)
