"""The pid 1 of run() and the sandbox: it reaps orphans, passes signals on, and reports how its command ended.

A command that is pid 1 itself cannot be killed by its own signals, and has orphans that it never asked for.
"""

import os

from libcontainer_py.init import messages, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket


def reap(command: int, control: "socket") -> None:
    """Reap until the command ended, then end with its exit code (128 + n for signal n). Never returns."""
    signals.forward_to(command)
    # the streams are the command's: a reader of them must see their end when the command and its children are gone
    null = os.open(os.curdir, os.O_PATH | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == command:
            break
    code = os.waitstatus_to_exitcode(status)
    try:
        control.send(messages.EXITED + code.to_bytes(4, "little", signed=True))
    except OSError:
        pass  # nobody asks any more
    os._exit(code if code >= 0 else 128 - code)
