"""Words of a command line to flags and arguments. PURE: a table in, plain values out.

Our own and not argparse, which takes 9 ms to load, and whose idea of a command line is not Go's: a flag has one dash or
two, its value is the next word or follows `=`, and flags may stand after arguments unless the command says otherwise.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final, NamedTuple
else:
    from libcontainer_py.plain import NamedTuple

SWITCH: Final = "switch"
TEXT: Final = "text"
NUMBER: Final = "number"
TEXTS: Final = "texts"  # may be repeated
SECONDS: Final = "seconds"  # a duration as Go writes it: 5s, 100ms, 1m30s

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Flag(NamedTuple):
    """One flag: its names, longest first, what it takes, and what help says of it."""

    names: tuple[str, ...]
    kind: str
    about: str
    default: str | int | None = None
    hidden: bool = False

    @property
    def key(self) -> str:
        """Under which its value is found: the first name."""
        return self.names[0]


class UsageError(Exception):
    """What was typed makes no sense; `str` says why."""


class Parsed:
    """What was typed: the value of each flag by its first name, and the other words."""

    __slots__ = ("_flags", "_given", "words")

    def __init__(self, flags: Iterable[Flag]) -> None:
        self._flags = {flag.key: flag for flag in flags}
        self._given: dict[str, list[str | int | float | bool]] = {}
        self.words: list[str] = []

    def add(self, flag: Flag, text: str | None) -> None:
        """A flag was given, with its value or as a bare switch. Raises UsageError."""
        self._given.setdefault(flag.key, []).append(_value(flag, text))

    def given(self, key: str) -> bool:
        """Whether it was typed at all."""
        return key in self._given

    def on(self, key: str) -> bool:
        """Whether a switch is on."""
        return bool(self._given.get(key, [False])[-1])

    def text(self, key: str) -> str:
        """The text, or its default, or ""."""
        value = self._given[key][-1] if key in self._given else self._flags[key].default
        return "" if value is None else str(value)

    def number(self, key: str) -> int:
        """The number, or its default, or 0."""
        value = self._given[key][-1] if key in self._given else self._flags[key].default
        return int(value or 0)

    def seconds(self, key: str) -> float:
        """The duration, or its default."""
        if key in self._given:
            return float(self._given[key][-1])
        return seconds(str(self._flags[key].default))

    def texts(self, key: str) -> list[str]:
        """All that were given."""
        return [str(value) for value in self._given.get(key, ())]


def parse(words: Sequence[str], flags: Sequence[Flag], *, stop: bool = False) -> Parsed:
    """Tell flags from other words; with `stop` all after the first word that is no flag is taken as it is.

    Raises UsageError.
    """
    known = {name: flag for flag in flags for name in flag.names}
    parsed = Parsed(flags)
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            parsed.words.append(word)
            if stop:
                break
            continue
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        flag = known.get(name)
        if flag is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if equals:
            parsed.add(flag, value)
        elif flag.kind == SWITCH:
            parsed.add(flag, None)
        elif not left:
            raise UsageError(f"flag needs an argument: -{name}")
        else:
            parsed.add(flag, left.pop(0))
    parsed.words += left
    return parsed


def _value(flag: Flag, text: str | None) -> str | int | float | bool:
    if flag.kind == SWITCH:
        if text is None or text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise UsageError(f'invalid boolean value "{text}" for -{flag.key}')
    if text is None:
        raise AssertionError("a switch alone has no value")
    try:
        if flag.kind == NUMBER:
            return int(text, 10)
        if flag.kind == SECONDS:
            return seconds(text)
    except ValueError:
        raise UsageError(f'invalid value "{text}" for flag -{flag.key}') from None
    return text


def seconds(text: str) -> float:
    """A duration as Go writes it, `1m30s` or `0`, in seconds. Raises ValueError."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError(text)
    total = 0.0
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµmsh"))]
        rest = rest[len(unit) :]
        if unit not in _UNITS:
            raise ValueError(text)
        total += float(number) * _UNITS[unit]
    return sign * total
