"""A supervisor: runs services in sandboxes, and again where they fail, each time after a longer pause.

It knows nothing of tests. What it is given, a factory and how to sleep, is all that a test needs to replace.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from libcontainer_py import CommandFailed, ContainerTimeout, Outcome, ProgramNotFound, StartError, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py import Factory, Result


class Policy(NamedTuple):
    """When a service is run again, and after how long."""

    always: bool = False
    """Also after it has exited with 0."""
    tries: int = 5
    pause: float = 1.0
    """Seconds before the second try; each further pause is twice as long."""
    longest_pause: float = 30.0


class Service(NamedTuple):
    """A program that shall run."""

    args: tuple[str, ...]
    policy: Policy = Policy()
    memory: int | None = None
    """Bytes. After an OOM it gets twice as much, up to `most_memory`."""
    most_memory: int = 1 << 30
    timeout: float | None = None


class Try(NamedTuple):
    """How one try ended."""

    outcome: Outcome
    returncode: int
    memory: int | None


class Supervisor:
    """Runs services with the containers of a factory."""

    def __init__(self, factory: Factory, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self._factory = factory
        self._sleep = sleep

    def supervise(self, service: Service) -> list[Try]:
        """Run it until its policy says that it is enough: all tries. Raises CommandFailed where the last one failed."""
        tries: list[Try] = []
        memory, pause = service.memory, service.policy.pause
        while True:
            result = self._run(service, memory)
            tries.append(Try(result.outcome, result.returncode, memory))
            if result.outcome is Outcome.START_FAILED:
                break  # it will not be there the next time either
            if result.returncode == 0 and not service.policy.always:
                break
            if len(tries) == service.policy.tries:
                break
            if result.outcome is Outcome.OOM and memory is not None:
                memory = min(2 * memory, service.most_memory)
            self._sleep(pause)
            pause = min(2 * pause, service.policy.longest_pause)
        if result.returncode:
            raise CommandFailed(result, service.args)
        return tries

    def _run(self, service: Service, memory: int | None) -> Result[bytes]:
        """One try, whatever becomes of it."""
        try:
            return run(service.args, memory=memory, timeout=service.timeout, factory=self._factory)
        except (ContainerTimeout, ProgramNotFound, StartError) as error:
            if error.result is None:
                raise
            return error.result
