"""Network devices and their addresses, by rtnetlink. Raises OSError alone.

Source: netlink(7), rtnetlink(7); include/uapi/linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h of Linux.
"""

import _socket
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NamedTuple

    class Link(NamedTuple):
        """A network device."""

        number: int
        name: str
        flags: int

    class Address(NamedTuple):
        """An address of a network device."""

        family: int
        prefix: int
        flags: int
        scope: int
        attributes: tuple[tuple[int, bytes], ...]

else:
    from collections import namedtuple

    Link = namedtuple("Link", ("number", "name", "flags"))
    Link.__doc__ = "A network device: its number and its name in the namespace where it was looked up, and IFF_*."
    Address = namedtuple("Address", ("family", "prefix", "flags", "scope", "attributes"))
    Address.__doc__ = "An address of a network device: AF_*, bits, IFA_F_*, RT_SCOPE_*, and (IFA_*, value) each."

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFA_F_PERMANENT = 0x80
RT_SCOPE_UNIVERSE = 0
IFA_LABEL = 3

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_DUMP_INTERRUPTED = 0x10
_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 17, 18, 20, 22
_IFLA_IFNAME, _IFLA_NET_NS_FD, _IFLA_NEW_IFINDEX = 3, 28, 49
_IFA_FLAGS = 8
_OF_ADDRESS = frozenset((1, 2, 3, 4, 6, _IFA_FLAGS, 9, 11))
"""ADDRESS, LOCAL, LABEL, BROADCAST, CACHEINFO, FLAGS, RT_PRIORITY and PROTO: what RTM_NEWADDR takes as it tells it."""
_SOL_NETLINK, _ADD_MEMBERSHIP, _DROP_MEMBERSHIP, _CAP_ACK, _EXT_ACK = 270, 1, 2, 10, 11
_RTNLGRP_LINK = 1
_ACK_TLVS, _ACK_CAPPED, _ERROR_TEXT = 0x200, 0x100, 1
_SO_RCVBUFFORCE, _EVENTS = 33, 4 << 20
_ENODEV = 19

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix, flags, scope, index


