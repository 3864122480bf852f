"""Real cgroups with real processes in them, on whichever version this host has; v1 alone in its own namespace."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from libcontainer_py import cgroups
from libcontainer_py.cgroups import Mode
from libcontainer_py.cgroups.devices import DeviceRule, with_defaults
from libcontainer_py.cgroups.hierarchies import read_hierarchies
from libcontainer_py.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libcontainer_py.cgroups import Cgroup

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")

# Joins by the descriptors of its first argument and the v2 directory of its second, says so, and does the third.
MEMBER = """
import os, signal, sys, time
descriptors, directory, code = sys.argv[1:]
for descriptor in filter(None, descriptors.split(",")):
    os.write(int(descriptor), b"0")
if directory:
    with open(directory + "/cgroup.procs", "w") as file:
        file.write("0")
print("in", flush=True)
exec(code)
"""
WAIT = "signal.pause()"
# each child forks the next one and ends, so no list of pids is ever right; they end by themselves after a minute
FORK = """
end = time.monotonic() + 60
for _ in range(6):
    if os.fork() == 0:
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
        os._exit(0)
signal.pause()
"""


@pytest.fixture(autouse=True)
def _needs_cgroups(root_only: None) -> None:
    if cgroups.detect() is Mode.NONE:
        pytest.skip("needs cgroups mounted")


@pytest.fixture
def group() -> Iterator[str]:
    """A cgroupsPath that nobody else uses; it is gone afterwards, also where it was used as a relative one."""
    name = f"/lcpy-{uuid.uuid4().hex[:12]}"
    yield name
    for path in (name, name.strip("/")):
        whole = cgroups.for_container(path, "")
        whole.kill()
        whole.remove()


@pytest.fixture
def cgroup(group: str) -> Cgroup:
    """A cgroup that is there."""
    cgroup = cgroups.for_container(f"{group}/c1", "c1")
    cgroup.create()
    return cgroup


@pytest.fixture
def join(group: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that joins a cgroup and runs some code there."""
    started: list[subprocess.Popen[str]] = []
    joined: list[Cgroup] = []

    def start(cgroup: Cgroup, code: str = WAIT) -> subprocess.Popen[str]:
        descriptors = cgroup.attach_descriptors()
        try:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    MEMBER,
                    ",".join(map(str, descriptors)),
                    cgroup.paths.get("", ""),
                    code,
                ],
                pass_fds=descriptors,
                stdout=subprocess.PIPE,
                text=True,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        started.append(process)
        joined.append(cgroup)
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        return process

    yield start
    for cgroup in joined:
        cgroup.kill()
    for process in started:
        process.kill()
        process.communicate()


def processor_ticks(pid: int) -> int:
    """How long a process ran: utime and stime of /proc/PID/stat, clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def descriptors() -> set[str]:
    """What this process has open; the one that lists them is closed again by the time it is looked at."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(name + " " + os.readlink(f"/proc/self/fd/{name}"))
    return found


def mkdir_in_all(cgroup: Cgroup, name: str) -> None:
    for path in cgroup.directories:
        os.makedirs(f"{path}/{name}")


# -- create and remove ------------------------------------------------------------------------------------------------


def test_create_tells_what_it_made_and_remove_removes_it(group: str) -> None:
    cgroup = cgroups.for_container(f"{group}/a/c1", "c1")
    assert cgroup.permitted()
    expected = cgroup.missing()
    assert len(expected) == 3 * len(cgroup.directories)
    made = cgroup.create()
    assert made == {path: os.stat(path).st_ino for path in expected}
    assert cgroup.missing() == ()
    cgroup.remove(made)
    assert not any(map(os.path.exists, made))
    cgroup.remove(made)
    cgroup.remove()


def test_the_default_parent_is_shared_and_stays() -> None:
    name = uuid.uuid4().hex
    cgroup = cgroups.for_container(None, name)
    made = cgroup.create()
    assert set(made) == set(cgroup.directories)
    assert all(path.endswith("/libcontainer_py/" + name) for path in made)
    cgroup.remove(made)
    assert not any(map(os.path.exists, made))


def test_parents_stay_as_long_as_others_need_them(group: str) -> None:
    first, second = (cgroups.for_container(f"{group}/{name}", name) for name in ("c1", "c2"))
    made_first, made_second = first.create(), second.create()
    first.remove(made_first)
    assert not any(map(os.path.exists, first.directories))
    assert all(map(os.path.isdir, second.directories))
    second.remove({**made_second, **{path: inode for path, inode in made_first.items() if path.endswith(group)}})
    assert not any(map(os.path.exists, made_first))


