"""The command line: `python -m libcontainer_py sandbox -- COMMAND...`.

It uses the public names alone.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE = "usage: python -m libcontainer_py sandbox [--] COMMAND [ARGUMENT...]"
_FAILED, _NOT_EXECUTABLE, _NOT_FOUND, _INTERRUPTED, _BAD_USAGE = 125, 126, 127, 130, 2
_ENOENT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: the command's, 125 to 127 as env(1) where it did not run."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in ("-h", "--help"):
        sys.stdout.write(f"{_USAGE}\n\nRuns COMMAND in a fresh container on this host's file system.\n")
        return 0
    if not words or words[0] != "sandbox":
        return _complain(_USAGE, _BAD_USAGE)
    command = words[1:]
    if command and command[0] == "--":
        command = command[1:]
    elif command and command[0].startswith("-"):
        return _complain(f"unknown option {command[0]}\n{_USAGE}", _BAD_USAGE)
    if not command:
        return _complain(_USAGE, _BAD_USAGE)
    return _sandbox(command)


def _sandbox(command: Sequence[str]) -> int:
    from libcontainer_py import ContainerError, ProgramNotFound, run  # noqa: PLC0415  (after the usage is checked)

    try:
        code = run(command, stdout=None, stderr=None).returncode
        return code if code >= 0 else 128 - code
    except ProgramNotFound as error:
        return _complain(str(error), _NOT_FOUND if error.errno == _ENOENT else _NOT_EXECUTABLE)
    except ContainerError as error:
        return _complain(str(error), _FAILED)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"libcontainer_py: {text}\n" if not text.startswith("usage") else f"{text}\n")
    return code
