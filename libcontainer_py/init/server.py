"""The fork server's loop: a request comes in, an init goes out.

A request is one message: marshal of (flags, names of the descriptors that came along, maps, stage). `maps` is None or
what `mapping.write` takes; `stage` None or what `joining.enter` takes. The answer, the pid with a pidfd or a report,
goes to the host over init's control socket, and over that init gets its plan: we know of nothing but namespaces. The
init is made with CLONE_PARENT: it is the host's child, not ours. A message of one word, `messages.AHEAD`, lets us make
a network namespace ahead.

Without a mount namespace of its own it is no init, but a further process of a container: the stage gets the plan,
joins, and makes it.

Another message has no answer: (None, places), with a pidfd for each place (see `charges`).
"""

import _socket
import marshal
import os
import select
import sys

from libcontainer_py.init import executor, joining, mapping, messages
from libcontainer_py.init.charges import Charges
from libcontainer_py.init.spare import Spare
from libcontainer_py.kernel import libc, namespace
from libcontainer_py.kernel.constants import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, CLONE_PARENT, PR_SET_DUMPABLE


def loop(channel_number: int, host: int, poll: "select.poll") -> None:
    """Serve until the host is gone. Never returns."""
    channel = _socket.socket(fileno=channel_number)
    charges = Charges()
    libc.prctl(PR_SET_DUMPABLE, 0)
    poll.register(channel_number, select.POLLIN)
    poll.register(host, select.POLLIN)
    spare = Spare()
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == host:
                _end(charges)
        data, descriptors = _receive(channel)
        if not data:
            _end(charges)  # it is gone, though its pidfd does not say so yet; or has become another program
        if data == messages.AHEAD:
            spare.make()
        else:
            _answer(data, descriptors, charges, spare)


def _end(charges: Charges) -> None:
    try:
        charges.end()
    finally:
        os._exit(0)


def _receive(channel: "_socket.socket") -> "tuple[bytes, list[int]]":
    space = _socket.CMSG_SPACE(4 * messages.MOST_DESCRIPTORS)
    data, rights, _, _ = channel.recvmsg(messages.LARGEST, space, _socket.MSG_CMSG_CLOEXEC)
    return data, [number for _, _, packed in rights for number in memoryview(packed).cast("i")]


def _answer(data: bytes, received: "list[int]", charges: Charges, spare: Spare) -> None:
    request = marshal.loads(data)  # noqa: S302  (the host's, over a socket of the two alone)
    if request[0] is None:
        charges.take(received, request[1])
        return
    flags, names, maps, stage = request
    descriptors = dict(zip(names, received, strict=True))
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, os.dup(descriptors["control"]))
    if stage is not None and not _stage(control, descriptors.pop("cgroup", None)):
        control.close()
        _close(received)
        return
    pidfd = mapped = -1
    step = "clone3"
    try:
        if stage is not None:
            if not flags & CLONE_NEWNS:  # an init has a mount namespace of its own
                executor.start(descriptors["control"])
            joining.enter(stage, descriptors)
        pid, pidfd, mapped = _make(flags, descriptors, spare if stage is None else None)
        if maps is not None:
            step = "map_ids"
            mapping.write(pid, *maps)
        answer = messages.MADE + pid.to_bytes(4, "little")
    except OSError as error:
        subject = f"{error.filename}: " if error.filename else ""
        answer = messages.REFUSED + messages.pack_report(step, error.errno or 0, subject + (error.strerror or ""))
    try:
        if mapped >= 0 and answer.startswith(messages.MADE):
            os.write(mapped, b"1")  # else the child reads the end of the pipe, and ends
        _send(control, answer, pidfd)
    except OSError:
        pass  # the host gave up
    if stage is not None:
        os._exit(0)
    control.close()
    _close([*received, mapped, pidfd])


def _stage(control: "_socket.socket", cgroup: "int | None") -> bool:
    """Make a process that joins namespaces and then makes the init: True in it, False in the server.

    It is a child of the host too, which reaps it. It goes on once the host was told of it.
    """
    wait, told = os.pipe()
    try:
        pid, pidfd = namespace.clone3(CLONE_PARENT, cgroup)  # another user's namespace may not enter it
    except OSError as error:
        os.close(wait)
        os.close(told)
        try:
            control.send(messages.REFUSED + messages.pack_report("clone3", error.errno or 0, error.strerror or ""))
        except OSError:
            pass  # the host gave up
        return False
    if pidfd < 0:
        os.close(told)
        if os.read(wait, 1) != b"1":
            os._exit(1)
        os.close(wait)
        return True
    os.close(wait)
    try:
        _send(control, messages.STAGED + pid.to_bytes(4, "little"), pidfd)
        os.write(told, b"1")
    except OSError:
        pass  # the host gave up
    _close([told, pidfd])
    return False


def _send(control: "_socket.socket", answer: bytes, pidfd: int) -> None:
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pidfd.to_bytes(4, sys.byteorder))] if pidfd >= 0 else []
    control.sendmsg([answer], rights)


def _close(descriptors: "list[int]") -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)


def _make(flags: int, descriptors: "dict[str, int]", spare: "Spare | None") -> "tuple[int, int, int]":
    """Make an init: its pid, its pidfd, and the end of a pipe into which a byte lets it begin.

    Only one that waits for its ids has a pipe; others begin at once (-1).
    """
    cgroup = descriptors.pop("cgroup", None)
    ready = go = network = -1
    if flags & CLONE_NEWUSER:
        ready, go = os.pipe()
        libc.prctl(PR_SET_DUMPABLE, 1)  # or the child's /proc/PID/uid_map would be root's
    elif flags & CLONE_NEWNET and spare is not None:
        network = spare.take()
        flags ^= CLONE_NEWNET if network >= 0 else 0
    try:
        pid, pidfd = namespace.clone3(flags | CLONE_PARENT, cgroup)
        if pid == 0:
            executor.start(descriptors["control"], mapped=ready, network=network)
    except BaseException:
        _close([go])
        raise
    finally:
        if flags & CLONE_NEWUSER:
            libc.prctl(PR_SET_DUMPABLE, 0)
        _close([ready, network])
    return pid, pidfd, go
