"""The projects of docs/examples, unchanged, on this host."""

from __future__ import annotations

import pytest

from tests.examples import run_tests


@pytest.mark.usefixtures("root_only")
def test_the_supervisor() -> None:
    assert "8 passed" in run_tests("supervisor", "-k", "linux")
