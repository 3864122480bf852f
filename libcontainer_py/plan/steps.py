"""What a plan is made of."""

from __future__ import annotations

from typing import Any, NamedTuple

from libcontainer_py.kernel.constants import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Maps: TypeAlias = tuple[str, str, bool, tuple[str, str]]
    """uid_map and gid_map, whether setgroups is denied before, and a program to write each of them, or ""."""


class Step(NamedTuple):
    """One operation of init's executor: its name, plain arguments, and the field of the configuration behind it."""

    name: str
    arguments: tuple[Any, ...]
    why: str

    def __str__(self) -> str:
        return f"{self.name} {self.subject}".rstrip()

    @property
    def subject(self) -> str:
        """What it is done to, without values of the environment and without the state for hooks."""
        shown = self.arguments[: _SHOWN.get(self.name, len(self.arguments))]
        if self.name in ("create_hooks", "start_hooks"):
            return _show(tuple(hook[0] for hook in self.arguments[0]))
        return " ".join(_show(argument) for argument in shown if argument not in ("", (), None))


_SHOWN = {"execute": 1, "reap": 1, "await_start": 0, "program": 1, "seccomp": 0}
"""How many arguments of a step are for the reader; of others, all."""
_MASK_FROM = 4096


def _show(argument: Any) -> str:
    if isinstance(argument, tuple):
        parts = map(_show, argument)  # pyright: ignore[reportUnknownArgumentType] # of Any, as the arguments are
        return "(" + ", ".join(parts) + ")"
    if isinstance(argument, int) and not isinstance(argument, bool) and abs(argument) > _MASK_FROM:
        return hex(argument)
    return str(argument)


class HostFacts(NamedTuple):
    """What a plan must know of the host."""

    uid: int
    gid: int
    """Effective ids of the embedding process."""
    last_capability: int
    bounding: int
    """Capabilities that the embedding process may hand on, as a mask."""
    can_mknod: bool
    """Whether device nodes can be made; in a user namespace they cannot."""
    cgroups_v2: bool
    machine: str
    """As uname(2) calls it: whose system calls a seccomp profile is compiled for."""
    hierarchies: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """cgroup v1: the last name of each mount point, and the controllers mounted there."""
    newuidmap: str = ""
    """Where that program is, which maps ranges of ids for an ordinary user; "": nowhere, or not needed."""
    newgidmap: str = ""


class MappedMount(NamedTuple):
    """A bind mount whose ids are mapped. The host makes it, and the step `attach` puts it to its place."""

    name: str
    """Of its descriptor, and of the field: `mounts[3]`."""
    source: str
    recursive: bool
    """With all that is mounted below it."""
    below: bool
    """Whether the ids of those are mapped too."""
    slave: bool
    """Whether it is to be cut off from the host first."""
    maps: tuple[str, str] | None
    """uid_map and gid_map; None: those of the user namespace that is joined."""

    def __str__(self) -> str:
        maps = "as in the user namespace"
        if self.maps is not None:
            maps = "uids ({}) and gids ({})".format(*(" ".join(text.split()) for text in self.maps))
        return f"map {'all ids below' if self.below else 'the ids of'} {self.source}: {maps}"


class Plan(NamedTuple):
    """How a container is made."""

    flags: int
    """CLONE_NEW* of the namespaces that init is born into."""
    maps: Maps | None
    """How the ids of a new user namespace are mapped."""
    joins: tuple[tuple[str, str, int], ...]
    """Namespaces to enter before that: the OCI word, the path, CLONE_NEW*."""
    offsets: str | None
    """/proc/PID/timens_offsets of a new time namespace; None: no new one."""
    owner: tuple[int, int]
    """The user and group, on the host, of the container's root: whose exec.fifo it is."""
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    """What cannot be applied although the specification says to go on."""
    mapped: tuple[MappedMount, ...] = ()
    """Mounts that the host has to make."""
    on_host: tuple[Step, ...] = ()
    """What the host does itself, once init is there and before any hook runs."""

    def wire(self) -> tuple[tuple[str, tuple[object, ...]], ...]:
        """The steps as init gets them."""
        return tuple((step.name, step.arguments) for step in self.steps)

    def explain(self) -> str:
        """The plan for a reader: a line a step, with the field that asked for it. No values of the environment."""
        born = [word for word, (_, flag) in NAMESPACES.items() if self.flags & flag]
        lines = [f"join the {word} namespace {path}    <- linux.namespaces" for word, path, _ in self.joins]
        if self.offsets is not None:
            offsets = ", ".join(self.offsets.split("\n")[:-1])
            lines.append(f"unshare time ({offsets})    <- linux.namespaces, linux.timeOffsets")
        lines += [f"clone into new namespaces: {', '.join(born) or 'none'}    <- linux.namespaces"]
        if self.maps is not None:
            uids, gids = (" ".join(text.split()) for text in self.maps[:2])
            by = ", ".join(filter(None, self.maps[3]))
            by = f" by {by}" if by else ""
            lines.append(f"map uids ({uids}) and gids ({gids}){by}    <- linux.uidMappings, linux.gidMappings")
        lines += [f"{mount}    <- {mount.name}" for mount in self.mapped]
        lines += [f"on the host: {step}    <- {step.why}" for step in self.on_host]
        lines += [f"{step}    <- {step.why}" for step in self.steps]
        width = len(str(len(lines)))
        return "\n".join(f"{number:>{width}}  {line}" for number, line in enumerate(lines, 1)) + "\n"
