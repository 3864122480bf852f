"""Runs the tests of a project of docs/examples in a pytest of its own, with the plugin as when it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def run_tests(name: str, *options: str, change: tuple[str, str] = ("", "")) -> str:
    """What pytest said; `change` is made in the project's module before, in a copy."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / name
        shutil.copytree(CHECKOUT / "docs" / "examples" / name, copy)
        module = copy / f"{name}.py"
        text = module.read_text(encoding="utf-8")
        assert change[0] in text
        module.write_text(text.replace(*change) if change[0] else text, encoding="utf-8")
        plugins = ("-p", "no:libcontainer_py", "-p", "libcontainer_py.testing.plugin", "-p", "no:cacheprovider")
        command = [sys.executable, "-m", "pytest", "-q", f"--basetemp={folder}/temp", *plugins, *options]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=100)
        return done.stdout + done.stderr
