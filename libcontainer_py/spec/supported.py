"""What containers of this library can be asked for, read off the tables that validation goes by."""

from __future__ import annotations

from libcontainer_py.kernel import constants as c
from libcontainer_py.spec import features as f
from libcontainer_py.spec import mount_options, seccomp
from libcontainer_py.spec.config import VERSION

_OLDEST = "1.0.0"
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_UNSAFE = ("bundle",)  # who reads state.json takes it for the bundle's path


def supported() -> f.Features:
    """The document. Which flags of seccomp this kernel takes is not known (None): it would have to be asked."""
    options = {
        *mount_options.FLAGS,
        *mount_options.PROPAGATION,
        *mount_options.RECURSIVE,
        *mount_options.EXTENSIONS,
    }
    archs = sorted(name for name, known in seccomp.ARCHITECTURES.items() if known is not None)
    on = f.Switch(enabled=True)
    linux = f.Linux(
        namespaces=tuple(sorted(c.NAMESPACES)),
        capabilities=tuple(sorted(c.CAPABILITIES)),
        cgroup=f.Cgroup(v1=True, v2=True, systemd=True, systemd_user=True, rdma=True),
        seccomp=f.Seccomp(
            enabled=True,
            actions=tuple(sorted(seccomp.ACTIONS)),
            operators=tuple(sorted(seccomp.OPERATORS)),
            archs=tuple(archs),
            known_flags=tuple(seccomp.FLAGS),
        ),
        apparmor=on,
        selinux=on,
        intel_rdt=f.IntelRdt(enabled=True, schemata=True, monitoring=True),
        memory_policy=f.MemoryPolicy(
            modes=tuple(sorted(c.MEMORY_POLICIES)), flags=tuple(sorted(c.MEMORY_POLICY_FLAGS))
        ),
        mount_extensions=f.MountExtensions(idmap=on),
        net_devices=on,
    )
    return f.Features(
        oci_version_min=_OLDEST,
        oci_version_max=VERSION,
        hooks=_HOOKS,
        mount_options=tuple(sorted(options)),
        linux=linux,
        potentially_unsafe_config_annotations=_UNSAFE,
    )
