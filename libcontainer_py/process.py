"""How a container ended, and what a command in one gave back."""

from __future__ import annotations

from typing import NamedTuple

from libcontainer_py.errors import CommandFailed

DEVNULL = -3
"""For stdin, stdout and stderr: /dev/null. The same number as subprocess.DEVNULL."""
PIPE = -1
"""For stdout and stderr of `run()`: capture it. The same number as subprocess.PIPE."""


class ExitStatus(NamedTuple):
    """How a container's init ended.

    `returncode` is the exit code, or the negative number of the signal, as in subprocess. It is None, and `known`
    False, where init is not a child of this process: the kernel tells only the parent.
    """

    returncode: int | None

    @property
    def known(self) -> bool:
        """Whether this process could learn it."""
        return self.returncode is not None

    @property
    def signal(self) -> int | None:
        """The signal that ended it, or None."""
        return -self.returncode if self.returncode is not None and self.returncode < 0 else None

    @property
    def exit_code(self) -> int | None:
        """As a shell tells it: 128 + n for signal n. None where it is not known."""
        if self.returncode is None:
            return None
        return self.returncode if self.returncode >= 0 else 128 - self.returncode


class Result(NamedTuple):
    """What a command in a container gave back."""

    args: tuple[str, ...]
    returncode: int
    """The exit code, or the negative number of the signal that ended it, as in subprocess."""
    stdout: bytes | None
    """What it wrote; None where it was not captured."""
    stderr: bytes | None

    def check_returncode(self) -> None:
        """Raise CommandFailed unless the returncode is 0."""
        if self.returncode:
            raise CommandFailed(self, self.args)
