"""Every field that `runc spec` writes, and those that this version knows beside, seen from inside of a container."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from libcontainer_py import ConfigError, ConfigWarning, CreateError, Spec
from libcontainer_py.kernel.constants import CAPABILITIES
from tests.kernel.workshop import Config, Workshop, cgroups_of, namespaces, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSIONS = ("1.0.2-dev", "1.3.0")
SETS = {"bounding": "Bnd", "effective": "Eff", "permitted": "Prm", "inheritable": "Inh", "ambient": "Amb"}


@pytest.fixture(params=VERSIONS)
def config(request: pytest.FixtureRequest) -> Config:
    return runc_spec(request.param)


@pytest.fixture
def plain() -> Config:
    """For what does not differ between the versions."""
    return runc_spec()


def fields(status: str) -> dict[str, str]:
    """/proc/PID/status."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}


class Mounted:
    """A line of /proc/PID/mountinfo."""

    def __init__(self, line: str) -> None:
        left, right = (part.split() for part in line.split(" - "))
        self.root, self.point = left[3], left[4]
        self.options = set(left[5].split(","))
        self.propagation = " ".join(left[6:])
        self.fstype, self.source = right[0], right[1]
        self.data = set(right[2].split(","))


def mounts(text: str) -> dict[str, Mounted]:
    """The mounts by their points, the uppermost of each."""
    return {mount.point: mount for mount in map(Mounted, text.splitlines())}


# -- process ----------------------------------------------------------------------------------------------------------


def test_args_are_passed_as_they_are(workshop: Workshop, config: Config) -> None:
    config["process"]["args"] = ["/bin/busybox", "printf", "[%s]", "a b", "", "$HOME", "ä\n", "*"]
    assert workshop.output(config) == "[a b][][$HOME][ä\n][*]"


def test_a_program_is_found_on_the_path_of_its_environment(workshop: Workshop, plain: Config) -> None:
    plain["process"]["args"] = ["busybox", "echo", "found"]
    plain["process"]["env"] = ["PATH=/nowhere:/bin"]
    assert workshop.output(plain) == "found\n"


def test_env_is_what_is_given_and_home(workshop: Workshop, config: Config) -> None:
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/environ"]
    config["process"]["env"] += ["EMPTY=", "EQUALS=a=b", "NEWLINE=a\nb"]
    seen = workshop.output(config).split("\0")
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert seen == [path, "TERM=xterm", "EMPTY=", "EQUALS=a=b", "NEWLINE=a\nb", "HOME=/", ""]


@pytest.mark.parametrize(
    ("passwd", "home"),
    [("root:x:0:0::/somewhere:\nuser:x:7:7::/seven:", "/seven"), ("root:x:0:0::/root:", "/"), (None, "/")],
)
def test_home_is_that_of_the_containers_passwd(
    workshop: Workshop, plain: Config, passwd: str | None, home: str
) -> None:
    plain["process"]["user"] = {"uid": 7, "gid": 7}
    plain["process"]["args"] = ["/bin/busybox", "env"]
    bundle = workshop.bundle(plain)
    if passwd is not None:
        (bundle / "rootfs/etc/passwd").write_text(passwd, encoding="utf-8")
    assert f"HOME={home}\n" in workshop.output(bundle)


def test_home_of_the_environment_counts(workshop: Workshop, plain: Config) -> None:
    plain["process"]["args"] = ["/bin/busybox", "env"]
    plain["process"]["env"] = ["HOME=/given"]
    bundle = workshop.bundle(plain)
    (bundle / "rootfs/etc/passwd").write_text("root:x:0:0::/root:", encoding="utf-8")
    assert workshop.output(bundle) == "HOME=/given\n"


def test_an_empty_home_is_none(workshop: Workshop, plain: Config) -> None:
    plain["process"]["args"] = ["/bin/busybox", "env"]
    plain["process"]["env"] = ["HOME=/first", "HOME=", "LAST=1"]
    assert workshop.output(plain) == "HOME=/\nLAST=1\n"


@pytest.mark.parametrize("cwd", ["/", "/tmp", "/made/when/missing"])
def test_cwd(workshop: Workshop, config: Config, cwd: str) -> None:
    config["process"]["cwd"] = cwd
    assert workshop.sh(config, "pwd; stat -c %a .") == f"{cwd}\n{'1777' if cwd == '/tmp' else '755'}\n"


