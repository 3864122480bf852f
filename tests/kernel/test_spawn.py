"""A further process of a container: where it is, who it is, what it holds, and how it fails."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from libcontainer_py import ConfigError, IllegalOperation, ProgramNotFound, StartError
from libcontainer_py.backends import children, launcher, spawning
from libcontainer_py.backends.base import SpawnRequest
from libcontainer_py.init import messages
from libcontainer_py.spec.config import Capabilities, Rlimit, User
from tests.kernel.workshop import PATIENCE, Config, Workshop, python_mounts, runc_spec
from tests.repetitions import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py import Container

WAITS = ["/bin/busybox", "sleep", "1000"]
STATUS = "cat /proc/self/status; umask; pwd; env; ls /proc/self/fd; cat /proc/self/oom_score_adj; ulimit -n"


def waiting() -> Config:
    config = runc_spec()
    config["linux"]["namespaces"].append({"type": "cgroup"})
    config["process"]["args"] = WAITS
    return config


class Heard:
    """A command in a container: what it wrote, and how it ended."""

    def __init__(self, container: Container, script: str, **changes: object) -> None:
        reads, writes = os.pipe()
        try:
            args = ("/bin/sh", "-c", script)
            request = SpawnRequest(args, stdin=-3, stdout=writes, stderr=writes)._replace(**changes)
            self.spawned = container._backend.spawn(container._record, request)
        finally:
            os.close(writes)
            with os.fdopen(reads) as file:
                self.text = file.read()
        ended = self.spawned.wait(timeout=PATIENCE)
        assert ended is not None
        self.returncode = ended.returncode

    def field(self, name: str) -> str:
        """A field of /proc/self/status."""
        return next(line for line in self.text.splitlines() if line.startswith(f"{name}:")).split(":", 1)[1].strip()


@pytest.mark.parametrize("started", [False, True], ids=["created", "running"])
def test_it_is_in_every_namespace_and_cgroup_of_init(workshop: Workshop, started: bool) -> None:
    with workshop.create(waiting()) as container:
        if started:
            container.start()
        spawned = container._backend.spawn(container._record, SpawnRequest(tuple(WAITS)))
        try:
            init, other = f"/proc/{container.init_pid}", f"/proc/{spawned.pid}"
            for name in os.listdir(f"{init}/ns"):
                assert os.stat(f"{other}/ns/{name}").st_ino == os.stat(f"{init}/ns/{name}").st_ino, name
            # init's own may be written anew by whoever enters a cgroup namespace; these are the host's words
            assert Path(f"{other}/cgroup").read_text() == Path(f"{init}/cgroup").read_text()
            assert os.stat(f"{other}/root").st_ino == os.stat(f"{init}/root").st_ino
            assert os.getsid(spawned.pid) == spawned.pid
        finally:
            spawned.signal(9)
            ended = spawned.wait(timeout=PATIENCE)
            assert ended is not None
            assert ended.returncode == -9


def test_it_is_as_the_configuration_says(workshop: Workshop) -> None:
    config = waiting()
    config["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7], "umask": 0o27}
    config["process"]["oomScoreAdj"] = 123
    config["process"]["env"] = ["PATH=/bin", "A=1"]
    config["process"]["cwd"] = "/tmp"
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}],
    }
    with workshop.create(config) as container:
        heard = Heard(container, f"mkdir /tmp/x 2>&1; {STATUS}")
        assert heard.returncode == 0
        assert "Permission denied" in heard.text
        assert heard.field("Uid").split() == ["1000"] * 4
        assert heard.field("Gid").split() == ["1001"] * 4
        assert heard.field("Groups") == "7"
        assert heard.field("NoNewPrivs") == "1"
        assert heard.field("Seccomp") == "2"
        init = Path(f"/proc/{container.init_pid}/status").read_text()
        assert f"CapBnd:\t{heard.field('CapBnd')}\n" in init
        lines = heard.text.splitlines()
        assert lines[-1] == "77"
        assert "0027" in lines
        assert "/tmp" in lines
        assert "A=1" in lines
        assert "123" in lines
        descriptors = lines[lines.index("0") : lines.index("123")]
        assert descriptors == ["0", "1", "2", "3"]  # 3 is the directory that ls reads


def test_what_is_asked_for_takes_the_place_of_the_configuration(workshop: Workshop) -> None:
    config = waiting()
    config["process"]["env"] = ["PATH=/bin", "A=1", "B=1"]
    with workshop.create(config) as container:
        heard = Heard(
            container,
            STATUS,
            env={"B": "2", "C": "3"},
            cwd="/etc",
            user=User(uid=5, gid=6),
            capabilities=Capabilities(bounding=("CAP_KILL",)),
            rlimits=(Rlimit(type="RLIMIT_NOFILE", soft=55, hard=56),),
            no_new_privileges=False,
        )
        assert heard.field("Uid").split() == ["5"] * 4
        assert int(heard.field("CapBnd"), 16) == 1 << 5
        assert int(heard.field("CapEff"), 16) == 0
        assert heard.field("NoNewPrivs") == "0"
        lines = heard.text.splitlines()
        assert {"A=1", "B=2", "C=3", "/etc", "55"} <= set(lines)
        assert "B=1" not in lines


def test_a_user_namespace_is_joined_first(workshop: Workshop) -> None:
    for folder in (workshop.folder, *workshop.folder.parents):  # its root must find its files
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)
    config = waiting()
    config["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle = workshop.bundle(config)
    subprocess.run(["chown", "-R", "100000:100000", str(bundle / "rootfs")], check=True)
    with workshop.create(bundle) as container:
        container.start()
        heard = Heard(container, "id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user")
        uid, ids, namespace = heard.text.splitlines()
        assert (uid, ids.split()) == ("0", ["0", "100000", "65536"])
        assert namespace == os.readlink(f"/proc/{container.init_pid}/ns/user")


@pytest.mark.parametrize(
    ("args", "kind", "text"),
    [
        (("/nope",), ProgramNotFound, "no such file or directory"),
        (("nope",), ProgramNotFound, "executable file not found in $PATH"),
        (("/etc",), ProgramNotFound, "permission denied"),
        (("/tmp/text",), StartError, "Exec format error"),
    ],
)
def test_a_program_that_cannot_run_says_why(
    workshop: Workshop, args: tuple[str, ...], kind: type[StartError], text: str
) -> None:
    bundle = workshop.bundle(waiting())
    (bundle / "rootfs" / "tmp" / "text").write_text("no program")
    (bundle / "rootfs" / "tmp" / "text").chmod(0o755)
    with workshop.create(bundle) as container:
        with pytest.raises(kind, match=text.replace("$", r"\$")) as caught:
            container._backend.spawn(container._record, SpawnRequest(args))
        assert caught.value.container_id == container.id
        assert container.status == "created"


def test_other_failures_name_the_step_and_the_field(workshop: Workshop) -> None:
    with workshop.create(waiting()) as container:
        with pytest.raises(StartError, match=r"cwd /nowhere \(process\.cwd\).*No such file or directory"):
            container._backend.spawn(container._record, SpawnRequest(("/bin/sh",), cwd="/nowhere"))
        with pytest.raises(ConfigError, match=r"process\.cwd: 'x' is not absolute"):
            container._backend.spawn(container._record, SpawnRequest(("/bin/sh",), cwd="x"))
        (Path(container.bundle) / "config.json").unlink()
        with pytest.raises(ConfigError, match=r"config\.json.*no such file"):
            container._backend.spawn(container._record, SpawnRequest(("/bin/sh",)))


def test_a_container_that_has_stopped_takes_none(workshop: Workshop) -> None:
    with workshop.create(waiting()) as container:
        container.kill()
        container.wait(PATIENCE)
        with pytest.raises(IllegalOperation, match="cannot exec in a stopped container"):
            container._backend.spawn(container._record, SpawnRequest(("/bin/sh",)))


def test_it_ends_with_the_pid_1_of_its_namespace(workshop: Workshop) -> None:
    with workshop.create(waiting()) as container:
        container.start()
        spawned = container._backend.spawn(container._record, SpawnRequest(tuple(WAITS)))
        container.kill()
        container.wait(PATIENCE)
        ended = spawned.wait(timeout=PATIENCE)
        assert ended is not None
        assert ended.returncode == -9
        assert spawned.fileno() == -1


def test_the_null_device_of_the_host_cannot_be_changed_through_a_stream(workshop: Workshop) -> None:
    before = os.stat("/dev/null")
    with workshop.create(waiting()) as container:
        heard = Heard(container, "chmod 0600 /proc/self/fd/0; chown 5 /proc/self/fd/0; cat")
        assert heard.returncode == 0
    after = os.stat("/dev/null")
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)


# Looks for every process that is new in its pid namespace, and for what it holds until it is a program of the
# container: its executable for writing, its descriptors, rights that a tracer could use. What it got it says.
ATTACK = """
import os
got, seen = set(), 0
allowed = int(next(line for line in open("/proc/self/status") if line.startswith("CapPrm")).split()[1], 16)
open("/tmp/armed", "w").close()
while not os.path.exists("/tmp/stop"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        try:
            if open(f"/proc/{pid}/comm").read().strip() != "libcontainer:0":
                continue
        except OSError:
            continue
        try:
            status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)
            if int(status["CapPrm"], 16) & ~allowed:
                got.add("capabilities " + status["CapPrm"].strip())
            os.close(os.open(f"/proc/{pid}/exe", os.O_RDWR))
            got.add("exe")
        except OSError:
            pass
        for name in ("root", "cwd"):
            try:
                if not os.path.samefile(f"/proc/{pid}/{name}", "/"):
                    got.add(name)
            except OSError:
                pass
        try:
            for number in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{number}")
                seen += 1
                if not target.startswith(("socket:", "pipe:")) and target != "/":  # "/" is a detached /dev/null
                    got.add("fd " + target)
        except OSError:
            pass
