"""cgroup v1: one directory in each hierarchy, and on hybrid hosts one more, on v2, that has no controllers.

Source: Documentation/admin-guide/cgroup-v1 of Linux: cgroups.rst, freezer-subsystem.rst, cpusets.rst, devices.rst.
"""

from __future__ import annotations

import errno
import os
import time

from libcontainer_py.cgroups.base import (
    FREEZE_TIMEOUT,
    KILL_TIMEOUT,
    Cgroup,
    OomCounts,
    failure,
    number_in,
    oom_kills_in,
)
from libcontainer_py.cgroups.tree import has_children, read, read_word, walk, write
from libcontainer_py.errors import CgroupError
from libcontainer_py.kernel.process import in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Iterable, Sequence

    from libcontainer_py.cgroups.control import Change
    from libcontainer_py.cgroups.devices import DeviceRule
    from libcontainer_py.cgroups.notices import Notices
    from libcontainer_py.kernel import inotify
    from libcontainer_py.spec import Resources
    from libcontainer_py.stats import Stats

_GONE = (errno.ENOENT, errno.ENODEV)
_LONGEST_PAUSE = 0.01


class CgroupV1(Cgroup):
    """A cgroup of v1, or of a hybrid host."""

    __slots__ = ()

    # as with runc: they limit nothing, and a host without systemd's hierarchy may still run containers
    optional: frozenset[str] = frozenset({"name=systemd", ""})

    def _prepare(self, path: str) -> None:
        cpuset = self._paths.get("cpuset")
        if cpuset is not None and (cpuset == path or cpuset.startswith(path + "/")):
            _fill_cpuset(path)

    def set_devices(self, rules: Iterable[DeviceRule]) -> None:
        from libcontainer_py.cgroups import devices  # noqa: PLC0415  (status does not need it)

        path = self._paths.get("devices")
        if path is None:
            raise CgroupError(
                "devices",
                "this hierarchy is not mounted",
                errno=errno.ENOENT,
                hint="a container needs it for its safety",
            )
        try:
            orders = devices.orders(read(path + "/devices.list"), rules)
        except ValueError as error:
            raise CgroupError(
                path, str(error), errno=errno.EINVAL, hint="put the rule that allows more first"
            ) from error
        except OSError as error:
            raise failure(path, "its device rules cannot be read", error) from error
        for file, text in orders:
            try:
                write(f"{path}/{file}", text)
            except OSError as error:
                if error.errno == errno.EPERM and in_user_namespace():
                    return  # the kernel takes no rules there, and no device can be made there either
                hint = "the cgroup above does not allow this device" if error.errno == errno.EPERM else ""
                raise failure(f"{path}/{file}", f"{text!r} was refused", error, hint=hint) from error

    def set(self, resources: Resources) -> Change:
        from libcontainer_py.cgroups import controllers  # noqa: PLC0415  (for who has limits)

        return controllers.set_v1(self._paths, resources)

    def stats(self) -> Stats:
        from libcontainer_py.cgroups import statistics  # noqa: PLC0415  (loads attrs, which other verbs do without)

        return statistics.read_v1(self._paths, self.oom_kills)

    def oom_counts(self) -> OomCounts:
        """Kills alone: that memory ran out is told, and not counted."""
        path = self._paths.get("memory")
        if path is None:
            return OomCounts()
        try:
            if not has_children(path):
                return OomCounts(0, oom_kills_in(read(path + "/memory.oom_control")))
            files = (read("memory.oom_control", directory=directory) for directory in walk(path))
            return OomCounts(0, sum(map(oom_kills_in, files)))
        except OSError as error:
            if error.errno in _GONE:
                return OomCounts()
            raise failure(path, "it cannot be told who was killed", error) from error

    def notices(self, poll: select.epoll, queue: inotify.Queue) -> Notices:
        from libcontainer_py.cgroups.notices import NoticesV1  # noqa: PLC0415  (for who watches; loads ctypes)

        return NoticesV1(self, poll, queue)

    def peak_memory(self) -> int:
        path = self._paths.get("memory")
        return 0 if path is None else number_in(path + "/memory.max_usage_in_bytes")

    def attach_descriptors(self) -> dict[str, int]:
        """The `tasks` file of each hierarchy, write-only.

        `tasks` and not cgroup.procs: the first write to that one after idle time waits 11 ms for an RCU grace period.
        """
        opened: dict[str, int] = {}
        unified = self._paths.get("")
        file = ""
        try:
            for path in self.directories:
                if path != unified:
                    file = path + "/tasks"
                    opened[file] = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            for descriptor in opened.values():
                os.close(descriptor)
            raise failure(file, "cannot be opened", error) from error
        return opened

    def clone_descriptor(self) -> int | None:
        path = self._paths.get("")
        if path is None:
            return None
        try:
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None  # runc names it in its state, and ignores it where it could not be made
        except OSError as error:
            raise failure(path, "cannot be opened", error) from error

    # -- freezer --------------------------------------------------------------------------------------------------

    def freeze(self, *, timeout: float = FREEZE_TIMEOUT) -> None:
        path = self._freezer()
        try:
            if _freeze(path, time.monotonic() + timeout):
                return
            write(path + "/freezer.state", "THAWED")
        except OSError as error:
            raise failure(path, "cannot be frozen", error) from error
        raise CgroupError(
            path,
            f"its processes do not stand still after {timeout:g} s",
            errno=errno.ETIMEDOUT,
            hint="one of them may hang in the kernel (state D in ps)",
        )

    def thaw(self) -> None:
        path = self._freezer()
        try:
            write(path + "/freezer.state", "THAWED")
        except OSError as error:
            raise failure(path, "cannot be thawed", error) from error

    def frozen(self) -> bool:
        path = self._paths.get("freezer")
        if path is None:
            return False
        try:
            # not freezer.state: it says FREEZING for as long as one process hangs, and FROZEN also for a frozen parent
            return read_word(path + "/freezer.self_freezing") == "1"
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise failure(path, "its state cannot be read", error) from error

    def _frozen_in(self, controllers: Iterable[str]) -> bool:
        return "freezer" in controllers and self.frozen()

    def _freezer(self) -> str:
        path = self._paths.get("freezer")
        if path is None:
            raise CgroupError("freezer", "this hierarchy is not mounted", errno=errno.ENOENT)
        return path

    # -- kill -----------------------------------------------------------------------------------------------------

    def kill(self, deadline: float | None = None) -> None:
        from libcontainer_py.cgroups import killing  # noqa: PLC0415  (loads signal, which status does not need)

        if deadline is None:
            deadline = time.monotonic() + KILL_TIMEOUT
        freezer, unified = self._paths.get("freezer"), self._paths.get("")
        if unified is not None:
            killing.kill_at_once(unified)
        # a container that could write to the hierarchies may have left some of them: so all are looked at
        killing.kill_all(
            self._main_directories(),
            deadline,
            freeze=(lambda: _try_freeze(freezer)) if freezer else None,
            thaw=(lambda: _try_thaw(freezer)) if freezer else None,
        )

    def _main_directories(self) -> Sequence[str]:
        first = self._paths.get("freezer") or self._paths.get("devices")
        return list(dict.fromkeys([first, *self.directories])) if first else self.directories


