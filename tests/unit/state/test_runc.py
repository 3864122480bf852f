"""runc's state.json: what is read, what is refused, what is kept."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py.errors import StateError
from libcontainer_py.record import Init
from libcontainer_py.state import runc

DATA = Path(__file__).parent / "data"
DIRECTORY = "/run/runc/c1"
FILE = f"{DIRECTORY}/state.json"
V1_1 = json.loads((DATA / "state-runc-1.1.5.json").read_text())
V1_5 = json.loads((DATA / "state-runc-1.5.1.json").read_text())


def changed(path: str, value: object) -> bytes:
    """state.json of runc 1.1.5 with something else at a dotted path."""
    document = copy.deepcopy(V1_1)
    *parents, last = path.split(".")
    place = document
    for key in parents:
        place = place[int(key)] if key.isdigit() else place[key]
    if last.isdigit():
        place[int(last)] = value
    else:
        place[last] = value
    return json.dumps(document).encode()


def without(key: str) -> bytes:
    return json.dumps({name: value for name, value in V1_1.items() if name != key}).encode()


def own(**changes: object) -> bytes:
    return json.dumps(
        {**V1_1, "libcontainer_py": {"version": 1, "cgroups": {"/sys/fs/cgroup/a": 5}, **changes}}
    ).encode()


@pytest.mark.parametrize(
    ("document", "init", "version"),
    [(V1_1, Init(25908, 555258), "1.0.2-dev"), (V1_5, Init(25935, 555274), "1.3.0")],
    ids=["1.1.5", "1.5.1"],
)
def test_what_runc_wrote(document: dict[str, Any], init: Init, version: str) -> None:
    record = runc.decode(json.dumps(document), DIRECTORY)
    assert record.id == "c1"
    assert record.directory == DIRECTORY
    assert record.bundle == "/var/lib/example/bundle"
    assert record.rootfs == "/var/lib/example/bundle/rootfs"
    assert record.created == document["created"]
    assert record.oci_version == version
    assert record.annotations == {"org.example.key": "value"}
    assert record.init == init
    assert record.cgroup_paths[""] == "/sys/fs/cgroup/unified/example/c1"
    assert record.cgroup_paths["name=systemd"] == "/sys/fs/cgroup/systemd/example/c1"
    assert record.private_pid_namespace
    assert not record.ours
    hook = {"path": "/bin/true", "args": ["true"], "env": None, "dir": "", "timeout": 5000000000}
    assert record.hooks == {"poststop": [hook]}
    assert record.document == document


@pytest.mark.parametrize("document", [V1_1, V1_5], ids=["1.1.5", "1.5.1"])
def test_what_we_do_not_know_is_kept(document: dict[str, Any]) -> None:
    document = copy.deepcopy(document)
    document["future"] = {"a": [1, None, 1.5, "\U0001f600", 2**60]}
    document["config"]["future"] = True
    document["config"]["labels"].append("without an equals sign")
    record = runc.decode(json.dumps(document), DIRECTORY)
    assert json.loads(runc.encode(record)) == document


def test_what_changed_is_written_and_nothing_else() -> None:
    record = runc.decode(json.dumps(V1_1), DIRECTORY)
    after = json.loads(runc.encode(record._replace(init=Init(7, 8), annotations={"k": "v"}, hooks={})))
    expected = copy.deepcopy(V1_1)
    expected["init_process_pid"], expected["init_process_start"] = 7, 8
    expected["config"]["labels"] = ["k=v", "bundle=/var/lib/example/bundle"]
    expected["config"]["Hooks"]["poststop"] = None
    assert after == expected
    assert V1_1["init_process_pid"] == 25908, "the document of the record was changed in place"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (json.dumps(V1_1).encode()[:3000], "is not JSON: line 1 column "),
        (b'{"a":\n  nope}', "is not JSON: line 2 column 3"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"init_process_pid": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"\x80", "is not UTF-8: byte 0"),
        (b"null", "must be an object, not null"),
        (b"[]", "must be an object, not a list"),
        (b'"c1"', "must be an object, not a string"),
        (b"7", "must be an object, not 7"),
        (b"true", "must be an object, not true"),
        (b"{}", "config: is missing"),
        (changed("id", 7), "id: must be a string, not 7"),
        (changed("id", "c2"), "id: is 'c2', but the directory is 'c1'"),
        (changed("config", None), "config: must be an object, not null"),
        (changed("config", []), "config: must be an object, not a list"),
        (without("config"), "config: is missing"),
        (without("init_process_pid"), "init_process_pid: is missing"),
        (without("init_process_start"), "init_process_start: is missing"),
        (changed("init_process_pid", "1"), "init_process_pid: must be a whole number, not a string"),
        (changed("init_process_pid", True), "init_process_pid: must be a whole number, not true"),
        (changed("init_process_pid", 1.5), "init_process_pid: must be a whole number, not 1.5"),
        (changed("init_process_pid", None), "init_process_pid: must be a whole number, not null"),
        (changed("init_process_pid", -1), "init_process_pid: -1 is out of range"),
        (changed("init_process_pid", 1 << 31), "init_process_pid: 2147483648 is out of range"),
        (changed("init_process_start", -1), "init_process_start: -1 is out of range"),
        (changed("created", 7), "created: must be a string, not 7"),
        (changed("config.rootfs", []), "config.rootfs: must be a string, not a list"),
        (changed("config.version", 1), "config.version: must be a string, not 1"),
        (changed("config.labels", {}), "config.labels: must be a list, not an object"),
        (changed("config.labels.1", 7), "config.labels[1]: must be a string, not 7"),
        (changed("config.namespaces", "x"), "config.namespaces: must be a list, not a string"),
        (changed("config.namespaces.2", None), "config.namespaces[2]: must be an object, not null"),
        (changed("config.namespaces.0.path", 7), "config.namespaces[0].path: must be a string, not 7"),
        (changed("config.Hooks", []), "config.Hooks: must be an object, not a list"),
        (changed("config.Hooks.poststop", {}), "config.Hooks.poststop: must be a list, not an object"),
        (changed("config.Hooks.poststop.0", "x"), "config.Hooks.poststop[0]: must be an object, not a string"),
        (
            changed("config.Hooks.poststop.0.path", "true"),
            "config.Hooks.poststop[0].path: 'true' is not an absolute path",
        ),
        (changed("config.Hooks.poststop.0.args", "x"), "config.Hooks.poststop[0].args: must be a list, not a string"),
        (changed("config.Hooks.poststop.0.env", [1]), "config.Hooks.poststop[0].env[0]: must be a string, not 1"),
        (changed("config.Hooks.poststop.0.timeout", "5s"), "config.Hooks.poststop[0].timeout: must be nanoseconds"),
        (changed("cgroup_paths", []), "cgroup_paths: must be an object, not a list"),
        (changed("cgroup_paths.cpu", 7), "cgroup_paths['cpu']: must be a string, not 7"),
        (changed("cgroup_paths.cpu", "cpu"), "cgroup_paths['cpu']: 'cpu' is not an absolute path"),
        (changed("cgroup_paths.cpu", "/sys/../etc"), "cgroup_paths['cpu']: '/sys/../etc' is not an absolute path"),
        (changed("libcontainer_py", None), "libcontainer_py: must be an object, not null"),
        (own(version=2), "libcontainer_py.version: is 2, not 1"),
        (own(cgroups=[]), "libcontainer_py.cgroups: must be an object, not a list"),
        (own(cgroups={"/a": "5"}), "libcontainer_py.cgroups['/a']: must be the number of an inode, not a string"),
        (own(annotations={"a": 1}), "libcontainer_py.annotations['a']: must be a string, not 1"),
    ],
)
def test_what_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(StateError) as caught:
        runc.decode(data, DIRECTORY)
    assert str(caught.value).startswith(f"{FILE}: {says}")
    assert caught.value.path == FILE
    assert caught.value.container_id == "c1"
    assert caught.value.hint


@pytest.mark.parametrize(
    "key", ["id", "created", "rootless", "cgroup_paths", "namespace_paths", "external_descriptors"]
)
def test_what_may_be_missing(key: str) -> None:
    record = runc.decode(without(key), DIRECTORY)
    assert record.id == "c1"


@pytest.mark.parametrize(
    "path",
    ["config.labels", "config.namespaces", "config.Hooks", "config.Hooks.poststop", "cgroup_paths", "config.version"],
)
def test_what_may_be_null(path: str) -> None:
    assert runc.decode(changed(path, None), DIRECTORY).init == Init(25908, 555258)


def test_an_unmounted_hierarchy_is_no_cgroup() -> None:
    assert "cpu" not in runc.decode(changed("cgroup_paths.cpu", ""), DIRECTORY).cgroup_paths


@pytest.mark.parametrize(
    ("namespaces", "private"),
    [
        ([{"type": "NEWPID", "path": ""}], True),
        ([{"type": "NEWPID"}], True),
        ([{"type": "NEWPID", "path": "/proc/1/ns/pid"}], False),
        ([{"type": "NEWNET", "path": ""}], False),
        ([], False),
    ],
)
def test_whose_pid_namespace_it_is(namespaces: list[object], private: bool) -> None:
    assert runc.decode(changed("config.namespaces", namespaces), DIRECTORY).private_pid_namespace is private


def test_ours_is_known_by_its_key() -> None:
    record = runc.decode(own(), DIRECTORY)
    assert record.ours
    assert json.loads(runc.encode(record)) == json.loads(own())
    assert "libcontainer_py" not in json.loads(runc.encode(record._replace(ours=False)))


@pytest.mark.parametrize("key", ["bundle", "a=b", "=", "=bundle"])
def test_annotations_that_labels_cannot_carry(key: str) -> None:
    annotations = {"plain": "x=y", key: "/elsewhere"}
    record = runc.decode(own(), DIRECTORY)._replace(annotations=annotations)
    document = json.loads(runc.encode(record))
    assert document["config"]["labels"] == ["plain=x=y", "bundle=/var/lib/example/bundle"]
    again = runc.decode(json.dumps(document), DIRECTORY)
    assert (again.bundle, again.annotations) == ("/var/lib/example/bundle", annotations)


def test_youki_is_named() -> None:
    with pytest.raises(StateError, match="created by youki") as caught:
        runc.decode('{"ociVersion":"v1.0.2","id":"c1","status":"created","pid":5,"bundle":"/b"}', DIRECTORY)
    assert caught.value.path == DIRECTORY
