"""A further process of a container: from the request until its program runs.

A process that the fork server makes joins the namespaces of init, all at once, by its pidfd, and becomes what was asked
for. Then it clones the new process, the host's child, which is born into the pid namespace too: who is in the container
already sees it come, and may try to look into it, but it has no more rights by then than its program will have.
"""

from __future__ import annotations

import functools
import os
from errno import EMFILE
from math import inf

import attrs

from libcontainer_py import cgroups
from libcontainer_py.backends import children
from libcontainer_py.backends.base import Exit
from libcontainer_py.backends.launcher import Launch
from libcontainer_py.backends.preparation import facts, read_config
from libcontainer_py.backends.streams import preserved, streams_of, without_null
from libcontainer_py.cgroups import resctrl, within
from libcontainer_py.errors import ConfigError, ContainerError, CreateError, ProgramNotFound, StartError
from libcontainer_py.init import messages
from libcontainer_py.kernel import process
from libcontainer_py.kernel.constants import NAMESPACES
from libcontainer_py.lifecycle import Operation, Status, refusal
from libcontainer_py.plan import Step
from libcontainer_py.plan.spawn import build_spawn
from libcontainer_py.spec.validate import problems_of_process
from libcontainer_py.state.sections import section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    from libcontainer_py.backends.base import SpawnRequest, Taker
    from libcontainer_py.backends.children import Child
    from libcontainer_py.record import Record
    from libcontainer_py.spec import Spec

    Order: TypeAlias = tuple[tuple[Step, ...], dict[str, int]]

EXECUTE_TIMEOUT = 10.0
"""Seconds that a process may take from its birth until it executes its program: what init has at start."""
_ENOENT, _ESRCH, _EBUSY = 2, 3, 16
_SIGKILL = 9
_MISSING = (2, 13)  # ENOENT, EACCES


class LinuxSpawned:
    """A child of ours in a container."""

    def __init__(self, child: Child, record: Record, group: cgroups.Cgroup | None, python: str | None) -> None:
        self._child = child
        self._record = record
        self._group = group
        self._python = python

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
        returncode = self._child.reap()
        children.drop(self._child)
        if self._group is not None:
            within.remove(self._group.paths)
        return Exit(returncode, 0, self._child.cpu_seconds, self._child.peak_memory)

    def signal(self, signal: int) -> None:
        """Send it a signal."""
        self._child.signal(signal)

    @property
    def killed(self) -> bool:
        """Whether we sent it SIGKILL."""
        return self._child.killed

    def kill_all(self) -> None:
        """By its cgroup; else by a process that joins and signals all that it sees."""
        self.signal(_SIGKILL)
        if self._group is not None:
            self._group.kill()
        elif self._record.private_pid_namespace and process.alive(*self._record.init):
            kill_others(self._record, self._python)


def spawn(record: Record, request: SpawnRequest, python: str | None) -> LinuxSpawned:
    """See `Backend.spawn`."""
    opened: list[int] = []
    below = _below(record, request.cgroup or {})
    group = within.make(record.cgroup_paths, f"command-{os.urandom(8).hex()}") if request.apart else None
    paths = {**below, **(group.paths if group is not None else {})}

    @functools.cache
    def order() -> Order:
        return _order(record, request, paths, opened)

    spawned = None
    try:
        for directory in _birthplaces(record, paths):
            timeout = inf if request.ignore_paused else EXECUTE_TIMEOUT
            child = _try(record, order, python, directory, request.terminal, timeout)
            if child is not None:
                spawned = LinuxSpawned(child, record, group, python)
                return spawned
    finally:
        for descriptor in opened:
            os.close(descriptor)
        if spawned is None and group is not None:
            within.remove(group.paths)
    if not process.alive(*record.init):
        raise refusal(record.id, Operation.SPAWN, Status.STOPPED)
    raise StartError("its cgroup takes no further process", container_id=record.id, step="cgroup", errno=_EBUSY)


