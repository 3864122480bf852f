"""Makes and removes the container of a sandbox, and says in the sandbox's words what cannot be had.

As steps (see `waiting`) of `Verbs`: for the synchronous face those of `Patient`, which block.
"""

from __future__ import annotations

import os
from errno import EACCES, EPERM, EROFS

from libcontainer_py.backends.base import CreateRequest
from libcontainer_py.errors import CgroupError, ConfigError, CreateError, Problem
from libcontainer_py.sandbox.options import is_ordinary
from libcontainer_py.sandbox.specification import specification
from libcontainer_py.waiting import insisting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from libcontainer_py.backends.base import Backend
    from libcontainer_py.record import Init, Record
    from libcontainer_py.sandbox.options import Options
    from libcontainer_py.waiting import Steps

    class Verbs(Protocol):
        """Of a `Stepwise` backend, those that a sandbox needs."""

        def creating(self, request: CreateRequest) -> Steps[Record]: ...

        def releasing(self, container_id: str, *, timeout: float | None, init: Init | None = None) -> Steps[None]: ...

        def destroying(self, container_id: str, *, force: bool, init: Init | None = None) -> Steps[None]: ...


_DELEGATE = (
    "run as root, or in a cgroup that systemd gives to this user: "
    "systemd-run --user --scope --property=Delegate=yes COMMAND"
)


class Patient:
    """The verbs of any backend as steps that say of nothing that they wait for it: they block, and it is over."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def creating(self, request: CreateRequest) -> Steps[Record]:
        """As `create`."""
        yield from ()
        return self._backend.create(request)

    def releasing(self, container_id: str, *, timeout: float | None, init: Init | None = None) -> Steps[None]:
        """As `release`."""
        yield from ()
        self._backend.release(container_id, timeout=timeout, init=init)

    def destroying(self, container_id: str, *, force: bool, init: Init | None = None) -> Steps[None]:
        """As `destroy`."""
        yield from ()
        self._backend.destroy(container_id, force=force, init=init)


def new_id() -> str:
    """An id that nobody has."""
    return f"sandbox-{os.urandom(8).hex()}"


def making(
    verbs: Verbs,
    container_id: str,
    args: Sequence[str],
    options: Options,
    streams: tuple[int | None, int | None, int | None],
    *,
    idle: bool = False,
) -> Steps[Record]:
    """Create it, with our small reaper as pid 1; `idle`: with nobody else. Raises what `Factory.create` raises."""
    own = 2 if idle else 1  # the reaper, and who brings in a further process
    spec = specification(args, options, container_id, own=own)
    request = CreateRequest(container_id, "", spec, *streams, reaper=True, idle=idle, die_with_parent=True)
    try:
        return (yield from verbs.creating(request))
    except CreateError as error:
        if error.step == "directory" and error.errno == EROFS:
            reason = f"there is no directory {options.cwd} in the sandbox"
            raise ConfigError([Problem("cwd", reason, options.cwd)]) from error
        raise
    except CgroupError as error:
        if options.limits is not None and is_ordinary() and error.errno in (EACCES, EPERM, EROFS):
            error.hint = _DELEGATE
        raise


def removing(verbs: Verbs, container_id: str) -> Steps[None]:
    """Kill and remove it, whatever became of it; who interrupts that, or cancels it, is told afterwards."""
    return insisting(lambda: verbs.destroying(container_id, force=True))
