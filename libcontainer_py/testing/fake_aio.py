"""The containers of a FakeFactory for asyncio: `FakeFactory().aio`.

Its clock jumps when the event loop has gone around some times without anything happening to a container: so tasks that
only wait for containers take no time. Who waits for something else, as `asyncio.sleep`, waits in the time of this
world; `sleep` is that of the fake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libcontainer_py.aio.factory import Factory
from libcontainer_py.aio.loop import ready
from libcontainer_py.spec import Spec
from libcontainer_py.testing.fake import NOBODY
from libcontainer_py.waiting import Wait

if TYPE_CHECKING:
    from libcontainer_py.aio.container import Container
    from libcontainer_py.factory import StrPath
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.testing.fake import FakeFactory
    from libcontainer_py.testing.programs import AnyProgram


class AioFakeFactory(Factory):
    """A `libcontainer_py.aio.Factory` over the containers of `fake`."""

    def __init__(self, fake: FakeFactory) -> None:
        super().__init__(backend=fake.backend)
        self.fake: FakeFactory = fake

    async def create(
        self,
        container_id: str,
        bundle: StrPath | Spec | None = None,
        *,
        program: AnyProgram | None = None,
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
        """As `FakeFactory.create`."""
        with self.fake.giving(container_id, program):
            return await super().create(
                container_id,
                Spec.default(NOBODY) if bundle is None else bundle,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                die_with_parent=die_with_parent,
                console_socket=console_socket,
                pid_file=pid_file,
                pidfd_socket=pidfd_socket,
                preserve_fds=preserve_fds,
                no_pivot=no_pivot,
                no_new_keyring=no_new_keyring,
            )

    async def sleep(self, seconds: float) -> None:
        """Wait on the clock of the fake, in place of asyncio.sleep."""
        medium = self.fake.memory.medium
        await ready(Wait(until=medium.now() + seconds), medium)
