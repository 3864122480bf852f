"""The control files of one controller of a cgroup: written so that it can be undone, with errors that tell everything.

Raises CgroupError alone.
"""

from __future__ import annotations

import errno
import os

from libcontainer_py.cgroups.base import failure
from libcontainer_py.cgroups.tree import read, write
from libcontainer_py.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Change:
    """What was written to control files, and what stood there before."""

    __slots__ = ("_before", "_undo")

    def __init__(self) -> None:
        self._before: list[tuple[str, str]] = []
        self._undo: list[Callable[[], None]] = []

    def note(self, path: str, before: str) -> None:
        """Say that `path` was written to; `before` is what to write to have it as it was."""
        self._before.append((path, before))

    def note_undo(self, undo: Callable[[], None]) -> None:
        """Say what else is to be done to have it as it was, before the files are written back."""
        self._undo.append(undo)

    def undo(self) -> None:
        """Write back what stood there, the last first. What the kernel does not take back stays as it is."""
        while self._undo:
            self._undo.pop()()
        while self._before:
            path, before = self._before.pop()
            try:
                for line in before.splitlines() or [""]:  # a file of several lines takes one at a time
                    write(path, line or "\n")
            except OSError:
                pass  # there is an error on its way already, and it says more


class Controller:
    """One controller: the directory of its files, and the `Change` that all writes are noted in.

    `directory` is "" where its hierarchy is not mounted: whoever wants to write is told so.
    """

    __slots__ = ("change", "directory", "name", "unified")

    def __init__(self, name: str, directory: str, change: Change, *, unified: bool) -> None:
        self.name: str = name
        self.directory: str = directory
        self.change: Change = change
        self.unified: bool = unified
        """Whether it is a controller of v2."""

    def has(self, file: str) -> bool:
        """Whether this kernel has the file, and the controller is on."""
        return bool(self.directory) and os.path.exists(f"{self.directory}/{file}")

    def read(self, file: str) -> str:
        """The text of a file."""
        if not self.directory:
            raise self._unmounted("", "")
        try:
            return read(f"{self.directory}/{file}")
        except OSError as error:
            raise failure(f"{self.directory}/{file}", "cannot be read", error) from error

    def number(self, file: str) -> int:
        """The number in a file; -1 is `max`."""
        text = self.read(file).strip()
        return -1 if text == "max" else int(text)

    def write(
        self, field: str, file: str, value: object, *, before: str | None = None, hints: Mapping[int, str] | None = None
    ) -> None:
        """Write what the field asks for.

        `before` is what to write to undo it, by default what stands there; `hints` say what to do, by errno.
        """
        if not self.directory:
            raise self._unmounted(field, value)
        path = f"{self.directory}/{file}"
        if before is None:
            try:
                before = read(path)
            except OSError:
                pass  # there are files that take orders and show nothing; else writing says the same
        try:
            write(path, str(value))
        except OSError as error:
            raise self._failed(field, file, value, error, hints or {}) from error
        if before is not None:
            self.change.note(path, before)

    def write_keyed(
        self, field: str, file: str, key: str, value: object, *, reset: str, hints: Mapping[int, str] | None = None
    ) -> None:
        """Write the value of one key, such as a device, to a file with a line for each; `reset` is what unsets it."""
        known = (
            (line for line in self.read(file).splitlines() if line.partition(" ")[0] == key) if self.has(file) else ()
        )
        self.write(field, file, f"{key} {value}", before=next(iter(known), f"{key} {reset}"), hints=hints)

    def write_together(self, *orders: tuple[str, str, object], hints: Mapping[int, str]) -> None:
        """Write (field, file, value) that hold only together: what is refused (EINVAL) comes again after the others."""
        pending = list(orders)
        while pending:
            refused: list[tuple[str, str, object]] = []
            for field, file, value in pending:
                try:
                    self.write(field, file, value, hints=hints)
                except CgroupError as error:
                    if error.errno != errno.EINVAL or len(refused) == len(pending) - 1:
                        raise
                    refused.append((field, file, value))
            pending = refused

    def refusal(
        self, field: str, value: object, reason: str, *, hint: str = "", number: int = errno.EINVAL
    ) -> CgroupError:
        """The error for a value that cannot be had here."""
        return CgroupError(
            self.directory or self.name,
            f"{field}: {_shown(value)}: {reason}",
            errno=number,
            hint=hint,
            field=field,
            value=str(value),
        )

    def _unmounted(self, field: str, value: object) -> CgroupError:
        reason = f"the {self.name} hierarchy is not mounted"
        return self.refusal(field, value, reason, hint="mount it, or leave the field out", number=errno.ENOENT)

    def _failed(self, field: str, file: str, value: object, error: OSError, hints: Mapping[int, str]) -> CgroupError:
        number = error.errno or 0
        hint = hints.get(number, "this kernel has no such file" if number == errno.ENOENT else "")
        if number == errno.ENOENT and self.unified and not self._is_on():
            hint = _whose_turn(self.directory, self.name)
        failed = failure(f"{self.directory}/{file}", f"{field}: {_shown(value)} was refused", error, hint=hint)
        failed.field, failed.value = field, str(value)
        return failed

    def _is_on(self) -> bool:
        """Whether the cgroup has the controller; `cgroup` is no controller, and its files are in each."""
        try:
            return self.name in ("cgroup", *read(self.directory + "/cgroup.controllers").split())
        except OSError:
            return True


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _whose_turn(directory: str, controller: str) -> str:
    """Which cgroup above does not pass a controller down, and what to do about it. Source: cgroup-v2.rst, Top-down."""
    current = os.path.dirname(directory)
    while os.path.exists(current + "/cgroup.controllers"):
        try:
            if controller in read(current + "/cgroup.controllers").split():
                break
        except OSError:
            break
        current = os.path.dirname(current)
    else:
        return f"this kernel has no {controller} controller for cgroup v2, or it is in use by v1"
    where = f"{current}/cgroup.subtree_control"
    advice = "have it delegated to this user (systemd: Delegate=yes)" if os.geteuid() else f"write +{controller} there"
    return f"the {controller} controller is not in {where}: {advice}"
