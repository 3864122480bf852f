"""Configurations to start from. `Spec.default` and `Spec.minimal` call these.

Source of `default`: what `runc spec` of runc 1.5 writes, with five namespaces; runc adds the cgroup namespace on hosts
that have cgroup v2 alone.
"""

from __future__ import annotations

from libcontainer_py.spec.codec import strings
from libcontainer_py.spec.config import Capabilities, Mount, Process, Rlimit, Root, Spec
from libcontainer_py.spec.linux import DeviceRule, Linux, Namespace, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
)
"""What would show, or let change, the host through /proc and /sys."""

READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_SAFE = ("nosuid", "noexec", "nodev")
_TMPFS = ("mode=755", "size=65536k")

_PROC = Mount(destination="/proc", type="proc", source="proc")
_DEV = Mount(destination="/dev", type="tmpfs", source="tmpfs", options=("nosuid", "strictatime", *_TMPFS))

MOUNTS = (
    _PROC,
    _DEV,
    Mount(
        destination="/dev/pts",
        type="devpts",
        source="devpts",
        options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    Mount(
        destination="/dev/shm",  # noqa: S108  (inside the container)
        type="tmpfs",
        source="shm",
        options=(*_SAFE, "mode=1777", "size=65536k"),
    ),
    Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=_SAFE),
    Mount(destination="/sys", type="sysfs", source="sysfs", options=(*_SAFE, "ro")),
    Mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=(*_SAFE, "relatime", "ro")),
)


def default(args: Iterable[str] = ("sh",)) -> Spec:
    """What `runc spec` writes, but without a terminal: `args` in the bundle's `rootfs`, read-only, as root."""
    return Spec(
        process=Process(
            args=strings(args),
            env=(PATH, "TERM=xterm"),
            capabilities=Capabilities(bounding=CAPABILITIES, effective=CAPABILITIES, permitted=CAPABILITIES),
            rlimits=(Rlimit(type="RLIMIT_NOFILE", hard=1024, soft=1024),),
            no_new_privileges=True,
        ),
        root=Root(path="rootfs", readonly=True),
        hostname="runc",
        mounts=MOUNTS,
        linux=Linux(
            resources=Resources(devices=(DeviceRule(allow=False, access="rwm"),)),
            namespaces=tuple(Namespace(type=kind) for kind in ("pid", "network", "ipc", "uts", "mount")),
            masked_paths=MASKED_PATHS,
            readonly_paths=READONLY_PATHS,
        ),
    )


def minimal(args: Iterable[str]) -> Spec:
    """The least that runs `args` in the bundle's `rootfs`: own mounts and pids, /proc and /dev, no capabilities."""
    return Spec(
        process=Process(args=strings(args), env=(PATH,), no_new_privileges=True),
        root=Root(path="rootfs"),
        mounts=(_PROC, _DEV),
        linux=Linux(namespaces=(Namespace(type="mount"), Namespace(type="pid"))),
    )