def test_cwd_is_made_inside_whatever_symlinks_say(workshop: Workshop, plain: Config, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    plain["process"]["cwd"] = f"/link{outside}/made"
    plain["process"]["args"] = ["/bin/busybox", "pwd", "-P"]
    bundle = workshop.bundle(plain)
    (bundle / "rootfs/link").symlink_to("/../../../../../../../..")
    assert workshop.output(bundle) == f"{outside}/made\n"
    assert list(outside.iterdir()) == []


def test_cwd_may_be_closed_to_the_user(workshop: Workshop, plain: Config) -> None:
    # as with runc: images have a working directory of root's, and are run as anybody
    plain["process"] |= {"cwd": "/closed", "user": {"uid": 7, "gid": 7}}
    plain["process"]["args"] = ["/bin/sh", "-c", "readlink /proc/self/cwd; ls /closed"]
    bundle = workshop.bundle(plain)
    (bundle / "rootfs/closed").mkdir(mode=0o700)
    seen = workshop.output(bundle, returncode=1)
    assert seen == "/closed\nls: can't open '/closed': Permission denied\n"


def test_cwd_may_be_closed_to_root(workshop: Workshop, plain: Config) -> None:
    # a group may enter that root of the user namespace, who does not own the directory, is not in
    plain["process"] |= {"cwd": "/closed", "user": {"uid": 7, "gid": 7, "additionalGids": [50]}}
    plain["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        plain["linux"][name] = [{"containerID": 0, "hostID": 100000, "size": 100}]
    plain["process"]["args"] = ["/bin/busybox", "readlink", "/proc/self/cwd"]
    bundle = workshop.bundle(plain)
    (bundle / "rootfs/closed").mkdir(mode=0o750)
    os.chown(bundle / "rootfs/closed", 0, 100050)
    for folder in (bundle, *bundle.parents):  # its root must find its files
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o005)
    assert workshop.output(bundle) == "/closed\n"


def test_cwd_that_is_closed_to_both_is_refused(workshop: Workshop, plain: Config) -> None:
    plain["process"] |= {"cwd": "/closed", "user": {"uid": 7, "gid": 7}}
    plain["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        plain["linux"][name] = [{"containerID": 0, "hostID": 100000, "size": 100}]
    bundle = workshop.bundle(plain)
    (bundle / "rootfs/closed").mkdir(mode=0o700)
    for folder in (bundle, *bundle.parents):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o005)
    with pytest.raises(CreateError, match=r"cwd_as_user /closed \(process\.cwd\): /closed: Permission denied"):
        workshop.create(bundle)


def test_user(workshop: Workshop, config: Config) -> None:
    config["process"]["user"] = {"uid": 1234, "gid": 2345, "additionalGids": [5, 42], "umask": 0o027}
    seen = fields(workshop.sh(config, "cat /proc/self/status"))
    assert (seen["Uid"], seen["Gid"]) == ("\t".join(["1234"] * 4), "\t".join(["2345"] * 4))
    assert (seen["Groups"], seen["Umask"]) == ("5 42", "0027")


def test_the_hosts_groups_and_umask_do_not_come_along(workshop: Workshop, config: Config) -> None:
    groups, mask = os.getgroups(), os.umask(0o777)
    try:
        os.setgroups([7, 8])
        os.umask(0o077)
        seen = fields(workshop.sh(config, "cat /proc/self/status"))
    finally:
        os.umask(mask)
        os.setgroups(groups)
    assert (seen["Groups"], seen["Umask"]) == ("", "0022")


def masks(status: dict[str, str]) -> dict[str, set[str]]:
    """The five sets of /proc/PID/status."""
    numbers = {name: int(status[f"Cap{short}"], 16) for name, short in SETS.items()}
    return {
        name: {word for bit, word in enumerate(CAPABILITIES) if number >> bit & 1} for name, number in numbers.items()
    }


def test_capabilities_as_runc_spec_writes_them(workshop: Workshop, config: Config) -> None:
    three = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
    seen = masks(fields(workshop.sh(config, "cat /proc/self/status")))
    assert seen == {"bounding": three, "effective": three, "permitted": three, "inheritable": set(), "ambient": set()}


def test_each_set_of_capabilities(workshop: Workshop, plain: Config) -> None:
    given = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_CHOWN", "CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }
    plain["process"]["user"] = {"uid": 5, "gid": 5}
    plain["process"]["capabilities"] = given
    seen = masks(fields(workshop.sh(plain, "cat /proc/self/status")))
    # an ordinary user's execve keeps the ambient ones alone. Source: capabilities(7)
    assert seen == {
        "bounding": set(given["bounding"]),
        "permitted": {"CAP_KILL"},
        "effective": {"CAP_KILL"},
        "inheritable": set(given["inheritable"]),
        "ambient": {"CAP_KILL"},
    }


