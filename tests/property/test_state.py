"""Codecs of the state directory: what is written is read again; whatever else stands there is refused or understood."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libcontainer_py.errors import InvalidId, StateError
from libcontainer_py.init.messages import pack_failure, unpack_failure
from libcontainer_py.record import Init, Intent, Record
from libcontainer_py.spec import Pids, Resources, codec
from libcontainer_py.spec.codec import Node
from libcontainer_py.state import intent as intents
from libcontainer_py.state import runc, runc_cgroups
from libcontainer_py.state.names import ALPHABET, check_id, is_id, remains_name, slot_of, slot_of_remains
from libcontainer_py.testing.strategies import resources

STATES = [
    json.loads((Path(__file__).parents[1] / "unit" / "state" / "data" / name).read_text())
    for name in ("state-runc-1.1.5.json", "state-runc-1.5.1.json")
]

ids = st.text(ALPHABET, min_size=1, max_size=255).filter(lambda text: text not in (".", ".."))
texts = st.text(max_size=20)
paths = st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=8), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(part if part not in (".", "..") else "_" for part in parts)
)
inits = st.builds(Init, st.integers(1, (1 << 31) - 1), st.integers(0, (1 << 64) - 1))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
hooks = st.fixed_dictionaries(
    {"path": paths},
    optional={
        "args": st.none() | st.lists(texts, max_size=3),
        "env": st.none() | st.lists(texts, max_size=3),
        "dir": texts,
        "timeout": st.none() | st.integers(),
    },
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    container_id = draw(ids)
    ours = draw(st.booleans())
    annotations = draw(st.dictionaries(texts, texts, max_size=4))
    if not ours:  # runc's labels carry no other ones
        annotations = {key: value for key, value in annotations.items() if "=" not in key and key != "bundle"}
    known = [
        "id",
        "init_process_pid",
        "init_process_start",
        "created",
        "config",
        "cgroup_paths",
        runc.OURS,
        "ociVersion",
    ]
    document = draw(st.dictionaries(texts.filter(lambda key: key not in known), json_values, max_size=3))
    if draw(st.booleans()):
        document["config"] = dict(draw(st.sampled_from(STATES))["config"])
    return Record(
        id=container_id,
        directory=f"/run/x/{container_id}",
        bundle=draw(paths | st.just("")),
        rootfs=draw(paths),
        created=draw(texts),
        oci_version=draw(texts),
        annotations=annotations,
        init=draw(inits),
        cgroup_paths=draw(st.dictionaries(texts, paths, max_size=3)),
        private_pid_namespace=draw(st.booleans()),
        ours=ours,
        hooks=draw(
            st.dictionaries(
                st.sampled_from(["poststart", "poststop"]), st.lists(hooks, min_size=1, max_size=2), max_size=2
            )
        ),
        document=document,
    )


@given(records())
def test_records_survive_the_disk(record: Record) -> None:
    data = runc.encode(record)
    again = runc.decode(data, record.directory)
    assert again._replace(document={}) == record._replace(document={})
    assert json.loads(runc.encode(again)) == json.loads(data)
    unknown = record.document.keys() - {"config"}
    assert {key: again.document[key] for key in unknown} == {key: record.document[key] for key in unknown}


@given(
    st.builds(
        Intent,
        inits,
        st.text(min_size=1),
        st.integers(0, (1 << 64) - 1),
        st.dictionaries(paths, st.integers(0, 1 << 62)),
        st.none() | inits,
    )
)
def test_intents_survive_the_disk(intent: Intent) -> None:
    assert intents.decode(intents.encode(intent)) == intent


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_an_intent_is_understood_or_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        intents.decode(data)


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A real state.json in which one value, somewhere, is another."""
    document = json.loads(json.dumps(draw(st.sampled_from(STATES))))
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        inner = place[key]
        if isinstance(inner, (dict, list)) and inner and draw(st.booleans()):
            place = inner
        else:
            place[key] = draw(json_values)
            return json.dumps(document).encode()


