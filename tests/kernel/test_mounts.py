"""Options of mounts, seen from inside of a container: mountinfo, and what can be written, read and executed."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from libcontainer_py import ConfigError, CreateError
from tests.kernel.test_config import Mounted, mounts
from tests.kernel.workshop import NOBODY, Config, Workshop, namespaces, python_mounts, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def config() -> Config:
    return runc_spec()


@pytest.fixture
def tree(tmp_path: Path, root_only: None) -> Iterator[Path]:
    """A shared mount, noatime, with another one below it that is strictatime, and a file in each."""
    top = tmp_path / "tree"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noatime", "tree", str(top)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(top)], check=True)
        (top / "below").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "strictatime", "below", str(top / "below")], check=True)
        for path in (top, top / "below"):
            (path / "file").write_text("text\n")
        yield top
    finally:
        subprocess.run(["umount", "-R", str(top)], check=True)


def seen(workshop: Workshop, config: Config, *added: Config, script: str = "true") -> dict[str, Mounted]:
    """What is mounted in a container with these mounts more."""
    config["mounts"] += added
    return mounts(workshop.sh(config, f"{script} >/dev/null; cat /proc/self/mountinfo"))


def bind(source: Path, *options: str, destination: str = "/tree") -> Config:
    return {"destination": destination, "source": str(source), "options": list(options)}


# -- attributes, of a mount and of all below --------------------------------------------------------------------------

TIMES = {"noatime", "relatime", "nodiratime"}


@pytest.mark.parametrize(
    ("options", "top", "below"),
    [
        (["rbind"], {"rw", "noatime"}, {"rw"}),
        (["rbind", "ro", "nosuid"], {"ro", "nosuid", "noatime"}, {"rw"}),
        (["rbind", "rro"], {"ro", "noatime"}, {"ro"}),
        (["rbind", "rro", "rrw"], {"rw", "noatime"}, {"rw"}),
        (["rbind", "ro", "rrw"], {"rw", "noatime"}, {"rw"}),
        (["bind", "rro"], {"ro", "noatime"}, None),
        (
            ["rbind", "rnosuid", "rnodev", "rnoexec", "rnosymfollow", "rnodiratime"],
            {"rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"},
            {"rw", "nosuid", "nodev", "noexec", "nodiratime", "nosymfollow"},
        ),
        (
            ["rbind", "nosuid", "nodev", "noexec", "rsuid", "rdev", "rexec", "rsymfollow", "rdiratime"],
            {"rw", "noatime"},
            {"rw"},
        ),
        (["rbind", "rnoatime"], {"rw", "noatime"}, {"rw", "noatime"}),
        (["rbind", "rstrictatime"], {"rw"}, {"rw"}),
        (["rbind", "rrelatime"], {"rw", "relatime"}, {"rw", "relatime"}),
        (["rbind", "rnoatime", "ratime"], {"rw", "relatime"}, {"rw", "relatime"}),
        (["rbind", "rnostrictatime"], {"rw", "relatime"}, {"rw", "relatime"}),
        (["rbind", "rnorelatime"], {"rw", "noatime"}, {"rw"}),
        (["rbind", "relatime"], {"rw", "relatime"}, {"rw"}),
        (["rbind", "strictatime"], {"rw"}, {"rw"}),
        (["rbind", "atime"], {"rw", "relatime"}, {"rw"}),
        (["rbind", "nostrictatime"], {"rw", "relatime"}, {"rw"}),
        (["rbind", "nodiratime"], {"rw", "noatime", "nodiratime"}, {"rw"}),
        (["rbind", "noatime", "nodiratime"], {"rw", "noatime", "nodiratime"}, {"rw"}),
    ],
)
def test_attributes_of_bind_mounts(
    workshop: Workshop, config: Config, tree: Path, options: list[str], top: set[str], below: set[str] | None
) -> None:
    found = seen(workshop, config, bind(tree, *options))
    assert found["/tree"].options == top
    assert (found["/tree/below"].options if "/tree/below" in found else None) == below


def test_rro_hinders_writing_everywhere_and_ro_at_the_top_alone(workshop: Workshop, config: Config, tree: Path) -> None:
    config["mounts"] += [bind(tree, "rbind", "rro"), bind(tree, "rbind", "ro", destination="/other")]
    script = "for d in tree tree/below other other/below; do touch /$d/new; done; true"
    assert workshop.sh(config, script).splitlines() == [
        f"touch: /{path}/new: Read-only file system" for path in ("tree", "tree/below", "other")
    ]
    assert sorted(path.name for path in tree.rglob("new")) == ["new"]


def test_rnoexec_and_rnosymfollow_are_felt(workshop: Workshop, config: Config, tree: Path) -> None:
    (tree / "below/program").write_text("#!/bin/sh\necho runs\n")
    (tree / "below/program").chmod(0o755)
    (tree / "below/link").symlink_to("file")
    config["mounts"].append(bind(tree, "rbind", "rnoexec", "rnosymfollow"))
    text = workshop.sh(config, "/tree/below/program; cat /tree/below/file; cat /tree/below/link; true")
    denied, content, link = text.splitlines()
    assert (denied, content) == ("/bin/sh: /tree/below/program: Permission denied", "text")
    assert link.startswith("cat: can't open '/tree/below/link': ")


@pytest.mark.parametrize(
    ("options", "mount", "filesystem"),
    [
        (["sync"], {"rw", "relatime"}, {"rw", "sync"}),
        (["dirsync"], {"rw", "relatime"}, {"rw", "dirsync"}),
        (["sync", "async"], {"rw", "relatime"}, {"rw"}),
        (["lazytime"], {"rw", "relatime"}, {"rw", "lazytime"}),
        (["lazytime", "nolazytime"], {"rw", "relatime"}, {"rw"}),
        (["silent", "loud", "iversion", "noiversion", "mand", "nomand", "defaults"], {"rw", "relatime"}, {"rw"}),
        (["nosuid", "nodev", "noexec", "noatime"], {"rw", "nosuid", "nodev", "noexec", "noatime"}, {"rw"}),
        (["nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "atime"], {"rw", "relatime"}, {"rw"}),
        (["nosymfollow", "nodiratime"], {"rw", "relatime", "nosymfollow", "nodiratime"}, {"rw"}),
        (["nosymfollow", "symfollow", "nodiratime", "diratime"], {"rw", "relatime"}, {"rw"}),
        (["strictatime"], {"rw"}, {"rw"}),
        (["ro"], {"ro", "relatime"}, {"rw"}),
        (["ro", "rprivate"], {"ro", "relatime"}, {"rw"}),
        (["rro", "rnosuid", "rnoatime"], {"ro", "nosuid", "noatime"}, {"rw"}),
        (["lazytime", "iversion", "silent", "rnodev"], {"rw", "nodev", "relatime"}, {"rw", "lazytime"}),
    ],
)
def test_options_of_a_new_file_system(
    workshop: Workshop, config: Config, options: list[str], mount: set[str], filesystem: set[str]
) -> None:
    added = {"destination": "/new", "type": "tmpfs", "source": "name", "options": [*options, "size=64k", "mode=700"]}
    found = seen(workshop, config, added)["/new"]
    assert (found.fstype, found.source, found.options) == ("tmpfs", "name", mount)
    # inode64: what this kernel adds of its own
    assert found.data - {"inode64", "noswap"} == filesystem | {"size=64k", "mode=700"}


def test_a_word_that_nobody_knows_is_the_file_systems(workshop: Workshop, config: Config) -> None:
    config["mounts"].append({"destination": "/new", "type": "tmpfs", "options": ["nr_inodes=7", "sideways"]})
    with pytest.raises(CreateError, match=r"mounts\[7\]\): /new: Invalid argument") as caught:
        workshop.create(config)
    assert caught.value.hint
    config["mounts"][-1]["options"].remove("sideways")
    assert "nr_inodes=7" in seen(workshop, config)["/new"].data


# -- propagation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        (["private"], ""),
        (["shared"], r"shared:\d+"),
        (["slave"], ""),  # of nobody
        (["unbindable"], "unbindable"),
        (["runbindable", "rprivate"], ""),
    ],
)
@pytest.mark.parametrize("kind", ["tmpfs", "proc"])
def test_propagation_of_a_new_file_system(
    workshop: Workshop, config: Config, kind: str, options: list[str], pattern: str
) -> None:
    found = seen(workshop, config, {"destination": "/new", "type": kind, "options": options})
    assert re.fullmatch(pattern, found["/new"].propagation)


@pytest.mark.parametrize(
    ("options", "top", "below"),
    [
        (["rbind", "slave"], r"master:\d+", r"master:\d+"),
        (["rbind", "private"], "", r"master:\d+"),
        (["rbind", "rprivate"], "", ""),
        (["rbind", "rslave", "rshared"], r"shared:\d+ master:\d+", r"shared:\d+ master:\d+"),
        (["rbind", "shared"], r"shared:\d+ master:\d+", r"master:\d+"),
        (["rbind", "unbindable"], "unbindable", r"master:\d+"),
        (["rbind", "runbindable"], "unbindable", "unbindable"),
        (["rbind", "rro", "rprivate"], "", ""),
    ],
)
def test_propagation_of_a_mount_and_of_those_below(
    workshop: Workshop, config: Config, tree: Path, options: list[str], top: str, below: str
) -> None:
    subprocess.run(["mount", "--make-shared", str(tree / "below")], check=True)
    found = seen(workshop, config, bind(tree, *options))
    assert re.fullmatch(top, found["/tree"].propagation)
    assert re.fullmatch(below, found["/tree/below"].propagation)


@pytest.mark.parametrize(("wanted", "arrives"), [("rshared", True), ("rslave", False), ("rprivate", False)])
def test_a_mount_of_the_containers_reaches_the_host_where_it_is_to(
    workshop: Workshop, config: Config, tree: Path, wanted: str, arrives: bool
) -> None:
    config["linux"]["rootfsPropagation"] = "shared"
    for name in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][name].append("CAP_SYS_ADMIN")
    config["mounts"].append(bind(tree, "rbind", wanted))
    workshop.sh(config, "mkdir /tree/new && mount -t tmpfs new /tree/new && touch /tree/new/arrived")
    assert (tree / "new/arrived").exists() is arrives


@pytest.mark.parametrize(
    ("propagation", "pattern", "arrives"),
    [
        (None, "", False),
        ("private", "", False),
        ("slave", r"master:\d+", True),
        ("rslave", r"master:\d+", True),
        ("shared", r"shared:\d+", False),
        ("rshared", r"shared:\d+", False),
        ("unbindable", "unbindable", False),
        ("runbindable", "unbindable", False),
    ],
)
def test_propagation_of_the_root(
    workshop: Workshop, config: Config, tree: Path, propagation: str | None, pattern: str, arrives: bool
) -> None:
    # config-linux.md, Rootfs Mount Propagation: "slave: the rootfs mount receives propagation events from the host"
    if propagation is not None:
        config["linux"]["rootfsPropagation"] = propagation
    config["root"] = {"path": str(workshop.rootfs(tree / "rootfs"))}
    config["process"]["args"] = ["/bin/sh", "-c", "cat /proc/self/mountinfo; ls /tmp"]
    path = workshop.folder / "output"
    with path.open("wb") as file, workshop.create(config, stdout=file, stderr=file) as container:
        subprocess.run(["mount", "-t", "tmpfs", "later", str(tree / "rootfs/tmp")], check=True)
        (tree / "rootfs/tmp/arrived").touch()
        container.start()
        assert container.wait(60).returncode == 0
    *lines, last = path.read_text().splitlines()
    found = mounts("\n".join(line for line in [*lines, last] if " - " in line))
    assert re.fullmatch(pattern, found["/"].propagation)
    assert (last == "arrived") is arrives


@pytest.mark.parametrize("propagation", [None, "private", "slave", "rslave", "shared", "rshared", "unbindable"])
def test_no_mount_below_the_root_reaches_the_host(
    workshop: Workshop, config: Config, tree: Path, propagation: str | None
) -> None:
    # the root file system has a shared mount in it, which the container mounts something onto
    if propagation is not None:
        config["linux"]["rootfsPropagation"] = propagation
    config["root"] = {"path": str(workshop.rootfs(tree))}
    config["mounts"].append({"destination": "/below/new", "type": "tmpfs"})
    subprocess.run(["mount", "--make-shared", str(tree / "below")], check=True)

    def on_host() -> list[str]:
        return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(tree) in line]

    before = on_host()
    config["process"]["args"] = ["/bin/sh", "-c", "touch /below/new/arrived"]
    with workshop.create(config) as container:
        assert on_host() == before
        container.start()
        assert container.wait(60).returncode == 0
    assert on_host() == before
    assert list((tree / "below/new").iterdir()) == []


# -- remount ----------------------------------------------------------------------------------------------------------


def test_a_remount_of_a_mount_replaces_its_flags(workshop: Workshop, config: Config, tree: Path) -> None:
    remount = {"destination": "/tree", "options": ["bind", "remount", "ro", "nodev"]}
    found = seen(workshop, config, bind(tree, "bind", "nosuid", "noexec"), remount)
    assert found["/tree"].options == {"ro", "nodev", "noatime"}
    assert found["/tree"].data >= {"rw"}


def test_a_remount_of_a_file_system(workshop: Workshop, config: Config) -> None:
    shm = {"destination": "/dev/shm", "type": "tmpfs", "options": ["remount", "size=128k", "sync", "nosuid"]}
    found = seen(workshop, config, shm)["/dev/shm"]
    assert found.options == {"rw", "nosuid", "relatime"}
    assert {"size=128k", "sync"} <= found.data


def test_a_remount_with_all_below(workshop: Workshop, config: Config, tree: Path) -> None:
    remount = {"destination": "/tree", "options": ["bind", "remount", "rro", "rprivate"]}
    found = seen(workshop, config, bind(tree, "rbind"), remount)
    assert found["/tree"].options == {"ro", "noatime"}
    assert found["/tree/below"].options == {"ro"}
    assert found["/tree"].propagation == found["/tree/below"].propagation == ""


def test_dev_can_be_made_readonly_by_a_remount(workshop: Workshop, config: Config) -> None:
    config["mounts"].append({"destination": "/dev", "options": ["bind", "remount", "ro", "relatime"]})
    text = workshop.sh(config, "touch /dev/new; echo x >/dev/null && cat /proc/self/mountinfo")
    assert text.startswith("touch: /dev/new: Read-only file system\n")
    assert mounts(text.partition("\n")[2])["/dev"].options == {"ro", "relatime"}


@pytest.mark.parametrize(("destination", "errno"), [("/etc", 22), ("/nowhere", 2)])
def test_a_remount_of_nothing(workshop: Workshop, config: Config, destination: str, errno: int) -> None:
    config["mounts"].append({"destination": destination, "options": ["bind", "remount", "ro"]})
    with pytest.raises(CreateError, match=rf"remount {destination}") as caught:
        workshop.create(config)
    assert (caught.value.step, caught.value.errno) == ("remount", errno)


def mapped(workshop: Workshop, config: Config, *directories: str, host: int = 200_000) -> Path:
    """A bundle of a container with a user namespace, whose root owns its files and these directories more."""
    namespaces(config, "pid", "network", "ipc", "uts", "mount", "user")
    ids = [{"containerID": 0, "hostID": host, "size": 65536}]
    config["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    bundle = workshop.bundle(config)
    for name in directories:
        (bundle / "rootfs" / name).mkdir()
    for path in (bundle, *bundle.rglob("*")):
        os.chown(path, host, host, follow_symlinks=False)
    for folder in bundle.parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o001)
    return bundle


def test_a_user_namespace_keeps_the_flags_that_it_may_not_take_away(
    workshop: Workshop, config: Config, tree: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,bind,nosuid,nodev", str(tree)], check=True)
    remount = {"destination": "/tree", "options": ["bind", "remount", "ro"]}
    config["mounts"] += [bind(tree, "rbind"), remount]
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/mountinfo"]
    found = mounts(workshop.output(mapped(workshop, config, "tree")))
    assert found["/tree"].options == {"ro", "nosuid", "nodev", "noatime"}


@pytest.mark.parametrize("options", [["suid"], ["remount", "suid"]])
def test_a_flag_that_is_locked_cannot_be_taken_away(
    workshop: Workshop, config: Config, tree: Path, options: list[str]
) -> None:
    subprocess.run(["mount", "-o", "remount,bind,nosuid", str(tree)], check=True)
    config["mounts"] += [bind(tree, "rbind"), bind(tree, "rbind", *options)]
    with pytest.raises(CreateError, match=r"mounts\[8\].*Operation not permitted") as caught:
        workshop.create(mapped(workshop, config, "tree"))
    assert "such as nosuid" in caught.value.hint


def test_a_user_namespace_binds_what_has_mounts_below_with_them_alone(
    workshop: Workshop, config: Config, tree: Path
) -> None:
    config["mounts"].append(bind(tree, "bind"))
    with pytest.raises(CreateError, match=r"mounts\[7\].*Invalid argument") as caught:
        workshop.create(mapped(workshop, config, "tree"))
    assert "rbind" in caught.value.hint


# -- tmpfs ------------------------------------------------------------------------------------------------------------


def test_a_tmpfs_has_the_mode_of_what_it_hides(workshop: Workshop, config: Config) -> None:
    config["mounts"] += [
        {"destination": "/hidden", "type": "tmpfs"},
        {"destination": "/given", "type": "tmpfs", "options": ["mode=711"]},
        {"destination": "/new", "type": "tmpfs"},
    ]
    config["process"]["args"] = ["/bin/sh", "-c", "stat -c %a /hidden /given /new"]
    bundle = workshop.bundle(config)
    for name in ("hidden", "given"):
        (bundle / "rootfs" / name).mkdir()
        (bundle / "rootfs" / name).chmod(0o3750)
    assert workshop.output(bundle) == "3750\n711\n1777\n"


def filled(folder: Path, content: bytes) -> None:
    """Everything that may lie in a directory."""
    folder.mkdir()
    (folder / "file").write_bytes(content)
    os.chown(folder / "file", 7, 8)
    os.chmod(folder / "file", 0o4751)
    (folder / "empty").touch()
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/b").chmod(0o2700)
    (folder / "a/b/deep").write_text("deep\n")
    (folder / "link").symlink_to("/etc/passwd")
    os.lchown(folder / "link", 9, 10)
    (folder / "dangling").symlink_to("../../nowhere")
    os.mkfifo(folder / "fifo", 0o620)
    os.mknod(folder / "device", 0o020600, os.makedev(1, 3))
    for number, path in enumerate(sorted(folder.rglob("*"))):
        moment = (1 + number) * 1_000_000_001
        os.utime(path, ns=(moment, 2 * moment), follow_symlinks=False)


LIST = (
    "cd /%s && find . -mindepth 1 | sort | while read f; do "
    '[ -d $f -a ! -h $f ] && size=0 || size=%%s; stat -c "%%n %%F %%a %%u:%%g $size %%Y %%t:%%T %%N" $f; done; '
    "cat file a/b/deep | md5sum"
)


@pytest.mark.parametrize("options", [[], ["rprivate"], ["ro"]])
def test_tmpcopyup(workshop: Workshop, config: Config, options: list[str]) -> None:
    copied = {"destination": "/some", "type": "tmpfs", "options": ["tmpcopyup", "nosuid", *options]}
    config["mounts"].append(copied)
    script = f"{LIST % 'some'}; {LIST % 'same'}; touch /some/new; cat /proc/self/mountinfo"
    config["process"]["args"] = ["/bin/sh", "-c", script]
    bundle = workshop.bundle(config)
    content = os.urandom(3_000_000)
    filled(bundle / "rootfs/some", content)
    filled(bundle / "rootfs/same", content)
    text = workshop.output(bundle, returncode=None)
    lines = [line for line in text.splitlines() if " - " not in line]
    half = len(lines) // 2
    assert len(lines) > 20
    assert lines[:half] == lines[half : 2 * half]
    found = mounts("\n".join(line for line in text.splitlines() if " - " in line))["/some"]
    assert found.fstype == "tmpfs"
    assert found.options == {"ro" if options == ["ro"] else "rw", "nosuid", "relatime"}
    assert ("touch: /some/new: Read-only file system" in lines) is (options == ["ro"])
    assert not (bundle / "rootfs/some/new").exists()


def test_tmpcopyup_keeps_the_capabilities_of_a_program(workshop: Workshop, config: Config) -> None:
    capabilities = struct.pack("<5I", 0x02000001, 1 << 5, 0, 0, 0)  # struct vfs_cap_data: CAP_KILL, effective
    config["mounts"].append({"destination": "/some", "type": "tmpfs", "options": ["tmpcopyup"]})
    config["mounts"] += python_mounts()
    code = "import os; print(os.getxattr('/some/program', 'security.capability').hex())"
    config["process"]["args"] = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", code]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/some").mkdir()
    (bundle / "rootfs/some/program").touch()
    os.setxattr(bundle / "rootfs/some/program", "security.capability", capabilities)
    assert workshop.output(bundle).strip() == capabilities.hex()


def test_where_something_was_mounted_first_is_no_more(workshop: Workshop, config: Config) -> None:
    config["mounts"].append({"destination": "/new", "type": "tmpfs", "options": ["tmpcopyup", "rprivate", "ro"]})
    bundle = workshop.bundle(config)
    script = f"busybox ls {bundle}/rootfs/bin >{workshop.folder}/seen"  # as a hook sees the root file system
    config["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/mountinfo"]
    (bundle / "config.json").write_text(json.dumps(config))
    text = workshop.output(bundle)
    assert (workshop.folder / "seen").read_text() == "busybox\nsh\n"
    assert len([line for line in text.splitlines() if Mounted(line).point == "/"]) == 1


def test_tmpcopyup_of_nothing_and_without_room(workshop: Workshop, config: Config) -> None:
    config["mounts"].append({"destination": "/new", "type": "tmpfs", "options": ["tmpcopyup", "size=64k"]})
    assert workshop.sh(config, "ls /new") == ""
    bundle = workshop.bundle(config)
    (bundle / "rootfs/new").mkdir()
    (bundle / "rootfs/new/large").write_bytes(bytes(1 << 20))
    with pytest.raises(CreateError, match="large: No space left on device"):
        workshop.create(bundle)


def test_tmpcopyup_follows_no_symlink_out(workshop: Workshop, config: Config, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("of the host\n")
    config["mounts"].append({"destination": "/some", "type": "tmpfs", "options": ["tmpcopyup"]})
    config["process"]["args"] = ["/bin/sh", "-c", "ls /some; readlink /some/*; cat /some/*/file"]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/some").symlink_to("/inside")
    (bundle / "rootfs/inside").mkdir()
    (bundle / "rootfs/inside/link").symlink_to(secret)
    text = workshop.output(bundle, returncode=1)
    assert text == f"link\n{secret}\ncat: can't open '/some/*/file': No such file or directory\n"


# -- the root, symlinks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize("options", [["bind"], ["rbind", "rprivate"]])
def test_a_bind_mount_over_the_root(workshop: Workshop, config: Config, options: list[str], readonly: bool) -> None:
    other = workshop.rootfs(workshop.folder / "other")
    (other / "marker").write_text("of the other\n")
    config["root"]["readonly"] = readonly
    config["mounts"].insert(0, bind(other, *options, destination="/"))
    text = workshop.sh(config, "cat /marker; ls /dev/null; touch /new; true")
    assert text == "of the other\n/dev/null\n" + ("touch: /new: Read-only file system\n" if readonly else "")
    assert (other / "new").exists() is not readonly


def test_a_new_file_system_over_the_root(workshop: Workshop, config: Config) -> None:
    config["mounts"].insert(0, {"destination": "/", "type": "tmpfs", "options": ["mode=711"]})
    busybox = str(workshop.rootfs(workshop.folder / "other") / "bin")
    config["mounts"].append(bind(Path(busybox), "bind", "ro", destination="/bin"))
    config["process"]["args"] = ["/bin/busybox", "stat", "-c", "%a", "/"]
    assert workshop.output(config) == "711\n"


@pytest.mark.parametrize("there", [None, "same", "other", "file"])
def test_a_symlink_is_copied(workshop: Workshop, config: Config, tmp_path: Path, there: str | None) -> None:
    (tmp_path / "link").symlink_to("target/of/it")
    config["mounts"].append(bind(tmp_path / "link", "bind", "ro", "copy-symlink", destination="/made/link"))
    config["process"]["args"] = ["/bin/busybox", "readlink", "/made/link"]
    bundle = workshop.bundle(config)
    place = bundle / "rootfs/made/link"
    if there is not None:
        place.parent.mkdir()
        place.touch() if there == "file" else place.symlink_to("target/of/it" if there == "same" else "elsewhere")
    if there in (None, "same"):
        assert workshop.output(bundle) == "target/of/it\n"
    else:
        with pytest.raises(CreateError, match="/made/link: there is something else than a symlink to target/of/it"):
            workshop.create(bundle)


def test_what_is_no_symlink_is_bound(workshop: Workshop, config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    config["mounts"].append(bind(tmp_path / "file", "bind", "ro", "copy-symlink", destination="/made/file"))
    assert workshop.sh(config, "cat /made/file; touch /made/file; true") == (
        "of the host\ntouch: /made/file: Read-only file system\n"
    )


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/nowhere/near", "/nowhere/near"),
        ("nowhere", "/etc/deep/nowhere"),
        ("../../up/./here/", "/up/here"),
        ("../" * 20 + "tmp/out", "/tmp/out"),
        ("/etc/other", "/tmp/through/both"),
    ],
)
@pytest.mark.parametrize("inner", ["", "/x"])
def test_what_a_dangling_symlink_names_is_made(
    workshop: Workshop, config: Config, tmp_path: Path, target: str, place: str, inner: str
) -> None:
    config["mounts"].append({"destination": f"/etc/deep/link{inner}", "type": "tmpfs"})
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/mountinfo"]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/etc/deep").mkdir()
    (bundle / "rootfs/etc/deep/link").symlink_to(target)
    (bundle / "rootfs/etc/other").symlink_to("../tmp/through/both")
    assert place + inner in mounts(workshop.output(bundle))


def test_access_times_of_the_mount_of_cgroups(workshop: Workshop, config: Config) -> None:
    (of_cgroups,) = [one for one in config["mounts"] if one["destination"] == "/sys/fs/cgroup"]
    of_cgroups["options"] = ["nosuid", "strictatime"]
    assert not {"relatime", "noatime"} & seen(workshop, config)["/sys/fs/cgroup"].options


@pytest.mark.parametrize(("option", "set_or_not"), [("rsuid", False), ("rnosymfollow", True)])
def test_recursive_options_of_the_mount_of_cgroups(
    workshop: Workshop, config: Config, option: str, set_or_not: bool
) -> None:
    """Also what is nosuid without being asked to, on v1."""
    (of_cgroups,) = [one for one in config["mounts"] if one["destination"] == "/sys/fs/cgroup"]
    of_cgroups["options"] = [option]
    found = {path: one.options for path, one in seen(workshop, config).items() if path.startswith("/sys/fs/cgroup")}
    assert found
    assert {
        path for path, options in found.items() if (option[1:].replace("suid", "nosuid") in options) != set_or_not
    } == set()


def test_a_shared_mount_in_a_root_that_is_a_slave(workshop: Workshop, config: Config, tree: Path) -> None:
    config["linux"]["rootfsPropagation"] = "rslave"
    assert seen(workshop, config, bind(tree, "rbind", "rshared"))["/tree"].propagation.startswith("shared:")


@pytest.mark.parametrize("target", ["link", "other"])
def test_symlinks_that_name_each_other_are_no_place_for_a_mount(
    workshop: Workshop, config: Config, target: str
) -> None:
    config["mounts"].append({"destination": "/link/x", "type": "tmpfs"})
    bundle = workshop.bundle(config)
    (bundle / "rootfs/link").symlink_to(target)
    (bundle / "rootfs/other").symlink_to("link")
    with pytest.raises(CreateError, match="/link/x: Too many levels of symbolic links"):
        workshop.create(bundle)


# -- what does not go together ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mount", "path", "reason"),
    [
        ({"type": "none", "source": "/x", "options": ["bind", "sync"]}, ".options", "cannot set sync"),
        ({"type": "none", "source": "/x", "options": ["rbind", "size=1m"]}, ".options", "takes no 'size=1m'"),
        ({"type": "proc", "options": ["tmpcopyup"]}, ".options", "tmpcopyup is for a new tmpfs"),
        ({"type": "proc", "options": ["copy-symlink"]}, ".options", "copy-symlink is for bind mounts"),
        ({"options": []}, ".type", "needs a type"),
        ({"options": ["bind"]}, ".source", "needs a source"),
    ],
)
def test_what_does_not_go_together_is_refused(
    workshop: Workshop, config: Config, mount: Config, path: str, reason: str
) -> None:
    config["mounts"].append({"destination": "/x", **mount})
    with pytest.raises(ConfigError, match=reason) as caught:
        workshop.create(config)
    assert [problem.path for problem in caught.value.problems] == [f"mounts[7]{path}"]
    assert workshop.entries() == []


# -- mapped ids -------------------------------------------------------------------------------------------------------


def ids(*rows: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": host, "size": size} for inside, host, size in rows]


def maps(uids: int, gids: int, size: int = 1000) -> Config:
    """Both mappings of a mount: files of user 0 are of user `uids` there."""
    return {"uidMappings": ids((0, uids, size)), "gidMappings": ids((0, gids, size))}


@pytest.fixture
def owned(tmp_path: Path, workshop: Workshop) -> Path:
    """A directory on a file system that takes mappings, with files of some users, which everybody may read."""
    folder = tmp_path / "owned"
    (folder / "below").mkdir(parents=True)
    for owner in (0, 5, 1234):
        (folder / f"of-{owner}").touch()
        os.chown(folder / f"of-{owner}", owner, owner + 1)
    config = runc_spec()
    config["process"]["args"] = ["/bin/busybox", "true"]
    config["mounts"].append({**bind(folder, "bind", "idmap"), **maps(0, 0, 1)})
    try:
        workshop.create(config).delete(force=True)
    except CreateError as error:
        if error.step != "idmap":
            raise
        pytest.skip(f"needs a file system that takes mappings of ids: {error}")
    return folder


OWNERS = "stat -c '%n %u:%g' /tree/of-*"


def test_the_ids_of_a_mount_are_mapped(workshop: Workshop, config: Config, owned: Path) -> None:
    config["root"]["readonly"] = False
    config["mounts"].append({**bind(owned, "bind", "idmap"), **maps(7000, 8000)})
    text = workshop.sh(config, f"{OWNERS}; touch /tree/new; grep ' /tree ' /proc/self/mountinfo")
    *owners, denied, line = text.splitlines()
    # what has no mapping is of the overflow id, and nobody who has none can make anything
    assert owners == ["/tree/of-0 7000:8001", "/tree/of-1234 65534:65534", "/tree/of-5 7005:8006"]
    assert denied == "touch: /tree/new: Value too large for defined data type"
    assert "idmapped" in Mounted(line).options


@pytest.mark.parametrize("word", ["idmap", "ridmap", None])
def test_a_file_that_a_mapped_user_makes_is_the_mapped_ones(
    workshop: Workshop, config: Config, owned: Path, word: str | None
) -> None:
    os.chown(owned, 5, 6)
    config["process"]["user"] = {"uid": 7005, "gid": 8006}
    config["mounts"].append({**bind(owned, "bind", *filter(None, [word])), **maps(7000, 8000)})
    assert workshop.sh(config, "touch /tree/new; stat -c %u:%g /tree/new") == "7005:8006\n"
    made = (owned / "new").stat()
    assert (made.st_uid, made.st_gid) == (5, 6)


def test_several_ranges_files_and_attributes(workshop: Workshop, config: Config, owned: Path) -> None:
    os.link(owned / "of-5", owned / "other")
    ranges = {"uidMappings": ids((0, 100, 1), (5, 200, 1)), "gidMappings": ids((1, 1, 1), (6, 7, 1))}
    config["mounts"] += [
        {**bind(owned, "bind", "idmap", "ro", "rprivate"), **ranges},
        {**bind(owned / "other", "bind", "rnoexec", "idmap", destination="/tree.file"), **ranges},
    ]
    text = workshop.sh(config, f"{OWNERS}; stat -c %u:%g /tree.file; cat /proc/self/mountinfo")
    assert text.splitlines()[:4] == ["/tree/of-0 100:1", "/tree/of-1234 65534:65534", "/tree/of-5 200:7", "200:7"]
    found = mounts("\n".join(text.splitlines()[4:]))
    assert found["/tree"].options >= {"ro", "idmapped"}
    assert found["/tree.file"].options >= {"noexec", "idmapped"}


@pytest.mark.parametrize(("word", "below"), [("idmap", "5:6"), ("ridmap", "7005:8006")])
def test_the_ids_of_what_is_mounted_below(
    workshop: Workshop, config: Config, owned: Path, word: str, below: str
) -> None:
    (owned / "source").touch()
    os.chown(owned / "source", 5, 6)
    (owned / "target").touch()
    subprocess.run(["mount", "--bind", str(owned / "source"), str(owned / "target")], check=True)
    try:
        config["mounts"].append({**bind(owned, "rbind", word), **maps(7000, 8000)})
        text = workshop.sh(config, "stat -c %u:%g /tree/of-5 /tree/target")
    finally:
        subprocess.run(["umount", str(owned / "target")], check=True)
    assert text.splitlines() == ["7005:8006", below]


def test_the_mapping_of_the_containers_user_namespace(workshop: Workshop, config: Config, owned: Path) -> None:
    config["mounts"].append(bind(owned, "bind", "idmap"))
    config["process"]["args"] = ["/bin/sh", "-c", f"{OWNERS}; touch /tree/new; stat -c %u:%g /tree/new"]
    text = workshop.output(mapped(workshop, config, "tree"))
    assert text.splitlines() == ["/tree/of-0 0:1", "/tree/of-1234 1234:1235", "/tree/of-5 5:6", "0:0"]
    assert ((owned / "new").stat().st_uid, (owned / "new").stat().st_gid) == (0, 0)


def test_other_mappings_in_a_user_namespace(workshop: Workshop, config: Config, owned: Path) -> None:
    # hostID counts on the host: what is nobody's in the user namespace is of the overflow id in it
    config["mounts"] += [
        {**bind(owned, "bind", "idmap", "nosuid"), **maps(200_010, 200_020)},
        {**bind(owned, "bind", "idmap", destination="/other"), **maps(300_000, 200_000)},
    ]
    script = f"{OWNERS}; stat -c %u:%g /other/of-5; grep ' /tree ' /proc/self/mountinfo"
    config["process"]["args"] = ["/bin/sh", "-c", script]
    *owners, other, line = workshop.output(mapped(workshop, config, "tree", "other")).splitlines()
    assert owners == ["/tree/of-0 10:21", "/tree/of-1234 65534:65534", "/tree/of-5 15:26"]
    assert other == "65534:6"
    assert Mounted(line).options >= {"nosuid", "idmapped"}


def test_the_mapping_of_a_user_namespace_that_is_joined(workshop: Workshop, config: Config, owned: Path) -> None:
    first = runc_spec()
    first["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    with workshop.create(mapped(workshop, first)) as other:
        config["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")]
        config["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{other.init_pid}/ns/user"})
        config["mounts"].append(bind(owned, "bind", "idmap"))
        config["process"]["args"] = ["/bin/sh", "-c", OWNERS]
        bundle = mapped(workshop, runc_spec(), "tree")
        (bundle / "config.json").write_text(json.dumps(config))
        text = workshop.output(bundle)
    assert text.splitlines() == ["/tree/of-0 0:1", "/tree/of-1234 1234:1235", "/tree/of-5 5:6"]


@pytest.mark.parametrize("propagation", ["rslave", "rprivate", "rshared", None])
def test_propagation_of_a_mapped_mount(
    workshop: Workshop, config: Config, owned: Path, propagation: str | None
) -> None:
    subprocess.run(["mount", "--bind", str(owned), str(owned)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(owned)], check=True)
        added = {**bind(owned, "rbind", "ridmap", *filter(None, [propagation])), **maps(1, 1)}
        found = seen(workshop, config, added)
    finally:
        subprocess.run(["umount", str(owned)], check=True)
    pattern = {"rprivate": "", "rshared": r"shared:\d+ master:\d+"}.get(propagation or "", r"master:\d+")
    assert re.fullmatch(pattern, found["/tree"].propagation)


def test_a_mapping_where_the_root_is_shared_with_the_host(workshop: Workshop, config: Config, owned: Path) -> None:
    config["linux"]["rootfsPropagation"] = "shared"
    subprocess.run(["mount", "--bind", str(owned), str(owned)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(owned)], check=True)
        found = seen(workshop, config, {**bind(owned, "rbind", "idmap"), **maps(1, 1)})
    finally:
        subprocess.run(["umount", str(owned)], check=True)
    assert re.fullmatch(r"shared:\d+", found["/tree"].propagation)


@pytest.mark.parametrize("source", ["/proc/sys", "/sys/kernel"])
def test_a_file_system_that_takes_no_mapping_is_named(
    workshop: Workshop, config: Config, source: str, owned: Path
) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    config["mounts"] += [
        {**bind(owned, "bind", "idmap"), **maps(1, 1)},
        {**bind(Path(source), "bind", "idmap", destination="/other"), **maps(1, 2)},
    ]
    with pytest.raises(CreateError) as caught:
        workshop.create(config)
    kind = "proc" if source.startswith("/proc") else "sysfs"
    reason = f"map the ids of mounts[8]: {source}: the file system ({kind}) takes no mapping of ids"
    assert str(caught.value).startswith(reason)
    assert (caught.value.step, caught.value.subject, caught.value.errno) == ("idmap", source, 22)
    assert "tmpfs 6.3" in caught.value.hint
    assert workshop.entries() == []
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_mapping_of_what_is_not_there(workshop: Workshop, config: Config) -> None:
    config["mounts"].append({**bind(Path("/not/there"), "bind", "idmap"), **maps(1, 1)})
    with pytest.raises(CreateError, match=r"mounts\[7\]: /not/there: No such file or directory"):
        workshop.create(config)


def test_no_process_stays_of_a_mapping(workshop: Workshop, config: Config, owned: Path) -> None:
    def children() -> set[str]:
        return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())

    before = children()
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    config["mounts"].append({**bind(owned, "bind", "idmap"), **maps(1, 1)})
    with workshop.create(config) as container:
        assert children() - before == {str(container.init_pid)}
    assert children() == before


OF_A_USER = """
import json, sys
from libcontainer_py import CreateError, Factory, Spec
folder = sys.argv[1]
try:
    Factory(folder + "/root").create("mapped", Spec.from_json(open(folder + "/config.json").read()))
