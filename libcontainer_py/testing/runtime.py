"""A backend that drives a runtime's binary: runc, crun, or whatever has their commands.

    factory = Factory(backend=RuntimeBackend("runc", root="/run/mine"))

One process for each verb, and a status is what the binary's `state` says. So it is for tests that hold a runtime to
`BackendSuite` or `LifecycleMachine`, not for work. What no command tells, it does not know: how init ended (which only
its parent learns), and that a container was started, paused or resumed; nor can it sweep, or let a container die with
this process. A further process that a signal ended has the exit code 128 + n, as the binary has it.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import tempfile
from typing import Any, cast

from libcontainer_py.backends.base import Exit, Happening, Kind, Measured
from libcontainer_py.errors import (
    CgroupError,
    ConfigError,
    ContainerError,
    ContainerExists,
    ContainerNotFound,
    ContainerTimeout,
    CreateError,
    HookError,
    IllegalOperation,
    InvalidId,
    Problem,
    ProgramNotFound,
    StartError,
    UnsupportedPlatform,
)
from libcontainer_py.lifecycle import Facts, Operation, Status, status_of
from libcontainer_py.record import Init, Record
from libcontainer_py.testing.runtime_process import RuntimeProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from libcontainer_py.backends.base import CreateRequest, SpawnRequest, Watch
    from libcontainer_py.record import Swept
    from libcontainer_py.spec import Resources
    from libcontainer_py.stats import Stats

LIMIT = 60.0
"""Seconds that a command may take."""
NO_INIT = Init(0, 0)
"""Of a container that had stopped before this backend saw it."""
_SIGKILL = 9
_DEVNULL = -3
_NOT_FOUND = re.compile(r"does not exist|not found in .*state|No such file or directory.*status")
_BAD_ID = re.compile(r"invalid (container )?id|container id cannot be empty|invalid id format", re.IGNORECASE)
_MISSING = re.compile(r"no such file or directory|executable file .*not found|permission denied", re.IGNORECASE)
_HOOK = re.compile(
    r"(running|executing) hook|hook #?\d|(prestart|createRuntime|createContainer|startContainer|poststart) hook"
)
_ILLEGAL = re.compile(
    r"cannot (start|delete|exec|pause|resume|update)|container not (running|paused)|already running|"
    r"is not (in `?)?(stopped|running|created)"
)


class RuntimeBackend:
    """Containers of a runtime's binary, under `root`.

    `path` is the binary, or the words of a command that ends with it. Thread-safe: it keeps nothing but who the inits
    were.
    """

    def __init__(self, path: str | Sequence[str], *, root: str | os.PathLike[str]) -> None:
        self._command: list[str] = [path] if isinstance(path, str) else [*path]
        self._root: str = os.path.abspath(os.fspath(root))
        self._inits: dict[str, Init] = {}

    @property
    def root(self) -> str:
        """What is given to it as `--root`."""
        return self._root

    # -- commands -------------------------------------------------------------------------------------------------

    def _run(self, *words: str, given: bytes = b"") -> bytes:
        """Run a command to its end: what it printed. Raises _Refused, ContainerTimeout."""
        command = [*self._command, "--root", self._root, *words]
        try:
            done = subprocess.run(command, input=given, capture_output=True, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            raise ContainerTimeout(f"{' '.join(words)} did not end within {LIMIT:g} s", timeout=LIMIT) from None
        if done.returncode:
            raise _Refused(_said(done.stderr.decode(errors="replace")))
        return done.stdout

    def _error(self, container_id: str, operation: Operation, text: str) -> ContainerError:
        """The error for what the binary said."""
        if _BAD_ID.search(text):
            return InvalidId(container_id, text)
        if _NOT_FOUND.search(text) or not self._state(container_id):
            return ContainerNotFound(container_id, root=self._root)
        if _ILLEGAL.search(text):
            return IllegalOperation(container_id, operation, self._status(container_id), text)
        if operation is Operation.START:
            return (ProgramNotFound if _MISSING.search(text) else StartError)(text, container_id=container_id)
        return CgroupError(container_id, text)

    def _state(self, container_id: str) -> dict[str, Any]:
        """What `state` says; {} where it knows no such container. Raises InvalidId."""
        try:
            return cast("dict[str, Any]", json.loads(self._run("state", container_id)))
        except _Refused as refused:
            if _BAD_ID.search(refused.text):
                raise InvalidId(container_id, refused.text) from None
            return {}

    def _status(self, container_id: str) -> Status:
        return Status(self._state(container_id).get("status", "stopped"))

    # -- Backend --------------------------------------------------------------------------------------------------

    def create(self, request: CreateRequest) -> Record:
        """`create`, with the caller's streams for the container's. What the binary says goes to a log."""
        if request.spec is not None:
            raise ConfigError([Problem("", "a runtime's binary reads a bundle's directory: write the Spec to one")])
        if request.reaper or request.idle or request.die_with_parent:
            raise UnsupportedPlatform("a runtime's binary has no reaper, and its containers outlive who made them")
        container_id = request.container_id
        if request.terminal is not None and request.terminal.demanded:
            raise UnsupportedPlatform("RuntimeBackend takes no terminals")
        if self._state(container_id):
            raise ContainerExists(container_id, root=self._root)
        with tempfile.NamedTemporaryFile("r", prefix="runtime-", encoding="utf-8", errors="replace") as log:
            words = ["--log", log.name, "create", "--bundle", request.bundle, container_id]
            streams = (_stream(request.stdin), _stream(request.stdout), _stream(request.stderr))
            code = _to_its_end([*self._command, "--root", self._root, *words], streams)
            text = _said(log.read())
        if code:
            raise self._refusal(container_id, request.bundle, text)
        return self.load(container_id)

    def _refusal(self, container_id: str, bundle: str, text: str) -> ContainerError:
        if _BAD_ID.search(text):
            return InvalidId(container_id, text)
        if "already exists" in text:
            return ContainerExists(container_id, root=self._root)
        if _HOOK.search(text):
            return HookError(_kind_of(text, bundle), 0, "", text)
        kind = ProgramNotFound if _MISSING.search(text) else CreateError
        return kind(text, container_id=container_id)

    def ids(self) -> list[str]:
        """`list --quiet`."""
        return sorted(self._run("list", "--quiet").decode().splitlines())

    def load(self, container_id: str) -> Record:
        """`state`. Raises InvalidId, ContainerNotFound."""
        state = self._state(container_id)
        if not state:
            raise ContainerNotFound(container_id, root=self._root)
        pid = int(state.get("pid") or 0)
        start = _start_of(pid)
        if start is not None and state["status"] != "stopped":
            self._inits[container_id] = Init(pid, start)
        annotations: Mapping[str, str] = state.get("annotations") or {}
        return Record(
            id=container_id,
            directory=os.path.join(self._root, container_id),
            bundle=state["bundle"],
            rootfs=state.get("rootfs", ""),
            created=state.get("created", ""),
            oci_version=state["ociVersion"],
            annotations=annotations,
            init=self._inits.get(container_id, NO_INIT),
            cgroup_paths={},
            private_pid_namespace=True,
            ours=False,
            hooks={},
            document=state,
        )

    def observe(self, record: Record) -> Facts:
        """What `state` says of the container that has this init."""
        if _start_of(record.init.pid) != record.init.start:
            return Facts(init_alive=False, frozen=False, fifo_present=False)
        state = self._state(record.id)
        status = state.get("status", "stopped")
        if int(state.get("pid") or 0) != record.init.pid:
            status = "stopped"
        return Facts(
            init_alive=status != "stopped", frozen=status == "paused", fifo_present=status in {"created", "paused"}
        )

    def _act(self, record: Record, operation: Operation, *words: str, given: bytes = b"") -> bytes:
        try:
            return self._run(*words, given=given)
        except _Refused as refused:
            raise self._error(record.id, operation, refused.text) from None

    def _its(self, container_id: str, init: Init | None) -> Record:
        record = self.load(container_id)
        if init is not None and record.init != init:
            raise ContainerNotFound(container_id, root=self._root)
        return record

    def release(self, container_id: str, *, timeout: float | None, init: Init | None = None) -> None:
        """`start`, whatever the time limit is: the binary knows none."""
        del timeout
        self._act(self._its(container_id, init), Operation.START, "start", container_id)

    def signal(self, record: Record, signal: int) -> None:
        """`kill` with the signal's number."""
        self._act(record, Operation.SIGNAL, "kill", record.id, str(signal))

    def kill(self, record: Record) -> None:
        """`kill` with SIGKILL; a frozen one is thawed, or it would not end."""
        self.signal(record, _SIGKILL)
        if self.observe(record).frozen:
            self.thaw(record)

    def processes(self, record: Record) -> list[int]:
        """`ps`; none where it has stopped."""
        if not self.observe(record).init_alive:
            return []
        return sorted(json.loads(self._act(record, Operation.SIGNAL, "ps", "--format", "json", record.id)) or [])

    def signal_all(self, record: Record, signal: int) -> None:
        """`kill --all`."""
        self._act(record, Operation.SIGNAL, "kill", "--all", record.id, str(signal))

    def spawn(self, record: Record, request: SpawnRequest) -> RuntimeProcess:
        """`exec`, which stays for as long as the process runs. Raises StartError, ProgramNotFound."""
        return RuntimeProcess.begin([*self._command, "--root", self._root], record, request)

    def freeze(self, record: Record) -> None:
        """`pause`."""
        self._act(record, Operation.PAUSE, "pause", record.id)

    def thaw(self, record: Record) -> None:
        """`resume`."""
        self._act(record, Operation.RESUME, "resume", record.id)

    def stats(self, record: Record) -> Stats:
        """What `events --stats` prints has another shape in each runtime: there are none here. Raises CgroupError."""
        raise CgroupError(record.id, "the command line of a runtime tells no statistics of one shape")

    def update(self, container_id: str, resources: Resources, *, init: Init | None = None) -> None:
        """`update`, with the resources on its standard input. Raises ConfigError where they are wrong by themselves."""
        from libcontainer_py.spec import updates  # noqa: PLC0415  (attrs, for this verb alone)

        record = self._its(container_id, init)
        updates.check(resources)
        given = json.dumps(resources.to_dict()).encode()
        status = status_of(self.observe(record))
        if status is Status.STOPPED:
            raise IllegalOperation(container_id, Operation.UPDATE, status, "container not running")
        self._act(record, Operation.UPDATE, "update", "--resources", "/dev/stdin", container_id, given=given)

    def wait(self, record: Record, *, timeout: float | None) -> Exit | None:
        """Until init has ended: it is a child of somebody else, so nothing tells how."""
        pidfd = self.pidfd(record)
        if pidfd is None:
            return Exit(None)
        try:
            return Exit(None) if _is_readable(pidfd, timeout) else None
        finally:
            os.close(pidfd)

    def watch(self, record: Record) -> Watch:
        """For its end."""
        return _Watch(self.pidfd(record))

    def pidfd(self, record: Record) -> int | None:
        """Of init."""
        return _pidfd(record.init)

    def measure(self, record: Record) -> Measured:
        """Nothing."""
        del record
        return Measured()

    def destroy(self, container_id: str, *, force: bool, init: Init | None = None) -> None:
        """`delete`, with `--force` or without."""
        try:
            record = self._its(container_id, init)
            self._act(record, Operation.DELETE, "delete", *(["--force"] if force else []), container_id)
        except ContainerNotFound:
            if not force:
                raise
        else:
            _until_gone(record.init)
            self._inits.pop(container_id, None)

    def sweep(self) -> list[Swept]:
        """No runtime has that."""
        return []

    def explain(self, record: Record) -> str:
        """The command that made it."""
        words = [*self._command, "--root", self._root, "create", "--bundle", record.bundle, record.id]
        return " ".join(words) + "\n"


