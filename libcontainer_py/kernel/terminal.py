"""Pseudoterminals, by their descriptors alone. Source: ioctl_tty(2), pts(4)."""

import os
import sys

if sys.platform == "linux":
    import fcntl

_TIOCSCTTY = 0x540E
_TIOCSWINSZ = 0x5414
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441


def unlock(master: int) -> None:
    """Let the other end be opened."""
    fcntl.ioctl(master, _TIOCSPTLCK, bytes(4))


def peer(master: int) -> int:
    """Open the other end, by no path. The caller closes it."""
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_size(descriptor: int, columns: int, rows: int) -> None:
    """Set the size of the window, in characters."""
    fcntl.ioctl(
        descriptor, _TIOCSWINSZ, b"".join(number.to_bytes(2, sys.byteorder) for number in (rows, columns, 0, 0))
    )


def take_control(descriptor: int) -> None:
    """Make it the controlling terminal of our session, which we lead. Raises PermissionError where another has it."""
    fcntl.ioctl(descriptor, _TIOCSCTTY, 0)
