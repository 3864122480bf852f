"""What a sandbox sees as files: the host's or those of a directory, read-only, and what is put over and into them.

The files come through overlayfs. A read-only mount would not do: connect() to a socket that a process of the host has
bound somewhere, such as docker.sock, needs no writable mount. Through an overlay no such socket can be reached,
wherever it is and whenever it was bound, because the kernel finds sockets by inode and the overlay's inodes are others.

Below all lies an empty tmpfs, the second layer of each overlay. In it are the mount points that the files lack: what is
to be mounted there is mounted twice, first onto the tmpfs, where its mount point can be made.
"""

from __future__ import annotations

import os

from libcontainer_py.kernel import mountinfo
from libcontainer_py.spec.config import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from libcontainer_py.sandbox.options import Bind

_COVERED = ("/run", "/var/run", "/tmp", "/var/tmp", "/root", "/home", "/sys")  # noqa: S108  (hidden, not used)
_WRITABLE = ("/tmp", "/var/tmp")  # noqa: S108  (the sandbox's own)
_OF_A_ROOT = ("/run", *_WRITABLE)
_OWN = ("/proc", "/dev")
_ON_DISK = frozenset(
    "bcachefs btrfs cramfs erofs ext2 ext3 ext4 f2fs iso9660 jfs nfs nfs4 nilfs2 overlay reiserfs squashfs udf "
    "virtiofs xfs zfs".split()
)
_EMPTY = "/proc"
"""Where the tmpfs below all has a directory that stays empty, and that is covered later."""
_RESOLVER = "/etc/resolv.conf"
_MOST_LINKS = 40


def files(rootfs: str | None, binds: Iterable[Bind], *, whole: bool, ordinary: bool) -> Iterator[Mount]:
    """All mounts.

    `whole`: one overlay a file system. A user namespace may not take a file system apart from what was mounted on it
    before, since that could show what the mount hides; there it is one overlay a directory that has no mounts below.
    """
    covers = list(_covers(rootfs))
    late = [*covers, *_system(ordinary=ordinary), *map(_bind, binds)]
    missing = list(_lacking(rootfs or "/", late))
    # below all: an empty file system, since a second layer must not lie within the first
    yield Mount(destination="/", type="tmpfs", source="tmpfs", options=("nosuid", "nodev", "mode=755"))
    if missing:
        yield Mount(destination=_EMPTY, type="tmpfs", source="tmpfs", options=("ro", "nosuid", "nodev"))
    yield from missing
    layers = _Layers([mount.destination for mount in missing])
    if rootfs is not None:
        yield _overlay(rootfs, "/", layers)
    else:
        yield from _of_host(covers, layers, whole=whole)
    yield from late


def has_directory(rootfs: str | None, binds: Iterable[Bind], path: str) -> bool:
    """Whether a directory will be there, as far as can be told: what is hidden, and not bound again, is not."""
    base = rootfs or "/"
    found = _resolve(base, path)
    if found is None:
        return False
    places = {mount.destination: "" for mount in (*_covers(rootfs), *_system(ordinary=False))}
    places |= {bind.destination: bind.source for bind in binds}
    inside = max((place for place in places if _is_below(found, place)), key=len, default=None)
    if inside is None:
        return os.path.isdir(base.rstrip("/") + found)
    if places[inside]:
        return os.path.isdir(places[inside] + found[len(inside) :])
    return inside in (found, "/proc")


def resolver() -> Bind | None:
    """The file that says who answers for names of the network, where it lies in a directory that is hidden."""
    from libcontainer_py.sandbox.options import Bind  # noqa: PLC0415  (for who has the network)

    path = os.path.realpath(_RESOLVER)
    covered = [os.path.realpath(one) for one in _COVERED]
    return Bind(path, path) if os.path.isfile(path) and any(_is_below(path, one) for one in covered) else None


def _covers(rootfs: str | None) -> Iterator[Mount]:
    """Empty directories over what is hidden; the temporary ones can be written to."""
    if rootfs is not None:
        hidden = list(_OF_A_ROOT)
    else:
        covered = dict.fromkeys((*_COVERED, os.path.expanduser("~")))
        real = [path for path in dict.fromkeys(map(os.path.realpath, covered)) if path != "/" and os.path.isdir(path)]
        hidden = [path for path in real if not any(_is_below(path, other) for other in (*real, *_OWN) if other != path)]
    for path in hidden:
        mode = "1777" if path in _WRITABLE else "755"
        options = ("nosuid", "nodev", f"mode={mode}", "size=25%" if mode == "1777" else "size=16m")
        yield Mount(destination=path, type="tmpfs", source="tmpfs", options=options)


