"""examine(): says what this machine does, to root and to an ordinary user, in places where something is missing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from libcontainer_py import Condition, Diagnosis, examine
from tests.kernel.users import User
from tests.kernel.workshop import NOBODY, PATIENCE, python_for_everybody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# What examine() says, and what run() does, in one process: conditions by name, both reasons, and run()'s error.
BOTH = """
import sys
from libcontainer_py import ContainerError, Factory, examine, run
found = examine()
try:
    run(["true"], factory=Factory(sys.argv[1]) if sys.argv[1:] else None)
    error = None
except ContainerError as e:
    error = str(e)
told = {finding.name: (str(finding.condition), finding.found, finding.fix) for finding in found.findings}
print(repr((told, found.reason_why_not("create"), found.reason_why_not("run"), error)))
"""

Told = tuple[dict[str, tuple[str, str, str]], "str | None", "str | None", "str | None"]


def told(output: str) -> Told:
    value: Told = ast.literal_eval(output)
    return value


class Place:
    """Where something is missing: root's mounts, or a user namespace of an ordinary user's, as its root."""

    def __init__(self, package: Path) -> None:
        self.package = package

    def says(self, prepare: str, *ask: str, user: int = 0) -> Told:
        """What is said by `ask` in new namespaces that a shell has prepared."""
        ordinary = ["--user", "--map-root-user"] if user else []
        owner = NOBODY if ask else 0
        script = f'{prepare}\nROOT=$(mktemp -d); chown {0 if user else owner} "$ROOT"; "$@" "$ROOT"; rm -r "$ROOT"'
        done = subprocess.run(
            ["unshare", "--mount", *ordinary, "sh", "-c", script, "sh", *ask, python_for_everybody(), "-c", BOTH],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd="/",
            user=user,
            group=user,
            extra_groups=[],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "PYTHONPATH": str(self.package)},
        )
        assert done.returncode == 0, done.stderr
        return told(done.stdout)


@pytest.fixture
def place(root_only: None, peer: Callable[[str], str], package_for_everybody: Path) -> Place:
    peer("unshare")
    return Place(package_for_everybody)


def test_this_machine_runs_containers(user: User) -> None:
    said, create, run, error = told(user.python_says(BOTH))
    assert (create, run, error) == (None, None, None)
    assert {name for name, (condition, *_) in said.items() if condition == "missing"} == set()
    for name in ("kernel", "user namespaces", "namespaces", "mounts", "/proc", "overlayfs", "seccomp"):
        assert said[name][0] == "ok"
    assert said["kernel"][1] == f"Linux {os.uname().release}"


def test_it_leaves_nothing(user: User) -> None:
    code = """
        import os, resource, signal, threading
        from libcontainer_py import examine
        def state():
            return sorted(os.listdir("/proc/self/fd")), open("/proc/self/mountinfo").read(), threading.active_count()
        before = state()
        examine()
        assert state() == before
        print(open(f"/proc/self/task/{os.getpid()}/children").read())
    """
    assert user.python_says(textwrap.dedent(code)) == "\n"


def test_who_may_have_limits(user: User) -> None:
    said, *_ = told(user.python_says(BOTH))
    if user.uid == 0:
        assert said["cgroups"][0] == "ok"
    else:
        assert said["cgroups"][0] == "limited"
        assert said["id ranges"][1].startswith("/etc/subuid gives none to nobody; /etc/subgid gives none to nobody")


def test_a_masked_proc(place: Place, peer: Callable[[str], str]) -> None:
    # what root has mounted over parts of /proc is locked in another's user namespace, whose /proc would show it
    ask = [peer("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    said, create, run, error = place.says("mount -t tmpfs masked /proc/tty", *ask)
    condition, found, fix = said["/proc"]
    assert (condition, create) == ("missing", None)
    assert found == "masked: something is mounted over /proc/tty"
    assert "systempaths=unconfined" in fix
    assert run is not None
    assert run.startswith("/proc: ")
    assert error is not None
    assert "proc" in error


def test_no_more_user_namespaces(place: Place) -> None:
    said, create, *_ = place.says("echo 0 >/proc/sys/user/max_user_namespaces", user=NOBODY)
    assert said["user namespaces"] == (
        "limited",
        "user.max_user_namespaces is 0",
        "sysctl -w user.max_user_namespaces=15000",
    )
    assert create is None  # it is root there


def test_no_more_network_namespaces(place: Place) -> None:
    said, create, run, error = place.says("echo 0 >/proc/sys/user/max_net_namespaces", user=NOBODY)
    assert said["namespaces"][0] == "missing"
    assert said["namespaces"][1].startswith("network: ")
    assert said["namespaces"][2] == "sysctl -w user.max_net_namespaces=15000"
    assert create == run
    assert error is not None


def test_a_state_root_of_others(place: Place) -> None:
    said, create, run, _ = place.says(":", user=NOBODY)  # as root there it wants /run/libcontainer_py
    assert said["state directories"][0] == "missing"
    assert create is None
    assert run is not None
    assert run.startswith("state directories: ")


# Loads a filter that answers ENOSYS to the system calls that it is given, and becomes what follows.
HIDING = """
import os, struct, sys
from libcontainer_py.kernel import libc, seccomp
from libcontainer_py.kernel.constants import PR_SET_NO_NEW_PRIVS
numbers = [int(number) for number in sys.argv[1].split(",")]
libc.prctl(PR_SET_NO_NEW_PRIVS, 1)
lines = [(0x20, 0, 0, 0)]
for number in numbers:
    lines += [(0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | 38)]
