"""Ways out of a container that are known from other runtimes, each tried against this one.

Hostile is what is in the root file system, who shares it with the container and changes it meanwhile, and the program.
The bundle's configuration, and who may rename the root file system itself, is trusted. How the interpreter,
descriptors and modules are protected is in test_isolation.py, what rules for devices do in test_config.py.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from libcontainer_py import DEVNULL, ContainerError, CreateError
from tests.kernel.workshop import PATIENCE, Config, Workshop, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 25
"""How often a container is made while somebody swaps a directory."""
UP = "../" * 30


@pytest.fixture
def config() -> Config:
    return runc_spec()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host's in which nothing may be made or changed."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "file").write_text("the host's\n", encoding="utf-8")
    before = path.stat()
    yield path
    after = path.stat()
    assert [one.name for one in path.iterdir()] == ["file"]
    assert (path / "file").read_text(encoding="utf-8") == "the host's\n"
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)


def without_mounts(config: Config, *below: str) -> Config:
    """Without the mounts at and below these places."""
    config["mounts"] = [
        one for one in config["mounts"] if not any(f"{one['destination']}/".startswith(f"{place}/") for place in below)
    ]
    return config


def add(config: Config, destination: str, *options: str, source: object = "", kind: str = "") -> None:
    config["mounts"].append({"destination": destination, "source": str(source), "type": kind, "options": [*options]})


# -- places that the root file system names ---------------------------------------------------------------------------


def is_symlink(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize(
    "make",
    [
        is_symlink("/etc"),
        is_symlink("etc"),
        is_symlink("."),
        is_symlink("/nowhere"),
        is_symlink(UP),
        Path.touch,
        os.mkfifo,
    ],
    ids=["absolute", "relative", "top", "dangling", "up", "file", "fifo"],
)
def test_a_place_of_the_kernels_file_systems_is_a_directory(
    workshop: Workshop, config: Config, name: str, make: Callable[[Path], None]
) -> None:
    # elsewhere its files would be, but not be masked
    bundle = workshop.bundle(config)
    (bundle / "rootfs" / name).rmdir()
    make(bundle / "rootfs" / name)
    with pytest.raises(CreateError, match=rf"/{name}.*(symbolic links|Not a directory)"):
        workshop.create(bundle)
    assert workshop.entries() == []


def test_nor_is_a_directory_above_it_a_symlink(workshop: Workshop, config: Config) -> None:
    add(config, "/jail/proc", kind="proc", source="proc")
    bundle = workshop.bundle(config)
    (bundle / "rootfs/jail").symlink_to("etc")
    with pytest.raises(CreateError, match=r"/jail/proc.*symbolic links"):
        workshop.create(bundle)


@pytest.mark.parametrize("target", ["/", ".", "etc", UP, f"{UP}etc", "/proc"])
def test_devices_are_made_inside_whatever_dev_is(workshop: Workshop, config: Config, target: str) -> None:
    without_mounts(config, "/dev")
    config["root"]["readonly"] = False
    config["linux"]["maskedPaths"] = ["/proc/keys"]
    config["process"]["args"] = ["/bin/sh", "-c", "cat /proc/keys; stat -L -c %t:%T /dev/null"]
    before = sorted(os.listdir("/dev")), sorted(os.listdir("/")), sorted(os.listdir("/etc"))
    bundle = workshop.bundle(config)
    (bundle / "rootfs/dev").rmdir()
    (bundle / "rootfs/dev").symlink_to(target)
    if target == "/proc":
        with pytest.raises(CreateError, match="device /dev/null"):
            workshop.create(bundle)
    else:
        assert workshop.output(bundle) == "1:3\n"
    assert (sorted(os.listdir("/dev")), sorted(os.listdir("/")), sorted(os.listdir("/etc"))) == before


@pytest.mark.parametrize("target", ["{}", f"{UP}{{}}", "{}/file", "{}/made", "/proc/self/root{}", "/proc/1/cwd{}"])
@pytest.mark.parametrize("place", ["/link", "/link/made/inner", "/etc/../link/./made"])
def test_no_destination_leads_out(
    workshop: Workshop, config: Config, outside: Path, tmp_path: Path, target: str, place: str
) -> None:
    (tmp_path / "source").mkdir()
    add(config, place, "bind", source=tmp_path / "source")
    add(config, f"{place}/tmpfs", kind="tmpfs")
    config["linux"]["devices"] = [{"path": f"{place}/null", "type": "c", "major": 1, "minor": 3}]
    config["process"] |= {"cwd": f"{place}/cwd", "args": ["/bin/sh", "-c", "true"]}
    bundle = workshop.bundle(config)
    (bundle / "rootfs/link").symlink_to(target.format(outside))
    with contextlib.suppress(CreateError):  # of what is no directory inside
        workshop.output(bundle)


def test_a_destination_through_dots_is_inside(workshop: Workshop, config: Config, outside: Path) -> None:
    for number, place in enumerate((f"{UP}tmp", "/../../tmp/x", "tmp/../../y")):
        add(config, place, kind="tmpfs", source=f"mount-{number}")
    seen = workshop.sh(config, "cut -d' ' -f5,8- /proc/self/mountinfo")
    assert [line.split()[0] for line in seen.splitlines() if "mount-" in line] == ["/tmp", "/tmp/x", "/y"]


# -- and that are swapped meanwhile -----------------------------------------------------------------------------------

SWAP = """
import ctypes, sys
one, other = (path.encode() for path in sys.argv[1:])
rename = ctypes.CDLL(None).renameat2
def swap():
    if rename(-100, one, -100, other, 2):  # RENAME_EXCHANGE
        sys.exit("cannot swap")
