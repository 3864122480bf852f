"""Talks to the fork server: starts it on first use, hands it plans, and keeps the children that come back.

One server a process, for each set of credentials and namespaces that the calling thread may have; it lives as long as
this process, or until `shutdown()`. A process that was forked has none of its parent's. This, and the table of
children, is the only state that the library keeps globally: the kernel tells a child's exit status once, and every
handle in the process shall learn it.
"""

from __future__ import annotations

import _socket
import marshal
import os
import select
import sys
import threading

from libcontainer_py.errors import ContainerError, CreateError, LauncherError, UnsupportedPlatform
from libcontainer_py.init import messages
from libcontainer_py.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    Stage: TypeAlias = tuple[tuple[tuple[str, int], ...], str | None]
    Steps: TypeAlias = tuple[tuple[str, tuple[object, ...]], ...]
    View: TypeAlias = tuple[object, ...]

_NAMESPACES = ("mnt", "user", "pid", "net", "ipc", "uts", "cgroup", "time")
_MOST_SERVERS = 4
_HELLO_TIMEOUT = 30.0
_BYE_TIMEOUT = 5.0


class Child:
    """A process of ours: made by the fork server with us as its parent. Its exit status is asked for once."""

    __slots__ = ("_guard", "control", "pid", "pidfd", "returncode", "start")

    def __init__(self, pid: int, pidfd: int, start: int) -> None:
        self.pid: int = pid
        self.pidfd: int = pidfd
        self.start: int = start
        self.returncode: int | None = None
        self.control: _socket.socket | None = None
        """Where a reaper says how its command ended; it ends with 128 + n itself."""
        self._guard = threading.Lock()

    def reap(self) -> int | None:
        """The returncode of a child that ended; None where somebody else took it (a host that ignores SIGCHLD)."""
        with self._guard:
            if self.pidfd >= 0:
                try:
                    found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
                except ChildProcessError:
                    found = None
                if found is not None:
                    self.returncode = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
                os.close(self.pidfd)
                self.pidfd = -1
                self._ask()
            return self.returncode

    def _ask(self) -> None:
        if self.control is None:
            return
        try:
            said = self.control.recv(64, _socket.MSG_DONTWAIT)
        except OSError:
            said = b""
        self.control.close()
        self.control = None
        if said.startswith(messages.EXITED) and len(said) == 5:
            self.returncode = int.from_bytes(said[1:], "little", signed=True)


class _Server:
    """One fork server: its process, our end of the socket, what it sees of the world."""

    def __init__(self, python: str, view: View) -> None:
        self.view = view
        self.limits = limits_of_host()
        self._guard = threading.Lock()
        ours, theirs = _socketpair()
        try:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            try:
                pid = _spawn(python, theirs.fileno(), null)
            finally:
                os.close(null)
            theirs.close()
            self.socket = ours
            self.pidfd = process.pidfd_of_child(pid)
            self._greet(python)
        except BaseException:
            ours.close()
            theirs.close()
            raise

    def _greet(self, python: str) -> None:
        self.socket.settimeout(_HELLO_TIMEOUT)
        try:
            hello = self.socket.recv(messages.LARGEST)
        except TimeoutError:
            hello = b""
        self.socket.settimeout(None)
        if hello == messages.HELLO:
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
            f"the fork server ({python} -I -S -E) did not start",
            hint="it takes a Python of 3.10 or later, with ctypes; LinuxBackend(python=...) names another",
        )

    def request(self, data: bytes, descriptors: list[int]) -> None:
        """Send one request; its answer comes over init's control socket, so that none waits for another."""
        if len(data) <= messages.LARGEST:
            self._send(data, descriptors)
            return
        memfd = os.memfd_create("plan", os.MFD_CLOEXEC)
        try:
            _write_all(memfd, data)
            self._send(messages.IN_MEMFD, [*descriptors, memfd])
        finally:
            os.close(memfd)

    def _send(self, data: bytes, descriptors: list[int]) -> None:
        packed = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
        self.socket.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)] if descriptors else [])

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
        _reap(pidfd)


_guard = threading.RLock()
_servers: dict[tuple[str, View], _Server] = {}
_children: dict[tuple[int, int], Child] = {}


