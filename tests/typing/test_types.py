"""What a user's type checker says about programs that use the library, and about the library's own completeness."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parent / "samples"
CHECKOUT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def mypy(*arguments: str, folder: Path) -> str:
    """The output of mypy --strict: "" where it found nothing. It runs elsewhere, so that our settings do not count."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is missing: pip install mypy")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        f"--cache-dir={folder}/cache",
        "--no-error-summary",
        *arguments,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    assert bool(done.stdout) == (done.returncode == 1), done.stdout + done.stderr
    return done.stdout


def pyright(*arguments: str, folder: Path) -> str:
    """The standard output of pyright in strict mode."""
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is missing: pip install 'pyright[nodejs]'")
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}', encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.stdout.lstrip().startswith("{"), done.stdout + done.stderr
    return done.stdout


def copied(name: str, folder: Path) -> Path:
    return Path(shutil.copy(SAMPLES / name, folder))


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("*.py")))
def test_mypy_accepts(name: str, tmp_path: Path) -> None:
    assert mypy(str(copied(name, tmp_path)), folder=tmp_path) == ""


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("*.py")))
def test_pyright_accepts(name: str, tmp_path: Path) -> None:
    report = json.loads(pyright(str(copied(name, tmp_path)), folder=tmp_path))
    assert report["generalDiagnostics"] == []
    assert report["summary"]["filesAnalyzed"] == 1


WRONG = """
import libcontainer_py
from libcontainer_py import Factory
Factory("/run/x").create("c1")
Factory("/run/x").load("c1").delete(True)
libcontainer_py.Contaner
"""


def test_mistakes_are_found(tmp_path: Path) -> None:
    """A missing argument, a flag by position and a misspelled name: so the checks above do look at the library."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG, encoding="utf-8")
    lines = [line.split(":")[1] for line in mypy(str(wrong), folder=tmp_path).splitlines() if ": error:" in line]
    assert lines == ["4", "5", "6"]


def test_every_public_name_has_a_known_type(tmp_path: Path) -> None:
    report = json.loads(pyright("--verifytypes", "libcontainer_py", "--ignoreexternal", folder=tmp_path))
    complete = report["typeCompleteness"]
    unknown = [
        f"{symbol['name']}: {diagnostic['message']}"
        for symbol in complete["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"]
        for diagnostic in symbol["diagnostics"]
    ]
    assert unknown == []
    assert complete["completenessScore"] == 1
    assert complete["exportedSymbolCounts"]["withKnownType"] > 300  # it did look at the package
