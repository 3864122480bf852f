"""What can go wrong, as types.

Everything that this library raises on purpose is a `ContainerError`; where a builtin exception is what a caller would
expect, the error is that builtin too::

    ContainerError
    ├── ContainerNotFound (LookupError)        no container of that id
    ├── ContainerExists (FileExistsError)      the id is taken
    ├── InvalidId (ValueError)                 the id cannot name a container
    ├── IllegalOperation                       not in this status
    ├── ConfigError (ValueError)               the configuration is wrong: all its problems
    ├── StateError                             a state directory cannot be used or understood
    ├── CreateError                            a step of create failed
    ├── StartError                             the program could not be executed
    │   └── ProgramNotFound (FileNotFoundError)    there is no such program
    ├── HookError                              a hook failed
    ├── CgroupError                            a control group did not do as told
    ├── ContainerTimeout (TimeoutError)        it took longer than allowed
    ├── LauncherError                          the fork server cannot run or died
    ├── CommandFailed                          a command ended with a failure (`check=True`)
    └── UnsupportedPlatform                    this system or kernel lacks what is needed

    ContainerWarning (UserWarning)
    ├── BrokenStateWarning                     a state directory was passed over
    ├── ConfigWarning                          a setting was not applied, as the specification demands
    └── HookWarning                            a poststop hook failed; the container is gone all the same

Every error has `hint`, what the reader can do, or "". Texts that engines match on (`container does not exist`,
`container not running` ...) are part of `str(error)` and stay as they are.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from libcontainer_py.lifecycle import Operation, Status
    from libcontainer_py.result import Result


class Problem:
    """One thing that is wrong in a configuration.

    `path` is a JSON path (`process.rlimits[0].type`), `value` what stands there, `reason` what is wrong with it,
    `hint` what to write instead, or "".
    """

    __slots__ = ("hint", "path", "reason", "value")

    def __init__(self, path: str, reason: str, value: object = None, hint: str = "") -> None:
        self.path: str = path
        self.reason: str = reason
        self.value: object = value
        self.hint: str = hint

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.reason}" + (f" ({self.hint})" if self.hint else "")

    def __repr__(self) -> str:
        return f"Problem({self.path!r}, {self.reason!r})"


class ContainerError(Exception):
    """The root of all errors of this library."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class ContainerNotFound(ContainerError, LookupError):
    """There is no container of this id under this root."""

    def __init__(self, container_id: str, *, root: str = "") -> None:
        where = f" in {root}" if root else ""
        super().__init__(f"container does not exist: {container_id!r}{where}")
        self.container_id = container_id
        self.root = root


class ContainerExists(ContainerError, FileExistsError):
    """The id is taken: by a container, or by what a crash left of one."""

    def __init__(self, container_id: str, *, root: str = "") -> None:
        super().__init__(f"container with given ID already exists: {container_id!r}")
        self.container_id = container_id
        self.root = root


class InvalidId(ContainerError, ValueError):
    """An id is 1 to 255 of the characters `A-Z a-z 0-9 _ + . -`, and neither `.` nor `..`."""

    def __init__(self, container_id: object, reason: str) -> None:
        super().__init__(reason if container_id == "" else f"invalid container ID {container_id!r}: {reason}")
        self.container_id = container_id


class IllegalOperation(ContainerError):
    """The operation is not legal in this status (see `lifecycle.LEGAL`); nothing was changed."""

    def __init__(self, container_id: str, operation: Operation, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.container_id = container_id
        self.operation = operation
        self.status = status


class ConfigError(ContainerError, ValueError):
    """A configuration is wrong. `problems` has everything that is wrong with it, `source` the file, or ""."""

    def __init__(self, problems: Iterable[Problem], *, source: str = "") -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.source = source
        where = f"{source}: " if source else ""
        super().__init__(where + "; ".join(map(str, self.problems)))


class StateError(ContainerError):
    """A state directory, or a file in it, cannot be used. `path` says which."""

    def __init__(self, path: str, reason: str, *, container_id: str = "", hint: str = "") -> None:
        super().__init__(f"{path}: {reason}", hint=hint)
        self.path = path
        self.reason = reason
        self.container_id = container_id


class StepError(ContainerError):
    """What CreateError and StartError share: the `step` that failed, its `subject` and its `errno` (0: none)."""

    def __init__(
        self, message: str, *, container_id: str = "", step: str = "", subject: str = "", errno: int = 0, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.container_id = container_id
        self.step = step
        self.subject = subject
        self.errno = errno


class CreateError(StepError):
    """A step of create failed; what had been made was removed."""


class StartError(StepError):
    """The program could not be executed. `result` is set by `run()`."""

    result: Result[bytes | str] | None = None


class ProgramNotFound(StartError, FileNotFoundError):  # type: ignore[misc]  # errno is an int in both, never None here
    """The program is not there, or nobody may execute it (`errno` tells)."""


class HookError(ContainerError):
    """A hook failed. `kind` is its OCI name, `index` its place in the list, `returncode` as in subprocess."""

    def __init__(
        self, kind: str, index: int, path: str, reason: str, *, returncode: int | None = None, output: str = ""
    ) -> None:
        tail = f": {output.strip()}" if output.strip() else ""
        super().__init__(f"hooks.{kind}[{index}] ({path}): {reason}{tail}")
        self.kind = kind
        self.index = index
        self.path = path
        self.returncode = returncode
        self.output = output


class CgroupError(ContainerError):
    """A control group could not be made, set, used or removed. `path` is the file or directory.

    Where a limit could not be set, `field` is what asked for it (`memory.limit`) and `value` what was to be written.
    """

    def __init__(
        self, path: str, reason: str, *, errno: int = 0, hint: str = "", field: str = "", value: str = ""
    ) -> None:
        super().__init__(f"cgroup {path}: {reason}", hint=hint)
        self.path = path
        self.errno = errno
        self.field = field
        self.value = value


class ContainerTimeout(ContainerError, TimeoutError):
    """An operation took longer than it was allowed to.

    `released` is True where init had already been let go: the container counts as started. `result` is set by
    `run()`.
    """

    result: Result[bytes | str] | None = None

    def __init__(self, message: str, *, timeout: float | None = None, released: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.timeout = timeout
        self.released = released


class LauncherError(ContainerError):
    """The fork server, the process that makes inits, could not be started or died."""


class CommandFailed(ContainerError):
    """A command ended with a failure. `result` tells everything about it."""

    def __init__(self, result: Result[bytes | str], args: Sequence[str]) -> None:
        how = f"exit code {result.returncode}" if result.returncode >= 0 else f"signal {-result.returncode}"
        short = "; memory was short" if result.outcome == "oom" else ""
        super().__init__(f"command {args[0] if args else ''!r} failed with {how}{short}")
        self.result: Result[bytes | str] = result


class UnsupportedPlatform(ContainerError):
    """This system, or this kernel, cannot do what was asked."""


class ContainerWarning(UserWarning):
    """The root of all warnings of this library."""


class BrokenStateWarning(ContainerWarning):
    """A state directory could not be understood and was passed over."""


class ConfigWarning(ContainerWarning):
    """A setting could not be applied, and the specification says to go on."""


class HookWarning(ContainerWarning):
    """A poststop hook failed; the remaining ones ran, and the container is gone."""
