"""A further process of a container: from the request until its program runs.

A process between the fork server and the new one joins the namespaces of init, all at once, by its pidfd; the new one
is its child, born into them, and the host's. It holds nothing of the host's but its control socket and its streams: who
is in the container already sees it come, and may try to look into it.
"""

from __future__ import annotations

import os

import attrs

from libcontainer_py import cgroups
from libcontainer_py.backends.base import Exit
from libcontainer_py.backends.launcher import Launch
from libcontainer_py.backends.preparation import facts, read_config
from libcontainer_py.backends.streams import streams_of, without_null
from libcontainer_py.errors import ConfigError, CreateError, ProgramNotFound, StartError
from libcontainer_py.init import messages
from libcontainer_py.kernel import process
from libcontainer_py.kernel.constants import NAMESPACES
from libcontainer_py.lifecycle import Operation, Status, refusal
from libcontainer_py.plan.spawn import build_spawn
from libcontainer_py.spec.validate import problems_of_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer_py.backends.base import SpawnRequest
    from libcontainer_py.backends.children import Child
    from libcontainer_py.plan import Step
    from libcontainer_py.record import Record
    from libcontainer_py.spec import Spec

_EBUSY = 16
_MISSING = (2, 13)  # ENOENT, EACCES


class LinuxSpawned:
    """A child of ours in a container."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def fileno(self) -> int:
        """Its pidfd; -1 once it was waited for."""
        return self._child.pidfd

    def wait(self, *, timeout: float | None) -> Exit | None:
        """Wait for its end, and reap it."""
        pidfd = self._child.pidfd
        if pidfd >= 0 and not process.has_ended(pidfd, timeout):
            return None
        return Exit(self._child.reap())

    def signal(self, signal: int) -> None:
        """Send it a signal."""
        self._child.signal(signal)


def spawn(record: Record, request: SpawnRequest, python: str | None) -> LinuxSpawned:
    """See `Backend.spawn`."""
    configuration = _configured(record, request)
    opened: list[int] = []
    try:
        init = process.pidfd_open(*record.init)
        if init is None:
            raise refusal(record.id, Operation.SPAWN, Status.STOPPED)
        opened.append(init)
        flags = _namespaces(record.init.pid)
        steps = _plan(record, configuration, flags)
        launch, child = _launch(record, python, init, flags)
        try:
            if configuration.process is not None and configuration.process.oom_score_adj is not None:
                _adjust(child.pid, configuration.process.oom_score_adj)
            _release(record, launch, steps, _descriptors(record, request, opened))
        except BaseException:
            launch.discard()
            raise
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return LinuxSpawned(child)


def _configured(record: Record, request: SpawnRequest) -> Spec:
    """The container's configuration, with what was asked for as its process. Raises ConfigError."""
    configuration = read_config(record.bundle)
    base = request.process or configuration.process
    if base is None:
        raise AssertionError("validation lets no such Spec through")
    added = request.env or {}
    kept = (entry for entry in base.env if entry.partition("=")[0] not in added)
    program = attrs.evolve(
        base,
        args=request.args or base.args,
        terminal=False,
        env=(*kept, *(f"{name}={value}" for name, value in added.items())),
        cwd=base.cwd if request.cwd is None else request.cwd,
        user=base.user if request.user is None else request.user,
        capabilities=base.capabilities if request.capabilities is None else request.capabilities,
        rlimits=base.rlimits if request.rlimits is None else request.rlimits,
        no_new_privileges=base.no_new_privileges if request.no_new_privileges is None else request.no_new_privileges,
    )
    wrong = problems_of_process(program)
    if wrong:
        raise ConfigError(wrong)
    return attrs.evolve(configuration, process=program)


def _namespaces(pid: int) -> int:
    """CLONE_NEW* of the namespaces of a process that are not ours: our own user namespace could not be joined."""
    flags = 0
    for name, flag in NAMESPACES.values():
        try:
            if process.namespace_inode(name, pid) != process.namespace_inode(name):
                flags |= flag
        except FileNotFoundError:
            continue  # a kernel without it; or init ended, which setns tells
    return flags


