"""Class and priorities of network traffic, which only v1 has. Source: cgroup-v1/net_cls.rst, net_prio.rst."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.cgroups.control import Controller
    from libcontainer_py.spec import Network

_INTERFACES = {errno.ENODEV: "priorities are for interfaces of the runtime's network namespace (see ip link)"}


def apply_class(at: Controller, network: Network) -> None:
    """net_cls.classid; a class of 0 is none, which needs no hierarchy."""
    if network.class_id or (network.class_id == 0 and at.has("net_cls.classid")):
        at.write("network.classID", "net_cls.classid", network.class_id)


def apply_priorities(at: Controller, network: Network) -> None:
    """net_prio.ifpriomap."""
    for index, one in enumerate(network.priorities):
        field = f"network.priorities[{index}].priority"
        at.write_keyed(field, "net_prio.ifpriomap", one.name, one.priority, reset="0", hints=_INTERFACES)


def refuse(at: Controller, network: Network) -> None:
    """v2 has neither; a class of 0 is none."""
    reason = "cgroup v2 marks no network traffic"
    hint = "leave it out, and let a BPF program or nftables (socket cgroupv2) mark it"
    if network.class_id:
        raise at.refusal("network.classID", network.class_id, reason, hint=hint, number=errno.EOPNOTSUPP)
    for index, one in enumerate(network.priorities):
        field = f"network.priorities[{index}].priority"
        raise at.refusal(field, one.priority, reason, hint=hint, number=errno.EOPNOTSUPP)
