"""The script that engines call, as docs/engines/index.md has it, but with this checkout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import attr
import attrs
import typing_extensions

import libcontainer_py
from tests.engines.pages import block, replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDERS = '["/opt/pyrunc/lib/python3.11/site-packages"]'
"""Where docs/engines has the package."""
IMPORTED = [
    Path(libcontainer_py.__file__).parents[1],
    Path(attrs.__file__).parents[1],
    Path(typing_extensions.__file__).parent,
]
"""Where what pyrunc imports is."""


def write_pyrunc(path: Path, python: str, folders: Iterable[Path]) -> Path:
    """A script that runs pyrunc in an interpreter that looks in these folders alone: engines give it no PATH."""
    script = replaced(block("index.md", "python"), "/usr/bin/python3", python)
    path.write_text(replaced(script, FOLDERS, repr([str(folder) for folder in folders])))
    path.chmod(0o755)
    return path


def copy_package(folder: Path, user: int) -> None:
    """What pyrunc imports, where a user may read it and keep its bytecode."""
    for module in (attr, attrs, libcontainer_py):
        source = Path(module.__file__).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(typing_extensions.__file__, folder)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user)
