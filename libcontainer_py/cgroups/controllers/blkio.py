"""Weights and throttles of block devices: `blkio` of v1, `io` of v2.

Source: cgroup-v1/blkio-controller.rst; cgroup-v2.rst, IO; block/bfq-iosched.rst.
"""

from __future__ import annotations

import errno

from libcontainer_py.kernel import weights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer_py.cgroups.control import Controller
    from libcontainer_py.spec import BlockIO
    from libcontainer_py.spec.linux import ThrottleDevice

_NO_LEAVES = {errno.ENOENT: "leaves have no weight of their own since Linux 5.0, where CFQ went"}
_NO_WEIGHTS = "it takes the scheduler BFQ, or on v2 iocost: see /sys/block/*/queue/scheduler"
_DEVICE = {
    errno.ENODEV: "there is no such block device, or it is a partition: name the whole device (see lsblk)",
    errno.ENXIO: "there is no such block device (see lsblk)",
    errno.EOPNOTSUPP: _NO_WEIGHTS,
    errno.ENOENT: _NO_WEIGHTS,
}


def apply_v1(at: Controller, block_io: BlockIO) -> None:
    """blkio.weight (blkio.bfq.weight since Linux 5.0), blkio.leaf_weight, and blkio.throttle.*."""
    # BFQ takes no 0 for a device (ERANGE), where CFQ took it for none
    weight, none = ("blkio.weight", "0") if at.has("blkio.weight") else ("blkio.bfq.weight", "default")
    if block_io.weight:
        at.write("blockIO.weight", weight, block_io.weight, hints=_DEVICE)
    if block_io.leaf_weight:
        at.write("blockIO.leafWeight", "blkio.leaf_weight", block_io.leaf_weight, hints=_NO_LEAVES)
    for index, device in enumerate(block_io.weight_device):
        field, key = f"blockIO.weightDevice[{index}]", f"{device.major}:{device.minor}"
        if device.weight:
            at.write_keyed(f"{field}.weight", f"{weight}_device", key, device.weight, reset=none, hints=_DEVICE)
        if device.leaf_weight:
            leaf = "blkio.leaf_weight_device"
            at.write_keyed(f"{field}.leafWeight", leaf, key, device.leaf_weight, reset="0", hints=_NO_LEAVES)
    for field, name, throttle in _throttles(block_io):
        key = f"{throttle.major}:{throttle.minor}"
        at.write_keyed(field, f"blkio.throttle.{_V1[name]}_device", key, throttle.rate, reset="0", hints=_DEVICE)


def apply_v2(at: Controller, block_io: BlockIO) -> None:
    """io.bfq.weight, else io.weight, which has another range; and io.max."""
    _refuse_leaves(at, block_io)
    with_bfq = at.has("io.bfq.weight")
    file = "io.bfq.weight" if with_bfq else "io.weight"
    if block_io.weight:
        weight = block_io.weight if with_bfq else weights.io_weight(block_io.weight)
        usual = next((line for line in at.read(file).splitlines() if ":" not in line), "") if at.has(file) else ""
        at.write("blockIO.weight", file, weight, before=usual or "default 100", hints=_DEVICE)
    for index, device in enumerate(block_io.weight_device):
        if device.weight:
            weight = device.weight if with_bfq else weights.io_weight(device.weight)
            field, key = f"blockIO.weightDevice[{index}].weight", f"{device.major}:{device.minor}"
            at.write_keyed(field, file, key, weight, reset="default", hints=_DEVICE)
    for field, name, throttle in _throttles(block_io):
        key = f"{throttle.major}:{throttle.minor}"
        at.write_keyed(field, "io.max", key, f"{name}={throttle.rate or 'max'}", reset=f"{name}=max", hints=_DEVICE)


_V1 = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}


def _throttles(block_io: BlockIO) -> Iterator[tuple[str, str, ThrottleDevice]]:
    """Each throttle: its field, its word in io.max, and it. A rate of 0 is none."""
    for field, name, devices in (
        ("ReadBps", "rbps", block_io.throttle_read_bps_device),
        ("WriteBps", "wbps", block_io.throttle_write_bps_device),
        ("ReadIOPS", "riops", block_io.throttle_read_iops_device),
        ("WriteIOPS", "wiops", block_io.throttle_write_iops_device),
    ):
        for index, device in enumerate(devices):
            yield f"blockIO.throttle{field}Device[{index}]", name, device


def _refuse_leaves(at: Controller, block_io: BlockIO) -> None:
    leaves = [("blockIO.leafWeight", block_io.leaf_weight)]
    leaves += [
        (f"blockIO.weightDevice[{index}].leafWeight", device.leaf_weight)
        for index, device in enumerate(block_io.weight_device)
    ]
    for field, weight in leaves:
        if weight:
            reason = "cgroup v2 gives leaves no weight of their own"
            raise at.refusal(field, weight, reason, hint="leave it out", number=errno.EOPNOTSUPP)