def _order(record: Record, request: SpawnRequest, paths: Mapping[str, str], opened: list[int]) -> Order:
    """What it is to do, and with which descriptors; `opened` are those to close afterwards. Raises ContainerError."""
    configuration = _configured(record, request)
    flags, joins, namespaces = _way_in(record)
    opened.extend(namespaces.values())
    steps = tuple(joins if step.name == "join" else step for step in _plan(record, configuration, flags))
    return steps, {**namespaces, **_descriptors(record, paths, request, opened)}


def _try(
    record: Record,
    order: Callable[[], Order],
    python: str | None,
    directory: int | None,
    taker: Taker | None,
    timeout: float,
) -> Child | None:
    """Make one in the v2 cgroup of that descriptor, which is closed; None: it takes no process (EBUSY).

    What it is to do is found out while the kernel makes it.
    """
    try:
        launch = Launch(python, 0, None, ((), None), {} if directory is None else {"cgroup": directory})
    finally:
        if directory is not None:
            os.close(directory)
    try:
        steps, descriptors = order()
        launch.instruct(tuple((step.name, step.arguments) for step in steps), descriptors)
        child, said = launch.joined()
        launch.close()
        if child is not None:
            child.container = record.init  # from now on: who waits for init reaps it too, whatever it does before
            said = launch.until_executed(child, timeout)
        if child is None or said:
            raise _failure(record, steps, said)
        if taker is not None:
            master = launch.take_terminal()
            if master < 0:  # the kernel drops what it finds no number for. Source: unix(7), MSG_CTRUNC
                raise CreateError(os.strerror(EMFILE), step="descriptors", errno=EMFILE)
            taker.take(master)
    except CreateError as error:
        launch.discard()
        if error.errno == _EBUSY:
            return None
        raise StartError(str(error), container_id=record.id, step=error.step, errno=error.errno) from error
    except BaseException:
        launch.discard()
        raise
    launch.control.close()  # it executed its program, which closed the other end
    return child


def _way_in(record: Record) -> tuple[int, Step, dict[str, int]]:
    """CLONE_NEW* of what is to be joined, the step that does so, and the descriptors for it, which the caller closes.

    By the pidfd of init; where it has handed its namespaces over, since it may not be looked into, by these.
    """
    child = children.child(*record.init)
    handed = {} if child is None else child.duplicates()
    if handed:
        pairs = tuple((f"{name} namespace", flag) for name, flag in NAMESPACES.values() if name in handed)
        flags = sum(flag for _, flag in pairs)
        step = Step("join_each", (pairs,), "linux.namespaces")
        return flags, step, {f"{name} namespace": descriptor for name, descriptor in handed.items()}
    init = process.pidfd_open(*record.init)
    if init is None:
        raise refusal(record.id, Operation.SPAWN, Status.STOPPED)
    try:
        flags = _namespaces(record.init.pid)
    except BaseException:
        os.close(init)
        raise
    return flags, Step("join", (flags,), "linux.namespaces"), {"init": init}


def kill_others(record: Record, python: str | None) -> None:
    """SIGKILL to everybody in the container's pid namespace but its init, at one moment. Raises ContainerError."""
    _, joins, namespaces = _way_in(record)
    steps = ((joins.name, joins.arguments), ("clone", ()), ("kill_others", ()))
    # before the order goes out: whoever waits for one of them may learn of its end at once
    marked = [
        one
        for one in children.joined(record.init)
        if not one.killed and one.pidfd >= 0 and not process.has_ended(one.pidfd)
    ]
    for one in marked:
        one.killed = True
    done = False
    try:
        launch = Launch(python, 0, None, ((), None), {})
        try:
            launch.instruct(steps, namespaces)
            child, _ = launch.joined()
            launch.close()
            if child is not None:
                launch.until_executed(child, EXECUTE_TIMEOUT)
                child.reap()
                children.drop(child)
                done = True
        except BaseException:
            launch.discard()
            raise
        launch.control.close()
    finally:
        for descriptor in namespaces.values():
            os.close(descriptor)
        if not done:
            for one in marked:
                one.killed = False


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
        terminal=request.terminal is not None,
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
        flags=flags,
        groups=not user_namespace or _may_set_groups(record.init.pid),
        warnings=[],  # create has warned
        own_keyring=not section(record.document, "config").get("no_new_keyring"),
    )


