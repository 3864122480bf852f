"""What the documents promise and the code can tell."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from libcontainer_py.spec import validate

CHECKOUT = Path(__file__).parents[2]
PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "CHANGELOG.md",
    CHECKOUT / "tests" / "README.md",
    *CHECKOUT.glob("docs/**/*.md"),
]


def text_of(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def test_what_is_refused_is_listed() -> None:
    (section,) = re.findall(r"^## Refused\n.*?(?=^## )", text_of("docs/conformance.md"), re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`((?:process|linux)\.[\w.]+)`", section)) == set()
    (others,) = re.findall(r"^\| others \| (.*) \|$", section, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", others)) == {*validate.FOREIGN}


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


@pytest.mark.parametrize("page", ["docs/testing.md"])
def test_examples_are_true(page: str) -> None:
    failed, tried = doctest.testfile(str(CHECKOUT / page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert (failed, tried > 50) == (0, True)
