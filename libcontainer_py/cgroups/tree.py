"""Control files, and whole trees of cgroup directories. Raises OSError alone.

A container that may make cgroups can make them deeper than PATH_MAX, and more of them than we may have descriptors. So
trees are walked by one descriptor, up by `..` (there are no symlinks in cgroupfs), never by recursion.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def read(path: str, *, directory: int | None = None) -> str:
    """The whole text of a file, UTF-8 with surrogates for other bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        chunks = [os.read(descriptor, 65536)]
        while chunks[-1]:
            # a short read is no end: the kernel gives mountinfo and cgroup.procs a page at a time
            chunks.append(os.read(descriptor, 65536))
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode("utf-8", "surrogateescape")


def read_word(path: str) -> str:
    """The text of a control file of one word, by one read(2)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 64).decode("ascii").strip()
    finally:
        os.close(descriptor)


def write(path: str, text: str, *, directory: int | None = None) -> None:
    """Give a control file one order: one write(2), which the kernel takes or refuses as a whole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def has_children(path: str) -> bool:
    """Whether there are directories below: kernfs counts them in st_nlink, beside the directory's own two."""
    return os.stat(path).st_nlink > 2


def walk(path: str) -> Iterator[int]:
    """Yield a descriptor of each directory below `path`, children first, `path` last; valid until the next one.

    Directories that vanish meanwhile are passed over.
    """
    descriptor = os.open(path, _DIRECTORY)
    try:
        pending = [_children(descriptor)]
        while True:
            if pending[-1]:
                child = _enter(descriptor, pending[-1].pop())
                if child is not None:
                    os.close(descriptor)
                    descriptor = child
                    pending.append(_children(descriptor))
                continue
            yield descriptor
            pending.pop()
            if not pending:
                return
            above = os.open("..", _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = above
    finally:
        os.close(descriptor)


def remove_tree(path: str) -> bool:
    """Remove a cgroup with all below it. False: some of it is still in use. Silent where it is gone."""
    if _rmdir(path):
        return True
    descriptor = os.open(path, _DIRECTORY)
    try:
        names: list[str] = []
        pending = [_children(descriptor)]
        while True:
            if pending[-1]:
                name = pending[-1].pop()
                if not _rmdir(name, descriptor):
                    child = _enter(descriptor, name)
                    if child is not None:
                        os.close(descriptor)
                        descriptor = child
                        names.append(name)
                        pending.append(_children(descriptor))
                continue
            pending.pop()
            if not names:
                break
            above = os.open("..", _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = above
            _rmdir(names.pop(), descriptor)
    except FileNotFoundError:
        return _rmdir(path)  # somebody else removes it too
    finally:
        os.close(descriptor)
    return _rmdir(path)


def _rmdir(name: str, directory: int | None = None) -> bool:
    """Whether it is gone. rmdir(2) of a cgroup says EBUSY, not ENOTEMPTY, for processes and for children."""
    try:
        os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def _children(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _enter(directory: int, name: str) -> int | None:
    try:
        return os.open(name, _DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        return None