@pytest.mark.parametrize("uid", [0, 7])
def test_no_capabilities(workshop: Workshop, plain: Config, uid: int) -> None:
    del plain["process"]["capabilities"]
    plain["process"]["user"] = {"uid": uid, "gid": uid}
    assert masks(fields(workshop.sh(plain, "cat /proc/self/status"))) == {name: set() for name in SETS}


def test_an_unknown_capability_is_a_warning(workshop: Workshop, plain: Config) -> None:
    plain["process"]["capabilities"] = {"bounding": ["CAP_KILL", "CAP_FLY"]}
    with pytest.warns(ConfigWarning, match=r"process\.capabilities\.bounding: unknown capability 'CAP_FLY'"):
        seen = workshop.sh(plain, "cat /proc/self/status")
    assert masks(fields(seen))["bounding"] == {"CAP_KILL"}


def test_rlimits(workshop: Workshop, config: Config) -> None:
    config["process"]["rlimits"] += [
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 18446744073709551615},
        {"type": "RLIMIT_FSIZE", "soft": 1 << 20, "hard": 1 << 30},
        {"type": "RLIMIT_NPROC", "soft": 100, "hard": 200},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 21},
    ]
    lines = workshop.sh(config, "cat /proc/self/limits").splitlines()
    seen = {line[:26].strip(): tuple(line[26:].split()[:2]) for line in lines}
    assert seen["Max open files"] == ("1024", "1024")
    assert seen["Max core file size"] == ("0", "unlimited")
    assert seen["Max file size"] == (str(1 << 20), str(1 << 30))
    assert seen["Max processes"] == ("100", "200")
    assert seen["Max stack size"] == (str(1 << 20), str(1 << 21))


def test_a_limit_that_init_itself_could_not_live_with(workshop: Workshop, plain: Config) -> None:
    plain["process"]["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3},
        {"type": "RLIMIT_AS", "soft": 8 << 20, "hard": 8 << 20},
    ]
    assert workshop.sh(plain, "ulimit -n; ulimit -v") == "3\n8192\n"


@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges(workshop: Workshop, config: Config, wanted: bool) -> None:
    config["process"]["noNewPrivileges"] = wanted
    assert fields(workshop.sh(config, "cat /proc/self/status"))["NoNewPrivs"] == str(int(wanted))


@pytest.mark.parametrize("more", [500, 0, -500])
def test_oom_score_adj(workshop: Workshop, config: Config, more: int) -> None:
    ours = int(Path("/proc/self/oom_score_adj").read_text())
    score = min(1000, max(-1000, ours + more))
    config["process"]["oomScoreAdj"] = score
    if score < ours and not may("CAP_SYS_RESOURCE"):
        with pytest.raises(CreateError, match=r"process\.oomScoreAdj.*[Pp]ermission denied"):
            workshop.create(config)
    else:
        assert workshop.sh(config, "cat /proc/self/oom_score_adj") == f"{score}\n"


def test_a_hard_limit_above_ours(workshop: Workshop, config: Config) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    wanted = {"type": "RLIMIT_MSGQUEUE", "soft": hard + 1, "hard": hard + 1}
    config["process"]["rlimits"].append(wanted)
    if may("CAP_SYS_RESOURCE"):
        assert f"{hard + 1}" in workshop.sh(config, "cat /proc/self/limits")
    else:
        with pytest.raises(CreateError, match=r"process\.rlimits.*CAP_SYS_RESOURCE") as caught:
            workshop.create(config)
        assert caught.value.errno == errno.EPERM


def may(capability: str) -> bool:
    """Whether we have it."""
    ours = int(fields(Path("/proc/self/status").read_text())["CapEff"], 16)
    return bool(ours >> CAPABILITIES.index(capability) & 1)


# -- names ------------------------------------------------------------------------------------------------------------


def test_hostname(workshop: Workshop, config: Config) -> None:
    assert workshop.sh(config, "hostname") == "runc\n"


def test_domainname(workshop: Workshop) -> None:
    config = runc_spec("1.3.0")
    config["domainname"] = "some.domain"
    before = os.uname(), Path("/proc/sys/kernel/domainname").read_text()
    assert workshop.sh(config, "cat /proc/sys/kernel/domainname") == "some.domain\n"
    assert (os.uname(), Path("/proc/sys/kernel/domainname").read_text()) == before


