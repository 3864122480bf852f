"""What we write for runc, against what runc 1.1.5 wrote for the same config.json."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py.record import Init
from libcontainer_py.spec import mount_options
from libcontainer_py.state import runc, runc_config

DATA = Path(__file__).parent / "data"
BUNDLE = "/var/lib/example/bundle"
PAIRS = {path.stem.removeprefix("pair-"): json.loads(path.read_text()) for path in sorted(DATA.glob("pair-*.json"))}
SPEC: dict[str, Any] = PAIRS["runc-spec"]["spec"]


def substance(value: object) -> object:
    """Without what Go reads as its zero value when it is missing."""
    if isinstance(value, dict):
        inner = {key: substance(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item or item == "0"}
    if isinstance(value, list):
        return [substance(item) for item in value]
    return value


def document(spec: dict[str, Any], **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "container_id": "st1g",
        "init": Init(7, 8),
        "created": "2026-11-24T07:18:13.80132221Z",
        "spec_dict": spec,
        "bundle": BUNDLE,
        "rootfs": f"{BUNDLE}/rootfs",
        "cgroup_paths": {"": "/sys/fs/cgroup/a"},
        "cgroup_inodes": {"/sys/fs/cgroup/a": 99},
    }
    return runc_config.document(**{**arguments, **changes})


def config_of(**changes: object) -> dict[str, Any]:
    """The config for `runc spec`'s config.json with other top-level sections."""
    return document({**SPEC, **changes})["config"]  # type: ignore[no-any-return]  # json


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_runc_would_have_written_the_same(name: str) -> None:
    spec, state = PAIRS[name]["spec"], PAIRS[name]["state"]
    ours = document(
        spec,
        init=Init(state["init_process_pid"], state["init_process_start"]),
        created=state["created"],
        cgroup_paths=state["cgroup_paths"],
        cgroup_config_path=spec["linux"]["cgroupsPath"],
    )
    theirs = copy.deepcopy(state)
    for each in (ours, theirs):
        each["config"]["labels"] = sorted(each["config"]["labels"])  # Go's maps have no order
        # runc 1.5 converts shares to weight in another way, and we follow it
        each["config"]["cgroups"].pop("cpu_weight", None)
        each["config"].pop("version")
        # a key of 1.5
        for mount in each["config"]["mounts"]:
            mount.pop("cleared_flags", None)
    for each in (ours, theirs):
        each["namespace_paths"].pop("NEWTIME", None)
    assert ours.pop("libcontainer_py") == {"version": 1, "cgroups": {"/sys/fs/cgroup/a": 99}}
    assert substance(ours) == substance(theirs)


def test_the_pairs_cover_what_engines_use() -> None:
    assert PAIRS.keys() == {"containerd", "podman", "podman-small", "runc-spec"}
    assert PAIRS["podman-small"]["spec"]["linux"]["seccomp"]["syscalls"]
    assert PAIRS["podman"]["spec"]["linux"]["resources"]["pids"]["limit"]
    assert PAIRS["containerd"]["spec"]["linux"]["resources"]["cpu"]["shares"]


def test_it_reads_as_ours() -> None:
    record = runc.decode(
        json.dumps(document({**SPEC, "annotations": {"k": "v", "bundle": "/evil", "a=b": "c"}})), "/r/st1g"
    )
    assert record.ours
    assert record.bundle == BUNDLE
    assert record.annotations == {"k": "v", "bundle": "/evil", "a=b": "c"}
    assert record.init == Init(7, 8)
    assert record.oci_version == SPEC["ociVersion"]
    assert record.private_pid_namespace
    assert record.document["libcontainer_py"]["cgroups"] == {"/sys/fs/cgroup/a": 99}


def test_no_value_of_the_environment_is_saved() -> None:
    spec = copy.deepcopy(SPEC)
    spec["process"]["env"] = ["SECRET=hunter2"]
    spec["process"]["args"] = ["hunter2"]
    assert "hunter2" not in json.dumps(document(spec))


@pytest.mark.parametrize(("limit", "kept"), [(0, 1), (3, 3), (-1, -1), (None, None)])
def test_a_limit_of_no_pids_is_never_written_as_0(limit: int | None, kept: int | None) -> None:
    config = config_of(linux={**SPEC["linux"], "resources": {"pids": {"limit": limit}}})
    assert config["cgroups"].get("pids_limit") == kept


@pytest.mark.parametrize("linux", [{}, {"resources": {}}, {"resources": None}])
def test_cgroups_always_have_a_resource(linux: dict[str, Any]) -> None:
    """runc on v1 calls nothing of a container whose resources are nil."""
    assert len(config_of(linux=linux)["cgroups"]["devices"]) == 11


