"""The projects of docs/examples, on the fake: their tests are run as their readers run them."""

from __future__ import annotations

from tests.examples import run_tests


def test_the_supervisor() -> None:
    assert "8 passed" in run_tests("supervisor", "-k", "fake")


def test_a_supervisor_that_forgets_its_pauses_is_found() -> None:
    said = run_tests("supervisor", "-k", "fake", change=("pause = min(2 * pause", "pause = min(pause"))
    assert "1 failed" in said
