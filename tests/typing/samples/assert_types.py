"""What a type checker must infer from the public names. Checked by mypy and pyright, never run."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from typing_extensions import assert_type

import libcontainer_py
from libcontainer_py import (
    DEVNULL,
    PIPE,
    STDOUT,
    Backend,
    Bind,
    BrokenStateWarning,
    Condition,
    ConfigError,
    Container,
    ContainerError,
    ContainerNotFound,
    ContainerProcess,
    ContainerTimeout,
    Diagnosis,
    Event,
    Events,
    Exited,
    ExitStatus,
    Factory,
    Finding,
    IllegalOperation,
    IoStats,
    LinuxBackend,
    MemoryBackend,
    MemoryPressure,
    MemoryStats,
    OomKill,
    Operation,
    Outcome,
    Problem,
    ProgramNotFound,
    Result,
    Sample,
    Sandbox,
    Spec,
    StartError,
    State,
    StateError,
    Stats,
    Status,
    Swept,
    Terminal,
    Usage,
    aio,
    examine,
    run,
)
from libcontainer_py.lifecycle import LEGAL, Facts, is_legal, status_of, to_mermaid
from libcontainer_py.spec import Memory, Pids, Resources

assert_type(libcontainer_py.__version__, str)


def factories(spec: Spec, backend: Backend) -> None:
    assert_type(Factory(), Factory)
    Factory("/run/x")
    Factory(Path("/run/x"))
    Factory(backend=backend)
    Factory(backend=LinuxBackend("/run/x"))
    Factory(backend=LinuxBackend(python="/usr/bin/python3", cgroup_driver="systemd"))
    Factory(backend=MemoryBackend())
    factory = Factory()
    assert_type(factory.create("c1", "/bundle"), Container)
    assert_type(factory.create("c1", Path("/bundle"), stdin=DEVNULL, stdout=1, stderr=None), Container)
    assert_type(factory.create("c1", spec, stdout=subprocess.DEVNULL), Container)
    assert_type(factory.create("c1", spec, console_socket=Path("/socket")), Container)
    with open("/dev/null", "wb") as file:
        factory.create("c1", "/bundle", stdout=file)
    assert_type(factory.load("c1"), Container)
    assert_type(factory.ids(), list[str])
    assert_type(factory.list(), list[Container])
    factory.list(on_error=lambda error: assert_type(error, StateError))
    assert_type(factory.delete("c1", force=True), None)
    assert_type(factory.sweep(), list[Swept])
    for swept in factory.sweep():
        assert_type(swept.removed, bool)


def containers(container: Container) -> None:
    assert_type(container.id, str)
    assert_type(container.directory, str)
    assert_type(container.bundle, str)
    assert_type(container.created, str)
    assert_type(container.annotations, Mapping[str, str])
    assert_type(container.status, Status)
    assert_type(container.init_pid, int | None)
    assert_type(container.state(), State)
    assert_type(container.state().to_json(), str)
    assert_type(container.exec(timeout=1.5), None)
    assert_type(container.start(), None)
    assert_type(container.pause(), None)
    assert_type(container.resume(), None)
    assert_type(container.signal(15), None)
    assert_type(container.signal("TERM"), None)
    assert_type(container.signal("TERM", all=True), None)
    assert_type(container.processes(), list[int])
    assert_type(container.kill(), None)
    assert_type(container.wait(), ExitStatus)
    assert_type(container.wait(10), ExitStatus)
    assert_type(container.wait(timeout=0.5).returncode, int | None)
    assert_type(container.wait().exit_code, int | None)
    assert_type(container.wait().signal, int | None)
    assert_type(container.wait().known, bool)
    assert_type(container.wait().oom_kills, int)
    assert_type(container.update(Resources(pids=Pids(limit=5), memory=Memory(limit=1 << 30))), None)
    assert_type(container.stats(), Stats)
    assert_type(container.stats().memory, MemoryStats | None)
    assert_type(container.stats().io, tuple[IoStats, ...])
    assert_type(container.delete(force=True), None)
    assert_type(container.explain(), str)
    assert_type(container.close(), None)
    with container as same:
        assert_type(same, Container)


def samples(container: Container) -> None:
    for sample in container.watch_stats(interval=0.5):
        assert_type(sample, Sample)
        assert_type(sample.stats, Stats)
        assert_type(sample.seconds, float)
        assert_type(sample.cpu_percent, float | None)


def events(container: Container) -> None:
    with container.events() as events:
        assert_type(events, Events)
        assert_type(events.kinds, frozenset[type[Event]])
        assert_type(events.fileno(), int)
        assert_type(events.next(timeout=1.5), Event | None)
        assert_type(events.ready(), list[Event])
        assert_type(events.ended, bool)
        for event in events:
            assert_type(event, Event)
            assert_type(event.container_id, str)
            if isinstance(event, OomKill):
                assert_type(event.count, int)
            elif isinstance(event, MemoryPressure):
                assert_type(event.level, str)
            elif isinstance(event, Exited):
                assert_type(event.status, ExitStatus)
        assert_type(events.close(), None)


def commands() -> None:
    result = run(["echo", "hello"])
    assert_type(result, Result[bytes])
    assert_type(result.returncode, int)
    assert_type(result.signal, int | None)
    assert_type(result.stdout, bytes)
    assert_type(result.outcome, Outcome)
    assert_type(result.usage, Usage)
    assert_type(result.usage.cpu_seconds, float)
    assert_type(result.check_returncode(), None)
    run(("ls", "-l"), env={"A": "b"}, cwd="/usr", stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
    with open("/dev/null", "wb") as file:
        run(["ls"], stdin=None, stdout=None, stderr=file, check=True, factory=Factory())


def further(container: Container) -> None:
    with Sandbox(rootfs="/r", binds={"/a": "/b"}, memory="64M", cpus=0.5, pids=9, user="nobody") as sandbox:
        assert_type(sandbox, Sandbox)
        assert_type(sandbox.run(["true"]), Result[bytes])
        assert_type(sandbox.run(["true"], text=True, input="x"), Result[str])
        assert_type(sandbox.spawn(["true"]), ContainerProcess)
        assert_type(sandbox.container, Container)
    assert_type(container.run(["true"]).stdout, bytes)
    assert_type(container.run(["true"], encoding="utf-8").stdout, str)
    assert_type(run(["true"], text=True, binds=[Bind("/a", "/b", writable=True)]).stdout, str)
    process = container.spawn(["true"], stdout=PIPE)
    assert_type(process.poll(), int | None)
    assert_type(process.wait(1.5), int)
    assert_type(process.communicate(b"x"), tuple[bytes, bytes])
    typed = container.spawn(["sh"], terminal=True)
    typed.resize(80, 25)
    for terminal in (typed.terminal, container.terminal):
        assert_type(terminal, Terminal | None)
        if terminal is not None:
            assert_type(terminal.read(), bytes)
            assert_type(terminal.write(b"ls\n"), int)
            assert_type(terminal.fileno(), int)
            terminal.resize(columns=80, rows=25)
    for stream, chunk in process.stream():
        assert_type(stream, str)
        assert_type(chunk, bytes)


async def asynchronous() -> None:
    factory = aio.Factory("/run/x")
    assert_type(await aio.run(["true"]), Result[bytes])
    assert_type(await aio.run(["true"], text=True, input="x", memory="1G", factory=factory), Result[str])
    assert_type(await aio.run(["true"], encoding="latin-1", timeout=1.5), Result[str])
    jobs: list[aio.Job | list[str]] = [["true"], aio.Job(["false"], timeout=3, env={"A": "b"})]
    assert_type(await aio.run_many(jobs), list[Result[bytes | str]])
    found = await aio.run_many((["echo", str(number)] for number in range(3)), limit=2, return_exceptions=True)
    assert_type(found, list[Result[bytes | str] | Exception])
    async with aio.Sandbox(binds={"/a": "/b"}, memory="64M") as sandbox:
        assert_type(sandbox, aio.Sandbox)
        assert_type(await sandbox.run(["true"], user="nobody"), Result[bytes])
        assert_type(await sandbox.run(["true"], text=True), Result[str])
        assert_type(sandbox.container, aio.Container)
        async with await sandbox.spawn(["cat"], stdin=PIPE, stdout=PIPE) as process:
            assert_type(process, aio.ContainerProcess)
            assert_type(await process.write(b"x"), None)
            async for stream, chunk in process.stream(1.5):
                assert_type(stream, str)
                assert_type(chunk, bytes)
            assert_type(await process.communicate(b"x"), tuple[bytes, bytes])
            assert_type(await process.wait(), int)
            assert_type(process.returncode, int | None)
    async with await factory.create("c1", "/bundle", stdin=DEVNULL) as container:
        assert_type(container, aio.Container)
        assert_type(await container.start(), None)
        assert_type(container.status, Status)
        assert_type((await container.run(["true"])).stdout, bytes)
        async for event in container.events():
            assert_type(event, Event)
        assert_type(await container.wait(), ExitStatus)
    assert_type(factory.list(), list[aio.Container])
    assert_type(await factory.sweep(), list[Swept])


def failures(container: Container) -> None:
    try:
        container.start()
    except IllegalOperation as error:
        assert_type(error.operation, Operation)
        assert_type(error.status, Status)
        assert_type(error.container_id, str)
        assert_type(error.hint, str)
    except ProgramNotFound as error:
        # also a StartError and a FileNotFoundError: whoever expects either catches it
        start: StartError = error
        missing: FileNotFoundError = error
        print(start, missing)
    except ConfigError as error:
        assert_type(error.problems, tuple[Problem, ...])
        assert_type(error.problems[0].path, str)
    except ContainerTimeout as error:
        assert_type(error.released, bool)
        timeout: TimeoutError = error
        print(timeout)
    except ContainerNotFound as error:
        lookup: LookupError = error
        print(lookup)
    except ContainerError as error:
        assert_type(error.message, str)
    warning: UserWarning = BrokenStateWarning("x")
    print(warning)


def life() -> None:
    assert_type(status_of(Facts(init_alive=True, frozen=False, fifo_present=False)), Status)
    assert_type(LEGAL[Status.CREATED], frozenset[Operation])
    assert_type(is_legal(Operation.START, Status.CREATED), bool)
    assert_type(to_mermaid(), str)
    word: str = Status.RUNNING
    print(word)


def doctor() -> None:
    diagnosis = examine()
    assert_type(diagnosis, Diagnosis)
    assert_type(diagnosis.findings, tuple[Finding, ...])
    assert_type(diagnosis.condition, Condition)
    assert_type(diagnosis.reason_why_not(), str | None)
    assert_type(diagnosis.reason_why_not("create"), str | None)
    assert_type(diagnosis.findings[0].name, str)
    assert_type(diagnosis.to_dict()["findings"][0]["fix"], str)
    diagnosis.reason_why_not("start")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
