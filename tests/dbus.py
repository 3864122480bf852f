"""A systemd of the tests' own, at the other end of a socket: it answers over D-Bus, and notes what it was asked.

It speaks as systemd does on a bus or by itself; what a job comes to, and what a unit is, the test says. jeepney reads
and writes its messages, as it does those of the library.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

import jeepney
from jeepney import HeaderFields, Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "org.freedesktop.systemd1"
MANAGER = f"{NAME}.Manager"
OWNER = ":1.7"
"""Its own name on the bus."""


class Refusal(Exception):
    """Answer with this error."""

    def __init__(self, name: str, text: str = "no") -> None:
        super().__init__(text)
        self.name = f"{NAME}.{name}"
        self.text = text


class Systemd:
    """Runs in a thread until its other end is closed. `asked` has the calls: the method, and its arguments."""

    def __init__(self, *, version: str = "252 (252.38-1~deb12u1)", control_group: str = "") -> None:
        self.ours, self._socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.version = version
        self.group = control_group
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.units: dict[str, dict[str, tuple[str, Any]]] = {}
        self.result = "done"
        """What jobs come to."""
        self.early = False
        """Whether a job has ended before its number is told."""
        self.start: Callable[[str, dict[str, tuple[str, Any]]], None] = lambda unit, properties: None
        self.set: Callable[[str, dict[str, tuple[str, Any]]], None] = lambda unit, properties: None
        self.silent: set[str] = set()
        """Methods that it does not answer."""
        self.forged = False
        """Whether somebody else on the bus also says that the job is done, in its own name."""
        self.failed: BaseException | None = None
        self._serial = 100
        self._jobs = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def serve(self, path: str) -> None:
        """Be found at a path, too: accept one connection there, in place of `ours`."""
        self.ours.close()
        self._thread.join(20)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen()

        def accept() -> None:
            while True:
                try:
                    self._socket, _ = listener.accept()
                except OSError:
                    return
                self._run()

        self._listener = listener
        self._thread = threading.Thread(target=accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Be gone."""
        self.ours.close()
        if hasattr(self, "_listener"):
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.failed is not None:
            raise self.failed

    def hang_up(self) -> None:
        """End the connection."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def named(self, method: str) -> list[tuple[Any, ...]]:
        """The arguments of all calls of a method."""
        return [arguments for name, arguments in self.asked if name == method]

    # -- its end of the wire ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with self._socket:
                self._greet()
                parser = Parser()
                while data := self._socket.recv(65536):
                    parser.add_data(data)
                    while (message := parser.get_next_message()) is not None:
                        self._answer(message)
        except ConnectionError:
            pass  # the other end was closed
        except Exception as error:  # noqa: BLE001  (in this thread nobody hears of it; `close` raises it)
            self.failed = error

    def _greet(self) -> None:
        said = b""
        while b"DATA\r\n" not in said:
            data = self._socket.recv(1)
            if not data:
                raise ConnectionResetError
            said += data
        if said != b"\0AUTH EXTERNAL\r\nDATA\r\n":
            raise ValueError(f"no greeting: {said!r}")
        self._socket.sendall(b"DATA\r\nOK 0123456789abcdef\r\n")
        self._read_line(b"BEGIN\r\n")

    def _read_line(self, line: bytes) -> None:
        said = b""
        while len(said) < len(line):
            data = self._socket.recv(1)
            if not data:
                raise ConnectionResetError
            said += data
        if said != line:
            raise ValueError(f"{said!r} instead of {line!r}")

    def _send(self, message: Any, sender: str = OWNER) -> None:
        self._serial += 1
        message.header.fields[HeaderFields.sender] = sender
        self._socket.sendall(message.serialise(serial=self._serial))

    def _answer(self, message: Any) -> None:
        method = message.header.fields[HeaderFields.member]
        self.asked.append((method, message.body))
        if method in self.silent:
            return
        try:
            signature, body = getattr(self, f"_{method}")(message, *message.body)
        except Refusal as refusal:
            self._send(jeepney.new_error(message, refusal.name, "s", (refusal.text,)))
            return
        if method in ("StartTransientUnit", "StopUnit") and self.early:
            self._end_job(body[0], message.body[0])
        self._send(jeepney.new_method_return(message, signature, body))
        if method in ("StartTransientUnit", "StopUnit") and not self.early:
            self._end_job(body[0], message.body[0])

    def _end_job(self, job: str, unit: str) -> None:
        if self.forged:
            self._tell_end(job, unit, "done", ":1.666")
        self._tell_end("/org/freedesktop/systemd1/job/999999", "another.scope", "failed", OWNER)
        self._tell_end(job, unit, self.result, OWNER)

    def _tell_end(self, job: str, unit: str, result: str, sender: str) -> None:
        address = jeepney.DBusAddress("/org/freedesktop/systemd1", interface=MANAGER)
        self._send(jeepney.new_signal(address, "JobRemoved", "uoss", (1, job, unit, result)), sender)

    # -- methods ------------------------------------------------------------------------------------------------------

    def _Hello(self, message: Any) -> tuple[str, tuple[Any, ...]]:  # noqa: N802  (as D-Bus has it)
        return "s", (":1.1",)

    def _AddMatch(self, message: Any, rule: str) -> tuple[str | None, tuple[Any, ...]]:  # noqa: N802
        return None, ()

    def _Subscribe(self, message: Any) -> tuple[str | None, tuple[Any, ...]]:  # noqa: N802
        return None, ()

    def _Get(self, message: Any, interface: str, name: str) -> tuple[str, tuple[Any, ...]]:  # noqa: N802
        found = {"Version": self.version, "ControlGroup": self.group}
        return "v", (("s", found[name]),)

    def _GetUnit(self, message: Any, unit: str) -> tuple[str, tuple[Any, ...]]:  # noqa: N802
        if unit not in self.units:
            raise Refusal("NoSuchUnit", f"Unit {unit} not loaded.")
        return "o", (f"/unit/{unit.encode().hex()}",)

    def _GetAll(self, message: Any, interface: str) -> tuple[str, tuple[Any, ...]]:  # noqa: N802
        unit = bytes.fromhex(message.header.fields[HeaderFields.path].removeprefix("/unit/")).decode()
        return "a{sv}", (self.units[unit],)

    def _StartTransientUnit(  # noqa: N802
        self, message: Any, unit: str, mode: str, properties: list[Any], auxiliary: list[Any]
    ) -> tuple[str, tuple[Any, ...]]:
        if unit in self.units:
            raise Refusal("UnitExists", f"Unit {unit} already exists.")
        self.start(unit, dict(properties))
        if self.result == "done":
            self.units[unit] = dict(properties)
        return self._job()

    def _StopUnit(self, message: Any, unit: str, mode: str) -> tuple[str, tuple[Any, ...]]:  # noqa: N802
        if unit not in self.units:
            raise Refusal("NoSuchUnit", f"Unit {unit} not loaded.")
        del self.units[unit]
        return self._job()

    def _ResetFailedUnit(self, message: Any, unit: str) -> tuple[str | None, tuple[Any, ...]]:  # noqa: N802
        if self.units.get(unit, {}).get("ActiveState") == ("s", "failed"):
            del self.units[unit]
        return None, ()

    def _SetUnitProperties(  # noqa: N802
        self, message: Any, unit: str, runtime: bool, properties: list[Any]
    ) -> tuple[str | None, tuple[Any, ...]]:
        self.set(unit, dict(properties))
        self.units[unit].update(dict(properties))
        return None, ()

    def _job(self) -> tuple[str, tuple[Any, ...]]:
        self._jobs += 1
        return "o", (f"/org/freedesktop/systemd1/job/{self._jobs}",)
