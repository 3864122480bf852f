"""The procedures, written once: in which order intent, lock, cgroup, init, state file and fifo are made and unmade.

Everything here goes through a `Store` and a `Host`. Two rules hold it together:

* What will be made is written down before it is made (the intent), and init goes to the fifo only after state.json is
  on
  disk; until then it exits when its creator does. So whoever comes later can undo a create that was killed anywhere.
* Who starts a container is decided by who reads the `0` out of exec.fifo, also against runc, which knows no lock of
  ours.

create, release, update and destroy hold the container's lock. load, observe and ids never take it, because hooks call
them; freeze, thaw, signal and kill do not wait for it either.

Those four are steps (see `waiting`): `creating` and so on wait for nothing themselves. `create` and so on are the same,
but `patient`: they block, on the clock of the host.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack

from libcontainer_py.backends.base import Taken
from libcontainer_py.errors import (
    ConfigError,
    ContainerError,
    ContainerNotFound,
    ContainerTimeout,
    HookError,
    HookWarning,
    Problem,
    ProgramNotFound,
    StartError,
    StateError,
)
from libcontainer_py.lifecycle import Facts, Operation, Status, refusal, require, status_of
from libcontainer_py.record import Intent, Swept
from libcontainer_py.waiting import KERNEL, Wait, carry_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer_py.backends.base import (
        CreateRequest,
        Exit,
        Failure,
        Gate,
        Host,
        Measured,
        Spawned,
        SpawnRequest,
        Store,
        Taker,
        Watch,
    )
    from libcontainer_py.record import Init, Record
    from libcontainer_py.spec import Resources
    from libcontainer_py.stats import Stats
    from libcontainer_py.waiting import Medium, Steps

START_TIMEOUT = 10.0
"""Seconds that a start waits for init's `0`: a live init answers at once."""
LOCK_TIMEOUT = 60.0
"""Seconds that create, start and delete wait for another process's turn with the same container."""
KILL_TIMEOUT = 10.0
"""Seconds that a delete waits for a killed init to end."""
EMPTY_AGE = 60.0
"""Seconds after which an empty directory with nothing of ours in it counts as abandoned."""
_SIGKILL = 9
_PAUSES = (0.001, 0.02)
"""Seconds between two looks at a lock that somebody holds, at first and later: the kernel tells nobody."""


