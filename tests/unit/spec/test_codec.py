"""Documents come in with nothing lost, and go out as they came; everything wrong with one is said at once."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import attrs
import pytest

from libcontainer_py.errors import ConfigError, Problem
from libcontainer_py.lifecycle import Status
from libcontainer_py.spec import Hook, IDMapping, Mount, Namespace, Process, Root, Spec, State, codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py.spec.codec import Json, Uint16

DATA = Path(__file__).parents[2] / "data"
CONFIGS = sorted(DATA.glob("config-*.json"))


def problems_of(document: object) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        Spec.from_json(json.dumps(document))
    return [(problem.path, problem.reason) for problem in caught.value.problems]


MOUNT = {"type": "mount"}


def good() -> dict[str, object]:
    return {
        "ociVersion": "1.3.0",
        "process": {"cwd": "/", "args": ["true"]},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [MOUNT]},
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_engines_write_survives_the_round_trip(path: Path) -> None:
    document = json.loads(path.read_bytes())
    spec = Spec.from_json(path.read_bytes())
    assert spec.to_dict() == document
    assert json.loads(spec.to_json()) == document
    assert Spec.from_json(spec.to_json(indent=2)) == spec


def test_there_are_documents_to_try() -> None:
    assert len(CONFIGS) >= 4


def test_names_become_snake_case() -> None:
    document = {
        "ociVersion": "1.0.2",
        "process": {"cwd": "/", "user": {"uid": 7, "gid": 8, "additionalGids": [9]}, "noNewPrivileges": True},
        "mounts": [{"destination": "/proc", "gidMappings": [{"containerID": 1, "hostID": 2, "size": 3}]}],
        "hooks": {"createRuntime": [{"path": "/bin/true", "timeout": 3}]},
        "linux": {
            "maskedPaths": ["/a"],
            "resources": {"blockIO": {"throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 5}]}},
        },
    }
    spec = Spec.from_dict(document)
    assert spec.process is not None
    assert spec.process.user.additional_gids == (9,)
    assert spec.process.no_new_privileges is True
    assert spec.mounts == (Mount(destination="/proc", gid_mappings=[IDMapping(container_id=1, host_id=2, size=3)]),)
    assert spec.hooks is not None
    assert spec.hooks.create_runtime == (Hook(path="/bin/true", timeout=3),)
    assert spec.linux is not None
    assert spec.linux.masked_paths == ("/a",)
    assert spec.linux.resources is not None
    assert spec.linux.resources.block_io is not None
    assert spec.linux.resources.block_io.throttle_read_iops_device[0].rate == 5


def test_absent_is_none_and_stays_absent() -> None:
    spec = Spec.from_dict({"ociVersion": "1.0.0"})
    assert (spec.process, spec.root, spec.hostname, spec.linux, spec.hooks) == (None,) * 5
    assert spec.mounts == ()
    assert spec.annotations == {}
    assert spec.to_dict() == {"ociVersion": "1.0.0"}


def test_defaults_that_were_spelled_out_stay() -> None:
    document = good() | {"mounts": [], "hooks": None, "hostname": None, "linux": {}, "annotations": None}
    document["process"] = {"cwd": "/", "args": None, "terminal": False, "user": {"uid": 0, "gid": 0}}
    assert Spec.from_dict(document).to_dict() == document
    lean = good() | {"process": {"cwd": "/"}, "linux": {}}
    assert Spec.from_dict(document) == Spec.from_dict(lean), "they mean the same"


def test_an_empty_string_is_no_string() -> None:
    document = good() | {"hostname": "", "linux": {"cgroupsPath": "", "namespaces": [{"type": "ipc", "path": ""}]}}
    spec = Spec.from_dict(document)
    assert spec.hostname is None
    assert spec.linux is not None
    assert spec.linux.cgroups_path is None
    assert spec.linux.namespaces == (Namespace(type="ipc"),)
    assert spec.to_dict() == document
    assert Spec.from_dict(good() | {"root": {"path": ""}}).root == Root(path=""), "required: for validate to refuse"


def test_unknown_keys_are_kept_at_every_level() -> None:
    document = good() | {"future": {"a": [1, 2.5, None]}, "root": {"path": "r", "verity": True}}
    document["linux"] = {"namespaces": [{"type": "mount", "colour": "red"}]}
    spec = Spec.from_dict(document)
    assert spec.extra == {"future": {"a": [1, 2.5, None]}}
    assert spec.root is not None
    assert spec.root.extra == {"verity": True}
    assert spec.to_dict() == document


def test_a_document_is_no_window_into_the_spec() -> None:
    document = good() | {"future": {"a": [1]}, "annotations": {"k": "v"}}
    spec = Spec.from_dict(document)
    spec.to_dict()["future"]["a"].append(2)
    document["future"]["a"].append(3)  # type: ignore[index]
    document["annotations"]["k"] = "w"  # type: ignore[index]
    assert spec.extra == {"future": {"a": [1]}}
    assert spec.annotations == {"k": "v"}


def test_what_is_built_by_hand_writes_what_a_document_must_have() -> None:
    spec = Spec(process=Process(args=["true"]), root=Root(path="rootfs"))
    assert spec.to_dict() == {
        "ociVersion": "1.3.0",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
        "root": {"path": "rootfs"},
    }
    assert Spec.from_json(spec.to_json()) == spec


def test_evolve_changes_a_field_and_keeps_the_rest() -> None:
    document = good() | {"future": 1, "hostname": "a", "mounts": []}
    spec = attrs.evolve(Spec.from_dict(document), hostname="b")
    assert spec.to_dict() == document | {"hostname": "b"}
    assert attrs.evolve(spec, hostname=None).to_dict() == {k: v for k, v in document.items() if k != "hostname"}
    assert attrs.evolve(spec, mounts=[Mount(destination="/x")]).to_dict()["mounts"] == [{"destination": "/x"}]


def test_values_are_frozen_and_travel() -> None:
    spec = Spec.from_json((DATA / "config-podman.json").read_bytes())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.hostname = "x"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(spec)).to_dict() == spec.to_dict()
    assert copy.deepcopy(spec) == spec
    assert hash(Mount(destination="/a", options=["ro"])) == hash(Mount(destination="/a", options=("ro",)))


def test_one_string_is_no_sequence_of_strings() -> None:
    with pytest.raises(TypeError, match="ls -l"):
        Process(args="ls -l")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "the document is empty"),
        (" \n", "the document is empty"),
        ('{"a": 1,\n  "b" 2}', "invalid JSON at line 2, column 7: Expecting ':' delimiter"),
        ("{} x", "invalid JSON at line 1, column 4: Extra data"),
        (b'{"a": "\xff"}', "invalid UTF-8 at byte 7 (0xff)"),
        ('{"a": NaN}', "invalid JSON: NaN is no JSON number"),
        ('{"a": -Infinity}', "invalid JSON: -Infinity is no JSON number"),
        ('{"a": 1e999}', "invalid JSON: the number 1e999 is too large"),
        ("[]", "expected an object, found an array"),
        ("null", "expected an object, found null"),
        ("3.5", "expected an object, found a number with a fraction"),
    ],
)
def test_texts_that_are_no_document(text: str | bytes, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Spec.from_json(text, source="/b/config.json")
    [problem] = caught.value.problems
    assert (problem.path, problem.reason) == ("", reason)
    assert str(caught.value) == f"/b/config.json: {reason}"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        '{"a":' + "[" * 500 + "]" * 500 + "}",
        '{"a": ' + "9" * 10_000 + "}",
    ],
    ids=["arrays", "objects", "unknown value", "number"],
)
def test_texts_that_would_exhaust_a_parser(text: str) -> None:
    with pytest.raises(ConfigError, match=r"nested too deeply|4300"):
        Spec.from_json(text)


def test_unknown_values_have_a_depth() -> None:
    def nested(depth: int) -> str:
        return '{"ociVersion": "1.3.0", "future": ' + "[" * depth + "]" * depth + "}"

    assert json.loads(Spec.from_json(nested(101)).to_json()) == json.loads(nested(101))
    with pytest.raises(ConfigError, match="future: is nested too deeply"):
        Spec.from_json(nested(102))


def test_of_two_equal_keys_the_last_counts() -> None:
    assert Spec.from_json('{"ociVersion": "1.0.0", "ociVersion": "1.1.0"}').oci_version == "1.1.0"


@pytest.mark.parametrize(
    ("section", "value", "problem"),
    [
        ("ociVersion", 1, ("ociVersion", "expected a string, found an integer")),
        ("ociVersion", None, ("ociVersion", "is required, found null")),
        ("process", [], ("process", "expected an object, found an array")),
        ("process", {"cwd": "/", "args": "true"}, ("process.args", "expected an array, found a string")),
        ("process", {"cwd": "/", "args": ["a", None]}, ("process.args[1]", "expected a string, found null")),
        ("process", {"args": ["a"]}, ("process.cwd", "is required")),
        ("root", {"path": "r", "readonly": 1}, ("root.readonly", "expected true or false, found an integer")),
        ("root", {}, ("root.path", "is required")),
        ("mounts", [{"destination": "/a", "type": "proc"}, {"type": "proc"}], ("mounts[1].destination", "is required")),
        ("mounts", [7], ("mounts[0]", "expected an object, found an integer")),
        ("annotations", {"a.b": 1}, ('annotations["a.b"]', "expected a string, found an integer")),
        ("linux", {"namespaces": [MOUNT], "sysctl": []}, ("linux.sysctl", "expected an object, found an array")),
        (
            "linux",
            {"namespaces": [MOUNT], "resources": {"rdma": {"mlx": {"hcaHandles": -1}}}},
            ('linux.resources.rdma["mlx"].hcaHandles', "-1 is out of range (0 to 4294967295)"),
        ),
    ],
)
def test_wrong_types_have_their_path(section: str, value: object, problem: tuple[str, str]) -> None:
    assert problems_of(good() | {section: value}) == [problem]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("uid", 2**32, "4294967296 is out of range (0 to 4294967295)"),
        ("uid", -1, "-1 is out of range (0 to 4294967295)"),
        ("uid", 1.0, "expected an integer, found a number with a fraction"),
        ("uid", True, "expected an integer, found a boolean"),
        ("gid", 2**200, "a number of 201 bits is out of range (0 to 4294967295)"),
    ],
)
def test_integers_have_a_range(field: str, value: object, reason: str) -> None:
    document = good() | {"process": {"cwd": "/", "args": ["a"], "user": {field: value}}}
    assert problems_of(document) == [(f"process.user.{field}", reason)]


def test_every_problem_at_once_also_those_of_values() -> None:
    document = {
        "process": {
            "args": [1],
            "cwd": "relative",
            "rlimits": [{"type": 5}, {"type": "RLIMIT_X", "hard": 1, "soft": 2}],
        },
        "mounts": [{"destination": "", "type": "proc"}],
    }
    assert [path for path, _ in problems_of(document)] == [
        "process.args[0]",
        "process.rlimits[0].type",
        "process.rlimits[0].hard",
        "process.rlimits[0].soft",
        "ociVersion",
        "root",
        "process.cwd",
        "process.rlimits[1].type",
        "process.rlimits[1].soft",
        "mounts[0].destination",
        "linux.namespaces",
    ]


def test_problems_show_nothing_of_an_environment() -> None:
    with pytest.raises(ConfigError) as caught:
        Spec.from_dict(good() | {"process": {"cwd": "/", "args": ["a"], "env": "TOKEN=hush"}})
    assert "hush" not in str(caught.value)
    assert "hush" not in repr([problem.value for problem in caught.value.problems])
    assert "hush" not in repr(Process(args=["a"], env=["TOKEN=hush"]))
    assert "TOKEN" in repr(Process(args=["a"], env=["TOKEN=hush"]))
    assert "hush" not in repr(Hook(path="/h", env=["TOKEN=hush"]))


def test_what_is_built_by_hand_is_inspected() -> None:
    process = Process(args=["a\0b", "\udc80", "\ud800"], cwd=5, env=["A=\0"], oom_score_adj="3")  # type: ignore[arg-type]
    spec = Spec(process=process, mounts=[Root(path="x")], annotations={"a": 1, 2: "b"})  # type: ignore[dict-item]
    assert [(problem.path, problem.reason) for problem in codec.inspect(spec)] == [
        ("process.args[0]", "contains a NUL character"),
        ("process.args[2]", "contains half of a surrogate pair"),
        ("process.env[0]", "contains a NUL character"),
        ("process.cwd", "expected a string, found an integer"),
        ("process.oomScoreAdj", "expected an integer, found a string"),
        ("mounts[0]", "expected an object, found a Python Root"),
        ("annotations", "a key must be a string, found an integer"),
        ('annotations["a"]', "expected a string, found an integer"),
    ]


@attrs.frozen(kw_only=True)
class Extension(Spec):
    """A configuration with sections of somebody else's."""

    labels: tuple[str, ...] = ()
    section: Json | None = None
    numbers: Mapping[str, Uint16] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Beyond(codec.Node):
    odd: set[str] = attrs.field(factory=set)


