"""JSON documents to attrs classes and back; the shapes are read off the fields' annotations.

A class of the specification is a `Node` whose fields say everything that the codec needs::

    @attrs.frozen(kw_only=True)
    class Rlimit(Node):
        type: str                     no default: required in a document
        hard: Uint64                  an int with a range
        flags: tuple[str, ...] = ()   an array; absent and null are the default

The JSON name is the field's in camel case, or `metadata={"json": "containerID"}`. `ALWAYS` marks a field that has a
default and is written all the same, `REQUIRED` one that a document must have although it has a default in Python.

Decoding never stops at the first problem: it puts a harmless value where a wrong one stood and goes on, so that all
problems come at once, each with its JSON path. Nothing is lost on the way: unknown keys live in `extra`, and known keys
that were written out with their default value (`"terminal": false`, `"hooks": null`) are remembered, so that
`Cls.from_dict(document).to_dict() == document`. Values of environment variables are never put into a problem.
"""

from __future__ import annotations

import json
import sys
from typing import Any, cast

import attrs

from libcontainer_py.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeVar

    from typing_extensions import Self, TypeAlias

    T = TypeVar("T")
    N = TypeVar("N", bound="Node")

Int32: TypeAlias = int
Int64: TypeAlias = int
Uint16: TypeAlias = int
Uint32: TypeAlias = int
Uint64: TypeAlias = int
Json: TypeAlias = "Mapping[str, Any]"  # a section for another system: kept as it is

ALWAYS = {"always": True}
REQUIRED = {"required": True, "always": True}

_DEPTH = 100
"""How deep an unknown value may be nested; known ones have the depth of their classes."""


def sequence(value: Iterable[T]) -> tuple[T, ...]:
    """A field's converter: any iterable as a tuple, but no bare string. Raises TypeError."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"a sequence is expected here, not the single {type(value).__name__} {value!r}")
    return tuple(value)


def mapping(value: Mapping[str, T]) -> Mapping[str, T]:
    """A field's converter: a copy, so that nobody else changes it."""
    return dict(value)


@attrs.frozen(kw_only=True)
class Node:
    """What all classes of the specification share."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, converter=mapping, repr=False, hash=False)
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


# Parsing ---------------------------------------------------------------------------------------------------------------


def parse(text: str | bytes, *, source: str = "") -> dict[str, Any]:
    """A JSON text whose top is an object. Raises ConfigError with the line and column, or the byte, of what is wrong.

    Of two equal keys the last one counts, as in Go. NaN and infinities are refused.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if not text.strip():
            raise ConfigError([Problem("", "the document is empty")], source=source)
        document: object = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as err:
        reason = f"invalid UTF-8 at byte {err.start} (0x{err.object[err.start]:02x})"
        raise ConfigError([Problem("", reason)], source=source) from None
    except json.JSONDecodeError as err:
        reason = f"invalid JSON at line {err.lineno}, column {err.colno}: {err.msg}"
        raise ConfigError([Problem("", reason)], source=source) from None
    except RecursionError:
        raise ConfigError([Problem("", "invalid JSON: nested too deeply")], source=source) from None
    except ConfigError:
        raise
    except ValueError as err:  # _refuse_constant, _finite, and integers of more digits than int() takes
        raise ConfigError([Problem("", f"invalid JSON: {err}")], source=source) from None
    if not isinstance(document, dict):
        raise ConfigError([Problem("", f"expected an object, found {_kind(document)}")], source=source)
    return cast("dict[str, Any]", document)


def _refuse_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


# Shapes ----------------------------------------------------------------------------------------------------------------


class Shape:
    """What may stand in a field. `zero()` is the harmless value that takes the place of a wrong one."""

    expected = "a value"

    def zero(self) -> Any:
        return None

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        """The Python value of a JSON value that is not null."""
        self.check(value, path, problems)
        return value

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        """Whether a Python value, however it came about, may be written here."""

    def encode(self, value: Any) -> Any:
        return value

    def wrong(self, value: object, path: str, problems: list[Problem]) -> Any:
        found = _kind(value)
        problems.append(Problem(path, f"expected {self.expected}, found {found}", _shown(value, path)))
        return self.zero()


class Text(Shape):
    expected = "a string"

    def zero(self) -> str:
        return ""

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        return value if isinstance(value, str) else self.wrong(value, path, problems)

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        if not isinstance(value, str):
            self.wrong(value, path, problems)
        elif "\0" in value:
            problems.append(Problem(path, "contains a NUL character", _shown(value, path)))
        elif not value.isascii():
            try:
                value.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError:
                problems.append(Problem(path, "contains half of a surrogate pair", _shown(value, path)))


