"""The command line as a subprocess: by the script that it writes itself for engines, in a root of its own."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import config, make_bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

if not sys.platform.startswith("linux"):
    collect_ignore_glob = ["test_*.py"]

PATIENCE = 60.0
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pyrunc script` prints, executable."""
    command = [sys.executable, "-m", "libcontainer_py", "script"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    path = tmp_path_factory.mktemp("bin") / "pyrunc"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


class Desk:
    """A root, a bundle, and the command line. Its containers have ids that nobody else has."""

    def __init__(self, folder: Path, script: Path, busybox: str) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.command = [str(script), "--root", str(self.root)]
        self._busybox = busybox
        self._made: list[str] = []
        self.bundle = self.make_bundle("/bin/sleep", "1000")

    def make_bundle(self, *args: str, terminal: bool = False) -> Path:
        """Another bundle, whose program is `args`."""
        self._made.append(f"t-{os.urandom(8).hex()}")
        document = config(*args, cgroups_path=f"/{self._made[-1]}")
        document["process"]["terminal"] = terminal
        return make_bundle(self.folder / f"bundle-{self._made[-1]}", self._busybox, document)

    def change(self, change: Callable[[dict[str, Any]], None], bundle: Path | None = None) -> None:
        """Change the configuration of a bundle."""
        file = (bundle or self.bundle) / "config.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        change(document)
        file.write_text(json.dumps(document), encoding="utf-8")

    def new_id(self) -> str:
        """An id that is to be cleaned up."""
        self._made.append(f"t-{os.urandom(8).hex()}")
        return self._made[-1]

    def __call__(self, *words: str, code: int = 0, **options: Any) -> Done:
        """Carry out a command, which ends with `code`."""
        settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": PATIENCE}
        if "input" not in options:
            settings["stdin"] = subprocess.DEVNULL
        done: Done = subprocess.run([*self.command, *words], **(settings | options))
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done

    def create(self, *words: str, bundle: Path | None = None) -> str:
        """A new container: its id. Its streams are not ours: who reads ours would wait for it."""
        container_id = self.new_id()
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "capture_output": False}
        self("create", "--bundle", str(bundle or self.bundle), *words, container_id, **streams)
        return container_id

    def running(self, *words: str, bundle: Path | None = None) -> str:
        """As `create`, and start it."""
        container_id = self.create(*words, bundle=bundle)
        self("start", container_id)
        return container_id

    def state(self, container_id: str) -> dict[str, Any]:
        """What `state` prints."""
        found: dict[str, Any] = json.loads(self("state", container_id).stdout)
        return found

    def pidfd(self, container_id: str) -> int:
        """A descriptor of its init."""
        return os.pidfd_open(self.state(container_id)["pid"])

    def outlive(self, pidfd: int) -> None:
        """Wait until it ended, and close it."""
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert poll.poll(PATIENCE * 1000)
        os.close(pidfd)

    def end(self, container_id: str) -> None:
        """Kill it, and wait for its end."""
        pidfd = self.pidfd(container_id)
        self("kill", container_id, "KILL")
        self.outlive(pidfd)

    def clean(self) -> None:
        """Remove what is left."""
        if self.root.is_dir():
            for container_id in self("list", "--quiet").stdout.split():
                self("delete", "--force", container_id)


@pytest.fixture
def desk(tmp_path: Path, script: Path, root_only: None, peer: Callable[[str], str]) -> Iterator[Desk]:
    """For containers of root."""
    place = Desk(tmp_path, script, peer("busybox"))
    yield place
    place.clean()