lines.append((0x06, 0, 0, 0x7FFF0000))
seccomp.set_mode_filter(b"".join(struct.pack("=HBBI", *line) for line in lines))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("call", "name", "found"),
    [
        ("clone3", "kernel", "clone3: Function not implemented"),
        ("mount_setattr", "mounts", "mount_setattr: Function not implemented"),
        ("keyctl", "session keyrings", "keyctl: Function not implemented"),
    ],
)
def test_a_system_call_that_is_hidden(user: User, call: str, name: str, found: str) -> None:
    from libcontainer_py.kernel import libc

    output = user.python_says(HIDING, str(libc.number_of(call)), user.python, "-c", BOTH)
    said, create, run, error = told(output)
    assert found in said[name][1]
    if call == "keyctl":  # without it a container has no keyring, and that is all
        assert (said[name][0], create, run, error) == ("limited", None, None, None)
    else:
        assert said[name][0] == "missing"
        assert create is not None
        assert create == run
        assert error is not None


def test_cgroups_that_are_read_only(place: Place) -> None:
    prepare = "for m in $(grep ' /sys/fs/cgroup' /proc/mounts | cut -d' ' -f2); do mount -o remount,bind,ro $m; done"
    said, create, run, error = place.says(prepare)
    assert said["cgroups"][0] == "missing"
    assert create is None
    assert run is not None
    assert error is not None
    assert "read-only" in error


def test_capabilities_that_root_lacks(root_only: None, peer: Callable[[str], str]) -> None:
    less = "-mknod,-sys_resource"
    done = subprocess.run(
        [peer("setpriv"), f"--bounding-set={less}", f"--inh-caps={less}", sys.executable, "-c", BOTH],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    said, *_ = told(done.stdout)
    assert said["capabilities"][:2] == ("limited", "root has no CAP_MKNOD, CAP_SYS_RESOURCE here")


def test_root_without_power(root_only: None, peer: Callable[[str], str]) -> None:
    done = subprocess.run(
        [peer("setpriv"), "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable, "-c", BOTH],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    said, create, _, error = told(done.stdout)
    assert said["namespaces"][0] == "missing"
    assert create is not None
    assert "CAP_SYS_ADMIN" in create
    assert error is not None


def test_a_python_that_is_none() -> None:
    found = examine(python="/bin/false")
    assert isinstance(found, Diagnosis)
    assert found.condition is Condition.MISSING
    assert str(found.reason_why_not()).startswith("fork server: ")
