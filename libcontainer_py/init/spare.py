"""A network namespace made ahead: it takes the kernel as long as all else of clone3, and the host has work to do then.

The host asks for it when it begins to create a container, and for the container itself once all is planned. So it is
always fresh: what a new one inherits from the host's settings is what it would have inherited a moment later.
"""

import os

from libcontainer_py.kernel import libc, network
from libcontainer_py.kernel.constants import CLONE_NEWNET


class Spare:
    """At most one network namespace that nobody lives in."""

    def __init__(self) -> None:
        self._own: int = -1
        self._made: int = -1

    def make(self) -> None:
        """Make one, and throw away what was not taken. Where that fails, clone3 will say why."""
        self.drop()
        try:
            if self._own < 0:
                self._own = _current()
            libc.setns(self._own, CLONE_NEWNET)  # where we might not come back, as in a user namespace, nobody leaves
            libc.unshare(CLONE_NEWNET)
        except OSError:
            return
        try:
            network.loopback_up()
            self._made = _current()
        except OSError:
            pass
        try:
            libc.setns(self._own, CLONE_NEWNET)
        except OSError:
            os._exit(1)  # the host starts another server

    def take(self) -> int:
        """Its descriptor, which the caller closes; -1: there is none."""
        made, self._made = self._made, -1
        return made

    def drop(self) -> None:
        """Let the kernel have it back."""
        made = self.take()
        if made >= 0:
            os.close(made)


def _current() -> int:
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