# -- root and mounts --------------------------------------------------------------------------------------------------


def test_a_readonly_root(workshop: Workshop, config: Config) -> None:
    seen = workshop.sh(config, "touch /new; touch /dev/new && echo in dev")
    assert seen == "touch: /new: Read-only file system\nin dev\n"


def test_a_writable_root(workshop: Workshop, config: Config) -> None:
    config["root"]["readonly"] = False
    config["process"]["args"] = ["/bin/sh", "-c", "echo text >/new"]
    bundle = workshop.bundle(config)
    assert workshop.output(bundle) == ""
    assert (bundle / "rootfs/new").read_text() == "text\n"


def test_nothing_of_the_hosts_tree_is_left(workshop: Workshop, config: Config) -> None:
    # outside of what the configuration names there is the root file system, and nothing to walk back to
    config["root"]["readonly"] = False
    points = list(mounts(workshop.sh(config, "cat /proc/self/mountinfo; ls /../.. >/tmp/list")))
    allowed = re.compile(r"/(proc|dev|sys)?(/.*)?")
    assert [point for point in points if not allowed.fullmatch(point)] == []
    config = runc_spec()
    assert workshop.sh(config, "ls /../..").split() == ["bin", "dev", "etc", "proc", "sys", "tmp"]


def test_the_seven_mounts(workshop: Workshop, config: Config) -> None:
    seen = mounts(workshop.sh(config, "cat /proc/self/mountinfo"))
    rows = {
        "/proc": ("proc", set(), {"ro", "nosuid", "nodev", "noexec"}),
        "/dev": ("tmpfs", {"nosuid"}, {"ro", "nodev", "noexec", "relatime", "noatime"}),
        "/dev/pts": ("devpts", {"nosuid", "noexec"}, {"ro", "nodev"}),
        "/dev/shm": ("tmpfs", {"nosuid", "noexec", "nodev"}, {"ro"}),
        "/dev/mqueue": ("mqueue", {"nosuid", "noexec", "nodev"}, {"ro"}),
        "/sys": ("sysfs", {"nosuid", "noexec", "nodev", "ro"}, set()),
        "/sys/fs/cgroup": ("", {"nosuid", "noexec", "nodev", "ro"}, set()),
    }
    for point, (fstype, there, absent) in rows.items():
        assert seen[point].options >= there, point
        assert not seen[point].options & absent, point
        assert fstype in ("", seen[point].fstype), point
    assert {"mode=755", "size=65536k"} <= seen["/dev"].data
    assert {"mode=620", "ptmxmode=666", "gid=5"} <= seen["/dev/pts"].data
    assert seen["/dev/shm"].source == "shm"
    assert "size=65536k" in seen["/dev/shm"].data


def test_the_containers_own_cgroup_is_mounted(workshop: Workshop, config: Config) -> None:
    with workshop.create(config) as container:
        groups = [path for path in cgroups_of(container.id) if Path(path, "cgroup.procs").exists()]
    config = runc_spec(config["ociVersion"])
    script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -f $d/cgroup.procs ] && cat $d/cgroup.procs && echo; done"
    script += "; true"  # the last one may be none
    seen = [block for block in workshop.sh(config, script).split("\n\n") if block]
    assert groups
    # only processes of the container are there, and it is in each of its own (those of the host would read as 0)
    assert all("1" in block.split() and "0" not in block.split() for block in seen)
    assert len(seen) >= len(groups) - 1  # hybrid: v2's is no controller's


def test_nothing_can_be_written_below_a_readonly_cgroup_mount(workshop: Workshop, config: Config) -> None:
    script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -d $d ] && mkdir $d/new 2>&1; done; true"
    lines = workshop.sh(config, script).splitlines()
    assert lines
    assert [line for line in lines if "Read-only file system" not in line] == []


