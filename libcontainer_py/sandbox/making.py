"""Makes and removes the container of a sandbox, and says in the sandbox's words what cannot be had."""

from __future__ import annotations

import os
from errno import EACCES, EPERM, EROFS

from libcontainer_py.backends.base import CreateRequest
from libcontainer_py.container import Container
from libcontainer_py.errors import CgroupError, ConfigError, CreateError, Problem
from libcontainer_py.sandbox.specification import specification

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from libcontainer_py.backends.base import Backend
    from libcontainer_py.factory import Factory
    from libcontainer_py.record import Record
    from libcontainer_py.sandbox.options import Options

_DELEGATE = (
    "run as root, or in a cgroup that systemd gives to this user: "
    "systemd-run --user --scope --property=Delegate=yes COMMAND"
)


def new_id() -> str:
    """An id that nobody has."""
    return f"sandbox-{os.urandom(8).hex()}"


def make(
    factory: Factory,
    container_id: str,
    args: Sequence[str],
    options: Options,
    streams: tuple[int | None, int | None, int | None],
    *,
    idle: bool = False,
) -> tuple[Container, Record]:
    """Create it, with our small reaper as pid 1; `idle`: with nobody else. Raises what `Factory.create` raises."""
    own = 2 if idle else 1  # the reaper, and who brings in a further process
    spec = specification(args, options, container_id, own=own)
    request = CreateRequest(container_id, "", spec, *streams, reaper=True, idle=idle, die_with_parent=True)
    try:
        record = factory.backend.create(request)
    except CreateError as error:
        if error.step == "directory" and error.errno == EROFS:
            reason = f"there is no directory {options.cwd} in the sandbox"
            raise ConfigError([Problem("cwd", reason, options.cwd)]) from error
        raise
    except CgroupError as error:
        if options.limits is not None and os.geteuid() != 0 and error.errno in (EACCES, EPERM, EROFS):
            error.hint = _DELEGATE
        raise
    return Container.of(factory.backend, record, owner=True), record


def remove(backend: Backend, container_id: str) -> None:
    """Kill and remove it, whatever became of it; who interrupts that is told afterwards."""
    try:
        backend.destroy(container_id, force=True)
    except KeyboardInterrupt:
        backend.destroy(container_id, force=True)
        raise