swap()
print(flush=True)
while True:
    swap()
"""


@contextlib.contextmanager
def swapped(one: Path, other: Path) -> Iterator[None]:
    """Somebody exchanges two names all the time."""
    with subprocess.Popen([sys.executable, "-c", SWAP, str(one), str(other)], stdout=subprocess.PIPE) as swapper:
        try:
            assert swapper.stdout is not None
            assert swapper.stdout.read(1) == b"\n"
            yield
            assert swapper.poll() is None
        finally:
            swapper.kill()


def lives(workshop: Workshop, bundle: Path, rounds: int = ROUNDS) -> list[str]:
    """Make and run a container in each round: what it wrote. Who meets a symlink in the wrong moment may fail."""
    written = []
    for _ in range(rounds):
        with contextlib.suppress(ContainerError):
            written.append(workshop.output(bundle, returncode=None))
    return written


@pytest.mark.parametrize("target", ["{}", f"{UP}{{}}"])
@pytest.mark.parametrize("name", ["data", "dev", "etc"])
def test_no_swapped_directory_leads_out(
    workshop: Workshop, config: Config, outside: Path, name: str, target: str
) -> None:
    without_mounts(config, f"/{name}")
    config["root"]["readonly"] = False
    for place in ("one", "two/three"):
        add(config, f"/{name}/{place}", kind="tmpfs", source="mine")
        add(config, f"/{name}/{place}-file", "bind", source="/dev/zero")
    config["linux"]["devices"] = [{"path": f"/{name}/deep/null", "type": "c", "major": 1, "minor": 3}]
    config["linux"]["maskedPaths"] += [f"/{name}/file"]
    config["process"] |= {"cwd": f"/{name}/cwd/inner", "args": ["/bin/busybox", "true"]}
    bundle = workshop.bundle(config)
    (bundle / "rootfs" / name).mkdir(exist_ok=True)
    (bundle / "rootfs/swapped").symlink_to(target.format(outside))
    with swapped(bundle / "rootfs" / name, bundle / "rootfs/swapped"):
        assert lives(workshop, bundle)


def test_a_swapped_proc_is_masked_and_readonly(workshop: Workshop, config: Config) -> None:
    # who shares the root file system renames the mount point away, and back when init is done
    config["linux"]["readonlyPaths"].append("/proc/sys/net")
    script = (  # not a word of it needs /proc
        "for d in /proc /decoy; do cd $d; [ -e self/mountinfo ] && break; done; [ -e self/mountinfo ] || exit 9\n"
        "read secret <timer_list && echo $secret; echo 1 >sys/net/ipv4/ip_forward; echo looked"
    )
    config["process"]["args"] = ["/bin/sh", "-c", script]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/decoy").mkdir()
    with swapped(bundle / "rootfs/proc", bundle / "rootfs/decoy"):
        seen = [text.splitlines() for text in lives(workshop, bundle) if text]
    assert seen
    refused = "/bin/sh: can't create sys/net/ipv4/ip_forward: Read-only file system"
    assert [lines for lines in seen if lines != [refused, "looked"]] == []


# -- descriptors of ours as places (CVE-2024-21626) -------------------------------------------------------------------

NUMBERS = range(3, 24)


@pytest.mark.parametrize(
    ("place", "link"),
    [
        ("/proc/self/fd/{}", ""),
        ("/proc/1/fd/{}/tmp", ""),
        ("/link", "/proc/self/fd/{}"),
        ("/link/tmp", "/proc/self/fd/{}/../../.."),
        ("/link", "/proc/thread-self/fd/{}"),
    ],
)
def test_no_descriptor_is_a_working_directory(workshop: Workshop, config: Config, place: str, link: str) -> None:
    config["process"]["args"] = ["/bin/sh", "-c", "true"]
    for number in NUMBERS:
        config["process"]["cwd"] = place.format(number)
        bundle = workshop.bundle(config)
        if link:
            (bundle / "rootfs/link").symlink_to(link.format(number))
        with pytest.raises(CreateError, match=r"process\.cwd"):
            workshop.create(bundle)


@pytest.mark.parametrize("place", ["/proc/self/root", "/proc/self/cwd", "/proc/1/root/tmp"])
def test_no_other_link_of_procs_is_a_working_directory(workshop: Workshop, config: Config, place: str) -> None:
    config["process"]["cwd"] = place
    with pytest.raises(CreateError, match=r"process\.cwd"):
        workshop.create(config)


def test_a_swapped_working_directory_is_none_of_ours(workshop: Workshop, config: Config) -> None:
    # after it was made sure that the directory is there
    config["process"] |= {"cwd": "/work", "args": ["/bin/sh", "-c", "pwd -P"]}
    for number in NUMBERS[:8]:
        bundle = workshop.bundle(config)
        (bundle / "rootfs/work").mkdir()
        (bundle / "rootfs/swapped").symlink_to(f"/proc/self/fd/{number}")
        with swapped(bundle / "rootfs/work", bundle / "rootfs/swapped"):
            assert {*lives(workshop, bundle, 8)} <= {"/work\n", "/swapped\n"}


@pytest.mark.parametrize("by", ["path", "PATH", "hook"])
def test_no_program_is_reached_through_a_descriptor(
    workshop: Workshop, config: Config, tmp_path: Path, by: str
) -> None:
    program = tmp_path / "outside"
    program.write_text("#!/bin/sh\necho escaped\n", encoding="utf-8")
    program.chmod(0o755)
    for number in NUMBERS:
        path = f"/proc/self/fd/{number}/{UP}{program}"
        config["process"]["args"] = ["/bin/sh", "-c", "true"]
        if by == "path":
            config["process"]["args"] = [path]
        elif by == "PATH":
            config["process"] |= {"args": [program.name], "env": [f"PATH={os.path.dirname(path)}"]}
        else:
            config["hooks"] = {"startContainer": [{"path": path}]}
        with pytest.raises(ContainerError, match=r"(?i)no such file|not a directory|not found"):
            workshop.output(config)


# -- procfs that is none (CVE-2025-52881) -----------------------------------------------------------------------------


def test_what_is_written_to_proc_goes_to_the_hosts(workshop: Workshop, config: Config, outside: Path) -> None:
    # a directory that looks like procfs, whose files lead elsewhere: to what the program may write, or to the host's
    fake = workshop.folder / "fake"
    for name in ("sys/net/ipv4", "sys/kernel", "self/attr"):
        (fake / name).mkdir(parents=True)
    for name in ("sys/net/ipv4/ip_forward", "sys/kernel/domainname", "self/oom_score_adj"):
        (fake / name).symlink_to(outside / "file")
    score = int(Path("/proc/self/oom_score_adj").read_text(encoding="utf-8"))
    without_mounts(config, "/proc")
    add(config, "/proc", "bind", source=fake)
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.domainname": "inside"}
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
    config["process"]["oomScoreAdj"] = min(1000, score + 1)
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    with workshop.create(config) as container:
        look = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/domainname"
        command = ["nsenter", "--target", str(container.init_pid), "--net", "--uts", "sh", "-c", look]
        assert subprocess.run(command, capture_output=True, text=True).stdout == "1\ninside\n"
        adjusted = Path(f"/proc/{container.init_pid}/oom_score_adj").read_text(encoding="utf-8")
        assert int(adjusted) == min(1000, score + 1)


# -- masks (CVE-2025-31133) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_ids", [False, True])
def test_nothing_of_the_containers_masks_anything(workshop: Workshop, config: Config, own_ids: bool) -> None:
    # with its /dev/null it would bind a file of procfs over another
    without_mounts(config, "/dev")
    config["linux"]["maskedPaths"] = ["/proc/keys"]
    config["process"]["args"] = ["/bin/busybox", "stat", "-c", "%F %t:%T", "/proc/keys"]
    if own_ids:
        config["linux"]["namespaces"].append({"type": "user"})
        for name in ("uidMappings", "gidMappings"):
            config["linux"][name] = [{"containerID": 0, "hostID": 100000, "size": 100}]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    for path in (bundle, *bundle.parents, *bundle.rglob("*")):
        if path.stat(follow_symlinks=False).st_uid == os.geteuid():
            if path.is_relative_to(bundle) and own_ids:
                os.chown(path, 100000, 100000, follow_symlinks=False)
            elif path.is_dir():
                path.chmod(path.stat().st_mode | 0o005)  # the user namespace's root must find its files
    if own_ids:
        assert workshop.output(bundle) == "character special file 1:3\n"
    else:
        with pytest.raises(CreateError, match=r"device /dev/null.*there is something else"):
            workshop.create(bundle)


def test_what_a_masked_symlink_names_is_masked_inside(workshop: Workshop, config: Config, outside: Path) -> None:
    config["linux"]["maskedPaths"] += ["/etc/link", "/etc/out"]
    config["process"]["args"] = ["/bin/sh", "-c", f"cat /etc/link /etc/secret /etc/out {outside}/file; echo"]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/etc/secret").write_text("secret")
    (bundle / "rootfs/etc/link").symlink_to("secret")
    (bundle / "rootfs/etc/out").symlink_to(f"{UP}{outside}/file")
    inside = bundle / "rootfs" / str(outside).lstrip("/")
    inside.mkdir(parents=True)
    (inside / "file").write_text("secret")
    assert workshop.output(bundle) == "\n"


@pytest.mark.parametrize("way", ["/proc", "/proc/self/..", "/proc/1/root/proc", "/dev/fd/../.."])
def test_files_of_the_kernels_are_closed(workshop: Workshop, config: Config, way: str) -> None:
    # of sysrq-trigger h shows help on the console, where it is not; the others get what they have
    names = (
        "sysrq-trigger",
        "sys/kernel/core_pattern",
        "sys/kernel/modprobe",
        "sys/vm/drop_caches",
        "irq/default_smp_affinity",
    )
    tries = [f"was=h; read was <{way}/{name}; echo $was >{way}/{name} && echo written" for name in names]
    assert "written" not in workshop.sh(config, f"exec 2>/dev/null; {'; '.join(tries)}; true")
    refused = "Read-only file system" if os.path.exists("/proc/sysrq-trigger") else "nonexistent directory"
    seen = workshop.sh(runc_spec(), f"echo h >{way}/sysrq-trigger", returncode=1)
    assert seen == f"/bin/sh: can't create {way}/sysrq-trigger: {refused}\n"


def test_a_fresh_procfs_would_show_what_is_masked(workshop: Workshop, config: Config) -> None:
    # a user namespace inside gives the capabilities for a mount; the kernel refuses one that shows more
    config["process"]["user"] = {"uid": 7, "gid": 7}
    config["process"]["args"] = [
        *("/bin/busybox", "unshare", "-U", "-r", "-m", "-p", "-f"),
        *("/bin/busybox", "mount", "-t", "proc", "proc", "/tmp"),
    ]
    assert workshop.output(config, returncode=1) == "mount: permission denied (are you root?)\n"
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
    assert workshop.output(config) == ""


# -- the host's devices -----------------------------------------------------------------------------------------------


@pytest.fixture
def null() -> Iterator[Path]:
    """The host's /dev/null, which is as it was at the end, whatever a container did to it."""
    path = Path("/dev/null")
    before = path.stat()
    yield path
    os.chmod(path, before.st_mode & 0o7777)
    os.chown(path, before.st_uid, before.st_gid)


