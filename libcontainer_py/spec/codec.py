"""JSON documents to attrs classes and back; the shapes are read off the fields' annotations.

A class of the specification is a `Node` whose fields say everything that the codec needs::

    @attrs.frozen(kw_only=True)
    class Rlimit(Node):
        type: str                     no default: required in a document
        hard: Uint64                  an int with a range
        flags: tuple[str, ...] = ()   an array; absent and null are the default
        label: str | None = None      a string; absent, null and "" are None

The JSON name is the field's in camel case, or `metadata={"json": "containerID"}`. `ALWAYS` marks a field that has a
default and is written all the same, `REQUIRED` one that a document must have although it has a default in Python.

Decoding never stops at the first problem: it puts a harmless value where a wrong one stood and goes on, so that all
problems come at once, each with its JSON path. Nothing is lost on the way: unknown keys live in `extra`, and known keys
that were written out with their default value (`"terminal": false`, `"hooks": null`) are remembered, so that
`Cls.from_dict(document).to_dict() == document`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import attrs

from libcontainer_py.errors import ConfigError, Problem
from libcontainer_py.memo import remembered
from libcontainer_py.spec.shapes import SCALARS, Keyed, Listing, Shape, Text, Word, copied, is_key, is_object, kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias, TypeVar

    from typing_extensions import Self

    N = TypeVar("N", bound="Node")

Int32: TypeAlias = int
Int64: TypeAlias = int
Uint16: TypeAlias = int
Uint32: TypeAlias = int
Uint64: TypeAlias = int
Json: TypeAlias = "Mapping[str, Any]"  # a section for another system: kept as it is

ALWAYS = {"always": True}
REQUIRED = {"required": True, "always": True}


# Converters of fields. One for each kind of item, because mypy takes no generic function for a converter.


def strings(value: Iterable[str]) -> tuple[str, ...]:
    """Any iterable of strings, as a tuple, but no single string. Raises TypeError."""
    if isinstance(value, str):
        raise TypeError(f"several strings are expected here, not the single {value!r}")
    return tuple(value)


def numbers(value: Iterable[int]) -> tuple[int, ...]:
    """Any iterable of numbers, as a tuple."""
    return tuple(value)


def nodes(value: Iterable[Node]) -> tuple[Any, ...]:
    """Any iterable of nodes, as a tuple; `inspect` looks at their class."""
    return tuple(value)


def texts(value: Mapping[str, str]) -> dict[str, str]:
    """A copy, so that nobody else changes it."""
    return dict(value)


def named_nodes(value: Mapping[str, Node]) -> dict[str, Any]:
    """A copy, so that nobody else changes it; `inspect` looks at the nodes' class."""
    return dict(value)


