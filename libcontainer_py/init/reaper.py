"""The pid 1 of run() and the sandbox: it reaps orphans, passes signals on, and reports how its command ended.

A command that is pid 1 itself cannot be killed by its own signals, and has orphans that it never asked for.

It ends with the host, which holds the other end of its control socket, and with it, as pid 1, everything in the
container: also where the fork server was killed with the host.
"""

import os
import select
import sys

from libcontainer_py.init import messages, signals

if sys.platform == "linux":
    import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

NOBODY = 0
"""For a pid 1 without a command."""


def reap(command: int, control: "socket") -> None:
    """Reap until the command ended, then end with its exit code (128 + n for signal n). Never returns."""
    if command != NOBODY:
        signals.forward_to(command)
    # the streams are the command's: a reader of them must see their end when the command and its children are gone
    null = os.open(os.curdir, os.O_PATH | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    signals.on_child(lambda: _reap_all(command, control))
    _reap_all(command, control)  # who ended before
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while not poll.poll():
        pass
    os._exit(1)  # the host says nothing any more: it is gone


def _reap_all(command: int, control: "socket") -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == command:
            _report(os.waitstatus_to_exitcode(status), control)


def _report(code: int, control: "socket") -> None:
    own = resource.getrusage(resource.RUSAGE_SELF)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    try:
        control.send(messages.EXITED + messages.pack_end(code, own.ru_utime + own.ru_stime, peak))
    except OSError:
        pass  # nobody asks any more
    os._exit(code if code >= 0 else 128 - code)
