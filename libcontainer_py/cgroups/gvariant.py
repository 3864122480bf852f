"""Values in GVariant's text form, as the annotations `org.systemd.property.*` have them. Pure.

What D-Bus has too: numbers, booleans, strings, arrays, tuples, dictionaries, variants; not `nothing` and `just`. A
whole number is an int32 and another a double, unless a word (`uint64 7`) or a signature (`@t 7`) says otherwise.
Source: GLib, GVariant Text Format; D-Bus specification, Type System.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Typed: TypeAlias = tuple[str, object]

_WORDS = {
    "boolean": "b",
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "handle": "h",
    "int64": "x",
    "uint64": "t",
    "double": "d",
    "string": "s",
    "objectpath": "o",
    "signature": "g",
}
_RANGES = {
    "y": (0, 2**8),
    "n": (-(2**15), 2**15),
    "q": (0, 2**16),
    "i": (-(2**31), 2**31),
    "u": (0, 2**32),
    "h": (0, 2**31),
    "x": (-(2**63), 2**63),
    "t": (0, 2**64),
}
_TOKEN = re.compile(
    r"\s*(?:(?P<text>b?'(?:[^'\\]|\\.)*'|b?\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<type>@[a-z(){}]+)|(?P<word>[A-Za-z]\w*)|(?P<number>[-+]?(?:\d|\.\d)[\w.+-]*|[-+]inf)|(?P<sign>[\[\](){}<>,:]))",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": ""}
_DEEPEST = 32


def parse(text: str) -> Typed:
    """The signature of D-Bus and the value: strings, numbers, lists, tuples, dicts; a variant is such a pair again.

    Raises ValueError.
    """
    reader = _Reader(text)
    found = reader.value("")
    reader.end()
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def _next(self) -> tuple[str, str]:
        """The kind and the text of the next part; ("", "") at the end."""
        if not self._text[self._at :].strip():
            self._at = len(self._text)
            return "", ""
        match = _TOKEN.match(self._text, self._at)
        if match is None or match.lastgroup is None:
            raise ValueError(f"{self._text[self._at :].strip()!r} begins no value")
        self._at = match.end()
        return match.lastgroup, match[match.lastgroup]

    def _peek(self) -> str:
        at = self._at
        part = self._next()[1]
        self._at = at
        return part

    def _take(self, sign: str) -> None:
        part = self._next()[1]
        if part != sign:
            raise ValueError(f"{sign!r} is missing" + (f" before {part!r}" if part else " at the end"))

    def end(self) -> None:
        part = self._next()[1]
        if part:
            raise ValueError(f"{part!r} is too much")

    def value(self, wanted: str) -> Typed:
        """The next value, of the signature `wanted`, or of whichever it has by itself ("")."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deeply")
        kind, part = self._next()
        if kind == "type":
            found = self.value(_agreed(part[1:], wanted))
        elif kind == "word" and part in _WORDS and self._peek() not in ("", ",", ":"):
            found = self.value(_agreed(_WORDS[part], wanted))
        elif part in ("true", "false"):
            found = _agreed("b", wanted), part == "true"
        elif kind == "number" or part in ("inf", "nan"):
            found = _number(part, wanted)
        elif kind == "text":
            found = _string(part, wanted)
        elif part == "[":
            found = self._array(wanted)
        elif part == "(":
            found = self._tuple(wanted)
        elif part == "{":
            found = self._dictionary(wanted)
        elif part == "<":
            found = _agreed("v", wanted), self.value("")
            self._take(">")
        else:
            raise ValueError(f"{part!r} is no value" if part else "a value is missing")
        self._depth -= 1
        return found

    def _array(self, wanted: str) -> Typed:
        if wanted and (wanted[0] != "a" or wanted[1:2] == "{"):
            raise ValueError(f"an array cannot be of type {wanted!r}")
        inner = wanted[1:]
        found: list[object] = []
        while self._peek() != "]":
            if found:
                self._take(",")
            inner, item = self.value(inner)
            found.append(item)
        self._take("]")
        if not inner:
            raise ValueError("an empty array needs its type before it, as in `@as []`")
        return "a" + inner, found

    def _tuple(self, wanted: str) -> Typed:
        if wanted and wanted[0] != "(":
            raise ValueError(f"a tuple cannot be of type {wanted!r}")
        kinds = split(wanted[1:-1])
        found: list[Typed] = []
        while self._peek() != ")":
            if found:
                self._take(",")
                if self._peek() == ")":
                    break
            if wanted and len(found) == len(kinds):
                raise ValueError(f"a tuple of type {wanted!r} has fewer items")
            found.append(self.value(kinds[len(found)] if wanted else ""))
        self._take(")")
        if not found or (wanted and len(found) != len(kinds)):
            raise ValueError(f"a tuple of type {wanted!r} has more items" if wanted else "D-Bus has no empty tuple")
        return "(" + "".join(kind for kind, _ in found) + ")", tuple(item for _, item in found)

    def _dictionary(self, wanted: str) -> Typed:
        if wanted and wanted[:2] != "a{":
            raise ValueError(f"a dictionary cannot be of type {wanted!r}")
        key, value = split(wanted[2:-1]) if wanted else ("", "")
        found: dict[object, object] = {}
        while self._peek() != "}":
            if found:
                self._take(",")
            key, name = self.value(key)
            if key not in "ybnqiuhxtdsog":
                raise ValueError("a key is a string, a number or a boolean")
            self._take(":")
            value, found[name] = self.value(value)
        self._take("}")
        if not (key and value):
            raise ValueError("an empty dictionary needs its type before it, as in `@a{sv} {}`")
        return f"a{{{key}{value}}}", found