class Netlink:
    """A rtnetlink socket, in the network namespace of the thread that makes it, whoever uses it."""

    def __init__(self) -> None:
        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
        self._sequence = 0
        self._torn = False
        """Whether something changed while it was told, so that a part of it may be missing."""
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def link(self, which: "str | int") -> Link:
        """A device, by its name or its number. Raises OSError(ENODEV)."""
        number = which if isinstance(which, int) else 0
        name = b"" if isinstance(which, int) else _attribute(_IFLA_IFNAME, os.fsencode(which) + b"\0")
        for kind, body in self._talk(_GETLINK, 0, _LINK.pack(0, 0, number, 0, 0) + name):
            if kind == _NEWLINK:
                _, _, found, flags, _ = _LINK.unpack_from(body)
                attributes = dict(_attributes(body, _LINK.size))
                return Link(found, os.fsdecode(attributes[_IFLA_IFNAME].rstrip(b"\0")), flags)
        raise OSError(_ENODEV, os.strerror(_ENODEV))

    def addresses(self, number: int) -> "list[Address]":
        """All addresses of a device."""
        while True:
            self._torn = False
            found = self._addresses(number)
            if not self._torn:
                return found

    def _addresses(self, number: int) -> "list[Address]":
        found: list[Address] = []
        for kind, body in self._talk(_GETADDR, _DUMP, _ADDRESS.pack(0, 0, 0, 0, 0)):
            family, prefix, flags, scope, of = _ADDRESS.unpack_from(body)
            if kind != _NEWADDR or of != number:
                continue
            attributes = [pair for pair in _attributes(body, _ADDRESS.size) if pair[0] in _OF_ADDRESS]
            if _IFA_FLAGS in dict(attributes):  # all 32 of them
                flags = _number(dict(attributes)[_IFA_FLAGS])
            found.append(Address(family, prefix, flags, scope, tuple(attributes)))
        return found

    def add_address(self, number: int, address: Address) -> None:
        """Give a device an address; one that it has already gets the other properties."""
        body = _ADDRESS.pack(address.family, address.prefix, address.flags & 0xFF, address.scope, number)
        body += b"".join(_attribute(*pair) for pair in address.attributes)
        for _ in self._talk(_NEWADDR, _ACK | _CREATE | _REPLACE, body):
            pass

    def set_up(self, number: int) -> None:
        """Switch a device on."""
        for _ in self._talk(_NEWLINK, _ACK, _LINK.pack(0, 0, number, IFF_UP, IFF_UP)):
            pass

    def move(self, number: int, namespace: int, name: str) -> "tuple[int | None, OSError | None]":
        """Move a device into the network namespace of a descriptor, with a name, or a pattern such as eth%d.

        Returns its number there, None where it is still here, and what went wrong: it may have been moved, but not be
        named. The kernel tells the number, when it says that the device is gone from here.
        """
        body = _LINK.pack(0, 0, number, 0, 0) + _attribute(_IFLA_NET_NS_FD, struct.pack("=i", namespace))
        body += _attribute(_IFLA_IFNAME, os.fsencode(name) + b"\0")
        there: int | None = None
        self._make_room()
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _RTNLGRP_LINK)
        try:
            for kind, event in self._talk(_NEWLINK, _ACK, body):
                if kind == _DELLINK and _LINK.unpack_from(event)[2] == number:
                    new = dict(_attributes(event, _LINK.size)).get(_IFLA_NEW_IFINDEX)
                    there = _number(new) if new is not None else there
        except OSError as error:
            return there, error
        finally:
            self._socket.setsockopt(_SOL_NETLINK, _DROP_MEMBERSHIP, _RTNLGRP_LINK)
            self._drain()
        return there, None

    def _talk(self, kind: int, flags: int, body: bytes) -> "Iterator[tuple[int, bytes]]":
        """Ask for something; yields type and body of what comes until the answer is complete, events among it."""
        self._sequence += 1
        length = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(length, kind, flags | _REQUEST, self._sequence, 0) + body)
        while True:
            data = self._socket.recv(1 << 17)
            while len(data) >= _HEADER.size:
                length, found, marks, sequence, _ = _HEADER.unpack_from(data)
                message, data = data[_HEADER.size : length], data[_aligned(length) :]
                self._torn |= bool(marks & _DUMP_INTERRUPTED)
                if sequence != self._sequence:
                    yield found, message  # an event; those have no sequence
                elif found == _NLMSG_ERROR:
                    _raise(message, marks)
                    return
                elif found == _NLMSG_DONE:
                    return
                else:
                    yield found, message
                    if not flags & (_DUMP | _ACK):
                        return

    def _make_room(self) -> None:
        """For events of others, who may do much while we wait for the lock of all devices."""
        try:
            self._socket.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, _EVENTS)
        except PermissionError:
            self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _EVENTS)

    def _drain(self) -> None:
        """Events of what others did meanwhile."""
        try:
            while True:
                self._socket.recv(1 << 17, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass


def _raise(message: bytes, marks: int) -> None:
    """Raise the error of a NLMSG_ERROR, with what the kernel says beyond the number; 0 is none."""
    errno = -int.from_bytes(message[:4], sys.byteorder, signed=True)
    if not errno:
        return
    text = os.strerror(errno)
    if marks & _ACK_TLVS:
        # after the error the header of our message, and where it is not capped its body too
        start = 4 + (_HEADER.size if marks & _ACK_CAPPED else _aligned(_number(message[4:8])))
        said = dict(_attributes(message, start)).get(_ERROR_TEXT, b"").rstrip(b"\0")
        text = f"{text} ({os.fsdecode(said)})" if said else text
    raise OSError(errno, text)


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


def _aligned(length: int) -> int:
    return length + 3 & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def _attributes(data: bytes, start: int) -> "Iterator[tuple[int, bytes]]":
    while start + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[start + _ATTRIBUTE.size : start + length]  # without NLA_F_NESTED and its like
        start += _aligned(length)
