"""The seccomp filter of the program, and its listener. Source: config-linux.md, Seccomp."""

import _socket
import os
import sys

from libcontainer_py.kernel import capability, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_LISTENER: "Final" = 8  # SECCOMP_FILTER_FLAG_NEW_LISTENER


class SeccompFilter:
    """A filter that is to be loaded. `listener` is the path of a socket of the host's, or ""."""

    def __init__(self, listener: str) -> None:
        self.program: bytes = b""
        self.flags: int = 0
        self.keeps_admin: bool = False
        self.state: bytes = b""
        """The container process state, JSON, for the listener."""
        self.socket: _socket.socket | None = None
        if listener:  # now, while the host's files are in reach
            self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            try:
                self.socket.connect(listener)
            except OSError as error:
                error.filename = listener
                raise

    def load(self, sets: "tuple[int, int, int, int, int] | None") -> None:
        """Load it, pass the listener's descriptor on, and give up CAP_SYS_ADMIN where it was kept for this.

        The filter must allow what comes after it: sendmsg and close for a listener, capset, and execve.
        """
        descriptor = seccomp.set_mode_filter(self.program, self.flags)
        if descriptor is not None and self.socket is not None:
            right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder))
            self.socket.sendmsg([self.state], [right])
            os.close(descriptor)
            self.socket.close()
        if self.keeps_admin and sets is not None:
            capability.capset(sets[1], sets[2], sets[3])