def _plan(record: Record, configuration: Spec, flags: int) -> tuple[Step, ...]:
    user_namespace = bool(flags & NAMESPACES["user"][1])
    return build_spawn(
        configuration,
        container_id=record.id,
        facts=facts(),
        user_namespace=user_namespace,
        groups=not user_namespace or _may_set_groups(record.init.pid),
        warnings=[],  # create has warned
    )


def _may_set_groups(pid: int) -> bool:
    """Source: user_namespaces(7), /proc/PID/setgroups."""
    try:
        with open(f"/proc/{pid}/setgroups") as file:
            return file.read().strip() != "deny"
    except FileNotFoundError:
        return True


def _launch(record: Record, python: str | None, init: int, flags: int) -> tuple[Launch, Child]:
    """Ask for it, born into the container's cgroup on v2; where that has cgroups below, into the one of init."""
    stage = ((("init", flags),), None)
    for directory in _birthplaces(record):
        descriptors = {"init": init} if directory is None else {"init": init, "cgroup": directory}
        try:
            launch = Launch(python, 0, None, stage, descriptors)
        finally:
            if directory is not None:
                os.close(directory)
        try:
            child = launch.born()
            launch.close()
        except CreateError as error:
            launch.discard()
            if error.errno == _EBUSY:
                continue
            if not process.alive(*record.init):
                raise refusal(record.id, Operation.SPAWN, Status.STOPPED) from error
            raise StartError(str(error), container_id=record.id, step="setns", errno=error.errno) from error
        except BaseException:
            launch.discard()
            raise
        return launch, child
    raise StartError("its cgroup takes no further process", container_id=record.id, step="cgroup", errno=_EBUSY)


def _birthplaces(record: Record) -> Iterator[int | None]:
    """Descriptors of v2 directories that the new process may be born into, best first; None: there is none."""
    own = record.cgroup_paths.get("", "")
    if not own:
        yield None
        return
    yield _directory(own)
    # the container has made cgroups below, and gave them controllers: its own has no processes then (EBUSY)
    current = cgroups.of_process(record.init.pid)
    if current not in ("", own):
        yield _directory(current)


def _directory(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _descriptors(record: Record, request: SpawnRequest, opened: list[int]) -> dict[str, int]:
    descriptors = without_null(streams_of(request, opened), opened)
    for path, descriptor in cgroups.from_paths(record.cgroup_paths).attach_descriptors().items():
        opened.append(descriptor)
        descriptors[messages.TASKS + path] = descriptor
    return descriptors


def _release(record: Record, launch: Launch, steps: tuple[Step, ...], descriptors: dict[str, int]) -> None:
    """Give it its plan, and wait until its program runs, or why not."""
    launch.instruct(tuple((step.name, step.arguments) for step in steps), descriptors)
    said = launch.hear()
    if said.startswith(messages.FAILED):
        at = int.from_bytes(said[1:3], "little")
        report = messages.unpack_report(said[3:])
        raise _failure(record, steps[at] if at < len(steps) else None, report)
    launch.control.close()  # it executed its program, which closed the other end


def _adjust(pid: int, score: int) -> None:
    """Through our own procfs: the container's may be anything. The pid is our child's, which nobody else reaps."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(score))
    except ProcessLookupError:
        pass  # it ended: what it says, or its end, tells why


def _failure(record: Record, step: Step | None, report: tuple[str, int, str] | None) -> StartError:
    if report is None:
        return StartError("the process said something that makes no sense", container_id=record.id)
    name, errno, text = report
    if name in ("program", "execute") and errno in _MISSING:
        return ProgramNotFound(text, container_id=record.id, step=name, errno=errno)
    if step is None:
        return StartError(text, container_id=record.id, step=name, errno=errno)
    message = f"{step} ({step.why}): {text}"
    return StartError(message, container_id=record.id, step=name, subject=step.subject, errno=errno)
