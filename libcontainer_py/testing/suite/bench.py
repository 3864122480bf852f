"""What the suite must be told of a backend: how to make containers there, and what cannot be had."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from libcontainer_py.spec import Hooks, Linux, Mount, Namespace, Process, Root, Spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py.container import Container
    from libcontainer_py.factory import Factory
    from libcontainer_py.lifecycle import Status
    from libcontainer_py.spec import Resources

SIGUSR1, SIGUSR2, SIGTERM = 10, 12, 15
NAMESPACES = ("pid", "mount", "ipc", "uts", "network")


def status_now(container: Container) -> Status:
    """Its status, which no type checker takes for what it was a moment ago."""
    return container.status


class Can:
    """What not every backend can."""

    TELL_EXITS = "tell how init ended"
    COUNT = "give statistics"
    WATCH = "tell that a container was started, paused and resumed"
    SPAWN = "run further programs"
    RUN = "do what the words of a further program say"
    HOOK = "run hooks"
    EVERYTHING = frozenset({TELL_EXITS, COUNT, WATCH, SPAWN, RUN, HOOK})


class Bench:
    """A factory on an empty root, and what its containers are made of. A subclass says the rest."""

    can: frozenset[str] = Can.EVERYTHING
    PATIENCE: float = 30.0
    """Seconds within which what must happen happens."""
    SHORT: float = 0.02
    """Seconds to wait for what will not happen."""

    def __init__(self, factory: Factory) -> None:
        self.factory: Factory = factory
        self._made: list[str] = []

    # -- what a subclass says -------------------------------------------------------------------------------------

    def bundle(
        self,
        *,
        ends_on: Mapping[int, int] | None = None,
        missing: bool = False,
        annotations: Mapping[str, str] | None = None,
        resources: Resources | None = None,
        hooks: Hooks | None = None,
    ) -> str | Spec:
        """A bundle, or a Spec, of a program that runs until it is killed, in a pid namespace of its own.

        With `ends_on` it has handlers for these signals, and exits with these codes; else it has none. With `missing`
        there is no such program.
        """
        raise TypeError("a subclass says what containers are made of: Bench.bundle")

    def hooks(self, *kinds: str, failing: str = "") -> Hooks:
        """One hook of each of these kinds, which `ran` tells of; that of the kind `failing` fails."""
        raise TypeError("a subclass says what hooks are: Bench.hooks")

    def ran(self) -> list[str]:
        """The kinds of the hooks that ran, in this order."""
        raise TypeError("a subclass says which hooks ran: Bench.ran")

    def until_ready(self, container: Container) -> None:
        """Wait until the program that was started has its handlers."""

    def die(self, container: Container) -> None:
        """Let init be killed by SIGKILL, past the library. It is not paused."""
        assert container.init_pid is not None
        os.kill(container.init_pid, 9)

    def left(self) -> list[str]:
        """What there is of any container: processes, cgroups, files."""
        return self.factory.ids()

    # -- what the tests do ----------------------------------------------------------------------------------------

    def needs(self, *words: str) -> None:
        """Skip where the backend cannot do that."""
        for word in words:
            if word not in self.can:
                pytest.skip(f"needs a backend that can {word}")

    def new_id(self) -> str:
        """An id that nobody else has."""
        container_id = f"suite-{os.urandom(6).hex()}"
        self._made.append(container_id)
        return container_id

    def create(self, bundle: str | Spec | None = None) -> Container:
        """A created container, without input or output."""
        return self.factory.create(
            self.new_id(), self.bundle() if bundle is None else bundle, stdin=-3, stdout=-3, stderr=-3
        )

    def running(self, bundle: str | Spec | None = None) -> Container:
        """One that runs, and whose program is ready."""
        container = self.create(bundle)
        container.start(timeout=self.PATIENCE)
        self.until_ready(container)
        return container

    def paused(self) -> Container:
        """One that ran and is paused."""
        container = self.running()
        container.pause()
        return container

    def stopped(self) -> Container:
        """One that ran and was killed."""
        container = self.running()
        container.kill()
        container.wait(self.PATIENCE)
        return container

    def clean(self) -> None:
        """Remove what a test left, also under an id that should have been refused."""
        for container_id in sorted({*self._made, *self.factory.ids()}):
            self.factory.delete(container_id, force=True)

    @staticmethod
    def spec(
        *args: str,
        annotations: Mapping[str, str] | None = None,
        resources: Resources | None = None,
        hooks: Hooks | None = None,
    ) -> Spec:
        """A configuration that every runtime takes: root, in five new namespaces, with /proc."""
        return Spec(
            oci_version="1.0.2",  # which every runtime knows
            root=Root(path="rootfs"),
            process=Process(args=args, cwd="/", env=("PATH=/bin",)),
            mounts=(Mount(destination="/proc", type="proc", source="proc"),),
            annotations=annotations or {},
            hooks=hooks,
            linux=Linux(namespaces=tuple(Namespace(type=kind) for kind in NAMESPACES), resources=resources),
        )