def test_a_class_of_somebody_else() -> None:
    document = good() | {"mounts": [{"destination": "/a"}], "labels": ["x"], "numbers": {"a": 1}}
    extension = Extension.from_dict(document)
    assert extension.mounts == (Mount(destination="/a"),)
    assert extension.labels == ("x",)
    assert extension.to_dict() == document
    assert codec.inspect(extension) == []
    wrong = Extension(labels=5, numbers=[], section="s")  # type: ignore[arg-type]
    assert [str(problem) for problem in codec.inspect(wrong)] == [
        "labels: expected an array, found an integer",
        "section: expected an object, found a string",
        "numbers: expected an object, found an array",
    ]
    with pytest.raises(ConfigError, match=r"section: expected an object, found an array; numbers: expected an object"):
        Extension.from_dict(good() | {"section": [], "numbers": 1})
    with pytest.raises(TypeError, match=r"Beyond: no shape for 'set\[str\]'"):
        Beyond().to_dict()


def test_from_dict_of_what_is_no_json() -> None:
    with pytest.raises(ConfigError) as caught:
        Spec.from_dict({"ociVersion": {1, 2}, 3: 4})  # type: ignore[dict-item]
    assert [str(problem) for problem in caught.value.problems][:2] == [
        "ociVersion: expected a string, found a Python set",
        "a key must be a string, found an integer",
    ]


