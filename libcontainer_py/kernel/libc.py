"""The C library by ctypes: one function a system call, under its man page's name.

The library is loaded at the first call, not at import, so that this module can be imported on any system. `errno`
becomes OSError in one place. What Python's os module already has (setns is there only since 3.12) is not repeated
here.
"""

import ctypes
import os
import struct
import sys

from libcontainer_py.kernel.constants import CLD_EXITED, P_PIDFD, SYSCALLS, WEXITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_MOST_ARGUMENTS = 6
_Statfs = ctypes.c_char * 256  # here, since to make a type of buffers takes longer than what it is for
_OF_INIT = ("fstatfs", "mount", "umount2", "unshare", "setns", "capset", "setdomainname")
_library: "ctypes.CDLL | None" = None
_numbers: "dict[str, int]" = {}


def _libc() -> "ctypes.CDLL":
    global _library
    if _library is None:
        if not sys.platform.startswith("linux"):
            raise OSError(38, "not a Linux system")
        library = ctypes.CDLL(None, use_errno=True)
        library.syscall.restype = ctypes.c_long
        # what c_void_p takes: a number, bytes, a buffer, None. Declared, each is converted without a Python object
        library.syscall.argtypes = (ctypes.c_long, *(ctypes.c_void_p,) * _MOST_ARGUMENTS)
        library.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
        library.prctl.argtypes = (ctypes.c_int, *(ctypes.c_void_p,) * 4)
        for name in _OF_INIT:  # found once, by the fork server, and not by each init
            getattr(library, name)
        _library = library
    return _library


def _raise(path: "str | None" = None) -> "NoReturn":
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)


def number_of(name: str) -> int:
    """The number of a system call on this machine. Raises OSError(ENOSYS) where it is not known."""
    if not _numbers:
        machine = os.uname().machine
        if machine not in SYSCALLS:
            raise OSError(38, f"system calls of machine {machine!r} are not known")
        _numbers.update(SYSCALLS[machine])
    return _numbers[name]


def syscall(name: str, *arguments: "int | bytes | ctypes.Array[ctypes.c_char] | None") -> int:
    """Make a system call; each int travels as a long. Raises OSError."""
    result: int = _libc().syscall(number_of(name), *arguments, *(None,) * (_MOST_ARGUMENTS - len(arguments)))
    if result == -1:
        _raise()
    return result


def foreign(name: str, *arguments: "bytes | ctypes.Array[ctypes.c_char]") -> None:
    """Call a function of the C library that takes buffers and answers 0. Raises OSError."""
    if getattr(_libc(), name)(*arguments):
        _raise()


def fstatfs_type(descriptor: int) -> int:
    """f_type of fstatfs(2): which file system a descriptor lies on, as magic.h numbers them."""
    buffer = _Statfs()
    if _libc().fstatfs(descriptor, buffer):
        _raise()
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)