class _Refused(Exception):
    """A command failed, and said this."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class _Watch:
    """The end of one container."""

    kinds: frozenset[str] = frozenset({Kind.EXITED})

    def __init__(self, pidfd: int | None) -> None:
        self._pidfd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) if pidfd is None else pidfd
        self._is_told = False

    def fileno(self) -> int:
        """Readable when it has ended."""
        return self._pidfd

    def take(self, timeout: float | None) -> Happening | None:
        """Its end, once."""
        if self._is_told or not _is_readable(self._pidfd, timeout):
            return None
        self._is_told = True
        return Happening(Kind.EXITED)

    def close(self) -> None:
        """Silent when repeated."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _stream(given: int | None) -> int | None:
    return subprocess.DEVNULL if given == _DEVNULL else given


def _to_its_end(command: list[str], streams: tuple[int | None, int | None, int | None]) -> int:
    stdin, stdout, stderr = streams
    try:
        return subprocess.run(command, stdin=stdin, stdout=stdout, stderr=stderr, timeout=LIMIT, check=False).returncode
    except subprocess.TimeoutExpired:
        raise ContainerTimeout(f"create did not end within {LIMIT:g} s", timeout=LIMIT) from None


def _said(text: str) -> str:
    """The last thing that is said in a log, or on stderr, without what stands around it."""
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', line)
    said = found[1].replace('\\"', '"') if found else line
    return re.sub(r"^\S+ error: |^\d{4}-\d\d-\d\dT\S+: ", "", said).removeprefix("error executing hook: ")


def _kind_of(text: str, bundle: str) -> str:
    """Which hooks failed: the text says it, or the bundle has one kind of them."""
    for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
        if kind in text:
            return kind
    with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
        kinds = [kind for kind in json.load(file).get("hooks", {}) if kind != "poststop"]
    return str(kinds[0]) if kinds else "prestart"


def _start_of(pid: int) -> int | None:
    """When it started, in ticks since boot; None: it has ended. Source: proc(5), field 22 and field 3."""
    if pid <= 0:
        return None
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def _pidfd(init: Init) -> int | None:
    if _start_of(init.pid) != init.start:
        return None
    try:
        pidfd = os.pidfd_open(init.pid)
    except OSError:
        return None
    if _start_of(init.pid) == init.start:
        return pidfd
    os.close(pidfd)
    return None


def _is_readable(descriptor: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def _until_gone(init: Init) -> None:
    pidfd = _pidfd(init)
    if pidfd is not None:
        _is_readable(pidfd, LIMIT)
        os.close(pidfd)
