"""The same verbs for asyncio: nothing waits but by `await`, and there is no thread.

    async with aio.Sandbox(memory="1G") as sandbox:
        result = await sandbox.run(["make", "-C", "/job"], timeout=600)

    loop       takes the steps of a verb (see `waiting`) with an event loop: a descriptor is readable, or time is up
    container  Container and Events
    process    ContainerProcess
    terminal   Terminal
    factory    Factory
    sandbox    run, Sandbox
    many       run_many

Names, arguments, results and errors are those of the synchronous face, whose logic this is. What waits is awaited; what
looks or asks only (`status`, `stats()`, `processes()`) is not.

Who cancels `run`, `run_many`, or the `run` of a container or sandbox, is told when the command was killed and reaped
and all that was made for it is removed: some milliseconds, 10 s where a process hangs in the kernel. Leaving a
container, a sandbox or a process as an asynchronous context manager does so too. A `wait`, `communicate` or `stream`
that is cancelled, or late, kills nothing. A `start` that is cancelled may have let the program go.

What the kernel does at once is done in the loop, one such piece each time around: making a container takes it 5 to 10
ms, starting a process in one or removing it less. Longer, but bounded, are: hooks of the configuration, up to their own
time limits, of which the specification asks for none; a process that joins a container which is paused just then, and a
console socket that does not answer, 10 s; freezing and killing what the kernel cannot stop at once, 2 and 10 s. Who
cannot have that uses the synchronous face with `asyncio.to_thread`.
"""

from __future__ import annotations

from libcontainer_py.aio.container import Container as Container
from libcontainer_py.aio.container import Events as Events
from libcontainer_py.aio.factory import Factory as Factory
from libcontainer_py.aio.many import Job as Job
from libcontainer_py.aio.many import run_many as run_many
from libcontainer_py.aio.process import ContainerProcess as ContainerProcess
from libcontainer_py.aio.sandbox import Sandbox as Sandbox
from libcontainer_py.aio.sandbox import run as run
from libcontainer_py.aio.terminal import Terminal as Terminal

__all__ = ["Container", "ContainerProcess", "Events", "Factory", "Job", "Sandbox", "Terminal", "run", "run_many"]
