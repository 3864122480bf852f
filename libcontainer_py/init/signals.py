"""Signals of an init: the disposition while it waits, and the clean slate that the program gets."""

import os

from libcontainer_py.kernel import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from types import FrameType
else:
    import _signal  # signal loads enum

_ENDING = (1, 2, 3, 15)  # HUP, INT, QUIT, TERM
_SIGPIPE, _SIGCHLD = 13, 17
_IGNORED = (1, 2, _SIGPIPE, 15)
_CHANGED = (*_ENDING, _SIGPIPE)
_FIXED = (9, 19)  # KILL, STOP
_OF_GLIBC = (32, 33)


def _end(number: int, _frame: "FrameType | None") -> None:
    os._exit(128 + number)


def _pass_over(_number: int, _frame: "FrameType | None") -> None:
    pass


def serve() -> None:
    """For the fork server: all signals default, but for what a terminal or a supervisor sends to the host's group.

    Python ignores SIGPIPE and SIGXFSZ, and a program would inherit that; glibc keeps 32 and 33 to itself, and its
    posix_spawn, which made this process, leaves them ignored. Inits inherit what is set here.
    """
    for number in range(1, 65):
        if number in _OF_GLIBC:
            libc.default_signal(number)
        elif number not in _FIXED:
            _signal.signal(number, _signal.SIG_DFL)
    for number in _IGNORED:
        _signal.signal(number, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def while_waiting() -> None:
    """End on HUP, INT, QUIT and TERM, which the kernel would not deliver to a pid 1 without a handler.

    SIGPIPE is caught, so that an exec.fifo without a reader is EPIPE, and becomes default again at execve.
    """
    for number in _ENDING:
        _signal.signal(number, _end)
    _signal.signal(_SIGPIPE, _pass_over)


def forward_to(pid: int) -> None:
    """Pass signals that a parent sends on to a child, as the reaper does."""

    def forward(number: int, _frame: "FrameType | None") -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    for number in (*_ENDING, 10, 12, 28, 18):  # USR1, USR2, WINCH, CONT
        _signal.signal(number, forward)


def on_child(act: "Callable[[], None]") -> None:
    """Call `act` whenever a child has ended, between two steps of whatever goes on."""
    _signal.signal(_SIGCHLD, lambda _number, _frame: act())


def reset() -> None:
    """All signals default, none blocked, for a program or a hook: what `serve` and `while_waiting` changed."""
    for number in _CHANGED:
        _signal.signal(number, _signal.SIG_DFL)
