"""How long `podman run --rm` of /bin/true takes with pyrunc, against the same with runc. Run by hand, as root.

    /usr/bin/python3 tests/benchmarks/engines.py [--rounds 30] [--python /usr/bin/python3]

Each has stores of its own. The interpreter of pyrunc is the one given; attrs is taken from where this script has it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from measuring import measure, ratio, show

from tests.engines.images import BUSYBOX, write_archive
from tests.engines.podman import Podman
from tests.engines.pyrunc import IMPORTED, write_pyrunc


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lcpy-", dir="/tmp"))
    started: list[Podman] = []
    try:
        write_archive(folder / "images.tar", "/bin/busybox")
        pyrunc = write_pyrunc(folder / "pyrunc", options.python, dict.fromkeys(IMPORTED))
        for name, runtime in (("ours", str(pyrunc)), ("runc", shutil.which("runc") or "/usr/sbin/runc")):
            (folder / name).mkdir()
            started.append(Podman(folder / name, runtime))
            started[-1].begin(folder / "images.tar")
        ours, runc = started
        subjects = {
            "podman run --rm, pyrunc": lambda: _run(ours),
            "podman run --rm, runc": lambda: _run(runc),
        }
        found = measure(subjects, options.rounds)
    finally:
        for podman in started:
            podman.end()
        shutil.rmtree(folder)
    show(options.rounds, found)
    ratio(
        "podman run, pyrunc / runc", found["podman run --rm, pyrunc"] / found["podman run --rm, runc"], "at most 1.20"
    )


def _run(podman: Podman) -> None:
    podman.run(BUSYBOX, "true")


if __name__ == "__main__":
    main()
