"""What a command gave back, and how it ended: `Result`, and the one place where an `Outcome` is decided.

attrs classes, and so no part of the verbs that must load nothing (see `process`).
"""

from __future__ import annotations

import enum
from typing import Generic, TypeVar

import attrs

from libcontainer_py.errors import CommandFailed

Text_co = TypeVar("Text_co", bound=bytes | str, covariant=True)
"""What streams are given back as."""


class Outcome(str, enum.Enum):
    """How a command ended; `str(Outcome.EXITED)` is `"exited"`."""

    EXITED = "exited"
    """By itself; `returncode` is its exit code."""
    SIGNALED = "signaled"
    """By a signal that was not ours; `signal` says which."""
    TIMEOUT = "timeout"
    """Its time was up, and it was killed."""
    OOM = "oom"
    """It failed, and the kernel had killed one of its processes because memory was short."""
    KILLED = "killed"
    """By a SIGKILL of ours."""
    START_FAILED = "start_failed"
    """It never ran."""

    def __str__(self) -> str:
        return self.value


def outcome_of(*, returncode: int, timed_out: bool = False, killed: bool = False, oom_kills: int = 0) -> Outcome:
    """How a command that ran has ended, from facts in the order of their weight, never from a number such as 137.

    `timed_out`: its time was up while it ran. `killed`: we sent SIGKILL while it ran. `oom_kills`: how many processes
    of its cgroup the kernel killed meanwhile because memory was short; where it did not fail for that, it has exited.
    """
    if timed_out:
        return Outcome.TIMEOUT
    if killed:
        return Outcome.KILLED
    if oom_kills > 0 and returncode != 0:
        return Outcome.OOM
    if returncode < 0:
        return Outcome.SIGNALED
    return Outcome.EXITED


@attrs.frozen(kw_only=True)
class Usage:
    """What a command used."""

    cpu_seconds: float = 0.0
    """Processor time, user's and system's, of all its processes."""
    peak_memory_bytes: int = 0
    """The most memory at one time: of its cgroup where it had one, else of its largest process."""


@attrs.frozen(kw_only=True)
class Result(Generic[Text_co]):
    """What a command in a container gave back."""

    args: tuple[str, ...]
    returncode: int
    """The exit code, or the negative number of the signal that ended it, as in subprocess.

    Of one that never ran 127 where there is no such program, else 126, as shells have it.
    """
    stdout: Text_co
    """What it wrote; empty where it was not captured."""
    stderr: Text_co
    outcome: Outcome
    duration: float = 0.0
    """Seconds from its start to its end."""
    usage: Usage = Usage()
    oom_kills: int = 0
    """How many of its processes the kernel killed because memory was short."""
    truncated: bool = False
    """Whether it wrote more to one of the streams than `max_output`; the rest was dropped."""

    @property
    def signal(self) -> int | None:
        """The signal that ended it, or None."""
        return -self.returncode if self.returncode < 0 else None

    def check_returncode(self) -> None:
        """Raise CommandFailed unless the returncode is 0."""
        if self.returncode:
            raise CommandFailed(self, self.args)
