"""The initial file system for qemu: busybox, and the modules that it takes to mount the host's root.

user-mode-linux needs none, its kernel mounts the host's root itself.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MODULES = ("virtio_pci", "9p", "9pnet_virtio", "overlay", "virtio_console")


def build(kernel: Path, busybox: Path, target: Path) -> None:
    """Make target/{vmlinuz,initrd,modules} from an unpacked Debian kernel; `modules` names its directory of modules."""
    version = next((kernel / "lib/modules").iterdir()).name
    subprocess.run(["/usr/sbin/depmod", "-b", kernel, version], check=True)
    entries: list[tuple[str, int, bytes]] = [(name, 0o40755, b"") for name in ("bin", "modules", "proc", "sys", "dev")]
    entries += [(name, 0o40755, b"") for name in ("lower", "cow", "new", "job")]
    entries += [("bin/busybox", 0o100755, busybox.read_bytes()), ("bin/sh", 0o120777, b"busybox")]
    for index, module in enumerate(_in_load_order(kernel, version)):
        entries.append((f"modules/{index:02}-{module.name}", 0o100644, module.read_bytes()))
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(next((kernel / "boot").glob("vmlinuz-*")), target / "vmlinuz")
    (target / "modules").write_text(f"{kernel}/lib/modules\n")
    (target / "initrd").write_bytes(archive(entries))  # last: it tells that all of it is there


def archive(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """A gzip'ed cpio archive in the `newc` format: name, mode, content. Several may follow each other in an initrd."""
    parts: list[bytes] = []
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]
    return gzip.compress(b"".join(parts), 1)


def _in_load_order(kernel: Path, version: str) -> list[Path]:
    found: dict[Path, None] = {}
    for module in MODULES:
        command = ["/usr/sbin/modprobe", "-S", version, "-d", str(kernel), "--show-depends", module]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        found.update(dict.fromkeys(kernel / line.split()[1] for line in lines if line.startswith("insmod ")))
    return list(found)
