"""Fuzz the decoding and the validation of a config.json with atheris: nothing but ConfigError may leave. By hand.

    pip install atheris attrs typing-extensions
    python tests/tools/fuzz_spec.py CORPUS -max_total_time=1200

CORPUS is a directory, which libFuzzer fills; configurations of tests/data are a good beginning. What is found becomes a
test in tests/unit/spec or tests/property.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found]  # by hand: it is no dependency, not even of the tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["libcontainer_py"]):
    from libcontainer_py.errors import ConfigError
    from libcontainer_py.spec import Spec
    from libcontainer_py.spec.validate import check


def one(data: bytes) -> None:
    """Decode, validate, encode, and decode what was encoded."""
    try:
        spec = Spec.from_json(data)
        again = Spec.from_json(spec.to_json())
        assert again == spec
        check(spec)
    except ConfigError as error:
        if not error.problems or not str(error):
            raise AssertionError("it says nothing") from error


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Mostly keep it JSON: swap a value, a key, or splice two documents; else let libFuzzer do what it does."""
    import random

    draw = random.Random(seed)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return bytes(atheris.Mutate(data, most))
    if draw.random() < 0.3:
        return bytes(atheris.Mutate(data, most))
    odd = [None, True, 0, -1, 2**64, 1.5, "", "a", "\udc80", "/", "..", [], {}, [[]], {"": None}, "x" * 300]
    places: list[tuple[object, object]] = []
    pending = [document]
    while pending:
        value = pending.pop()
        rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, below in list(rows):
            places.append((value, key))
            pending.append(below)
    for _ in range(draw.randint(1, 4)):
        if places:
            holder, key = draw.choice(places)
            other, name = draw.choice(places)
            holder[key] = draw.choice([draw.choice(odd), other[name] if other is not holder else draw.choice(odd)])  # type: ignore[index]  # both are containers
    try:
        made = json.dumps(document).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return data
    return made[:most]


if __name__ == "__main__":
    atheris.Setup(sys.argv, one, custom_mutator=mutate)
    atheris.Fuzz()
