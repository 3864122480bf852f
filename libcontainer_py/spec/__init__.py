"""The OCI runtime specification's documents as attrs classes.

`config` and `linux` follow config.md and config-linux.md, `state` follows runtime.md, `features` (loaded on first use)
follows features.md. `codec` turns JSON into them and back, `validate` with `rules`, `mount_options` and `seccomp`
says what is wrong with their values, `defaults` makes usual ones. Pure: no file, no system call.
"""

from __future__ import annotations

from libcontainer_py.spec.config import (
    VERSION,
    Capabilities,
    ConsoleSize,
    CPUAffinity,
    Hook,
    Hooks,
    IOPriority,
    Mount,
    Process,
    Rlimit,
    Root,
    Scheduler,
    Spec,
    User,
)
from libcontainer_py.spec.linux import (
    CPU,
    BlockIO,
    Device,
    DeviceRule,
    HugepageLimit,
    IDMapping,
    IntelRdt,
    InterfacePriority,
    Linux,
    Memory,
    MemoryPolicy,
    Namespace,
    NetDevice,
    Network,
    Personality,
    Pids,
    Rdma,
    Resources,
    Seccomp,
    Syscall,
    SyscallArg,
    ThrottleDevice,
    TimeOffset,
    WeightDevice,
)
from libcontainer_py.spec.state import ContainerProcessState, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.spec.features import Features

__all__ = [
    "CPU",
    "VERSION",
    "BlockIO",
    "CPUAffinity",
    "Capabilities",
    "ConsoleSize",
    "ContainerProcessState",
    "Device",
    "DeviceRule",
    "Features",
    "Hook",
    "Hooks",
    "HugepageLimit",
    "IDMapping",
    "IOPriority",
    "IntelRdt",
    "InterfacePriority",
    "Linux",
    "Memory",
    "MemoryPolicy",
    "Mount",
    "Namespace",
    "NetDevice",
    "Network",
    "Personality",
    "Pids",
    "Process",
    "Rdma",
    "Resources",
    "Rlimit",
    "Root",
    "Scheduler",
    "Seccomp",
    "Spec",
    "State",
    "Syscall",
    "SyscallArg",
    "ThrottleDevice",
    "TimeOffset",
    "User",
    "WeightDevice",
]


def __getattr__(name: str) -> object:
    """Load `Features` on first use: whoever makes containers never asks, and its classes take 10 ms to define."""
    if name == "Features":
        from libcontainer_py.spec.features import Features  # noqa: PLC0415  (see above)

        globals()[name] = Features
        return Features
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
