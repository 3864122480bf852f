"""What a process, and a hook, may be told. Source: config.md, Process and POSIX-platform Hooks; the man pages named."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

import attrs
from hypothesis import strategies as st

from libcontainer_py.spec import (
    Capabilities,
    ConsoleSize,
    CPUAffinity,
    Hook,
    Hooks,
    IOPriority,
    Process,
    Rlimit,
    Scheduler,
    User,
    validate,
)
from libcontainer_py.testing.strategies.words import ids, names, paths, ranges, same, some, texts, tuples, variables

if TYPE_CHECKING:
    from collections.abc import Mapping

CAPABILITIES = tuple(
    "CAP_" + name
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE"),
        *("NET_ADMIN", "NET_RAW", "SYS_CHROOT", "SYS_PTRACE", "SYS_ADMIN", "MKNOD", "AUDIT_WRITE", "SETFCAP"),
    )
)


_IN = ("b", "bp", "bpe", "bi", "bpi", "bpei", "bpia", "bpeia")
"""The sets that a capability may be in, by their first letters: capset(2) and prctl(2) refuse the rest."""


def _sets(where: Mapping[str, str]) -> Capabilities:
    def named(letter: str) -> tuple[str, ...]:
        return tuple(name for name, letters in where.items() if letter in letters)

    return Capabilities(
        bounding=named("b"), permitted=named("p"), inheritable=named("i"), effective=named("e"), ambient=named("a")
    )


_capabilities = st.dictionaries(st.sampled_from(CAPABILITIES), st.sampled_from(_IN), max_size=4).map(_sets)


def _rlimit(kind: str, one: int, two: int) -> Rlimit:
    return Rlimit(type=kind, soft=min(one, two), hard=max(one, two))


_limits = st.integers(0, 4096) | st.integers(0, 2**64 - 1)
_rlimits = tuples(
    st.builds(_rlimit, st.sampled_from(sorted(validate.RLIMITS)), _limits, _limits), unique_by=attrgetter("type")
)


def _policies(names: str, *flags: str, **given: st.SearchStrategy[int]) -> st.SearchStrategy[Scheduler]:
    words = tuples(st.sampled_from([f"SCHED_FLAG_{flag}" for flag in ("RESET_ON_FORK", *flags)]), unique_by=same)
    policies = st.sampled_from([f"SCHED_{name}" for name in names.split()])
    return some(Scheduler, {"policy": policies, **given}, {"flags": words})


def _in_order(one: Scheduler) -> Scheduler:
    runtime, deadline, period = sorted((one.runtime, one.deadline, one.period))
    return attrs.evolve(one, runtime=runtime, deadline=deadline, period=period)


_times = st.integers(1024, 2**40)
_deadlines = _policies("DEADLINE", "RECLAIM", "DL_OVERRUN", runtime=_times, deadline=_times, period=_times)
_schedulers = st.one_of(
    _policies("IDLE"),
    _policies("OTHER BATCH", nice=st.integers(-20, 19)),
    _policies("FIFO RR", priority=st.integers(1, 99)),
    _deadlines.map(_in_order),
)
"""Arguments that sched_setattr(2) takes. SCHED_ISO is in the specification, but in no kernel."""

_classes = st.sampled_from(["IOPRIO_CLASS_BE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_IDLE"])
_sizes = st.integers(1, 500)


def _joined(program: str, rest: tuple[str, ...]) -> tuple[str, ...]:
    return (program, *rest)


_arguments = st.builds(_joined, st.just("true") | names | paths, tuples(texts))

_hooks = tuples(
    some(
        Hook,
        {"path": paths},
        {"args": _arguments, "env": tuples(variables), "timeout": st.integers(1, 3600)},
    )
)
hooks: st.SearchStrategy[Hooks] = some(Hooks, {}, dict.fromkeys(validate.HOOKS, _hooks))
"""Hooks of all six moments."""


_users = some(
    User,
    {},
    {"uid": ids, "gid": ids, "umask": st.integers(0, 0o777), "additional_gids": tuples(ids, unique_by=same)},
)


processes: st.SearchStrategy[Process] = some(
    Process,
    {"args": _arguments, "cwd": st.just("/") | paths},
    {
        "terminal": st.booleans(),
        "console_size": st.builds(ConsoleSize, height=_sizes, width=_sizes),
        "user": _users,
        "env": tuples(variables, max_size=3),
        "capabilities": _capabilities,
        "rlimits": _rlimits,
        "no_new_privileges": st.booleans(),
        "apparmor_profile": names,
        "oom_score_adj": st.integers(-1000, 1000),
        "scheduler": _schedulers,
        "selinux_label": st.sampled_from(["system_u:system_r:container_t:s0", "u:r:t:s0:c1,c2"]),
        "io_priority": st.builds(IOPriority, class_=_classes, priority=st.integers(0, 7)),
        "exec_cpu_affinity": some(CPUAffinity, {}, {"initial": ranges, "final": ranges}),
    },
)
"""Processes, some of them with a terminal."""
