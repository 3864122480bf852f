"""The configuration of a container: what a bundle's config.json says.

Source: OCI runtime specification 1.3.0, config.md and specs-go/config.go. Names are the specification's in snake case.
Absent is None, or `()` and an empty mapping where absence and emptiness mean the same. Values are frozen; change them
with `attrs.evolve`. What the values must be like is in `validate`.
"""

from __future__ import annotations

from typing import Any

import attrs

from libcontainer_py.errors import ConfigError
from libcontainer_py.spec.codec import ALWAYS, REQUIRED, Node, decode, nodes, numbers, strings, texts
from libcontainer_py.spec.linux import IDMapping, Linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self

    from libcontainer_py.spec.codec import Int32, Int64, Json, Uint32, Uint64

VERSION = "1.3.0"
"""The version of the specification that these classes follow."""


def _names_alone(env: object) -> str:
    """The environment for a repr: values may be secrets."""
    names = [str(item).partition("=")[0] + "=..." for item in env] if isinstance(env, tuple) else []  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType] # whatever stands in it
    return repr(names)


@attrs.frozen(kw_only=True)
class Root(Node):
    """The root file system. A relative `path` starts at the bundle. Source: config.md, Root."""

    path: str
    readonly: bool = False


@attrs.frozen(kw_only=True)
class Mount(Node):
    """Something to mount; a bind mount where `options` have bind or rbind. Source: config.md, Mounts."""

    destination: str
    type: str | None = None
    source: str | None = None
    options: tuple[str, ...] = attrs.field(default=(), converter=strings)
    uid_mappings: tuple[IDMapping, ...] = attrs.field(default=(), converter=nodes)
    gid_mappings: tuple[IDMapping, ...] = attrs.field(default=(), converter=nodes)


@attrs.frozen(kw_only=True)
class ConsoleSize(Node):
    """The size of the terminal, in characters."""

    height: Uint32
    width: Uint32


@attrs.frozen(kw_only=True)
class User(Node):
    """Ids inside the container. `umask` None: the runtime's stays. Source: config.md, User."""

    uid: Uint32 = attrs.field(default=0, metadata=ALWAYS)
    gid: Uint32 = attrs.field(default=0, metadata=ALWAYS)
    umask: Uint32 | None = None
    additional_gids: tuple[Uint32, ...] = attrs.field(default=(), converter=numbers)


@attrs.frozen(kw_only=True)
class Capabilities(Node):
    """The five sets of capabilities(7), by name (`CAP_KILL`). Names that this kernel does not know are kept."""

    bounding: tuple[str, ...] = attrs.field(default=(), converter=strings)
    effective: tuple[str, ...] = attrs.field(default=(), converter=strings)
    inheritable: tuple[str, ...] = attrs.field(default=(), converter=strings)
    permitted: tuple[str, ...] = attrs.field(default=(), converter=strings)
    ambient: tuple[str, ...] = attrs.field(default=(), converter=strings)


@attrs.frozen(kw_only=True)
class Rlimit(Node):
    """One resource limit: `type` is RLIMIT_NOFILE and the like. 2**64 - 1 is unlimited. Source: getrlimit(2)."""

    type: str
    hard: Uint64
    soft: Uint64


@attrs.frozen(kw_only=True)
class Scheduler(Node):
    """Arguments of sched_setattr(2); times in nanoseconds."""

    policy: str
    nice: Int32 = 0
    priority: Int32 = 0
    flags: tuple[str, ...] = attrs.field(default=(), converter=strings)
    runtime: Uint64 = 0
    deadline: Uint64 = 0
    period: Uint64 = 0


@attrs.frozen(kw_only=True)
class IOPriority(Node):
    """Arguments of ioprio_set(2): `class_` is IOPRIO_CLASS_RT, _BE or _IDLE."""

    class_: str = attrs.field(metadata={"json": "class"})
    priority: Int64


@attrs.frozen(kw_only=True)
class CPUAffinity(Node):
    """Lists of processors for a process that joins: before and after it entered the control group."""

    initial: str | None = None
    final: str | None = None


