"""runc and this library on one root, with bundles that both understand."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from libcontainer_py import ContainerError, Factory
from libcontainer_py.streams import DEVNULL
from tests.bundles import config, make_bundle
from tests.crashes import PATIENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from libcontainer_py import Container

if not sys.platform.startswith("linux"):
    collect_ignore_glob = ["test_*.py"]

Done = subprocess.CompletedProcess[str]


class Yard:
    """A root that runc and this library share, and one bundle. Ids are such as nobody else has."""

    def __init__(self, folder: Path, runc: str, busybox: str) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.factory = Factory(self.root)
        self.command = [runc, "--root", str(self.root)]
        self._busybox = busybox
        self.bundle = self.make_bundle(config("/bin/sleep", "1000"))

    def make_bundle(self, document: dict[str, Any]) -> Path:
        """Another bundle."""
        return make_bundle(self.folder / f"bundle-{uuid.uuid4().hex[:6]}", self._busybox, document)

    def hook(self, line: str) -> tuple[dict[str, Any], Path]:
        """A hook that appends a line to a file, and the file."""
        file = self.folder / f"hooks-{line}"
        file.touch()
        return {"path": self._busybox, "args": ["sh", "-c", f"cat >/dev/null; echo {line} >>{file}"]}, file

    @contextlib.contextmanager
    def telling(self, script: str) -> Iterator[tuple[dict[str, Any], int]]:
        """The configuration of a shell script that can write to /dev/out/told, and where one reads that."""
        out = self.folder / f"out-{uuid.uuid4().hex[:6]}"
        out.mkdir()
        os.mkfifo(out / "told")
        document = config("/bin/sh", "-c", script)
        document["mounts"].append({"destination": "/dev/out", "type": "bind", "source": str(out), "options": ["bind"]})
        listener = os.open(out / "told", os.O_RDWR)
        try:
            yield document, listener
        finally:
            os.close(listener)

    @staticmethod
    def new_id() -> str:
        return f"interop-{uuid.uuid4().hex[:12]}"

    # -- runc ---------------------------------------------------------------------------------------------------------

    def runc(self, *words: str, check: bool = True) -> Done:
        """Run a command of runc's to its end, which comes in time or is a failure."""
        done = subprocess.run(
            [*self.command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
        )
        assert not check or done.returncode == 0, (words, done.stderr)
        return done

    def runc_create(self, bundle: Path | None = None) -> str:
        """`runc create`; the container inherits our standard streams, which must be no pipes of ours therefore."""
        container_id = self.new_id()
        log = self.folder / "runc.log"
        done = subprocess.run(
            [*self.command, "--log", str(log), "create", "--bundle", str(bundle or self.bundle), container_id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, log.read_text()
        return container_id

    def runc_state(self, container_id: str) -> dict[str, Any]:
        """`runc state`."""
        state: dict[str, Any] = json.loads(self.runc("state", container_id).stdout)
        return state

    def runc_status(self, container_id: str) -> str:
        """The status that runc sees; "" where it knows no such container."""
        done = self.runc("state", container_id, check=False)
        if done.returncode:
            assert "does not exist" in done.stderr, done.stderr
            return ""
        status: str = json.loads(done.stdout)["status"]
        return status

    # -- ours ---------------------------------------------------------------------------------------------------------

    def create(self, bundle: Path | None = None, *, stdout: int | None = DEVNULL) -> Container:
        """A created container of ours."""
        return self.factory.create(self.new_id(), bundle or self.bundle, stdin=DEVNULL, stdout=stdout, stderr=DEVNULL)

    # -- both ---------------------------------------------------------------------------------------------------------

    def left(self, container_id: str) -> list[str]:
        """What there is of a container: its directory, and cgroups that have its name."""
        cgroups = [
            os.path.join(path, name)
            for path, names, _ in os.walk("/sys/fs/cgroup")
            for name in names
            if name == container_id
        ]
        directory = self.root / container_id
        return [*cgroups, *([str(directory)] if directory.exists() else [])]

    def clean(self) -> None:
        """Remove what a test left: by our delete, which reaps our children, or else by runc's."""
        for path in self.root.iterdir() if self.root.exists() else ():
            if path.name.startswith(","):
                continue
            try:
                self.factory.delete(path.name, force=True)
            except ContainerError:
                self.runc("delete", "--force", path.name, check=False)
                raise


@pytest.fixture
def yard(tmp_path: Path, root_only: None, peer: Callable[[str], str]) -> Iterator[Yard]:
    """With runc and busybox, as root."""
    yard = Yard(tmp_path, peer("runc"), peer("busybox"))
    yield yard
    yard.clean()
