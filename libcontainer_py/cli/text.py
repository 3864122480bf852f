"""JSON and tables as Go writes them, so that what reads runc's reads ours."""

from __future__ import annotations

from libcontainer_py.lightjson import encode_basestring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

# Go's encoder writes JSON that may stand in HTML
_FOR_HTML = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_WORDS = {None: "null", True: "true", False: "false"}
_SEPARATION = 3
_LEAST_WIDTH = 12


def quoted(text: str) -> str:
    """A JSON string, in one line."""
    return encode_basestring(text)


def line(value: Any) -> str:
    """JSON without blanks, and a newline: json.NewEncoder(...).Encode."""
    return _text(value, "", "") + "\n"


def indented(value: Any, blanks: str = "  ") -> str:
    """JSON over several lines, without a last newline: json.MarshalIndent."""
    return _text(value, blanks, "\n")


def _text(value: Any, blanks: str, before: str) -> str:
    """A value; `before` begins a line at its depth."""
    if isinstance(value, str):
        return quoted(value).translate(_FOR_HTML)
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, (int, float)):
        return repr(value)
    deeper = before + blanks if before else ""
    if isinstance(value, dict):
        colon = ": " if before else ":"
        members: dict[str, Any] = {**value}
        return _between(
            "{}",
            (f"{_text(key, blanks, deeper)}{colon}{_text(one, blanks, deeper)}" for key, one in members.items()),
            before,
            deeper,
        )
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"JSON has no {type(value).__name__}")
    entries: list[Any] = [*value]
    return _between("[]", (_text(one, blanks, deeper) for one in entries), before, deeper)


def _between(brackets: str, parts: Iterable[str], before: str, deeper: str) -> str:
    inside = f",{deeper}".join(parts)
    return f"{brackets[0]}{deeper}{inside}{before}{brackets[1]}" if inside else brackets


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of 12 characters at least, 3 blanks apart; the last one as it is: text/tabwriter as runc sets it."""
    widths = [max(_LEAST_WIDTH, *(len(row[at]) + _SEPARATION for row in rows)) for at in range(len(rows[0]) - 1)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1] + "\n" for row in rows
    )
