"""The one thing that a new network namespace needs: its loopback interface up. Source: netdevice(7)."""

import _socket
import sys

if sys.platform == "linux":
    import fcntl

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_REQUEST = 40  # sizeof(struct ifreq)


def loopback_up() -> None:
    """Bring `lo` up in this network namespace."""
    socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        request = bytearray(b"lo".ljust(_REQUEST, b"\0"))
        fcntl.ioctl(socket.fileno(), _SIOCGIFFLAGS, request)
        flags = int.from_bytes(request[16:18], sys.byteorder)
        if not flags & _IFF_UP:
            request[16:18] = (flags | _IFF_UP).to_bytes(2, sys.byteorder)
            fcntl.ioctl(socket.fileno(), _SIOCSIFFLAGS, request)
    finally:
        socket.close()
