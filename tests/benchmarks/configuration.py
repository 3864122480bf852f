"""From podman's config.json to a plan: decode and validate, and plan, with the profile compiled before. Run by hand.

    python tests/benchmarks/configuration.py [--rounds 200]

The goal: both together at most 4 ms. Compiling the profile is measured by seccomp.py.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from libcontainer_py.backends.preparation import facts
from libcontainer_py.plan import build
from libcontainer_py.spec import Spec
from libcontainer_py.spec.validate import check

CONFIG = Path(__file__).resolve().parents[1] / "data/config-podman-small.json"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    data = CONFIG.read_bytes()
    host = facts()
    times: list[tuple[float, float]] = []
    for _ in range(rounds):
        begin = time.perf_counter()
        spec = Spec.from_json(data)
        check(spec)
        decoded = time.perf_counter()
        build(
            spec,
            container_id="bench",
            bundle="/bundle",
            rootfs="/bundle/rootfs",
            facts=host,
            cgroup_paths={},
            attach=True,
            pid_1="execute",
            state=b"{}",
        )
        times.append((decoded - begin, time.perf_counter() - decoded))
    decode, plan = (statistics.median(series) * 1000 for series in zip(*times, strict=True))
    print(f"medians of {rounds} rounds, milliseconds")
    print(f"  decode and validate {decode:8.2f}")
    print(f"  plan                {plan:8.2f}")
    print(f"together              {decode + plan:8.2f}  (aim: at most 4)")


if __name__ == "__main__":
    main()
