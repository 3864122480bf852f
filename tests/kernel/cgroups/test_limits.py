"""Limits, set on real cgroups: what the kernel took, and what it does with it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import cgroups
from libcontainer_py.cgroups import Mode
from libcontainer_py.errors import CgroupError
from libcontainer_py.spec import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from libcontainer_py.cgroups import Cgroup
    from libcontainer_py.cgroups.control import Change


def on_v2() -> bool:
    return cgroups.detect() is Mode.V2


def place(cgroup: Cgroup, controller: str) -> Path:
    """The directory of a controller of v1, else the one of v2; without the controller the test skips."""
    if on_v2():
        path = Path(cgroup.paths[""])
        if controller not in (path / "cgroup.controllers").read_text().split():
            pytest.skip(f"needs the controller {controller}")
        return path
    if controller not in cgroup.paths:
        pytest.skip(f"needs the controller {controller}")
    return Path(cgroup.paths[controller])


def set_limits(cgroup: Cgroup, **resources: Any) -> Change:
    return cgroup.set(Resources.from_dict(resources))


def refused(cgroup: Cgroup, **resources: Any) -> CgroupError:
    with pytest.raises(CgroupError) as caught:
        set_limits(cgroup, **resources)
    return caught.value


def shown(directory: Path, *names: str) -> list[str]:
    return [(directory / name).read_text().strip() for name in names]


# -- pids -------------------------------------------------------------------------------------------------------------

FORKS = """
for number in range(100):
    try:
        if os.fork() == 0:
            signal.pause()
    except BlockingIOError:
        break
print(number, flush=True)
signal.pause()
"""


def test_pids(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    directory = place(cgroup, "pids")
    change = set_limits(cgroup, pids={"limit": 6})
    assert shown(directory, "pids.max") == ["6"]
    process = join(cgroup, FORKS)
    assert process.stdout is not None
    assert process.stdout.readline() == "5\n"  # and itself
    assert shown(directory, "pids.current") == ["6"]
    change.undo()
    assert shown(directory, "pids.max") == ["max"]


def test_no_pids_lets_nothing_fork(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> None:
    directory = place(cgroup, "pids")
    process = join(cgroup, "sys.stdin.readline()\n" + FORKS)
    set_limits(cgroup, pids={"limit": 0})
    assert shown(directory, "pids.max") == ["0"]
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"


@pytest.mark.parametrize("limit", [-1, -7])
def test_no_limit_of_pids(cgroup: Cgroup, limit: int) -> None:
    directory = place(cgroup, "pids")
    set_limits(cgroup, pids={"limit": 5})
    set_limits(cgroup, pids={"limit": limit})
    assert shown(directory, "pids.max") == ["max"]


def test_more_pids_than_there_can_be(cgroup: Cgroup) -> None:
    directory = place(cgroup, "pids")
    error = refused(cgroup, pids={"limit": 2**40})
    assert (error.path, error.errno) == (f"{directory}/pids.max", errno.EINVAL)
    assert (error.field, error.value) == ("pids.limit", str(2**40))


# -- errors -----------------------------------------------------------------------------------------------------------


def test_a_cgroup_that_is_gone(cgroup: Cgroup) -> None:
    directory = place(cgroup, "pids")
    cgroup.remove()
    error = refused(cgroup, pids={"limit": 5})
    assert (error.path, error.errno) == (f"{directory}/pids.max", errno.ENOENT)
    assert not os.path.exists(directory)
