"""The doctor: facts from the files of a host made by hand, and findings from facts."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from libcontainer_py.cgroups import Mode
from libcontainer_py.doctor import Condition, Diagnosis, Finding, facts, findings
from libcontainer_py.doctor.facts import Facts, Mapper, Refusal, User
from libcontainer_py.errors import LauncherError
from libcontainer_py.kernel.constants import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

TRIALS = ("pidfd", "clone3", "user", "namespaces", "tree", "proc", "overlay", "seccomp", "keyring")
ALL = (1 << len(CAPABILITIES)) - 1
ROOT, ANN = User(0, "root"), User(1000, "ann")
HEALTHY = Facts(
    user=ANN,
    release="6.1.0-18-amd64",
    capabilities=ALL,
    no_new_privileges=False,
    sysctls={"user.max_user_namespaces": 63000, "kernel.keys.maxkeys": 200},
    ranges={"uid": 65536, "gid": 65536},
    mappers={"uid": Mapper("/usr/bin/newuidmap", True), "gid": Mapper("/usr/bin/newgidmap", True)},
    proc_covers=(),
    cgroups=Mode.V2,
    controllers=frozenset({"cpu", "io", "memory", "pids"}),
    barred="",
    closed="",
)


def diagnosis(refused: Mapping[str, Refusal] | None = None, **changes: Any) -> Diagnosis:
    trials = {**dict.fromkeys(TRIALS), **(refused or {})}
    return Diagnosis(tuple(findings.draw(HEALTHY._replace(**changes), trials)))


def only_bad(found: Diagnosis) -> Finding:
    bad = [finding for finding in found.findings if finding.condition is not Condition.OK]
    assert len(bad) == 1, str(found)
    return bad[0]


# -- findings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [ROOT, ANN])
def test_a_healthy_host(user: User) -> None:
    found = diagnosis(user=user)
    assert [finding.name for finding in found.findings if finding.condition is not Condition.OK] == []
    assert found.condition is Condition.OK
    assert found.reason_why_not() is None
    assert all(finding.found and not finding.meaning and not finding.fix for finding in found.findings)


def refusal(step: str, number: int) -> Refusal:
    return Refusal(step, number)


# What is wrong with an ordinary user's host: what was refused, facts, and of the one bad finding its name, what it
# stops, what it found, and what mends it.
ORDINARY: dict[str, tuple[dict[str, Refusal], dict[str, Any], tuple[str, str, str, str]]] = {
    "an old kernel": (
        {},
        {"release": "5.10.0-28-amd64"},
        ("kernel", "create", "Linux 5.10.0-28-amd64", "boot a kernel of 5.12 or later"),
    ),
    "clone3 is hidden": (
        {"clone3": refusal("clone3", errno.ENOSYS)},
        {},
        ("kernel", "create", "clone3: Function not implemented", "seccomp=unconfined"),
    ),
    "no user namespaces are allowed": (
        {"user": refusal("unshare", errno.ENOSPC)},
        {"sysctls": {"user.max_user_namespaces": 0}},
        ("user namespaces", "create", "max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=15000"),
    ),
    "Debian's switch": (
        {"user": refusal("unshare", errno.EPERM)},
        {"sysctls": {"kernel.unprivileged_userns_clone": 0, "user.max_user_namespaces": 9}},
        ("user namespaces", "create", "is 0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ),
    "AppArmor": (
        {"user": refusal("mount", errno.EACCES)},
        {"sysctls": {"kernel.apparmor_restrict_unprivileged_userns": 1, "kernel.unprivileged_userns_clone": 1}},
        ("user namespaces", "create", "AppArmor", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    ),
    "a kernel without user namespaces": (
        {"user": refusal("unshare", errno.EINVAL)},
        {"sysctls": {}},
        ("user namespaces", "create", "this kernel has none", "CONFIG_USER_NS"),
    ),
    "a seccomp filter against user namespaces": (
        {"user": refusal("unshare", errno.EPERM)},
        {},
        ("user namespaces", "create", "seccomp", "seccomp=unconfined"),
    ),
    "no network namespaces are allowed": (
        {"namespaces": refusal("network", errno.ENOSPC)},
        {},
        ("namespaces", "create", "network: No space", "sysctl -w user.max_net_namespaces=15000"),
    ),
    "a kernel without ipc namespaces": (
        {"namespaces": refusal("ipc", errno.EINVAL)},
        {},
        ("namespaces", "create", "ipc: Invalid", "CONFIG_IPC_NS"),
    ),
    "a chroot": (
        {"tree": refusal("mount_setattr", errno.EINVAL)},
        {},
        ("mounts", "create", "mount_setattr: Invalid", "mount --rbind DIRECTORY DIRECTORY"),
    ),
    "a masked /proc": (
        {"proc": refusal("mount", errno.EPERM)},
        {"proc_covers": ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi")},
        ("/proc", "run", "over /proc/acpi, /proc/kcore, /proc/keys, /proc/timer_list ...", "systempaths=unconfined"),
    ),
    "no overlayfs": (
        {"overlay": refusal("mount", errno.ENODEV)},
        {},
        ("overlayfs", "run", "mount: No such device", "modprobe overlay"),
    ),
    "an overlay of overlays": (
        {"overlay": refusal("mount", errno.EINVAL)},
        {},
        ("overlayfs", "run", "mount: Invalid", "a volume"),
    ),
    "no seccomp": (
        {"seccomp": refusal("seccomp", errno.EINVAL)},
        {},
        ("seccomp", "run", "seccomp: Invalid", "CONFIG_SECCOMP_FILTER"),
    ),
    "a trial that was killed": (
        {"seccomp": refusal("ended by signal 31", 0)},
        {},
        ("seccomp", "run", "ended by signal 31", ""),
    ),
    "too many keys": (
        {"keyring": refusal("keyctl", errno.EDQUOT)},
        {},
        ("session keyrings", "create", "keyctl: Disk quota", "sysctl -w kernel.keys.maxkeys=2000"),
    ),
    "keys are refused": (
        {"keyring": refusal("keyctl", errno.EPERM)},
        {},
        ("session keyrings", "create", "keyctl: Operation not permitted", "seccomp=unconfined"),
    ),
    "a kernel without keys": (
        {"keyring": refusal("keyctl", errno.ENOSYS)},
        {},
        ("session keyrings", "", "keyctl: Function not", "CONFIG_KEYS"),
    ),
    "no subordinate ids": (
        {},
        {"ranges": {"uid": 0, "gid": 65536}},
        ("id ranges", "", "/etc/subuid gives none to ann", "usermod --add-subuids 100000-165535"),
    ),
    "no newgidmap": (
        {},
        {"mappers": {**HEALTHY.mappers, "gid": Mapper("", False)}},
        ("id ranges", "", "newgidmap is not here", "apt-get install uidmap"),
    ),
    "a powerless newuidmap": (
        {},
        {"mappers": {**HEALTHY.mappers, "uid": Mapper("/usr/bin/newuidmap", False)}},
        ("id ranges", "", "newuidmap is not set-user-ID", "chmod u+s /usr/bin/newuidmap"),
    ),
    "no_new_privs": ({}, {"no_new_privileges": True}, ("id ranges", "", "no_new_privs", "NoNewPrivileges=no")),
    "a state root of another's": (
        {},
        {"closed": "/run/libcontainer_py"},
        ("state directories", "run", "/run/libcontainer_py is another's", "Factory(DIRECTORY)"),
    ),
    "no cgroups": (
        {},
        {"cgroups": Mode.NONE, "controllers": frozenset()},
        ("cgroups", "", "none are mounted", "mount -t cgroup2"),
    ),
    "no delegation": (
        {},
        {"barred": "/sys/fs/cgroup/user.slice/session-1.scope", "controllers": frozenset()},
        ("cgroups", "", "none can be made in /sys/fs/cgroup/user.slice", "systemd-run --user --scope"),
    ),
    "v1 is nobody's but root's": (
        {},
        {"barred": "/sys/fs/cgroup/memory", "cgroups": Mode.V1},
        ("cgroups", "", "v1; none can be made", "systemd.unified_cgroup_hierarchy=1"),
    ),
    "not every controller": (
        {},
        {"controllers": frozenset({"memory", "pids"})},
        ("controllers", "", "memory, pids", "Delegate=cpu cpuset io memory pids"),
    ),
}


@pytest.mark.parametrize("case", ORDINARY)
def test_what_is_wrong(case: str) -> None:
    refused, changes, (name, stops, found, fix) = ORDINARY[case]
    seen = diagnosis(refused, **changes)
    bad = only_bad(seen)
    assert (bad.name, bad.stops) == (name, stops)
    assert found in bad.found
    assert fix in bad.fix
    assert bad.meaning
    assert bad.condition is (Condition.MISSING if stops else Condition.LIMITED)
    assert seen.condition is bad.condition
    for what in ("create", "run"):
        reason = seen.reason_why_not("create" if what == "create" else "run")
        if stops in ("create", what):
            assert reason is not None
            assert reason.startswith(f"{name}: ")
            assert bad.fix in reason
            assert "\n" not in reason
        else:
            assert reason is None


def test_root_does_without_user_namespaces() -> None:
    found = diagnosis({"user": refusal("unshare", errno.ENOSPC)}, user=ROOT, sysctls={"user.max_user_namespaces": 0})
    bad = only_bad(found)
    assert (bad.condition, bad.stops, found.reason_why_not()) == (Condition.LIMITED, "", None)


def test_root_without_power() -> None:
    refused = {"namespaces": refusal("mount", errno.EPERM)}
    found = diagnosis(refused, user=ROOT, capabilities=ALL & ~(1 << CAPABILITIES.index("CAP_SYS_ADMIN")))
    reason = found.reason_why_not("create")
    assert reason is not None
    assert "CAP_SYS_ADMIN" in reason
    assert "docker run --cap-add SYS_ADMIN" in reason


def test_root_without_a_capability() -> None:
    bad = only_bad(diagnosis(user=ROOT, capabilities=ALL & ~(1 << CAPABILITIES.index("CAP_SYS_RESOURCE"))))
    assert bad.found == "root has no CAP_SYS_RESOURCE here"
    assert "process.rlimits" in bad.meaning
    assert "--cap-add SYS_RESOURCE" in bad.fix


def test_root_with_cgroups_that_are_read_only() -> None:
    bad = only_bad(diagnosis(user=ROOT, barred="/sys/fs/cgroup"))
    assert (bad.condition, bad.stops) == (Condition.MISSING, "run")
    assert bad.fix.startswith("mount -o remount,rw /sys/fs/cgroup")


def test_root_without_a_hierarchy() -> None:
    bad = only_bad(diagnosis(user=ROOT, cgroups=Mode.HYBRID, controllers=frozenset({"cpu", "memory"})))
    assert bad.meaning == "limits of pids cannot be set"
    assert bad.fix == "mkdir -p /sys/fs/cgroup/pids && mount -t cgroup -o pids pids /sys/fs/cgroup/pids"


def test_the_first_to_mend_is_the_reason() -> None:
    found = diagnosis({"overlay": refusal("mount", errno.ENODEV), "user": refusal("unshare", errno.ENOSPC)})
    assert str(found.reason_why_not()).startswith("user namespaces: ")


def test_another_system() -> None:
    found = Diagnosis((findings.elsewhere("darwin"),))
    assert found.reason_why_not("create") == (
        "kernel: containers need Linux, and this is darwin (fix: Factory(backend=MemoryBackend()) runs anywhere; a "
        "virtual machine with Linux runs containers)"
    )


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/true"])
def test_what_is_no_python(python: str) -> None:
    with pytest.raises(LauncherError, match="cannot execute") as wrong:
        facts.attempt(python)
    finding = findings.without(wrong.value)
    assert (finding.condition, finding.stops) == (Condition.MISSING, "create")
    assert "LinuxBackend(python=...)" in finding.fix


# -- text and data ----------------------------------------------------------------------------------------------------


def test_the_text() -> None:
    lines = str(diagnosis({"overlay": refusal("mount", errno.ENODEV)})).splitlines()
    assert lines[0] == "ok       kernel: Linux 6.1.0-18-amd64"
    at = lines.index("missing  overlayfs: mount: No such device")
    assert lines[at + 1 : at + 3] == [
        "         run() and Sandbox show the host's files through overlayfs",
        "         fix: modprobe overlay",
    ]


def test_the_data() -> None:
    data = json.loads(json.dumps(diagnosis({"overlay": refusal("mount", errno.ENODEV)}).to_dict()))
    assert data["condition"] == "missing"
    assert [*data["findings"][5]] == ["name", "condition", "found", "meaning", "fix", "stops"]
    assert data["findings"][5]["fix"] == "modprobe overlay"
    assert data["findings"][0] == {
        "name": "kernel",
        "condition": "ok",
        "found": "Linux 6.1.0-18-amd64",
        "meaning": "",
        "fix": "",
        "stops": "",
    }


# -- facts ------------------------------------------------------------------------------------------------------------

SCOPE = "/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope"
MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
24 23 0:22 / /proc/kcore rw - devtmpfs devtmpfs rw
25 23 0:22 / /proc/with\\040blank ro - tmpfs tmpfs ro
26 22 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
"""
V1_MOUNTS = """\
26 22 0:31 / /sys/fs/cgroup/memory rw - cgroup memory rw,memory
27 22 0:32 / /sys/fs/cgroup/pids rw - cgroup pids rw,pids
28 22 0:33 / /sys/fs/cgroup/cpu rw - cgroup cpu rw,cpu
29 22 0:34 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,name=systemd
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The files of a host with cgroup v2, where ann has a delegated cgroup and ids."""
    for path, text in {
        "proc/self/mountinfo": MOUNTS,
        "proc/self/status": "Name:\tpython3\nCapPrm:\t000001fffeffffff\nNoNewPrivs:\t1\n",
        "proc/self/cgroup": f"0::{SCOPE}\n",
        "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
        "proc/sys/user/max_user_namespaces": "0\n",
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
        "etc/subuid": "bob:1:9\nann:100000:65536\n1000:200000:100\nann:broken\n",
        "etc/subgid": "bob:1:9\n",
        "usr/bin/newuidmap": "",
        "usr/bin/newgidmap": "",
        "sys/fs/cgroup/cgroup.controllers": "cpu io memory pids\n",
        f"sys/fs/cgroup{Path(SCOPE).parent}/cgroup.controllers": "memory pids\n",
        f"sys/fs/cgroup{Path(SCOPE).parent}/cgroup.procs": "",
        f"sys/fs/cgroup{SCOPE}/cgroup.procs": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "usr/bin/newuidmap").chmod(0o4755)
    return tmp_path


