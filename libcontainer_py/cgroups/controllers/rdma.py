"""Limits of RDMA devices. Source: cgroup-v1/rdma.rst; cgroup-v2.rst, RDMA."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py.cgroups.control import Controller
    from libcontainer_py.spec import Rdma

_DEVICES = dict.fromkeys((errno.ENODEV, errno.EINVAL), "the devices that there are, rdma link shows")


def apply(at: Controller, limits: Mapping[str, Rdma]) -> None:
    """rdma.max: a line for each device."""
    for name, one in limits.items():
        words = [("hca_handle", one.hca_handles), ("hca_object", one.hca_objects)]
        value = " ".join(f"{word}={number}" for word, number in words if number is not None)
        reset = "hca_handle=max hca_object=max"
        at.write_keyed(f'rdma["{name}"]', "rdma.max", name, value, reset=reset, hints=_DEVICES)
