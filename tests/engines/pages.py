"""The configuration in docs/engines, which the tests use as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs" / "engines"
INSTALLED = "/usr/local/bin/pyrunc"
"""Where the pages say that the runtime is."""


def configuration(page: str, language: str, runtime: str) -> str:
    """The first block of code in that language on a page, with the path of a runtime in place of the page's."""
    found = re.search(
        rf"^```{language}\n(.*?)^```$", (PAGES / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/engines/{page} has no block of {language}"
    text = found[1]
    assert INSTALLED in text, f"the first block of {language} in docs/engines/{page} does not name {INSTALLED}"
    return text.replace(INSTALLED, runtime)
