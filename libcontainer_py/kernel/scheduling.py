"""How this process is scheduled, and where its memory comes from."""

import ctypes
import struct

from libcontainer_py.kernel import libc
from libcontainer_py.kernel.constants import IOPRIO_CLASS_SHIFT, IOPRIO_WHO_PROCESS

_BITS = 8 * ctypes.sizeof(ctypes.c_long)


def sched_setattr(policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int) -> None:
    """sched_setattr(2) of this process; times in nanoseconds."""
    attributes = struct.pack("=IIQiIQQQ", 48, policy, flags, nice, priority, runtime, deadline, period)
    libc.syscall("sched_setattr", 0, attributes, 0)


def ioprio_set(io_class: int, priority: int) -> None:
    """ioprio_set(2) of this process."""
    libc.syscall("ioprio_set", IOPRIO_WHO_PROCESS, 0, io_class << IOPRIO_CLASS_SHIFT | priority)


def set_mempolicy(mode: int, nodes: "tuple[int, ...]") -> None:
    """set_mempolicy(2); `mode` with its flags. Raises OSError(EINVAL): a node is not there."""
    if not nodes:
        libc.syscall("set_mempolicy", mode, None, 0)
        return
    size = (max(nodes) // _BITS + 1) * _BITS
    mask = sum(1 << node for node in nodes).to_bytes(size // 8, "little")
    words = [int.from_bytes(mask[at : at + _BITS // 8], "little") for at in range(0, len(mask), _BITS // 8)]
    buffer = ctypes.create_string_buffer(bytes((ctypes.c_ulong * len(words))(*words)), size // 8)
    # the kernel takes maxnode - 1 bits. Source: mm/mempolicy.c, get_nodes
    libc.syscall("set_mempolicy", mode, buffer, size + 1)
