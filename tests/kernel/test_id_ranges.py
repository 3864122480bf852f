"""Ranges of ids that an ordinary user maps by newuidmap and newgidmap, as /etc/subuid and /etc/subgid allow him."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.kernel.workshop import NOBODY, PATIENCE, Config, Workshop, namespaces, python_for_everybody, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST, COUNT = 200000, 65536
OWN_AND_RANGE = [(0, NOBODY, 1), (1, FIRST, 1000)]

# The files that say what is whose are the machine's: the user gets a view of /etc with others.
AS_USER = """
mount --bind "$1" /etc/subuid
mount --bind "$2" /etc/subgid
shift 2
for program in $HIDDEN; do mount --bind /dev/null "$program"; done
exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups -- "$@"
"""

OF_A_USER = """
import json, os, sys
from libcontainer_py import ContainerError, Factory
folder = sys.argv[1]
try:
    with open(folder + "/output", "wb") as output:
        with Factory(folder + "/root").create("c1", folder, stdout=output, stderr=output) as container:
            plan = container.explain()
            container.start()
            code = container.wait(60).returncode
    print(json.dumps({"code": code, "output": open(folder + "/output").read(), "plan": plan}))
except ContainerError as error:
    problems = {problem.path: str(problem) for problem in getattr(error, "problems", ())}
    root = folder + "/root"
    left = [name for name in os.listdir(root) if name != ",lock"] if os.path.exists(root) else []
    said = {"kind": type(error).__name__, "text": str(error), "step": getattr(error, "step", "")}
    print(json.dumps(said | {"problems": problems, "left": left}))