def test_where_the_cgroup_is() -> None:
    assert document(SPEC)["config"]["cgroups"]["name"] == "st1g"
    named = document(SPEC, cgroup_config_path="/a/b")["config"]["cgroups"]
    assert named["path"] == "/a/b"
    assert "name" not in named


def test_hooks_have_nanoseconds() -> None:
    hooks = {"prestart": [{"path": "/a"}], "poststop": [{"path": "/b", "args": ["b"], "env": ["E=1"], "timeout": 3}]}
    assert config_of(hooks=hooks)["Hooks"] == {
        "prestart": [{"path": "/a", "args": None, "env": None, "dir": "", "timeout": None}],
        "createRuntime": None,
        "createContainer": None,
        "startContainer": None,
        "poststart": None,
        "poststop": [{"path": "/b", "args": ["b"], "env": ["E=1"], "dir": "", "timeout": 3_000_000_000}],
    }


def test_mount_options() -> None:
    def mount(*options: str, **more: str) -> dict[str, Any]:
        entry = {"destination": "/d", "type": "tmpfs", "source": "src", "options": list(options), **more}
        return config_of(mounts=[entry])["mounts"][0]  # type: ignore[no-any-return]  # json

    plain = {"source": "src", "destination": "/d", "device": "tmpfs"}
    assert mount() == plain
    assert mount("defaults", "size=1k", "mode=755") == {**plain, "data": "defaults,size=1k,mode=755"}
    assert mount("ro", "nosuid", "rw") == {**plain, "flags": 2, "cleared_flags": 1}
    assert mount("rw", "ro") == {**plain, "flags": 1}
    assert mount("rbind", "rslave") == {
        "source": f"{BUNDLE}/src",
        "destination": "/d",
        "device": "bind",
        "flags": 4096 | 16384,
        "propagation_flags": [1 << 19 | 16384],
    }
    assert mount("bind", source="/abs")["source"] == "/abs"
    assert mount("rro", "rnosuid")["rec_attr"] == {"Attr_set": 3, "Attr_clr": 0}
    assert mount("rro", "rrw")["rec_attr"] == {"Attr_set": 0, "Attr_clr": 1}
    assert mount("rnoatime")["rec_attr"] == {"Attr_set": 0x10, "Attr_clr": 0x70}
    assert mount("tmpcopyup")["extensions"] == 1


def test_mapped_mounts() -> None:
    rows = [{"containerID": 0, "hostID": 5, "size": 2}]
    converted = [{"container_id": 0, "host_id": 5, "size": 2}]
    both = {"uidMappings": rows, "gidMappings": rows}

    def mapping(options: list[str], given: dict[str, Any], **linux: Any) -> Any:
        entry = {"destination": "/d", "source": "/s", "options": ["bind", *options], **given}
        (mount,) = config_of(mounts=[entry], linux=linux)["mounts"]
        assert "data" not in mount
        return mount.get("id_mapping")

    users = {"namespaces": [{"type": "user"}], **both}
    assert mapping([], {}, **users) is None
    assert mapping(["idmap"], both) == {"uid_mappings": converted, "gid_mappings": converted}
    assert mapping([], both) == mapping(["idmap"], {}, **users) == mapping(["idmap"], both)
    assert mapping(["ridmap"], both) == {"recursive": True, **mapping(["idmap"], both)}
    joined = {"namespaces": [{"type": "user", "path": "/n"}]}
    assert mapping(["ridmap"], {}, **joined) == {"recursive": True, "userns_path": "/n"}
    assert mapping(["idmap"], both, **joined) == mapping(["idmap"], both)


@pytest.mark.parametrize("word", [*mount_options.FLAGS, *mount_options.PROPAGATION])
def test_options_mean_to_runc_what_they_mean_to_us(word: str) -> None:
    entry = {"destination": "/d", "type": "tmpfs", "source": "/s", "options": ["rw", "noatime", word]}
    mount = config_of(mounts=[entry])["mounts"][0]
    ours = mount_options.parse(("rw", "noatime", word))
    assert (mount.get("flags", 0), mount.get("cleared_flags", 0)) == (ours.flags, ours.cleared)
    assert tuple(mount.get("propagation_flags", ())) == ours.propagation


def test_devices() -> None:
    given = [
        {"path": "/dev/null", "type": "u", "major": 9, "minor": 9, "fileMode": 0o20600, "uid": 5, "gid": 6},
        {"path": "/dev/pipe", "type": "p"},
    ]
    devices = config_of(linux={"devices": given})["devices"]
    assert [device["path"] for device in devices] == [
        "/dev/random", "/dev/full", "/dev/tty", "/dev/zero", "/dev/urandom", "/dev/null", "/dev/pipe",
    ]  # fmt: skip
    assert devices[-2] == {
        "type": ord("c"), "major": 9, "minor": 9, "permissions": "", "allow": False,
        "path": "/dev/null", "file_mode": 0o600, "uid": 5, "gid": 6,
    }  # fmt: skip
    assert (devices[-1]["type"], devices[-1]["file_mode"]) == (ord("p"), 0o666)


