"""A bundle as `runc spec` makes it, with busybox as its root file system."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CONFIG = Path(__file__).parent / "data" / "config-runc-1.1.5.json"
APPLETS = ("sh", "sleep", "true", "echo", "cat", "ps", "readlink")


def config(*args: str, cgroups_path: str | None = None) -> dict[str, Any]:
    """The configuration of `runc spec`, but without a terminal and with `args` as its program."""
    document: dict[str, Any] = json.loads(CONFIG.read_text(encoding="utf-8"))
    document["process"]["terminal"] = False
    document["process"]["args"] = list(args)
    if cgroups_path is not None:
        document["linux"]["cgroupsPath"] = cgroups_path
    return document


def make_bundle(path: Path, busybox: str, document: dict[str, Any]) -> Path:
    """Make a bundle at `path`; it is returned."""
    programs = path / "rootfs" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(busybox, programs / "busybox")
    for name in APPLETS:
        (programs / name).symlink_to("busybox")
    for name in ("proc", "dev", "sys"):
        (path / "rootfs" / name).mkdir()
    rewrite(path, lambda _: document)
    return path


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Change a bundle's configuration: `change` gets it, and alters it or returns another."""
    file = bundle / "config.json"
    document = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(change(document) or document), encoding="utf-8")
