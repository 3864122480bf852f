"""Runs the hooks of the runtime's namespace: prestart, createRuntime, poststart, poststop.

Source: config.md, POSIX-platform Hooks: the OCI state on standard input, the given environment and no more, a limit in
seconds. The list ends at the first failure.
"""

from __future__ import annotations

import os
import subprocess

from libcontainer_py.errors import HookError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_OUTPUT = 1024
_NANOSECONDS = 1_000_000_000


def run(kind: str, hooks: Iterable[Mapping[str, Any]], state: str) -> None:
    """Run hooks as state.json keeps them: {path, args, env, dir, timeout in nanoseconds}. Raises HookError."""
    for index, hook in enumerate(hooks):
        _run(kind, index, hook, state.encode())


def _run(kind: str, index: int, hook: Mapping[str, Any], state: bytes) -> None:
    path: str = hook["path"]
    environment = dict(entry.split("=", 1) for entry in hook.get("env") or () if "=" in entry)
    nanoseconds = hook.get("timeout")
    timeout = nanoseconds / _NANOSECONDS if nanoseconds else None
    # memfds: no pipe that fills, and none that a grandchild of the hook could keep open
    given = os.memfd_create("state", os.MFD_CLOEXEC)
    said = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        os.write(given, state)
        os.lseek(given, 0, os.SEEK_SET)
        process: subprocess.Popen[bytes]
        try:
            process = subprocess.Popen(
                list(hook.get("args") or ()) or [path],
                executable=path,
                env=environment,
                cwd=hook.get("dir") or "/",
                stdin=given,
                stdout=said,
                stderr=said,
            )
        except OSError as error:
            raise HookError(kind, index, path, error.strerror or str(error)) from error
        with process:
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise HookError(kind, index, path, f"did not end within {timeout:g} s") from None
            finally:
                process.kill()
        if code:
            output = os.pread(said, _OUTPUT, 0).decode("utf-8", "replace")
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise HookError(kind, index, path, how, returncode=code, output=output)
    finally:
        os.close(given)
        os.close(said)
