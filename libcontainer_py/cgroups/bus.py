"""systemd over D-Bus, in the few words that a scope needs. The only module that knows jeepney, loaded on first use.

Source: org.freedesktop.systemd1(5); D-Bus specification, Authentication Protocol and Message Protocol.
"""

from __future__ import annotations

import errno
import importlib
import os
import socket
import struct
import time

from libcontainer_py.errors import CgroupError, UnsupportedPlatform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Any, TypeAlias

    Property: TypeAlias = tuple[str, tuple[str, object]]
    """A name, and a value with its signature."""

TIMEOUT = 30.0
"""Seconds that systemd may take for an answer, and for a job."""
_BUS = "org.freedesktop.DBus"
_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = f"{_NAME}.Manager"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_CHUNK = 65536
_NO_JEEPNEY = "pip install 'libcontainer-py[systemd]', or apt-get install python3-jeepney"
_CGROUPFS = "LinuxBackend(cgroup_driver='cgroupfs') does without systemd"
_NO_SESSION = "it takes a session of systemd's: loginctl enable-linger, and XDG_RUNTIME_DIR=/run/user/UID"


class BusError(Exception):
    """systemd's, or the bus', answer is an error: its `name`, and its text."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name: str = name.rpartition(".")[2]
        """Its last part: UnitExists, NoSuchUnit."""


class Systemd:
    """A connection to systemd; a context manager that closes it. For one thread at a time."""

    def __init__(self, connection: socket.socket, *, on_bus: bool) -> None:
        """Greet who is at the other end of a connected socket, which is ours to close from now on.

        `on_bus`: it is a bus that passes on, and not systemd itself. Raises OSError, CgroupError.
        """
        self._socket = connection
        self._jeepney: Any = _jeepney()
        self._parser: Any = self._jeepney.Parser()
        self._serial = 0
        self._peer = ""
        self._jobs: dict[tuple[str, str], str] = {}
        try:
            self._authenticate()
            if on_bus:
                self._call(_BUS, "/org/freedesktop/DBus", _BUS, "Hello")
                rule = f"type='signal',sender='{_NAME}',interface='{_MANAGER}',member='JobRemoved'"
                self._call(_BUS, "/org/freedesktop/DBus", _BUS, "AddMatch", "s", (rule,))
            self._call(_NAME, _PATH, _MANAGER, "Subscribe")
        except BaseException:
            self.close()
            raise

    @classmethod
    def connect(cls, *, user: bool) -> Systemd:
        """To the system's, or to this user's own instance. Raises UnsupportedPlatform, CgroupError."""
        _jeepney()
        failed = ""
        for address, on_bus in _addresses(user=user):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(TIMEOUT)
                connection.connect(address)
            except OSError as error:
                connection.close()
                failed = failed or f"{address}: {error.strerror or error}"
                continue
            _check_peer(connection, address)
            try:
                return cls(connection, on_bus=on_bus)
            except (OSError, BusError) as error:
                failed = failed or f"{address}: {error}"
        if not os.path.isdir("/run/systemd/system"):  # sd_booted(3)
            raise UnsupportedPlatform("systemd is not what runs here", hint=_CGROUPFS)
        whose = "this user's systemd" if user else "systemd"
        why = f": {failed}" if failed else ""
        hint = _NO_SESSION if user else f"is dbus running? {_CGROUPFS}"
        raise UnsupportedPlatform(f"{whose} cannot be reached{why}", hint=hint)

    def __enter__(self) -> Systemd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Silent when repeated."""
        self._socket.close()

    # -- what systemd is asked ------------------------------------------------------------------------------------

    def version(self) -> int:
        """As in `252 (252.38-1~deb12u1)`: 252."""
        text = str(self._get(_PATH, _MANAGER, "Version")).lstrip("v")
        digits = text[: next((at for at, one in enumerate(text) if not one.isdigit()), len(text))]
        return int(digits or 0)

    def control_group(self) -> str:
        """The cgroup that all units of this instance are below: "" is the root."""
        return str(self._get(_PATH, _MANAGER, "ControlGroup")).rstrip("/")

    def control_group_of(self, unit: str) -> str | None:
        """The cgroup of a scope, "" where it has none now; None: there is no such unit."""
        found = self.properties_of(unit, ("ControlGroup",))
        return None if found is None else str(found[0][1][1]) if found else ""

    def properties_of(self, unit: str, names: Iterable[str]) -> list[Property] | None:
        """Properties of a scope, those that it has; None: there is no such unit."""
        try:
            (path,) = self._call(_NAME, _PATH, _MANAGER, "GetUnit", "s", (unit,))
            (found,) = self._call(_NAME, path, _PROPERTIES, "GetAll", "s", (f"{_NAME}.Scope",))
        except BusError as error:
            if error.name in ("NoSuchUnit", "UnknownObject"):
                return None
            raise
        return [(name, found[name]) for name in names if name in found]

    def start(self, unit: str, properties: Iterable[Property]) -> None:
        """Start a transient unit, and wait until it is there. Raises BusError, CgroupError."""
        auxiliary: list[object] = []
        arguments = (unit, "fail", list(properties), auxiliary)
        self._job(unit, "StartTransientUnit", "ssa(sv)a(sa(sv))", arguments)

    def stop(self, unit: str) -> None:
        """Stop a unit and let systemd forget it; silent where there is none. Raises CgroupError."""
        try:
            self._job(unit, "StopUnit", "ss", (unit, "replace"))
        except BusError as error:
            if error.name != "NoSuchUnit":
                raise _refused(unit, "cannot be stopped", error) from error
        self.forget_failure(unit)

    def forget_failure(self, unit: str) -> None:
        """A unit that failed stays until somebody has seen it; silent where there is none."""
        try:
            self._call(_NAME, _PATH, _MANAGER, "ResetFailedUnit", "s", (unit,))
        except BusError:
            pass  # it is gone already, or did not fail

    def set(self, unit: str, properties: Iterable[Property]) -> None:
        """Change a unit until it is stopped. Raises CgroupError."""
        try:
            arguments = (unit, True, list(properties))
            self._call(_NAME, _PATH, _MANAGER, "SetUnitProperties", "sba(sv)", arguments)
        except BusError as error:
            raise _refused(unit, "its properties were refused", error) from error

    def _get(self, path: str, interface: str, name: str) -> object:
        try:
            ((_, value),) = self._call(_NAME, path, _PROPERTIES, "Get", "ss", (interface, name))
        except BusError as error:
            raise _refused(path, f"{name} cannot be asked for", error) from error
        return value

    def _job(self, unit: str, method: str, signature: str, arguments: tuple[object, ...]) -> None:
        deadline = time.monotonic() + TIMEOUT
        (job,) = self._call(_NAME, _PATH, _MANAGER, method, signature, arguments)
        while (self._peer, job) not in self._jobs:
            self._receive(deadline)
        result = self._jobs.pop((self._peer, job))
        if result != "done":
            raise CgroupError(
                unit, f"systemd: the job {method} came to {result!r}", errno=errno.EIO, hint=f"systemctl status {unit}"
            )

    # -- messages -------------------------------------------------------------------------------------------------

    def _authenticate(self) -> None:
        """As whom the kernel says that we are, which holds in a user namespace too: no id is sent."""
        self._socket.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\n")
        said = b""
        while b"OK " not in said or not said.endswith(b"\r\n"):
            data = self._socket.recv(_CHUNK)
            said += data
            if not data or b"REJECTED" in said or b"ERROR" in said:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "we were not accepted")
        self._socket.sendall(b"BEGIN\r\n")

    def _call(
        self,
        name: str,
        path: str,
        interface: str,
        method: str,
        signature: str | None = None,
        arguments: tuple[object, ...] = (),
    ) -> tuple[Any, ...]:
        """Call a method and give back what it returns. Raises BusError, CgroupError."""
        self._serial += 1
        deadline = time.monotonic() + TIMEOUT
        address = self._jeepney.DBusAddress(path, bus_name=name, interface=interface)
        message = self._jeepney.new_method_call(address, method, signature, arguments)
        fields = self._jeepney.HeaderFields
        try:
            self._socket.settimeout(TIMEOUT)
            self._socket.sendall(message.serialise(serial=self._serial))
        except OSError as error:
            raise _lost(error) from error
        while True:
            answer = self._receive(deadline)
            header = answer.header
            if header.fields.get(fields.reply_serial) != self._serial:
                continue
            self._peer = header.fields.get(fields.sender, "")
            if header.message_type == self._jeepney.MessageType.error:
                text = answer.body[0] if answer.body and isinstance(answer.body[0], str) else ""
                raise BusError(header.fields.get(fields.error_name, ""), text)
            body: tuple[Any, ...] = answer.body
            return body

    def _receive(self, deadline: float) -> Any:
        """The next message; jobs that ended are noted. Raises CgroupError."""
        while True:
            message = self._parser.get_next_message()
            if message is not None:
                self._note(message)
                return message
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                data = self._socket.recv(_CHUNK)
            except OSError as error:
                raise _lost(error) from error
            if not data:
                raise _lost(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
            self._parser.add_data(data)

    def _note(self, message: Any) -> None:
        fields = self._jeepney.HeaderFields
        if (
            message.header.message_type == self._jeepney.MessageType.signal
            and message.header.fields.get(fields.member) == "JobRemoved"
            and message.header.fields.get(fields.interface) == _MANAGER
        ):
            _, job, _, result = message.body
            # by sender: anybody on the bus may say so, and only who has the job is believed
            self._jobs[message.header.fields.get(fields.sender, ""), job] = result


def _jeepney() -> Any:
    # not an import statement: it comes without types, and it need not be there
    try:
        return importlib.import_module("jeepney")
    except ImportError as error:
        raise UnsupportedPlatform("the systemd cgroup driver needs jeepney", hint=_NO_JEEPNEY) from error


def _addresses(*, user: bool) -> Iterable[tuple[str, bool]]:
    """Where systemd may be reached, and whether that is a bus. Source: D-Bus specification, Well-known buses."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    given = os.environ.get("DBUS_SESSION_BUS_ADDRESS" if user else "DBUS_SYSTEM_BUS_ADDRESS", "")
    if given:
        try:
            bus = importlib.import_module("jeepney.bus")
            yield from ((str(address), True) for address in bus.get_connectable_addresses(given))
        except (RuntimeError, ValueError):
            pass  # not a socket of this machine
    elif not user:
        yield "/run/dbus/system_bus_socket", True
    elif runtime:
        yield f"{runtime}/bus", True
    if not user:
        yield "/run/systemd/private", False
    elif runtime:
        yield f"{runtime}/systemd/private", False


def _check_peer(connection: socket.socket, address: str) -> None:
    """Refuse one whose process we do not see: a pid means another process there, which is not to be moved."""
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if pid == 0:
        connection.close()
        raise UnsupportedPlatform(
            f"systemd, at {address}, is in another pid namespace than this process", hint=_CGROUPFS
        )


def _lost(error: OSError) -> CgroupError:
    if isinstance(error, TimeoutError):
        return CgroupError("systemd", f"no answer within {TIMEOUT:g} s", errno=errno.ETIMEDOUT)
    return CgroupError("systemd", f"the connection is lost: {error.strerror or error}", errno=error.errno or 0)


def _refused(unit: str, what: str, error: BusError) -> CgroupError:
    return CgroupError(unit, f"{what}: systemd: {error} ({error.name})", errno=errno.EIO)
