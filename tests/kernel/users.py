"""Who asks for sandboxes in tests: root, and an ordinary user, each in a Python of his own."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.kernel.workshop import NOBODY, PATIENCE, python_for_everybody

# Runs a command so many times as its arguments and keywords say, and tells what came of it.
CALL = """
import ast, sys
from libcontainer_py import ContainerError, run
times, args, keywords = ast.literal_eval(sys.argv[1])
found = []
for _ in range(times):
    told = {}
    try:
        result = run(*args, **keywords)
    except ContainerError as error:
        told = {"error": type(error).__name__, "message": str(error)}
        result = getattr(error, "result", None)
    if result is not None:
        names = "args returncode stdout stderr signal duration oom_kills truncated".split()
        told |= {name: getattr(result, name) for name in names}
        told |= {"outcome": str(result.outcome), "cpu": result.usage.cpu_seconds}
        told |= {"memory": result.usage.peak_memory_bytes}
    found.append(told)
print(repr(found))
"""


class Ran:
    """What came of a run: the fields of the result, and of the error that it raised, "" for none."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.error: str = told.get("error", "")
        self.message: str = told.get("message", "")
        self.args: tuple[str, ...] = told.get("args", ())
        self.returncode: int | None = told.get("returncode")
        self.stdout: Any = told.get("stdout")
        self.stderr: Any = told.get("stderr")
        self.outcome: str = told.get("outcome", "")
        self.signal: int | None = told.get("signal")
        self.duration: float = told.get("duration", 0.0)
        self.oom_kills: int = told.get("oom_kills", 0)
        self.truncated: bool = told.get("truncated", False)
        self.cpu: float = told.get("cpu", 0.0)
        self.memory: int = told.get("memory", 0)

    def __repr__(self) -> str:
        return f"Ran({vars(self)})"


class User:
    """Who asks for sandboxes."""

    def __init__(self, uid: int, package: Path) -> None:
        self.uid = uid
        self.python = sys.executable if uid == 0 else python_for_everybody()
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/root" if uid == 0 else "/nonexistent",
            "SECRET": "hunter2",
        }
        self.environment |= {name: os.environ[name] for name in ("PYTHONPATH", "LIBCONTAINER_PY_TESTS")}
        if uid != 0:
            self.environment["PYTHONPATH"] = str(package)
        self.started: list[subprocess.Popen[bytes]] = []
        self.root = Path("/run/libcontainer_py" if uid == 0 else f"/tmp/libcontainer_py-{uid}")

    def popen(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """A Python of this user's."""
        process = subprocess.Popen(
            [self.python, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=self.environment | environment,
            **({} if self.uid == 0 else {"user": self.uid, "group": self.uid, "extra_groups": []}),
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """End what a failed test left running."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # so that it removes its container
                process.wait(PATIENCE)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None and not stream.closed:
                    stream.close()

    def python_says(self, code: str, *arguments: str, given: bytes = b"") -> str:
        """What a program of this user's writes to standard output; it must succeed."""
        process = self.popen("-W", "error", "-c", code, *arguments)
        output, error = process.communicate(given, timeout=PATIENCE)
        assert process.returncode == 0, error.decode()
        return output.decode()

    def runs(self, times: int, *args: object, **keywords: object) -> list[Ran]:
        """What comes of run() with these arguments, so many times."""
        told = ast.literal_eval(self.python_says(CALL, repr((times, args, keywords))))
        return [Ran(one) for one in told]

    def run(self, *args: object, **keywords: object) -> Ran:
        """What comes of run() with these arguments."""
        return self.runs(1, *args, **keywords)[0]

    def call(self, *args: object, **keywords: object) -> tuple[tuple[str, ...], int | None, bytes, bytes]:
        """The first that one asks for: words, returncode, and both streams."""
        ran = self.run(*args, **keywords)
        assert ran.error == "", ran
        return ran.args, ran.returncode, ran.stdout, ran.stderr

    def output(self, script: str, **keywords: object) -> str:
        """What a shell script writes to standard output."""
        ran = self.run(["/bin/sh", "-c", script], text=True, **keywords)
        assert (ran.error, ran.returncode) == ("", 0), ran
        assert isinstance(ran.stdout, str)
        return ran.stdout

    def sandbox(self, *words: str, given: bytes = b"", **environment: str) -> tuple[int, bytes, bytes]:
        """The command line: its exit code and what it wrote."""
        process = self.popen("-m", "libcontainer_py", "sandbox", *words, **environment)
        output, error = process.communicate(given, timeout=PATIENCE)
        return process.returncode, output, error

    def containers(self) -> list[str]:
        """What is in the state root."""
        return [name for name in os.listdir(self.root) if name != ",lock"] if self.root.exists() else []

    def left(self, before: set[str]) -> list[str]:
        """Containers of nobody, that were not there before: others may run sandboxes beside us."""
        found = []
        for name in set(self.containers()) - before:
            try:
                state = json.loads((self.root / name / "state.json").read_text())
                if not Path(f"/proc/{state['init_process_pid']}").exists():
                    found.append(name)
            except (OSError, ValueError, KeyError):
                continue
        return found


USERS = [0, NOBODY]
