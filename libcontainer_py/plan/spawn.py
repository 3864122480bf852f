"""The plan of a further process: one that joined the namespaces of a container that is there already.

It is much less than that of an init: there is nothing to build. Who carries it out has joined all namespaces, but is in
the host's pid namespace until `clone`: nobody in the container sees it before it has become what its program will be.
The filter is the very last, as always.
"""

from __future__ import annotations

from libcontainer_py.kernel.constants import NAMESPACES
from libcontainer_py.plan import labels, process
from libcontainer_py.plan.build import becoming, filter_of, keyring
from libcontainer_py.plan.steps import Step
from libcontainer_py.spec.rules import processors_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer_py.plan.steps import HostFacts
    from libcontainer_py.spec import Spec


def build_spawn(
    spec: Spec,
    *,
    container_id: str,
    facts: HostFacts,
    flags: int,
    groups: bool,
    warnings: list[str],
    own_keyring: bool = True,
) -> tuple[Step, ...]:
    """The steps for the process of `spec`, the container's configuration.

    `flags` are the namespaces to join, CLONE_NEW*. `groups`: setgroups is allowed in its user namespace. `own_keyring`:
    the container has a session keyring.
    """
    return tuple(_steps(spec, container_id, facts, warnings, flags=flags, groups=groups, own_keyring=own_keyring))


def _steps(
    spec: Spec, container_id: str, facts: HostFacts, warnings: list[str], *, flags: int, groups: bool, own_keyring: bool
) -> Iterator[Step]:
    program = spec.process
    if program is None:
        raise AssertionError("validation lets no such Spec through")
    affinity = program.exec_cpu_affinity
    if affinity is not None and affinity.initial:
        yield Step("affinity", (processors_of(affinity.initial) or (),), "process.execCPUAffinity.initial")
    if program.oom_score_adj is not None:  # as root of the host, who may lower it
        yield Step("oom_score_adj", (program.oom_score_adj,), "process.oomScoreAdj")
    yield Step("join", (flags,), "linux.namespaces")
    yield Step("join_cgroups", (), "linux.cgroupsPath")
    if affinity is not None and affinity.final:
        yield Step("affinity", (processors_of(affinity.final) or (),), "process.execCPUAffinity.final")
    if own_keyring:
        yield from keyring(container_id, spec)
    if program.terminal:
        yield process.terminal(program)
    else:
        yield Step("stdio", (program.user.uid,), "the caller's streams")
    yield from labels.steps(program)
    user_namespace = bool(flags & NAMESPACES["user"][1])
    yield from becoming(spec, program, facts, warnings, user_namespace=user_namespace, groups=groups)
    yield Step("clone", (), "linux.namespaces")
    yield Step("session", (), "a session of its own")
    if program.terminal:
        yield Step("controlling_terminal", (), "process.terminal")
    if spec.linux is not None and spec.linux.seccomp is not None:
        yield process.seccomp(spec, filter_of(spec.linux.seccomp, facts.machine))
    yield Step("execute", (tuple(program.args), tuple(program.env)), "process.args, process.env")
