"""JSON and tables as Go writes them, so that what reads runc's reads ours."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Go's encoder writes JSON that may stand in HTML
_FOR_HTML = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_SEPARATION = 3
_LEAST_WIDTH = 12


def quoted(text: str) -> str:
    """A JSON string, in one line."""
    return json.dumps(text, ensure_ascii=False)


def line(value: object) -> str:
    """JSON without blanks, and a newline: json.NewEncoder(...).Encode."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_FOR_HTML) + "\n"


def indented(value: object, blanks: int | str = 2) -> str:
    """JSON over several lines, without a last newline: json.MarshalIndent."""
    return json.dumps(value, ensure_ascii=False, indent=blanks).translate(_FOR_HTML)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of 12 characters at least, 3 blanks apart; the last one as it is: text/tabwriter as runc sets it."""
    widths = [max(_LEAST_WIDTH, *(len(row[at]) + _SEPARATION for row in rows)) for at in range(len(rows[0]) - 1)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1] + "\n" for row in rows
    )
