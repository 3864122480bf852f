"""What runc's reading of a profile comes to in a filter, case by case; tests/property has the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libcontainer_py.kernel import constants
from libcontainer_py.plan import seccomp as room
from libcontainer_py.plan.seccomp import compile_filter, flags
from libcontainer_py.plan.syscalls import table
from libcontainer_py.spec.linux import Seccomp
from tests.seccomp import (
    AARCH64,
    ALLOW,
    ARM,
    ENOSYS,
    I386,
    KILL,
    KILL_PROCESS,
    LOG,
    NOTIFY,
    TRAP,
    X32_BIT,
    X86_64,
    Event,
    check,
    decoded,
    errno_of,
    trace_of,
    verdict,
)

DATA = Path(__file__).parents[2] / "data"
NUMBERS = table("x86_64")
EPERM = errno_of(1)


def ask(
    profile: Seccomp, name: str, *args: int, machine: str = "x86_64", audit: int = X86_64, on: str = "x86_64"
) -> int:
    program = decoded(compile_filter(profile, machine).program)
    check(program)
    return verdict(program, Event(audit, table(on)[name], (*args, *(0,) * (6 - len(args)))))


def profile(*rules: dict[str, object], default: str = "SCMP_ACT_ERRNO", **fields: object) -> Seccomp:
    anchor = {"names": ["fchmodat2"], "action": "SCMP_ACT_TRAP"}  # so that what is compared is not too new
    return Seccomp.from_dict({"defaultAction": default, "syscalls": [*rules, anchor], **fields})


def allow(
    name: str, *args: tuple[int, str, int] | tuple[int, str, int, int], action: str = "ALLOW"
) -> dict[str, object]:
    keys = ("index", "op", "value", "valueTwo")
    return {
        "names": [name],
        "action": f"SCMP_ACT_{action}",
        "args": [dict(zip(keys, (one[0], f"SCMP_CMP_{one[1]}", *one[2:]), strict=False)) for one in args],
    }


@pytest.mark.parametrize(
    ("word", "errno", "returned"),
    [
        ("KILL", None, KILL),
        ("KILL_THREAD", None, KILL),
        ("KILL_PROCESS", None, KILL_PROCESS),
        ("TRAP", None, TRAP),
        ("ERRNO", None, EPERM),
        ("ERRNO", 0, errno_of(0)),
        ("ERRNO", 95, errno_of(95)),
        ("TRACE", None, trace_of(1)),
        ("TRACE", 65535, trace_of(65535)),
        ("ALLOW", None, ALLOW),
        ("LOG", None, LOG),
        ("NOTIFY", None, NOTIFY),
    ],
)
def test_actions(word: str, errno: int | None, returned: int) -> None:
    rule = {"names": ["read"], "action": f"SCMP_ACT_{word}", **({} if errno is None else {"errnoRet": errno})}
    made = profile(rule, default="SCMP_ACT_ERRNO", defaultErrnoRet=7, listenerPath="/run/x")
    assert ask(made, "read") == returned
    assert ask(made, "close") == errno_of(7)


def test_the_default_action_has_an_errno_too() -> None:
    assert ask(profile(), "close") == EPERM
    assert ask(profile(default="SCMP_ACT_TRACE", defaultErrnoRet=9), "close") == trace_of(9)


BIG = 0x1_0000_0005


@pytest.mark.parametrize(
    ("operator", "holds"),
    [
        ("EQ", {BIG}),
        ("NE", {BIG - 1, BIG + 1, 5, 2**64 - 1, 0x2_0000_0005}),
        ("LT", {BIG - 1, 5}),
        ("LE", {BIG - 1, BIG, 5}),
        ("GE", {BIG, BIG + 1, 2**64 - 1, 0x2_0000_0005}),
        ("GT", {BIG + 1, 2**64 - 1, 0x2_0000_0005}),
    ],
)
def test_operators_look_at_all_64_bits(operator: str, holds: set[int]) -> None:
    made = profile(allow("read", (2, operator, BIG)))
    asked = {BIG - 1, BIG, BIG + 1, 5, 2**64 - 1, 0x2_0000_0005}
    assert {value for value in asked if ask(made, "read", 0, 0, value) == ALLOW} == holds


def test_a_mask_is_value_and_the_number_value_two() -> None:
    made = profile(allow("clone", (0, "MASKED_EQ", 0x1_0000_00F0, 0x1_0000_0010)))
    assert ask(made, "clone", 0x1_0000_0010) == ALLOW
    assert ask(made, "clone", 0xFF_0000_0F1F) == ALLOW
    assert ask(made, "clone", 0x10) == EPERM
    assert ask(made, "clone", 0x1_0000_0030) == EPERM


def test_numbers_with_one_upper_half_share_its_test() -> None:
    made = profile(*(allow("read", (0, "EQ", BIG + number)) for number in range(7)))
    program = decoded(compile_filter(made, "x86_64").program)
    loads = [number for code, _, _, number in program if code == 0x20]
    assert sorted(loads) == [0, 4, 16, 20]  # number, architecture, both halves of argument 0


def test_32_bit_programs_have_no_upper_half() -> None:
    made = profile(allow("read", (0, "EQ", BIG)), architectures=["SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    assert ask(made, "read", 5) == EPERM
    assert ask(made, "read", 5, audit=I386, on="i386") == ALLOW
    assert ask(made, "read", 0xDEAD_0000_0005, on="x32") == ALLOW


def test_arguments_of_one_rule_are_and_ed_and_rules_or_ed() -> None:
    made = profile(allow("read", (0, "EQ", 1), (1, "EQ", 2)), allow("read", (2, "EQ", 3)))
    asked = {(1, 2, 0): ALLOW, (1, 0, 0): EPERM, (0, 2, 0): EPERM, (0, 0, 3): ALLOW}
    assert {args: ask(made, "read", *args) for args in asked} == asked


def test_an_argument_that_is_compared_twice_splits_the_rule() -> None:
    made = profile(allow("read", (0, "EQ", 1), (0, "EQ", 2), (1, "EQ", 3)))
    asked = {(1, 0): ALLOW, (2, 0): ALLOW, (0, 3): ALLOW, (0, 0): EPERM}
    assert {args: ask(made, "read", *args) for args in asked} == asked


def test_a_rule_without_arguments_comes_first_wherever_it_stands() -> None:
    made = profile(allow("read", (0, "EQ", 1), action="KILL"), allow("read"), allow("read", action="LOG"))
    assert ask(made, "read", 1) == ALLOW


def test_a_mask_of_nothing_is_no_argument() -> None:
    made = profile(allow("read", (0, "EQ", 1), action="KILL"), allow("read", (1, "MASKED_EQ", 0, 5)))
    assert ask(made, "read", 1) == ALLOW


@pytest.mark.parametrize("turned", [False, True])
def test_the_order_of_rules_that_fall_out(*, turned: bool) -> None:
    rules = [
        allow("read", (0, "EQ", 5), action="KILL"),
        allow("read", (0, "LT", 10), action="TRAP"),
        allow("read", (0, "GT", 3), action="LOG"),
        allow("read", (0, "GT", 8)),
        allow("read", (3, "EQ", 1), action="KILL_PROCESS"),
    ]
    made = profile(*(reversed(rules) if turned else rules))
    asked = {5: KILL, 4: TRAP, 9: TRAP, 11: ALLOW, 2: TRAP}
    assert {value: ask(made, "read", value) for value in asked} == asked
    assert ask(made, "read", 5, 0, 0, 1) == KILL_PROCESS


def test_rules_with_the_default_action_say_nothing() -> None:
    made = profile(allow("read", action="ERRNO"), allow("read"))
    assert ask(made, "read") == ALLOW
    other = profile({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2}, allow("read"))
    assert ask(other, "read") == errno_of(2)


def test_an_architecture_that_is_not_in_the_filter_kills() -> None:
    made = profile(allow("read"))
    assert ask(made, "read", audit=I386, on="i386") == KILL
    assert ask(made, "read", on="x32") == KILL
    assert ask(made, "read", audit=AARCH64, on="aarch64") == KILL
    assert ask(profile(allow("read"), architectures=["SCMP_ARCH_X86"]), "read") == ALLOW, "the machine's own always is"


def test_architectures_that_no_kernel_of_the_machine_has_are_passed_over() -> None:
    own = compile_filter(profile(allow("read")), "x86_64")
    words = ["SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X", "SCMP_ARCH_ARM", "SCMP_ARCH_RISCV64", "SCMP_ARCH_X86_64"]
    assert compile_filter(profile(allow("read"), architectures=words), "x86_64") == own
    made = profile(allow("read"), architectures=words)
    assert ask(made, "read", machine="aarch64", audit=ARM, on="arm") == ALLOW
    assert ask(made, "read", machine="aarch64") == KILL


def test_a_tracer_may_skip_a_call_of_x86_64() -> None:
    program = decoded(compile_filter(profile(default="SCMP_ACT_ALLOW"), "x86_64").program)
    assert verdict(program, Event(X86_64, 2**32 - 1)) == ALLOW
    assert verdict(program, Event(X86_64, 2**32 - 2)) == KILL
    assert verdict(program, Event(X86_64, X32_BIT)) == KILL


@pytest.mark.parametrize("default", ["KILL", "KILL_PROCESS", "TRAP", "ERRNO"])
def test_a_call_newer_than_all_names_is_as_if_it_did_not_exist(default: str) -> None:
    made = Seccomp.from_dict(
        {
            "defaultAction": f"SCMP_ACT_{default}",
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            # the largest counts whatever its rule says
            "syscalls": [allow("read"), {"names": ["openat2", "nonsense"], "action": f"SCMP_ACT_{default}"}],
        }
    )
    usual = {"KILL": KILL, "KILL_PROCESS": KILL_PROCESS, "TRAP": TRAP, "ERRNO": EPERM}[default]
    for audit, on in ((X86_64, "x86_64"), (I386, "i386"), (X86_64, "x32")):
        assert ask(made, "openat2", audit=audit, on=on) == usual
        assert ask(made, "pidfd_getfd", audit=audit, on=on) == ENOSYS  # the number after openat2's


@pytest.mark.parametrize("default", ["ALLOW", "LOG", "TRACE"])
def test_a_default_that_lets_calls_happen_lets_new_ones_too(default: str) -> None:
    made = Seccomp.from_dict({"defaultAction": f"SCMP_ACT_{default}", "syscalls": [allow("read", action="KILL")]})
    assert ask(made, "futex_wait") == {"ALLOW": ALLOW, "LOG": LOG, "TRACE": trace_of(1)}[default]


def test_a_profile_without_names_knows_nothing_of_new_calls() -> None:
    made = Seccomp.from_dict({"defaultAction": "SCMP_ACT_KILL"})
    assert ask(made, "read") == KILL
    assert ask(made, "futex_wait") == KILL


def test_what_is_private_to_arm_makes_nothing_old() -> None:
    made = Seccomp.from_dict(
        {"defaultAction": "SCMP_ACT_KILL", "syscalls": [allow("read"), allow("openat"), allow("set_tls")]}
    )
    assert ask(made, "set_tls", machine="armv7l", audit=ARM, on="arm") == ALLOW
    assert ask(made, "cacheflush", machine="armv7l", audit=ARM, on="arm") == ENOSYS
    assert ask(made, "openat2", machine="armv7l", audit=ARM, on="arm") == ENOSYS


def test_subcalls_of_i386() -> None:
    made = profile(
        allow("socket", (1, "EQ", 1)), allow("bind"), allow("shmat"), allow("semget"), architectures=["SCMP_ARCH_X86"]
    )

    def on_i386(name: str, *args: int) -> int:
        return ask(made, name, *args, audit=I386, on="i386")

    assert on_i386("socket", 0, 1) == on_i386("socketcall", 1, 1) == ALLOW
    assert on_i386("socket", 0, 2) == on_i386("socketcall", 1, 2) == EPERM
    assert on_i386("bind") == on_i386("socketcall", 2) == ALLOW
    assert on_i386("connect") == on_i386("socketcall", 3) == EPERM
    assert on_i386("ipc", 21) == on_i386("shmat") == on_i386("ipc", 2) == on_i386("semget") == ALLOW
    assert on_i386("ipc", 22) == on_i386("shmdt") == EPERM
    assert ask(made, "bind") == ALLOW


def test_flags() -> None:
    def of(*words: str, **fields: object) -> int:
        return flags(profile(flags=[f"SECCOMP_FILTER_FLAG_{word}" for word in words], **fields))

    assert flags(profile()) == constants.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    assert flags(Seccomp(default_action="SCMP_ACT_ALLOW")) == constants.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    assert of() == 0, "an empty list is no flag"
    assert of("LOG") == constants.SECCOMP_FILTER_FLAG_LOG
    assert of("TSYNC") == 0
    assert of("LOG", "SPEC_ALLOW") == constants.SECCOMP_FILTER_FLAG_LOG | constants.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    notify = profile({"names": ["read"], "action": "SCMP_ACT_NOTIFY"}, flags=[], listenerPath="/run/x")
    assert flags(notify) == constants.SECCOMP_FILTER_FLAG_NEW_LISTENER
    assert compile_filter(notify, "x86_64").notifies
    assert not compile_filter(profile(), "x86_64").notifies


def test_a_profile_is_compiled_once() -> None:
    document = json.loads((DATA / "config-podman-small.json").read_bytes())["linux"]["seccomp"]
    room._program.cache_clear()
    first = compile_filter(Seccomp.from_dict(document), "x86_64")
    assert compile_filter(Seccomp.from_dict(document), "x86_64").program is first.program
    assert room._program.cache_info()[:2] == (1, 1)
    assert compile_filter(Seccomp.from_dict(document), "aarch64").program != first.program
    document["syscalls"][0]["errnoRet"] = 2
    assert compile_filter(Seccomp.from_dict(document), "x86_64").program != first.program


@pytest.mark.parametrize("document", ["config-podman-small.json", "config-containerd.json"])
def test_real_profiles_stay_small(document: str) -> None:
    made = Seccomp.from_dict(json.loads((DATA / document).read_bytes())["linux"]["seccomp"])
    program = decoded(compile_filter(made, "x86_64").program)
    check(program)
    assert len(program) <= 220  # libseccomp: 1408 and 1210