class Launch:
    """An init that was asked for. `control` is our end of its control socket; whoever asked closes it."""

    def __init__(
        self,
        python: str | None,
        flags: int,
        maps: tuple[str, str, bool] | None,
        stage: Stage | None,
        steps: Steps,
        descriptors: Mapping[str, int],
    ) -> None:
        """Ask the fork server; a server that died is replaced. The descriptors are duplicated, the caller keeps his.

        Raises LauncherError, UnsupportedPlatform.
        """
        interpreter = python or _interpreter()
        ours, theirs = _socketpair()
        self.control: _socket.socket = ours
        self._early: list[bytes] = []
        self._server: int | None = None
        self._child: Child | None = None
        request = (flags, maps, stage, steps)
        try:
            try:
                self._ask(_server(interpreter), *request, {**descriptors, "control": theirs.fileno()})
            except _ServerGone:
                self._ask(_server(interpreter), *request, {**descriptors, "control": theirs.fileno()})
        except BaseException as error:
            theirs.close()
            self.discard()  # it may have been asked for already
            if isinstance(error, _ServerGone):
                raise LauncherError("the fork server died, and its successor too") from error
            raise
        finally:
            theirs.close()

    def _ask(
        self,
        server: _Server,
        flags: int,
        maps: tuple[str, str, bool] | None,
        stage: Stage | None,
        steps: Steps,
        descriptors: Mapping[str, int],
    ) -> None:
        ours = limits_of_host()
        plan = steps if ours == server.limits else (("limits_of_host", (ours,)), *steps)
        data = marshal.dumps((flags, tuple(descriptors), maps, stage, plan))  # type: ignore[arg-type]  # plain data by contract
        try:
            server.request(data, list(descriptors.values()))
        except OSError as error:
            if error.errno not in (32, 104, 9):  # EPIPE, ECONNRESET, EBADF: somebody else found it dead already
                raise
            _drop(server)
            raise _ServerGone from error
        self._server = server.watch()

    def born(self) -> Child:
        """Wait for the server's answer. Raises LauncherError, UnsupportedPlatform, CreateError: the kernel's answer."""
        answer, pidfd = self._answer()
        if answer != messages.STAGED:
            self._child = _made(answer, pidfd)
            return self._child
        try:
            self._child = _made(*self._answer())
        finally:
            _reap(pidfd)  # it has nothing more to do
        return self._child

    def _answer(self) -> tuple[bytes, int]:
        """The server's next word. Init may have begun by then: what it says meanwhile is kept for `hear`."""
        while True:
            self._watch()
            said, rights = _receive(self.control)
            if not said:
                raise LauncherError(
                    "the fork server died while it made a container", hint="try again: the next one has another"
                )
            if said[:1] in messages.OF_SERVER:
                return said, int.from_bytes(rights[0][2][:4], sys.byteorder) if rights else -1
            self._early.append(said)

    def _watch(self) -> None:
        """Wait for a word, or for the server's end: init holds the other end of the socket too, and waits for us."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        if self._server is not None:
            poll.register(self._server, select.POLLIN)
            poll.poll()
            poll.unregister(self._server)
        else:
            poll.poll()
        if not poll.poll(0):  # it may have answered before it died
            raise LauncherError(
                "the fork server died while it made a container", hint="try again: the next one has another"
            )

    def hear(self) -> bytes:
        """Init's next word; b"" at its end."""
        return self._early.pop(0) if self._early else _receive(self.control)[0]

    def close(self) -> None:
        """Close what waits for the server; the control socket is the caller's."""
        if self._server is not None:
            os.close(self._server)
            self._server = None

    def discard(self) -> None:
        """Kill and reap what was asked for, whatever became of it, and close the control socket."""
        try:
            child = self._child or self.born()  # the answer comes once
        except ContainerError:
            pass  # there is none
        else:
            process.send_signal(child.pid, child.start, 9)
            child.reap()
        finally:
            self.close()
            self.control.close()


class _ServerGone(Exception):
    """The fork server does not listen any more."""