def mount(source: "str | None", target: str, fstype: "str | None", flags: int, data: "str | None" = None) -> None:
    """mount(2)."""
    if _libc().mount(_encode(source), os.fsencode(target), _encode(fstype), flags, _encode(data)):
        _raise(target)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    if _libc().umount2(os.fsencode(target), flags):
        _raise(target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    syscall("pivot_root", os.fsencode(new_root), os.fsencode(put_old))


def unshare(flags: int) -> None:
    """unshare(2)."""
    if _libc().unshare(ctypes.c_int(flags)):
        _raise()


def setns(descriptor: int, flags: int = 0) -> None:
    """setns(2)."""
    if _libc().setns(descriptor, ctypes.c_int(flags)):
        _raise()


def prctl(option: int, *arguments: int) -> int:
    """prctl(2) for options whose arguments are numbers."""
    four = [*arguments, 0, 0, 0, 0][:4]
    result: int = _libc().prctl(option, *four)
    if result == -1:
        _raise()
    return result


def prctl_each(option: int, arguments: "list[int]") -> None:
    """prctl(2) with each argument in turn, without the cost of looking everything up each time."""
    call = _libc().prctl
    for argument in arguments:
        if call(option, argument, 0, 0, 0) == -1:
            _raise()


def set_name(name: bytes) -> None:
    """prctl(PR_SET_NAME): what /proc/PID/comm says, at most 15 bytes."""
    if _libc().prctl(15, name[:15], 0, 0, 0):
        _raise()


def personality(persona: int) -> None:
    """personality(2)."""
    if _libc().personality(ctypes.c_ulong(persona)) == -1:
        _raise()


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    encoded = os.fsencode(name)
    if _libc().setdomainname(encoded, ctypes.c_size_t(len(encoded))):
        _raise()


def default_signal(number: int) -> None:
    """rt_sigaction(2) to SIG_DFL, also for 32 and 33, which the C library's sigaction refuses."""
    syscall("rt_sigaction", number, bytes(32), None, 8)


def keyctl(operation: int, first: "bytes | int", second: int = 0) -> int:
    """keyctl(2) for operations of one argument or two."""
    return syscall("keyctl", operation, first, second, 0, 0)


def inotify_init1(flags: int) -> int:
    """inotify_init1(2). The caller closes the descriptor."""
    result: int = _libc().inotify_init1(ctypes.c_int(flags))
    if result == -1:
        _raise()
    return result


def inotify_add_watch(descriptor: int, path: str, mask: int) -> int:
    """inotify_add_watch(2): the number of the watch."""
    result: int = _libc().inotify_add_watch(ctypes.c_int(descriptor), os.fsencode(path), ctypes.c_uint32(mask))
    if result == -1:
        _raise(path)
    return result


def waitid(pidfd: int) -> "tuple[int, float, int]":
    """waitid(2) of the process of a pidfd: its exit code or negative signal, CPU seconds, and peak memory in bytes.

    os.waitid tells no usage, and os.wait4 takes no pidfd. What it used counts those of its children that were waited
    for; the memory is that of the largest process. Source: getrusage(2).
    """
    info = ctypes.create_string_buffer(128)  # siginfo_t
    usage = (ctypes.c_long * 18)()  # struct rusage: two pairs of seconds and microseconds, ru_maxrss, 13 more
    syscall("waitid", P_PIDFD, pidfd, info, WEXITED, ctypes.cast(usage, ctypes.c_void_p).value or 0)
    numbers = memoryview(info.raw).cast("i")
    # si_pid, si_uid and si_status are aligned as a pointer is
    status = numbers[6 if ctypes.sizeof(ctypes.c_void_p) == 8 else 5]
    seconds = usage[0] + usage[2] + (usage[1] + usage[3]) / 1e6
    return status if numbers[2] == CLD_EXITED else -status, seconds, usage[4] * 1024


def openat2(directory: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2); O_CLOEXEC is added. The caller closes the descriptor."""
    how = _u64(flags | os.O_CLOEXEC, mode, resolve)
    try:
        return syscall("openat2", directory, os.fsencode(path), how, 24)
    except OSError as error:
        error.filename = path
        raise


def mount_setattr(
    directory: int,
    path: str,
    flags: int,
    *,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
    users: int = 0,
) -> None:
    """mount_setattr(2). `users` is a user namespace, for MOUNT_ATTR_IDMAP."""
    attributes = _u64(attr_set, attr_clr, propagation, users)
    try:
        syscall("mount_setattr", directory, os.fsencode(path), flags, attributes, 32)
    except OSError as error:
        error.filename = path
        raise


def open_tree(directory: int, path: str, flags: int) -> int:
    """open_tree(2). The caller closes the descriptor."""
    try:
        return syscall("open_tree", directory, os.fsencode(path), flags)
    except OSError as error:
        error.filename = path
        raise


def fsopen(fstype: str, flags: int) -> int:
    """fsopen(2). The caller closes it."""
    return syscall("fsopen", os.fsencode(fstype), flags)


def fsconfig(descriptor: int, command: int, key: "str | None" = None, value: "str | None" = None) -> None:
    """fsconfig(2) for commands whose value is a string, of 255 bytes at the most, or which have none."""
    syscall("fsconfig", descriptor, command, _encode(key), _encode(value), 0)


def fsmount(descriptor: int, flags: int, attributes: int) -> int:
    """fsmount(2). The caller closes the descriptor of the mount."""
    return syscall("fsmount", descriptor, flags, attributes)


def move_mount(source: int, source_path: str, target: int, target_path: str, flags: int) -> None:
    """move_mount(2)."""
    try:
        syscall("move_mount", source, os.fsencode(source_path), target, os.fsencode(target_path), flags)
    except OSError as error:
        error.filename = target_path
        raise


def renameat2(old_directory: int, old: str, new_directory: int, new: str, flags: int) -> None:
    """renameat2(2); directories by descriptor, or AT_FDCWD."""
    try:
        syscall("renameat2", old_directory, os.fsencode(old), new_directory, os.fsencode(new), flags)
    except OSError as error:
        error.filename = new
        raise


def close_range(first: int, last: int, flags: int = 0) -> None:
    """close_range(2)."""
    syscall("close_range", first, last, flags)


def _encode(text: "str | None") -> "bytes | None":
    return None if text is None else os.fsencode(text)


def _u64(*values: int) -> bytes:
    return struct.pack(f"={len(values)}Q", *values)
