"""Which cgroups are mounted, and where a container's go: from texts of mountinfo, without a kernel."""

from __future__ import annotations

import pytest

from libcontainer_py.cgroups.hierarchies import Hierarchies, Mode, Mount, arrange, parse_mountinfo

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
CPU = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct"
FREEZER = "37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer"
SYSTEMD = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd"
NESTED = "37 31 0:34 /docker/abc /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer"
OTHERS = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n22 1 253:0 / / rw - ext4 /dev/vda rw\n"


def hierarchies(*lines: str) -> Hierarchies:
    return arrange(parse_mountinfo(OTHERS + "\n".join(lines) + "\n"))


@pytest.mark.parametrize(
    ("lines", "mode", "controllers"),
    [
        ([V2], Mode.V2, [""]),
        ([CPU, FREEZER], Mode.V1, ["cpu", "cpuacct", "freezer"]),
        ([CPU, SYSTEMD, UNIFIED], Mode.HYBRID, ["cpu", "cpuacct", "name=systemd", ""]),
        ([V2, SYSTEMD.replace("/sys/fs/cgroup/systemd", "/mnt/systemd")], Mode.V2, [""]),
        ([CPU, UNIFIED.replace("/sys/fs/cgroup/unified", "/mnt/cgroup2")], Mode.V1, ["cpu", "cpuacct"]),
        ([UNIFIED.replace("/sys/fs/cgroup/unified", "/mnt/cgroup2")], Mode.V2, [""]),
        ([], Mode.NONE, []),
    ],
)
def test_modes(lines: list[str], mode: Mode, controllers: list[str]) -> None:
    found = hierarchies(*lines)
    assert found.mode is mode
    assert list(found.mounts) == controllers


def test_a_mount_below_sys_fs_cgroup_goes_before_others() -> None:
    elsewhere = FREEZER.replace("/sys/fs/cgroup/freezer", "/mnt/my\\040freezer")
    assert hierarchies(elsewhere).mounts["freezer"] == Mount("/mnt/my freezer", "/")
    assert hierarchies(elsewhere, FREEZER).mounts["freezer"] == Mount("/sys/fs/cgroup/freezer", "/")
    assert hierarchies(elsewhere, FREEZER).points == {"/mnt/my freezer", "/sys/fs/cgroup/freezer"}


def test_an_absolute_path_is_below_each_mount() -> None:
    assert hierarchies(CPU, FREEZER, UNIFIED).directories("/group/c1", {"freezer": "/mine"}) == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/group/c1",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/group/c1",
        "freezer": "/sys/fs/cgroup/freezer/group/c1",
        "": "/sys/fs/cgroup/unified/group/c1",
    }


def test_a_relative_path_is_below_our_own_cgroup_but_on_v2_beside_it() -> None:
    own = {"cpu": "/a", "cpuacct": "/a", "": "/user.slice/session.scope"}
    assert hierarchies(CPU, FREEZER, UNIFIED).directories("c1", own) == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/a/c1",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/a/c1",
        "freezer": "/sys/fs/cgroup/freezer/c1",
        "": "/sys/fs/cgroup/unified/c1",
    }
    assert hierarchies(V2).directories("c1", own) == {"": "/sys/fs/cgroup/user.slice/c1"}


def test_in_a_container_without_cgroup_namespace_the_mounts_root_is_taken_off() -> None:
    found = hierarchies(NESTED)
    assert found.directories("c1", {"freezer": "/docker/abc/d"}) == {"freezer": "/sys/fs/cgroup/freezer/d/c1"}
    assert found.directories("c1", {"freezer": "/docker/abc"}) == {"freezer": "/sys/fs/cgroup/freezer/c1"}
    assert found.directories("c1", {"freezer": "/../other"}) == {"freezer": "/sys/fs/cgroup/freezer/c1"}


@pytest.mark.parametrize(
    ("wanted", "inner"),
    [("/../../etc/c1", "/etc/c1"), ("//c1", "/c1"), ("/a/./b//c/", "/a/b/c"), ("../../c1", "/c1"), ("a/../c1", "/c1")],
)
def test_no_path_leads_out(wanted: str, inner: str) -> None:
    assert hierarchies(FREEZER).directories(wanted, {}) == {"freezer": "/sys/fs/cgroup/freezer" + inner}


@pytest.mark.parametrize("wanted", ["/", "//", "/a/..", "..", ".", "./", "a/..", "/c\0d"])
def test_a_path_must_name_a_cgroup_of_its_own(wanted: str) -> None:
    with pytest.raises(ValueError, match="own"):
        hierarchies(FREEZER).directories(wanted, {})


def test_parents_are_those_with_others_below_them() -> None:
    found = hierarchies(FREEZER)
    at = "/sys/fs/cgroup/freezer"
    inodes = {f"{at}/a": 5, f"{at}/a/b": 6, f"{at}/a/b/c": 7, f"{at}/ab": 8}
    assert found.parents(inodes) == [f"{at}/a/b", f"{at}/a"]


def test_only_what_is_below_a_cgroup_mount_is_held(tmp_path) -> None:
    found = hierarchies(FREEZER)
    assert not found.holds(str(tmp_path), tmp_path.stat().st_ino)
    assert not found.holds("/sys/fs/cgroup/freezer", -1)
    assert not found.holds("/sys/fs/cgroup/freezer/../../..", -1)