def _receive(control: _socket.socket) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    """A message from a control socket, with its descriptors; b"" at its end.

    Where the other side ended with words of ours unread, ECONNRESET comes before what it had said.
    """
    for _ in range(2):
        try:
            data, rights, _, _ = control.recvmsg(messages.LARGEST, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            continue
        return data, rights
    return b"", []


def _reap(pidfd: int) -> None:
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        pass  # the host reaps everything, or ignores SIGCHLD
    os.close(pidfd)


def _made(answer: bytes, pidfd: int) -> Child:
    if answer.startswith(messages.MADE):
        pid = int.from_bytes(answer[1:5], "little")
        child = Child(pid, pidfd, _start_of(pid, pidfd))
        with _guard:
            _children[pid, child.start] = child
        return child
    if pidfd >= 0:  # it was made, but its ids could not be mapped
        _reap(pidfd)
    step, errno, text = messages.unpack_report(answer[1:]) or ("clone3", 0, "an answer that makes no sense")
    hint = ""
    if errno == 38:
        raise UnsupportedPlatform(
            "clone3 is not available (ENOSYS)", hint="Linux before 5.3, or a seccomp profile (Docker's) that hides it"
        )
    if errno in (1, 28):
        hint = "are more namespaces allowed here? See /proc/sys/user/max_*_namespaces and the caller's capabilities"
    raise CreateError(f"new namespaces: {text}", step=step, errno=errno, hint=hint)


def _start_of(pid: int, pidfd: int) -> int:
    """When it started; 0, which no process has, where it ended and was reaped, as where SIGCHLD is ignored."""
    try:
        start = process.stat(pid).start
    except OSError:
        return 0
    try:
        process.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return 0  # that was the start of another, which has its pid
    except PermissionError:
        pass  # it is there, and another user's already
    return start


def child(pid: int, start: int) -> Child | None:
    """The child of that pid and start time, where this process made it."""
    with _guard:
        return _children.get((pid, start))


def forget(pid: int, start: int) -> None:
    """Drop a child that was reaped and whose container is gone."""
    with _guard:
        found = _children.get((pid, start))
        if found is not None and found.pidfd < 0:
            del _children[pid, start]


def shutdown() -> None:
    """End the fork servers of this process. The next create starts another."""
    with _guard:
        servers = list(_servers.values())
        _servers.clear()
    for server in servers:
        server.close()


def limits_of_host() -> tuple[tuple[int, int, int], ...]:
    """The resource limits of this process: (resource, soft, hard)."""
    import resource  # noqa: PLC0415  (not there on other systems)

    return tuple((number, *resource.getrlimit(number)) for number in range(16))


def _server(python: str) -> _Server:
    key = (python, _view())
    with _guard:
        server = _servers.get(key)
        if server is None:
            while len(_servers) >= _MOST_SERVERS:
                _servers.pop(next(iter(_servers))).close()
            server = _servers[key] = _Server(python, key[1])
        return server


def _drop(server: _Server) -> None:
    with _guard:
        for key in [key for key, value in _servers.items() if value is server]:
            del _servers[key]
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


def _interpreter() -> str:
    if not sys.executable or not os.path.exists(sys.executable):
        raise LauncherError(
            "sys.executable is no Python, as in an embedded or frozen interpreter",
            hint="say which one to use: LinuxBackend(python=...)",
        )
    return sys.executable


def _spawn(python: str, socket: int, null: int) -> int:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    script = os.path.join(package, "init", "forkserver.py")
    if not os.path.exists(script):
        raise LauncherError(
            f"{script} is not a file", hint="the package must be installed as plain files, not in a zip"
        )
    arguments = [python, "-I", "-S", "-E", script, os.path.dirname(package)]
    # above the numbers that the actions write to, and dup2 of a number onto itself would not clear close-on-exec
    import fcntl  # noqa: PLC0415  (not there on other systems)

    high_socket = fcntl.fcntl(socket, fcntl.F_DUPFD_CLOEXEC, 10)
    high_null = fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, 10)
    try:
        actions: list[tuple[int, int, int]] = [(os.POSIX_SPAWN_DUP2, high_null, number) for number in (0, 1, 2)]
        actions.append((os.POSIX_SPAWN_DUP2, high_socket, 3))
        return os.posix_spawn(python, arguments, {}, file_actions=actions, setsigmask=(), setsigdef=range(1, 32))
    except OSError as error:
        raise LauncherError(f"{python}: {error.strerror}") from error
    finally:
        os.close(high_socket)
        os.close(high_null)


def _socketpair() -> tuple[_socket.socket, _socket.socket]:
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _after_fork() -> None:
    """In a forked child: the server and the children are the parent's."""
    global _guard
    _guard = threading.RLock()
    for server in _servers.values():
        server.socket.close()
        if server.pidfd is not None:
            os.close(server.pidfd)
    _servers.clear()
    for one in _children.values():
        if one.pidfd >= 0:
            os.close(one.pidfd)
    _children.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
