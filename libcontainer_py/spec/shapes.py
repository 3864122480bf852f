"""What may stand in one field of a document: text, numbers with a range, arrays, objects whose keys are data.

A shape decodes a JSON value, checks a Python value that somebody built by hand, and encodes it. It reports what is
wrong with a JSON path and goes on: `zero()` is the harmless value that takes the place of a wrong one. Values of
environment variables are never put into a problem. `codec` has the shape of our classes, and chooses one for each.
"""

from __future__ import annotations

import abc
import json
from typing import Any

from libcontainer_py.errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeGuard

DEPTH = 100
"""How deep a value that we do not know may be nested inside of its top; known ones have the depth of their classes."""


class Unfit(Problem):
    """A string that holds what no path, argument or variable can hold. Its type is right, so other rules can go on."""

    __slots__ = ()


def unfit(text: str) -> str:
    """Why no path, argument or variable can hold this text, or ""."""
    if "\0" in text:
        return "contains a NUL character"
    if not text.isascii():
        try:
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return "contains half of a surrogate pair"
    return ""


def byte_length(text: str) -> int:
    """How many bytes the kernel would get; half of a surrogate pair, which is `Unfit`, counts too."""
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return len(text.encode("utf-8", "surrogatepass"))


class Shape(abc.ABC):
    """A kind of value; `expected` is what a problem calls it."""

    expected: str

    @abc.abstractmethod
    def zero(self) -> Any:
        """The harmless value."""

    @abc.abstractmethod
    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        """The Python value of a JSON value that is not null."""

    @abc.abstractmethod
    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        """Report where a Python value, however it came about, may not be written here."""

    def encode(self, value: Any) -> Any:
        """The JSON value of a Python value."""
        return value

    def wrong(self, value: object, path: str, problems: list[Problem]) -> Any:
        """Report another kind of value than expected, and give the harmless one."""
        problems.append(Problem(path, f"expected {self.expected}, found {kind_of(value)}", shown(value, path)))
        return self.zero()


class Text(Shape):
    """A string. Built by hand, it may not hold what no path, argument or variable can hold."""

    expected: str = "a string"

    def zero(self) -> str:
        return ""

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        return value if isinstance(value, str) else self.wrong(value, path, problems)

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        if not isinstance(value, str):
            self.wrong(value, path, problems)
        elif reason := unfit(value):
            problems.append(Unfit(path, reason, shown(value, path)))