"""


class User:
    """An ordinary user with a bundle of his own, and his lines of subuid and subgid."""

    def __init__(self, folder: Path, program: str, package: Path) -> None:
        self.folder = folder
        self.program = program
        """newuidmap."""
        self.package = package
        line = f"{NOBODY}:{FIRST}:{COUNT}\n"
        self.subuid: str = line
        self.subgid: str = line
        self.hidden: str = ""
        """Programs that are not there."""

    def config(self, uids: list[tuple[int, int, int]], gids: list[tuple[int, int, int]]) -> Config:
        config = namespaces(runc_spec(), "pid", "mount", "user", "uts", "ipc", "network")
        for name, rows in (("uidMappings", uids), ("gidMappings", gids)):
            config["linux"][name] = [{"containerID": one, "hostID": two, "size": size} for one, two, size in rows]
        del config["linux"]["resources"]
        config["mounts"] = [
            mount for mount in config["mounts"] if mount["destination"] in ("/proc", "/dev", "/dev/pts")
        ]
        config["process"]["rlimits"] = []
        config["process"]["capabilities"] = {
            name: ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID"]
            for name in ("bounding", "effective", "permitted")
        }
        config["root"] = {"path": "rootfs"}
        return config

    def run(self, config: Config, script: str = "true") -> Config:
        """What came of it: code, output and plan, or the error."""
        config["process"]["args"] = ["/bin/sh", "-c", script]
        (self.folder / "config.json").write_text(json.dumps(config))
        for name in ("subuid", "subgid"):
            (self.folder / name).write_text(getattr(self, name))
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        command = ["unshare", "--mount", "sh", "-euc", AS_USER, "sh"]
        command += [str(self.folder / "subuid"), str(self.folder / "subgid")]
        command += [python_for_everybody(), "-c", OF_A_USER, str(self.folder)]
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/nonexistent",
            "PYTHONPATH": str(self.package),
            "USER_ID": str(NOBODY),
            "HIDDEN": self.hidden,
            "LIBCONTAINER_PY_TESTS": os.environ.get("LIBCONTAINER_PY_TESTS", ""),
        }
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        answer: Config = json.loads(done.stdout)
        return answer


@pytest.fixture
def user(workshop: Workshop, package_for_everybody: Path, peer: Callable[[str], str]) -> Iterator[User]:
    program = peer("newuidmap")
    folder = Path(tempfile.mkdtemp(prefix="lcpy-user-", dir="/tmp"))
    folder.chmod(0o755)
    workshop.rootfs(folder / "rootfs")
    yield User(folder, program, package_for_everybody)
    shutil.rmtree(folder)


def test_own_id_and_a_range(user: User) -> None:
    config = user.config(OWN_AND_RANGE, OWN_AND_RANGE)
    script = "cd /proc/self; busybox cat uid_map gid_map setgroups; cd /tmp; busybox touch a b; busybox chown 7:8 a"
    found = user.run(config, script)
    assert found["code"] == 0, found
    rows = f"0 {NOBODY} 1 1 {FIRST} 1000".split()
    assert found["output"].split() == [*rows, *rows, "allow"]
    assert f"by {user.program}, {user.program.replace('uid', 'gid')}    <- linux.uidMappings" in found["plan"]
    of_7, of_root = ((user.folder / "rootfs/tmp" / name).stat() for name in ("a", "b"))
    assert (of_7.st_uid, of_7.st_gid) == (FIRST + 6, FIRST + 7)
    assert (of_root.st_uid, of_root.st_gid) == (NOBODY, NOBODY)


def test_a_user_and_groups_of_the_range(user: User) -> None:
    config = user.config(OWN_AND_RANGE, OWN_AND_RANGE)
    config["process"]["user"] = {"uid": 33, "gid": 34, "additionalGids": [5, 100]}
    found = user.run(config, "busybox id -u; busybox id -g; busybox grep Groups /proc/self/status")
    assert found["code"] == 0, found
    assert found["output"].split("\n")[:2] == ["33", "34"]
    assert "Groups:\t5 100" in found["output"]


def test_a_root_that_is_another_user_on_the_host(user: User) -> None:
    """exec.fifo and the streams are the user's, init is somebody else's: it starts all the same."""
    rows = [(0, FIRST, 1000)]
    config = user.config(rows, rows)
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] == "/proc"]
    config["mounts"].append({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]})
    for name in ("dev", "proc", "sys", "tmp", ""):
        (user.folder / "rootfs" / name).chmod(0o777)
    found = user.run(config, "busybox id -u; busybox touch /tmp/made")
    assert found["code"] == 0, found
    assert found["output"] == "0\n"
    assert (user.folder / "rootfs/tmp/made").stat().st_uid == FIRST


def test_own_ids_alone_need_no_program_and_allow_no_groups(user: User) -> None:
    own = [(0, NOBODY, 1)]
    config = user.config(own, own)
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/dev/pts"]  # gid=5
    found = user.run(config, "busybox cat /proc/self/setgroups")
    assert found["output"] == "deny\n", found
    assert "newuidmap" not in found["plan"]
    config["process"]["user"]["additionalGids"] = [0]
    refused = user.run(config)
    assert list(refused["problems"]) == ["process.user.additionalGids"]
    assert "setgroups is denied" in refused["text"]
    assert refused["left"] == []


@pytest.mark.parametrize("kind", ["uid", "gid"])
def test_ids_that_the_user_was_not_given(user: User, kind: str) -> None:
    setattr(user, f"sub{kind}", f"{NOBODY}:{FIRST}:500\n")
    refused = user.run(user.config(OWN_AND_RANGE, OWN_AND_RANGE))
    assert (refused["kind"], refused["step"]) == ("CreateError", "map_ids"), refused
    assert f"new{kind}map: {kind} range [1-1001) -> [{FIRST}-{FIRST + 1000}) not allowed" in refused["text"]
    assert f"in /etc/sub{kind}, as usermod --add-sub{kind}s FIRST-LAST USER does" in refused["text"]
    assert refused["left"] == []


def test_without_the_programs(user: User) -> None:
    user.hidden = user.program
    refused = user.run(user.config(OWN_AND_RANGE, [(0, NOBODY, 1)]))
    assert list(refused["problems"]) == ["linux.uidMappings"], refused
    assert f"more than his own uid {NOBODY} with newuidmap, which is not here" in refused["text"]
    assert "apt-get install uidmap" in refused["text"]
    assert refused["left"] == []
