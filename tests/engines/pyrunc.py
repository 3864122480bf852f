"""The script that engines call: pyrunc of this checkout, in an interpreter that looks nowhere else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import attr
import attrs
import typing_extensions

import libcontainer_py

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

IMPORTED = [
    Path(libcontainer_py.__file__).parents[1],
    Path(attrs.__file__).parents[1],
    Path(typing_extensions.__file__).parent,
]
"""Where what pyrunc imports is."""

SCRIPT = """\
#!{python} -IS
import sys
sys.path[:0] = {folders}
from libcontainer_py.cli import main
sys.exit(main())
"""


def write_pyrunc(path: Path, python: str, folders: Iterable[Path]) -> Path:
    """A script that runs pyrunc in an interpreter that looks in these folders alone: engines give it no PATH."""
    path.write_text(SCRIPT.format(python=python, folders=[str(folder) for folder in folders]))
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
