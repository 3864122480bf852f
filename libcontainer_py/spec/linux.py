"""The Linux section: namespaces, devices, control groups, paths and the rest of config-linux.md.

Source: OCI runtime specification 1.3.0, config-linux.md and specs-go/config.go. Numbers keep the specification's ranges
(`Uint32` ...), which the codec checks.
"""

from __future__ import annotations

import attrs

from libcontainer_py.spec.codec import ALWAYS, Node, named_nodes, nodes, strings, texts, weighty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py.spec.codec import Int64, Uint16, Uint32, Uint64


@attrs.frozen(kw_only=True)
class Namespace(Node):
    """A namespace to make, or with `path` one to join.

    `type` is pid, network, mount, ipc, uts, user, cgroup or time. Source: config-linux.md, Namespaces.
    """

    type: str
    path: str | None = None


@attrs.frozen(kw_only=True)
class IDMapping(Node):
    """`size` ids from `container_id` on are those from `host_id` on. Source: config-linux.md, User namespaces."""

    container_id: Uint32 = attrs.field(metadata={"json": "containerID"})
    host_id: Uint32 = attrs.field(metadata={"json": "hostID"})
    size: Uint32


@attrs.frozen(kw_only=True)
class TimeOffset(Node):
    """The offset of one clock of a time namespace. Source: config-linux.md, Offset for Time Namespace."""

    secs: Int64 = 0
    nanosecs: Uint32 = 0


@attrs.frozen(kw_only=True)
class Device(Node):
    """A device node: `type` is c, b, u or p (a fifo, which has no numbers). Source: config-linux.md, Devices."""

    path: str
    type: str
    major: Int64 | None = None
    minor: Int64 | None = None
    file_mode: Uint32 | None = None
    """Permission bits; a decimal number in JSON, so 438 is 0o666."""
    uid: Uint32 | None = None
    gid: Uint32 | None = None


@attrs.frozen(kw_only=True)
class NetDevice(Node):
    """A network device of the host to move in; its key is the name on the host."""

    name: str | None = None


@attrs.frozen(kw_only=True)
class DeviceRule(Node):
    """One rule of the device allow list.

    `type` is a (all), c or b; None means a. `major` and `minor` None mean any. `access` has letters of rwm; None or
    "" means all of them. Source: config-linux.md, Allowed Device list.
    """

    allow: bool = attrs.field(default=False, metadata=ALWAYS)
    type: str | None = None
    major: Int64 | None = None
    minor: Int64 | None = None
    access: str | None = None


@attrs.frozen(kw_only=True)
class Memory(Node):
    """Limits of memory, bytes; -1 is unlimited. Source: config-linux.md, Memory."""

    limit: Int64 | None = None
    reservation: Int64 | None = None
    swap: Int64 | None = None
    """Memory and swap together."""
    kernel: Int64 | None = None
    kernel_tcp: Int64 | None = attrs.field(default=None, metadata={"json": "kernelTCP"})
    swappiness: Uint64 | None = None
    disable_oom_killer: bool | None = attrs.field(default=None, metadata={"json": "disableOOMKiller"})
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


@attrs.frozen(kw_only=True)
class CPU(Node):
    """Shares, bandwidth (microseconds) and cpusets. Source: config-linux.md, CPU."""

    shares: Uint64 | None = None
    quota: Int64 | None = None
    burst: Uint64 | None = None
    period: Uint64 | None = None
    realtime_runtime: Int64 | None = None
    realtime_period: Uint64 | None = None
    cpus: str | None = None
    mems: str | None = None
    idle: Int64 | None = None


@attrs.frozen(kw_only=True)
class Pids(Node):
    """The limit of tasks; 0 lets nothing be forked, negative numbers are no limit. Source: config-linux.md, PIDs."""

    limit: Int64 | None = None


@attrs.frozen(kw_only=True)
class WeightDevice(Node):
    """Block I/O weight of one device."""

    major: Int64
    minor: Int64
    weight: Uint16 | None = None
    leaf_weight: Uint16 | None = None


@attrs.frozen(kw_only=True)
class ThrottleDevice(Node):
    """Bytes or operations a second of one device."""

    major: Int64
    minor: Int64
    rate: Uint64


@attrs.frozen(kw_only=True)
class BlockIO(Node):
    """Weights and throttles of block devices. Source: config-linux.md, Block IO."""

    weight: Uint16 | None = None
    leaf_weight: Uint16 | None = None
    weight_device: tuple[WeightDevice, ...] = attrs.field(default=(), converter=nodes)
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = attrs.field(default=(), converter=nodes)
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = attrs.field(default=(), converter=nodes)
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = attrs.field(
        default=(), converter=nodes, metadata={"json": "throttleReadIOPSDevice"}
    )
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = attrs.field(
        default=(), converter=nodes, metadata={"json": "throttleWriteIOPSDevice"}
    )


@attrs.frozen(kw_only=True)
class HugepageLimit(Node):
    """The limit, bytes, of pages of one size (`2MB`, `1GB`)."""

    page_size: str
    limit: Uint64


