"""The fork servers of this process: started on first use, found again, ended.

One a process, for each set of credentials and namespaces that the calling thread may have; it lives as long as this
process, or until `shutdown()`. A process that was forked has none of its parent's.

A process that makes one container and ends, as a command line does, has one for the length of a verb: see `once`.
"""

from __future__ import annotations

import _socket
import marshal
import os
import sys
from _thread import RLock, allocate_lock  # threading loads more than it adds
from contextlib import contextmanager

from libcontainer_py.backends import children
from libcontainer_py.errors import LauncherError, UnsupportedPlatform
from libcontainer_py.init import messages
from libcontainer_py.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import TypeAlias

    from libcontainer_py.backends.children import Child

    Place: TypeAlias = tuple[str, str, bool]
    Charge: TypeAlias = tuple[Child, Place]
    """A container that is to end with us: its init, and where the others of it are found (see `init.charges`)."""
    View: TypeAlias = tuple[object, ...]

_NAMESPACES = ("mnt", "user", "pid", "net", "ipc", "uts", "cgroup", "time")
_MOST_SERVERS = 4
_HELLO_TIMEOUT = 30.0
_BYE_TIMEOUT = 5.0
_EBADF, _EPIPE, _ECONNRESET = 9, 32, 104


class Server:
    """One fork server: its process, our end of the socket, what it sees of the world."""

    def __init__(self, python: str, view: View, spawn: Callable[[str, int, int], int]) -> None:
        """Start it by `spawn`, a function that gives its pid; `greet` waits until it is there."""
        self.view: View = view
        self._python = python
        self._greeted = False
        self.limits: tuple[tuple[int, int, int], ...] = limits_of_host()
        self._charges: list[Charge] = []
        self._guard = allocate_lock()
        ours, theirs = socketpair()
        try:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            try:
                pid = spawn(python, theirs.fileno(), null)
            finally:
                os.close(null)
            theirs.close()
            self.socket = ours
            self.pidfd = process.pidfd_of_child(pid)
        except BaseException:
            ours.close()
            theirs.close()
            raise

    def greet(self) -> None:
        """Wait until it is there. Raises LauncherError, UnsupportedPlatform."""
        if self._greeted:
            return
        self.socket.settimeout(_HELLO_TIMEOUT)
        try:
            hello = self.socket.recv(messages.LARGEST)
        except TimeoutError:
            hello = b""
        self.socket.settimeout(None)
        if hello == messages.HELLO:
            self._greeted = True
            return
        self.close()
        report = messages.unpack_report(hello[1:]) if hello.startswith(messages.REFUSED) else None
        if report is not None:
            step, errno, text = report
            hint = (
                "see /proc/sys/user/max_user_namespaces, kernel.unprivileged_userns_clone and AppArmor's restriction "
                "of user namespaces; or run as root"
            )
            raise UnsupportedPlatform(f"{text} ({os.strerror(errno)})", hint=hint if step == "userns" else "")
        raise LauncherError(
            f"the fork server ({self._python} -I -S -E) did not start",
            hint="it takes a Python of 3.10 or later, with ctypes; LinuxBackend(python=...) names another",
        )

    def request(self, data: bytes, descriptors: Iterable[int]) -> None:
        """Send one request; its answer comes over init's control socket, so that none waits for another."""
        self.socket.sendmsg([data], rights(descriptors))

    def take(self, charge: Charge) -> None:
        """Have it end this container when we end. Raises OSError where it is gone."""
        with self._guard:
            self._charges = [*_living(self._charges), charge]
        child, place = charge
        pidfd = child.watch()
        if pidfd is None:
            return
        try:
            self.socket.sendmsg([marshal.dumps((None, (place,)))], rights([pidfd]))
        finally:
            os.close(pidfd)

    def charges(self) -> list[Charge]:
        """What it is to end, as far as that has not ended."""
        with self._guard:
            return _living(self._charges)

    def watch(self) -> int | None:
        """Another pidfd of it, which the caller closes; None: another thread closes it just now, or it is gone."""
        with self._guard:
            return None if self.pidfd is None else os.dup(self.pidfd)

    def close(self) -> None:
        """Let it end, and reap it. Of several threads that find it dead, one does."""
        with self._guard:
            pidfd, self.pidfd = self.pidfd, None
        try:
            self.socket.shutdown(_socket.SHUT_RDWR)  # a forked process may hold a copy of the socket
        except OSError:
            pass  # it ended already
        self.socket.close()
        if pidfd is None:
            return
        if not process.has_ended(pidfd, _BYE_TIMEOUT):
            process.pidfd_send_signal(pidfd, 9)
        children.reap(pidfd)


_guard = RLock()
_servers: dict[tuple[str, View], Server] = {}
_unguarded: list[Charge] = []
"""Charges of servers that died: the next one gets them."""


def shutdown() -> None:
    """End the fork servers of this process, and with them what was to die with it. The next create starts another."""
    with _guard:
        servers = list(_servers.values())
        _servers.clear()
    for server in servers:
        server.close()


def limits_of_host() -> tuple[tuple[int, int, int], ...]:
    """The resource limits of this process: (resource, soft, hard)."""
    import resource  # noqa: PLC0415  (not there on other systems)

    return tuple((number, *resource.getrlimit(number)) for number in range(16))


def serving(python: str) -> Server:
    """The server of this interpreter for the calling thread; the first call starts it."""
    key = (python, _view())
    with _guard:
        server = _servers.get(key)
        if server is None:
            _make_room()
            server = _servers[key] = Server(python, key[1], _spawn)
        try:
            server.greet()
        except BaseException:
            del _servers[key]
            raise
        while _unguarded:
            try:
                server.take(_unguarded[-1])
            except OSError as error:
                drop(server)
                raise LauncherError("the fork server died as soon as it was there") from error
            _unguarded.pop()
        return server


