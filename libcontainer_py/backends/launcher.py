"""One init, from the request for it until it runs by itself: talks to the fork server, and over init's control socket.

The server makes an init that knows nothing but its namespaces; while the kernel does so, the caller makes what its plan
needs, and then sends the plan.
"""

from __future__ import annotations

import _socket
import marshal
import os
import select
import time

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
_ETIMEDOUT = 110
_SLICE = 0.02


def announce_network(python: str | None) -> None:
    """Say that an init with a network namespace of its own is about to be asked for."""
    forkservers.announce_network(python or forkservers.interpreter())


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
        self._early: list[tuple[bytes, int, int]] = []
        self._terminal: int = -1
        if stage is not None:
            ours.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)  # see `_answer`
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
            if not forkservers.is_gone(server.socket, error):
                raise
            forkservers.drop(server)
            raise _ServerGone from error
        self._server = server.watch()
        self._limits = server.limits

    def instruct(self, steps: Steps, descriptors: Mapping[str, int], *, more: bool = False) -> None:
        """Send init its plan, with what it needs; the descriptors are duplicated, the caller keeps his.

        `more` says that `hand_over` brings what its later steps need. Silent where there is no init: `born` says why.
        """
        ours = forkservers.limits_of_host()
        plan = steps if ours == self._limits else (("limits_of_host", (ours,)), *steps)
        data = marshal.dumps((tuple(descriptors), plan, more))  # type: ignore[arg-type]  # plain data by contract
        try:
            if len(data) <= messages.LARGEST:
                self.control.sendmsg([data], forkservers.rights(descriptors.values()))
            else:
                self._instruct_by_memfd(data, descriptors)
        except OSError as error:
            if not forkservers.is_gone(self.control, error):
                raise

    def hand_over(self, descriptors: Mapping[str, int]) -> None:
        """Send init the descriptors that it waits for; they are duplicated. Silent as `instruct`."""
        try:
            self.control.sendmsg([marshal.dumps(tuple(descriptors))], forkservers.rights(descriptors.values()))
        except OSError as error:
            if not forkservers.is_gone(self.control, error):
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
        if not answer.startswith(messages.STAGED):
            self._child = _made(answer, pidfd)
            return self._child
        try:
            self._child = _made(*self._answer(by=_pid_in(answer)))
        finally:
            children.reap(pidfd)  # it has nothing more to do
        return self._child

    def joined(self) -> tuple[children.Child | None, bytes]:
        """As `born`, of who joins a container: where that fails, None and what it said. It has its plan by then."""
        answer, pidfd = self._answer()
        if not answer.startswith(messages.STAGED):
            return _made(answer, pidfd), b""
        joiner = _pid_in(answer)
        try:
            answer, born = self._answer((messages.MADE, messages.FAILED), by=joiner)
        finally:
            children.reap(pidfd)
        self._find_terminal(joiner)
        if answer.startswith(messages.FAILED):
            return None, answer
        self._child = _made(answer, born)
        return self._child, b""

    def _find_terminal(self, joiner: int) -> None:
        """Of all that came, believe who joined: nobody in the container has seen that process."""
        for entry in [entry for entry in self._early if entry[0] == messages.TERMINAL]:
            self._early.remove(entry)
            _, descriptor, sender = entry
            if sender == joiner and self._terminal < 0:
                self._terminal = descriptor
            elif descriptor >= 0:
                os.close(descriptor)

    def take_terminal(self) -> int:
        """The master of a terminal that came before `joined` was over: the caller's; -1: none came."""
        master, self._terminal = self._terminal, -1
        return master

    def _answer(self, words: tuple[bytes, ...] = messages.OF_SERVER, *, by: int = 0) -> tuple[bytes, int]:
        """The server's next word. Init may have begun by then: what it says meanwhile is kept for `hear`.

        `by` is the pid of who has to say it, 0 for the server. Who made a process in a pid namespace that is there
        already is not seen in there; but the new process is, and somebody who may trace it could say as well, before
        its maker does, that it is a process of his choice.
        """
        while True:
            self._watch()
            said, descriptor, sender = _receive(self.control)
            if not said:
                raise LauncherError(
                    "the fork server died while it made a container", hint="try again: the next one has another"
                )
            if said[:1] in words and by in (0, sender):
                return said, descriptor
            if descriptor >= 0 and by and said != messages.TERMINAL:  # whoever is in the container may have sent it
                os.close(descriptor)
                descriptor = -1
            self._early.append((said, descriptor, sender))

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
        said, descriptor = self.hear_with()
        if descriptor >= 0:
            os.close(descriptor)
        return said

    def hear_with(self) -> tuple[bytes, int]:
        """Init's next word, and the descriptor that came along, which the caller closes; -1 for none."""
        if not self._early:
            return _receive(self.control)[:2]
        said, descriptor, sender = self._early.pop(0)
        if descriptor >= 0 and self._child is not None and sender not in (0, self._child.pid):
            os.close(descriptor)
            return said, -1
        return said, descriptor

    def until_executed(self, child: children.Child, timeout: float) -> bytes:
        """Why a process that joined a container does not execute its program; b"" once it does, or has ended.

        Who is in the container may stop it before, and who may trace it can keep the other end of its control socket:
        so its name is looked at too. Raises CreateError (ETIMEDOUT).
        """
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(child.pidfd, select.POLLIN)
        while not self._early:
            found = [number for number, _ in poll.poll(_SLICE * 1000)]
            if self.control.fileno() in found:
                break
            if found or not _waits(child.pid):
                return b""
            if time.monotonic() >= deadline:
                reason = f"it did not execute its program within {timeout:g} s"
                hint = "somebody in the container may have stopped it; or is the container paused?"
                raise CreateError(reason, step="execute", errno=_ETIMEDOUT, hint=hint)
        return self.hear()

    def close(self) -> None:
        """Close what waits for the server; the control socket is the caller's."""
        if self._server is not None:
            os.close(self._server)
            self._server = None

    def _forget(self) -> None:
        """Close what came along with words that nobody will hear."""
        while self._early:
            _, descriptor, _ = self._early.pop()
            if descriptor >= 0:
                os.close(descriptor)
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1

    def discard(self) -> None:
        """Kill and reap what was asked for, whatever became of it, and close the control socket."""
        try:
            self.control.shutdown(_socket.SHUT_WR)  # who waits for a plan that never comes ends, and does not answer
            child = self._child or self.born()  # the answer comes once
        except (ContainerError, OSError):
            pass  # there is none
        else:
            child.signal(9)  # by its pidfd: the number is what somebody said
            child.reap()
            children.drop(child)
        finally:
            self.close()
            self._forget()
            self.control.close()


