"""Compiling profiles: podman's and containerd's, and our own, cold (in a fresh interpreter), warm and cached.

    $ python tests/benchmarks/seccomp.py [ROUNDS]

Modules is loading the compiler, cold the first compilation, which loads the tables. The
goal: podman's at most 4 ms cold, 0.2 ms cached.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DATA = CHECKOUT / "tests" / "data"

MEASURE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from libcontainer_py.spec.linux import Seccomp
from libcontainer_py.spec import Spec
profile = Spec.from_json(open(sys.argv[2]).read()).linux.seccomp if sys.argv[2] else None
if profile is None:
    from libcontainer_py.plan.default_seccomp import default_seccomp
    profile = default_seccomp()
begin = time.perf_counter()
import libcontainer_py.plan.seccomp as room
loaded = time.perf_counter()
made = room.compile_filter(profile, "x86_64")
cold = time.perf_counter()
again = Seccomp.from_dict(profile.to_dict())
fresh = time.perf_counter()
room.compile_filter(again, "x86_64")
cached = time.perf_counter()
room._program.cache_clear()
clear = time.perf_counter()
room.compile_filter(profile, "x86_64")
warm = time.perf_counter()
print(json.dumps({
    "modules": loaded - begin, "cold": cold - loaded, "warm": warm - clear, "cached": cached - fresh,
    "instructions": len(made.program) // 8,
}))
"""


def measured(document: Path | None, rounds: int) -> dict[str, float]:
    """Medians, seconds."""
    command = [sys.executable, "-c", MEASURE, str(CHECKOUT), str(document or "")]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(rounds)
    ]
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def main(rounds: str = "20") -> None:
    """Print a table."""
    print(f"{'milliseconds':<28}{'modules':>9}{'cold':>9}{'warm':>9}{'cached':>9}{'instructions':>14}")
    for name in ("config-podman-small.json", "config-containerd.json", ""):
        found = measured(DATA / name if name else None, int(rounds))
        times = "".join(f"{found[key] * 1000:9.3f}" for key in ("modules", "cold", "warm", "cached"))
        print(f"{name or 'our own':<28}{times}{found['instructions']:14.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