@pytest.mark.parametrize(
    ("options", "writable"),
    [(["bind"], True), (["bind", "ro"], False), (["bind", "ro", "rw"], True), (["rbind", "rw"], True)],
)
def test_bind_mounts(workshop: Workshop, config: Config, tmp_path: Path, options: list[str], writable: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("of the host\n")
    config["mounts"].append({"destination": "/some/where", "source": str(source), "options": options})
    seen = workshop.sh(config, "cat /some/where/file; touch /some/where/new; true")
    assert seen == "of the host\n" + ("" if writable else "touch: /some/where/new: Read-only file system\n")
    assert (source / "new").exists() is writable


def test_a_bind_mount_of_a_file_and_of_a_relative_source(workshop: Workshop, plain: Config) -> None:
    plain["mounts"].append({"destination": "/etc/motd", "source": "beside", "type": "bind", "options": ["bind", "ro"]})
    plain["process"]["args"] = ["/bin/sh", "-c", "cat /etc/motd; echo >/etc/motd"]
    bundle = workshop.bundle(plain)
    (bundle / "beside").write_text("hello\n")
    assert workshop.output(bundle, returncode=1).startswith("hello\n/bin/sh: can't create /etc/motd: Read-only")


@pytest.fixture
def tree(tmp_path: Path, root_only: None) -> Iterator[Path]:
    """A shared mount with a mount below it."""
    top = tmp_path / "tree"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tree", str(top)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(top)], check=True)
        (top / "below").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "below", str(top / "below")], check=True)
        (top / "below/file").write_text("below\n")
        yield top
    finally:
        subprocess.run(["umount", "-R", str(top)], check=True)


@pytest.mark.parametrize(("option", "seen"), [("rbind", "file\n"), ("bind", "")])
def test_rbind_takes_along_what_is_mounted_below(
    workshop: Workshop, plain: Config, tree: Path, option: str, seen: str
) -> None:
    plain["mounts"].append({"destination": "/tree", "source": str(tree), "options": [option]})
    assert workshop.sh(plain, "ls /tree/below") == seen


@pytest.mark.parametrize(
    ("propagation", "seen", "arrives"),
    [
        ("rprivate", r"", False),
        ("private", r"", False),
        ("rslave", r"master:\d+", True),
        ("slave", r"master:\d+", True),
        ("rshared", r"shared:\d+( master:\d+)?", True),
        ("unbindable", r"unbindable", False),
    ],
)
def test_propagation_of_a_mount(
    workshop: Workshop, plain: Config, tree: Path, propagation: str, seen: str, arrives: bool
) -> None:
    plain["mounts"].append({"destination": "/tree", "source": str(tree), "options": ["rbind", propagation]})
    plain["process"]["args"] = ["/bin/sh", "-c", "cat /proc/self/mountinfo; [ -e /tree/later/file ]"]
    path = workshop.folder / "output"
    with path.open("wb") as file, workshop.create(plain, stdout=file, stderr=file) as container:
        (tree / "later").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "later", str(tree / "later")], check=True)
        (tree / "later/file").touch()
        container.start()
        assert container.wait(60).returncode == (0 if arrives else 1)
    assert re.fullmatch(seen, mounts(path.read_text())["/tree"].propagation)


@pytest.mark.parametrize(
    ("propagation", "seen"),
    [
        (None, ""),
        ("private", ""),
        ("rprivate", ""),
        ("shared", r"shared:\d+"),
        ("rshared", r"shared:\d+"),
        ("unbindable", "unbindable"),
    ],
)
def test_propagation_of_the_root(workshop: Workshop, plain: Config, propagation: str | None, seen: str) -> None:
    if propagation is not None:
        plain["linux"]["rootfsPropagation"] = propagation
    before = Path("/proc/self/mountinfo").read_text()
    assert re.fullmatch(seen, mounts(workshop.sh(plain, "cat /proc/self/mountinfo"))["/"].propagation)
    assert Path("/proc/self/mountinfo").read_text() == before


# As on a host with systemd, where every mount is shared: what it sees of the host's mounts before, while, and after.
HOST_OF_SHARED_MOUNTS = """
import sys
from libcontainer_py import Factory
def mounts():
    with open("/proc/self/mountinfo") as file:
        return file.read()
root, container_id, bundle = sys.argv[1:]
before = mounts()
assert " / / " in before and " shared:" in before
with Factory(root).create(container_id, bundle) as container:
    assert mounts() == before, "created"
    container.start()
    assert container.wait(60).returncode == 0
    assert mounts() == before, "started"
assert mounts() == before, "deleted"
"""