@given(st.binary() | mutants() | json_values.map(lambda value: json.dumps(value).encode()))
@example(b'{"id":"c1","init_process_pid":1e400}')
@example(b"\xef\xbb\xbf{}")
def test_a_state_is_understood_or_refused(data: bytes) -> None:
    try:
        record = runc.decode(data, "/run/x/c1")
    except StateError:
        return
    assert record.id == "c1"
    assert runc.decode(runc.encode(record), "/run/x/c1")._replace(document={}) == record._replace(document={})


@given(st.integers(0, 1 << 20), st.sampled_from(STATES))
def test_a_torn_state_is_refused(length: int, state: dict[str, object]) -> None:
    data = json.dumps(state).encode()
    with pytest.raises(StateError):
        runc.decode(data[: length % len(data)], "/run/x/c1")


@given(st.text() | ids)
def test_an_id_is_one_or_the_other(name: str) -> None:
    if is_id(name):
        check_id(name)
        slot = slot_of(name)
        assert slot_of_remains(remains_name(slot)) == slot
        assert not is_id(remains_name(slot))
    else:
        with pytest.raises(InvalidId):
            check_id(name)


@given(st.text(max_size=64), st.integers(-(1 << 31), (1 << 31) - 1), st.text(max_size=3000))
def test_a_failure_fits_into_one_write(step: str, errno: int, text: str) -> None:
    data = pack_failure(step, errno, text)
    assert len(data) < 4096
    found = unpack_failure(data)
    assert found is not None
    assert found[1] == errno
    assert unpack_failure(data[:-1]) is None or len(data) == 12


# -- limits, in runc's words ------------------------------------------------------------------------------------------


KEPT_ZEROS = ("swappiness", "burst", "idle")
"""Where runc's words keep a zero apart from nothing."""


def says_nothing(section: Node | None) -> bool:
    """Whether no field of it that we know is set."""
    known = () if section is None else codec.tree(type(section)).plan()
    return all(
        value is None if member.name in KEPT_ZEROS else value in (None, False, "", (), {})
        for member in known
        for value in [getattr(section, member.name)]
    )


def as_runc_keeps(found: Resources) -> Resources:
    """Without what its words have no place for: zeros that say nothing, and what it leaves out."""
    memory, cpu, pids = found.memory, found.cpu, found.pids
    if memory is not None:
        memory = attrs.evolve(memory, kernel=None, kernel_tcp=None, use_hierarchy=None)
        memory = attrs.evolve(
            memory,
            disable_oom_killer=memory.disable_oom_killer or None,
            check_before_update=memory.check_before_update or None,
        )
    if pids is not None and pids.limit == 0:
        pids = Pids(limit=1)
    network = found.network
    if network is not None and network.class_id == 0:
        network = attrs.evolve(network, class_id=None)
    sections = {"memory": memory, "cpu": cpu, "pids": pids, "block_io": found.block_io, "network": network}
    kept = {name: None if says_nothing(section) else section for name, section in sections.items()}
    return attrs.evolve(found, devices=(), **kept)


def without_zeros(document: dict[str, object]) -> dict[str, object]:
    """A device without a weight has one of 0 there."""
    block_io = document.get("blockIO")
    for entry in block_io.get("weightDevice", []) if isinstance(block_io, dict) else []:
        for key in ("weight", "leafWeight"):
            if entry.get(key) == 0:
                del entry[key]
    return document


@given(resources(1) | resources(2))
def test_limits_survive_in_the_words_of_runc(found: Resources) -> None:
    cgroups = runc_cgroups.configuration(found.to_dict(), [], name="web", path="/web", rootless=False)
    again = without_zeros(runc_cgroups.resources_of(json.loads(json.dumps(cgroups))))
    assert Resources.from_dict(again) == as_runc_keeps(found)


@given(resources(1), resources(2))
def test_other_limits_take_the_place_of_those_before(first: Resources, second: Resources) -> None:
    cgroups = runc_cgroups.configuration(first.to_dict(), [], name="web", path="/web", rootless=True)
    cgroups["tomorrow"] = {"x": 1}
    changed = runc_cgroups.with_limits(cgroups, second.to_dict())
    assert changed["devices"] == cgroups["devices"]
    expected = runc_cgroups.configuration(
        {**second.to_dict(), "devices": []}, [], name="web", path="/web", rootless=True
    )
    assert {**changed, "devices": []} == {**expected, "tomorrow": {"x": 1}}
