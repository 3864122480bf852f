"""How a container ended, and signals by their names."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from libcontainer_py.plain import NamedTuple


_SIGNALS = (
    *("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM"),
    *("TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF"),
    *("WINCH", "IO", "PWR", "SYS"),
)
"""Linux's signals from 1 on, whatever this system calls its own. Source: signal(7); not those of MIPS, Alpha, SPARC."""
_ALIASES = {"IOT": 6, "CLD": 17, "POLL": 29, "RTMIN": 34, "RTMAX": 64}
_REAL_TIME = range(34, 65)
"""What the C library leaves of the real-time signals."""
_NUMBERS = {
    **{name: number for number, name in enumerate(_SIGNALS, 1)},
    **_ALIASES,
    **{f"RTMIN+{place}": number for place, number in enumerate(_REAL_TIME)},
    **{f"RTMAX-{place}": number for place, number in enumerate(reversed(_REAL_TIME))},
    **{str(number): number for number in range(1, 65)},
}


def signal_number(sig: int | str) -> int:
    """The number of a signal: 1 to 64, or a name such as TERM, SIGTERM, or RTMIN+3. Raises ValueError, TypeError."""
    if isinstance(sig, int):
        number = int(sig)
    elif isinstance(sig, str):  # pyright: ignore[reportUnnecessaryIsInstance] # a caller without types
        number = _NUMBERS.get(sig.upper().removeprefix("SIG"), 0)
    else:
        raise TypeError(f"a signal is a number or a name, not {type(sig).__name__}")
    if not 1 <= number <= 64:
        known = f"{', '.join(_SIGNALS)}, RTMIN+n, RTMAX-n, with SIG before it or not"
        raise ValueError(f"unknown signal {sig!r}: a signal is a number from 1 to 64, or one of {known}")
    return number


class ExitStatus(NamedTuple):
    """How a container's init ended.

    `returncode` is the exit code, or the negative number of the signal, as in subprocess. It is None, and `known`
    False, where init is not a child of this process: the kernel tells only the parent.
    """

    returncode: int | None
    oom_kills: int = 0
    """How many of its processes, init or others, the kernel killed because memory was short in its cgroup.

    0 also where that was gone before this process could look. A SIGKILL of anybody else does not count.
    """

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
