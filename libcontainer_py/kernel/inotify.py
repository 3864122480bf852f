"""What changes in files and directories, told by inotify. Source: inotify(7)."""

import os
import sys

from libcontainer_py.kernel import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

IN_MODIFY = 0x002
IN_DELETE = 0x200
IN_MOVE_SELF = 0x800
_IN_CLOEXEC = 0o2000000
_IN_NONBLOCK = 0o4000
_HEADER = 16
_LARGEST = 65536


class Queue:
    """Changes, oldest first. It is opened with its first watch, since few may be open at a time, and never blocks.

    To close one that watches something takes 10 to 20 ms: the kernel waits for a grace period of SRCU.
    """

    def __init__(self) -> None:
        self.descriptor: int = -1
        """Readable while there is something to read; -1 where nothing is watched."""

    def watch(self, path: str, mask: int) -> int:
        """Watch a file, or a directory with what is in it. Returns the number that its changes bear.

        Raises OSError (EMFILE: fs.inotify.max_user_instances; ENOSPC: fs.inotify.max_user_watches).
        """
        if self.descriptor < 0:
            self.descriptor = libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK)
        return libc.inotify_add_watch(self.descriptor, path, mask)

    def read(self) -> "Iterator[tuple[int, int, str]]":
        """All changes since the last time: the watch, what happened (IN_*), the name in the directory."""
        while True:
            try:
                data = os.read(self.descriptor, _LARGEST)
            except BlockingIOError:
                return
            while data:
                number, mask, _, length = (
                    int.from_bytes(data[at : at + 4], sys.byteorder, signed=at == 0) for at in range(0, _HEADER, 4)
                )
                name = data[_HEADER : _HEADER + length].rstrip(b"\0")
                yield number, mask, os.fsdecode(name)
                data = data[_HEADER + length :]

    def close(self) -> None:
        """Watch nothing any more. Silent when repeated."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