@pytest.mark.parametrize("propagation", [None, "private", "rprivate", "slave", "rslave", "shared", "rshared"])
def test_mounts_of_the_container_do_not_reach_a_host_of_shared_mounts(
    workshop: Workshop, plain: Config, propagation: str | None
) -> None:
    if propagation is not None:
        plain["linux"]["rootfsPropagation"] = propagation
    plain["process"]["args"] = ["/bin/sh", "-c", "true"]
    program = [sys.executable, "-c", HOST_OF_SHARED_MOUNTS]
    arguments = [str(workshop.root), workshop.new_id(), str(workshop.bundle(plain))]
    command = ["unshare", "--mount", "--propagation", "shared", *program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_mounts_of_the_host_arrive_in_a_slave_root(workshop: Workshop, plain: Config, tree: Path) -> None:
    plain["linux"]["rootfsPropagation"] = "rslave"
    plain["root"] = {"path": str(workshop.rootfs(tree / "rootfs"))}
    plain["process"]["args"] = ["/bin/sh", "-c", "ls /tmp"]
    path = workshop.folder / "output"
    with path.open("wb") as file, workshop.create(plain, stdout=file, stderr=file) as container:
        subprocess.run(["mount", "-t", "tmpfs", "later", str(tree / "rootfs/tmp")], check=True)
        (tree / "rootfs/tmp/arrived").touch()
        container.start()
        assert container.wait(60).returncode == 0
    assert path.read_text() == "arrived\n"


# -- devices ----------------------------------------------------------------------------------------------------------


def test_default_devices(workshop: Workshop, config: Config) -> None:
    seen = workshop.sh(
        config, "cd /dev; stat -c '%n %F %t:%T %a %u:%g' null zero full random urandom tty; echo a >null"
    )
    numbers = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    assert seen.splitlines() == [f"{name} character special file {at} 666 0:0" for name, at in numbers.items()]


def test_links_of_dev(workshop: Workshop, config: Config) -> None:
    seen = workshop.sh(
        config, "cd /dev; for l in fd stdin stdout stderr ptmx; do echo $l $(readlink $l); done; ls -d ptmx"
    )
    assert seen.splitlines() == [
        "fd /proc/self/fd",
        "stdin /proc/self/fd/0",
        "stdout /proc/self/fd/1",
        "stderr /proc/self/fd/2",
        "ptmx pts/ptmx",
        "ptmx",
    ]


def test_a_terminal_can_be_opened(workshop: Workshop, config: Config) -> None:
    code = "import os; a, b = os.openpty(); print(os.ttyname(b))"
    assert workshop.python(config, code) == "/dev/pts/0\n"


def test_configured_devices(workshop: Workshop, config: Config) -> None:
    config["linux"]["devices"] = [
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 3, "gid": 4},
        {"path": "/dev/new/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o640},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 5},
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 77},
    ]
    # what takes the place of a default device has no rule of its own
    config["linux"]["resources"]["devices"].append({"allow": True, "type": "c", "major": 1, "minor": 3})
    seen = workshop.sh(config, "cd /dev; stat -c '%n %F %t:%T %a %u:%g' null new/kmsg pipe block")
    assert seen.splitlines() == [
        "null character special file 1:3 600 3:4",
        "new/kmsg character special file 1:b 640 0:0",
        "pipe fifo 0:0 622 5:0",
        "block block special file 7:4d 666 0:0",
    ]


MAJOR = next(
    n for n in range(511, 0, -1) if not re.search(rf"^ *{n} ", Path("/proc/devices").read_text(), re.MULTILINE)
)
"""There is no such device: where the cgroup lets the open through, the kernel says ENXIO."""


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        (None, True),
        ([{"allow": True, "type": "c", "major": MAJOR, "minor": 254, "access": "r"}], False),
        ([{"allow": True, "type": "c", "major": MAJOR, "access": "rw"}], False),
        ([{"allow": True, "access": "rwm"}], False),
        ([{"allow": True, "type": "c", "major": MAJOR, "minor": 254, "access": "w"}], True),
        ([{"allow": True, "type": "b", "major": MAJOR, "minor": 254, "access": "rwm"}], True),
    ],
)
def test_the_device_cgroup(
    workshop: Workshop, config: Config, rules: list[dict[str, object]] | None, refused: bool
) -> None:
    for name in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][name].append("CAP_MKNOD")
    config["linux"]["resources"]["devices"] += rules or []
    seen = workshop.sh(config, f"mknod /dev/some c {MAJOR} 254 && head -c1 /dev/some", returncode=1)
    assert seen == f"head: /dev/some: {'Operation not permitted' if refused else 'No such device or address'}\n"


def test_mknod_takes_a_rule_too(workshop: Workshop, config: Config) -> None:
    # the defaults let every node be made; without them, as for a block device that only may be read, none
    for name in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][name].append("CAP_MKNOD")
    assert workshop.sh(config, f"mknod /dev/some b {MAJOR} 254 && echo made") == "made\n"


# -- namespaces -------------------------------------------------------------------------------------------------------

FILES = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup", "user": "user"}


