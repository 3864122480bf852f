"""What is shipped: the version in one place, the wheel and the sdist, and the package after it was installed."""

from __future__ import annotations

import email.parser
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import libcontainer_py

CHECKOUT = Path(__file__).parents[2]
PYPROJECT = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_version_is_one() -> None:
    # tomllib is there since Python 3.11
    (version,) = re.findall(r'^version = "([^"]+)"  #', PYPROJECT, re.MULTILINE)
    (of_changelog,) = re.findall(r'^version = "([^"]+)"$', PYPROJECT, re.MULTILINE)
    assert libcontainer_py.__version__ == version == of_changelog


def test_the_lowest_versions_are_lower_bounds_alone() -> None:
    (dependencies,) = re.findall(r"^dependencies = \[(.*)\]$", PYPROJECT, re.MULTILINE)
    assert re.fullmatch(r'"attrs>=[\d.]+", "typing-extensions>=[\d.]+"', dependencies)


class Built(NamedTuple):
    wheel: Path
    sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is missing: pip install hatchling")
    folder = tmp_path_factory.mktemp("dist")
    build(CHECKOUT, folder, "-t", "sdist", "-t", "wheel")
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return Built(wheel, sdist)


def build(source: Path, folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *arguments]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def files_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_the_wheel_is_the_package(built: Built) -> None:
    shipped = {name for name in files_in(built.wheel) if ".dist-info/" not in name}
    there = {
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / "libcontainer_py").rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyo"}
    }
    assert shipped == there
    assert "libcontainer_py/py.typed" in shipped


def test_the_wheel_says_what_it_is(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.parser.Parser().parsestr(archive.read(name).decode())
        (license_text,) = (n for n in archive.namelist() if n.endswith("licenses/LICENSE"))
        assert archive.read(license_text) == (CHECKOUT / "LICENSE").read_bytes()
    assert metadata["Name"] == "libcontainer-py"
    assert metadata["Version"] == libcontainer_py.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    needed = [line.partition(";") for line in metadata.get_all("Requires-Dist", [])]
    assert sorted(name.split(">")[0] for name, _, extra in needed if not extra) == ["attrs", "typing-extensions"]
    assert set(metadata.get_all("Provides-Extra", [])) == {"systemd", "test"}


def test_the_sdist_has_all_that_a_distributor_needs(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "tests/conftest.py", "tests/README.md"} <= names
    assert {"docs/conf.py", "docs/index.md", ".ci/run", "tests/unit/public-names.txt"} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc") or "/_build/" in name]


def test_the_sdist_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (source,) = tmp_path.iterdir()
    folder = tmp_path / "wheel"
    build(source, folder, "-t", "wheel")
    (wheel,) = folder.glob("*.whl")
    assert files_in(wheel) == files_in(built.wheel)


def test_the_wheel_installs_and_imports(built: Built, tmp_path: Path) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("ensurepip is missing: apt-get install python3-venv")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=300)
    python = str(venv / "bin" / "python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # without its dependencies, so that no package index is needed; the names used here do without them
    install = [python, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", str(built.wheel)]
    done = subprocess.run(install, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    code = (
        "import libcontainer_py, os\n"
        "from libcontainer_py import ContainerError, Factory, Status\n"
        "print(libcontainer_py.__version__, Status.CREATED, os.path.dirname(libcontainer_py.__file__))\n"
    )
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    version, status, folder = done.stdout.split()
    assert (version, status) == (libcontainer_py.__version__, "created")
    assert Path(folder).is_relative_to(venv)
    assert (Path(folder) / "py.typed").is_file()
