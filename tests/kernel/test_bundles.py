"""Bundles that other programs wrote: podman, containerd, umoci. They run, and inside all is as they asked for."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from libcontainer_py.kernel.constants import CAPABILITIES
from libcontainer_py.spec.mount_options import parse
from tests.kernel.test_config import fields, masks, mounts
from tests.kernel.workshop import Config, Workshop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data"
LOOK = """
for file in status mountinfo limits cgroup; do echo "== $file"; cat /proc/self/$file; done
echo "== hostname"; hostname
echo "== cwd"; pwd
echo "== env"; env
echo "== dev"; find /dev -type c -o -type b | while read f; do stat -c '%n %F %t:%T %a %u:%g' "$f"; done
echo "== tasks"; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null
echo "== masked"; for path in $MASKED; do [ -d "$path" ] && ls "$path" || cat "$path"; done 2>/dev/null
echo "== written"; for path in $CLOSED; do (: >"$path") && echo "$path"; done 2>/dev/null
true
"""
"""What is compared with the configuration; busybox' words alone."""


@pytest.fixture
def config(request: pytest.FixtureRequest) -> Config:
    document: Config = json.loads((DATA / request.param).read_text(encoding="utf-8"))
    return document


def mended(config: Config, folder: Path, container_id: str) -> Config:
    """With the files of an engine's that it binds, and without what this machine does not have."""
    config["root"]["path"] = "rootfs"
    for mount in config["mounts"]:
        source = str(mount.get("source", ""))
        if source.startswith("/var/lib/containers"):
            mount["source"] = str(folder / "userdata" / os.path.basename(source))
            make = os.makedirs if os.path.basename(source) == "shm" else _touch
            make(mount["source"])
    *above, name = config["linux"]["cgroupsPath"].split("/")
    config["linux"]["cgroupsPath"] = "/".join([*above, f"{name}-{container_id}"])
    return config


def _touch(path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).touch()


def look(config: Config) -> Config:
    """The script as its program, that is told which paths it must not read or write."""
    linux = config["linux"]
    config["process"]["args"] = ["/bin/sh", "-c", LOOK]
    config["process"]["env"] += [
        f"MASKED={' '.join(linux.get('maskedPaths', []))}",
        f"CLOSED={' '.join(linux.get('readonlyPaths', []))}",
    ]
    return config


