"""The gate: every Python, every stage, in two lanes side by side, one for each core.

The lane `root` makes containers as root, one stage at a time, so that the tests may count what is left on the machine.
The lane `user` does what needs no root, and what an ordinary user can do. Each stage works in a copy of the commit, in
one temporary directory that is removed at the end; the clone itself is not touched. The output of a stage is shown when
it ends: all of it after a failure, else its last lines. The exit status is 0 only if every stage passed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MAIN = "3.11"  # for what need not run four times
OLDEST = "3.10"
NEWEST = "3.13"
LIMIT = 1200  # seconds for one stage

# program: Debian's package
PEERS = {
    "runc": "runc",
    "crun": "crun",
    "strace": "strace",
    "bwrap": "bubblewrap",
    "busybox": "busybox-static",
    "umoci": "umoci",
    "unshare": "util-linux",
    "ip": "iproute2",
    "newuidmap": "uidmap",
    "git": "git",
    "podman": "podman",
    "conmon": "conmon",
    "containerd": "containerd",
    "ctr": "containerd",
    "dockerd": "docker.io",
    "docker": "docker.io",
    # for the virtual machines
    "systemctl": "systemd",
    "dbus-daemon": "dbus",
    "qemu-system-x86_64": "qemu-system-x86",
    "modprobe": "kmod",
}

# What of the caller's environment a stage sees: nothing else may change the outcome.
PASSED_ON = re.compile(r"(PATH|HOME|TERM|PIP_(?!REQUIRE|TARGET|USER|PREFIX).*|.*_proxy|.*_PROXY|SSL_.*|NODE_.*|CI)\Z")

# The ordinary user is nobody. The Pythons may be under /root, which is closed to him: his view of /root has them alone.
AS_USER = """
if [ -d /root/.pyenv ]; then
    mount --bind /root/.pyenv "$1"
    mount -t tmpfs -o mode=755 none /root
    mkdir /root/.pyenv
    mount --bind "$1" /root/.pyenv
