"""Hosts where one may not, and v1 alone in its own namespace."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from libcontainer_py import cgroups
from libcontainer_py.cgroups import Mode
from libcontainer_py.cgroups.hierarchies import read_hierarchies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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


CONCERNED = ("cgroups", "test_oom.py", "test_freezer.py", "test_limits.py", "test_watch_stats.py", "test_events.py")


@pytest.mark.slow
def test_all_that_concerns_cgroups_on_v1_alone(
    peer: Callable[[str], str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if cgroups.detect() is not Mode.HYBRID:
        pytest.skip("needs a hybrid host: v1 with v2 beside it")
    chosen = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'inner'}",
        "-k",
        "not v1_alone",
        *(f"tests/kernel/{name}" for name in CONCERNED),
    ]
    done = subprocess.run(
        [peer("unshare"), "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified && exec "$@"', "sh", *chosen],
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
