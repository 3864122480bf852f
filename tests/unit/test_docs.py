"""What the documents promise and the code can tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libcontainer_py.spec import validate

CHECKOUT = Path(__file__).parents[2]
PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "CHANGELOG.md",
    CHECKOUT / "tests" / "README.md",
    *CHECKOUT.glob("docs/*.md"),
]


def text_of(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def spelled(row: str) -> str:
    """`linux.resources.block_io` as the specification writes it."""
    first, *rest = row.replace("cpu_affinity", "CPU_affinity").replace("block_io", "block_IO").split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


@pytest.mark.parametrize("row", validate.UNSUPPORTED)
def test_each_field_that_is_refused_is_listed(row: str) -> None:
    assert f"`{spelled(row)}`" in text_of("docs/conformance.md")


def test_no_other_field_is_listed_as_refused() -> None:
    (section,) = re.findall(r"^## Refused until.*?(?=^## )", text_of("docs/conformance.md"), re.MULTILINE | re.DOTALL)
    listed = set(re.findall(r"`((?:process|linux)\.[\w.]+)`", section))
    assert listed == {"process.terminal", *(spelled(row) for row in validate.UNSUPPORTED)}


def test_ci_runs_the_commands_of_the_readme() -> None:
    commands = re.findall(r"^\$ (.*)$", text_of("README.md"), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert command in text_of(".ci/gate.py")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
