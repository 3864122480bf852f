"""What a configuration demands of this host beyond what every container needs: all that is missing is said at once."""

from __future__ import annotations

from libcontainer_py.errors import ConfigError, Problem
from libcontainer_py.kernel import lsm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer_py.spec import Spec
    from libcontainer_py.spec.config import Process


def check(spec: Spec, *, source: str = "") -> None:
    """Raise ConfigError where this host lacks something that a valid Spec asks for. Changes nothing."""
    found: list[Problem] = []
    if spec.process is not None:
        found += _labels(spec.process)
    if found:
        raise ConfigError(found, source=source)


def _labels(process: Process) -> Iterator[Problem]:
    if process.apparmor_profile and not lsm.apparmor_enabled():
        hint = "leave it out, as engines do where /sys/module/apparmor/parameters/enabled is not Y"
        reason = "this kernel has no AppArmor, or it is switched off"
        yield Problem("process.apparmorProfile", reason, process.apparmor_profile, hint)
    if process.selinux_label and not lsm.selinux_enabled():
        hint = "leave it out, as engines do where /proc/filesystems has no selinuxfs"
        reason = "this kernel has no SELinux, or it is switched off"
        yield Problem("process.selinuxLabel", reason, process.selinux_label, hint)
