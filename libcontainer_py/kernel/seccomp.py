"""seccomp(2): load a filter into this thread, and what the kernel can do.

Source: seccomp(2); seccomp_unotify(2); include/uapi/linux/seccomp.h.
"""

import ctypes
import errno
import struct

from libcontainer_py.kernel import libc
from libcontainer_py.kernel.constants import (
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_TSYNC,
    SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
    SECCOMP_GET_ACTION_AVAIL,
    SECCOMP_SET_MODE_FILTER,
)

_INSTRUCTION = 8  # sizeof(struct sock_filter)


def set_mode_filter(program: bytes, flags: int = 0) -> "int | None":
    """SECCOMP_SET_MODE_FILTER: an array of `struct sock_filter`, and SECCOMP_FILTER_FLAG_*.

    It counts at once, for this thread or with TSYNC for all of the process, and for what they execute; it can never be
    taken back. Needs no_new_privs, or CAP_SYS_ADMIN in the user namespace (EACCES). With NEW_LISTENER returns the
    listener's descriptor, close-on-exec, which the caller closes; a second listener is EBUSY. With TSYNC a thread that
    cannot follow, because it has a filter of its own, is ESRCH. EINVAL: the kernel takes no such program or flag.
    """
    if flags & SECCOMP_FILTER_FLAG_TSYNC:
        flags |= SECCOMP_FILTER_FLAG_TSYNC_ESRCH  # else the answer is that thread's id, which looks like a descriptor
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    text = struct.pack("@HP", len(program) // _INSTRUCTION, ctypes.addressof(buffer))
    result = libc.syscall("seccomp", SECCOMP_SET_MODE_FILTER, flags, text)
    return result if flags & SECCOMP_FILTER_FLAG_NEW_LISTENER else None


def get_action_avail(action: int) -> bool:
    """SECCOMP_GET_ACTION_AVAIL: whether the kernel knows one of SECCOMP_RET_*."""
    text = struct.pack("=I", action)
    try:
        libc.syscall("seccomp", SECCOMP_GET_ACTION_AVAIL, 0, text)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return False
        raise
    return True
