"""README and docs show the diagram that the table of lifecycle.py gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libcontainer_py import lifecycle

CHECKOUT = Path(__file__).parents[2]
BETWEEN = re.compile(r"<!-- lifecycle diagram begins -->\n(.*?)<!-- lifecycle diagram ends -->\n", re.DOTALL)


@pytest.mark.parametrize("name", ["README.md", "docs/lifecycle.md"])
def test_the_diagram_is_the_table(name: str) -> None:
    (shown,) = BETWEEN.findall((CHECKOUT / name).read_text(encoding="utf-8"))
    assert shown == f"```mermaid\n{lifecycle.to_mermaid()}```\n"


def test_the_table_in_the_docstring_is_the_table() -> None:
    assert lifecycle.__doc__ is not None
    lines = lifecycle.__doc__.splitlines()
    (head,) = (number for number, line in enumerate(lines) if line.split()[:1] == ["status"])
    operations = lines[head].split()[1:]
    assert operations == [str(operation) for operation in lifecycle.Operation]
    for status, line in zip(lifecycle.Status, lines[head + 1 : head + 6], strict=True):
        word, *marks = line.split()[: 1 + len(operations)]
        assert word == str(status)
        legal = {operation for operation, mark in zip(lifecycle.Operation, marks, strict=True) if mark == "x"}
        assert legal == lifecycle.LEGAL[status]
