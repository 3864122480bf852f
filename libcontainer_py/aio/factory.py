"""Factory for asyncio."""

from __future__ import annotations

from libcontainer_py import factory
from libcontainer_py.aio.container import Container
from libcontainer_py.aio.loop import carry_out, stepwise, turn
from libcontainer_py.waiting import medium_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

    from libcontainer_py.backends.base import Backend
    from libcontainer_py.errors import StateError
    from libcontainer_py.factory import StrPath
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.record import Swept
    from libcontainer_py.spec import Spec


class Factory:
    """The containers under one root: see `libcontainer_py.Factory`."""

    def __init__(self, root: StrPath | None = None, *, backend: Backend | None = None) -> None:
        self._factory = factory.Factory(root, backend=backend)

    def __repr__(self) -> str:
        return repr(self._factory)

    @property
    def backend(self) -> Backend:
        """What carries out the verbs."""
        return self._factory.backend

    async def create(
        self,
        container_id: str,
        bundle: StrPath | Spec,
        *,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        die_with_parent: bool = False,
        console_socket: StrPath | None = None,
        pid_file: StrPath | None = None,
        pidfd_socket: StrPath | None = None,
        preserve_fds: int = 0,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
    ) -> Container:
        """Make a container from a bundle's directory, or from a Spec; its program waits for `start()`.

        Raises what `libcontainer_py.Factory.create` raises; after an error nothing of it is left.
        """
        request = factory.creation(
            container_id,
            bundle,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            die_with_parent=die_with_parent,
            preserve_fds=preserve_fds,
            no_pivot=no_pivot,
            no_new_keyring=no_new_keyring,
        )
        await turn()
        taker = factory.taker_of(console_socket, container_id)
        with taker, factory.listeners(pid_file, pidfd_socket, container_id) as told:
            steps = stepwise(self.backend).creating(request._replace(terminal=taker, listener=told))
            record = await carry_out(steps, medium_of(self.backend))
        return Container.of(self.backend, record, owner=True, terminal=taker.terminal)

    def directory(self, container_id: str) -> str:
        """The state directory of a container of that id, whether there is one or not."""
        return self._factory.directory(container_id)

    def load(self, container_id: str) -> Container:
        """A handle on an existing container. Raises InvalidId, ContainerNotFound, StateError."""
        return Container.of(self.backend, self.backend.load(container_id), owner=False)

    def ids(self) -> builtins.list[str]:
        """The ids of all containers, sorted; those of broken directories too."""
        return self._factory.ids()

    def list(self, *, on_error: Callable[[StateError], object] | None = None) -> list[Container]:
        """All containers. A broken directory calls `on_error`, or warns BrokenStateWarning; it is never fatal."""
        return [Container.of(self.backend, record, owner=False) for record in factory.records(self.backend, on_error)]

    async def delete(self, container_id: str, *, force: bool = False) -> None:
        """Remove a container by its id; it needs no readable state. With `force` any, and a missing one is silent."""
        await carry_out(stepwise(self.backend).destroying(container_id, force=force), medium_of(self.backend))

    async def sweep(self) -> builtins.list[Swept]:
        """Remove what crashes left, where it is proven that nobody needs it: at once, some milliseconds for each."""
        return self._factory.sweep()
