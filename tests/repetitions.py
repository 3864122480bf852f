"""How often something is tried that must hold each time: a few times in the gate, many times by hand.

`LIBCONTAINER_PY_TESTS_TIMES=25 pytest tests/kernel/test_run.py` does it 25 times as often.
"""

from __future__ import annotations

import os

_FACTOR = int(os.environ.get("LIBCONTAINER_PY_TESTS_TIMES", "1"))


def times(gate: int) -> int:
    """So often, where it is `gate` times in the gate."""
    return gate * _FACTOR


def patience(seconds: float) -> float:
    """How long to wait for all of them."""
    return seconds * _FACTOR
