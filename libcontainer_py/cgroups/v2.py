"""cgroup v2: one directory for everything. Source: Documentation/admin-guide/cgroup-v2.rst of Linux."""

from __future__ import annotations

import errno
import os
import select
import time

from libcontainer_py.cgroups.base import (
    FREEZE_TIMEOUT,
    KILL_TIMEOUT,
    Cgroup,
    OomCounts,
    failure,
    number_in,
    oom_counts_in,
)
from libcontainer_py.cgroups.tree import read, read_word, write
from libcontainer_py.errors import CgroupError
from libcontainer_py.kernel.process import in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from libcontainer_py.cgroups.control import Change
    from libcontainer_py.cgroups.devices import DeviceRule
    from libcontainer_py.cgroups.notices import Notices
    from libcontainer_py.kernel import inotify
    from libcontainer_py.spec import Resources
    from libcontainer_py.stats import Stats

_GONE = (errno.ENOENT, errno.ENODEV)


class CgroupV2(Cgroup):
    """A cgroup of the unified hierarchy."""

    __slots__ = ()

    @property
    def path(self) -> str:
        """The one directory."""
        return self._paths[""]

    # -- make -----------------------------------------------------------------------------------------------------

    def _make(self, path: str, made: dict[str, int]) -> bool:
        is_new = super()._make(path, made)
        if path == self.path:
            self._enable_controllers()
            kind = read(path + "/cgroup.type").strip()
            if kind != "domain":
                raise CgroupError(
                    path,
                    f"it is {kind}: the cgroup above it is threaded",
                    errno=errno.EOPNOTSUPP,
                    hint="name a linux.cgroupsPath elsewhere",
                )
        return is_new

    def _enable_controllers(self) -> None:
        """Pass every controller down from the mount's root to ours, as far as each cgroup on the way lets us.

        One with processes of its own passes none (EBUSY); another's may not be ours to write.
        """
        above: list[str] = []
        current = os.path.dirname(self.path)
        while os.path.exists(current + "/cgroup.controllers"):
            above.append(current)
            current = os.path.dirname(current)
        for directory in reversed(above):
            lacking = set(read(directory + "/cgroup.controllers").split())
            lacking -= set(read(directory + "/cgroup.subtree_control").split())
            if lacking and not _enable(directory, sorted(lacking)):
                for controller in sorted(lacking):
                    _enable(directory, [controller])

    def set_devices(self, rules: Iterable[DeviceRule]) -> None:
        from libcontainer_py.cgroups import devicefilter  # noqa: PLC0415  (loads ctypes)

        program = devicefilter.program(rules)
        try:
            directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                devicefilter.attach(directory, program)
            finally:
                os.close(directory)
        except OSError as error:
            if error.errno == errno.EPERM and (in_user_namespace() or os.geteuid()):
                return  # bpf(2) is not for us then; and in a container's user namespace no device can be made either
            raise failure(self.path, "its device rules cannot be set", error) from error

    def set(self, resources: Resources) -> Change:
        from libcontainer_py.cgroups import controllers  # noqa: PLC0415  (for who has limits)

        return controllers.set_v2(self.path, resources)

    def stats(self) -> Stats:
        from libcontainer_py.cgroups import statistics  # noqa: PLC0415  (loads attrs, which other verbs do without)

        return statistics.read_v2(self.path)

    def oom_counts(self) -> OomCounts:
        try:
            return oom_counts_in(read(self.path + "/memory.events"))
        except OSError as error:
            if error.errno in _GONE:
                return OomCounts()
            raise failure(self.path, "it cannot be told who was killed", error) from error

    def notices(self, poll: select.epoll, queue: inotify.Queue) -> Notices:
        from libcontainer_py.cgroups.notices import NoticesV2  # noqa: PLC0415  (for who watches; loads ctypes)

        return NoticesV2(self, poll)

    def peak_memory(self) -> int:
        return number_in(self.path + "/memory.peak")

    # -- put processes into it ------------------------------------------------------------------------------------

    def attach_descriptors(self) -> dict[str, int]:
        return {}

    def clone_descriptor(self) -> int | None:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise failure(self.path, "cannot be opened", error) from error

    # -- act on all of its processes ------------------------------------------------------------------------------

    def freeze(self, *, timeout: float = FREEZE_TIMEOUT) -> None:
        try:
            write(self.path + "/cgroup.freeze", "1")
            if _await_event(self.path, "frozen 1", time.monotonic() + timeout):
                return
            write(self.path + "/cgroup.freeze", "0")
        except OSError as error:
            raise failure(self.path, "cannot be frozen", error) from error
        raise CgroupError(
            self.path,
            f"its processes do not stand still after {timeout:g} s",
            errno=errno.ETIMEDOUT,
            hint="one of them may hang in the kernel (state D in ps)",
        )

    def thaw(self) -> None:
        try:
            write(self.path + "/cgroup.freeze", "0")
        except OSError as error:
            raise failure(self.path, "cannot be thawed", error) from error

    def frozen(self) -> bool:
        try:
            # not cgroup.events: it says `frozen 0` while one process hangs, and `frozen 1` also for a frozen parent
            return read_word(self.path + "/cgroup.freeze") == "1"
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise failure(self.path, "its state cannot be read", error) from error

    def _frozen_in(self, controllers: Iterable[str]) -> bool:
        return self.frozen()

    def kill(self, deadline: float | None = None) -> None:
        from libcontainer_py.cgroups import killing  # noqa: PLC0415  (loads signal, which status does not need)

        if deadline is None:
            deadline = time.monotonic() + KILL_TIMEOUT
        try:
            if killing.kill_at_once(self.path):
                _await_event(self.path, "populated 0", deadline)
        except OSError as error:
            if error.errno not in _GONE:
                raise failure(self.path, "its processes cannot be killed", error) from error
        killing.kill_all([self.path], deadline, freeze=self._setter("1"), thaw=self._setter("0"))

    def _setter(self, value: str) -> Callable[[], None]:
        def set_freeze() -> None:
            try:
                write(self.path + "/cgroup.freeze", value)
            except OSError:
                pass  # it is gone; or killing has to do without, and be repeated more often

        return set_freeze


def _enable(directory: str, controllers: list[str]) -> bool:
    try:
        write(directory + "/cgroup.subtree_control", " ".join("+" + controller for controller in controllers))
    except OSError:
        return False
    return True


def _await_event(path: str, line: str, deadline: float) -> bool:
    """Wait until cgroup.events says so; False at the deadline. The kernel reports each change as POLLPRI."""
    descriptor = os.open(path + "/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLPRI)
        while True:
            # each read also arms the next report
            if line in os.pread(descriptor, 4096, 0).decode().splitlines():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poll.poll(left * 1000)
    finally:
        os.close(descriptor)