def _system(*, ordinary: bool) -> Iterator[Mount]:
    """/proc, /dev and what belongs into it."""
    safe = ("nosuid", "noexec", "nodev")
    tty = () if ordinary else ("gid=5",)  # the group tty is not mapped for an ordinary user
    rows: Iterable[tuple[str, str, tuple[str, ...]]] = (
        ("/proc", "proc", safe),
        ("/dev", "tmpfs", ("nosuid", "noexec", "strictatime", "mode=755", "size=65536k")),
        ("/dev/pts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *tty)),
        ("/dev/shm", "tmpfs", (*safe, "mode=1777", "size=25%")),  # noqa: S108  (the sandbox's own)
        ("/dev/mqueue", "mqueue", safe),
    )
    for destination, fstype, options in rows:
        yield Mount(destination=destination, type=fstype, source=fstype, options=options)


def _bind(bind: Bind) -> Mount:
    # recursive, since a user namespace may not leave out what is mounted below
    options = ("rbind", "rnosuid", "rnodev", *(() if bind.writable else ("rro",)))
    return Mount(destination=bind.destination, source=bind.source, options=options)


# -- the host's files -------------------------------------------------------------------------------------------------


def _of_host(covers: Iterable[Mount], layers: _Layers, *, whole: bool) -> Iterator[Mount]:
    hidden = [mount.destination for mount in covers]
    mounted = {mount.point: mount.fstype for mount in mountinfo.mounts()}
    if not whole:
        yield from _pieces("/", mounted, {*hidden, *_OWN}, layers)
        return
    yield _overlay("/", "/", layers)
    for point, fstype in mounted.items():
        out_of_sight = any(_is_below(point, other) for other in (*hidden, *_OWN))
        if point != "/" and fstype in _ON_DISK and os.path.isdir(point) and not out_of_sight:
            yield _overlay(point, point, layers)


def _pieces(directory: str, mounted: Mapping[str, str], hidden: set[str], layers: _Layers) -> Iterator[Mount]:
    """An overlay for each directory in `directory`, or for those in it where there are mounts below it."""
    with os.scandir(directory) as entries:
        paths = sorted(entry.path for entry in entries)
    for path in paths:
        source = os.path.realpath(path)
        if path in hidden or source in hidden or any(_is_below(source, other) for other in hidden):
            continue
        if os.path.isfile(source) and os.access(source, os.R_OK):
            yield Mount(destination=path, source=source, options=("bind", "ro", "nosuid", "nodev"))
        if not os.path.isdir(source) or not os.access(source, os.R_OK | os.X_OK):
            continue
        if path in mounted and mounted[path] not in _ON_DISK:
            continue
        if any(_is_below(point, source) for point in mounted if point != source):
            yield from _pieces(path, mounted, hidden, layers)
        else:
            yield _overlay(source, path, layers)


class _Layers:
    """The second layers of overlays: they add the mount points that the first ones lack."""

    def __init__(self, missing: list[str]) -> None:
        self._missing = missing

    def below(self, destination: str) -> str:
        """The one of an overlay that is mounted there: relative paths start at the tmpfs below all."""
        if destination == "/" or not self._missing:
            return "."
        adds = any(_is_below(path, destination) for path in self._missing)
        return "." + (destination if adds else _EMPTY)


def _overlay(source: str, destination: str, layers: _Layers) -> Mount:
    # an overlay without an upper layer wants two lower ones; backslashes keep `:` and `,` from being separators;
    # userxattr: in a user namespace trusted.* attributes are out of reach
    lower = ":".join(_escape(one) for one in (source, layers.below(destination)))
    options = ("ro", "nosuid", "nodev", "userxattr", f"lowerdir={lower}")
    return Mount(destination=destination, type="overlay", source="overlay", options=options)


def _escape(path: str) -> str:
    return "".join("\\" + character if character in "\\:," else character for character in path)


# -- mount points -----------------------------------------------------------------------------------------------------


def _lacking(base: str, mounts: list[Mount]) -> Iterator[Mount]:
    """Those whose mount point is not there, and cannot be made where they are mounted: in a directory of their own."""
    for mount in mounts:
        found = _resolve(base, mount.destination)
        if found is None or os.path.lexists(base.rstrip("/") + found):
            continue
        if not any(_is_below(found, other.destination) for other in mounts if other.destination != mount.destination):
            yield mount


def _resolve(base: str, path: str) -> str | None:
    """Where a path leads when `base` is the root; None where symlinks go round and round. What is missing is kept."""
    left = path.split("/")[::-1]
    found = ""
    links = 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            found = found.rpartition("/")[0]
            continue
        try:
            target = os.readlink(f"{base.rstrip('/')}{found}/{part}")
        except OSError:
            found = f"{found}/{part}"
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        if target.startswith("/"):
            found = ""
        left += target.split("/")[::-1]
    return found or "/"


def _is_below(path: str, other: str) -> bool:
    return path == other or path.startswith(other.rstrip("/") + "/")
