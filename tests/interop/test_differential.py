"""What a container sees under runc and under this library: the same, but for rows of docs/conformance.md."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import HealthCheck, given, settings

from libcontainer_py.testing.strategies import specs
from tests.interop.configurations import CONFIGURATIONS
from tests.interop.configurations.parts import base, finish
from tests.interop.differential import Field, Outcome, differences
from tests.interop.generated import can_run, prepare
from tests.interop.rows import ALWAYS, ROWS, shown_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libcontainer_py import Spec

CONFORMANCE = Path(__file__).parents[2] / "docs" / "conformance.md"
EXAMPLES = int(os.environ.get("LIBCONTAINER_PY_TESTS_DIFFERENTIAL", "5"))
"""How many configurations are made by chance; 200 by hand, after a change of what a container is told."""

pytestmark = pytest.mark.filterwarnings("ignore::libcontainer_py.ConfigWarning")


@pytest.fixture
def field(tmp_path: Path, root_only: None, peer: Callable[[str], str]) -> Iterator[Field]:
    field = Field(tmp_path, peer("runc"), peer("busybox"))
    with field.prepared():
        yield field


def refused_by(error: str, side: Literal["runc_says", "we_say"]) -> set[str]:
    return {key for key, row in ROWS.items() if any(re.search(part, error) for part in getattr(row, side))}


def rows_of(theirs: Outcome, ours: Outcome) -> set[str]:
    """The rows that two outcomes show; what no row explains fails."""
    if theirs.seen is None and ours.seen is None:
        return set()
    if theirs.seen is None or ours.seen is None:
        keys = refused_by(theirs.error, "runc_says") if theirs.seen is None else refused_by(ours.error, "we_say")
        assert keys, f"refused by one alone; runc: {theirs.error}; here: {ours.error}"
        return keys
    keys, others = shown_by([*differences(theirs._asdict() | {"error": ""}, ours._asdict() | {"error": ""})])
    assert [f"{'|'.join(path)}: runc {one!r}, here {other!r}" for path, one, other in others] == []
    return keys


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration(field: Field, name: str) -> None:
    known = CONFIGURATIONS[name]
    config = base()
    known.change(config)
    theirs, ours = field.both(finish(config), known.prepare)
    found = rows_of(theirs, ours)
    assert (theirs.seen is None and ours.seen is None) == known.refused, (theirs.error, ours.error)
    assert known.rows <= found <= known.rows | ALWAYS


def test_each_row_is_shown_and_documented() -> None:
    text = CONFORMANCE.read_text(encoding="utf-8").partition("## Differences")[2]
    shown = ALWAYS.union(*(known.rows for known in CONFIGURATIONS.values()))
    assert shown == set(ROWS)
    for row in ROWS.values():
        assert len(re.findall(rf"^\|( \d+ \|)? {re.escape(row.what)}", text, re.MULTILINE)) == 1, row.what


def test_configurations_by_chance(field: Field) -> None:
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(specs())
    def the_same(spec: Spec) -> None:
        config = can_run(spec.to_dict())
        rows_of(*field.both(config, lambda rootfs: prepare(rootfs, config)))

    the_same()