@pytest.mark.parametrize("masked", ["/proc/keys", "/etc/secret"])
def test_what_masks_a_file_cannot_be_changed(workshop: Workshop, config: Config, null: Path, masked: str) -> None:
    before = null.stat()
    config["linux"]["maskedPaths"].append("/etc/secret")
    script = f"chmod 667 {masked}; chown 1 {masked}; touch {masked}; echo >{masked} && cat {masked}"
    config["process"]["args"] = ["/bin/sh", "-c", script]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/etc/secret").write_text("secret\n")
    said = workshop.output(bundle).splitlines()
    assert [line.rpartition(": ")[2] for line in said] == ["Read-only file system"] * 3
    after = null.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)


@pytest.mark.parametrize("own", ["device", "missing", "another device", "symlink", "fifo", "nodev"])
def test_no_stream_leads_to_the_hosts_null_device(workshop: Workshop, config: Config, null: Path, own: str) -> None:
    before = null.stat()
    config["process"]["args"] = ["/bin/sh", "-c", "chmod 667 /proc/self/fd/0; chmod 667 /proc/self/fd/1; exit 7"]
    if own == "nodev":
        next(mount for mount in config["mounts"] if mount["destination"] == "/dev")["options"].append("nodev")
    elif own != "device":
        without_mounts(config, "/dev")
        add(config, "/dev", "bind", source="dev")
    bundle = workshop.bundle(config)
    there = bundle / "dev/null"
    there.parent.mkdir()
    if own == "another device":
        os.mknod(there, 0o20666, os.makedev(1, 5))
    elif own == "symlink":
        there.symlink_to("/proc/self/exe")
    elif own == "fifo":
        os.mkfifo(there)
    with workshop.create(bundle, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as container:
        container.start()
        assert container.wait(PATIENCE).returncode == 7
    after = null.stat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


def test_a_stream_that_may_not_be_opened_again_is_refused(workshop: Workshop, config: Config) -> None:
    config["linux"]["devices"] = [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3}]
    with pytest.raises(CreateError, match=r"/dev/null: a stream is the null device, but linux\.resources\.devices den"):
        workshop.create(config, stdin=DEVNULL)
    assert workshop.entries() == []


