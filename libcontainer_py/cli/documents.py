"""spec and features: documents that are written, not read."""

from __future__ import annotations

import os
import sys

import attrs

from libcontainer_py.cli import text
from libcontainer_py.spec import IDMapping, Mount, Namespace, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.cli.flags import Parsed
    from libcontainer_py.cli.settings import Settings


def spec(settings: Settings, parsed: Parsed) -> int:
    """Write config.json into the bundle, or here: what `runc spec` writes."""
    document = _with_terminal(Spec.default())
    if parsed.on("rootless"):
        document = _rootless(document)
    path = os.path.join(parsed.text("bundle") or os.curdir, "config.json")
    try:
        file = open(path, "x", encoding="utf-8")  # noqa: SIM115  (an error of opening is another one)
    except FileExistsError:
        raise ValueError("File config.json exists. Remove it first") from None
    with file:
        file.write(text.indented(document.to_dict(), "\t"))
    return 0


def _with_terminal(document: Spec) -> Spec:
    if document.process is None:
        raise AssertionError("Spec.default has one")
    return attrs.evolve(document, process=attrs.evolve(document.process, terminal=True))


def _rootless(document: Spec) -> Spec:
    """As an ordinary user can have it. Source: runc, specconv.ToRootless."""
    linux = document.linux
    if linux is None:
        raise AssertionError("Spec.default has one")
    kinds = [one.type for one in linux.namespaces if one.type not in ("network", "user")]
    mounts = [_without_group(one) for one in document.mounts if one.destination not in ("/sys", "/sys/fs/cgroup")]
    options = ("rbind", "nosuid", "noexec", "nodev", "ro")
    return attrs.evolve(
        document,
        mounts=(*mounts, Mount(destination="/sys", type="none", source="/sys", options=options)),
        linux=attrs.evolve(
            linux,
            namespaces=tuple(Namespace(type=kind) for kind in (*kinds, "user")),
            uid_mappings=(IDMapping(container_id=0, host_id=os.geteuid(), size=1),),
            gid_mappings=(IDMapping(container_id=0, host_id=os.getegid(), size=1),),
            resources=None,
        ),
    )


def _without_group(mount: Mount) -> Mount:
    kept = tuple(option for option in mount.options if not option.startswith(("gid=", "uid=")))
    return attrs.evolve(mount, options=kept)


def features(settings: Settings, parsed: Parsed) -> int:
    """Print what containers of this library can be asked for. Source: features.md."""
    from libcontainer_py.spec import Features  # noqa: PLC0415  (its classes take 10 ms to define)

    sys.stdout.write(text.indented(Features.supported().to_dict(), "    ") + "\n")
    return 0
