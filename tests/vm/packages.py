"""Debian packages that the machine is made of: downloaded and unpacked, never installed.

They are unpacked because user-mode-linux is only needed here, and busybox-static cannot be installed beside busybox.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple


class PackageError(Exception):
    """A package cannot be had; the text says what to do."""


class Cache(NamedTuple):
    """The directory that packages are unpacked in, one directory a package, kept between runs."""

    folder: Path

    @classmethod
    def default(cls) -> Cache:
        """$XDG_CACHE_HOME/libcontainer_py-vm, for root /var/cache/..., else below ~/.cache."""
        home = os.environ.get("XDG_CACHE_HOME") or (
            "/var/cache" if os.geteuid() == 0 else os.path.expanduser("~/.cache")
        )
        return cls(Path(home) / "libcontainer_py-vm")

    def package(self, name: str) -> Path:
        """Where a package is unpacked, whether it is or not."""
        return self.folder / name

    def install(self, name: str) -> Path:
        """Download and unpack a package, unless it is there already. Raises PackageError."""
        target = self.package(name)
        if target.is_dir():
            return target
        for program in ("apt-get", "dpkg"):
            if shutil.which(program) is None:
                raise PackageError(f"package {name} comes from Debian, and {program} is not here")
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            archive = _download(name, Path(scratch))
            unpacked = Path(scratch) / "unpacked"
            _run("dpkg", "-x", str(archive), str(unpacked))
            try:
                unpacked.rename(target)  # it appears as a whole, also where two runs install it
            except OSError:
                if not target.is_dir():
                    raise
        return target


def resolve(name: str) -> str:
    """The package that a meta-package like linux-image-amd64 stands for now. Raises PackageError."""
    lines = _run("apt-cache", "depends", name).splitlines()
    depends = [line.partition(":")[2].strip() for line in lines if line.strip().startswith("Depends:")]
    if not depends:
        raise PackageError(f"apt-cache does not know package {name}: run apt-get update")
    return depends[0]


def _download(name: str, directory: Path) -> Path:
    command = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name)
    try:
        _run(*command, cwd=directory)
    except PackageError:
        _run("apt-get", "-qq", "update")
        _run(*command, cwd=directory)
    return next(directory.glob("*.deb"))


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise PackageError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
