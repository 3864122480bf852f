"""Commands in containers and sandboxes, against crun and bubblewrap: interleaved medians. Run by hand, as root.

    python tests/benchmarks/processes.py [--rounds 60]

Rows: `container.run(["true"])` against `crun exec`, each in its own container; `run(["true"])` in a new sandbox, and
in one that stays, against `bwrap --unshare-all`; 8 threads that run() against one `crun run` after another. What crun
takes part in runs in a mount namespace without the hybrid's /sys/fs/cgroup/unified, which it refuses.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measuring import bundle, call, measure, place, ratio, show, without_unified

from libcontainer_py import DEVNULL, Factory, Sandbox, run
from libcontainer_py.backends import forkservers

THREADS = 8
EACH = 25
BWRAP = ("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    with place() as folder:
        sleeping, ending = bundle(folder, "sleep", "1000"), bundle(folder, "true")
        beside = json.loads(without_unified(__file__, "--beside-crun", str(sleeping), str(ending), str(rounds)))
        with Sandbox() as sandbox:
            subjects = {
                "run()": lambda: run(["true"]).check_returncode(),
                "bwrap --unshare-all": lambda: call(*BWRAP),
                "sandbox.run()": lambda: sandbox.run(["true"]).check_returncode(),
            }
            sandboxes = measure(subjects, rounds)
    commands, throughput = beside
    show(rounds, commands, sandboxes)
    ratio("container.run() / crun exec", commands["container.run()"] / commands["crun exec"], "at most 0.50")
    ratio("run() / bwrap", sandboxes["run()"] / sandboxes["bwrap --unshare-all"], "at most 1.50, better 1.00")
    ratio("sandbox.run() / bwrap", sandboxes["sandbox.run()"] / sandboxes["bwrap --unshare-all"], "none")
    ratio("8 threads of run() / crun run", throughput["run()"] / throughput["crun run"], "at least 1.6 as many")


def _beside_crun(sleeping: str, ending: str, rounds: str) -> None:
    folder = Path(sleeping).parent
    root = ["crun", "--root", str(folder / "crun")]
    subprocess.run([*root, "run", "--detach", "--bundle", sleeping, "theirs"], check=True, stdout=subprocess.DEVNULL)
    try:
        with Factory(folder / "ours").create("ours", sleeping, stdin=DEVNULL, stdout=DEVNULL) as container:
            container.start()
            subjects = {
                "container.run()": lambda: container.run(["true"]).check_returncode(),
                "crun exec": lambda: call(*root, "exec", "theirs", "true"),
            }
            commands = measure(subjects, int(rounds))
    finally:
        call(*root, "delete", "--force", "theirs")
    print(json.dumps([commands, _throughput([*root, "run", "--bundle", ending, "bench"])]))
    forkservers.shutdown()


def _throughput(crun: list[str]) -> dict[str, float]:
    """How many end in a second: the better of 3, in turn."""
    found = {"run()": 0.0, "crun run": 0.0}
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(3):
            begin = time.perf_counter()
            for done in pool.map(lambda _: run(["true"]), range(THREADS * EACH)):
                done.check_returncode()
            found["run()"] = max(found["run()"], THREADS * EACH / (time.perf_counter() - begin))
            begin = time.perf_counter()
            for _ in range(EACH):
                call(*crun)
            found["crun run"] = max(found["crun run"], EACH / (time.perf_counter() - begin))
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--beside-crun"]:
        _beside_crun(*sys.argv[2:])
    else:
        main()
