"""Where the tests of this directory make their bundles and containers, and what they look with."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import Factory
from tests.repetitions import patience

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py import Backend, Container

NOBODY = 65534
"""An ordinary user's id, and group's."""
PATIENCE = patience(60.0)
"""Seconds after which a test that waits for something gives up."""
RUNC_1_1_5 = json.loads((Path(__file__).parents[1] / "data" / "config-runc-1.1.5.json").read_text(encoding="utf-8"))

Config = dict[str, Any]


def runc_spec(version: str = "1.0.2-dev") -> Config:
    """What `runc spec` writes, without the terminal; runc 1.3 and later write no ambient capabilities."""
    config: Config = copy.deepcopy(RUNC_1_1_5)
    config["ociVersion"] = version
    config["process"]["terminal"] = False
    if version.startswith("1.3"):
        del config["process"]["capabilities"]["ambient"]
    return config


class Workshop:
    """A root and bundles under one directory. Its containers have ids that nobody else has."""

    def __init__(self, folder: Path, busybox: str, backend: Callable[[str], Backend] | None = None) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.factory = Factory(self.root) if backend is None else Factory(backend=backend(str(self.root)))
        self._busybox = busybox
        self._made: list[str] = []

    def new_id(self) -> str:
        """An id that is to be cleaned up."""
        container_id = f"t-{os.urandom(8).hex()}"
        self._made.append(container_id)
        return container_id

    def rootfs(self, path: Path) -> Path:
        """A root file system of busybox."""
        for name in ("bin", "etc", "tmp", "proc", "dev", "sys"):
            (path / name).mkdir(parents=True, exist_ok=True)
        (path / "tmp").chmod(0o1777)
        shutil.copy(self._busybox, path / "bin" / "busybox")
        (path / "bin" / "sh").symlink_to("busybox")
        return path

    def bundle(self, config: Config | str | bytes) -> Path:
        """A new bundle of this configuration, with a root file system of busybox."""
        bundle = self.folder / f"bundle-{os.urandom(4).hex()}"
        self.rootfs(bundle / "rootfs")
        if isinstance(config, dict):
            config = json.dumps(config)
        (bundle / "config.json").write_bytes(config.encode() if isinstance(config, str) else config)
        return bundle

    def create(self, config: Config | Path, **streams: Any) -> Container:
        """A created container, from a configuration or from a bundle."""
        bundle = config if isinstance(config, Path) else self.bundle(config)
        return self.factory.create(self.new_id(), bundle, **streams)

    def output(self, config: Config | Path, *, returncode: int | None = 0) -> str:
        """Run a container to its end: what it wrote, to either stream."""
        path = self.folder / f"output-{os.urandom(4).hex()}"
        with path.open("wb") as file, self.create(config, stdout=file, stderr=file) as container:
            container.start()
            ended = container.wait(PATIENCE)
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        if returncode is not None:
            assert ended.returncode == returncode, text
        return text

    def sh(self, config: Config, script: str, *, returncode: int | None = 0) -> str:
        """Run a script of busybox's shell, whose words are all busybox's own, and give back its output."""
        config["process"]["args"] = ["/bin/sh", "-c", script]
        return self.output(config, returncode=returncode)

    def python(self, config: Config, code: str, *arguments: str) -> str:
        """Run Python code in it, with the host's interpreter bound into the root file system, read-only."""
        config["process"]["args"] = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", code, *arguments]
        config["mounts"] += python_mounts()
        return self.output(config)

    def clean(self) -> None:
        """Remove what a failed test left."""
        for container_id in self._made:
            self.factory.delete(container_id, force=True)

    def entries(self) -> list[str]:
        """What is in the root, but for the lock; [] where there is no root."""
        return [name for name in os.listdir(self.root) if name != ",lock"] if self.root.exists() else []


def python_mounts(base_prefix: str = sys.base_prefix) -> list[Config]:
    """Bind mounts that let a container execute the host's interpreter, or another that has this prefix."""
    prefix = os.path.realpath(base_prefix)
    places = ["/usr", *(path for path in ("/lib", "/lib64") if os.path.isdir(path))]
    if not prefix.startswith("/usr"):
        places.append(prefix)
    return [{"destination": path, "source": path, "options": ["rbind", "ro"]} for path in places]


def namespaces(config: Config, *kinds: str) -> Config:
    """Give it exactly these kinds of new namespaces."""
    config["linux"]["namespaces"] = [{"type": kind} for kind in kinds]
    return config


def cgroups_of(container_id: str) -> list[str]:
    """Directories below /sys/fs/cgroup that have this name."""
    return [
        os.path.join(path, name)
        for path, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if name == container_id
    ]


def python_for_everybody() -> str:
    """This interpreter where everybody may execute it, else the system's."""
    for path in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        check = [path, "-I", "-c", "import ctypes, sys; sys.exit(sys.version_info < (3, 10))"]
        try:
            if subprocess.run(check, user=NOBODY, group=NOBODY, cwd="/", capture_output=True).returncode == 0:
                return path
        except OSError:
            continue
    pytest.skip("needs a Python that an ordinary user may execute: apt-get install python3")