def test_new_namespaces_and_the_hosts(workshop: Workshop, config: Config) -> None:
    script = f"for n in {' '.join(FILES.values())}; do readlink /proc/self/ns/$n; done"
    seen = workshop.sh(config, script).split()
    host = [os.readlink(f"/proc/self/ns/{name}") for name in FILES.values()]
    new = {kind for kind, ours, theirs in zip(FILES, host, seen, strict=True) if ours != theirs}
    assert new == {"pid", "network", "ipc", "uts", "mount"}


def test_a_namespace_that_is_left_out_is_the_hosts(workshop: Workshop, plain: Config) -> None:
    # sysfs belongs to a network namespace, mqueue to an ipc namespace; of the host's they are mounted all the same
    del plain["hostname"]
    namespaces(plain, "mount", "cgroup")
    script = f"for n in {' '.join(FILES.values())}; do readlink /proc/self/ns/$n; done; hostname"
    *seen, hostname = workshop.sh(plain, script).split()
    host = [os.readlink(f"/proc/self/ns/{name}") for name in FILES.values()]
    new = {kind for kind, ours, theirs in zip(FILES, host, seen, strict=True) if ours != theirs}
    assert (new, hostname) == ({"mount", "cgroup"}, os.uname().nodename)


def test_the_hosts_network(workshop: Workshop, plain: Config) -> None:
    namespaces(plain, "pid", "ipc", "uts", "mount")
    assert workshop.sh(plain, "readlink /proc/self/ns/net").strip() == os.readlink("/proc/self/ns/net")
    assert sorted(workshop.sh(plain, "ls /sys/class/net").split()) == sorted(os.listdir("/sys/class/net"))


def test_init_is_pid_1_and_alone(workshop: Workshop, config: Config) -> None:
    assert workshop.sh(config, "echo $$; echo /proc/[0-9]*").split() == ["1", "/proc/1"]


def test_the_cgroup_namespace_begins_at_the_containers_cgroup(workshop: Workshop, config: Config) -> None:
    config["linux"]["namespaces"].append({"type": "cgroup"})
    seen = workshop.sh(config, "cat /proc/self/cgroup").splitlines()
    assert seen
    assert [line for line in seen if not line.endswith(":/")] == []


def test_without_a_cgroup_namespace_its_path_is_seen(workshop: Workshop, config: Config) -> None:
    config["linux"]["cgroupsPath"] = f"/{workshop.new_id()}"
    seen = workshop.sh(config, "cat /proc/self/cgroup").splitlines()
    assert [line for line in seen if line.endswith(f":{config['linux']['cgroupsPath']}")]


def test_loopback_is_up_and_alone(workshop: Workshop, config: Config) -> None:
    # 0x9: up, and the loopback. Source: netdevice(7)
    assert workshop.sh(config, "ls /sys/class/net; cat /sys/class/net/lo/flags") == "lo\n0x9\n"
    config = runc_spec(config["ociVersion"])
    assert "inet 127.0.0.1/8 " in workshop.sh(config, "ip -o -4 addr")


def test_the_session_keyring_is_its_own(workshop: Workshop, plain: Config) -> None:
    plain["linux"]["maskedPaths"].remove("/proc/keys")
    plain["process"]["args"] = ["/bin/busybox", "cat", "/proc/keys"]
    path = workshop.folder / "output"
    with path.open("wb") as file, workshop.create(plain, stdout=file) as container:
        container.start()
        assert container.wait(60).returncode == 0
    sessions = [line for line in path.read_text().splitlines() if f"_ses.{container.id}: empty" in line]
    assert len(sessions) == 1
    assert " 3f1b0000 " in sessions[0]  # its owner may search it: the program, when it has become another user's


# -- masked and read-only paths ---------------------------------------------------------------------------------------


def test_masked_paths(workshop: Workshop, config: Config) -> None:
    config["linux"]["maskedPaths"] += ["/etc/secrets", "/etc/secret", "/not/there", "/etc/link"]
    config["process"]["args"] = ["/bin/sh", "-c", "ls /etc/secrets; cat /etc/secret; ls /sys/firmware; cat /proc/keys"]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/etc/secrets").mkdir()
    (bundle / "rootfs/etc/secrets/one").write_text("secret")
    (bundle / "rootfs/etc/secret").write_text("secret")
    (bundle / "rootfs/etc/link").symlink_to("/etc/secret")
    assert workshop.output(bundle) == ""


