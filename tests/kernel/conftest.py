from __future__ import annotations

import sys

import pytest

from tests.kernel.workshop import Workshop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

if not sys.platform.startswith("linux"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def workshop(tmp_path: Path, root_only: None, peer: Callable[[str], str]) -> Iterator[Workshop]:
    """For containers of root."""
    shop = Workshop(tmp_path, peer("busybox"))
    yield shop
    shop.clean()
