"""Which directories are made, and which of them are removed again."""

from __future__ import annotations

import errno
import os
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from libcontainer_py import cgroups
from libcontainer_py.cgroups.hierarchies import read_hierarchies
from libcontainer_py.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py.cgroups import Cgroup


def mkdir_in_all(cgroup: Cgroup, name: str) -> None:
    for path in cgroup.directories:
        os.makedirs(f"{path}/{name}")


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
    parents = [os.path.dirname(path) for path in cgroup.directories]
    made = cgroup.create()
    assert set(made) == set(cgroup.directories)
    assert all(path.endswith("/libcontainer_py/" + name) for path in made)
    cgroup.remove(made)
    assert not any(map(os.path.exists, made))
    assert all(map(os.path.isdir, parents))


def test_a_default_parent_that_we_made_is_not_called_ours(group: str) -> None:
    cgroup = cgroups.for_container(f"{group}/libcontainer_py/c1", "c1")
    expected = cgroup.missing()
    made = cgroup.create()
    assert set(made) == set(expected)
    assert not [path for path in made if path.endswith("libcontainer_py")]


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