class Procedures:
    """A `Backend` over a `Store` and a `Host`."""

    def __init__(self, store: Store, host: Host) -> None:
        self.store = store
        self.host = host

    @property
    def medium(self) -> Medium:
        """What time is here, and what a descriptor."""
        return KERNEL

    @property
    def root(self) -> str:
        """The directory of the state directories."""
        return self.store.root

    # -- create ---------------------------------------------------------------------------------------------------

    def create(self, request: CreateRequest) -> Record:
        """Make a container whose init waits at the fifo. After an error nothing of it is left."""
        return carry_out(self._creating(request, patient=True))

    def creating(self, request: CreateRequest) -> Steps[Record]:
        """The steps of `create`. It waits for its turn alone: all else is short, but for hooks."""
        return self._creating(request, patient=False)

    def _creating(self, request: CreateRequest, *, patient: bool) -> Steps[Record]:
        container_id = request.container_id
        directory = self.store.directory(container_id)  # refuses a bad id before anything is read
        preparation = self.host.prepare(request, directory)
        taker = _taker(request, terminal=preparation.terminal)
        with ExitStack() as held:
            yield from self._enter(held, container_id, LOCK_TIMEOUT, patient=patient)
            intent = self.host.creator()._replace(
                cgroups=dict.fromkeys(preparation.cgroup_paths, 0), die_with_parent=request.die_with_parent
            )
            self.store.make(container_id, intent)
            birth = None
            try:
                made = self.host.make_birthplace(preparation)
                if made:
                    intent = intent._replace(cgroups={**intent.cgroups, **made})
                    self.store.note(container_id, intent)
                birth = self.host.make_init(preparation, directory)
                # until it is born, while it is being made:
                self.store.make_fifo(container_id, preparation.fifo_owner)
                intent = intent._replace(cgroups={**made, **birth.make_cgroups()})
                self.store.note(container_id, intent)
                init = birth.born()
                intent = intent._replace(init=init)
                self.store.note(container_id, intent)
                birth.until_mounted()
                state = preparation.state("creating", init.pid)
                for kind in ("prestart", "createRuntime"):
                    self.host.run_hooks(kind, preparation.hooks, state)
                birth.go_on(state)
                record = birth.record(intent)  # while init goes on, as the draft
                self.store.draft(record)
                birth.until_ready()
                if taker is not None:
                    taker.take(birth.terminal())
                if request.listener is not None:
                    request.listener.tell(init.pid, lambda: self.host.pidfd(init))
                self.store.publish(container_id)
                birth.let_go()
                self.store.settle(container_id)
            except BaseException as error:
                if birth is not None:
                    birth.abandon()
                self._unmake(intent)
                failed: list[str] = []
                if isinstance(error, HookError):
                    # runtime.md, Lifecycle 3 to 5: after a failed hook go on where a delete would
                    state = preparation.state(Status.STOPPED.value, 0)
                    failed = self._poststop(container_id, preparation.hooks, state)
                self.store.remove(container_id)
                _warn(failed)
                raise
        return record

    def _enter(self, held: ExitStack, container_id: str, timeout: float, *, patient: bool) -> Steps[None]:
        """Take the container's lock until `held` is left. Raises ContainerTimeout, StateError."""
        if patient:
            self._lock(held, container_id, timeout)
            return
        until = self.medium.now() + timeout
        pause = _PAUSES[0]
        while True:
            try:
                self._lock(held, container_id, 0)
            except ContainerTimeout as error:
                now = self.medium.now()
                if now >= until:
                    error.timeout = timeout
                    raise
            else:
                return
            yield Wait(until=min(until, now + pause))
            pause = min(2 * pause, _PAUSES[1])

    def _lock(self, held: ExitStack, container_id: str, timeout: float) -> None:
        """Take it. However an interrupt comes, `held` lets it go: who cleans up after that wants it once more."""
        lock = self.store.lock(container_id, timeout=timeout)
        held.push(lock)  # before it is taken; and twice, since the interrupt may come when the first begins to let go
        held.push(lock)
        lock.__enter__()  # `with` would leave a moment in which it is taken and nobody knows

    def _outlive(self, init: Init, timeout: float, *, patient: bool) -> Steps[Exit | None]:
        """Wait until it ended; None: not within `timeout` seconds."""
        if patient:
            return self.host.wait(init, timeout=timeout)
        until = self.medium.now() + timeout
        while (ended := self.host.wait(init, timeout=0)) is None and (now := self.medium.now()) < until:
            descriptors = self.host.pidfds(init)
            try:
                yield Wait(tuple(descriptors), until=min(until, now + self.medium.longest_wait))
            finally:
                for descriptor in descriptors:
                    self.medium.close(descriptor)
        return ended

    def _undo(self, container_id: str, intent: Intent) -> None:
        """Unmake what an intent says that was made, and the directory. The lock is held; its creator is dead."""
        self._unmake(intent)
        self.store.remove(container_id)

    def _unmake(self, intent: Intent) -> None:
        if self.host.is_here(intent):
            if intent.init is not None:
                self.host.signal(intent.init, _SIGKILL)
            self.host.kill_cgroups(intent.cgroups)  # thaws: a frozen init does not die
            if intent.init is not None:
                self._end(intent.init)
            self.host.remove_cgroups(intent.cgroups)

    def _end(self, init: Init) -> None:
        self.host.signal(init, _SIGKILL)
        if self.host.wait(init, timeout=KILL_TIMEOUT) is None:
            raise ContainerTimeout(
                f"process {init.pid} did not end within {KILL_TIMEOUT:g} s of SIGKILL",
                timeout=KILL_TIMEOUT,
                hint="it may hang in the kernel (state D in ps); delete again when it is gone",
            )

    # -- look -----------------------------------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """All ids under the root, those of broken directories too."""
        return self.store.ids()

    def load(self, container_id: str) -> Record:
        """What state.json says. Raises InvalidId, ContainerNotFound, StateError."""
        return self.store.load(container_id)

    def observe(self, record: Record) -> Facts:
        """Look at the fifo, the cgroup and init, in this order.

        Init last: it lived when the others were seen, so they were its own, and no delete had removed them. One that
        waits then had not left the fifo before either; and a fifo never comes back.
        """
        has_fifo = self.store.has_fifo(record.id)
        frozen = self.host.frozen(record)
        waits = self.host.at_fifo(record.init)
        if waits is None:
            return Facts(init_alive=False, frozen=False, fifo_present=False)
        return Facts(init_alive=True, frozen=frozen, fifo_present=waits and has_fifo)

    # -- start ----------------------------------------------------------------------------------------------------

    def release(self, container_id: str, *, timeout: float | None, init: Init | None = None) -> None:
        """Read exec.fifo and remove it, so that init executes the program; wait until it does.

        Raises IllegalOperation where another won or the container is not to be started, StartError where the program
        did not run, ContainerTimeout.
        """
        carry_out(self._releasing(container_id, timeout, init, patient=True))

    def releasing(self, container_id: str, *, timeout: float | None, init: Init | None = None) -> Steps[None]:
        """The steps of `release`. poststart hooks run at once."""
        return self._releasing(container_id, timeout, init, patient=False)

    def _releasing(self, container_id: str, timeout: float | None, init: Init | None, *, patient: bool) -> Steps[None]:
        deadline = self.host.now() + (START_TIMEOUT if timeout is None else timeout)
        with ExitStack() as held:
            yield from self._enter(held, container_id, LOCK_TIMEOUT if timeout is None else timeout, patient=patient)
            record = self.store.load(container_id)
            if init is not None and record.init != init:
                raise ContainerNotFound(container_id, root=self.store.root)  # another has its id now
            status = status_of(self.observe(record))
            if status is Status.RUNNING:
                self.store.unlink_stale_fifo(container_id)  # init left it, and who released it was killed
            require(container_id, Operation.START, status)
            gate = self.store.open_fifo(container_id)
            if gate is None:
                raise refusal(container_id, Operation.START, Status.RUNNING)
            try:
                yield from self._take(record, gate, deadline, timeout, patient=patient)
                self.store.unlink_fifo(container_id)
                gate.unblock()
                self.store.settle(container_id)
                failure = yield from self._outcome(record, gate, timeout, patient=patient)
            finally:
                gate.close()
            if failure is not None:
                yield from self._refuse_start(record, failure, patient=patient)
            yield from self._poststart(record, patient=patient)

    def _take(
        self, record: Record, gate: Gate, deadline: float, timeout: float | None, *, patient: bool
    ) -> Steps[None]:
        init = record.init
        taken = gate.take(init, deadline=deadline) if patient else (yield from gate.taking(init, deadline=deadline))
        if taken == Taken.WON:
            return
        if taken == Taken.STALE:
            gate.close()
            self.store.unlink_stale_fifo(record.id)
        if taken == Taken.TIMEOUT:
            seconds = START_TIMEOUT if timeout is None else timeout
            raise ContainerTimeout(
                f"init of {record.id!r} (pid {record.init.pid}) did not come to exec.fifo within {seconds:g} s",
                timeout=seconds,
                hint="it may be stopped by a signal or a debugger; the container is still created",
            )
        ends = {Taken.STOPPED: Status.STOPPED, Taken.PAUSED: Status.PAUSED}
        raise refusal(record.id, Operation.START, ends.get(taken, Status.RUNNING))

    def _outcome(self, record: Record, gate: Gate, timeout: float | None, *, patient: bool) -> Steps[Failure | None]:
        seconds = START_TIMEOUT if timeout is None else timeout
        # without a limit of the caller's, the startContainer hooks' own limits count
        deadline = float("inf") if timeout is None else self.host.now() + seconds
        try:
            if patient:
                return gate.outcome(record.init, deadline=deadline)
            return (yield from gate.finding_out(record.init, deadline=deadline))
        except TimeoutError:
            raise ContainerTimeout(
                f"{record.id!r} was released, but its program did not run within {seconds:g} s",
                timeout=seconds,
                released=True,
                hint="a startContainer hook may still be running",
            ) from None

    def _refuse_start(self, record: Record, failure: Failure, *, patient: bool) -> Steps[None]:
        """Raise what kept the program from running; after a failed hook the container is destroyed, as OCI demands."""
        yield from self._outlive(record.init, KILL_TIMEOUT, patient=patient)
        if failure.step == "start_hooks":
            yield from self._destroy(record, patient=patient)
        missing = failure.step == "execute" and failure.errno in (2, 13)
        kind = ProgramNotFound if missing else StartError
        raise kind(failure.text, container_id=record.id, step=failure.step, errno=failure.errno)

    def _poststart(self, record: Record, *, patient: bool) -> Steps[None]:
        if not record.ours or not record.hooks.get("poststart"):
            return
        state = self.host.state_of(record, Status.RUNNING.value)
        try:
            self.host.run_hooks("poststart", record.hooks, state)
        except HookError:
            self.host.kill(record)
            yield from self._outlive(record.init, KILL_TIMEOUT, patient=patient)
            yield from self._destroy(record, patient=patient)
            raise

    # -- act ------------------------------------------------------------------------------------------------------

    def signal(self, record: Record, signal: int) -> None:
        """Send a signal to init."""
        self.host.signal(record.init, signal)

    def kill(self, record: Record) -> None:
        """SIGKILL to all of the container."""
        self.host.kill(record)

    def processes(self, record: Record) -> list[int]:
        """The pids of all of its processes, sorted."""
        return self.host.pids(record)

    def signal_all(self, record: Record, signal: int) -> None:
        """Send a signal to all of them."""
        self.host.signal_all(record, signal)

    def spawn(self, record: Record, request: SpawnRequest) -> Spawned:
        """Run a further program in it. Nothing is written down: it ends with the container."""
        return self.host.join(record, request)

    def freeze(self, record: Record) -> None:
        """Stop all of its processes by its cgroup."""
        self.host.freeze(record)

    def thaw(self, record: Record) -> None:
        """Let them go on."""
        self.host.thaw(record)

    def stats(self, record: Record) -> Stats:
        """What its cgroup counted."""
        return self.host.stats(record)

    def update(self, container_id: str, resources: Resources, *, init: Init | None = None) -> None:
        """Change limits and state.json together: where one of the two fails, both are as before.

        Raises IllegalOperation, ConfigError, CgroupError, ContainerNotFound, StateError.
        """
        carry_out(self._updating(container_id, resources, init, patient=True))

    def updating(self, container_id: str, resources: Resources, *, init: Init | None = None) -> Steps[None]:
        """The steps of `update`."""
        return self._updating(container_id, resources, init, patient=False)

    def _updating(self, container_id: str, resources: Resources, init: Init | None, *, patient: bool) -> Steps[None]:
        from libcontainer_py.spec import updates  # noqa: PLC0415  (attrs, which the other verbs do without)

        updates.refuse_devices(resources)
        with ExitStack() as held:
            yield from self._enter(held, container_id, LOCK_TIMEOUT, patient=patient)
            record = self.store.load(container_id)
            if self._is_another(container_id, record, init):
                raise ContainerNotFound(container_id, root=self.store.root)
            require(container_id, Operation.UPDATE, status_of(self.observe(record)))
            after = updates.merged(self.host.resources(record), resources)
            updates.check(after)
            change = self.host.set_resources(record, updates.completed(resources, after), after)
            try:
                self.store.save(change.record)
            except BaseException:
                change.undo()
                raise

    def wait(self, record: Record, *, timeout: float | None) -> Exit | None:
        """Wait until init ended; None: not within `timeout` seconds."""
        ended = self.host.wait(record.init, timeout=timeout)
        return None if ended is None else ended._replace(oom_kills=self.host.oom_kills(record))

    def watch(self, record: Record) -> Watch:
        """What happens to it from now on. The caller closes it."""
        return self.host.watch(record, lambda: self.observe(record))

    def pidfd(self, record: Record) -> int | None:
        """A descriptor that is readable when init has ended; the caller closes it."""
        return self.host.pidfd(record.init)

    def pidfds(self, record: Record) -> list[int]:
        """Descriptors of which one is readable when it is worth asking `wait` again; the caller closes them."""
        return self.host.pidfds(record.init)

    def measure(self, record: Record) -> Measured:
        """What was counted of its memory until now."""
        return self.host.measure(record)

    # -- unmake ---------------------------------------------------------------------------------------------------

    def destroy(self, container_id: str, *, force: bool, init: Init | None = None) -> None:
        """Remove a container and everything that was made for it.

        With `force` in any status, also of one whose state cannot be read or whose creator died; a missing one is
        silent then. It kills first and waits for the lock after, so that a start that hangs does not hold it up.
        """
        carry_out(self._destroying(container_id, force, init, patient=True))

    def destroying(self, container_id: str, *, force: bool, init: Init | None = None) -> Steps[None]:
        """The steps of `destroy`. poststop hooks run at once."""
        return self._destroying(container_id, force, init, patient=False)

    def _destroying(self, container_id: str, force: bool, init: Init | None, *, patient: bool) -> Steps[None]:  # noqa: FBT001  (as destroy has it)
        if not self.store.exists(container_id):
            self._report_missing(container_id, force=force)
            return
        if force:
            record, _ = self._load_or_broken(container_id)
            if record is not None and init in (None, record.init) and self.host.alive(record.init):
                self.host.kill(record)
        with ExitStack() as held:
            yield from self._enter(held, container_id, LOCK_TIMEOUT, patient=patient)
            if not self.store.exists(container_id):
                self._report_missing(container_id, force=force)
                return
            record, broken = self._load_or_broken(container_id)
            if self._is_another(container_id, record, init):
                self._report_missing(container_id, force=force)
            elif record is not None:
                require(container_id, Operation.DELETE, status_of(self.observe(record)), force=force)
                yield from self._destroy(record, patient=patient)
            elif not force and broken is not None:
                raise broken
            else:
                self._destroy_unread(container_id)

    def _report_missing(self, container_id: str, *, force: bool) -> None:
        if not force:
            raise ContainerNotFound(container_id, root=self.store.root)
        self.store.sweep_remains()  # what a killed create or delete left has another name by now

    def _is_another(self, container_id: str, record: Record | None, init: Init | None) -> bool:
        """Whether the id belongs to another container by now than the one that had this init."""
        if init is None:
            return False
        if record is not None:
            return record.init != init
        made = self.store.made(container_id) or self.store.intent(container_id)
        return made is not None and made.init not in (None, init)

    def _load_or_broken(self, container_id: str) -> tuple[Record | None, StateError | None]:
        try:
            return self.store.load(container_id), None
        except ContainerNotFound:
            return None, None
        except StateError as error:
            return None, error

    def _destroy(self, record: Record, *, patient: bool) -> Steps[None]:
        """The lock is held. state.json goes last, so that a killed delete can be repeated."""
        if self.host.alive(record.init):
            self.host.kill(record)
        if (yield from self._outlive(record.init, KILL_TIMEOUT, patient=patient)) is None:
            self._end(record.init)
        self.host.oom_kills(record)  # for who waits only after the cgroup is gone
        inodes = self._inodes(record)
        self.host.kill_cgroups(inodes)
        self.host.remove_cgroups(inodes)
        failed: list[str] = []
        if record.hooks.get("poststop"):
            failed = self._poststop(record.id, record.hooks, self.host.state_of(record, Status.STOPPED.value))
        self.store.remove(record.id)
        _warn(failed)

    def _inodes(self, record: Record) -> dict[str, int]:
        """The record's cgroups with the st_ino that they must have; -1: any (runc wrote no inodes)."""
        known: dict[str, int] = record.document.get("libcontainer_py", {}).get("cgroups", {}) if record.ours else {}
        return {path: known.get(path, -1) for path in (*record.cgroup_paths.values(), *known, *record.resctrl)}

    def _poststop(self, container_id: str, hooks: Mapping[str, list[Any]], state: str) -> list[str]:
        """Run the poststop hooks; says which failed: that is a warning, and the others run all the same."""
        failed: list[str] = []
        wanted = hooks.get("poststop") or []
        for index, hook in enumerate(wanted):
            try:
                self.host.run_hooks("poststop", {"poststop": [hook]}, state)
            except HookError as error:
                failed.append(f"{container_id!r}: poststop hook {index} of {len(wanted)}: {error}")
        return failed

    def _destroy_unread(self, container_id: str) -> None:
        """Remove a directory without a state.json that can be read: by its intent, else as it is. The lock is held."""
        intent = self.store.intent(container_id) or self.store.made(container_id)
        if intent is not None:
            self._undo(container_id, intent)
        else:
            self.store.remove(container_id)

    # -- sweep ----------------------------------------------------------------------------------------------------

    def sweep(self) -> list[Swept]:
        """Remove what crashes left, where it is proven that nobody needs it. Reports what it did and what it left."""
        swept = self.store.sweep_remains()
        for container_id in self.store.ids():
            try:
                with self.store.lock(container_id, timeout=0):
                    found = self._sweep_one(container_id)
            except ContainerTimeout:
                continue  # somebody works on it
            except ContainerError as error:
                found = Swept(container_id, self.store.directory(container_id), removed=False, reason=str(error))
            if found is not None:
                swept.append(found)
        return swept

    def _sweep_one(self, container_id: str) -> Swept | None:
        directory = self.store.directory(container_id)
        intent = self.store.intent(container_id)
        record, broken = self._load_or_broken(container_id)
        if intent is not None:
            if self._may_live(intent) or (record is not None and self.host.alive(record.init)):
                return None
            self._undo(container_id, intent)
            return Swept(container_id, directory, removed=True, reason="its creator died before it was complete")
        if record is not None:
            if not self._outlived_its_creator(container_id):
                return None
            carry_out(self._destroy(record, patient=True))
            return Swept(container_id, directory, removed=True, reason="its creator died, and it was to die with it")
        if broken is not None:
            made = self.store.made(container_id)
            if self.host.in_use(directory) or (made is not None and self._init_may_live(made)):
                return Swept(container_id, directory, removed=False, reason=f"a process uses it; {broken.reason}")
            self._destroy_unread(container_id)
            return Swept(container_id, directory, removed=True, reason=broken.reason)
        if self.store.is_empty(container_id) and self.store.age(container_id) > EMPTY_AGE:
            self.store.remove(container_id)
            return Swept(container_id, directory, removed=True, reason="empty, and nobody completed it")
        if not self.store.exists(container_id):
            return None
        return Swept(container_id, directory, removed=False, reason="neither a state.json nor an intent of ours")

    def _outlived_its_creator(self, container_id: str) -> bool:
        """Whether it is left, living or not, although it was to end with its creator, who has ended."""
        made = self.store.made(container_id)
        if made is None or not made.die_with_parent:
            return False
        return not self.host.alive(made.creator) if self.host.is_here(made) else self.host.rebooted(made)

    def _may_live(self, intent: Intent) -> bool:
        """Whether the creator or the init of an intent may be alive; after a reboot neither is."""
        if not self.host.is_here(intent):
            return not self.host.rebooted(intent)
        return self.host.alive(intent.creator) or self._init_may_live(intent)

    def _init_may_live(self, intent: Intent) -> bool:
        if not self.host.is_here(intent):
            return not self.host.rebooted(intent)
        return intent.init is not None and self.host.alive(intent.init)


def _taker(request: CreateRequest, *, terminal: bool) -> Taker | None:
    """Who takes the terminal of this request; None: there is none. Raises ConfigError, ValueError."""
    taker = request.terminal
    if not terminal:
        if taker is not None and taker.demanded:
            hint = "set it to true, or give no console socket"
            raise ConfigError([Problem("process.terminal", "is false: nothing for a console socket", hint=hint)])
        return None
    if taker is None:
        hint = "Factory.create keeps it, or sends it to a console socket"
        raise ConfigError([Problem("process.terminal", "nobody takes the terminal", hint=hint)])
    if (request.stdin, request.stdout, request.stderr) != (None, None, None):
        raise ValueError("with process.terminal the terminal is stdin, stdout and stderr: give none of them")
    return taker


def _warn(failed: list[str]) -> None:
    """Warn of failed poststop hooks, when all else is done: a warning may be an error here."""
    for text in failed:
        warnings.warn(text, HookWarning, stacklevel=6)
