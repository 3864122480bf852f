"""What cgroups cost, against runc: interleaved, medians, ratios. Run by hand, as root.

    python tests/benchmarks/cgroups.py [--rounds 40]

Rows: a container's life after 200 ms in which nothing was done (a kernel that attaches to a v1 cgroup by cgroup.procs
waits for RCU then); `stats()`; pause and resume.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measuring import bundle, call, life, measure, place, ratio, show

from libcontainer_py import DEVNULL, Factory

IDLE = 0.2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    with place() as folder:
        lives = _lives(folder, rounds)
        running = _running(folder, rounds)
    show(rounds, lives, running)
    ratio("after 200 ms / runc run", lives["ours after 200 ms"] / lives["runc run after 200 ms"], "at most 0.30")
    print(f"{'stats()':32} {running['stats()'] * 1000:.3f} ms  (aim: at most 0.5 ms)")
    ratio("pause + resume / runc's", running["pause + resume"] / running["runc pause, resume"], "at most 0.10")


def _lives(folder: Path, rounds: int) -> dict[str, float]:
    made = bundle(folder, "true")
    factory = Factory(folder / "ours")
    runc = ["runc", "--root", str(folder / "runc"), "run", "--bundle", str(made), "bench"]
    subjects = {"ours after 200 ms": lambda: life(factory, made), "runc run after 200 ms": lambda: call(*runc)}
    return measure(subjects, rounds, idle=IDLE)


def _running(folder: Path, rounds: int) -> dict[str, float]:
    root = str(folder / "running")
    with Factory(root).create("bench", bundle(folder, "sleep", "1000"), stdin=DEVNULL, stdout=DEVNULL) as container:
        container.start()

        def hold() -> None:
            container.pause()
            container.resume()

        def hold_by_runc() -> None:
            call("runc", "--root", root, "pause", "bench")
            call("runc", "--root", root, "resume", "bench")

        def look() -> None:
            container.stats()

        held = measure({"pause + resume": hold, "runc pause, resume": hold_by_runc}, rounds)
        return {**held, **measure({"stats()": look}, rounds)}


if __name__ == "__main__":
    main()
