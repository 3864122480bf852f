"""How long a container's life takes here, against runc and crun: interleaved, medians, ratios. Run by hand, as root.

    python tests/benchmarks/lifecycle.py [--rounds 60] [--skip-large]

Rows: create, start, wait, delete of /bin/true here; `runc run`; `crun run` (in a mount namespace without the hybrid's
/sys/fs/cgroup/unified, which crun refuses); ours again with this process holding 1 GiB and 20 threads; load + status
against `runc state`. The state directories lie on /dev/shm for all of them, as /run is a tmpfs on most systems.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from libcontainer_py import DEVNULL, Factory
from libcontainer_py.backends import forkservers

GIB = 1 << 30


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--skip-large", action="store_true", help="leave out the host of 1 GiB and 20 threads")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="lcpy-bench-", dir="/dev/shm"))
    try:
        _report(place, options.rounds, large=not options.skip_large)
    finally:
        forkservers.shutdown()
        shutil.rmtree(place)


def _report(place: Path, rounds: int, *, large: bool) -> None:
    bundle = _bundle(place)
    factory = Factory(place / "ours")
    ours = _measure({"ours": lambda: _life(factory, bundle), "runc run": lambda: _runc(place, bundle)}, rounds)
    crun = _crun(bundle, rounds)
    states = _states(place, factory, bundle, rounds)
    print(f"medians of {rounds} interleaved rounds, milliseconds")
    for name, seconds in {**ours, **crun, **states}.items():
        print(f"  {name:28} {seconds * 1000:8.2f}")
    print(f"create to delete / runc run      {ours['ours'] / ours['runc run']:.2f}  (aim: at most 0.40)")
    if crun:
        print(
            f"create to delete / crun run      {crun['ours beside crun'] / crun['crun run']:.2f}  (aim: at most 1.00)"
        )
    print(
        f"load + status / runc state       {states['load + status'] / states['runc state']:.3f}  (aim: at most 0.050)"
    )
    if large:
        small, big = _large(factory, bundle, rounds)
        print(f"with 1 GiB and 20 threads        {big / small:.2f}  (aim: at most 1.25; {big * 1000:.2f} ms)")


def _bundle(place: Path) -> Path:
    """What `runc spec` writes, with /bin/true of busybox and without a terminal."""
    bundle = place / "bundle"
    (bundle / "rootfs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", bundle / "rootfs/bin/busybox")
    (bundle / "rootfs/bin/true").symlink_to("busybox")
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["process"] |= {"terminal": False, "args": ["/bin/true"]}
    path.write_text(json.dumps(config))
    return bundle


def _life(factory: Factory, bundle: Path) -> None:
    with factory.create("bench", bundle, stdin=DEVNULL, stdout=DEVNULL) as container:
        container.start()
        assert container.wait(10).returncode == 0
        container.delete()


def _runc(place: Path, bundle: Path) -> None:
    _call("runc", "--root", str(place / "runc"), "run", "--bundle", str(bundle), "bench")


def _call(*arguments: str) -> None:
    subprocess.run(arguments, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _measure(subjects: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """The median seconds of each, measured in turn."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for subject in subjects.values():
        subject()  # warm
    for _ in range(rounds):
        for name, subject in subjects.items():
            begin = time.perf_counter()
            subject()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(series) for name, series in times.items()}


def _crun(bundle: Path, rounds: int) -> dict[str, float]:
    """Ours and crun's in a mount namespace without `unified`, in a process of its own."""
    if shutil.which("crun") is None:
        print("crun is not installed: its row is left out")
        return {}
    program = [sys.executable, __file__, "--beside-crun", str(bundle), str(rounds)]
    script = 'mount --make-rprivate / && { umount /sys/fs/cgroup/unified 2>/dev/null; true; } && exec "$@"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *program], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def _beside_crun(bundle: str, rounds: str) -> None:
    place = Path(bundle).parent
    factory = Factory(place / "beside-crun")
    crun = ["crun", "--root", str(place / "crun"), "run", "--bundle", bundle, "bench"]
    subjects = {"ours beside crun": lambda: _life(factory, Path(bundle)), "crun run": lambda: _call(*crun)}
    print(json.dumps(_measure(subjects, int(rounds))))
    forkservers.shutdown()


def _states(place: Path, factory: Factory, bundle: Path, rounds: int) -> dict[str, float]:
    root = str(place / "ours")
    with factory.create("state", bundle, stdin=DEVNULL, stdout=DEVNULL):

        def load() -> None:
            assert Factory(root).load("state").status == "created"

        runc = ["runc", "--root", root, "state", "state"]
        return _measure({"load + status": load, "runc state": lambda: _call(*runc)}, rounds)


def _large(factory: Factory, bundle: Path, rounds: int) -> tuple[float, float]:
    """The median of the small host, and of one that holds 1 GiB and 20 threads that wait."""
    small = _measure({"small": lambda: _life(factory, bundle)}, rounds)["small"]
    memory = bytearray(GIB)
    memory[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(memory[:: os.sysconf("SC_PAGE_SIZE")])
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    try:
        return small, _measure({"big": lambda: _life(factory, bundle)}, rounds)["big"]
    finally:
        end.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--beside-crun"]:
        _beside_crun(*sys.argv[2:])
    else:
        main()