class _ServerGone(Exception):
    """The fork server does not listen any more."""


def _waits(pid: int) -> bool:
    try:
        return process.stat(pid).comm == messages.WAITING_NAME
    except OSError:
        return False


def _receive(control: _socket.socket) -> tuple[bytes, int, int]:
    """A message from a control socket, the descriptor that came along (-1), and its sender, where the socket says (0).

    b"" at its end. Where the other side ended with words of ours unread, ECONNRESET comes before what it had said.
    """
    space = _socket.CMSG_SPACE(4) + _socket.CMSG_SPACE(12)  # struct ucred. Source: unix(7)
    for _ in range(2):
        try:
            data, ancillary, _, _ = control.recvmsg(messages.LARGEST, space, _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            continue
        descriptors: list[int] = []
        sender = 0
        for _, kind, packed in ancillary:
            numbers = memoryview(packed[: len(packed) & ~3]).cast("i")
            if kind == _socket.SCM_RIGHTS:
                descriptors += numbers
            elif kind == _socket.SCM_CREDENTIALS:
                sender = numbers[0]
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        return data, descriptors[0] if descriptors else -1, sender
    return b"", -1, 0


def _pid_in(answer: bytes) -> int:
    return int.from_bytes(answer[1:5], "little")


def _made(answer: bytes, pidfd: int) -> children.Child:
    if answer.startswith(messages.MADE):
        return children.adopt(_pid_in(answer), pidfd)
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
