"""What was once found out of a large node that many containers share, as a seccomp profile: kept by its identity.

Nodes are frozen, so that what holds of one holds for ever; but to compare them takes as long as to find out again.
"""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    A = TypeVar("A")
    R = TypeVar("R")

_MOST = 8


class _Same:
    """Equal to itself alone, hashed by identity."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.it is self.it

    def __hash__(self) -> int:
        return id(self.it)


def remembered(function: Callable[[A], R]) -> Callable[[A], R]:
    """The same function of a node, whose last results are kept: who gets one may not change it."""

    @functools.lru_cache(maxsize=_MOST)
    def of_same(same: _Same) -> R:
        return function(same.it)

    @functools.wraps(function)
    def of(node: A) -> R:
        return of_same(_Same(node))

    return of