except CreateError as error:
    print(json.dumps([str(error), error.step, error.errno, error.hint]))
"""


def test_an_ordinary_user_is_told_why_he_may_not(
    workshop: Workshop, config: Config, as_nobody: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        namespaces(config, "pid", "mount", "user")
        config["linux"] |= {f"{kind}Mappings": ids((0, NOBODY, 1)) for kind in ("uid", "gid")}
        del config["linux"]["resources"], config["hostname"]
        config["mounts"] = [bind(folder, "bind", "idmap")]
        config["root"] = {"path": str(workshop.rootfs(folder / "rootfs"))}
        (folder / "config.json").write_text(json.dumps(config))
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(folder)], check=True)
        done = as_nobody("-c", OF_A_USER, str(folder))
        assert done.stdout, done.stderr
        text, step, errno, hint = json.loads(done.stdout)
        assert text.startswith(f"map the ids of mounts[0]: {folder}: Operation not permitted")
        assert (step, errno) == ("idmap", 1)
        assert "CAP_SYS_ADMIN" in hint
        assert [*filter(",lock".__ne__, os.listdir(folder / "root"))] == []
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("mount", "path", "reason"),
    [
        ({"options": ["bind", "idmap"]}, ".options", "no user namespace"),
        ({"options": ["bind", "idmap"], "uidMappings": ids((0, 1, 1))}, ".gidMappings", "required beside uidMappings"),
        ({"options": ["bind"], "gidMappings": ids((0, 1, 1))}, ".uidMappings", "required beside gidMappings"),
        ({"options": ["bind", "idmap"], **maps(1, 1, 0)}, ".uidMappings[0].size", "must be above zero"),
        ({"type": "tmpfs", "options": ["ridmap"], **maps(1, 1)}, ".options", "only the ids of a bind mount"),
        ({"options": ["bind", "remount"], **maps(1, 1)}, ".uidMappings", "only the ids of a bind mount"),
        ({"options": ["bind", "idmap=uids=0-1-2"]}, ".options", "takes no 'idmap=uids=0-1-2'"),
    ],
)
def test_mappings_that_are_wrong(workshop: Workshop, config: Config, mount: Config, path: str, reason: str) -> None:
    config["mounts"].append({"destination": "/x", "source": "/y", **mount})
    with pytest.raises(ConfigError, match=re.escape(reason)) as caught:
        workshop.create(config)
    assert caught.value.problems[0].path == f"mounts[7]{path}"


# -- labels -----------------------------------------------------------------------------------------------------------

HAS_SELINUX = "selinuxfs" in Path("/proc/filesystems").read_text().split()
LABEL = "system_u:object_r:container_file_t:s0:c1,c2"


@pytest.mark.skipif(HAS_SELINUX, reason="has SELinux")
def test_a_mount_label_is_refused_without_selinux(workshop: Workshop, config: Config) -> None:
    config["linux"]["mountLabel"] = LABEL
    container_id = workshop.new_id()
    with pytest.raises(ConfigError, match="this kernel has no SELinux") as caught:
        workshop.factory.create(container_id, workshop.bundle(config))
    assert [problem.path for problem in caught.value.problems] == ["linux.mountLabel"]
    assert "leave it out" in caught.value.problems[0].hint
    assert workshop.entries() == []


@pytest.mark.skipif(not HAS_SELINUX, reason="needs SELinux: the virtual machine has it")
def test_a_mount_label(workshop: Workshop, config: Config) -> None:
    own = Path("/proc/self/attr/current").read_text().strip("\0\n")
    config["linux"]["mountLabel"] = LABEL
    code = "import os; print(*(os.getxattr(p, 'security.selinux') for p in ('/dev', '/dev/shm', '/dev/mqueue')))"
    if own == "kernel":  # no policy is loaded, so there are no labels yet
        with pytest.raises(CreateError, match=r'context="system_u.*Invalid argument') as caught:
            workshop.create(config)
        assert caught.value.step == "mount"
    else:
        assert workshop.python(config, code).split() == [f"b'{LABEL}\\x00'"] * 3


def test_an_empty_mount_label_is_none(workshop: Workshop, config: Config) -> None:
    config["linux"]["mountLabel"] = ""
    with workshop.create(config) as container:
        assert "context=" not in container.explain()


@pytest.mark.parametrize(("source", "place", "text"), [("d", "/f", "Not a directory"), ("f", "/d", "Is a directory")])
def test_a_file_is_no_place_for_a_directory(
    workshop: Workshop, config: Config, tmp_path: Path, source: str, place: str, text: str
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()
    config["mounts"].append(bind(tmp_path / source, "bind", destination=place))
    bundle = workshop.bundle(config)
    (bundle / "rootfs/d").mkdir()
    (bundle / "rootfs/f").touch()
    with pytest.raises(CreateError, match=rf"{place}.*: {text}"):
        workshop.create(bundle)
