"""A cgroup of v2 that systemd has made: a transient scope, which a process must be in from its beginning on.

So there is none before init, and init is not born into it: it is born, waits for its plan, and systemd moves it. A
scope that nobody is in any more systemd removes by itself: so whenever its maker dies, and init with it, all of it
goes. systemd sets what it knows of the limits, and goes on setting it when it is reloaded; then every file is written,
as without systemd. Source: systemd's CGROUP_DELEGATION.md; runc, docs/systemd.md.
"""

from __future__ import annotations

import errno
import os

from libcontainer_py.cgroups import units
from libcontainer_py.cgroups.base import processes_in
from libcontainer_py.cgroups.bus import BusError, Systemd
from libcontainer_py.cgroups.hierarchies import read_hierarchies
from libcontainer_py.cgroups.tree import read, write
from libcontainer_py.cgroups.v2 import CgroupV2
from libcontainer_py.errors import CgroupError, UnsupportedPlatform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from libcontainer_py.cgroups.bus import Property
    from libcontainer_py.cgroups.control import Change
    from libcontainer_py.spec import Resources


class Scope(CgroupV2):
    """The cgroup of a scope."""

    __slots__ = ("_properties", "_resources", "unit", "user")

    def __init__(
        self,
        path: str,
        unit: str,
        *,
        properties: Sequence[Property] = (),
        resources: Resources | None = None,
    ) -> None:
        """`properties` and `resources` are what `start` has it made with."""
        super().__init__({"": path})
        self.unit: str = unit
        """The name of the unit."""
        self.user: bool = "/user@" in path
        """Whether it is one of a user's own systemd, whose cgroups are in user@UID.service."""
        self._properties = properties
        self._resources = resources

    def missing(self) -> tuple[str, ...]:
        """The slices above it are systemd's to make, and to remove."""
        return () if os.path.isdir(self.path) else (self.path,)

    def create_birthplace(self) -> dict[str, int]:
        """There is none: nobody can be born into it."""
        return {}

    def start(self, pid: int) -> dict[str, int]:
        """Have it made around a process; as create(). Nothing is left after an error.

        Raises CgroupError, UnsupportedPlatform.
        """
        existed = os.path.isdir(self.path)
        if existed:
            self._refuse_used(self.path, ("",))
        with Systemd.connect(user=self.user) as systemd:
            asked: list[Property] = [("PIDs", ("au", [pid])), *self._properties]
            if self._resources is not None:
                version = systemd.version()
                asked += units.oom_policy(self._resources, version) + units.of_resources(self._resources, version)
            self._start(systemd, _last_of_each(asked))
            try:
                self._check_place(systemd)
                self._enable_controllers()
                return {} if existed else {self.path: os.stat(self.path).st_ino}
            except BaseException:
                systemd.stop(self.unit)
                raise

    def _start(self, systemd: Systemd, properties: list[Property]) -> None:
        for attempt in (1, 2):
            try:
                systemd.start(self.unit, properties)
            except BusError as error:
                if error.name == "UnitExists" and attempt == 1:
                    systemd.forget_failure(self.unit)  # one that failed, and that nobody needs
                    continue
                hint = ""
                if error.name == "UnitExists":
                    hint = "delete what has it, or name another in linux.cgroupsPath"
                raise CgroupError(
                    self.unit,
                    f"systemd does not start it: {error} ({error.name})",
                    errno=errno.EEXIST if error.name == "UnitExists" else errno.EINVAL,
                    hint=hint,
                ) from error
            except CgroupError:
                systemd.forget_failure(self.unit)
                raise
            else:
                return

    def _check_place(self, systemd: Systemd) -> None:
        """It is where it was written down that it would be."""
        found = systemd.control_group_of(self.unit)
        if found is None or not self.path.endswith(found) or not os.path.isdir(self.path):
            raise CgroupError(self.path, f"systemd made it elsewhere: {found}", errno=errno.ENOENT)

    def set(self, resources: Resources) -> Change:
        """First what systemd knows, then the files: systemd rounds."""
        with Systemd.connect(user=self.user) as systemd:
            asked = _last_of_each(units.of_resources(resources, systemd.version()))
            before = systemd.properties_of(self.unit, [name for name, _ in asked]) or []
            if asked:
                self._tell(systemd, asked)
            try:
                change = self.set_files(resources)
            except BaseException:
                self._tell(systemd, before)
                raise
        if before:
            change.note_undo(lambda: self._set_back(before))
        return change

    def _tell(self, systemd: Systemd, properties: list[Property]) -> None:
        """It writes all that it knows then; the one file in which it rounds gets back what was there."""
        bandwidth = self._bandwidth()
        systemd.set(self.unit, properties)
        self._set_bandwidth(bandwidth)

    def set_files(self, resources: Resources) -> Change:
        """Without systemd, which knows of them since `start`."""
        return super().set(resources)

    def _set_back(self, before: list[Property]) -> None:
        """The files come after."""
        try:
            with Systemd.connect(user=self.user) as systemd:
                self._tell(systemd, before)
        except (CgroupError, UnsupportedPlatform):
            pass  # there is an error on its way already, and it says more

    def _bandwidth(self) -> str:
        try:
            return read(self.path + "/cpu.max")
        except OSError:
            return ""

    def _set_bandwidth(self, text: str) -> None:
        try:
            if text:
                write(self.path + "/cpu.max", text)
        except OSError:
            pass  # as in _set_back


def _last_of_each(properties: Iterable[Property]) -> list[Property]:
    """One for each name, the last: systemd takes lists of them, and adds to what is a list itself."""
    return [*dict(properties).items()]


def find(
    unit: units.Unit, container_id: str, properties: Iterable[Property], resources: Resources | None, *, user: bool
) -> Scope:
    """The scope of a container that is to be made; nothing is made yet. `properties` are what annotations ask for.

    `user` asks for this user's own systemd. Raises CgroupError, UnsupportedPlatform.
    """
    mounts = read_hierarchies().mounts
    if [*mounts] != [""]:
        raise UnsupportedPlatform(
            "the systemd cgroup driver needs cgroup v2 alone",
            hint="boot with systemd.unified_cgroup_hierarchy=1, or use cgroup_driver='cgroupfs'",
        )
    with Systemd.connect(user=user) as systemd:
        above = systemd.control_group()
    return Scope(
        mounts[""].point + above + unit.path(user=user),
        unit.unit,
        properties=[*units.of_scope(unit, container_id, user=user), *properties],
        resources=resources,
    )


def forget(paths: Iterable[str]) -> None:
    """Have systemd stop the scopes of these cgroups, where nobody is in them any more, and wait until it has.

    It would do so by itself, but a little later, and what failed it would keep. Silent where it cannot be reached.
    """
    for path in paths:
        unit = os.path.basename(path)
        if not unit.endswith(".scope") or processes_in(path):
            continue
        try:
            with Systemd.connect(user="/user@" in path) as systemd:
                found = systemd.control_group_of(unit)
                # one that has no cgroup any more has ended; of another place it is another's
                if found is not None and (not found or path.endswith(found)):
                    systemd.stop(unit)
        except (CgroupError, UnsupportedPlatform, BusError):
            continue