def split(signature: str) -> list[str]:
    """The complete types in a signature. Raises ValueError."""
    found: list[str] = []
    at = 0
    while at < len(signature):
        end = _type_end(signature, at)
        found.append(signature[at:end])
        at = end
    return found


def _type_end(signature: str, at: int) -> int:
    """Behind the complete type that begins there."""
    first = signature[at : at + 1]
    if first == "a":
        if signature[at + 1 : at + 2] == "{":
            end = signature.find("}", at)
            value = _type_end(signature, at + 3)
            if signature[value : value + 1] == "}" and signature[at + 2 : at + 3] in tuple("ybnqiuhxtdsog"):
                return value + 1
            raise ValueError(f"{signature[at : end + 1]!r} is no type")
        return _type_end(signature, at + 1)
    if first == "(":
        end = at + 1
        while signature[end : end + 1] != ")":
            end = _type_end(signature, end)
        if end == at + 1:
            raise ValueError("D-Bus has no empty tuple")
        return end + 1
    if first and first in "ybnqiuhxtdsogv":
        return at + 1
    raise ValueError(f"{signature[at:]!r} is no type")


def _agreed(found: str, wanted: str) -> str:
    if split(found) != [found]:
        raise ValueError(f"{found!r} is not one type")
    if wanted and found != wanted:
        raise ValueError(f"it is of type {found!r}, not {wanted!r}")
    return found


def _number(part: str, wanted: str) -> Typed:
    kind = wanted or ("i" if re.fullmatch(r"[-+]?(0[xX][0-9A-Fa-f]+|\d+)", part) else "d")
    try:
        if kind == "d":
            return kind, float(part)
        if kind in _RANGES:
            digits = part.lstrip("+-")
            base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[:1] == "0" and digits != "0" else 10
            number = int(part, base)
            low, end = _RANGES[kind]
            if not low <= number < end:
                raise ValueError(f"{part} is no number from {low} to {end - 1}")
            return kind, number
    except ValueError as error:
        raise error if "number from" in str(error) else ValueError(f"{part!r} is no number") from None
    raise ValueError(f"a number cannot be of type {kind!r}")


def _string(part: str, wanted: str) -> Typed:
    text = _ESCAPE.sub(_unescaped, part.removeprefix("b")[1:-1])
    if part.startswith("b"):
        return _agreed("ay", wanted), [*text.encode("utf-8", "surrogateescape"), 0]
    if "\0" in text:
        raise ValueError("a string has no NUL character")
    kind = wanted or "s"
    if kind not in ("s", "o", "g"):
        raise ValueError(f"a string cannot be of type {kind!r}")
    if kind == "o" and not re.fullmatch(r"/|(/\w+)+", text, re.ASCII):
        raise ValueError(f"{text!r} is no object path")
    if kind == "g":
        split(text)
    return kind, text


def _unescaped(match: re.Match[str]) -> str:
    word = match[1]
    if word[0] in "uU" and len(word) > 1:
        return chr(int(word[1:], 16))
    if word[0] in "01234567":
        return chr(int(word, 8))
    return _ESCAPES.get(word, word)
