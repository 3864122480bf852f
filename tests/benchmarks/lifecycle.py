"""How long a container's life takes here, against runc and crun: interleaved, medians, ratios. Run by hand, as root.

    python tests/benchmarks/lifecycle.py [--rounds 60] [--skip-large]

Rows: create, start, wait, delete of /bin/true here; `runc run`; `crun run` (in a mount namespace without the hybrid's
/sys/fs/cgroup/unified, which crun refuses); ours again with this process holding 1 GiB and 20 threads; load + status
against `runc state`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import threading
from pathlib import Path

from measuring import bundle, call, life, measure, place, ratio, show, without_unified

from libcontainer_py import DEVNULL, Factory
from libcontainer_py.backends import forkservers

GIB = 1 << 30


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--skip-large", action="store_true", help="leave out the host of 1 GiB and 20 threads")
    options = parser.parse_args()
    with place() as folder:
        _report(folder, options.rounds, large=not options.skip_large)


def _report(folder: Path, rounds: int, *, large: bool) -> None:
    made = bundle(folder, "true")
    factory = Factory(folder / "ours")
    runc = ["runc", "--root", str(folder / "runc"), "run", "--bundle", str(made), "bench"]
    ours = measure({"ours": lambda: life(factory, made), "runc run": lambda: call(*runc)}, rounds)
    crun = _crun(made, rounds)
    states = _states(folder, factory, made, rounds)
    show(rounds, ours, crun, states)
    ratio("create to delete / runc run", ours["ours"] / ours["runc run"], "at most 0.40")
    if crun:
        ratio("create to delete / crun run", crun["ours beside crun"] / crun["crun run"], "at most 1.00")
    ratio("load + status / runc state", states["load + status"] / states["runc state"], "at most 0.050")
    if large:
        small, big = _large(factory, made, rounds)
        ratio("with 1 GiB and 20 threads", big / small, f"at most 1.25; {big * 1000:.2f} ms")


def _crun(made: Path, rounds: int) -> dict[str, float]:
    """Ours and crun's, in a process of its own."""
    if shutil.which("crun") is None:
        print("crun is not installed: its row is left out")
        return {}
    found: dict[str, float] = json.loads(without_unified(__file__, "--beside-crun", str(made), str(rounds)))
    return found


def _beside_crun(made: str, rounds: str) -> None:
    folder = Path(made).parent
    factory = Factory(folder / "beside-crun")
    crun = ["crun", "--root", str(folder / "crun"), "run", "--bundle", made, "bench"]
    subjects = {"ours beside crun": lambda: life(factory, Path(made)), "crun run": lambda: call(*crun)}
    print(json.dumps(measure(subjects, int(rounds))))
    forkservers.shutdown()


def _states(folder: Path, factory: Factory, made: Path, rounds: int) -> dict[str, float]:
    root = str(folder / "ours")
    with factory.create("state", made, stdin=DEVNULL, stdout=DEVNULL):

        def load() -> None:
            assert Factory(root).load("state").status == "created"

        runc = ["runc", "--root", root, "state", "state"]
        return measure({"load + status": load, "runc state": lambda: call(*runc)}, rounds)


def _large(factory: Factory, made: Path, rounds: int) -> tuple[float, float]:
    """The median of the small host, and of one that holds 1 GiB and 20 threads that wait."""
    small = measure({"small": lambda: life(factory, made)}, rounds)["small"]
    memory = bytearray(GIB)
    memory[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(memory[:: os.sysconf("SC_PAGE_SIZE")])
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    try:
        return small, measure({"big": lambda: life(factory, made)}, rounds)["big"]
    finally:
        end.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--beside-crun"]:
        _beside_crun(*sys.argv[2:])
    else:
        main()
