"""What is written where, and undone, on either version: directories of plain files stand for cgroups.

The kernel's part (what it takes, and what comes of it) is in tests/kernel/cgroups.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py.cgroups.controllers import set_v1, set_v2
from libcontainer_py.errors import CgroupError
from libcontainer_py.spec import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

Files = dict[str, str]


class Cgroup:
    """A directory for each controller (v1) or one (v2) of files with these contents; "" takes and shows all writes."""

    def __init__(self, folder: Path, version: int, files: Mapping[str, str]) -> None:
        self.version = version
        self.folder = folder
        self.paths: dict[str, str] = {}
        for name, text in files.items():
            controller = {"cpuset": "cpuset", "io": "blkio"}.get(name.split(".")[0], name.split(".")[0])
            directory = folder / controller if version == 1 else folder
            directory.mkdir(exist_ok=True)
            (directory / name).write_text(text)
            self.paths[controller if version == 1 else ""] = str(directory)

    def set(self, **resources: Any) -> Any:
        asked = Resources.from_dict(resources)
        return set_v1(self.paths, asked) if self.version == 1 else set_v2(self.paths[""], asked)

    def changed(self, before: Mapping[str, str]) -> Files:
        """The files that are not as they were."""
        found = {path.name: path.read_text() for path in self.folder.rglob("*") if path.is_file()}
        return {name: text for name, text in found.items() if text != before.get(name, text)}


def check(folder: Path, version: int, files: Files, resources: dict[str, Any], expected: Files) -> None:
    """What is expected is written and, where the old content can be written over the new one, undone."""
    cgroup = Cgroup(folder, version, files)
    change = cgroup.set(**resources)
    assert cgroup.changed(files) == expected
    change.undo()
    left = cgroup.changed(files)
    # a plain file keeps the end of what was longer, and no line goes into it for an empty one but its newline
    assert all(text.startswith(files[name] or "\n") for name, text in left.items()), left


def refused(folder: Path, version: int, files: Files, resources: dict[str, Any]) -> CgroupError:
    cgroup = Cgroup(folder, version, files)
    with pytest.raises(CgroupError) as caught:
        cgroup.set(**resources)
    assert cgroup.changed(files) == {}
    assert caught.value.errno
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("limit", "text"), [(7, "7"), (0, "0"), (-1, "max"), (-5, "max")])
def test_pids(tmp_path: Path, version: int, limit: int, text: str) -> None:
    check(tmp_path, version, {"pids.max": ""}, {"pids": {"limit": limit}}, {"pids.max": text})


def test_undo_goes_backwards(tmp_path: Path) -> None:
    cgroup = Cgroup(tmp_path, 2, {"pids.max": "100\n", "cgroup.controllers": "pids"})
    first = cgroup.set(pids={"limit": 200})
    second = cgroup.set(pids={"limit": 300})
    assert (tmp_path / "pids.max").read_text() == "300\n"
    second.undo()
    assert (tmp_path / "pids.max").read_text() == "200\n"
    first.undo()
    assert (tmp_path / "pids.max").read_text() == "100\n"


def test_a_hierarchy_that_is_not_mounted(tmp_path: Path) -> None:
    error = refused(tmp_path, 1, {"cpu.shares": ""}, {"pids": {"limit": 5}})
    assert (error.path, error.field, error.value, error.errno) == ("pids", "pids.limit", "5", errno.ENOENT)
    assert "not mounted" in str(error)


def test_a_file_that_this_kernel_has_not(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    error = refused(tmp_path, 1, {"pids.current": ""}, {"pids": {"limit": 5}})
    assert error.path == str(tmp_path / "pids" / "pids.max")
    assert "no such file" in error.hint


def test_a_controller_that_is_not_passed_down(tmp_path: Path) -> None:
    """The hint names the cgroup that has it and keeps it."""
    (tmp_path / "cgroup.controllers").write_text("cpu pids\n")
    for name in ("a", "a/b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.controllers").write_text("cpu\n")
    error = refused(tmp_path / "a" / "b", 2, {"cgroup.procs": ""}, {"pids": {"limit": 5}})
    assert f"pids controller is not in {tmp_path}/cgroup.subtree_control" in error.hint
    assert ("+pids" in error.hint) == (os.geteuid() == 0)
    error = refused(
        tmp_path / "a" / "b", 2, {"cgroup.procs": ""}, {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}
    )
    assert "no hugetlb controller" in error.hint