print(seen > 0, sorted(got), flush=True)
"""


def test_a_program_in_the_container_gets_nothing_of_what_joins(workshop: Workshop) -> None:
    """Even one that may trace everything in its pid namespace: the class of runc's CVE-2019-5736 and 2024-21626."""
    config = waiting()
    everything = [f"CAP_{name}" for name in ("SYS_PTRACE", "SYS_ADMIN", "DAC_OVERRIDE", "DAC_READ_SEARCH")]
    for name in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][name] = everything
    config["root"]["readonly"] = False
    config["process"]["args"] = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", ATTACK]
    config["mounts"] += python_mounts()
    bundle = workshop.bundle(config)
    out = workshop.folder / "attacker"
    with out.open("wb") as file, workshop.create(bundle, stdout=file, stderr=file) as container:
        container.start()
        armed = bundle / "rootfs" / "tmp" / "armed"
        for _ in range(1000):
            if armed.exists():
                break
            os.sched_yield()
            assert Heard(container, "true").returncode == 0
        for _ in range(times(30)):
            assert Heard(container, "true").returncode == 0
        (bundle / "rootfs" / "tmp" / "stop").touch()
        assert container.wait(PATIENCE).returncode == 0, out.read_text()
    assert out.read_text().strip() == "True []"  # it saw some of them on their way


