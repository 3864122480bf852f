"""The configuration of a sandbox's container."""

from __future__ import annotations

import os
import sys

import attrs

from libcontainer_py.kernel import process
from libcontainer_py.plan.default_seccomp import default_seccomp
from libcontainer_py.sandbox.files import files, resolver
from libcontainer_py.sandbox.options import is_ordinary
from libcontainer_py.spec import Spec
from libcontainer_py.spec.config import Capabilities, Process, Root, User
from libcontainer_py.spec.linux import IDMapping, Linux, Namespace, Pids, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from libcontainer_py.sandbox.options import Options

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108  (the sandbox's own /tmp, empty)
_KINDS = ("pid", "ipc", "uts", "mount", "cgroup")


def specification(args: Sequence[str], options: Options, container_id: str, *, own: int) -> Spec:
    """What is to be made. `own`: how many processes of ours count in it."""
    base = Spec.default(args)
    if base.linux is None:
        raise AssertionError("the default has one")
    ordinary = is_ordinary()
    whole = not ordinary and not (sys.platform.startswith("linux") and process.in_user_namespace())
    network = resolver() if options.network else None
    binds = (*((network,) if network is not None else ()), *options.binds)
    # what there is to see of the host's files only Linux tells, and only there somebody sees it
    mounts = (
        tuple(files(options.rootfs, binds, whole=whole, ordinary=ordinary)) if sys.platform.startswith("linux") else ()
    )
    kinds = (*_KINDS, *(() if options.network else ("network",)), *(("user",) if ordinary else ()))
    return attrs.evolve(
        base,
        root=Root(path="rootfs", readonly=True),
        hostname="sandbox",
        process=Process(
            args=tuple(args),
            user=User(uid=options.user[0], gid=options.user[1]),
            cwd=options.cwd,
            env=tuple(f"{name}={value}" for name, value in {**ENVIRONMENT, **options.env}.items()),
            capabilities=Capabilities(),
            no_new_privileges=True,
        ),
        mounts=mounts,
        linux=attrs.evolve(
            base.linux,
            namespaces=tuple(Namespace(type=kind) for kind in kinds),
            uid_mappings=(IDMapping(container_id=0, host_id=os.geteuid(), size=1),) if ordinary else (),
            gid_mappings=(IDMapping(container_id=0, host_id=os.getegid(), size=1),) if ordinary else (),
            resources=_resources(options.limits, None if ordinary else base.linux, own),
            cgroups_path=container_id if ordinary and options.limits is not None else None,
            seccomp=default_seccomp(),
        ),
    )


def _resources(limits: Resources | None, default: Linux | None, own: int) -> Resources | None:
    """With the device rules of the default, where there is one."""
    devices = default.resources.devices if default is not None and default.resources is not None else ()
    if limits is None:
        return Resources(devices=devices) if devices else None
    pids = limits.pids
    if pids is not None and pids.limit is not None:
        pids = Pids(limit=pids.limit + own)
    return attrs.evolve(limits, devices=devices, pids=pids)
