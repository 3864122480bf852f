"""Hooks of the container's namespaces, run by init: createContainer before pivot_root, startContainer after.

Source: config.md, POSIX-platform Hooks: the state on standard input, only the given environment, a limit in seconds.
"""

import os

from libcontainer_py.init.signals import reset
from libcontainer_py.kernel.process import has_ended

_OUTPUT = 1024


def run(
    kind: str, hooks: "tuple[tuple[str, tuple[str, ...], tuple[str, ...], float | None], ...]", state: bytes
) -> None:
    """Run hooks, (path, args, env, timeout in seconds), one after the other. Raises OSError at the first failure."""
    for index, (path, arguments, environment, timeout) in enumerate(hooks):
        failure = _run(path, arguments, environment, timeout, state)
        if failure:
            raise OSError(0, f"hooks.{kind}[{index}] ({path}): {failure}")


def _run(
    path: str, arguments: "tuple[str, ...]", environment: "tuple[str, ...]", timeout: "float | None", state: bytes
) -> str:
    # memfds: no pipe that fills, and none that a grandchild of the hook could keep open
    given = os.memfd_create("state", os.MFD_CLOEXEC)
    said = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        os.write(given, state)
        os.lseek(given, 0, os.SEEK_SET)
        pid = os.fork()
        if pid == 0:
            _execute(path, arguments, environment, given, said)
        pidfd = os.pidfd_open(pid)
        try:
            late = not has_ended(pidfd, timeout)
            if late:
                os.kill(pid, 9)
        finally:
            os.close(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        output = os.pread(said, _OUTPUT, 0).decode("utf-8", "replace").strip()
    finally:
        os.close(given)
        os.close(said)
    if late:
        return f"did not end within {timeout:g} s"
    if code == 0:
        return ""
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    return f"{how}: {output}" if output else how


def _execute(path: str, arguments: "tuple[str, ...]", environment: "tuple[str, ...]", given: int, said: int) -> None:
    try:
        os.dup2(given, 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        reset()
        variables = dict(entry.split("=", 1) for entry in environment if "=" in entry)
        os.execve(path, list(arguments) or [path], variables)
    except BaseException as error:
        os.write(2, str(error).encode())
    finally:
        os._exit(127)