def _freeze(path: str, deadline: float) -> bool:
    """Order FROZEN until it is so; each write makes the kernel catch processes that were forked meanwhile.

    Now and then all are let go for a moment. A process with several threads that is just executing a program waits for
    the others to end, and does not freeze meanwhile, while they were frozen and do not end: only a thaw frees them. An
    init of runc is such a one, right after its start. Source: begin_new_exec in the kernel; runc, fs/freezer.go.
    """
    pause = 0.0
    while True:
        write(path + "/freezer.state", "FROZEN")
        if read(path + "/freezer.state") == "FROZEN\n":
            return True
        if time.monotonic() >= deadline:
            return False
        if pause >= _LONGEST_PAUSE:
            write(path + "/freezer.state", "THAWED")
            pause = 0.0
            time.sleep(_LONGEST_PAUSE)
            continue
        # v1 tells nobody when all stand still
        time.sleep(pause)
        pause = min(pause * 2 + 0.00001, _LONGEST_PAUSE)


def _try_freeze(path: str) -> None:
    try:
        _freeze(path, time.monotonic() + 0.1)
    except OSError:
        pass  # killing goes on without: it only has to be repeated more often


def _try_thaw(path: str) -> None:
    """Thaw it, and those below it, which the container may have frozen: a frozen process of v1 does not die."""
    try:
        write(path + "/freezer.state", "THAWED")
        if has_children(path):
            for directory in walk(path):
                write("freezer.state", "THAWED", directory=directory)
    except OSError:
        pass  # it is gone


def _fill_cpuset(path: str) -> None:
    """Give a cpuset its parent's processors and memory nodes: without them no process can be attached (ENOSPC)."""
    parent = os.path.dirname(path)
    for file in ("cpuset.cpus", "cpuset.mems"):
        if read(f"{path}/{file}").strip():
            continue
        inherited = read(f"{parent}/{file}").strip()
        if not inherited:  # whoever made the parent did not fill it; the hierarchy's root is never empty
            _fill_cpuset(parent)
            inherited = read(f"{parent}/{file}").strip()
        write(f"{path}/{file}", inherited)