def anything(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy, so that nobody else changes it."""
    return dict(value)


@attrs.frozen(kw_only=True)
class Node:
    """What all classes of the specification share."""

    extra: Mapping[str, Any] = attrs.field(factory=dict[str, Any], converter=anything, repr=False, hash=False)
    """Keys that this version of the specification does not know, as they stood in the document."""
    _written: Mapping[str, Any] | None = attrs.field(default=None, alias="written", repr=False, eq=False)
    """Known keys that the document spelled out with their default value; None: not from a document."""

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], *, source: str = "") -> Self:
        """Decode a parsed document. Raises ConfigError with everything that is wrong with it."""
        node, problems = decode(cls, document)
        if problems:
            raise ConfigError(problems, source=source)
        return node

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str = "") -> Self:
        """Decode a JSON text (UTF-8 where it is bytes). `source` names it in the ConfigError that this raises."""
        return cls.from_dict(parse(text, source=source), source=source)

    def to_dict(self) -> dict[str, Any]:
        """The document, as json.loads would give it; fresh, so that it may be changed."""
        return encode(self)

    def to_json(self, indent: int | None = None) -> str:
        """The document as JSON, in ASCII."""
        return json.dumps(self.to_dict(), indent=indent, separators=None if indent else (",", ":"))


def parse(text: str | bytes, *, source: str = "") -> dict[str, Any]:
    """A JSON text whose top is an object. Raises ConfigError with the line and column, or the byte, of what is wrong.

    Of two equal keys the last one counts, as in Go. NaN and infinities are refused.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        document: object = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as err:
        reason = f"invalid UTF-8 at byte {err.start} (0x{err.object[err.start]:02x})"
    except json.JSONDecodeError as err:
        reason = f"invalid JSON at line {err.lineno}, column {err.colno}: {err.msg}"
        if not err.doc.strip():
            reason = "the document is empty"
    except RecursionError:
        reason = "invalid JSON: nested too deeply"
    except ValueError as err:  # _refuse_constant, _finite, and integers of more digits than int() takes
        reason = f"invalid JSON: {err}"
    else:
        if is_object(document):
            return document
        reason = f"expected an object, found {kind_of(document)}"
    raise ConfigError([Problem("", reason)], source=source)


def _refuse_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def decode(cls: type[N], document: Mapping[str, Any]) -> tuple[N, list[Problem]]:
    """Build `cls` from a parsed document, with all problems; where there are some, harmless values stand in."""
    problems: list[Problem] = []
    node: N = tree(cls).decode(document, "", problems)
    return node, problems


def encode(node: Node) -> dict[str, Any]:
    """The document of a node."""
    return tree(type(node)).encode(node)


def inspect(node: Node) -> list[Problem]:
    """Problems of types, ranges and characters in a node that somebody built by hand."""
    problems: list[Problem] = []
    tree(type(node)).check(node, "", problems)
    return problems


class Member:
    """One field of a class, as the codec sees it."""

    __slots__ = ("alias", "always", "blank", "default", "json", "name", "nullable", "optional", "required", "shape")

    def __init__(self, field: attrs.Attribute[Any], owner: type[Node]) -> None:
        self.name: str = field.name
        self.alias: str = field.alias or field.name
        head, *tail = field.name.split("_")
        self.json: str = field.metadata.get("json") or head + "".join(word.capitalize() for word in tail)
        annotation = str(field.type)
        self.nullable: bool = annotation.endswith(" | None")
        self.shape: Shape = _shape(annotation.removesuffix(" | None"), owner)
        self.blank: bool = self.nullable and isinstance(self.shape, Text)
        self.optional: bool = field.default is not attrs.NOTHING
        self.required: bool = not self.optional or field.metadata.get("required", False)
        self.always: bool = field.metadata.get("always", False)
        factory = getattr(field.default, "factory", None)
        self.default: object = factory() if factory else field.default

    def is_default(self, value: object) -> bool:
        """Whether the field may be left out of a document for this value."""
        return self.optional and bool(value == self.default)


class Tree(Shape):
    """An object of one of our classes."""

    expected = "an object"

    def __init__(self, cls: type[Node]) -> None:
        self.cls = cls
        self.members: tuple[Member, ...] | None = None
        self.by_json: dict[str, Member] = {}
        self.weighty: bool = False

    def plan(self) -> tuple[Member, ...]:
        """The members, made at first use: then every class that an annotation names is there."""
        if self.members is None:
            own = attrs.fields_dict(Node)
            self.members = tuple(Member(field, self.cls) for field in attrs.fields(self.cls) if field.name not in own)
            self.by_json = {member.json: member for member in self.members}
        return self.members

    def zero(self) -> Node:
        return self.cls(**{member.alias: member.shape.zero() for member in self.plan() if not member.optional})

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        if not is_object(value):
            return self.wrong(value, path, problems)
        plan = self.plan()
        given: dict[str, Any] = {}
        written: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        prefix = f"{path}." if path else ""
        for key, item in value.items():
            member = self.by_json.get(key)
            if member is None:
                if is_key(key, path, problems):
                    extra[key] = copied(item, prefix + key, problems)
            elif item is None:
                written[key] = None
                if member.required:
                    problems.append(Problem(prefix + key, "is required, found null"))
            elif item == "" and member.blank:  # Go cannot tell an empty string from an absent one, so nobody may
                written[key] = ""
            else:
                found = member.shape.decode(item, prefix + key, problems)
                given[member.alias] = found
                if member.is_default(found):
                    written[key] = item
        for member in plan:
            if member.required and member.json not in value:
                problems.append(Problem(prefix + member.json, "is required"))
            if not member.optional and member.alias not in given:
                given[member.alias] = member.shape.zero()
        return self.cls(extra=extra, written=written, **given)

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        if not isinstance(value, self.cls):
            self.wrong(value, path, problems)
        elif not self.weighty or not _is_sound(value):
            self.check_members(value, path, problems)

    def check_members(self, value: Any, path: str, problems: list[Problem]) -> None:
        """As `check`, of one that is of this class."""
        prefix = f"{path}." if path else ""
        for member in self.plan():
            item = getattr(value, member.name)
            if item is not None or not member.nullable:
                member.shape.check(item, prefix + member.json, problems)

    def encode(self, value: Any) -> dict[str, Any]:
        written: Mapping[str, Any] | None = value._written
        document: dict[str, Any] = {}
        for member in self.plan():
            item = getattr(value, member.name)
            if not member.is_default(item) or (written is None and member.always):
                document[member.json] = member.shape.encode(item)
            elif written is not None and member.json in written:
                raw = written[member.json]
                spelled_out = isinstance(item, Node) and raw is not None
                document[member.json] = member.shape.encode(item) if spelled_out else copied(raw)
        for key, item in value.extra.items():
            document.setdefault(key, copied(item))
        return document


def weighty(cls: type[N]) -> type[N]:
    """Of a class whose nodes are so large, and so often the same, that it is worth it to remember which are sound."""
    tree(cls).weighty = True
    return cls


@remembered
def _is_sound(node: Node) -> bool:
    """Whether a node has no problems, by itself."""
    problems: list[Problem] = []
    tree(type(node)).check_members(node, "", problems)
    return not problems


_TREES: dict[type[Node], Tree] = {}


def tree(cls: type[Node]) -> Tree:
    """The shape of a class; there is one for each."""
    found = _TREES.get(cls)
    if found is None:
        found = _TREES[cls] = Tree(cls)
    return found


def _shape(annotation: str, owner: type) -> Shape:
    """The shape that an annotation in the class `owner` names."""
    if annotation in SCALARS:
        return SCALARS[annotation]
    if annotation.startswith("tuple["):
        return Listing(_shape(annotation.removeprefix("tuple[").removesuffix(", ...]"), owner))
    if annotation.startswith("Mapping[str, "):
        return Keyed(_shape(annotation.removeprefix("Mapping[str, ").removesuffix("]"), owner))
    for cls in owner.__mro__:  # where the class was written, the name means something
        named = vars(sys.modules[cls.__module__]).get(annotation)
        if named is not None:
            return tree(named) if issubclass(named, Node) else Word(named)
    raise TypeError(f"{owner.__name__}: no shape for {annotation!r}")
