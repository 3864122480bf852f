"""Limits, ids and capabilities as steps. Source: config.md, Process and User; capabilities(7); getrlimit(2)."""

from __future__ import annotations

from libcontainer_py.kernel.constants import CAPABILITIES, RLIMITS
from libcontainer_py.plan.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from libcontainer_py.plan.seccomp import Filter
    from libcontainer_py.plan.steps import HostFacts
    from libcontainer_py.spec import Spec
    from libcontainer_py.spec.config import Capabilities, Process

DEFAULT_UMASK = 0o022
_INFINITY = 2**64 - 1
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def limits(process: Process) -> Iterator[Step]:
    """The resource limits, as (resource, soft, hard); -1 is unlimited."""
    if process.rlimits:
        triples = tuple((RLIMITS[one.type], _limit(one.soft), _limit(one.hard)) for one in process.rlimits)
        yield Step("limits", (triples,), "process.rlimits")


def _limit(value: int) -> int:
    return -1 if value >= _INFINITY else value


def identity(
    process: Process, facts: HostFacts, kept: int, *, user_namespace: bool, groups: bool, warnings: list[str]
) -> Step:
    """Ids and capabilities, with those `kept` for the time. What cannot be granted is left out, and in `warnings`."""
    mask = (1 << facts.last_capability + 1) - 1
    grantable = mask if user_namespace else facts.bounding & mask
    sets = capability_sets(process.capabilities, grantable, warnings)
    additional = tuple(process.user.additional_gids) if groups else None
    ids = (process.user.uid, process.user.gid)
    arguments = (ids, additional, sets, facts.last_capability, process.no_new_privileges, kept)
    return Step("identity", arguments, "process.user, process.capabilities, process.noNewPrivileges")


def capability_sets(
    capabilities: Capabilities | None, grantable: int, warnings: list[str]
) -> tuple[int, int, int, int, int]:
    """Bounding, effective, permitted, inheritable and ambient as masks; absent capabilities are none."""
    masks = dict.fromkeys(_SETS, 0)
    if capabilities is not None:
        for name in _SETS:
            masks[name] = _mask(getattr(capabilities, name), f"process.capabilities.{name}", grantable, warnings)
    permitted, inheritable = masks["permitted"], masks["inheritable"]
    # the kernel refuses effective beyond permitted, and ambient beyond permitted and inheritable
    return (
        masks["bounding"],
        masks["effective"] & permitted,
        permitted,
        inheritable,
        masks["ambient"] & permitted & inheritable,
    )


def _mask(names: Iterable[str], path: str, grantable: int, warnings: list[str]) -> int:
    mask = 0
    for name in names:
        if name not in CAPABILITIES:
            warnings.append(f"{path}: unknown capability {name!r} is left out")
        elif not grantable >> CAPABILITIES.index(name) & 1:
            warnings.append(f"{path}: {name} cannot be granted here and is left out")
        else:
            mask |= 1 << CAPABILITIES.index(name)
    return mask


def terminal(process: Process) -> Step:
    """A terminal of its own, for its user, with the size in columns and rows; 0: the kernel's."""
    size = process.console_size
    columns, rows = (0, 0) if size is None else (size.width, size.height)
    return Step("terminal", (process.user.uid, columns, rows), "process.terminal, process.consoleSize")


def search_path(process: Process) -> str:
    """PATH of the program's environment: where it is looked up."""
    for entry in process.env:
        name, _, value = entry.partition("=")
        if name == "PATH":
            return value
    return ""


def keeps_admin(spec: Spec) -> bool:
    """Whether init keeps CAP_SYS_ADMIN until its filter is loaded: without noNewPrivileges the kernel asks for it."""
    filtered = spec.linux is not None and spec.linux.seccomp is not None
    return filtered and spec.process is not None and not spec.process.no_new_privileges


def seccomp(spec: Spec, one: Filter) -> Step:
    """The filter, which who executes the program loads as the last thing before. Source: config-linux.md, Seccomp.

    Where CAP_SYS_ADMIN was kept for it, it is given up through the filter, which must allow capset.
    """
    return Step("seccomp", (one.program, one.flags, keeps_admin(spec)), "linux.seccomp")


def seccomp_listener(spec: Spec, one: Filter) -> Iterator[Step]:
    """The connection to a listener, while the host's files are in reach."""
    if one.notifies and spec.linux is not None and spec.linux.seccomp is not None:
        yield Step("seccomp_listener", (spec.linux.seccomp.listener_path,), "linux.seccomp.listenerPath")
