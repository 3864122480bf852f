"""Limits of huge pages. Source: cgroup-v1/hugetlb.rst; cgroup-v2.rst, HugeTLB; config-linux.md, Huge page limits."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from libcontainer_py.cgroups.control import Controller
    from libcontainer_py.spec import HugepageLimit

_SIZES = {errno.ENOENT: "the sizes that this machine has are in /sys/kernel/mm/hugepages"}


def apply(at: Controller, limits: Iterable[HugepageLimit]) -> None:
    """The limit of pages in use, and where the kernel counts them (since Linux 5.7) that of reserved ones too."""
    suffix = "max" if at.unified else "limit_in_bytes"
    for index, one in enumerate(limits):
        field = f"hugepageLimits[{index}].limit"
        at.write(field, f"hugetlb.{one.page_size}.{suffix}", one.limit, hints=_SIZES)
        reserved = f"hugetlb.{one.page_size}.rsvd.{suffix}"
        if at.has(reserved):
            at.write(field, reserved, one.limit)