@attrs.frozen(kw_only=True)
class Process(Node):
    """The program and how it runs. `args[0]` is looked up on PATH. Source: config.md, Process."""

    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User = attrs.field(factory=User, metadata=ALWAYS)
    args: tuple[str, ...] = attrs.field(default=(), converter=strings)
    env: tuple[str, ...] = attrs.field(default=(), converter=strings, repr=_names_alone)
    cwd: str = attrs.field(default="/", metadata=REQUIRED)
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = attrs.field(default=(), converter=nodes)
    no_new_privileges: bool = False
    apparmor_profile: str | None = None
    oom_score_adj: Int64 | None = None
    scheduler: Scheduler | None = None
    selinux_label: str | None = None
    io_priority: IOPriority | None = None
    exec_cpu_affinity: CPUAffinity | None = attrs.field(default=None, metadata={"json": "execCPUAffinity"})


@attrs.frozen(kw_only=True)
class Hook(Node):
    """A program to run at some moment. `args` include argv[0]; `timeout` in seconds, None: no limit."""

    path: str
    args: tuple[str, ...] = attrs.field(default=(), converter=strings)
    env: tuple[str, ...] = attrs.field(default=(), converter=strings, repr=_names_alone)
    timeout: Int64 | None = None


@attrs.frozen(kw_only=True)
class Hooks(Node):
    """The hooks of each moment, in the order in which they come. Source: config.md, POSIX-platform Hooks."""

    prestart: tuple[Hook, ...] = attrs.field(default=(), converter=nodes)
    create_runtime: tuple[Hook, ...] = attrs.field(default=(), converter=nodes)
    create_container: tuple[Hook, ...] = attrs.field(default=(), converter=nodes)
    start_container: tuple[Hook, ...] = attrs.field(default=(), converter=nodes)
    poststart: tuple[Hook, ...] = attrs.field(default=(), converter=nodes)
    poststop: tuple[Hook, ...] = attrs.field(default=(), converter=nodes)


@attrs.frozen(kw_only=True)
class Spec(Node):
    """A container's configuration.

    `Spec.from_json(text)` decodes and reports everything that is wrong at once; `to_json()` writes it back with nothing
    lost. Sections for other systems are kept as they are.
    """

    oci_version: str = attrs.field(default=VERSION, metadata=REQUIRED)
    process: Process | None = None
    root: Root | None = None
    hostname: str | None = None
    domainname: str | None = None
    mounts: tuple[Mount, ...] = attrs.field(default=(), converter=nodes)
    hooks: Hooks | None = None
    annotations: Mapping[str, str] = attrs.field(factory=dict[str, str], converter=texts, hash=False)
    linux: Linux | None = None
    windows: Json | None = attrs.field(default=None, hash=False)
    solaris: Json | None = attrs.field(default=None, hash=False)
    vm: Json | None = attrs.field(default=None, hash=False)
    zos: Json | None = attrs.field(default=None, hash=False)
    freebsd: Json | None = attrs.field(default=None, hash=False)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], *, source: str = "") -> Self:
        """Decode a parsed document. Raises ConfigError with everything that is wrong with it.

        Where something cannot be decoded, the rules on the values that can be are asked too, so that one error tells
        all; otherwise `validate.check` is the caller's next step.
        """
        spec, problems = decode(cls, document)
        if problems:
            from libcontainer_py.spec import validate  # noqa: PLC0415  (it knows these classes, so it comes after them)

            raise ConfigError([*problems, *validate.beside(problems, spec)], source=source)
        return spec

    @classmethod
    def default(cls, args: Iterable[str] = ("sh",)) -> Spec:
        """What `runc spec` writes, without a terminal: see `defaults.default`."""
        from libcontainer_py.spec import defaults  # noqa: PLC0415  (it builds these classes, so it comes after them)

        return defaults.default(args)

    @classmethod
    def minimal(cls, args: Iterable[str]) -> Spec:
        """The least that can run a program in a container: see `defaults.minimal`."""
        from libcontainer_py.spec import defaults  # noqa: PLC0415  (it builds these classes, so it comes after them)

        return defaults.minimal(args)
