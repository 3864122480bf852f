"""JSON texts put together from parts, of which the large ones are known: a seccomp profile is most of a document."""

from __future__ import annotations

from libcontainer_py.memo import remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def compact(document: object) -> str:
    """Without a space, in ASCII."""
    import json  # noqa: PLC0415  (who reads a state writes none)

    return json.dumps(document, separators=(",", ":"))


kept: Callable[[object], str] = remembered(compact)
"""The text of an object that never changes, kept by its identity."""


def with_member(document: Mapping[str, Any], outer: str, inner: str, text: str) -> str:
    """The text of a document with one member more, which is a text already: `inner` of its object `outer`."""
    rest = {key: value for key, value in document.items() if key != outer}
    return _with(rest, outer, _with(document[outer], inner, text))


def _with(document: Mapping[str, Any], key: str, text: str) -> str:
    separator = "," if document else ""
    return f"{compact(document)[:-1]}{separator}{compact(key)}:{text}}}"
