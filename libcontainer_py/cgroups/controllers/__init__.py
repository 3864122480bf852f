"""What `linux.resources` says, written to the control files: a module for each controller, both versions in it.

    cpuset   cpu   memory   pids   blkio   hugetlb   network   rdma   unified

0 is no limit where the specification has no other meaning for it (of `pids.limit` it has), because engines write 0 for
what was not asked for, and so runc reads it. What cannot be applied here raises CgroupError, and what was written
before is undone. Loaded on first use: a container without resources needs none of it.

Source: config-linux.md, Control groups; Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux.
"""

from __future__ import annotations

from libcontainer_py.cgroups.control import Change, Controller
from libcontainer_py.cgroups.controllers import blkio, cpu, cpuset, hugetlb, memory, network, pids, rdma, unified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py.spec import Resources


def set_v1(paths: Mapping[str, str], resources: Resources) -> Change:
    """Set them in the hierarchies of v1; `paths` as `Cgroup.paths`. Raises CgroupError; then nothing has changed."""
    change = Change()

    def controller(name: str) -> Controller:
        return Controller(name, paths.get(name, ""), change, unified=False)

    try:
        unified.refuse(controller("unified"), resources.unified)
        if resources.cpu is not None:
            cpuset.apply(controller("cpuset"), resources.cpu)
            cpu.apply_v1(controller("cpu"), resources.cpu)
        if resources.memory is not None:
            memory.apply_v1(controller("memory"), resources.memory)
        if resources.pids is not None:
            pids.apply(controller("pids"), resources.pids)
        if resources.block_io is not None:
            blkio.apply_v1(controller("blkio"), resources.block_io)
        hugetlb.apply(controller("hugetlb"), resources.hugepage_limits)
        if resources.network is not None:
            network.apply_class(controller("net_cls"), resources.network)
            network.apply_priorities(controller("net_prio"), resources.network)
        rdma.apply(controller("rdma"), resources.rdma)
    except BaseException:
        change.undo()
        raise
    return change


def set_v2(path: str, resources: Resources) -> Change:
    """Set them in one directory of v2. Raises CgroupError; then nothing has changed."""
    change = Change()

    def controller(name: str) -> Controller:
        return Controller(name, path, change, unified=True)

    try:
        if resources.network is not None:
            network.refuse(controller("network"), resources.network)
        if resources.cpu is not None:
            cpuset.apply(controller("cpuset"), resources.cpu)
            cpu.apply_v2(controller("cpu"), resources.cpu)
        if resources.memory is not None:
            memory.apply_v2(controller("memory"), resources.memory)
        if resources.pids is not None:
            pids.apply(controller("pids"), resources.pids)
        if resources.block_io is not None:
            blkio.apply_v2(controller("io"), resources.block_io)
        hugetlb.apply(controller("hugetlb"), resources.hugepage_limits)
        rdma.apply(controller("rdma"), resources.rdma)
        unified.apply(controller, resources.unified)
    except BaseException:
        change.undo()
        raise
    return change