def test_masks_cannot_be_written_through(workshop: Workshop, plain: Config) -> None:
    plain["linux"]["maskedPaths"].append("/etc/secrets")
    plain["process"]["args"] = ["/bin/sh", "-c", "touch /etc/secrets/new"]
    plain["root"]["readonly"] = False
    bundle = workshop.bundle(plain)
    (bundle / "rootfs/etc/secrets").mkdir()
    assert workshop.output(bundle, returncode=1) == "touch: /etc/secrets/new: Read-only file system\n"


def test_readonly_paths(workshop: Workshop, config: Config) -> None:
    config["root"]["readonly"] = False
    config["linux"]["readonlyPaths"] += ["/etc", "/not/there"]
    seen = workshop.sh(config, "touch /etc/new; touch /new; echo 1 >/proc/sys/kernel/dmesg_restrict; true")
    assert seen.splitlines() == [
        "touch: /etc/new: Read-only file system",
        "/bin/sh: can't create /proc/sys/kernel/dmesg_restrict: Read-only file system",
    ]


def test_readonly_paths_are_writable_without(workshop: Workshop, plain: Config) -> None:
    # so that the test above can fail: the same write goes through to a value that is the container's own
    plain["linux"]["readonlyPaths"] = []
    assert workshop.sh(plain, "echo changed >/proc/sys/kernel/hostname; hostname") == "changed\n"


# -- explain, and what is refused -------------------------------------------------------------------------------------


def test_explain_shows_the_plan_but_no_value_of_the_environment(workshop: Workshop, config: Config) -> None:
    config["process"]["env"].append("TOKEN=hunter2")
    config["hooks"] = {"createContainer": [{"path": "/bin/true", "env": ["HOOK_TOKEN=hunter3"]}]}
    with workshop.create(config) as container:
        text = container.explain()
        assert "hunter" not in text
        assert "hunter" not in repr(container)
        for part in ("pivot", "mount tmpfs /dev tmpfs", "linux.maskedPaths[0]", "/bin/true", "process.env"):
            assert part in text


def put(config: Config, path: str, value: object) -> None:
    *above, last = path.split(".")
    for name in above:
        config = config.setdefault(name, {})
    config[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("windows", {"layerFolders": ["x"]}),
    ],
)
def test_a_known_field_that_is_not_supported_is_refused_with_its_path(
    workshop: Workshop, config: Config, path: str, value: object
) -> None:
    put(config, path, value)
    container_id = workshop.new_id()
    with pytest.raises(ConfigError) as caught:
        workshop.factory.create(container_id, workshop.bundle(config))
    assert [problem.path for problem in caught.value.problems] == [path]
    assert f"{path}: " in str(caught.value)
    assert workshop.entries() == []
    assert cgroups_of(container_id) == []


def test_all_that_is_wrong_is_said_at_once(workshop: Workshop, config: Config) -> None:
    put(config, "vm", {"kernel": {"path": "/x"}})
    put(config, "linux.mountLabel", 'of "quotes"')
    config["process"]["cwd"] = "relative"
    with pytest.raises(ConfigError) as caught:
        workshop.create(config)
    paths = {problem.path for problem in caught.value.problems}
    assert paths == {"vm", "linux.mountLabel", "process.cwd"}


def test_unknown_fields_are_kept_and_ignored(workshop: Workshop, config: Config) -> None:
    unknown = {"x": [1, {"y": None}]}
    config["com.example"] = unknown
    config["process"]["someday"] = unknown
    config["linux"]["resources"]["someday"] = unknown
    config["root"]["path"] = str(workshop.rootfs(workshop.folder / "rootfs"))
    config["process"]["args"] = ["/bin/sh", "-c", "true"]
    spec = Spec.from_json(json.dumps(config))
    with workshop.factory.create(workshop.new_id(), spec) as container:
        kept = json.loads(Path(container.bundle, "config.json").read_text())
        container.start()
        assert container.wait(60).returncode == 0
    assert kept["com.example"] == kept["process"]["someday"] == kept["linux"]["resources"]["someday"] == unknown


def test_what_runc_spec_itself_writes(workshop: Workshop, peer: Callable[[str], str], tmp_path: Path) -> None:
    subprocess.run([peer("runc"), "spec"], cwd=tmp_path, check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["process"]["terminal"] is True
    config["process"]["args"] = ["/bin/sh", "-c", "echo it runs"]
    with workshop.create(config) as container:
        container.start()
        assert container.wait(60).returncode == 0
        assert container.terminal is not None
        assert container.terminal.read() == b"it runs\r\n"
