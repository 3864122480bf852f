"""die_with_parent: when the embedding process ends, however that comes, nothing goes on that was to end with it."""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libcontainer_py import DEVNULL, Status
from libcontainer_py.init.charges import Charges
from libcontainer_py.kernel import process
from libcontainer_py.record import Init
from tests.crashes import readable
from tests.kernel.workshop import PATIENCE, Config, cgroups_of, namespaces, runc_spec
from tests.repetitions import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kernel.workshop import Workshop

MOMENTS = times(8)
"""Random moments of a kill -9."""
SOON = 10.0
"""Seconds after which nothing may be left: one on a quiet machine."""

# Makes a container as its arguments say and tells who its init is; then does what it is told, a line each.
HOST = """
import json, os, sys
from libcontainer_py import DEVNULL, Factory
from libcontainer_py.backends import forkservers
from libcontainer_py.backends.base import CreateRequest
root, container_id, bundle, flags = sys.argv[1:]
factory = Factory(root)
request = CreateRequest(container_id, bundle, None, DEVNULL, DEVNULL, DEVNULL, **json.loads(flags))
container = factory.backend.create(request)
factory.backend.release(container_id, timeout=None)
def server():
    (one,) = forkservers._servers.values()
    return one
print(json.dumps([*container.init]), flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Host:
    """A process that embeds the library."""

    def __init__(self, workshop: Workshop, config: Config, *, reaper: bool = False, dies: bool = True) -> None:
        self.id = workshop.new_id()
        command = [str(workshop.root), self.id, str(workshop.bundle(config))]
        command.append(json.dumps({"reaper": reaper, "die_with_parent": dies}))
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOST, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.init = Init(*json.loads(self.hear()))

    def hear(self) -> str:
        assert self.process.stdout is not None
        assert readable(self.process.stdout.fileno())
        return self.process.stdout.readline()

    def say(self, line: str) -> None:
        """Have it execute a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.hear() == "done\n"

    def server(self) -> int:
        """The pid of its fork server."""
        (found,) = [
            int(pid)
            for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            if "forkserver" in Path(f"/proc/{pid}/cmdline").read_text()
        ]
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def close(self) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    opened: list[Host] = []
    yield opened
    for host in opened:
        host.close()


def sleeper(*kinds: str) -> Config:
    config = runc_spec()
    if kinds:
        namespaces(config, *kinds)
        del config["hostname"]
    config["process"]["args"] = ["/bin/sh", "-c", "busybox sleep 1000 & busybox sleep 1000"]
    config["process"]["env"] = ["PATH=/bin"]
    return config


def ends(init: Init, timeout: float = PATIENCE) -> bool:
    """Whether a process has ended, or does within the time."""
    pidfd = process.pidfd_open(*init)
    if pidfd is None:
        return True
    try:
        return process.has_ended(pidfd, timeout)
    finally:
        os.close(pidfd)


def await_that(holds: Callable[[], bool], timeout: float = PATIENCE) -> None:
    """For what nobody reports: look again until it is so."""
    nothing = select.poll()
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        nothing.poll(5)


def members(container_id: str) -> list[Init]:
    """All processes of its cgroups."""
    pids = {
        int(pid)
        for directory in cgroups_of(container_id)
        for pid in Path(directory, "cgroup.procs").read_text().split()
    }
    return [Init(pid, process.stat(pid).start) for pid in pids]


@pytest.mark.parametrize("reaper", [False, True])
def test_kill_9(workshop: Workshop, hosts: list[Host], reaper: bool) -> None:
    hosts.append(host := Host(workshop, sleeper(), reaper=reaper))
    host.kill()
    assert ends(host.init)
    (swept,) = workshop.factory.sweep()
    assert (swept.id, swept.removed) == (host.id, True)
    assert workshop.entries() == []
    assert cgroups_of(host.id) == []


def test_without_it_a_container_goes_on(workshop: Workshop, hosts: list[Host]) -> None:
    hosts.append(host := Host(workshop, sleeper(), dies=False))
    host.kill()
    assert not ends(host.init, 0.2)
    assert workshop.factory.sweep() == []
    assert workshop.factory.load(host.id).status is Status.RUNNING


def test_an_ordinary_end(workshop: Workshop, hosts: list[Host]) -> None:
    hosts.append(host := Host(workshop, sleeper()))
    assert host.process.stdin is not None
    host.process.stdin.close()
    assert host.process.wait(PATIENCE) == 0
    assert ends(host.init)