def test_namespaces() -> None:
    linux = {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/1/ns/net"}]}
    config = config_of(linux=linux)
    assert config["namespaces"] == [{"type": "NEWPID", "path": ""}, {"type": "NEWNET", "path": "/proc/1/ns/net"}]
    assert "networks" not in config
    assert config_of(linux={"namespaces": [{"type": "network"}]})["networks"] == [{"type": "loopback"}]
    paths = document(SPEC)["namespace_paths"]
    assert paths["NEWNS"] == "/proc/7/ns/mnt"
    assert {"NEWCGROUP", "NEWIPC", "NEWNET", "NEWNS", "NEWPID", "NEWUSER", "NEWUTS"} <= paths.keys()


def test_seccomp() -> None:
    seccomp = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            {
                "names": ["clone", "fork"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}],
            }
        ],
    }
    argument = {"index": 0, "value": 2114060288, "value_two": 0, "op": 7}
    assert config_of(linux={"seccomp": seccomp})["seccomp"] == {
        "default_action": 2,
        "default_errno_ret": 38,
        "architectures": ["amd64", "x86", "arm64"],
        "syscalls": [{"name": name, "action": 4, "errnoRet": None, "args": [argument]} for name in ("clone", "fork")],
    }
    assert "seccomp" not in config_of(linux={"seccomp": {}})


def test_limits_are_there_for_an_update() -> None:
    resources = {
        "memory": {"limit": 10, "reservation": 5, "swap": 20, "swappiness": 0, "disableOOMKiller": True},
        "cpu": {"shares": 1024, "quota": -1, "period": 100000, "cpus": "0-1", "mems": "0", "idle": 0},
        "blockIO": {"weight": 100, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
        "network": {"classID": 3, "priorities": [{"name": "lo", "priority": 1}]},
        "unified": {"memory.high": "5"},
    }
    found = config_of(linux={"resources": resources})["cgroups"]
    expected = {
        "memory": 10, "memory_reservation": 5, "memory_swap": 20, "memory_swappiness": 0, "oom_kill_disable": True,
        "cpu_shares": 1024, "cpu_weight": 100, "cpu_quota": -1, "cpu_period": 100000, "cpuset_cpus": "0-1",
        "cpuset_mems": "0", "cpu_idle": 0, "blkio_weight": 100,
        "blkio_throttle_read_bps_device": [{"major": 8, "minor": 0, "rate": 5}],
        "hugetlb_limit": [{"page_size": "2MB", "limit": 4}], "net_cls_classid_u": 3,
        "net_prio_ifpriomap": [{"interface": "lo", "priority": 1}], "unified": {"memory.high": "5"},
    }  # fmt: skip
    assert {key: found.get(key) for key in expected} == expected


def test_users_and_the_rest() -> None:
    spec = copy.deepcopy(SPEC)
    spec["process"] |= {
        "user": {"uid": 0, "gid": 0, "umask": 0},
        "oomScoreAdj": 0,
        "selinuxLabel": "l",
        "apparmorProfile": "a",
        "noNewPrivileges": False,
    }
    spec["linux"] |= {
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        "rootfsPropagation": "rslave",
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "mountLabel": "m",
        "netDevices": {"eth0": {"name": "inner"}, "eth1": {}},
    }
    config = document(spec, rootless=True)["config"]
    assert config["umask"] == 0
    assert config["oom_score_adj"] == 0
    assert config["no_new_privileges"] is False
    assert config["process_label"] == "l"
    assert config["apparmor_profile"] == "a"
    assert config["mount_label"] == "m"
    assert config["netDevices"] == {"eth0": {"name": "inner"}, "eth1": {}}
    assert config["rootPropagation"] == 1 << 19 | 1 << 14
    assert config["uid_mappings"] == [{"container_id": 0, "host_id": 1000, "size": 1}]
    assert config["sysctl"] == {"net.ipv4.ip_forward": "1"}
    assert config["rootless_euid"] is True
    assert config["cgroups"]["Rootless"] is True
    assert document(spec, rootless=True)["rootless"] is True


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_what_was_just_made_is_kept_as_its_text_would_be_read(name: str) -> None:
    without_hooks = {key: value for key, value in PAIRS[name]["spec"].items() if key != "hooks"}
    made = runc_config.without_nothing(document(without_hooks))
    record = runc.adopt(made, "/run/x/st1g")
    text = runc.encode(record)
    assert runc.decode(text, "/run/x/st1g") is record
    assert json.loads(text) == record.document == made
