from __future__ import annotations

import pytest

from tests.unit.state.children import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[Child], object]], Child]]:
    """Makes children that end with the test."""
    children: list[Child] = []

    def make(work: Callable[[Child], object]) -> Child:
        child = Child(work)
        children.append(child)
        return child

    yield make
    for child in children:
        child.end()