@contextmanager
def once(python: str) -> Generator[None]:
    """A server for as long as this lasts, where there is none: it starts while the caller goes on.

    A process with one thread forks, which saves the server one of its two executions; else as for any.
    """
    key = (python, _view())
    with _guard:
        own = None
        if key not in _servers:
            import threading  # noqa: PLC0415  (for one question)

            alone = threading.active_count() == 1 and python == sys.executable
            own = _servers[key] = Server(python, key[1], _fork if alone else _spawn)
    try:
        yield
    finally:
        if own is not None:
            with _guard:
                successor = _servers.pop(key, own)
            own.close()
            if successor is not own:  # it died meanwhile
                successor.close()


def announce_network(python: str) -> None:
    """Let the server, where one runs, make a network namespace ahead; see `init.spare`."""
    # if this thread will need another, that has none made: nobody is worse off
    server = next((server for (other, _), server in reversed(list(_servers.items())) if other == python), None)
    if server is not None:
        try:
            server.socket.send(messages.AHEAD)
        except OSError:
            return  # the request finds it dead, and starts another


def _make_room() -> None:
    """End servers that nobody needs until there are few enough; one that has somebody to guard stays."""
    for key, server in list(_servers.items()):
        if len(_servers) >= _MOST_SERVERS and not server.charges():
            _servers.pop(key).close()


def _living(charges: Iterable[Charge]) -> list[Charge]:
    return [charge for charge in charges if charge[0].pidfd >= 0]


def guard(python: str, charge: Charge) -> None:
    """Have a server end this container when we end. Raises LauncherError, UnsupportedPlatform."""
    for _ in range(2):
        server = serving(python)
        try:
            server.take(charge)
        except OSError as error:
            if not is_gone(server.socket, error):
                raise
            drop(server)
        else:
            return
    raise LauncherError("the fork server died, and its successor too")


def drop(server: Server) -> None:
    """Forget a server that was found dead; what it was to guard goes to the next one."""
    with _guard:
        for key in [key for key, value in _servers.items() if value is server]:
            del _servers[key]
            _unguarded.extend(server.charges())
    server.close()


def _view() -> View:
    """What a server that is started now would be and see; another thread may have another."""
    from libcontainer_py.kernel import capability  # noqa: PLC0415  (ctypes on first use)

    root = os.stat("/")
    return (
        os.getresuid(),
        os.getresgid(),
        tuple(os.getgroups()),
        capability.capget(),
        (root.st_dev, root.st_ino),
        tuple(_inode(name) for name in _NAMESPACES),
    )


def _inode(name: str) -> int:
    try:
        return process.namespace_inode(name)
    except FileNotFoundError:
        return 0  # a kernel without it


def interpreter() -> str:
    """The Python that the fork server executes."""
    if not sys.executable or not os.path.exists(sys.executable):
        raise LauncherError(
            "sys.executable is no Python, as in an embedded or frozen interpreter",
            hint="say which one to use: LinuxBackend(python=...)",
        )
    return sys.executable


def _spawn(python: str, socket: int, null: int) -> int:
    script, package = _script()
    arguments = [python, "-I", "-S", "-E", script, package]
    high_socket, high_null = _above(socket), _above(null)
    try:
        actions: list[tuple[int, int, int]] = [(os.POSIX_SPAWN_DUP2, high_null, number) for number in (0, 1, 2)]
        actions.append((os.POSIX_SPAWN_DUP2, high_socket, 3))
        return os.posix_spawn(python, arguments, {}, file_actions=actions, setsigmask=(), setsigdef=range(1, 32))
    except OSError as error:
        raise LauncherError(f"{python}: {error.strerror}") from error
    finally:
        os.close(high_socket)
        os.close(high_null)


def _fork(_python: str, socket: int, null: int) -> int:
    from libcontainer_py.init import forkserver  # noqa: PLC0415  (the server's own code, for who forks)

    forkserver.load()
    _, package = _script()
    pid = os.fork()
    if pid == 0:
        try:
            high_socket, high_null = _above(socket), _above(null)
            for number in (0, 1, 2):
                os.dup2(high_null, number)
            os.dup2(high_socket, 3)
            forkserver.protect(package)
        finally:
            os._exit(1)
    return pid


def _script() -> tuple[str, str]:
    """The server's program, and the directory that the package lies in. Raises LauncherError."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    script = os.path.join(package, "init", "forkserver.py")
    if not os.path.exists(script):
        raise LauncherError(
            f"{script} is not a file", hint="the package must be installed as plain files, not in a zip"
        )
    return script, os.path.dirname(package)


def _above(descriptor: int) -> int:
    """Another of it above the numbers that are dup2'd to: of one onto itself, close-on-exec would not be cleared."""
    import fcntl  # noqa: PLC0415  (not there on other systems)

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)


def is_gone(socket: _socket.socket, error: OSError) -> bool:
    """Whether the other side ended, or another thread closed the socket; a bad descriptor to pass on is EBADF too."""
    return error.errno in (_EPIPE, _ECONNRESET) or (error.errno == _EBADF and socket.fileno() < 0)


def socketpair() -> tuple[_socket.socket, _socket.socket]:
    """A pair of connected sockets that keep the bounds of messages."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)


def rights(descriptors: Iterable[int]) -> list[tuple[int, int, bytes]]:
    """The ancillary data by which a message carries these descriptors."""
    packed = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
    return [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)] if packed else []


def _after_fork() -> None:
    """In a forked child: the servers are its parent's."""
    global _guard
    _guard = RLock()
    for server in _servers.values():
        server.socket.close()
        if server.pidfd is not None:
            os.close(server.pidfd)
    _servers.clear()
    _unguarded.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
