"""A block device whose scheduler weighs, for as long as a test needs it: a loop device of its own with BFQ.

The disks of the machine stay as they are. Source: block/bfq-iosched.rst, loop(4).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20


@contextlib.contextmanager
def weighed(folder: Path) -> Iterator[tuple[int, int]]:
    """The numbers of a disk with BFQ. Without BFQ or loop devices the test skips."""
    program = shutil.which("losetup")
    if program is None or not os.path.exists("/dev/loop-control"):
        pytest.skip("needs a block device that weighs: losetup (mount), loop devices and BFQ")
    image = folder / f"disk-{os.urandom(4).hex()}"
    image.touch()
    os.truncate(image, MIB)
    command = [program, "--find", "--show", str(image)]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:
        device = Path("/sys/block", os.path.basename(path))
        before = _scheduler(device)
        if "bfq" not in (device / "queue/scheduler").read_text():
            pytest.skip("needs a block device that weighs: this kernel has no BFQ")
        (device / "queue/scheduler").write_text("bfq")
        try:
            major, minor = (device / "dev").read_text().split(":")
            yield int(major), int(minor)
        finally:
            (device / "queue/scheduler").write_text(before)
    finally:
        subprocess.run([program, "--detach", path], check=True)
        image.unlink()


def _scheduler(device: Path) -> str:
    """The one in brackets: `[none] mq-deadline kyber bfq`."""
    return (device / "queue/scheduler").read_text().partition("[")[2].partition("]")[0]


def unweighed() -> tuple[int, int] | None:
    """The numbers of a disk of this machine whose scheduler does not weigh; None where there is none."""
    for device in sorted(Path("/sys/block").iterdir()):
        scheduler = device / "queue/scheduler"
        if scheduler.exists() and _scheduler(device) != "bfq":
            major, minor = (device / "dev").read_text().split(":")
            return int(major), int(minor)
    return None
