"""The fork server's loop: a request comes in, an init goes out.

A request is one message: marshal of (flags, names of the descriptors that came along, user namespace maps, steps). The
answer is the pid with a pidfd, or a report. The init is made with CLONE_PARENT: it is the host's child, not ours.
"""

import marshal
import os
import select
import sys

import _socket
from libcontainer_py.init import executor, messages
from libcontainer_py.kernel import libc, namespace
from libcontainer_py.kernel.constants import CLONE_NEWUSER, CLONE_PARENT, PR_SET_DUMPABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    Maps = tuple[str, str, bool] | None  # uid_map, gid_map, whether setgroups is to be denied first

_MOST_DESCRIPTORS = 253  # SCM_MAX_FD


def loop(channel_number: int, host: int, poll: select.poll) -> None:
    """Serve until the host is gone. Never returns."""
    channel = _socket.socket(fileno=channel_number)
    libc.prctl(PR_SET_DUMPABLE, 0)
    poll.register(channel_number, select.POLLIN)
    poll.register(host, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == host:
                os._exit(0)
        data, descriptors = _receive(channel)
        if not data:
            os._exit(0)
        _answer(channel, data, descriptors)


def _receive(channel: "_socket.socket") -> "tuple[bytes, list[int]]":
    space = _socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
    data, rights, _, _ = channel.recvmsg(messages.LARGEST + 1, space, _socket.MSG_CMSG_CLOEXEC)
    descriptors = [number for _, _, packed in rights for number in memoryview(packed).cast("i")]
    if data == messages.IN_MEMFD:
        memfd = descriptors.pop()
        data = os.pread(memfd, os.fstat(memfd).st_size, 0)
        os.close(memfd)
    return data, descriptors


def _answer(channel: "_socket.socket", data: bytes, received: "list[int]") -> None:
    try:
        flags, names, maps, steps = marshal.loads(data)
        descriptors = dict(zip(names, received, strict=True))
        pid, pidfd = _make(flags, descriptors, maps, steps)
    except OSError as error:
        channel.send(messages.REFUSED + messages.pack_report("clone3", error.errno or 0, error.strerror or ""))
    else:
        right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pidfd.to_bytes(4, sys.byteorder))
        channel.sendmsg([messages.MADE + pid.to_bytes(4, "little")], [right])
        os.close(pidfd)
    finally:
        for descriptor in received:
            os.close(descriptor)


def _make(
    flags: int,
    descriptors: "dict[str, int]",
    maps: "Maps",
    steps: "tuple[tuple[str, tuple[object, ...]], ...]",
) -> "tuple[int, int]":
    cgroup = descriptors.pop("cgroup", None)
    ready, go = os.pipe() if flags & CLONE_NEWUSER else (None, -1)
    if ready is not None:
        libc.prctl(PR_SET_DUMPABLE, 1)  # or the child's /proc/PID/uid_map would be root's
    try:
        pid, pidfd = namespace.clone3(flags | CLONE_PARENT, cgroup)
        if pid == 0:
            executor.start(steps, descriptors, ready)
        if maps is not None:
            try:
                _map_ids(pid, maps)
                os.write(go, b"1")
            except OSError:
                os.close(pidfd)
                raise  # the child reads the end of the pipe, and ends
        return pid, pidfd
    finally:
        if ready is not None:
            libc.prctl(PR_SET_DUMPABLE, 0)
            os.close(ready)
            os.close(go)


def _map_ids(pid: int, maps: "tuple[str, str, bool]") -> None:
    uid_map, gid_map, deny_setgroups = maps
    if deny_setgroups:
        _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/gid_map", gid_map)
    _write(f"/proc/{pid}/uid_map", uid_map)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
