"""The README's examples, as a newcomer would run them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
CONSOLE = re.findall(r"^\$ .*? && python (-m .*)\n((?:[^$`\n].*\n)+)", README, re.MULTILINE)

CONFIG = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs", "readonly": True},
    "process": {"args": ["/bin/busybox", "true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "noNewPrivileges": True},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")]},
}


@pytest.fixture
def folder(tmp_path: Path, peer: Callable[[str], str]) -> Path:
    """Where the examples run: with the bundle that they speak of."""
    program = tmp_path / "bundle" / "rootfs" / "bin" / "busybox"
    program.parent.mkdir(parents=True)
    (tmp_path / "bundle" / "rootfs" / "proc").mkdir()
    shutil.copy(peer("busybox"), program)
    (tmp_path / "bundle" / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return tmp_path


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_example(number: int, folder: Path, root_only: None) -> None:
    done = python("-W", "error", "-c", PYTHON[number], folder=folder)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_first_command(tmp_path: Path) -> None:
    ((command, output),) = CONSOLE
    done = python(*command.split(), folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, output, "")


def test_there_are_examples() -> None:
    assert len(PYTHON) == 4
