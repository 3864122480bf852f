"""Many commands, each in a sandbox of its own, some at a time."""

from __future__ import annotations

import asyncio
from typing import overload

from libcontainer_py.aio.sandbox import run_any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Literal

    from typing_extensions import Unpack

    from libcontainer_py.aio.factory import Factory
    from libcontainer_py.aio.options import AnyRun
    from libcontainer_py.result import Result


class Job:
    """A command for `run_many`: what `run` takes."""

    __slots__ = ("args", "factory", "options")

    def __init__(self, args: Sequence[str], *, factory: Factory | None = None, **options: Unpack[AnyRun]) -> None:
        self.args: Sequence[str] = args
        self.factory: Factory | None = factory
        self.options: AnyRun = options

    def __repr__(self) -> str:
        return f"Job({self.args!r})"


@overload
async def run_many(
    jobs: Iterable[Job | Sequence[str]],
    *,
    limit: int = 8,
    return_exceptions: Literal[False] = False,
    factory: Factory | None = None,
    **options: Unpack[AnyRun],
) -> list[Result[bytes | str]]: ...


@overload
async def run_many(
    jobs: Iterable[Job | Sequence[str]],
    *,
    limit: int = 8,
    return_exceptions: bool,
    factory: Factory | None = None,
    **options: Unpack[AnyRun],
) -> list[Result[bytes | str] | Exception]: ...


async def run_many(
    jobs: Iterable[Job | Sequence[str]],
    *,
    limit: int = 8,
    return_exceptions: bool = False,
    factory: Factory | None = None,
    **options: Unpack[AnyRun],
) -> list[Result[bytes | str]] | list[Result[bytes | str] | Exception]:
    """Run commands as `run` does, `limit` at a time: their results, in the order of the jobs.

    A job is a command, or a `Job` with keywords of its own; `options` are the keywords for all. Jobs are taken from the
    iterable when there is room for one. The first error ends the others, which are killed and removed, and is raised;
    with `return_exceptions` it stands in its job's place, and the others go on.
    """
    if limit < 1:
        raise ValueError(f"limit is how many run at a time, not {limit!r}")
    results: dict[int, Result[bytes | str] | Exception] = {}
    numbered = enumerate(jobs)
    workers = [
        asyncio.ensure_future(
            _work(numbered, Job((), factory=factory, **options), results, return_exceptions=return_exceptions)
        )
        for _ in range(limit)
    ]
    try:
        done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for worker in workers:
            worker.cancel()
        await _outlive(workers)
    for worker in done:
        worker.result()
    return [results[number] for number in sorted(results)]


async def _work(
    jobs: Iterator[tuple[int, Job | Sequence[str]]],
    common: Job,
    results: dict[int, Result[bytes | str] | Exception],
    *,
    return_exceptions: bool,
) -> None:
    for number, job in jobs:
        options = common.options.copy()
        factory = common.factory
        if isinstance(job, Job):
            options.update(job.options)
            factory = job.factory if job.factory is not None else factory
        try:
            results[number] = await run_any(job.args if isinstance(job, Job) else job, factory, options)
        except Exception as error:
            if not return_exceptions:
                raise
            results[number] = error


async def _outlive(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Wait until all have ended, whoever cancels us meanwhile: they clean up, which is bounded."""
    cancelled = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # asyncio complains of errors that nobody has asked for
    if cancelled is not None:
        raise cancelled
