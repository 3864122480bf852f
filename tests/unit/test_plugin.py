"""The pytest plugin, as others have it: each time in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


class Project:
    """Somebody's tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, tests: str, *options: str) -> tuple[dict[str, int], str]:
        """How many tests had which outcome, and what pytest said."""
        (self.folder / "test_theirs.py").write_text(tests)
        (self.folder / "pytest.ini").write_text(
            "[pytest]\naddopts = -p no:libcontainer_py -p libcontainer_py.testing.plugin -p no:cacheprovider\n"
        )
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rA",
            "--strict-markers",
            f"--basetemp={self.folder}/temp",
            *options,
        ]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60)
        lines = done.stdout.splitlines()
        return {
            word.lower(): sum(line.startswith(word + " ") for line in lines)
            for word in ("PASSED", "FAILED", "ERROR", "SKIPPED")
        }, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def outcomes(passed: int = 0, failed: int = 0, error: int = 0, skipped: int = 0) -> dict[str, int]:
    return {"passed": passed, "failed": failed, "error": error, "skipped": skipped}


def test_nothing_is_loaded_before_a_fixture_is_used(project: Project) -> None:
    found, said = project.run(
        "import sys\n"
        "def ours():\n"
        "    return sorted(name for name in sys.modules if name.startswith('libcontainer_py'))\n"
        "def test_before():\n"
        "    assert ours() == ['libcontainer_py', 'libcontainer_py.testing', 'libcontainer_py.testing.plugin']\n"
        "    assert 'attr' not in sys.modules and 'asyncio' not in sys.modules\n"
        "def test_after(fake_factory):\n"
        "    assert 'libcontainer_py.testing.fake' in ours()\n"
        "    assert fake_factory.create('web').status == 'created'\n",
        "-p", "no:hypothesispytest", "-p", "no:faulthandler",
    )  # fmt: skip
    assert found == outcomes(passed=2), said


def test_leaks_are_found(project: Project) -> None:
    found, said = project.run(
        "def test_clean(fake_factory, no_container_leaks):\n"
        "    with fake_factory.create('web'):\n"
        "        pass\n"
        "def test_leaky(fake_factory, no_container_leaks):\n"
        "    fake_factory.create('web')\n"
        "def test_without(no_container_leaks):\n"
        "    pass\n"
    )
    assert found == outcomes(passed=3, error=1), said
    assert "the test left containers behind: <Container 'web' in '/run/fake'>" in said


def test_without_containers_it_says_why(project: Project) -> None:
    found, said = project.run(
        "import sys, pytest\n"
        "from libcontainer_py import doctor\n"
        "examine = doctor.examine\n"
        "def elsewhere():\n"
        "    platform, sys.platform = sys.platform, 'darwin'\n"
        "    try:\n"
        "        return examine()\n"
        "    finally:\n"
        "        sys.platform = platform\n"
        "doctor.examine = elsewhere\n"
        "def test_fixture(container_factory):\n"
        "    raise AssertionError\n"
        "@pytest.mark.containers\n"
        "def test_marker():\n"
        "    raise AssertionError\n"
        "def test_other(fake_factory):\n"
        "    fake_factory.create('web').start()\n"
    )
    assert (found["passed"], found["failed"]) == (1, 0), said
    assert "2 skipped" in said
    assert "darwin" in said


def test_our_own_tests_do_without_it() -> None:
    # it would load an installed package before the checkout is on the path
    assert "libcontainer_py.testing.plugin" not in sys.modules


def test_it_is_an_entry_point() -> None:
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pytest11]\nlibcontainer_py = "libcontainer_py.testing.plugin"\n' in text
    assert '"-p", "no:libcontainer_py"' in text
