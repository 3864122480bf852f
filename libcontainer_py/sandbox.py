"""run(): a command in a fresh container on the host's file system, with no image, no bundle and no root.

What the command sees: the host's files, read-only; empty directories in place of /run, /tmp, the homes and /sys; a
/proc and /dev of its own; no network, no capabilities, no way to gain privileges, no system calls that ordinary
programs have no use for (`plan.default_seccomp`), an environment of PATH, HOME and LANG. Pid 1 is a small reaper, the
command its child. For an ordinary user it runs in a user namespace with his one id.

The host's files come through overlayfs. A read-only mount would not do: connect() to a socket that a process of the
host has bound somewhere, such as docker.sock, needs no writable mount. Through an overlay no such socket can be
reached, wherever it is and whenever it was bound, because the kernel finds sockets by inode and the overlay's inodes
are others.

It is no boundary against bugs of the kernel, against what the user may read anyway, and, until limits are there,
against using up processor, memory and process ids.
"""

from __future__ import annotations

import os

from libcontainer_py.backends.base import CreateRequest
from libcontainer_py.container import Container
from libcontainer_py.factory import Factory
from libcontainer_py.kernel import mountinfo, process
from libcontainer_py.pipes import Pipes
from libcontainer_py.result import Result, outcome_of
from libcontainer_py.streams import PIPE, Capture, Exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from libcontainer_py.pipes import Stdio
    from libcontainer_py.spec import Spec
    from libcontainer_py.spec.config import Mount

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108  (the sandbox's own /tmp, empty)
_COVERED = ("/run", "/var/run", "/tmp", "/var/tmp", "/root", "/home", "/sys")  # noqa: S108  (hidden, not used)
_OWN = ("/proc", "/dev")
_ON_DISK = frozenset(
    "bcachefs btrfs cramfs erofs ext2 ext3 ext4 f2fs iso9660 jfs nfs nfs4 nilfs2 overlay reiserfs squashfs udf "
    "virtiofs xfs zfs".split()
)


def run(
    args: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: Stdio = None,
    stdout: Stdio = PIPE,
    stderr: Stdio = PIPE,
    check: bool = False,
    factory: Factory | None = None,
) -> Result[bytes]:
    """Run a command in a fresh container on the host's file system, and give back its output and returncode.

    `env` is added to PATH, HOME and LANG; `cwd` is absolute, by default /. Streams are as in subprocess; stdout and
    stderr are captured, as bytes. With `check` a returncode other than 0 raises CommandFailed.

    Raises ProgramNotFound, CreateError, UnsupportedPlatform and the other errors of `Factory.create`.
    """
    command = _arguments(args)
    factory = factory if factory is not None else Factory()
    with Pipes(stdin, stdout, stderr) as pipes:
        exchange = Exchange(outputs=pipes.outputs)
        captured = {"stdout": Capture(None), "stderr": Capture(None)}
        with _container(factory, command, env, cwd, pipes.given) as container:
            pipes.release()
            container.start()
            for name, chunk in pipes.drive(exchange):
                captured[name].take(chunk)
            status = container.wait()
    returncode = 0 if status.returncode is None else status.returncode
    result = Result(
        args=command,
        returncode=returncode,
        stdout=captured["stdout"].value(),
        stderr=captured["stderr"].value(),
        outcome=outcome_of(returncode=returncode),
    )
    if check:
        result.check_returncode()
    return result


def _arguments(args: Sequence[str]) -> tuple[str, ...]:
    if isinstance(args, (str, bytes)):
        raise TypeError(f"args is a sequence of words, not {args!r}: there is no shell")
    return tuple(args)


def _container(
    factory: Factory,
    command: tuple[str, ...],
    env: Mapping[str, str] | None,
    cwd: str | None,
    streams: tuple[int | None, int | None, int | None],
) -> Container:
    container_id = f"sandbox-{os.urandom(8).hex()}"
    spec = _spec(command, {**ENVIRONMENT, **(env or {})}, cwd or "/", factory.directory(container_id))
    request = CreateRequest(container_id, "", spec, *streams, reaper=True, die_with_parent=True)
    return Container.of(factory.backend, factory.backend.create(request), owner=True)


def _spec(command: tuple[str, ...], environment: Mapping[str, str], cwd: str, directory: str) -> Spec:
    import attrs  # noqa: PLC0415  (the faces load no attrs before it is needed)

    from libcontainer_py.plan.default_seccomp import default_seccomp  # noqa: PLC0415
    from libcontainer_py.spec import Spec  # noqa: PLC0415
    from libcontainer_py.spec.config import Capabilities, Root  # noqa: PLC0415
    from libcontainer_py.spec.linux import IDMapping, Namespace  # noqa: PLC0415

    base = Spec.default(command)
    if base.process is None or base.linux is None:
        raise AssertionError("the default has both")
    ordinary = os.geteuid() != 0
    whole = not ordinary and not process.in_user_namespace()
    kinds = ("pid", "network", "ipc", "uts", "mount", "cgroup", *(("user",) if ordinary else ()))
    return attrs.evolve(
        base,
        root=Root(path="rootfs", readonly=True),
        hostname="sandbox",
        process=attrs.evolve(
            base.process,
            cwd=cwd,
            env=tuple(f"{name}={value}" for name, value in environment.items()),
            capabilities=Capabilities(),
            rlimits=(),
            no_new_privileges=True,
        ),
        mounts=(*_files(os.path.join(directory, "rootfs"), whole=whole), *_system(ordinary=ordinary)),
        linux=attrs.evolve(
            base.linux,
            namespaces=tuple(Namespace(type=kind) for kind in kinds),
            uid_mappings=(IDMapping(container_id=0, host_id=os.geteuid(), size=1),) if ordinary else (),
            gid_mappings=(IDMapping(container_id=0, host_id=os.getegid(), size=1),) if ordinary else (),
            resources=None if ordinary else base.linux.resources,
            seccomp=default_seccomp(),
        ),
    )


def _files(empty: str, *, whole: bool) -> Iterator[Mount]:
    """The host's file systems that lie on a disk, through overlays, and empty directories over what is hidden.

    `whole`: one overlay a file system. A user namespace may not take a file system apart from what was mounted on it
    before, since that could show what the mount hides; there it is one overlay a directory that has no mounts below.
    """
    from libcontainer_py.spec.config import Mount  # noqa: PLC0415

    covered = dict.fromkeys((*_COVERED, os.path.expanduser("~")))
    real = [path for path in dict.fromkeys(map(os.path.realpath, covered)) if path != "/" and os.path.isdir(path)]
    hidden = [path for path in real if not any(_is_below(path, other) for other in (*real, *_OWN) if other != path)]
    # below all: an empty file system, since a second layer must not lie within the first
    yield Mount(destination="/", type="tmpfs", source="tmpfs", options=("nosuid", "nodev", "mode=755"))
    mounted = {mount.point: mount.fstype for mount in mountinfo.mounts()}
    if whole:
        yield _overlay("/", "/", empty)
        for point, fstype in mounted.items():
            out_of_sight = any(_is_below(point, other) for other in (*hidden, *_OWN))
            if point != "/" and fstype in _ON_DISK and os.path.isdir(point) and not out_of_sight:
                yield _overlay(point, point, empty)
    else:
        yield from _pieces("/", mounted, {*hidden, *_OWN}, empty)
    for path in hidden:
        mode = "1777" if path in ("/tmp", "/var/tmp") else "755"  # noqa: S108  (the sandbox's own)
        options = ("nosuid", "nodev", f"mode={mode}", "size=25%" if mode == "1777" else "size=16m")
        yield Mount(destination=path, type="tmpfs", source="tmpfs", options=options)


def _pieces(directory: str, mounted: Mapping[str, str], hidden: set[str], empty: str) -> Iterator[Mount]:
    """An overlay for each directory in `directory`, or for those in it where there are mounts below it."""
    from libcontainer_py.spec.config import Mount  # noqa: PLC0415

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
            yield from _pieces(path, mounted, hidden, empty)
        else:
            yield _overlay(source, path, empty)


def _overlay(source: str, destination: str, empty: str) -> Mount:
    from libcontainer_py.spec.config import Mount  # noqa: PLC0415

    # an overlay without an upper layer wants two lower ones; backslashes keep `:` and `,` from being separators;
    # userxattr: in a user namespace trusted.* attributes are out of reach
    layers = ":".join(_escape(layer) for layer in (source, empty))
    options = ("ro", "nosuid", "nodev", "userxattr", f"lowerdir={layers}")
    return Mount(destination=destination, type="overlay", source="overlay", options=options)


def _escape(path: str) -> str:
    return "".join("\\" + character if character in "\\:," else character for character in path)


def _is_below(path: str, other: str) -> bool:
    return path == other or path.startswith(other.rstrip("/") + "/")


def _system(*, ordinary: bool) -> Iterator[Mount]:
    """/proc, /dev and what belongs into it."""
    from libcontainer_py.spec.config import Mount  # noqa: PLC0415

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