def test_a_problem_says_where_what_and_how() -> None:
    assert str(Problem("a.b", "is wrong", 1, "write 2")) == "a.b: is wrong (write 2)"


def test_state() -> None:
    state = State(id="c1", status="running", pid=7, bundle="/b", annotations={"a": "b"})
    document = {"ociVersion": "1.3.0", "id": "c1", "status": "running", "pid": 7, "bundle": "/b"}
    assert json.loads(state.to_json()) == document | {"annotations": {"a": "b"}}
    assert State.from_json(state.to_json()) == state
    assert state.status is Status.RUNNING
    assert codec.inspect(state) == []
    object.__setattr__(state, "status", "resting")
    assert [problem.path for problem in codec.inspect(state)] == ["status"]
    stopped = State(oci_version="1.0.2", id="c", status="stopped", bundle="/b")
    assert json.loads(stopped.to_json())["pid"] == 0
    with pytest.raises(ConfigError, match="status: expected one of creating, created, running, paused, stopped"):
        State.from_dict(document | {"status": "resting"})
    with pytest.raises(ConfigError, match="status: is required"):
        State.from_dict({"ociVersion": "1.3.0", "id": "c1", "bundle": "/b"})
    assert State.from_dict(document | {"owner": "root"}).to_dict() == document | {"owner": "root"}
