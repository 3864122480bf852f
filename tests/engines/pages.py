"""The configuration in docs/engines, which the tests use as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs" / "engines"
INSTALLED = "/usr/local/bin/pyrunc"
"""Where the pages say that the runtime is."""


def block(page: str, language: str) -> str:
    """The first block of code in that language on a page."""
    whole = (PAGES / page).read_text(encoding="utf-8")
    found = re.search(rf"^```{language}\n(.*?)^```$", whole, re.MULTILINE | re.DOTALL)
    assert found, f"docs/engines/{page} has no block of {language}"
    return found[1]


def replaced(text: str, old: str, new: str) -> str:
    """A text with something else in place of what must be in it."""
    assert old in text, f"docs/engines does not say {old!r} where it should: {text}"
    return text.replace(old, new)


def configuration(page: str, language: str, runtime: str) -> str:
    """That block, with the path of a runtime in place of the page's."""
    return replaced(block(page, language), INSTALLED, runtime)
