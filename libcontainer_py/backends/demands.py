"""What a configuration demands of this host beyond what every container needs: all that is missing is said at once."""

from __future__ import annotations

import json

from libcontainer_py.cgroups import resctrl
from libcontainer_py.errors import ConfigError, Problem
from libcontainer_py.kernel import capability, lsm
from libcontainer_py.kernel.constants import CAPABILITIES
from libcontainer_py.plan.ids import is_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from libcontainer_py.cgroups.resctrl import Group
    from libcontainer_py.plan.steps import HostFacts
    from libcontainer_py.spec import Spec
    from libcontainer_py.spec.config import Process
    from libcontainer_py.spec.linux import Linux

_TO_MOVE = ("CAP_NET_ADMIN", "CAP_SYS_ADMIN")
_NO_SELINUX = "this kernel has no SELinux, or it is switched off"
_WITHOUT_SELINUX = "leave it out, as engines do where /proc/filesystems has no selinuxfs"


def check(spec: Spec, facts: HostFacts, group: Group | None, *, source: str = "") -> None:
    """Raise ConfigError where this host lacks something that a valid Spec asks for. Changes nothing."""
    found: list[Problem] = []
    if spec.process is not None:
        found += _labels(spec.process)
    if spec.linux is not None and facts.uid:
        found += _ids(spec, spec.linux, facts)
    if spec.linux is not None and spec.linux.intel_rdt is not None:
        found += _no_resctrl() if group is None else group.problems()
    if spec.linux is not None and spec.linux.net_devices:
        found += _devices(spec.linux.net_devices)
    if spec.linux is not None and spec.linux.mount_label and not lsm.selinux_enabled():
        found.append(Problem("linux.mountLabel", _NO_SELINUX, spec.linux.mount_label, _WITHOUT_SELINUX))
    if found:
        raise ConfigError(found, source=source)


def _labels(process: Process) -> Iterator[Problem]:
    if process.apparmor_profile and not lsm.apparmor_enabled():
        hint = "leave it out, as engines do where /sys/module/apparmor/parameters/enabled is not Y"
        reason = "this kernel has no AppArmor, or it is switched off"
        yield Problem("process.apparmorProfile", reason, process.apparmor_profile, hint)
    if process.selinux_label and not lsm.selinux_enabled():
        yield Problem("process.selinuxLabel", _NO_SELINUX, process.selinux_label, _WITHOUT_SELINUX)


def _ids(spec: Spec, linux: Linux, facts: HostFacts) -> Iterator[Problem]:
    """What an ordinary user may map himself is his own id alone, and then he may set no groups."""
    if not any(one.type == "user" and not one.path for one in linux.namespaces):
        return
    pairs = (
        ("uid", linux.uid_mappings, facts.uid, facts.newuidmap),
        ("gid", linux.gid_mappings, facts.gid, facts.newgidmap),
    )
    for kind, mappings, own, program in pairs:
        if not is_own(mappings, own) and not program:
            reason = f"an ordinary user maps more than his own {kind} {own} with new{kind}map, which is not here"
            hint = f"apt-get install uidmap (elsewhere shadow-utils), or map the one {kind} {own}, with size 1"
            yield Problem(f"linux.{kind}Mappings", reason, hint=hint)
    groups = spec.process.user.additional_gids if spec.process is not None else ()
    if groups and is_own(linux.gid_mappings, facts.gid):
        reason = f"cannot be set where an ordinary user maps his own gid {facts.gid} alone: setgroups is denied then"
        yield Problem("process.user.additionalGids", reason, list(groups), "map a range of groups, with newgidmap")


def _no_resctrl() -> Iterator[Problem]:
    if resctrl.is_known():
        hint = "mount -t resctrl resctrl /sys/fs/resctrl"
        yield Problem("linux.intelRdt", "no resctrl file system is mounted here", hint=hint)
    else:
        hint = "it takes a processor with RDT or the like, CONFIG_X86_CPU_RESCTRL, and no rdt=!... at the boot"
        yield Problem("linux.intelRdt", "this kernel or this processor has no resctrl", hint=hint)


def _devices(names: Iterable[str]) -> Iterator[Problem]:
    """Network devices to move must be here, and may not be loopback devices, which no kernel moves."""
    from libcontainer_py.kernel.netlink import IFF_LOOPBACK, Netlink  # noqa: PLC0415  (for those who have devices)

    if not all(capability.capget()[0] >> CAPABILITIES.index(name) & 1 for name in _TO_MOVE):
        yield Problem("linux.netDevices", f"moving devices of the host takes {' and '.join(_TO_MOVE)}")
        return
    netlink = Netlink()
    try:
        for name in names:
            where = f"linux.netDevices[{json.dumps(name)}]"
            try:
                link = netlink.link(name)
            except OSError as error:
                reason = f"network device {name!r}: {(error.strerror or str(error)).lower()}"
                yield Problem(where, reason, name, "ip link lists those that are here")
            else:
                if link.flags & IFF_LOOPBACK:
                    yield Problem(where, f"{name!r} is a loopback device, which cannot be moved", name)
    finally:
        netlink.close()