fi
shift
exec setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups -- "$@"
"""

FIRST_MINUTES = """
cd "$COPY"
pip install . && python -m libcontainer_py sandbox -- echo hello
test "$(cd / && python -m libcontainer_py sandbox -- echo hello)" = hello
"""


class Stage(NamedTuple):
    """A bash script that runs in a copy of the commit and in a fresh virtual environment of `python`."""

    name: str
    script: str
    python: str = MAIN
    user: bool = False
    """As an ordinary user, not as root."""
    alone: bool = False
    """Nobody else makes containers meanwhile."""


def lowest_versions() -> str:
    """The lower bounds of the dependencies, and of the optional ones, as exact requirements."""
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    listed = " ".join(re.findall(r"^(?:dependencies|systemd) = \[(.*)\]$", text, re.MULTILINE))
    return " ".join(requirement.replace(">=", "==") for requirement in re.findall(r'"([^"]+)"', listed))


def root_lane() -> list[Stage]:
    """What makes containers as root; the other tests want none of it, and run in the other lane."""
    lane = [Stage(f"kernel-{MAIN}", "pip install '.[test]' && pytest -m 'kernel or interop or cli'", alone=True)]
    engines = "pip install -U pip && pip install '.[test]' --group engines && pytest tests/engines"
    lane.append(Stage("engines", engines, alone=True))
    lane += [Stage(f"first-minutes-{python}", FIRST_MINUTES, python, alone=True) for python in PYTHONS]
    machine = "tests/vm/run --install && LIBCONTAINER_PY_TESTS_VM=1 pytest tests/vm"
    lane.append(Stage("vm", f"pip install '.[test]' && {machine}", alone=True))
    return lane


def user_lane() -> list[Stage]:
    """What needs no root."""
    others = [python for python in PYTHONS if python not in (MAIN, NEWEST)]
    return [
        Stage(
            "lint",
            "pip install -U pip && pip install '.[test]' --group lint\n"
            "ruff check . && ruff format --check . && mypy && pyright",
        ),
        Stage("types", "pip install -U pip && pip install '.[test]' --group lint && pytest tests/typing"),
        Stage(f"tests-user-{NEWEST}", "pip install '.[test]' && pytest", NEWEST, user=True),
        *(
            Stage(
                f"tests-user-{python}", "pip install '.[test]' && pytest tests/unit tests/property", python, user=True
            )
            for python in others
        ),
        Stage(
            f"coverage-user-{MAIN}",
            "pip install '.[test]' 'coverage[toml]' && coverage run -m pytest tests/unit tests/property\n"
            "coverage combine -q && coverage report --format=total",
            user=True,
        ),
        Stage(
            "lowest-versions",
            f"pip install '.[test]' {lowest_versions()} && pip check && pip list\n"
            "pytest tests/unit/{spec,plan,state} tests/unit/test_fake*.py tests/property/test_spec.py",
            OLDEST,
            user=True,
        ),
        Stage(
            "packaging",
            "pip install -U pip && pip install '.[test]' --group package && pytest tests/unit/test_packaging.py",
        ),
        Stage(
            "docs",
            "pip install -U pip && pip install '.[test]' --group docs\n"
            "sphinx-build -W --keep-going -q docs docs/_build && towncrier build --draft",
        ),
        *(Stage(f"first-minutes-user-{python}", FIRST_MINUTES, python, user=True) for python in PYTHONS),
    ]


class Outcome(NamedTuple):
    """How a stage ended."""

    name: str
    status: str
    seconds: float
    last: str


class Gate:
    """One run: its temporary directory, what is running, what came out."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.pythons: dict[str, str] = {}
        self.outcomes: list[Outcome] = []
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopped = False
        self.guard = threading.Lock()
        home = os.environ.get("HOME", "")
        self.environment = {name: value for name, value in os.environ.items() if PASSED_ON.match(name)}
        self.environment |= {
            "CI": "true",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_QUIET": "1",
            "TMPDIR": str(self.folder("tmp")),
            "HOME": home if home and os.access(home, os.W_OK) else str(self.folder("home")),
            "PATH": f"{os.environ.get('PATH', '/usr/local/bin:/usr/bin:/bin')}:/usr/local/sbin:/usr/sbin:/sbin",
        }

    def folder(self, *parts: str) -> Path:
        """A directory of ours, made where it is not there yet."""
        path = self.work.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def prepare(self) -> None:
        """Copy the commit, install what is missing, find the Pythons."""
        export(self.folder("commit"))
        path = self.environment["PATH"]
        missing = sorted({package for program, package in PEERS.items() if shutil.which(program, path=path) is None})
        if missing:
            self.call("apt-update", ["apt-get", "update", "-q"])
            install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing]
            self.call("apt-install", ["env", "RUNLEVEL=1", *install])  # invoke-rc.d starts no daemon in it
        for program in PEERS:
            say(f"   {program}: {shutil.which(program, path=path) or 'still missing'}")
        for version in PYTHONS:
            self.pythons[version] = python_of(version)
            say(f"   Python {version}: {self.pythons[version] or 'missing: no ~/.pyenv/versions, none on PATH'}")
        still = [program for program in PEERS if shutil.which(program, path=path) is None]
        still += [f"Python {version}" for version, path in self.pythons.items() if not path]
        if still:
            sys.exit(f"missing: {', '.join(still)}")

    def call(self, name: str, command: list[str]) -> None:
        """A preparation that must succeed."""
        outcome = self.execute(name, command, self.work, self.environment)
        if outcome.status != "ok":
            sys.exit(f"{name} failed")

    def lane(self, stages: list[Stage]) -> None:
        """Run stages one after the other, whatever becomes of them."""
        for stage in stages:
            if not self.stopped:
                self.run(stage)

    def run(self, stage: Stage) -> None:
        """Run one stage in its own copy of the commit and its own virtual environment."""
        copy, home, temporary = (self.folder(stage.name, part) for part in ("copy", "home", "tmp"))
        shutil.copytree(self.folder("commit"), copy, dirs_exist_ok=True, symlinks=True)
        environment = self.environment | {"COPY": str(copy)}
        venv = str(self.folder(stage.name) / "venv")
        script = f'"{self.pythons[stage.python]}" -m venv "{venv}"\n. "{venv}/bin/activate"\n{stage.script}'
        command = ["bash", "-euo", "pipefail", "-c", script]
        if stage.alone:
            environment["LIBCONTAINER_PY_TESTS_ALONE"] = "1"
        if stage.user:
            environment |= {"HOME": str(home), "TMPDIR": str(temporary)}
            subprocess.run(["chown", "-R", "nobody:", str(self.folder(stage.name))], check=True)
            view = str(self.folder("view"))
            command = ["unshare", "--mount", "sh", "-euc", AS_USER, "as-user", view, *command]
        self.execute(stage.name, command, copy, environment)

    def execute(self, name: str, command: list[str], cwd: Path, environment: dict[str, str]) -> Outcome:
        """Run a command in a session of its own, with a time limit; show and write down how it went."""
        say(f"-- {name} begins")
        log = self.folder("logs") / name
        start = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.running.add(process)
            try:
                code = process.wait(LIMIT)
                status = "ok" if code == 0 else f"FAILED ({code})"
            except subprocess.TimeoutExpired:
                status = f"FAILED (over {LIMIT} s)"
                end(process)
            finally:
                self.running.discard(process)
        lines = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
        summaries = [line.strip("= ") for line in lines if re.search(r"\d (passed|failed|error)", line)]
        outcome = Outcome(name, status, time.monotonic() - start, summaries[-1] if summaries else "")
        with self.guard:
            self.outcomes.append(outcome)
        shown = lines if status != "ok" else lines[-3:]
        say(
            "\n".join(
                [f"-- {name}: {status}, {outcome.seconds:.0f} s", *shown, *([f"-- that was {name}"] * (status != "ok"))]
            )
        )
        return outcome

    def stop(self) -> None:
        """End what is running."""
        self.stopped = True
        for process in list(self.running):
            end(process)


