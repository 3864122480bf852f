"""Whatever a document holds: it decodes, with nothing lost, or it is a ConfigError. Nothing else."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer_py.errors import ConfigError
from libcontainer_py.spec import Features, Resources, Spec, State, codec, shapes, validate

DATA = Path(__file__).parents[1] / "data"
BASES = [json.loads(path.read_bytes()) for path in sorted(DATA.glob("config-*.json"))]

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)


def right(shape: shapes.Shape) -> st.SearchStrategy[Any]:
    """JSON values that a shape takes."""
    if isinstance(shape, codec.Tree):
        return st.deferred(lambda: document(shape))
    if isinstance(shape, shapes.Listing):
        return st.lists(right(shape.item), max_size=2)
    if isinstance(shape, shapes.Keyed):
        return st.dictionaries(st.text(), right(shape.item), max_size=2)
    if isinstance(shape, shapes.Integer):
        return st.integers(shape.low, shape.high)
    if isinstance(shape, shapes.Word):
        return st.sampled_from([str(word) for word in shape.kind])
    if isinstance(shape, shapes.Flag):
        return st.booleans()
    if isinstance(shape, shapes.Section):
        return st.dictionaries(st.text(), anything, max_size=2)
    assert isinstance(shape, shapes.Text)
    return st.text() | st.sampled_from(["", "/", "/a", "a\0", "1.3.0", "mount", "c", "A=b"])


def document(tree: codec.Tree) -> st.SearchStrategy[dict[str, Any]]:
    """Documents of a class: what is required, and by chance the rest, null, and keys that nobody knows."""
    required = {member.json: right(member.shape) for member in tree.plan() if member.required}
    optional = {member.json: st.none() | right(member.shape) for member in tree.plan() if not member.required}
    return st.fixed_dictionaries(required, optional=optional | {"unknown key": anything})


def wrong_or_right(text: str | bytes) -> None:
    try:
        spec = Spec.from_json(text)
    except ConfigError as err:
        refused = err
    else:
        assert spec.to_dict() == json.loads(text)
        for problem in validate.problems(spec) + validate.unsupported(spec):
            assert str(problem)
        return
    assert refused.problems
    assert str(refused)


@given(document(codec.tree(Spec)))
def test_every_document_of_the_right_shape_survives(value: dict[str, Any]) -> None:
    spec = Spec.from_dict(value)
    assert spec.to_dict() == value
    assert Spec.from_json(spec.to_json()) == spec
    for problem in validate.problems(spec) + validate.unsupported(spec):
        assert str(problem)


@pytest.mark.parametrize("kind", [State, Features, Resources])
@given(st.data())
def test_every_other_document_of_the_right_shape_survives(kind: type[codec.Node], data: st.DataObject) -> None:
    value = data.draw(document(codec.tree(kind)))
    assert kind.from_dict(value).to_dict() == value


@pytest.mark.parametrize("kind", [State, Features, Resources])
@given(anything.map(json.dumps).map(str.encode) | st.binary())
def test_any_other_document(kind: type[codec.Node], text: bytes) -> None:
    try:
        found = kind.from_json(text)
    except ConfigError as error:
        refused = error
    else:
        assert found.to_dict() == json.loads(text)
        return
    assert refused.problems
    assert str(refused)


@given(anything)
def test_any_json(value: object) -> None:
    wrong_or_right(json.dumps(value))


@given(st.binary())
def test_any_bytes(text: bytes) -> None:
    wrong_or_right(text)


@given(st.data())
def test_a_real_document_with_one_value_replaced(data: st.DataObject) -> None:
    value: Any = copy.deepcopy(data.draw(st.sampled_from(BASES)))
    node = value
    while True:
        keys: list[Any] = sorted(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        inner = node[key]
        if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
            break
        node = inner
    node[key] = data.draw(anything)
    wrong_or_right(json.dumps(value))


@given(st.sampled_from(BASES), st.data())
def test_a_real_document_with_a_byte_replaced(base: object, data: st.DataObject) -> None:
    text = bytearray(json.dumps(base).encode())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    wrong_or_right(bytes(text))