class Word(Shape):
    """A string that a `str` enum lists."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.expected: str = "one of " + ", ".join(map(str, kind))

    def zero(self) -> Any:
        return next(iter(self.kind))

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        try:
            return self.kind(value)
        except (ValueError, TypeError):  # TypeError: unhashable
            return self.wrong(value, path, problems)

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        if not isinstance(value, self.kind):
            self.wrong(value, path, problems)

    def encode(self, value: Any) -> Any:
        return str(value)


class Flag(Shape):
    """true or false."""

    expected: str = "true or false"

    def zero(self) -> bool:
        return False

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        return value if isinstance(value, bool) else self.wrong(value, path, problems)

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        self.decode(value, path, problems)


class Integer(Shape):
    """A whole number from `low` to `high`; 1.0 is none, as in Go."""

    expected: str = "an integer"

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    def zero(self) -> int:
        return 0

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            return self.wrong(value, path, problems)
        if not self.low <= value <= self.high:
            # Longer numbers cannot always be printed: sys.set_int_max_str_digits.
            number = str(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
            problems.append(Problem(path, f"{number} is out of range ({self.low} to {self.high})", shown(value, path)))
            return 0
        return value

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        self.decode(value, path, problems)


class Listing(Shape):
    """An array; a tuple here."""

    expected: str = "an array"

    def __init__(self, item: Shape) -> None:
        self.item = item

    def zero(self) -> tuple[Any, ...]:
        return ()

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        if not is_array(value):
            return self.wrong(value, path, problems)
        decode = self.item.decode
        return tuple([decode(item, f"{path}[{index}]", problems) for index, item in enumerate(value)])

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        if not is_array(value):
            self.wrong(value, path, problems)
            return
        check = self.item.check
        for index, item in enumerate(value):
            check(item, f"{path}[{index}]", problems)

    def encode(self, value: Any) -> Any:
        encode = self.item.encode
        return [encode(item) for item in value]


class Keyed(Shape):
    """An object whose keys are data: annotations, sysctls, devices by name."""

    expected: str = "an object"

    def __init__(self, item: Shape) -> None:
        self.item = item

    def zero(self) -> dict[str, Any]:
        return {}

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        decode = self.item.decode
        return {key: decode(item, keyed(path, key), problems) for key, item in self.items(value, path, problems)}

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        # Data such as annotations may hold any character; where text becomes a path, a rule of its own says so.
        check = self.item.decode if isinstance(self.item, Text) else self.item.check
        for key, item in self.items(value, path, problems):
            check(item, keyed(path, key), problems)

    def encode(self, value: Any) -> Any:
        encode = self.item.encode
        return {key: encode(item) for key, item in value.items()}

    def items(self, value: Any, path: str, problems: list[Problem]) -> list[tuple[str, Any]]:
        """The members that have a string for their key."""
        if not is_object(value):
            self.wrong(value, path, problems)
            return []
        return [(key, item) for key, item in value.items() if is_key(key, path, problems)]


class Section(Shape):
    """An object that is kept as it is."""

    expected: str = "an object"

    def zero(self) -> dict[str, Any]:
        return {}

    def decode(self, value: Any, path: str, problems: list[Problem]) -> Any:
        return copied(value, path, problems) if is_object(value) else self.wrong(value, path, problems)

    def check(self, value: Any, path: str, problems: list[Problem]) -> None:
        self.decode(value, path, problems)

    def encode(self, value: Any) -> Any:
        return copied(value)


SCALARS: Mapping[str, Shape] = {
    "str": Text(),
    "bool": Flag(),
    "Int32": Integer(-(2**31), 2**31 - 1),
    "Int64": Integer(-(2**63), 2**63 - 1),
    "Uint16": Integer(0, 2**16 - 1),
    "Uint32": Integer(0, 2**32 - 1),
    "Uint64": Integer(0, 2**64 - 1),
    "Json": Section(),
}
"""The shapes that have a name in an annotation."""


def is_object(value: Any) -> TypeGuard[dict[Any, Any]]:
    """Whether a value is a JSON object."""
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether a value is a JSON array."""
    return isinstance(value, (list, tuple))


def keyed(path: str, key: str) -> str:
    """The JSON path of a member whose key is data: `annotations["a.b"]`."""
    return f"{path}[{json.dumps(key)}]"


def is_key(key: object, path: str, problems: list[Problem]) -> bool:
    """Whether a key is a string; in JSON it is, in a Python dictionary it need not be."""
    if not isinstance(key, str):
        problems.append(Problem(path, f"a key must be a string, found {kind_of(key)}"))
    return isinstance(key, str)


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


def kind_of(value: object) -> str:
    """What JSON calls such a value."""
    return _KINDS.get(type(value), f"a Python {type(value).__name__}")


def shown(value: object, path: str) -> object:
    """What a problem may show of a value: nothing of an environment."""
    return None if path.rpartition(".")[2].startswith("env") else value


def copied(value: Any, path: str = "", problems: list[Problem] | None = None, depth: int = 0) -> Any:
    """A copy of a JSON value that we do not understand."""
    if depth > DEPTH:
        if problems is not None:
            problems.append(Problem(path, "is nested too deeply"))
        return None
    if is_object(value):
        return {str(key): copied(item, path, problems, depth + 1) for key, item in value.items()}
    if is_array(value):
        return [copied(item, path, problems, depth + 1) for item in value]
    return value