def test_what_was_there_is_used_and_not_called_ours(group: str) -> None:
    cgroup = cgroups.for_container(f"{group}/c1", "c1")
    cgroup.create()
    assert cgroups.for_container(f"{group}/c1", "c1").create() == {}
    cgroup.remove({})
    assert all(map(os.path.isdir, cgroup.directories))
    cgroup.remove()
    assert not any(map(os.path.exists, cgroup.directories))


def test_a_populated_one_is_refused(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]], group: str) -> None:
    process = join(cgroup)
    with pytest.raises(CgroupError, match=f"not empty: process {process.pid}") as caught:
        cgroups.for_container(f"{group}/c1", "c1").create()
    assert caught.value.errno == errno.EBUSY
    assert caught.value.hint


def test_a_frozen_one_is_refused_and_what_was_made_is_gone(cgroup: Cgroup, group: str) -> None:
    cgroup.freeze()
    for controller, path in cgroup.paths.items():
        if controller != "freezer" and len(cgroup.paths) > 1:
            os.rmdir(path)
    with pytest.raises(CgroupError, match="frozen"):
        cgroups.for_container(f"{group}/c1", "c1").create()
    assert [path for path in cgroup.directories if os.path.exists(path)] == [
        cgroup.paths.get("freezer", cgroup.directories[0])
    ]


def test_a_control_file_is_no_cgroup() -> None:
    with pytest.raises(CgroupError, match="Not a directory") as caught:
        cgroups.for_container("/cgroup.procs", "c1").create()
    assert caught.value.errno == errno.ENOTDIR


def test_a_path_that_names_no_cgroup_of_its_own_is_refused() -> None:
    with pytest.raises(CgroupError, match="own"):
        cgroups.for_container("/..", "c1")


def test_a_directory_that_became_another_is_left_alone(cgroup: Cgroup, group: str) -> None:
    made = {path: os.stat(path).st_ino for path in cgroup.directories}
    for path in cgroup.directories:
        # an inode number is used again only once the old directory is really gone; so keep it
        os.mkdir(path + "-keeps-the-number")
        os.rmdir(path)
        os.mkdir(path)
    others = {path: inode for path, inode in made.items() if os.stat(path).st_ino != inode}
    if not others:
        made = {path: inode + 1 for path, inode in made.items()}
    cgroup.remove(made)
    assert all(map(os.path.isdir, others or made))
    assert cgroups.from_inodes(others or made).directories == ()


