"""Capability sets of a process, as bit masks. Source: capabilities(7), capset(2)."""

import ctypes
import struct

from libcontainer_py.kernel.constants import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
)
from libcontainer_py.kernel.libc import foreign, prctl, prctl_each

_VERSION_3 = 0x20080522
_Sets = ctypes.c_char * 24


_last: "list[int]" = []


def last_capability() -> int:
    """The highest capability that the kernel knows; read once."""
    if not _last:
        with open("/proc/sys/kernel/cap_last_cap") as file:
            _last.append(int(file.read()))
    return _last[0]


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's sets. Raises OSError(EPERM) where one may not be had."""
    header = _words(_VERSION_3, 0)
    data = _words(*(mask >> shift & 0xFFFFFFFF for shift in (0, 32) for mask in (effective, permitted, inheritable)))
    foreign("capset", header, data)


def capget() -> "tuple[int, int, int]":
    """This thread's (effective, permitted, inheritable)."""
    header = _words(_VERSION_3, 0)
    data = _Sets()
    foreign("capget", header, data)
    words = struct.unpack("=6I", data.raw)
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def bound(mask: int, last: int) -> None:
    """Drop from the bounding set what is not in `mask`, up to capability `last`."""
    prctl_each(PR_CAPBSET_DROP, [capability for capability in range(last + 1) if not mask >> capability & 1])


def set_ambient(mask: int, last: int) -> None:
    """Make the ambient set `mask`; each must be permitted and inheritable."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(last + 1):
        if mask >> capability & 1:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _words(*values: int) -> bytes:
    return struct.pack(f"={len(values)}I", *values)
