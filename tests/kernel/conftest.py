from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.disks import weighed
from tests.kernel.users import USERS, User
from tests.kernel.workshop import NOBODY, PATIENCE, Workshop, python_for_everybody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

if not sys.platform.startswith("linux"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def workshop(tmp_path: Path, root_only: None, peer: Callable[[str], str]) -> Iterator[Workshop]:
    """For containers of root."""
    shop = Workshop(tmp_path, peer("busybox"))
    yield shop
    shop.clean()


@pytest.fixture
def weighed_disk(tmp_path: Path, root_only: None) -> Iterator[tuple[int, int]]:
    """The numbers of a block device whose scheduler weighs."""
    with weighed(tmp_path) as numbers:
        yield numbers


@pytest.fixture(scope="session")
def package_for_everybody() -> Iterator[Path]:
    """A copy of the package, with what it depends on, where an ordinary user may read it."""
    import attr
    import attrs

    import libcontainer_py

    folder = Path(tempfile.mkdtemp(prefix="lcpy-package-", dir="/tmp"))
    for module in (attr, attrs, libcontainer_py):
        source = Path(module.__file__ or "").parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(sys.modules["typing_extensions"].__file__ or "", folder) if "typing_extensions" in sys.modules else None
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def as_nobody(root_only: None, package_for_everybody: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python with these arguments as an ordinary user who has no more than that."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": str(package_for_everybody)}
        environment["LIBCONTAINER_PY_TESTS"] = os.environ.get("LIBCONTAINER_PY_TESTS", "")
        settings: dict[str, object] = {"capture_output": True, "text": True, "timeout": PATIENCE, "cwd": "/"}
        return subprocess.run(  # type: ignore[call-overload, no-any-return]  # options as the test needs them
            [python_for_everybody(), *arguments],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            env=environment,
            **(settings | options),
        )

    return run


@pytest.fixture(params=USERS, ids=["root", "nobody"])
def user(request: pytest.FixtureRequest, root_only: None, package_for_everybody: Path) -> Iterator[User]:
    """Who asks for sandboxes: root, and somebody who has no more than his one id."""
    someone = User(request.param, package_for_everybody)
    before = set(someone.containers())
    yield someone
    someone.end()
    assert someone.left(before) == []