def gathered(user: User, host: Path) -> Facts:
    return facts.gather(user, "/run/user/1000/libcontainer_py", str(host))


def test_what_files_say(host: Path) -> None:
    found = gathered(ANN, host)
    assert found == Facts(
        user=ANN,
        release="6.1.0-18-amd64",
        capabilities=0x1FFFEFFFFFF,
        no_new_privileges=True,
        sysctls={"user.max_user_namespaces": 0, "kernel.apparmor_restrict_unprivileged_userns": 1},
        ranges={"uid": 65636, "gid": 0},
        mappers={"uid": Mapper("/usr/bin/newuidmap", True), "gid": Mapper("/usr/bin/newgidmap", False)},
        proc_covers=("/proc/kcore", "/proc/with blank"),
        cgroups=Mode.V2,
        controllers=frozenset({"memory", "pids"}),
        barred="",
        closed="",
    )
    assert gathered(ROOT, host).controllers == frozenset({"cpu", "io", "memory", "pids"})


def test_a_host_without_files(tmp_path: Path) -> None:
    found = gathered(ANN, tmp_path)
    assert (found.release, found.sysctls, found.cgroups, found.barred) == ("", {}, Mode.NONE, "")
    assert found.mappers["uid"] == Mapper("", False)
    assert {finding.name for finding in findings.draw(found, dict.fromkeys(TRIALS)) if finding.stops} == set()


