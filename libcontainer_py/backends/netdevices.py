"""Network devices of the host that move into a container's network namespace, and back where create fails.

A move takes a device's addresses away, so they are noted before and given back after; what is physical and what else
the device was told (its MAC and MTU, say) stays with it. Once the container is complete its devices are its own: with
the namespace the kernel ends virtual ones, and returns physical ones to the first namespace.

Source: config-linux.md, Network Devices; Linux: net/core/dev.c, dev_change_net_namespace; network_namespaces(7).
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from typing import NamedTuple

from libcontainer_py.errors import ContainerWarning, CreateError
from libcontainer_py.kernel import libc
from libcontainer_py.kernel.constants import CLONE_NEWNET
from libcontainer_py.kernel.netlink import (
    IFA_F_PERMANENT,
    IFA_LABEL,
    IFF_UP,
    RT_SCOPE_UNIVERSE,
    Address,
    Link,
    Netlink,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_LABEL = 15
_HINTS = {
    1: "it takes CAP_NET_ADMIN in both namespaces",
    17: "choose another name, or one with %d, which the kernel makes unique",
    19: "ip link lists the devices that are here",
}


class _Moved(NamedTuple):
    """A device in the container's namespace, and what it was like on the host."""

    number: int
    before: Link
    addresses: list[Address]


class NetDevices:
    """The devices of one container that is being created."""

    def __init__(self, devices: Iterable[tuple[str, str]], pid: int) -> None:
        """Move each device of the calling thread's namespace, with its new name, into that of the process `pid`.

        Raises CreateError: then all of them are here again.
        """
        self._moved: list[_Moved] = []
        with contextlib.ExitStack() as stack:
            # these keep the namespace, so that a device can be fetched from one whose processes have ended
            self._here: int = _open("/proc/thread-self/ns/net", stack)
            self._there: int = _open(f"/proc/{pid}/ns/net", stack)
            self._ours: Netlink = Netlink()
            stack.callback(self._ours.close)
            self._theirs: Netlink = _netlink_in(self._there)
            stack.callback(self._theirs.close)
            if os.path.sameopenfile(self._here, self._there):
                reason = "linux.netDevices: the container's network namespace is the host's own"
                raise CreateError(reason, step="net_device", hint="make a new one, or join another")
            try:
                for name, new in devices:
                    self._move(name, new)
            except BaseException:
                self._fetch_all()
                raise
            self._closing: contextlib.ExitStack = stack.pop_all()

    def keep(self) -> None:
        """The container is complete, and the devices are its own."""
        self._closing.close()

    def fetch(self) -> None:
        """Bring all devices back to the host, as they were; warn where that cannot be done."""
        with self._closing:
            self._fetch_all()

    def _move(self, name: str, new: str) -> None:
        try:
            link = self._ours.link(name)
            addresses = self._ours.addresses(link.number)  # now: IPv6 forgets them as soon as the device is down
            number, error = self._ours.move(link.number, self._there, new)
            if number is not None:
                self._moved.append(_Moved(number, link, addresses))
            if error is not None:
                raise error
            if number is None:
                raise OSError(71, "the kernel does not say where it is")  # EPROTO
            there = self._theirs.link(number)
            for address in addresses:
                # the specification's words: permanent ones of any family, with global scope
                if address.flags & IFA_F_PERMANENT and address.scope == RT_SCOPE_UNIVERSE:
                    self._theirs.add_address(number, _relabelled(address, link.name, there.name))
            self._theirs.set_up(number)
        except OSError as error:
            reason = f'linux.netDevices["{name}"]: cannot be moved as {new!r}: {error.strerror}'
            errno = error.errno or 0
            hint = _HINTS.get(errno, "")
            raise CreateError(reason, step="net_device", subject=name, errno=errno, hint=hint) from error

    def _fetch_all(self) -> None:
        while self._moved:
            moved = self._moved.pop()
            name = moved.before.name
            try:
                self._fetch(moved)
            except OSError as error:
                # an error is on its way already, which a warning that is made an error must not replace
                with contextlib.suppress(ContainerWarning):
                    text = f"network device {name!r} is not on the host again as it was: {error.strerror}"
                    warnings.warn(text, ContainerWarning, stacklevel=5)

    def _fetch(self, moved: _Moved) -> None:
        number, error = self._theirs.move(moved.number, self._here, moved.before.name)
        if error is not None and number is None:
            # its name was taken meanwhile: the name that the kernel gives in such a case
            number, error = self._theirs.move(moved.number, self._here, "dev%d")
        if number is None:
            raise error or OSError(71, "the kernel does not say where it is")  # EPROTO
        name = self._ours.link(number).name
        for address in moved.addresses:
            self._ours.add_address(number, _relabelled(address, moved.before.name, name))
        if moved.before.flags & IFF_UP:
            self._ours.set_up(number)
        if name != moved.before.name:
            raise OSError(17, f"it is called {name!r}, because another has its name now")


def _open(path: str, stack: contextlib.ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _netlink_in(namespace: int) -> Netlink:
    """A socket in another network namespace: a thread enters that one, makes it, and ends."""
    made: list[Netlink | OSError] = []

    def enter() -> None:
        try:
            libc.setns(namespace, CLONE_NEWNET)
            made.append(Netlink())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    (result,) = made
    if isinstance(result, OSError):
        raise CreateError(
            f"linux.netDevices: the container's network namespace cannot be entered: {result.strerror}",
            step="net_device",
            errno=result.errno or 0,
            hint="it takes CAP_SYS_ADMIN, ours and there",
        ) from result
    return result


def _relabelled(address: Address, old: str, new: str) -> Address:
    """The address with the label, which begins with the device's name, for another name. Source: ip-address(8)."""
    attributes: list[tuple[int, bytes]] = []
    for kind, value in address.attributes:
        if kind == IFA_LABEL:
            label = os.fsdecode(value.rstrip(b"\0"))
            if label == old or label.startswith(f"{old}:"):
                label = new + label[len(old) :]
            if len(os.fsencode(label)) <= _LONGEST_LABEL:
                attributes.append((kind, os.fsencode(label) + b"\0"))
        else:
            attributes.append((kind, value))
    return address._replace(attributes=tuple(attributes))