def test_one_that_another_thread_reaps_just_now_does_not_disturb_who_waits_for_init(workshop: Workshop) -> None:
    with workshop.create(waiting()) as container:
        spawned = container._backend.spawn(container._record, SpawnRequest(tuple(WAITS)))
        spawned.signal(9)
        (child,) = children.joined(container._record.init)
        assert child.reap() == -9  # it is in the table still
        assert container._backend.wait(container._record, timeout=0) is None
        assert spawned.wait(timeout=PATIENCE) is not None


def spawn_until_one_fails(container: Container) -> None:
    for _ in range(500):
        spawned = container._backend.spawn(container._record, SpawnRequest(("/bin/busybox", "true"), stdin=-3))
        spawned.signal(9)  # stopped or not
        assert spawned.wait(timeout=PATIENCE) is not None


def test_who_is_stopped_before_it_is_a_program_hangs_nobody(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal that any program of the same user may send."""
    monkeypatch.setattr(spawning, "EXECUTE_TIMEOUT", 0.2)
    config = waiting()
    config["process"]["args"] = ["/bin/busybox", "sh", "-c", "while :; do kill -STOP -1 2>/dev/null; done"]
    with workshop.create(config) as container:
        container.start()
        with pytest.raises(StartError, match=r"did not execute its program within 0\.2 s") as caught:
            spawn_until_one_fails(container)
        assert caught.value.errno == errno.ETIMEDOUT
        assert children.joined(container._record.init) == []


# Takes what a new process has open and keeps it, as CAP_SYS_PTRACE lets it.
KEEPS = """
import ctypes, os
take = ctypes.CDLL(None).syscall
kept = 0
while not os.path.exists("/tmp/stop"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        try:
            pidfd = os.pidfd_open(int(pid))
        except OSError:
            continue
        for number in range(3, 12):
            got = take(438, pidfd, number, 0)
            try:
                if got >= 0 and os.readlink(f"/proc/self/fd/{got}").startswith("socket:"):
                    kept += 1
                    open("/tmp/kept", "w").close()
                elif got >= 0:
                    os.close(got)
            except OSError:
                pass
        os.close(pidfd)
print(kept > 0)
"""


def test_who_keeps_a_control_socket_hangs_nobody(workshop: Workshop) -> None:
    config = waiting()
    for name in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][name] = ["CAP_SYS_PTRACE"]
    config["root"]["readonly"] = False
    config["process"]["args"] = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", KEEPS]
    config["mounts"] += python_mounts()
    bundle = workshop.bundle(config)
    out = workshop.folder / "attacker"
    with out.open("wb") as file, workshop.create(bundle, stdout=file, stderr=file) as container:
        container.start()
        kept = bundle / "rootfs" / "tmp" / "kept"
        for _ in range(500):
            assert Heard(container, "true").returncode == 0
            if kept.exists():
                break
        (bundle / "rootfs" / "tmp" / "stop").touch()
        assert container.wait(PATIENCE).returncode == 0, out.read_text()
    assert out.read_text().strip() == "True"


def test_which_process_is_new_says_its_maker_alone() -> None:
    """Not whoever got hold of the socket: he would name one of the host's, which is killed where spawning fails."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        launch = object.__new__(launcher.Launch)
        launch.control, launch._early, launch._server = ours, [], None
        forged, true = messages.MADE + (1).to_bytes(4, "little"), messages.MADE + (2).to_bytes(4, "little")
        script = f"import os; os.write({theirs.fileno()}, {forged!r})"
        subprocess.run([sys.executable, "-c", script], pass_fds=[theirs.fileno()], check=True)
        theirs.send(true)
        assert launch._answer((messages.MADE,), by=os.getpid()) == (true, -1)
        assert launch.hear() == forged  # an error, as all that a new process says


def test_who_never_gets_a_plan_ends(workshop: Workshop) -> None:
    with workshop.create(waiting()) as container:
        init = container.init_pid
        assert init is not None
        pidfd = os.pidfd_open(init)
        try:
            launch = launcher.Launch(None, 0, None, ((("init", spawning._namespaces(init)),), None), {"init": pidfd})
            closed = os.dup(pidfd)
            os.close(closed)
            with pytest.raises(OSError, match="Bad file descriptor"):
                launch.instruct((), {"stdin": closed})
            launch.discard()
        finally:
            os.close(pidfd)


def test_no_cgroup_is_no_way_out_of_it(workshop: Workshop) -> None:
    """On v2 init may stand in a cgroup that the container makes and removes as it likes."""
    with workshop.create(waiting()) as container:
        gone = container._record._replace(cgroup_paths={"": "/sys/fs/cgroup/gone"})
        with pytest.raises(StartError, match="its cgroup takes no further process"):
            container._backend.spawn(gone, SpawnRequest(tuple(WAITS)))


# A user namespace of init's own, in which nobody may change his groups.
SHUTS = """
import ctypes, os, signal
assert ctypes.CDLL(None).unshare(0x10000000) == 0
for name, text in (("setgroups", "deny"), ("gid_map", "0 0 1"), ("uid_map", "0 0 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
open("/tmp/shut", "w").close()
signal.pause()
"""


def test_no_group_of_the_host_comes_along(workshop: Workshop) -> None:
    config = waiting()
    for name in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][name] = ["CAP_SETFCAP"]  # as with Docker: a map of root's id takes it
    config["root"]["readonly"] = False
    config["process"]["args"] = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", SHUTS]
    config["mounts"] += python_mounts()
    bundle = workshop.bundle(config)
    groups = os.getgroups()
    with workshop.create(bundle) as container:
        container.start()
        shut = bundle / "rootfs" / "tmp" / "shut"
        while not shut.exists():
            assert container.status == "running"
            os.sched_yield()
        os.setgroups([4242])
        try:
            heard = Heard(container, "cat /proc/self/status")
        finally:
            os.setgroups(groups)
        assert heard.field("Groups") == ""
