"""A further process of a container, run by a runtime's `exec`, which stays for as long as it runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile

from libcontainer_py.backends.base import Exit
from libcontainer_py.errors import ContainerTimeout, ProgramNotFound, StartError, UnsupportedPlatform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from libcontainer_py.backends.base import SpawnRequest
    from libcontainer_py.record import Record

LIMIT = 60.0
"""Seconds that the process may take to begin."""
_SIGKILL = 9
_DEVNULL = -3
_LOOK = 0.005
"""Seconds between two looks for the file that has its pid: no event tells of it."""
_MISSING = re.compile(r"no such file or directory|not found|permission denied", re.IGNORECASE)


class RuntimeProcess:
    """A `Spawned`. `begin` makes one."""

    def __init__(self, command: subprocess.Popen[bytes], pid: int) -> None:
        self._command = command
        self._pid = pid
        self._killed = False
        self._pidfd: int = -1
        try:
            self._pidfd = os.pidfd_open(command.pid)
        except ProcessLookupError:
            self._pidfd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)  # it has ended: always readable

    @classmethod
    def begin(cls, runtime: Sequence[str], record: Record, request: SpawnRequest) -> RuntimeProcess:
        """Run `exec`, and wait until its process is there. Raises StartError, ProgramNotFound, ContainerTimeout."""
        if request.terminal is not None:
            raise UnsupportedPlatform("RuntimeBackend takes no terminals")
        with tempfile.TemporaryDirectory(prefix="runtime-") as folder:
            log, pid_file = os.path.join(folder, "log"), os.path.join(folder, "pid")
            words = [*runtime, "--log", log, "exec", "--pid-file", pid_file, *_options(request, folder), record.id]
            streams = [
                subprocess.DEVNULL if one == _DEVNULL else one
                for one in (request.stdin, request.stdout, request.stderr)
            ]
            command = subprocess.Popen([*words, *request.args], stdin=streams[0], stdout=streams[1], stderr=streams[2])
            for _ in range(int(LIMIT / _LOOK)):
                ended = _ended(command)
                pid = _read(pid_file)
                if pid:
                    return cls(command, int(pid))
                if ended:
                    raise _refusal(_read(log), record.id)
            command.kill()
            command.wait()
            raise ContainerTimeout(f"exec in {record.id!r} did not begin within {LIMIT:g} s", timeout=LIMIT)

    @property
    def pid(self) -> int:
        """As the runtime wrote it down."""
        return self._pid

    def fileno(self) -> int:
        """Readable when `exec` has ended; -1 once it was waited for."""
        return self._pidfd

    def wait(self, *, timeout: float | None) -> Exit | None:
        """What `exec` ends with, which is the exit code of its process, or 128 + n."""
        try:
            code = self._command.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._close()
        return Exit(code)

    def _close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __del__(self) -> None:
        self._close()

    def signal(self, signal: int) -> None:
        """To the process itself; silent where it has ended."""
        if self._command.poll() is None:
            try:
                os.kill(self._pid, signal)
            except ProcessLookupError:
                return
            self._killed |= signal == _SIGKILL

    @property
    def killed(self) -> bool:
        """Whether we sent it SIGKILL."""
        return self._killed

    def kill_all(self) -> None:
        """What it started is not known: to it alone."""
        self.signal(_SIGKILL)


def _options(request: SpawnRequest, folder: str) -> list[str]:
    """The request as options; a whole process as a file."""
    if request.process is not None:
        path = os.path.join(folder, "process.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(request.process.to_dict(), file)
        return ["--process", path]
    if request.capabilities is not None or request.rlimits is not None or request.apart:
        # `apart` cannot be had; `kill_all` says so. The others are no options of every runtime.
        unknown = [name for name in ("capabilities", "rlimits") if getattr(request, name) is not None]
        if unknown:
            raise UnsupportedPlatform(f"exec of a runtime has no option for {', '.join(unknown)}: give a Process")
    words = [word for key, value in (request.env or {}).items() for word in ("--env", f"{key}={value}")]
    if request.cwd is not None:
        words += ["--cwd", request.cwd]
    if request.user is not None:
        words += ["--user", f"{request.user.uid}:{request.user.gid}"]
    if request.no_new_privileges:
        words.append("--no-new-privs")
    return words


def _ended(command: subprocess.Popen[bytes]) -> bool:
    try:
        command.wait(_LOOK)
    except subprocess.TimeoutExpired:
        return False
    return True


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _refusal(log: str, container_id: str) -> StartError:
    text = log.strip().splitlines()[-1] if log.strip() else "exec failed, and said nothing"
    return (ProgramNotFound if _MISSING.search(text) else StartError)(text, container_id=container_id)
