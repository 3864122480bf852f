"""What is wrong with a profile is said with its path, everything at once."""

from __future__ import annotations

import pytest

from libcontainer_py.errors import ConfigError, UnsupportedPlatform
from libcontainer_py.plan.seccomp import compile_filter
from libcontainer_py.spec.linux import Seccomp
from libcontainer_py.spec.seccomp import problems

READ = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
LISTENER = {"listenerPath": "/run/agent.sock"}


def profile(**fields: object) -> Seccomp:
    return Seccomp.from_dict({"defaultAction": "SCMP_ACT_ERRNO", **fields})


def rule(**fields: object) -> dict[str, object]:
    return {"syscalls": [{**READ, **fields}]}


def argument(**fields: object) -> dict[str, object]:
    return rule(args=[{"index": 0, "value": 1, "op": "SCMP_CMP_EQ", **fields}])


@pytest.mark.parametrize(
    ("fields", "path", "reason"),
    [
        ({"defaultAction": "SCMP_ACT_DENY"}, "defaultAction", "unknown action 'SCMP_ACT_DENY'"),
        ({"defaultAction": ""}, "defaultAction", "unknown action ''"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "defaultAction", "SCMP_ACT_NOTIFY cannot be the default action"),
        ({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}, "defaultErrnoRet", "SCMP_ACT_KILL returns no errno"),
        ({"defaultErrnoRet": 4096}, "defaultErrnoRet", "is larger than 4095"),
        (
            {"architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_VAX"]},
            "architectures[1]",
            "unknown architecture 'SCMP_ARCH_VAX'",
        ),
        ({"flags": ["SECCOMP_FILTER_FLAG_FAST"]}, "flags[0]", "unknown flag 'SECCOMP_FILTER_FLAG_FAST'"),
        ({"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}, "flags[0]", "needs a rule with SCMP_ACT_NOTIFY"),
        ({"listenerMetadata": "x"}, "listenerMetadata", "needs listenerPath"),
        (rule(action="SCMP_ACT_NOTIFY"), "listenerPath", "is required for SCMP_ACT_NOTIFY"),
        (rule(action="ALLOW"), "syscalls[0].action", "unknown action 'ALLOW'"),
        (rule(errnoRet=1), "syscalls[0].errnoRet", "SCMP_ACT_ALLOW returns no errno"),
        (rule(action="SCMP_ACT_TRACE", errnoRet=65536), "syscalls[0].errnoRet", "is larger than 65535"),
        (rule(names=[]), "syscalls[0].names", "at least one name is required"),
        (rule(names=["read", ""]), "syscalls[0].names[1]", "is empty"),
        (
            {**LISTENER, **rule(names=["read", "write"], action="SCMP_ACT_NOTIFY")},
            "syscalls[0].names[1]",
            "SCMP_ACT_NOTIFY cannot be used for write",
        ),
        (argument(index=6), "syscalls[0].args[0].index", "a system call has the arguments 0 to 5"),
        (argument(op="SCMP_CMP_LIKE"), "syscalls[0].args[0].op", "unknown operator 'SCMP_CMP_LIKE'"),
    ],
)
def test_problems(fields: dict[str, object], path: str, reason: str) -> None:
    (problem,) = problems(profile(**fields))
    assert (problem.path, problem.reason) == (f"linux.seccomp.{path}", reason)
    with pytest.raises(ConfigError) as caught:
        compile_filter(profile(**fields), "x86_64")
    assert [found.path for found in caught.value.problems] == [problem.path]


def test_all_at_once() -> None:
    wrong = profile(defaultAction="X", flags=["Y"], architectures=["Z"], **argument(index=9, op="W"))
    assert [problem.path.removeprefix("linux.seccomp.") for problem in problems(wrong)] == [
        *("defaultAction", "architectures[0]", "flags[0]", "syscalls[0].args[0].index", "syscalls[0].args[0].op")
    ]


def test_an_unknown_word_is_told_the_known_ones() -> None:
    (problem,) = problems(profile(**argument(op="EQ")))
    assert problem.hint.startswith("one of SCMP_CMP_EQ, SCMP_CMP_GE")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"architectures": ["SCMP_ARCH_S390X", "SCMP_ARCH_LOONGARCH64"]},
        {"flags": ["SECCOMP_FILTER_FLAG_TSYNC"]},
        {**LISTENER, "listenerMetadata": "x"},
        {**LISTENER, **rule(action="SCMP_ACT_NOTIFY"), "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]},
        rule(names=["no_such_call"]),
        rule(action="SCMP_ACT_ERRNO", errnoRet=4095),
        argument(index=5, value=2**64 - 1),
    ],
)
def test_no_problem(fields: dict[str, object]) -> None:
    assert list(problems(profile(**fields))) == []


def test_other_actions_for_the_same_arguments_in_one_name() -> None:
    args = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]
    other = [{**args[0], "valueTwo": 5}]  # which counts for masks alone
    wrong = profile(
        syscalls=[
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": args},
            {"names": ["close"], "action": "SCMP_ACT_KILL", "args": args},
            {"names": ["read"], "action": "SCMP_ACT_KILL", "args": other},
        ]
    )
    (problem,) = problems(wrong)
    assert problem.path == "linux.seccomp.syscalls[2]"


def test_an_unknown_machine() -> None:
    with pytest.raises(UnsupportedPlatform, match="'vax'"):
        compile_filter(profile(), "vax")


def test_a_filter_that_is_too_long() -> None:
    args = [[{"index": n % 6, "value": 3 * n, "op": "SCMP_CMP_EQ"}] for n in range(2500)]
    long = profile(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": one} for one in args])
    with pytest.raises(ConfigError, match=r"linux\.seccomp: needs a filter of \d{5} instructions, .* at most 4096"):
        compile_filter(long, "x86_64")
