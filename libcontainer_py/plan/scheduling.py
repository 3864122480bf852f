"""How the program is scheduled, and where its memory comes from, as steps.

Source: config.md, Scheduler and IO Priority; config-linux.md, Memory Policy and Personality.
"""

from __future__ import annotations

from libcontainer_py.kernel import constants as c
from libcontainer_py.plan.steps import Step
from libcontainer_py.spec.rules import nodes_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer_py.spec import Spec


def steps(spec: Spec) -> Iterator[Step]:
    """The steps; before the ids change, since most of them take CAP_SYS_NICE."""
    process, linux = spec.process, spec.linux
    if linux is not None and linux.personality is not None:
        yield Step("personality", (c.PERSONALITIES[linux.personality.domain],), "linux.personality")
    if linux is not None and linux.memory_policy is not None:
        policy = linux.memory_policy
        mode = c.MEMORY_POLICIES[policy.mode] | sum(c.MEMORY_POLICY_FLAGS[flag] for flag in set(policy.flags))
        yield Step("memory_policy", (mode, nodes_of(policy.nodes or "") or ()), "linux.memoryPolicy")
    if process is not None and process.io_priority is not None:
        io_class = c.IOPRIO_CLASSES[process.io_priority.class_]
        yield Step("io_priority", (io_class, process.io_priority.priority), "process.ioPriority")
    if process is not None and process.scheduler is not None:
        one = process.scheduler
        flags = sum(c.SCHED_FLAGS[flag] for flag in set(one.flags))
        numbers = (one.nice, one.priority, one.runtime, one.deadline, one.period)
        yield Step("scheduler", (c.SCHED_POLICIES[one.policy], flags, *numbers), "process.scheduler")
