"""What the benchmarks share: a bundle, a container's life here, and interleaved medians."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from libcontainer_py import DEVNULL, Factory
from libcontainer_py.backends import forkservers


@contextmanager
def place() -> Iterator[Path]:
    """A directory for state directories and bundles: on /dev/shm, as /run is a tmpfs on most systems."""
    folder = Path(tempfile.mkdtemp(prefix="lcpy-bench-", dir="/dev/shm"))
    try:
        yield folder
    finally:
        forkservers.shutdown()
        shutil.rmtree(folder)


def bundle(folder: Path, *args: str) -> Path:
    """What `runc spec` writes, with a program of busybox and without a terminal."""
    made = folder / f"bundle-{args[0]}"
    (made / "rootfs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", made / "rootfs/bin/busybox")
    for name in ("true", "sleep"):
        (made / "rootfs/bin" / name).symlink_to("busybox")
    subprocess.run(["runc", "spec"], cwd=made, check=True)
    path = made / "config.json"
    config = json.loads(path.read_text())
    config["process"] |= {"terminal": False, "args": [f"/bin/{args[0]}", *args[1:]]}
    path.write_text(json.dumps(config))
    return made


def life(factory: Factory, made: Path) -> None:
    """Create, start, wait, delete."""
    with factory.create("bench", made, stdin=DEVNULL, stdout=DEVNULL) as container:
        container.start()
        assert container.wait(10).returncode == 0
        container.delete()


def call(*arguments: str) -> None:
    """Run a program to its good end."""
    subprocess.run(arguments, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def measure(subjects: dict[str, Callable[[], None]], rounds: int, *, idle: float = 0) -> dict[str, float]:
    """The median seconds of each, measured in turn, each after `idle` seconds in which nothing was done."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for subject in subjects.values():
        subject()  # warm
    for _ in range(rounds):
        for name, subject in subjects.items():
            time.sleep(idle)
            begin = time.perf_counter()
            subject()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(series) for name, series in times.items()}


def without_unified(script: str, *arguments: str) -> str:
    """The output of a Python script in a mount namespace without /sys/fs/cgroup/unified, which crun refuses."""
    prepare = 'mount --make-rprivate / && { umount /sys/fs/cgroup/unified 2>/dev/null; true; } && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", prepare, "sh", sys.executable, script, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def show(rounds: int, *rows: dict[str, float]) -> None:
    """Print medians, in milliseconds."""
    print(f"medians of {rounds} interleaved rounds, milliseconds")
    for row in rows:
        for name, seconds in row.items():
            print(f"  {name:28} {seconds * 1000:8.2f}")


def ratio(name: str, value: float, aim: str) -> None:
    """Print a ratio beside its aim."""
    print(f"{name:32} {value:.3f}  (aim: {aim})")
