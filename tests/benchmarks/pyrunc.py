"""`pyrunc` against runc, and against an interpreter that does nothing: `PYTHON tests/benchmarks/pyrunc.py [ROUNDS]`.

As root. Medians of milliseconds, the peers in turns; PYTHON is the interpreter that pyrunc runs with.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bundles import config, make_bundle


def cost(*words: str) -> tuple[float, int]:
    """Milliseconds, and peak memory in KiB, of a program that must succeed."""
    begun = time.perf_counter()
    null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    pid = os.posix_spawnp(words[0], words, os.environ, file_actions=null)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, words
    return (time.perf_counter() - begun) * 1000, usage.ru_maxrss


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = make_bundle(folder / "bundle", shutil.which("busybox") or "busybox", config("/bin/true"))
        script = folder / "pyrunc"
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        words = [sys.executable, "-m", "libcontainer_py", "script"]
        script.write_bytes(subprocess.run(words, env=environment, capture_output=True, check=True).stdout)
        script.chmod(0o755)
        for _ in range(rounds):
            for peer, program in (("pyrunc", str(script)), ("runc", "runc")):
                command = (program, "--root", str(folder / f"root-{peer}"))
                create, peak = cost(*command, "create", "--bundle", str(bundle), "bench")
                state, _ = cost(*command, "state", "bench")
                start, _ = cost(*command, "start", "bench")
                delete, _ = cost(*command, "delete", "--force", "bench")
                found.setdefault(f"{peer} create + start + delete, ms", []).append(create + start + delete)
                found.setdefault(f"{peer} state, ms", []).append(state)
                found.setdefault(f"{peer} peak memory of create, KiB", []).append(peak)
            found.setdefault("python -ISE -c pass, ms", []).append(cost(sys.executable, "-ISE", "-c", "pass")[0])
    for what, values in found.items():
        print(f"{what:<42} {statistics.median(values):10.1f}   n = {len(values)}")


if __name__ == "__main__":
    main()