def test_state_directories(host: Path) -> None:
    me = User(os.geteuid(), "me")
    root = host / "run/user/1000/libcontainer_py"
    assert gathered(me, host).closed == ""  # it can be made
    root.mkdir(parents=True)
    assert gathered(me, host).closed == ""
    assert gathered(User(me.uid + 1, "other"), host).closed == "/run/user/1000/libcontainer_py"
    root.rmdir()
    root.parent.rmdir()
    root.parent.write_text("no directory")
    assert gathered(me, host).closed == "/run/user/1000/libcontainer_py"


def test_a_cgroup_that_is_not_delegated(host: Path) -> None:
    # of which nobody but root can say that it is not his, in a test: it is not there
    (host / "proc/self/cgroup").write_text("0::/system.slice/cron.service\n")
    found = gathered(ANN, host)
    assert found.barred == "/sys/fs/cgroup/system.slice"
    assert found.controllers == frozenset()


def test_a_delegated_cgroup_into_which_no_process_may_come(host: Path) -> None:
    (host / f"sys/fs/cgroup{Path(SCOPE).parent}/cgroup.procs").unlink()
    assert gathered(ANN, host).barred == "/sys/fs/cgroup" + str(Path(SCOPE).parent)


def test_hierarchies_of_v1(host: Path) -> None:
    (host / "proc/self/mountinfo").write_text(V1_MOUNTS)
    (host / "proc/self/cgroup").write_text("3:memory:/mine\n2:pids:/\n1:name=systemd:/\n4:cpu:/\n")
    for name in ("memory/mine", "pids", "cpu"):
        (host / "sys/fs/cgroup" / name).mkdir(parents=True)
    found = gathered(ANN, host)
    assert (found.cgroups, found.barred) == (Mode.V1, "")
    assert found.controllers == frozenset({"cpu", "memory", "pids"})
    assert gathered(ROOT, host).barred == "/sys/fs/cgroup/systemd"
    (host / "sys/fs/cgroup/memory/mine").rmdir()
    assert gathered(ANN, host).barred == "/sys/fs/cgroup/memory/mine"
