"""Small things that the other strategies are made of: names, paths, lists of processors, objects with some fields."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Hashable, Mapping

    from libcontainer_py.spec.codec import Node

N = TypeVar("N", bound="Node")
T = TypeVar("T")

_NAME = string.ascii_lowercase + string.digits
_ID = string.ascii_letters + string.digits + "_+.-"

texts: st.SearchStrategy[str] = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
"""What an argument or the value of a variable may be: no NUL, no half of a surrogate pair."""

names: st.SearchStrategy[str] = st.text(_NAME, min_size=1, max_size=8)
"""Names that need no quoting anywhere."""

relative_paths: st.SearchStrategy[str] = st.lists(names, min_size=1, max_size=3).map("/".join)
paths: st.SearchStrategy[str] = relative_paths.map("/".__add__)
"""Absolute paths, without `.` and `..`."""

variables: st.SearchStrategy[str] = st.builds(
    "{}={}".format, st.text(string.ascii_uppercase, min_size=1, max_size=6), texts
)

ids: st.SearchStrategy[int] = st.integers(0, 1000) | st.integers(0, 2**32 - 2)
"""Ids of users and groups: (uid_t) -1 is none. Source: chown(2)."""


def _ranges(first: int, others: list[tuple[int, int]]) -> str:
    found = [str(first)]
    for gap, length in others:
        start = first + gap
        first = start + length
        found.append(f"{start}-{first}" if length else str(start))
    return ",".join(found)


ranges: st.SearchStrategy[str] = st.builds(
    _ranges, st.integers(0, 3), st.lists(st.tuples(st.integers(2, 4), st.integers(0, 2)), max_size=2)
)
"""Lists of processors or memory nodes, such as `0-3,7`. Source: cpuset(7), List format."""


def container_ids() -> st.SearchStrategy[str]:
    """Ids that a container may have: 1 to 255 of `A-Z a-z 0-9 _ + . -`, but neither `.` nor `..`; most are short."""
    allowed = st.text(_ID, min_size=1, max_size=12) | st.text(_ID, min_size=1, max_size=255)
    return allowed.filter(lambda name: name not in (".", ".."))


def some(
    cls: type[N],
    required: Mapping[str, st.SearchStrategy[Any]],
    optional: Mapping[str, st.SearchStrategy[Any]],
    *,
    without: Container[str] = (),
) -> st.SearchStrategy[N]:
    """Objects of a class with the `required` fields and some of the `optional` ones, five at the average.

    A field that `without` names is never set.
    """
    chosen = {name: values for name, values in optional.items() if name not in without}
    return st.fixed_dictionaries(dict(required), optional=chosen).map(lambda given: cls(**given))


def tuples(
    items: st.SearchStrategy[T],
    *,
    min_size: int = 0,
    max_size: int = 2,
    unique_by: Callable[[T], Hashable] | None = None,
) -> st.SearchStrategy[tuple[T, ...]]:
    """Tuples of some items, two at the most where nothing else is said."""
    return st.lists(items, min_size=min_size, max_size=max_size, unique_by=unique_by).map(_tuple)


def _tuple(items: list[T]) -> tuple[T, ...]:
    return tuple(items)


def same(value: T) -> T:
    """For `unique_by`: the value itself."""
    return value