def test_one_of_unknown_origin_goes_only_when_empty(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    unknown = dict.fromkeys(cgroup.directories, cgroups.UNKNOWN)
    process = join(cgroup)
    assert cgroups.from_inodes(unknown).directories == ()
    began = time.monotonic()
    cgroup.remove(unknown)
    assert time.monotonic() - began < 1
    assert all(map(os.path.isdir, unknown))
    process.kill()
    process.wait()
    cgroup.remove()
    cgroup.create()
    cgroup.remove(unknown)
    assert not any(map(os.path.exists, unknown))


def test_any_is_whichever_it_is(cgroup: Cgroup) -> None:
    whichever = dict.fromkeys(cgroup.directories, cgroups.ANY)
    assert cgroups.from_inodes(whichever).paths == cgroup.paths
    cgroup.remove(whichever)
    assert not any(map(os.path.exists, whichever))


def test_nothing_outside_of_cgroups_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / "empty"
    directory.mkdir()
    cgroups.from_paths({"freezer": str(directory)}).remove()
    cgroups.from_paths({"": str(directory)}).remove({str(directory): directory.stat().st_ino})
    assert directory.is_dir()


def test_no_root_is_removed() -> None:
    roots = {controller: mount.point for controller, mount in read_hierarchies().mounts.items()}
    cgroups.from_paths(roots).remove()
    assert all(map(os.path.isdir, roots.values()))


def test_cgroups_below_are_removed_however_deep(cgroup: Cgroup) -> None:
    mkdir_in_all(cgroup, "a/b/c")
    mkdir_in_all(cgroup, "a/d")
    # deeper than PATH_MAX, so no path leads there
    top = next(iter(cgroup.directories))
    directory = os.open(top, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("x" * 20, dir_fd=directory)
        below = os.open("x" * 20, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(directory)
    assert cgroup.processes() == []
    cgroup.remove()
    assert not any(map(os.path.exists, cgroup.directories))


def test_removal_waits_for_processes_that_are_ending(
    cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]
) -> None:
    process = join(cgroup, "time.sleep(0.3)")
    cgroup.remove()
    assert not any(map(os.path.exists, cgroup.directories))
    process.wait(5)


def test_removal_of_one_in_use_says_who_uses_it(
    cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libcontainer_py.cgroups.base.REMOVE_TIMEOUT", 0.1)
    process = join(cgroup)
    with pytest.raises(CgroupError, match=f"process {process.pid}") as caught:
        cgroup.remove()
    assert caught.value.errno == errno.EBUSY


# -- processes --------------------------------------------------------------------------------------------------------


def test_processes_of_it_and_below_it(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    first = join(cgroup)
    mkdir_in_all(cgroup, "below")
    if cgroups.detect() is Mode.V2:
        below = cgroups.from_paths({"": cgroup.paths[""] + "/below"})
    else:
        below = cgroups.from_paths({key: path + "/below" for key, path in cgroup.paths.items() if key != "cpuset"})
    second = join(below)
    assert cgroup.processes() == sorted([first.pid, second.pid])
    assert below.processes() == [second.pid]
    before = descriptors()
    cgroup.kill()
    assert descriptors() == before
    assert cgroup.processes() == []
    assert {first.wait(5), second.wait(5)} == {-signal.SIGKILL}


def test_one_that_is_gone_has_no_processes_and_is_not_frozen(cgroup: Cgroup) -> None:
    cgroup.remove()
    assert cgroup.processes() == []
    assert not cgroup.frozen()
    cgroup.kill()
    with pytest.raises(CgroupError, match="frozen"):
        cgroup.freeze()
    with pytest.raises(CgroupError, match="thawed"):
        cgroup.thaw()


def test_attached_in_every_hierarchy(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    process = join(cgroup)
    own = {
        controller: path
        for line in Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
        for _, controllers, path in [line.split(":", 2)]
        for controller in controllers.split(",")
    }
    for controller, path in cgroup.paths.items():
        assert path.endswith(own[controller])


def test_clone_into_the_v2_directory(cgroup: Cgroup) -> None:
    descriptor = cgroup.clone_descriptor()
    if descriptor is None:
        assert "" not in cgroup.paths
        pytest.skip("needs cgroup v2, beside v1 or alone")
    # struct clone_args: flags CLONE_INTO_CGROUP, exit_signal SIGCHLD, cgroup
    code = f"""
import os
from libcontainer_py.kernel import libc
import ctypes, struct
arguments = struct.pack("=11Q", 1 << 33, 0, 0, 0, {signal.SIGCHLD.value}, 0, 0, 0, 0, 0, {descriptor})
pid = libc.syscall("clone3", ctypes.create_string_buffer(arguments, 88), 88)
if pid == 0:
    os.write(1, open("/proc/self/cgroup", "rb").read())
    os._exit(0)
os.waitpid(pid, 0)
"""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], pass_fds=[descriptor], capture_output=True, text=True, check=True
        )
    finally:
        os.close(descriptor)
    own = [line for line in done.stdout.splitlines() if line.startswith("0::")]
    assert cgroup.paths[""].endswith(own[0].removeprefix("0::"))


# -- freeze and kill --------------------------------------------------------------------------------------------------


def test_frozen_processes_stand_still(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    process = join(cgroup, "while True: pass")
    assert not cgroup.frozen()
    cgroup.freeze()
    assert cgroup.frozen()
    ticks = processor_ticks(process.pid)
    # it would have run for about 20 ticks
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    assert processor_ticks(process.pid) == ticks
    cgroup.freeze()
    cgroup.thaw()
    assert not cgroup.frozen()
    cgroup.thaw()
    end = time.monotonic() + 5
    while processor_ticks(process.pid) == ticks:
        assert time.monotonic() < end, "it does not go on"


def test_a_frozen_parent_is_not_ones_own_setting(cgroup: Cgroup, group: str) -> None:
    above = cgroups.for_container(group, "above")
    above.freeze()
    try:
        assert above.frozen()
        assert not cgroup.frozen()
    finally:
        above.thaw()


def test_what_is_not_frozen_in_time_is_thawed(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    # more running processes than processors: those that wait for one cannot stand still at once
    join(cgroup, f"for _ in range({4 * (os.cpu_count() or 1)}):\n    if os.fork() == 0: break\nwhile True: pass")
    end = time.monotonic() + 5
    while len(cgroup.processes()) <= 4 * (os.cpu_count() or 1):
        assert time.monotonic() < end
    with pytest.raises(CgroupError, match="stand still") as caught:
        cgroup.freeze(timeout=0)
    assert caught.value.errno == errno.ETIMEDOUT
    assert not cgroup.frozen()
    cgroup.freeze()
    assert cgroup.frozen()


@pytest.mark.parametrize("is_frozen", [False, True])
def test_kill_ends_processes_that_keep_forking(
    cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]], is_frozen: bool
) -> None:
    process = join(cgroup, FORK)
    end = time.monotonic() + 5
    while len(cgroup.processes()) < 4:
        assert time.monotonic() < end
    if is_frozen:
        cgroup.freeze()
    cgroup.kill()
    assert cgroup.processes() == []
    assert not cgroup.frozen()
    assert process.wait(5) == -signal.SIGKILL
    cgroup.remove()


def test_kill_without_the_kernels_own_kill(
    cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """cgroup.kill is there since Linux 5.14; before, and on v1, each process is killed."""
    monkeypatch.setattr("libcontainer_py.cgroups.killing.kill_at_once", lambda path: False)
    process = join(cgroup, FORK)
    before = descriptors()
    cgroup.kill()
    assert descriptors() == before
    assert cgroup.processes() == []
    assert process.wait(5) == -signal.SIGKILL


def test_kill_finds_processes_that_left_some_hierarchies(
    cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]
) -> None:
    if len(cgroup.directories) < 3:
        pytest.skip("needs cgroup v1: on v2 there is one hierarchy")
    process = join(cgroup)
    for controller in ("freezer", "devices", ""):
        mount = read_hierarchies().mounts.get(controller)
        if mount is not None:
            Path(mount.point, "cgroup.procs").write_text(str(process.pid))
    assert cgroup.processes() == []
    cgroup.kill()
    assert process.wait(5) == -signal.SIGKILL
    cgroup.remove()


def test_kill_gives_up_at_its_deadline(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]], group: str) -> None:
    join(cgroup)
    if cgroups.detect() is Mode.V2:
        pytest.skip("needs cgroup v1: frozen processes of v2 can be killed")
    above = cgroups.for_container(group, "above")
    above.freeze()
    try:
        with pytest.raises(CgroupError, match="does not die"):
            cgroup.kill(time.monotonic() + 0.2)
    finally:
        above.thaw()


# -- devices ----------------------------------------------------------------------------------------------------------

# opens each argument for reading and tells how that went
OPEN = """
for path in ("/dev/null", "/dev/zero", "/dev/kmsg"):
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        print(path, "opened", flush=True)
    except OSError as error:
        print(path, error.strerror, flush=True)
signal.pause()
"""
DENY_ALL = DeviceRule(allow=False)


def opened_in(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> set[str]:
    process = join(cgroup, OPEN)
    assert process.stdout is not None
    found = {process.stdout.readline().strip() for _ in range(3)}
    cgroup.kill()
    return found


def test_devices_are_denied_and_allowed(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    refused = "/dev/kmsg Operation not permitted"
    before = descriptors()
    cgroup.set_devices(with_defaults([DENY_ALL]))
    assert descriptors() == before
    assert opened_in(cgroup, join) == {"/dev/null opened", "/dev/zero opened", refused}
    # once more, and with one device more: the old program must not stay beside the new one
    cgroup.set_devices(with_defaults([DENY_ALL, DeviceRule(allow=True, type="c", major=1, minor=11, access="r")]))
    assert opened_in(cgroup, join) == {"/dev/null opened", "/dev/zero opened", "/dev/kmsg opened"}
    cgroup.set_devices([DENY_ALL, DeviceRule(allow=True, type="c", major=1, minor=5)])
    assert opened_in(cgroup, join) == {"/dev/null Operation not permitted", "/dev/zero opened", refused}
    cgroup.set_devices([DeviceRule(allow=True)])
    assert opened_in(cgroup, join) == {"/dev/null opened", "/dev/zero opened", "/dev/kmsg opened"}


def test_the_kernel_takes_every_shape_of_program(cgroup: Cgroup) -> None:
    """The verifier looks at each; numbers beyond 31 bits and rules for both types are among them."""
    if "" not in cgroup.paths:
        pytest.skip("needs cgroup v2, beside v1 or alone")
    v2 = cgroups.from_paths({"": cgroup.paths[""]})
    try:
        v2.set_devices([])
    except CgroupError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS):
            pytest.skip("needs a kernel with CONFIG_CGROUP_BPF")
        raise
    v2.set_devices(
        DeviceRule(allow, kind, major, minor, access)
        for allow in (True, False)
        for kind in "abc"
        for major in (None, 0, 2**31, 2**32 - 1)
        for minor in (None, 7)
        for access in ("r", "wm", "rwm")
        if not (kind == "a" and major is None and minor is None)
    )


def test_several_programs_are_replaced_by_one(cgroup: Cgroup) -> None:
    """As systemd leaves them behind."""
    if "" not in cgroup.paths:
        pytest.skip("needs cgroup v2, beside v1 or alone")
    from libcontainer_py.cgroups import devicefilter
    from libcontainer_py.kernel import bpf

    directory = os.open(cgroup.paths[""], os.O_RDONLY)
    try:
        try:
            assert bpf.prog_query(directory, bpf.CGROUP_DEVICE) == []
        except OSError:
            pytest.skip("needs a kernel with CONFIG_CGROUP_BPF")
        for minor in (1, 2, 3):
            code = devicefilter.program([DeviceRule(allow=True, minor=minor)])
            program = bpf.prog_load(bpf.PROG_TYPE_CGROUP_DEVICE, code)
            bpf.prog_attach(directory, program, bpf.CGROUP_DEVICE, bpf.F_ALLOW_MULTI)
            os.close(program)
        old = bpf.prog_query(directory, bpf.CGROUP_DEVICE)
        assert len(old) == 3
        cgroups.from_paths({"": cgroup.paths[""]}).set_devices([DENY_ALL])
        new = bpf.prog_query(directory, bpf.CGROUP_DEVICE)
        assert len(new) == 1
        assert new[0] not in old
        cgroups.from_paths({"": cgroup.paths[""]}).set_devices([DENY_ALL])
        assert len(bpf.prog_query(directory, bpf.CGROUP_DEVICE)) == 1
    finally:
        os.close(directory)


def test_rules_that_v1_cannot_express_are_refused(cgroup: Cgroup) -> None:
    if cgroups.detect() is Mode.V2:
        pytest.skip("needs cgroup v1: v2 can express all rules")
    before = Path(cgroup.paths["devices"], "devices.list").read_text()
    hole = [DENY_ALL, DeviceRule(allow=True, type="c", major=1), DeviceRule(allow=False, type="c", major=1, minor=3)]
    with pytest.raises(CgroupError, match="out of") as caught:
        cgroup.set_devices(hole)
    assert caught.value.errno == errno.EINVAL
    assert caught.value.hint
    assert Path(cgroup.paths["devices"], "devices.list").read_text() == before


# -- beside runc ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cgroups_path", ["/{group}/c1", "{group}/c1", "../../{group}/c1", None])
def test_paths_and_device_list_are_runcs(
    peer: Callable[[str], str], tmp_path: Path, group: str, cgroups_path: str | None
) -> None:
    runc = peer("runc")
    container_id = group.strip("/")
    wanted = None if cgroups_path is None else cgroups_path.format(group=container_id)
    subprocess.run([runc, "spec"], cwd=tmp_path, check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["process"].update(terminal=False, args=["/bin/sleep", "60"])
    config["root"] = {"path": "rootfs"}
    for name in ("bin", "lib", "lib64", "usr"):
        if os.path.isdir(f"/{name}"):
            bind = {
                "destination": f"/{name}",
                "source": os.path.realpath(f"/{name}"),
                "type": "bind",
                "options": ["rbind", "ro"],
            }
            config["mounts"].append(bind)
    if wanted is not None:
        config["linux"]["cgroupsPath"] = wanted
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "rootfs").mkdir()
    root = ["--root", str(tmp_path / "state")]
    # to a file: the container keeps what it has as standard error open
    with (tmp_path / "stderr").open("w+") as stderr:
        command = [runc, *root, "create", "-b", str(tmp_path), container_id]
        made = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
    if made.returncode:
        pytest.skip(f"needs a runc that runs here: {(tmp_path / 'stderr').read_text().strip()[-200:]}")
    try:
        theirs = json.loads((tmp_path / "state" / container_id / "state.json").read_text())["cgroup_paths"]
        # without one runc takes the id as a relative path; we have a parent of our own for those
        ours = cgroups.for_container(wanted or container_id, container_id)
        assert ours.paths == theirs
        if "devices" in theirs:
            of_runc = Path(theirs["devices"], "devices.list").read_text()
    finally:
        subprocess.run([runc, *root, "delete", "-f", container_id], check=True)
    created = ours.create()
    try:
        ours.set_devices(with_defaults([DENY_ALL]))
        if "devices" in theirs:
            assert Path(ours.paths["devices"], "devices.list").read_text() == of_runc
    finally:
        ours.remove(created)


# -- where one may not, and v1 alone ----------------------------------------------------------------------------------


def run_as_other(code: str, *before: str) -> subprocess.CompletedProcess[str]:
    """Run Python code that has imported the cgroups room, after a command like unshare."""
    head = "import os\nfrom libcontainer_py import cgroups\nfrom libcontainer_py.errors import CgroupError\n"
    return subprocess.run([*before, sys.executable, "-c", head + code], capture_output=True, text=True)


TRY = """
cgroup = cgroups.for_container("/lcpy-not-permitted/c1", "c1")
print(cgroup.permitted())
try:
    cgroup.create()
except CgroupError as error:
    print(error.errno, bool(error.hint), error.path)
"""


def test_an_ordinary_user_is_told() -> None:
    done = run_as_other("os.setgroups([]); os.setgid(65534); os.setuid(65534)\n" + TRY)
    assert done.stdout.split()[:3] == ["False", str(errno.EACCES), "True"], done.stderr
    assert "lcpy-not-permitted" in done.stdout


def test_read_only_cgroups_are_told(peer: Callable[[str], str]) -> None:
    remount = " && ".join(
        f"mount -o remount,bind,ro {mount.point}" for mount in set(read_hierarchies().mounts.values())
    )
    done = run_as_other(TRY, peer("unshare"), "-m", "sh", "-c", f'{remount} && exec "$@"', "sh")
    assert done.stdout.split()[:3] == ["False", str(errno.EROFS), "True"], done.stderr


def test_without_cgroups_there_are_no_paths(peer: Callable[[str], str]) -> None:
    code = """
cgroup = cgroups.for_container(None, "c1")
print(cgroups.detect(), dict(cgroup.paths), cgroup.permitted(), cgroup.create())
"""
    done = run_as_other(code, peer("unshare"), "-m", "sh", "-c", 'umount -l -R /sys/fs/cgroup && exec "$@"', "sh")
    assert done.stdout.strip() == "none {} False {}", done.stderr


def test_a_read_only_systemd_hierarchy_is_gone_without(peer: Callable[[str], str], group: str) -> None:
    optional = [path for key, path in read_hierarchies().mounts.items() if key in ("", "name=systemd")]
    if cgroups.detect() is Mode.V2 or not optional:
        pytest.skip("needs cgroup v1 with hierarchies that have no controllers")
    remount = " && ".join(f"mount -o remount,bind,ro {mount.point}" for mount in optional)
    code = f"""
cgroup = cgroups.for_container("{group}/c1", "c1")
print(cgroup.permitted())
made = cgroup.create()
print(sorted(cgroup.paths) == sorted(set(cgroups.for_container("/x", "").paths) - {{"", "name=systemd"}}))
cgroup.remove(made)
"""
    done = run_as_other(code, peer("unshare"), "-m", "sh", "-c", f'{remount} && exec "$@"', "sh")
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_a_parents_empty_cpuset_is_filled(group: str, join: Callable[..., subprocess.Popen[str]]) -> None:
    cpuset = read_hierarchies().mounts.get("cpuset")
    if cpuset is None:
        pytest.skip("needs cgroup v1 with cpuset")
    os.makedirs(f"{cpuset.point}{group}/a")
    cgroup = cgroups.for_container(f"{group}/a/c1", "c1")
    cgroup.create()
    for file in ("cpuset.cpus", "cpuset.mems"):
        assert Path(cgroup.paths["cpuset"], file).read_text() == Path(cpuset.point, file).read_text()
    join(cgroup)
    cgroup.kill()


@pytest.mark.slow
def test_all_of_this_on_v1_alone(peer: Callable[[str], str], request: pytest.FixtureRequest) -> None:
    if cgroups.detect() is not Mode.HYBRID:
        pytest.skip("needs a hybrid host: v1 with v2 beside it")
    chosen = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not v1_alone", __file__]
    done = subprocess.run(
        [peer("unshare"), "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified && exec "$@"', "sh", *chosen],
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