def parts(output: str) -> dict[str, str]:
    found = re.split(r"^== (\w+)\n", output, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def compare(config: Config, seen: dict[str, str]) -> None:
    """What was seen inside with what the configuration says."""
    process, linux = config["process"], config["linux"]
    status = fields(seen["status"])
    assert status["Uid"].split()[0] == str(process["user"]["uid"])
    assert status["Gid"].split()[0] == str(process["user"]["gid"])
    assert status["NoNewPrivs"] == str(int(process.get("noNewPrivileges", False)))
    assert status["Seccomp"] == ("2" if "seccomp" in linux else "0")
    assert masks(status) == expected_masks(process)
    assert seen["cwd"] == process["cwd"] + "\n"
    assert {*process["env"]} <= {*seen["env"].splitlines()}
    if "hostname" in config:
        assert seen["hostname"] == config["hostname"] + "\n"
    limits = {line[:26].strip(): line[26:].split()[:2] for line in seen["limits"].splitlines()}
    names = {"RLIMIT_NOFILE": "Max open files", "RLIMIT_NPROC": "Max processes"}
    for one in process["rlimits"]:
        assert limits[names[one["type"]]] == [str(one["soft"]), str(one["hard"])]
    if "cgroupsPath" in linux:
        assert [line for line in seen["cgroup"].splitlines() if line.endswith(f":{linux['cgroupsPath']}")]
    if "pids" in linux["resources"] and any(one["destination"] == "/sys/fs/cgroup" for one in config["mounts"]):
        assert seen["tasks"] == f"{linux['resources']['pids']['limit']}\n"
    assert seen["masked"] == ""
    assert seen["written"] == ""
    compare_mounts(config, seen["mountinfo"])
    compare_devices(linux, seen["dev"])


def expected_masks(process: Config) -> dict[str, set[str]]:
    """What an execve of root makes of the sets, or of another user. Source: capabilities(7)."""
    given = {name: {*process["capabilities"].get(name, [])} & {*CAPABILITIES} for name in KINDS}
    if process["user"]["uid"] == 0:
        permitted = given["inheritable"] | given["bounding"]
        return given | {"permitted": permitted, "effective": permitted}
    return given | {"permitted": given["ambient"], "effective": given["ambient"]}


KINDS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def compare_mounts(config: Config, mountinfo: str) -> None:
    there = mounts(mountinfo)
    for one in config["mounts"]:
        mount = there[one["destination"]]
        options = parse(tuple(one.get("options", ())))
        if not options.is_bind and one["type"] != "cgroup":
            assert mount.fstype == one["type"]
        words = {"ro", "nosuid", "nodev", "noexec"} & {*one.get("options", [])}
        assert words <= mount.options, one["destination"]
        assert "ro" in words or "rw" in mount.options, one["destination"]
        assert options.propagation == () or mount.propagation == "", one["destination"]  # all are private


def compare_devices(linux: Config, listed: str) -> None:
    names = {"c": "character", "b": "block"}
    expected = {
        f"{one['path']} {names[one['type']]} special file {one['major']:x}:{one['minor']:x}"
        f" {stat.S_IMODE(one['fileMode']):o} {one['uid']}:{one['gid']}"
        for one in linux.get("devices", [])
        if one["path"] != "/dev/ptmx"  # leads to the container's own devpts. Source: config-linux.md, Default Devices
    }
    assert expected <= {*listed.splitlines()}
    assert {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")} <= {
        line.split()[0] for line in listed.splitlines()
    }


@pytest.mark.parametrize(
    "config", ["config-podman.json", "config-podman-small.json", "config-containerd.json"], indirect=True
)
def test_of_an_engine(workshop: Workshop, config: Config) -> None:
    mended(config, workshop.folder, workshop.new_id())
    compare(config, parts(workshop.output(look(config))))


def test_of_containerd_with_its_own_program(workshop: Workshop) -> None:
    config: Config = json.loads((DATA / "config-containerd.json").read_text(encoding="utf-8"))
    bundle = workshop.bundle(mended(config, workshop.folder, workshop.new_id()))
    (bundle / "rootfs/bin/id").symlink_to("busybox")
    assert workshop.output(bundle) == "uid=0 gid=0 groups=0\n"


# -- umoci ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def umoci(workshop: Workshop, peer: Callable[[str], str]) -> Callable[..., Path]:
    """Make an image of busybox with these settings, and unpack it: the bundle."""
    program = peer("umoci")

    def run(*words: str) -> None:
        subprocess.run([program, *words], cwd=workshop.folder, check=True, capture_output=True, text=True)

    def unpacked(*settings: str, rootless: bool = False) -> Path:
        run("init", "--layout", "image")
        run("new", "--image", "image:latest")
        root = workshop.rootfs(workshop.folder / "content")
        for name in ("proc", "dev", "sys"):
            (root / name).rmdir()  # as images have none
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nsomebody:x:7:8::/home/somebody:/bin/sh\n")
        run("insert", "--image", "image:latest", str(root), "/")
        run("config", "--image", "image:latest", *settings)
        run("unpack", "--image", "image:latest", *(["--rootless"] if rootless else []), "bundle")
        return workshop.folder / "bundle"

    return unpacked


def without_terminal(bundle: Path) -> Config:
    """umoci asks for a terminal."""
    config: Config = json.loads((bundle / "config.json").read_text(encoding="utf-8"))
    config["process"]["terminal"] = False
    return config


def write(bundle: Path, config: Config) -> None:
    (bundle / "config.json").write_text(json.dumps(config), encoding="utf-8")


def test_of_umoci(workshop: Workshop, umoci: Callable[..., Path]) -> None:
    bundle = umoci(
        *("--config.user", "somebody", "--config.workingdir", "/work", "--config.env", "GREETING=hello"),
        *("--config.volume", "/data", "--config.label", "org.example=x", "--config.exposedports", "80/tcp"),
    )
    config = without_terminal(bundle)
    write(bundle, look(config))
    seen = parts(workshop.output(bundle))
    compare(config, seen)
    assert (config["process"]["user"]["uid"], config["process"]["user"]["gid"]) == (7, 8)
    assert {"GREETING=hello", "HOME=/home/somebody"} <= {*seen["env"].splitlines()}
    assert seen["cwd"] == "/work\n"
    assert mounts(seen["mountinfo"])["/data"].fstype == "tmpfs"


def test_of_umoci_with_the_program_of_the_image(workshop: Workshop, umoci: Callable[..., Path]) -> None:
    bundle = umoci(
        *("--config.entrypoint", "/bin/busybox", "--config.entrypoint", "printf", "--config.cmd", "%s %s\\n"),
        *("--config.cmd", "a b", "--config.cmd", "c"),
    )
    write(bundle, without_terminal(bundle))
    assert workshop.output(bundle) == "a b c\n"


def test_of_umoci_for_an_ordinary_user(workshop: Workshop, umoci: Callable[..., Path]) -> None:
    # its configuration is in a user namespace, with the host's network and cgroups
    bundle = umoci("--config.cmd", "/bin/sh", rootless=True)
    config = without_terminal(bundle)
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/uid_map"]
    write(bundle, config)
    assert {"type": "user"} in config["linux"]["namespaces"]
    assert workshop.output(bundle).split() == ["0", str(os.geteuid()), "1"]