def test_another_program_in_its_place(workshop: Workshop, hosts: list[Host]) -> None:
    hosts.append(host := Host(workshop, sleeper()))
    assert host.process.stdin is not None
    host.process.stdin.write("os.execv('/bin/sh', ['sh', '-c', 'read x'])\n")
    host.process.stdin.flush()
    assert ends(host.init)
    assert host.process.poll() is None


def test_a_paused_one(workshop: Workshop, hosts: list[Host]) -> None:
    hosts.append(host := Host(workshop, sleeper(), reaper=True))
    workshop.factory.load(host.id).pause()
    host.kill()
    assert ends(host.init)


@pytest.mark.parametrize("paused", [False, True])
def test_processes_beside_an_init_without_a_pid_namespace(workshop: Workshop, hosts: list[Host], paused: bool) -> None:
    hosts.append(host := Host(workshop, sleeper("mount", "cgroup")))
    # init, and what it started
    await_that(lambda: len(members(host.id)) > 1)
    them = members(host.id)
    if paused:
        workshop.factory.load(host.id).pause()
    host.kill()
    assert all(map(ends, them))


def test_processes_beside_an_init_where_there_is_no_v2(workshop: Workshop) -> None:
    config = sleeper("mount", "cgroup")
    with workshop.create(config, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as container:
        freezer = next((path for path in cgroups_of(container.id) if "freezer" in path), None)
        if freezer is None:
            pytest.skip("needs cgroup v1")
        container.start()
        await_that(lambda: len(members(container.id)) > 1)
        them = members(container.id)
        pidfd = os.pidfd_open(container.init_pid or 0)
        charges = Charges()
        charges.take([pidfd], ((freezer, "", False),))
        charges.end()
        os.close(pidfd)
        assert all(map(ends, them))


def test_a_fork_of_the_host_keeps_nothing_alive(workshop: Workshop, hosts: list[Host], tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    hosts.append(host := Host(workshop, sleeper(), reaper=True))
    host.say(f"child = os.fork() or (os.open({str(go)!r}, os.O_RDONLY), os._exit(0))")
    host.say("import signal; signal.pidfd_send_signal(server().pidfd, 9)")  # so that all depends on the reaper
    host.kill()
    assert ends(host.init)
    os.close(os.open(go, os.O_WRONLY))  # waits until it is there: it did outlive the host


def test_a_reaper_ends_also_when_the_server_was_killed_before(workshop: Workshop, hosts: list[Host]) -> None:
    hosts.append(host := Host(workshop, sleeper(), reaper=True))
    host.say("import signal; signal.pidfd_send_signal(server().pidfd, 9)")
    assert not ends(host.init, 0.05)
    host.kill()
    assert ends(host.init)


def test_the_successor_of_a_killed_server_looks_after_its_containers(workshop: Workshop, hosts: list[Host]) -> None:
    hosts.append(host := Host(workshop, sleeper()))
    host.say("import signal; old = server(); signal.pidfd_send_signal(old.pidfd, 9)")
    # until it has ended it may take a request, and then it dies while it makes a container, which is an error
    host.say("from libcontainer_py.kernel import process; assert process.has_ended(old.pidfd, 10)")
    host.say("factory.delete('none', force=True)")
    other = workshop.new_id()
    host.say(f"other = factory.create({other!r}, bundle, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)")
    host.say("assert server() is not old")
    host.kill()
    assert ends(host.init)
    assert workshop.factory.load(other).status is Status.CREATED


def test_what_outlived_both_is_swept(workshop: Workshop, hosts: list[Host]) -> None:
    hosts.append(host := Host(workshop, sleeper()))
    host.say("import signal; signal.pidfd_send_signal(server().pidfd, 9)")
    host.kill()
    assert not ends(host.init, 0.05)
    (swept,) = workshop.factory.sweep()
    assert (swept.id, swept.removed, swept.reason) == (host.id, True, "its creator died, and it was to die with it")
    assert ends(host.init, 0)
    assert cgroups_of(host.id) == []


def test_ended_containers_are_let_go(workshop: Workshop, hosts: list[Host]) -> None:
    # the server holds no pidfd of a container that is gone, once another one comes
    hosts.append(host := Host(workshop, sleeper()))
    host.say("factory.delete(container_id, force=True)")
    for _ in range(5):
        host.say("c = factory.create(container_id, bundle, die_with_parent=True); c.delete(force=True)")
    host.say("assert len(server().charges()) == 0")
    links = [os.readlink(path) for path in Path(f"/proc/{host.server()}/fd").iterdir()]
    assert len([link for link in links if "pidfd" in link]) <= 2  # the host's, and the last container's


# Runs one sandbox after the other, each of which leaves something running, and writes a byte for each.
BUSY = """
import os, signal, sys
from libcontainer_py import Factory, LauncherError, run
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background it is ignored
factory = Factory(sys.argv[1])
name, _, mark = sys.argv[2].partition("=")
options = {"factory": factory, "env": {name: mark}, "stdin": -3}
os.write(1, b"-")
while True:
    try:
        assert run(["sh", "-c", "sleep 1000 & sleep 0.05"], **options).returncode == 0
        os.write(1, b".")
    except LauncherError:  # whoever is being made as the server dies
        os.write(1, b"!")
"""


class Busy:
    """A host that runs sandboxes until it is ended, in a process group of its own."""

    def __init__(self, workshop: Workshop, mark: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BUSY, str(workshop.root), mark],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pidfd = os.pidfd_open(self.process.pid)

    def go_on(self, runs: int) -> None:
        """Wait until it has ended some more of them."""
        assert self.process.stdout is not None
        for _ in range(runs):
            assert readable(self.process.stdout.fileno(), PATIENCE)
            assert os.read(self.process.stdout.fileno(), 1), self.complaint()

    def complaint(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def kill_server(self) -> None:
        """Not an init, which looks like it, and is in a pid namespace of its own."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            try:
                pidfd = os.pidfd_open(int(pid))
            except OSError:
                continue  # an init that has ended
            try:
                command, status = (Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "status"))
                if "forkserver" in command and len(re.findall(r"^NSpid:(.*)$", status, re.MULTILINE)[0].split()) == 1:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except OSError:
                continue  # it has just been reaped
            finally:
                os.close(pidfd)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self.pidfd)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def kill_host(busy: Busy) -> int:
    busy.process.kill()
    return -signal.SIGKILL


def kill_server(busy: Busy) -> int:
    """It goes on with another one; and then it is killed too."""
    busy.kill_server()
    busy.go_on(3)
    return kill_host(busy)


def kill_both(busy: Busy) -> int:
    """Whom nobody looks after any more ends by himself."""
    busy.kill_server()
    return kill_host(busy)


def interrupt(busy: Busy) -> int:
    """As a terminal's Ctrl-C, which reaches all of the process group."""
    os.killpg(busy.process.pid, signal.SIGINT)
    assert readable(busy.pidfd, PATIENCE)
    return -signal.SIGINT


@pytest.mark.parametrize("way", [kill_host, kill_server, kill_both, interrupt])
def test_at_random_moments(workshop: Workshop, way: Callable[[Busy], int]) -> None:
    moments = random.Random()
    traces = Traces(workshop)
    seen = 0
    longest = 0.0
    for _ in range(MOMENTS):
        busy = Busy(workshop, traces.mark)
        try:
            busy.go_on(1)
            readable(busy.pidfd, moments.uniform(0, 0.3))
            traces.note(busy.process.pid)
            seen = max(seen, len(traces.processes()))
            expected = way(busy)
            begun = time.monotonic()
            assert busy.process.wait(PATIENCE) == expected, busy.complaint()
            await_that(lambda: traces.processes() == [], SOON)
            longest = max(longest, time.monotonic() - begun)
        finally:
            busy.close()
        workshop.factory.sweep()
        assert workshop.entries() == []
    assert seen > 0  # so it would be seen if it went on
    print(f"{MOMENTS} times {way.__name__}: nothing ran any more after {longest:.2f} s")


class Traces:
    """What there is of a host and its sandboxes: by their environment, by their cgroups, and who was its child."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.mark = f"MARK={os.urandom(8).hex()}"
        self.family: set[Init] = set()

    def note(self, host: int) -> None:
        """Remember its children: the server, who is not marked, and inits on their way."""
        for pid in _read(str(host), f"task/{host}/children").split():
            try:
                self.family.add(Init(int(pid), process.stat(pid).start))
            except OSError:
                continue  # it has just ended

    def processes(self) -> list[str]:
        ids = [f"/{name}\n" for name in self.workshop.entries()]
        return [
            f"{name} {_read(name, 'comm')}"
            for name in os.listdir("/proc")
            if name.isdigit() and self._is_ours(name, ids)
        ] + [str(one) for one in self.family if process.alive(*one)]

    def _is_ours(self, name: str, ids: list[str]) -> bool:
        if _read(name, "stat").rpartition(") ")[2].startswith("Z"):
            return False  # it has ended, and the host's init has not looked yet
        if self.mark in _read(name, "environ"):
            return True
        cgroups = _read(name, "cgroup")
        return any(one in cgroups for one in ids)


def _read(name: str, file: str) -> str:
    try:
        return Path("/proc", name, file).read_text(errors="replace")
    except OSError:
        return ""
