"""Rules on the values of a configuration: each refuses what it is for, with the path, and lets its neighbours pass."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from libcontainer_py.errors import ConfigError
from libcontainer_py.plan import mounts as plan_mounts
from libcontainer_py.plan.steps import HostFacts
from libcontainer_py.spec import (
    Capabilities,
    Device,
    DeviceRule,
    Hook,
    Hooks,
    IDMapping,
    IntelRdt,
    Linux,
    Mount,
    Namespace,
    Process,
    Resources,
    Rlimit,
    Root,
    Spec,
    User,
    validate,
)

DATA = Path(__file__).parents[2] / "data"

GOOD = Spec.default(["true"])
EVERY_KIND = ("pid", "network", "mount", "ipc", "uts", "cgroup", "time")


def found(spec: Spec) -> list[str]:
    return [f"{problem.path}: {problem.reason}" for problem in validate.problems(spec)]


def process(**changes: object) -> Spec:
    assert GOOD.process is not None
    return attrs.evolve(GOOD, process=attrs.evolve(GOOD.process, **changes))


def linux(**changes: object) -> Spec:
    assert GOOD.linux is not None
    return attrs.evolve(GOOD, linux=attrs.evolve(GOOD.linux, **changes))


@pytest.mark.parametrize("path", sorted(DATA.glob("config-*.json")), ids=lambda path: path.stem)
def test_what_engines_write_is_right(path: Path) -> None:
    assert found(Spec.from_json(path.read_bytes())) == []


@pytest.mark.parametrize("spec", [Spec.default(), Spec.default(["ls"]), Spec.minimal(["ls", "-l"])])
def test_defaults_are_right_and_supported(spec: Spec) -> None:
    validate.check(spec)


def test_default_is_what_runc_spec_writes_today() -> None:
    document = json.loads((DATA / "config-runc-1.1.5.json").read_bytes())
    document["ociVersion"] = "1.3.0"
    del document["process"]["terminal"]  # ours
    del document["process"]["capabilities"]["ambient"]  # gone since runc 1.2
    assert Spec.default().to_dict() == document


def test_a_relative_destination_starts_at_the_root() -> None:
    # config.md, Mounts: "it MAY be a relative path, in which case it MUST be interpreted as relative to /"
    spec = attrs.evolve(GOOD, mounts=[Mount(destination="srv/../var/x", type="proc")])
    assert found(spec) == []
    facts = HostFacts(uid=0, gid=0, last_capability=40, bounding=0, can_mknod=True, cgroups_v2=True, machine="x86_64")
    (step,) = plan_mounts.mounts(spec, "/bundle", facts, {})
    assert step.arguments[1] == "/var/x"


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.0", "1.0.0-rc1", "1.3.0+dev"])
def test_versions_that_we_take(version: str) -> None:
    assert found(attrs.evolve(GOOD, oci_version=version)) == []


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("2.0.0", "version 2.0.0 of the specification is not supported"),
        ("0.9.0", "version 0.9.0 of the specification is not supported"),
        ("", "'' is no semantic version"),
        ("1.0", "'1.0' is no semantic version"),
        ("1.0.0\n", "'1.0.0\\n' is no semantic version"),
        ("v1.0.0", "'v1.0.0' is no semantic version"),
        ("10.0.0", "version 10.0.0 of the specification is not supported"),
    ],
)
def test_versions_that_we_refuse(version: str, reason: str) -> None:
    assert found(attrs.evolve(GOOD, oci_version=version)) == [f"ociVersion: {reason}"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"root": None}, ["root: is required"]),
        ({"root": Root(path="")}, ["root.path: is empty"]),
        ({"process": None}, ["process: is required"]),
        # deprecated, but relative to /
        ({"mounts": [Mount(destination="tmp", type="proc"), Mount(destination="a/b", type="proc")]}, []),
        ({"mounts": [Mount(destination="", type="proc")]}, ["mounts[0].destination: is empty, but must be a path"]),
        ({"annotations": {"": "x"}}, ["annotations: a key is empty"]),
        ({"annotations": {"a": "\0 is data"}}, []),
        ({"hostname": "h" * 64}, []),
        ({"hostname": "h" * 65}, ["hostname: is longer than 64 bytes"]),
        ({"domainname": "\u00e9" * 33}, ["domainname: is longer than 64 bytes"]),
        ({"hooks": Hooks(poststop=[Hook(path="bin/x")])}, ["hooks.poststop[0].path: 'bin/x' is not absolute"]),
        (
            {"hooks": Hooks(create_runtime=[Hook(path="/a"), Hook(path="/b", timeout=0)])},
            ["hooks.createRuntime[1].timeout: must be above zero"],
        ),
        ({"hooks": Hooks(start_container=[Hook(path="/b", env=["A"])])}, ["hooks.startContainer[0].env[0]: has no ="]),
        ({"hooks": Hooks(prestart=[Hook(path="/b", timeout=1)])}, []),
        (
            {"hooks": Hooks(create_container=[Hook(path="")])},
            ["hooks.createContainer[0].path: is empty, but must be an absolute path"],
        ),
        ({"hooks": Hooks(poststart=[Hook(path="x")])}, ["hooks.poststart[0].path: 'x' is not absolute"]),
    ],
)
def test_top(changes: dict[str, object], expected: list[str]) -> None:
    assert found(attrs.evolve(GOOD, **changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"args": ()}, ["process.args: needs at least the program"]),
        ({"args": ("",)}, ["process.args[0]: is empty: there is no program"]),
        ({"args": ("sh", "")}, []),
        ({"args": ("sh", "a\0b")}, ["process.args[1]: contains a NUL character"]),
        ({"cwd": ""}, ["process.cwd: is empty, but must be an absolute path"]),
        ({"cwd": "srv"}, ["process.cwd: 'srv' is not absolute"]),
        ({"env": ("A=", "B=C=D")}, []),
        ({"env": ("A=1", "B")}, ["process.env[1]: has no ="]),
        ({"env": ("=1",)}, ["process.env[0]: has no name"]),
        ({"rlimits": [Rlimit(type="RLIMIT_NOFILE", hard=1, soft=1)]}, []),
        (
            {"rlimits": [Rlimit(type="NOFILE", hard=1, soft=1)]},
            ["process.rlimits[0].type: unknown resource limit 'NOFILE'"],
        ),
        (
            {"rlimits": [Rlimit(type="RLIMIT_AS", hard=n, soft=n) for n in (1, 2)]},
            ["process.rlimits[1].type: RLIMIT_AS is there twice"],
        ),
        (
            {"rlimits": [Rlimit(type="RLIMIT_AS", hard=1, soft=2)]},
            ["process.rlimits[0].soft: 2 is above the hard limit of 1"],
        ),
        ({"capabilities": Capabilities(bounding=["CAP_OF_TOMORROW"])}, []),
        ({"oom_score_adj": -1000}, []),
        ({"oom_score_adj": 1001}, ["process.oomScoreAdj: 1001 is out of range (-1000 to 1000)"]),
        ({"user": User(uid=2**32 - 2, gid=0)}, []),
        ({"user": User(uid=2**32 - 1)}, ["process.user.uid: 4294967295 is no id (0 to 4294967294)"]),
        ({"user": User(gid=2**32 - 1)}, ["process.user.gid: 4294967295 is no id (0 to 4294967294)"]),
        ({"user": User(gid=-1)}, ["process.user.gid: -1 is out of range (0 to 4294967295)"]),
        (
            {"user": User(additional_gids=[1, 2**32 - 1])},
            ["process.user.additionalGids[1]: 4294967295 is no id (0 to 4294967294)"],
        ),
        ({"user": User(umask=0o777)}, []),
        ({"user": User(umask=0o1000)}, ["process.user.umask: 512 is out of range (0 to 511, which is 0o777)"]),
    ],
)
def test_process(changes: dict[str, object], expected: list[str]) -> None:
    assert found(process(**changes)) == expected


@pytest.mark.parametrize("name", sorted(validate.RLIMITS))
def test_every_limit_of_getrlimit(name: str) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, name):  # Python leaves out two that Linux has
        assert name in {"RLIMIT_LOCKS", "RLIMIT_RSS"}
    assert found(process(rlimits=[Rlimit(type=name, hard=2**64 - 1, soft=0)])) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"masked_paths": ["proc"]}, ["linux.maskedPaths[0]: 'proc' is not absolute"]),
        ({"readonly_paths": ["/a", "b"]}, ["linux.readonlyPaths[1]: 'b' is not absolute"]),
        ({"masked_paths": ["/a\0"]}, ["linux.maskedPaths[0]: contains a NUL character"]),
        ({"cgroups_path": "/a/b"}, []),
        ({"cgroups_path": "a/..b/c"}, []),
        ({"cgroups_path": "/a/../b"}, ["linux.cgroupsPath: '/a/../b' leads out with .."]),
        ({"cgroups_path": ".."}, ["linux.cgroupsPath: '..' leads out with .."]),
        ({"rootfs_propagation": "rslave"}, []),
        ({"rootfs_propagation": "wide"}, ["linux.rootfsPropagation: unknown propagation 'wide'"]),
        ({"devices": [Device(path="/dev/f", type="p", uid=2**32 - 2, gid=0)]}, []),
        ({"devices": [Device(path="/dev/f", type="u", major=1, minor=0)]}, []),
        ({"devices": [Device(path="dev/f", type="p")]}, ["linux.devices[0].path: 'dev/f' is not absolute"]),
        (
            {"devices": [Device(path="/dev/f", type="x", major=1, minor=1)]},
            ["linux.devices[0].type: unknown device type 'x'"],
        ),
        (
            {"devices": [Device(path="/dev/f", type="c", major=1)]},
            ["linux.devices[0].minor: is required for a device of type c"],
        ),
        (
            {"devices": [Device(path="/dev/f", type="b", major=-1, minor=0)]},
            ["linux.devices[0].major: -1 is no device number"],
        ),
        (
            {"devices": [Device(path="/dev/f", type="p", uid=2**32 - 1)]},
            ["linux.devices[0].uid: 4294967295 is no id (0 to 4294967294)"],
        ),
        ({"resources": Resources(devices=[DeviceRule(allow=True, type="a", major=-1, access="wr")])}, []),
        (
            {"resources": Resources(devices=[DeviceRule(type="p", access="rx", minor=-2)])},
            [
                "linux.resources.devices[0].type: unknown device type 'p'",
                "linux.resources.devices[0].access: 'rx' has letters other than r, w and m",
                "linux.resources.devices[0].minor: -2 is no device number",
            ],
        ),
    ],
)
def test_linux(changes: dict[str, object], expected: list[str]) -> None:
    assert found(linux(**changes)) == expected


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (EVERY_KIND, []),
        (("mount", "uts"), []),
        (("mount", "mnt", "uts"), ["linux.namespaces[1].type: unknown namespace 'mnt'"]),
        (("mount", "uts", "pid", "pid"), ["linux.namespaces[3].type: the pid namespace is there twice"]),
        (("uts",), ["linux.namespaces: a mount namespace is required"]),
        (("mount",), ["hostname: needs a uts namespace", "domainname: needs a uts namespace"]),
        (
            ("mount", "uts", "user"),
            [
                "linux.uidMappings: is required for a new user namespace",
                "linux.gidMappings: is required for a new user namespace",
            ],
        ),
    ],
)
def test_namespaces(kinds: tuple[str, ...], expected: list[str]) -> None:
    spec = attrs.evolve(linux(namespaces=[Namespace(type=kind) for kind in kinds]), domainname="d")
    assert found(spec) == expected


def test_even_an_empty_hostname_is_not_set_on_the_host() -> None:
    spec = attrs.evolve(linux(namespaces=[Namespace(type="mount")]), hostname="")
    assert found(spec) == ["hostname: needs a uts namespace"]


def test_no_linux_section_is_no_container() -> None:
    spec = attrs.evolve(GOOD, linux=None, hostname=None)
    assert found(spec) == ["linux.namespaces: a mount namespace is required"]


def test_a_namespace_to_join_has_an_absolute_path() -> None:
    spec = linux(namespaces=[*(Namespace(type=kind) for kind in ("mount", "uts")), Namespace(type="ipc", path="x")])
    assert found(spec) == ["linux.namespaces[2].path: 'x' is not absolute"]


def mapped(*mappings: tuple[int, int, int]) -> list[str]:
    ids = [IDMapping(container_id=inside, host_id=outside, size=size) for inside, outside, size in mappings]
    kinds = ("mount", "uts", "user")
    namespaces = [Namespace(type=kind) for kind in kinds]
    fine = [IDMapping(container_id=0, host_id=0, size=1)]
    uids = found(linux(namespaces=namespaces, uid_mappings=ids, gid_mappings=fine))
    gids = found(linux(namespaces=namespaces, uid_mappings=fine, gid_mappings=ids))
    assert [problem.replace("uid", "gid") for problem in uids] == gids
    return uids


def test_id_mappings() -> None:
    assert mapped((0, 1000, 1), (1, 100000, 65536)) == []
    assert mapped((0, 0, 2**32 - 1)) == []
    assert mapped((0, 1000, 0)) == ["linux.uidMappings[0].size: must be above zero"]
    assert mapped((5, 1, 2**32 - 5)) == ["linux.uidMappings[0].containerID: 5 and 4294967291 ids go beyond 4294967294"]
    assert mapped((0, 0, 10), (9, 100, 1)) == ["linux.uidMappings[1].containerID: the ids from 9 on are mapped twice"]
    assert mapped((0, 0, 10), (10, 9, 1)) == ["linux.uidMappings[1].hostID: the ids from 9 on are mapped twice"]


def test_mappings_need_a_user_namespace() -> None:
    ids = [IDMapping(container_id=0, host_id=0, size=1)]
    assert found(linux(uid_mappings=ids, gid_mappings=ids)) == [
        "linux.uidMappings: needs a user namespace",
        "linux.gidMappings: needs a user namespace",
    ]


def test_everything_at_once() -> None:
    spec = Spec(oci_version="2.0.0", process=Process(cwd="x"), linux=Linux(intel_rdt=IntelRdt(clos_id="a/b")))
    with pytest.raises(ConfigError) as caught:
        validate.check(spec, source="config.json")
    assert [problem.path for problem in caught.value.problems] == [
        "ociVersion",
        "root",
        "process.args",
        "process.cwd",
        "linux.intelRdt.closID",
        "linux.namespaces",
    ]
    assert str(caught.value).startswith("config.json: ociVersion: version 2.0.0")


def test_nothing_of_the_environment_is_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        validate.check(process(env=("hush", "A=hush\0")))
    assert len(caught.value.problems) == 2
    assert "hush" not in str(caught.value)
    assert "hush" not in repr([problem.value for problem in caught.value.problems])


@pytest.mark.parametrize("name", ["hostname", "domainname"])
def test_half_of_a_surrogate_pair_is_a_problem_like_others(name: str) -> None:
    """Found by the fuzzer: its bytes were counted, and it has none."""
    text = json.dumps(GOOD.to_dict() | {name: "\udc40", "process": []})
    with pytest.raises(ConfigError) as caught:
        Spec.from_json(text)
    assert {problem.path for problem in caught.value.problems} >= {name, "process"}