class Word(Shape):
    """A string that a `str` enum lists."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.expected = "one of " + ", ".join(map(str, kind))

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        try:
            return self.kind(value)
        except ValueError:
            return self.wrong(value, path, problems)

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        if not isinstance(value, self.kind):
            self.wrong(value, path, problems)

    def encode(self, value: Any) -> Any:
        return str(value)


class Flag(Shape):
    expected = "true or false"

    def zero(self) -> bool:
        return False

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        return value if isinstance(value, bool) else self.wrong(value, path, problems)

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        self.decode(value, path, problems)


class Integer(Shape):
    expected = "an integer"

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    def zero(self) -> int:
        return 0

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            return self.wrong(value, path, problems)
        if not self.low <= value <= self.high:
            shown = str(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
            problems.append(Problem(path, f"{shown} is out of range ({self.low} to {self.high})", value))
            return 0
        return value

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        self.decode(value, path, problems)


class Listing(Shape):
    expected = "an array"

    def __init__(self, item: Shape) -> None:
        self.item = item

    def zero(self) -> tuple[Any, ...]:
        return ()

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, (list, tuple)):
            return self.wrong(value, path, problems)
        decode = self.item.decode
        items = cast("list[Any]", value)
        return tuple([decode(item, f"{path}[{index}]", problems) for index, item in enumerate(items)])

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        if not isinstance(value, tuple):
            self.wrong(value, path, problems)
            return
        check = self.item.check
        for index, item in enumerate(cast("tuple[Any, ...]", value)):
            check(item, f"{path}[{index}]", problems)

    def encode(self, value: Any) -> Any:
        encode = self.item.encode
        return [encode(item) for item in value]


class Keyed(Shape):
    """An object whose keys are data: annotations, sysctls, devices by name."""

    expected = "an object"

    def __init__(self, item: Shape) -> None:
        self.item = item

    def zero(self) -> dict[str, Any]:
        return {}

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, dict):
            return self.wrong(value, path, problems)
        decode = self.item.decode
        return {
            key: decode(item, keyed(path, key), problems)
            for key, item in cast("dict[Any, Any]", value).items()
            if isinstance(key, str) or self.wrong_key(key, path, problems)
        }

    def wrong_key(self, key: object, path: str, problems: list[Problem]) -> bool:
        problems.append(Problem(path, f"a key must be a string, found {_kind(key)}"))
        return False

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        if not isinstance(value, dict):
            self.wrong(value, path, problems)
            return
        # Data such as annotations may hold any character; what is more than text has rules of its own.
        check = self.item.decode if isinstance(self.item, Text) else self.item.check
        for key, item in cast("dict[Any, Any]", value).items():
            if isinstance(key, str) or self.wrong_key(key, path, problems):
                check(item, keyed(path, str(key)), problems)

    def encode(self, value: Any) -> Any:
        encode = self.item.encode
        return {key: encode(item) for key, item in value.items()}


class Section(Shape):
    """An object that is kept as it is."""

    expected = "an object"

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        return _copied(value, path, problems) if isinstance(value, dict) else self.wrong(value, path, problems)

    def encode(self, value: Any) -> Any:
        return _copied(value, "", [])


class Tree(Shape):
    """An object of one of our classes."""

    expected = "an object"

    def __init__(self, cls: type[Node]) -> None:
        self.cls = cls
        self.members: tuple[Member, ...] | None = None
        self.by_json: dict[str, Member] = {}
        self.required: tuple[Member, ...] = ()

    def zero(self) -> Node:
        return self.cls(**{member.alias: member.shape.zero() for member in self.plan() if not member.optional})

    def plan(self) -> tuple[Member, ...]:
        """The members, made at first use: then every class that an annotation names is there."""
        if self.members is None:
            fields = attrs.fields(self.cls)
            self.members = tuple(Member(field, self.cls) for field in fields if field.name not in _OWN)
            self.by_json = {member.json: member for member in self.members}
            self.required = tuple(member for member in self.members if member.required)
        return self.members

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, dict):
            return self.wrong(value, path, problems)
        document = cast("dict[Any, Any]", value)
        self.plan()
        by_json = self.by_json
        given: dict[str, Any] = {}
        written: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        prefix = f"{path}." if path else ""
        for key, item in document.items():
            member = by_json.get(key)
            if member is None:
                if isinstance(key, str):
                    extra[key] = _copied(item, prefix + key, problems)
                else:
                    problems.append(Problem(path, f"a key must be a string, found {_kind(key)}"))
            elif item is None:
                if member.required:
                    problems.append(Problem(prefix + key, "is required, found null"))
                written[key] = None
            else:
                found = member.shape.decode(item, prefix + key, problems)
                given[member.alias] = found
                if member.is_default(found):
                    written[key] = item
        for member in self.required:
            if member.json not in document:
                problems.append(Problem(prefix + member.json, "is required"))
            if member.alias not in given and not member.optional:
                given[member.alias] = member.shape.zero()
        return self.cls(extra=extra, written=written, **given)

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        if not isinstance(value, self.cls):
            self.wrong(value, path, problems)
            return
        prefix = f"{path}." if path else ""
        for member in self.plan():
            item = getattr(value, member.name)
            if item is None and member.nullable:
                continue
            member.shape.check(item, prefix + member.json, problems)

    def encode(self, value: Any) -> dict[str, Any]:
        written: Mapping[str, Any] | None = value._written
        document: dict[str, Any] = {}
        for member in self.plan():
            item = getattr(value, member.name)
            if not member.is_default(item):
                document[member.json] = member.shape.encode(item)
            elif written is None:
                if member.always:
                    document[member.json] = member.shape.encode(item)
            elif member.json in written:
                raw = written[member.json]
                document[member.json] = (
                    member.shape.encode(item) if isinstance(item, Node) and raw is not None else _copied(raw, "", [])
                )
        for key, item in value.extra.items():
            document.setdefault(key, _copied(item, "", []))
        return document


_OWN = ("extra", "_written")


class Member:
    """One field of a class, as the codec sees it."""

    __slots__ = ("alias", "always", "default", "json", "name", "nullable", "optional", "required", "shape")

    def __init__(self, field: attrs.Attribute[Any], owner: type[Node]) -> None:
        self.name = field.name
        self.alias = field.alias or field.name
        head, *tail = field.name.split("_")
        self.json: str = field.metadata.get("json") or head + "".join(word.capitalize() for word in tail)
        annotation = str(field.type)
        self.nullable = annotation.endswith(" | None")
        self.shape = _shape(annotation.removesuffix(" | None"), owner)
        self.optional = field.default is not attrs.NOTHING
        self.required: bool = not self.optional or field.metadata.get("required", False)
        self.always: bool = field.metadata.get("always", False)
        default: Any = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type] # typed as a function, but a class
            default = cast("Any", default).factory()
        self.default: Any = default

    def is_default(self, value: object) -> bool:
        return self.optional and bool(value == self.default)


_SCALARS: Mapping[str, Shape] = {
    "str": Text(),
    "bool": Flag(),
    "Int32": Integer(-(2**31), 2**31 - 1),
    "Int64": Integer(-(2**63), 2**63 - 1),
    "Uint16": Integer(0, 2**16 - 1),
    "Uint32": Integer(0, 2**32 - 1),
    "Uint64": Integer(0, 2**64 - 1),
    "Json": Section(),
}
_TREES: dict[type[Node], Tree] = {}


def _shape(annotation: str, owner: type) -> Shape:
    """The shape that an annotation in the class `owner` names."""
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if annotation.startswith("tuple[") and annotation.endswith(", ...]"):
        return Listing(_shape(annotation[6:-6], owner))
    if annotation.startswith("Mapping[str, "):
        return Keyed(_shape(annotation[13:-1], owner))
    for cls in owner.__mro__:  # where the class was written, the name means something
        named = vars(sys.modules[cls.__module__]).get(annotation)
        if named is not None:
            return tree(named) if issubclass(named, Node) else Word(named)
    raise TypeError(f"{owner.__name__}: no shape for {annotation!r}")


def tree(cls: type[Node]) -> Tree:
    """The shape of a class; there is one for each."""
    if cls not in _TREES:
        _TREES[cls] = Tree(cls)
    return _TREES[cls]


# What callers use ------------------------------------------------------------------------------------------------------


def decode(cls: type[N], document: Mapping[str, Any]) -> tuple[N, list[Problem]]:
    """Build `cls` from a parsed document, with all problems; where there are some, harmless values stand in."""
    problems: list[Problem] = []
    found = tree(cls).decode(document, "", problems)
    return cast("N", found if isinstance(found, cls) else tree(cls).zero()), problems


def encode(node: Node) -> dict[str, Any]:
    """The document of a node."""
    return tree(type(node)).encode(node)


def inspect(node: Node) -> list[Problem]:
    """Problems of types, ranges and characters in a node that somebody built by hand."""
    problems: list[Problem] = []
    tree(type(node)).check(node, "", problems)
    return problems


def json_name(node: Node, name: str) -> str:
    """What the field `name` of a node is called in JSON."""
    return next(member.json for member in tree(type(node)).plan() if member.name == name)


def is_empty(value: object) -> bool:
    """Whether a field says nothing: null, false, "", an empty array, or an object in which nothing known is set."""
    if isinstance(value, Node):
        plan = tree(type(value)).plan()
        return all(member.optional and is_empty(getattr(value, member.name)) for member in plan)
    return value is None or value is False or value in ("", (), {})


def keyed(path: str, key: str) -> str:
    """The JSON path of a member whose key is data: `annotations["a.b"]`."""
    return f"{path}[{json.dumps(key)}]"


_KINDS: Mapping[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number with a fraction",
    str: "a string",
    list: "an array",
    tuple: "an array",
    dict: "an object",
}


def _kind(value: object) -> str:
    kind = _KINDS.get(type(value), f"a Python {type(value).__name__}")
    return f"{kind} ({value!r})" if isinstance(value, float) else kind


def _shown(value: object, path: str) -> object:
    """What a problem may show of a value: nothing of an environment."""
    return None if path.rpartition(".")[2].startswith("env") else value


def _copied(value: Any, path: str, problems: list[Problem], depth: int = 0) -> Any:
    """A copy of a JSON value that we do not understand."""
    if depth > _DEPTH:
        problems.append(Problem(path, "nested too deeply"))
        return None
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {str(key): _copied(item, path, problems, depth + 1) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [_copied(item, path, problems, depth + 1) for item in cast("list[Any]", value)]
    return value
