"""What /proc/PID/cmdline says of a process that executes nothing more: as setproctitle does it."""

import ctypes

_region: "list[int]" = []


def locate() -> None:
    """Find where the words of our command line lie; while /proc is ours. Source: proc(5), arg_start and arg_end."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    _region[:] = [int(fields[45]), int(fields[46])]


def change(words: bytes) -> None:
    """Show these instead, as far as there is room; nothing where `locate` found nothing."""
    start, end = _region or (0, 0)
    if end > start > 0:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, words, min(len(words), end - start - 1))
