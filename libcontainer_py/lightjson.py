"""JSON read without the json module, which loads re: by the same scanner in C that json uses.

What cannot be read goes to json, whose errors say where.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from json.encoder import encode_basestring
    from json.scanner import make_scanner
    from typing import Any
else:
    try:
        from _json import encode_basestring, make_scanner
    except ImportError:  # a Python without it
        from json.encoder import encode_basestring
        from json.scanner import make_scanner

__all__ = ["encode_basestring", "loads"]

_BLANKS = " \t\n\r"


class _Context:
    """What the scanner asks for: json's own defaults."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(
        {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": -float("inf")}.__getitem__
    )
    memo: dict[str, str] = {}  # noqa: RUF012  (a scanner written in Python asks for it)


_given: Any = _Context()
_scan = make_scanner(_given)


def loads(data: bytes | str) -> Any:
    """As json.loads."""
    try:
        text = data if isinstance(data, str) else data.decode()
        start = len(text) - len(text.lstrip(_BLANKS))
        value, end = _scan(text, start)
        if not text[end:].strip(_BLANKS):
            return value
    except (StopIteration, ValueError):
        pass
    import json  # noqa: PLC0415  (for an error, or UTF-16)

    return json.loads(data)
