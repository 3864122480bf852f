"""Runs the hooks of the runtime's namespace: prestart, createRuntime, poststart, poststop.

Source: config.md, POSIX-platform Hooks: the OCI state on standard input, the given environment and no more, a limit in
seconds. The list ends at the first failure.
"""

from __future__ import annotations

import os
import select

from libcontainer_py.errors import HookError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_OUTPUT = 1024
_NANOSECONDS = 1_000_000_000
_SIGKILL, _SIGNALS = 9, 32


def run(kind: str, hooks: Iterable[Mapping[str, Any]], state: str) -> None:
    """Run hooks as state.json keeps them: {path, args, env, dir, timeout in nanoseconds}. Raises HookError."""
    for index, hook in enumerate(hooks):
        _run(kind, index, hook, state.encode())


def _run(kind: str, index: int, hook: Mapping[str, Any], state: bytes) -> None:
    path: str = hook["path"]
    nanoseconds = hook.get("timeout")
    timeout = nanoseconds / _NANOSECONDS if nanoseconds else None
    # memfds: no pipe that fills, and none that a grandchild of the hook could keep open
    given = os.memfd_create("state", os.MFD_CLOEXEC)
    said = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        os.write(given, state)
        os.lseek(given, 0, os.SEEK_SET)
        try:
            pid = _spawn(path, hook, given, said)
        except OSError as error:
            raise HookError(kind, index, path, error.strerror or str(error)) from error
        code = _wait(pid, timeout)
        if code is None:
            raise HookError(kind, index, path, f"did not end within {timeout:g} s")
        if code:
            output = os.pread(said, _OUTPUT, 0).decode("utf-8", "replace")
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise HookError(kind, index, path, how, returncode=code, output=output)
    finally:
        os.close(given)
        os.close(said)


def _spawn(path: str, hook: Mapping[str, Any], given: int, said: int) -> int:
    """Start a hook: no signal of ours blocked or ignored, no descriptor but its streams, in our working directory."""
    environment = dict(entry.split("=", 1) for entry in hook.get("env") or () if "=" in entry)
    actions = [(os.POSIX_SPAWN_DUP2, given, 0), (os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
    arguments: list[str] = [*(hook.get("args") or (path,))]
    return os.posix_spawn(
        path, arguments, environment, file_actions=actions, setsigmask=(), setsigdef=range(1, _SIGNALS)
    )


def _wait(pid: int, timeout: float | None) -> int | None:
    """The returncode of a hook, as in subprocess; None where it took longer: it is killed then."""
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        late = not poll.poll(None if timeout is None else timeout * 1000)
        if late:
            os.kill(pid, _SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(pidfd)
    return None if late else code
