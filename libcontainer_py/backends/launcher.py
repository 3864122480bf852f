"""One init, from the request for it until it runs by itself: talks to the fork server, and over init's control socket.

The server makes an init that knows nothing but its namespaces; while the kernel does so, the caller makes what its plan
needs, and then sends the plan.
"""

from __future__ import annotations

import _socket
import marshal
import os
import select
import sys

from libcontainer_py.backends import children, forkservers
from libcontainer_py.errors import ContainerError, CreateError, LauncherError, UnsupportedPlatform
from libcontainer_py.init import messages
from libcontainer_py.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    from libcontainer_py.plan.steps import Maps

    Stage: TypeAlias = tuple[tuple[tuple[str, int], ...], str | None]
    Steps: TypeAlias = tuple[tuple[str, tuple[object, ...]], ...]

_HINTS = {
    f"new{kind}map": f"give the user these ids in /etc/sub{kind}, as usermod --add-sub{kind}s FIRST-LAST USER does"
    for kind in ("uid", "gid")
}
_GONE = (32, 104, 9)  # EPIPE, ECONNRESET, EBADF: of a socket whose other side ended, or that another thread closed


class Launch:
    """An init that was asked for. `control` is our end of its control socket; whoever asked closes it."""

    def __init__(
        self,
        python: str | None,
        flags: int,
        maps: Maps | None,
        stage: Stage | None,
        descriptors: Mapping[str, int],
    ) -> None:
        """Ask the fork server for an init in new namespaces; a server that died is replaced.

        The descriptors, those of `stage` and "cgroup", are duplicated, the caller keeps his. Raises LauncherError,
        UnsupportedPlatform.
        """
        ours, theirs = forkservers.socketpair()
        self.control: _socket.socket = ours
        self._early: list[bytes] = []
        self._server: int | None = None
        self._limits: object = None
        self._child: children.Child | None = None
        names = {**descriptors, "control": theirs.fileno()}
        data = marshal.dumps((flags, tuple(names), maps, stage))
        try:
            interpreter = python or forkservers.interpreter()
            try:
                self._ask(forkservers.serving(interpreter), data, names.values())
            except _ServerGone:
                self._ask(forkservers.serving(interpreter), data, names.values())
        except BaseException as error:
            theirs.close()
            self.discard()  # it may have been asked for already
            if isinstance(error, _ServerGone):
                raise LauncherError("the fork server died, and its successor too") from error
            raise
        finally:
            theirs.close()

    def _ask(self, server: forkservers.Server, data: bytes, descriptors: Iterable[int]) -> None:
        try:
            server.request(data, descriptors)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            forkservers.drop(server)
            raise _ServerGone from error
        self._server = server.watch()
        self._limits = server.limits

    def instruct(self, steps: Steps, descriptors: Mapping[str, int]) -> None:
        """Send init its plan, with what it needs; the descriptors are duplicated, the caller keeps his.

        Silent where there is no init: `born` says why.
        """
        ours = forkservers.limits_of_host()
        plan = steps if ours == self._limits else (("limits_of_host", (ours,)), *steps)
        data = marshal.dumps((tuple(descriptors), plan))  # type: ignore[arg-type]  # plain data by contract
        try:
            if len(data) <= messages.LARGEST:
                self.control.sendmsg([data], forkservers.rights(descriptors.values()))
            else:
                self._instruct_by_memfd(data, descriptors)
        except OSError as error:
            if error.errno not in _GONE:
                raise

    def _instruct_by_memfd(self, data: bytes, descriptors: Mapping[str, int]) -> None:
        memfd = os.memfd_create("plan", os.MFD_CLOEXEC)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(memfd, view) :]
            self.control.sendmsg([messages.IN_MEMFD], forkservers.rights([*descriptors.values(), memfd]))
        finally:
            os.close(memfd)

    def born(self) -> children.Child:
        """Wait for the server's answer. Raises LauncherError, UnsupportedPlatform, CreateError: the kernel's answer."""
        answer, pidfd = self._answer()
        if answer != messages.STAGED:
            self._child = _made(answer, pidfd)
            return self._child
        try:
            self._child = _made(*self._answer())
        finally:
            children.reap(pidfd)  # it has nothing more to do
        return self._child

    def joined(self) -> tuple[children.Child | None, bytes]:
        """As `born`, of who joins a container: where that fails, None and what it said. It has its plan by then."""
        answer, pidfd = self._answer()
        if answer != messages.STAGED:
            return _made(answer, pidfd), b""
        try:
            answer, born = self._answer((messages.MADE, messages.FAILED))
        finally:
            children.reap(pidfd)
        if answer.startswith(messages.FAILED):
            return None, answer
        self._child = _made(answer, born)
        return self._child, b""

    def _answer(self, words: tuple[bytes, ...] = messages.OF_SERVER) -> tuple[bytes, int]:
        """The server's next word. Init may have begun by then: what it says meanwhile is kept for `hear`."""
        while True:
            self._watch()
            said, rights = _receive(self.control)
            if not said:
                raise LauncherError(
                    "the fork server died while it made a container", hint="try again: the next one has another"
                )
            if said[:1] in words:
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


def _made(answer: bytes, pidfd: int) -> children.Child:
    if answer.startswith(messages.MADE):
        return children.adopt(int.from_bytes(answer[1:5], "little"), pidfd)
    if pidfd >= 0:  # it was made, but its ids could not be mapped
        children.reap(pidfd)
    step, errno, text = messages.unpack_report(answer[1:]) or ("clone3", 0, "an answer that makes no sense")
    hint = _HINTS.get(text.partition(":")[0], "") if step == "map_ids" else ""
    if errno == 38:
        raise UnsupportedPlatform(
            "clone3 is not available (ENOSYS)", hint="Linux before 5.3, or a seccomp profile (Docker's) that hides it"
        )
    if errno in (1, 28) and not hint:
        hint = "are more namespaces allowed here? See /proc/sys/user/max_*_namespaces and the caller's capabilities"
    raise CreateError(f"new namespaces: {text}", step=step, errno=errno, hint=hint)
