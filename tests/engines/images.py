"""Images made here: an archive as `docker save` writes it, which each engine loads. No registry is asked."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

BUSYBOX = "localhost/busybox:1"
PAUSE = "localhost/pause:1"

APPLETS = """
cat chmod chown date dd df echo env false find grep head hostname id kill ln ls mkdir mknod mount ps pwd readlink rm sed
sh sleep stat stty tail test timeout touch tr true tty umount uname unshare wc
"""
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hosts": "",
    "etc/resolv.conf": "",
    # a file that is there and cannot be executed
    "bin/plain": "no program\n",
}
DIRECTORIES = {"bin": 0o755, "dev": 0o755, "etc": 0o755, "proc": 0o755, "root": 0o700, "sys": 0o755, "tmp": 0o1777}


def write_archive(path: Path, busybox: str) -> None:
    """Write both images, which share their one layer: busybox, whose command is a shell, and one that sleeps."""
    layer = _layer(Path(busybox).read_bytes())
    digest = hashlib.sha256(layer).hexdigest()
    listed = []
    with tarfile.open(path, "w") as archive:
        _add(archive, f"{digest}/layer.tar", layer)
        for name, command in ((BUSYBOX, ["sh"]), (PAUSE, ["sleep", "1000000"])):
            config = _config(digest, command)
            _add(archive, f"{hashlib.sha256(config).hexdigest()}.json", config)
            listed.append(
                {
                    "Config": f"{hashlib.sha256(config).hexdigest()}.json",
                    "RepoTags": [name],
                    "Layers": [f"{digest}/layer.tar"],
                }
            )
        _add(archive, "manifest.json", json.dumps(listed).encode())


def _config(digest: str, command: list[str]) -> bytes:
    document: Mapping[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "tests"}],
    }
    return json.dumps(document).encode()


def _layer(busybox: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as layer:
        for name, mode in DIRECTORIES.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            layer.addfile(entry)
        _add(layer, "bin/busybox", busybox, mode=0o755)
        for applet in APPLETS.split():
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, "busybox", 0o777
            layer.addfile(entry)
        for name, text in FILES.items():
            _add(layer, name, text.encode())
    return file.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