ONE_LIFE = """
import sys
from libcontainer_py import CreateError, Factory
try:
    with Factory(sys.argv[1]).create(sys.argv[2], sys.argv[3]) as container:
        container.start()
        print("ran" if container.wait(60).returncode == 0 else "failed")
except CreateError as error:
    print(error)
"""


@pytest.mark.parametrize("way", ["relative", "slashes", "symlink", "mounted before"])
def test_the_hosts_dev_is_not_changed(workshop: Workshop, config: Config, way: str) -> None:
    # In a mount namespace with a /dev of its own, which is that host's: /dev/ptmx would be replaced there by a symlink.
    without_mounts(config, "/dev")
    config["process"]["args"] = ["/bin/sh", "-c", "true"]
    if way != "mounted before":
        add(config, {"relative": "dev", "slashes": "//dev/"}.get(way, "/other"), "rbind", source="/dev")
    bundle = workshop.bundle(config)
    if way == "symlink":
        (bundle / "rootfs/dev").rmdir()
        (bundle / "rootfs/dev").symlink_to("other")
    script = [
        "set -e; mount -t tmpfs dev /dev; mkdir /dev/pts",
        "for one in 'null c 1 3' 'tty c 5 0' 'ptmx c 5 2'; do mknod -m 620 /dev/$one; done",
        f"mount --bind /dev {bundle}/rootfs/dev" if way == "mounted before" else "true",
        'before=$(ls -l /dev); "$@"; test "$before" = "$(ls -l /dev)"',
    ]
    program = [sys.executable, "-c", ONE_LIFE, str(workshop.root), workshop.new_id(), str(bundle)]
    command = ["unshare", "--mount", "sh", "-c", "\n".join(script), "sh", *program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ran\n" if way in ("relative", "slashes") else "it is in the host's /dev" in done.stdout


@pytest.mark.parametrize("made_by", ["the image", "the program"])
def test_a_node_of_a_device_is_not_enough(workshop: Workshop, config: Config, made_by: str) -> None:
    # the kernel's log: there on every machine, and harmless to read
    config["root"]["readonly"] = False
    for name in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][name] += ["CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"]
    make = "mknod /log c 1 11; " if made_by == "the program" else ""
    config["process"]["args"] = ["/bin/sh", "-c", f"{make}dd if=/log bs=9000 count=1 2>&1 >/dev/null | head -n 1"]
    said = []
    for rules in ([], [{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]):
        config["linux"]["resources"]["devices"] += rules
        bundle = workshop.bundle(config)
        if not make:
            os.mknod(bundle / "rootfs/log", 0o20666, os.makedev(1, 11))
        said.append(workshop.output(bundle))
    assert said[0] == "dd: can't open '/log': Operation not permitted\n"
    assert said[1] != said[0]