def _below(record: Record, wanted: Mapping[str, str]) -> dict[str, str]:
    """The container's cgroups, or what is wanted below them ("" for all). Raises StartError."""
    paths = dict(record.cgroup_paths)
    for controller, path in wanted.items():
        found = [controller] if controller in paths else list(paths) if not controller else []
        if not found:
            raise _no_cgroup(record, controller or path, f"the container has no cgroup of {controller or 'its own'}")
        for one in found:
            place = os.path.normpath(f"{paths[one]}/{path.lstrip('/')}")
            if not f"{place}/".startswith(f"{paths[one]}/"):
                raise _no_cgroup(record, path, "it is not below the container's")
            if not os.path.isdir(place):
                raise _no_cgroup(record, path, f"{place}: no such file or directory")
            paths[one] = place
    return paths


def _no_cgroup(record: Record, subject: str, reason: str) -> StartError:
    text = f"cgroup {subject}: {reason}"
    return StartError(text, container_id=record.id, step="cgroup", subject=subject, errno=_ENOENT)


def _may_set_groups(pid: int) -> bool:
    """Source: user_namespaces(7), /proc/PID/setgroups."""
    try:
        with open(f"/proc/{pid}/setgroups") as file:
            return file.read().strip() != "deny"
    except FileNotFoundError:
        return True
    except PermissionError:
        return False  # one that an ordinary user may not look into: he has mapped his own id alone


def _birthplaces(record: Record, paths: Mapping[str, str]) -> Iterator[int | None]:
    """Descriptors of v2 directories that the new process may be born into, best first; None: there is none."""
    own = paths.get("", "")
    if not own:
        yield None
        return
    yield from _directory(own)
    # the container has made cgroups below, and gave them controllers: its own has no processes then (EBUSY)
    current = cgroups.of_process(record.init.pid)
    if current.startswith(f"{own}/"):
        yield from _directory(current)


def _directory(path: str) -> Iterator[int]:
    """A descriptor of it; nothing where it is gone: the container may remove what it made, and gets no way out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    yield descriptor


def _descriptors(record: Record, paths: Mapping[str, str], request: SpawnRequest, opened: list[int]) -> dict[str, int]:
    descriptors = preserved(request)
    if request.terminal is None:
        descriptors.update(without_null(streams_of(request, opened), opened))

    def enter(tasks: Mapping[str, int]) -> None:
        opened.extend(tasks.values())
        descriptors.update({messages.TASKS + path: descriptor for path, descriptor in tasks.items()})

    enter(cgroups.from_paths(paths).attach_descriptors())
    groups = [record.document.get(name) for name in ("intel_rdt_path", "intel_rdt_mon_path")]
    enter(resctrl.attach_descriptors([path for path in groups if isinstance(path, str) and path]))
    return descriptors


def _failure(record: Record, steps: tuple[Step, ...], said: bytes) -> ContainerError:
    report = messages.unpack_report(said[3:]) if said.startswith(messages.FAILED) else None
    if report is None:
        return StartError("the process said something that makes no sense", container_id=record.id)
    name, errno, text = report
    if not process.alive(*record.init) or (name, errno) == ("join", _ESRCH):
        return refusal(record.id, Operation.SPAWN, Status.STOPPED)
    if name in ("program", "execute") and errno in _MISSING:
        return ProgramNotFound(text, container_id=record.id, step=name, errno=errno)
    at = int.from_bytes(said[1:3], "little")
    if at >= len(steps):
        return StartError(text, container_id=record.id, step=name, errno=errno)
    step = steps[at]
    message = f"{step} ({step.why}): {text}"
    return StartError(message, container_id=record.id, step=name, subject=step.subject, errno=errno)
