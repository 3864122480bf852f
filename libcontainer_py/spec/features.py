"""What a runtime can do, as `runc features` prints it.

Source: OCI runtime specification 1.3.0, features.md, features-linux.md and specs-go/features/features.go. Everywhere
None means unknown, and is not the same as False or an empty array: "The `null` value MUST NOT be confused with an empty
value". What the host can do is another question; see `doctor`.
"""

from __future__ import annotations

import attrs

from libcontainer_py.spec.codec import Node, strings, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def _strings(value: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if value is None else strings(value)


def _texts(value: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if value is None else texts(value)


@attrs.frozen(kw_only=True)
class Switch(Node):
    """Whether a feature is built in, where there is no more to say: apparmor, selinux, netDevices, idmap."""

    enabled: bool | None = None


@attrs.frozen(kw_only=True)
class Cgroup(Node):
    """Which cgroup versions and drivers are built in."""

    v1: bool | None = None
    v2: bool | None = None
    systemd: bool | None = None
    systemd_user: bool | None = None
    rdma: bool | None = None


@attrs.frozen(kw_only=True)
class Seccomp(Node):
    """The words of a profile that are understood; `supported_flags` are those that this kernel takes too."""

    enabled: bool | None = None
    actions: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    operators: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    archs: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    known_flags: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    supported_flags: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)


@attrs.frozen(kw_only=True)
class IntelRdt(Node):
    """Which fields of linux.intelRdt are understood; `monitoring` is enableMonitoring."""

    enabled: bool | None = None
    schemata: bool | None = None
    monitoring: bool | None = None


@attrs.frozen(kw_only=True)
class MemoryPolicy(Node):
    """The words of linux.memoryPolicy that are understood."""

    modes: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    flags: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)


@attrs.frozen(kw_only=True)
class MountExtensions(Node):
    """What mounts can do beyond mount(2): `idmap` is for uidMappings and gidMappings."""

    idmap: Switch | None = None


@attrs.frozen(kw_only=True)
class Linux(Node):
    """Features that only Linux has."""

    namespaces: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    capabilities: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    cgroup: Cgroup | None = None
    seccomp: Seccomp | None = None
    apparmor: Switch | None = None
    selinux: Switch | None = None
    intel_rdt: IntelRdt | None = None
    memory_policy: MemoryPolicy | None = None
    mount_extensions: MountExtensions | None = None
    net_devices: Switch | None = None


@attrs.frozen(kw_only=True)
class Features(Node):
    """A runtime's features: the oldest and newest version of the specification, and which of its words it knows.

    A name in `potentially_unsafe_config_annotations` that ends with a dot stands for all that begin with it.
    """

    oci_version_min: str
    oci_version_max: str
    hooks: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    mount_options: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    linux: Linux | None = None
    annotations: Mapping[str, str] | None = attrs.field(default=None, converter=_texts, hash=False)
    potentially_unsafe_config_annotations: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)

    @classmethod
    def supported(cls) -> Features:
        """What containers of this library can be asked for."""
        from libcontainer_py.spec import supported  # noqa: PLC0415  (it builds these classes, so it comes after them)

        return supported.supported()