@attrs.frozen(kw_only=True)
class InterfacePriority(Node):
    """The priority of traffic over one interface."""

    name: str
    priority: Uint32


@attrs.frozen(kw_only=True)
class Network(Node):
    """The class and the priorities of network traffic (cgroup v1)."""

    class_id: Uint32 | None = attrs.field(default=None, metadata={"json": "classID"})
    priorities: tuple[InterfacePriority, ...] = attrs.field(default=(), converter=nodes)


@attrs.frozen(kw_only=True)
class Rdma(Node):
    """Limits of one RDMA device."""

    hca_handles: Uint32 | None = None
    hca_objects: Uint32 | None = None


@attrs.frozen(kw_only=True)
class Resources(Node):
    """What the container's control group is to be set to. Source: config-linux.md, Control groups."""

    devices: tuple[DeviceRule, ...] = attrs.field(default=(), converter=nodes)
    memory: Memory | None = None
    cpu: CPU | None = None
    pids: Pids | None = None
    block_io: BlockIO | None = attrs.field(default=None, metadata={"json": "blockIO"})
    hugepage_limits: tuple[HugepageLimit, ...] = attrs.field(default=(), converter=nodes)
    network: Network | None = None
    rdma: Mapping[str, Rdma] = attrs.field(factory=dict[str, Rdma], converter=named_nodes, hash=False)
    unified: Mapping[str, str] = attrs.field(factory=dict[str, str], converter=texts, hash=False)
    """Files of cgroup v2 and what to write into them."""


@attrs.frozen(kw_only=True)
class SyscallArg(Node):
    """A comparison of one argument of a system call; `op` is SCMP_CMP_EQ and the like."""

    index: Uint32
    value: Uint64
    value_two: Uint64 = 0
    op: str


@attrs.frozen(kw_only=True)
class Syscall(Node):
    """What to do (`action`) when one of these system calls is made with such arguments."""

    names: tuple[str, ...] = attrs.field(converter=strings)
    action: str
    errno_ret: Uint32 | None = None
    args: tuple[SyscallArg, ...] = attrs.field(default=(), converter=nodes)


@weighty
@attrs.frozen(kw_only=True)
class Seccomp(Node):
    """The filter of system calls, in libseccomp's words. Source: config-linux.md, Seccomp."""

    default_action: str
    default_errno_ret: Uint32 | None = None
    architectures: tuple[str, ...] = attrs.field(default=(), converter=strings)
    flags: tuple[str, ...] = attrs.field(default=(), converter=strings)
    listener_path: str | None = None
    listener_metadata: str | None = None
    syscalls: tuple[Syscall, ...] = attrs.field(default=(), converter=nodes)


@attrs.frozen(kw_only=True)
class IntelRdt(Node):
    """Cache and memory bandwidth by resctrl. Source: config-linux.md, IntelRdt."""

    clos_id: str | None = attrs.field(default=None, metadata={"json": "closID"})
    schemata: tuple[str, ...] = attrs.field(default=(), converter=strings)
    l3_cache_schema: str | None = None
    mem_bw_schema: str | None = None
    enable_monitoring: bool = False


@attrs.frozen(kw_only=True)
class MemoryPolicy(Node):
    """Arguments of set_mempolicy(2)."""

    mode: str
    nodes: str | None = None
    flags: tuple[str, ...] = attrs.field(default=(), converter=strings)


@attrs.frozen(kw_only=True)
class Personality(Node):
    """The execution domain: LINUX or LINUX32. Source: personality(2)."""

    domain: str
    flags: tuple[str, ...] = attrs.field(default=(), converter=strings)


@attrs.frozen(kw_only=True)
class Linux(Node):
    """Everything that only Linux has."""

    uid_mappings: tuple[IDMapping, ...] = attrs.field(default=(), converter=nodes)
    gid_mappings: tuple[IDMapping, ...] = attrs.field(default=(), converter=nodes)
    sysctl: Mapping[str, str] = attrs.field(factory=dict[str, str], converter=texts, hash=False)
    resources: Resources | None = None
    cgroups_path: str | None = None
    """Absolute: below the cgroup mount point; relative: below a place of the runtime's choice."""
    namespaces: tuple[Namespace, ...] = attrs.field(default=(), converter=nodes)
    devices: tuple[Device, ...] = attrs.field(default=(), converter=nodes)
    net_devices: Mapping[str, NetDevice] = attrs.field(factory=dict[str, NetDevice], converter=named_nodes, hash=False)
    seccomp: Seccomp | None = None
    rootfs_propagation: str | None = None
    masked_paths: tuple[str, ...] = attrs.field(default=(), converter=strings)
    readonly_paths: tuple[str, ...] = attrs.field(default=(), converter=strings)
    mount_label: str | None = None
    intel_rdt: IntelRdt | None = None
    memory_policy: MemoryPolicy | None = None
    personality: Personality | None = None
    time_offsets: Mapping[str, TimeOffset] = attrs.field(
        factory=dict[str, TimeOffset], converter=named_nodes, hash=False
    )