def say(text: str) -> None:
    """Print in one piece: two lanes do."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command of ours with all of its session's process group."""
    for number, patience in ((signal.SIGTERM, 30), (signal.SIGKILL, 30)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def export(folder: Path) -> None:
    """A copy of the commit, as a clean clone has it; of all files where this is no clone."""
    git = ["git", "-c", f"safe.directory={CHECKOUT}", "-C", str(CHECKOUT)]
    if subprocess.run([*git, "rev-parse", "--verify", "HEAD"], capture_output=True, check=False).returncode == 0:
        archive = subprocess.run([*git, "archive", "HEAD"], stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    else:
        shutil.copytree(CHECKOUT, folder, dirs_exist_ok=True, symlinks=True)


def python_of(version: str) -> str:
    """The path of a Python of that version that can make virtual environments, or ""."""
    homes = [Path(os.environ.get("HOME", "/root")), Path("/root")]
    candidates = [
        *(
            str(path)
            for home in homes
            for path in sorted(home.glob(f".pyenv/versions/{version}.*/bin/python{version}"))
        ),
        *(
            shutil.which(f"python{version}", path=path) or ""
            for path in (os.environ.get("PATH"), "/usr/local/bin:/usr/bin")
        ),
    ]
    check = f"import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-I", "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    return ""


def main() -> int:
    """Run all stages; 0 if all passed."""
    if os.geteuid() != 0:
        sys.exit("needs root: it installs packages and makes containers")
    os.umask(0o022)
    start = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="libcontainer_py-ci.", dir="/tmp"))
    work.chmod(0o755)
    gate = Gate(work)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        gate.prepare()
        lanes = [threading.Thread(target=gate.lane, args=(stages,)) for stages in (root_lane(), user_lane())]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
    finally:
        gate.stop()
        subprocess.run(["rm", "-rf", "--one-file-system", str(work)], check=False)
    expected = [stage.name for stage in (*root_lane(), *user_lane())]
    say(f"\n{'stage':<24} {'result':<16} {'time':>6}")
    for outcome in gate.outcomes:
        say(f"{outcome.name:<24} {outcome.status:<16} {outcome.seconds:>4.0f} s  {outcome.last}")
    passed = {outcome.name for outcome in gate.outcomes if outcome.status == "ok"}
    failed = [name for name in expected if name not in passed]
    say(f"{len(expected) - len(failed)} stages passed, {len(failed)} failed, in {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
