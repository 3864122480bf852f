"""What our filters return, for any profile and any call, is what the profile says, and what runc's filters return.

Two judges: `seccomp.meaning`, which evaluates a profile without any cleverness, and libseccomp as runc uses it. The
second is asked where it can be followed. Left out are:

- names that this libseccomp does not know yet: its filter cannot have them;
- several rules for one name, unless they ask an argument for equality: between other tests libseccomp 2.5.4 forgets to
  load the argument that the next one is about (`ipc` if arg 0 >= 9, or if arg 1 < 9 and arg 0 != 5, on i386), and lets
  rules that share half of a number share what comes after it;
- numbers from 0x80000000 to 0xbfffffff on x86_64, which nobody calls: libseccomp takes them for x32, runc's stub does
  not.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libcontainer_py.errors import ConfigError
from libcontainer_py.plan.seccomp import compile_filter
from libcontainer_py.plan.syscalls import table
from libcontainer_py.spec.linux import Seccomp, Syscall, SyscallArg
from tests import seccomp
from tests.seccomp import AARCH64, ARM, I386, NATIVE, OPERATORS, RISCV64, X32_BIT, X86_64, Event, Libseccomp, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[1] / "data"
MACHINES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "riscv64": ("SCMP_ARCH_RISCV64",),
}
AUDITED = {
    "x86_64": [(X86_64, "x86_64"), (X86_64, "x32"), (I386, "i386"), (AARCH64, "aarch64")],
    "aarch64": [(AARCH64, "aarch64"), (ARM, "arm"), (X86_64, "x86_64")],
    "riscv64": [(RISCV64, "riscv64"), (AARCH64, "aarch64")],
}
# few, so that rules meet; with some that one architecture has, subcalls of i386, what is private to ARM, and nonsense
NAMES = (
    *("read", "write", "clone", "personality", "socket", "connect", "send", "semop", "shmat", "socketcall", "ipc"),
    *("ioctl", "execve", "arch_prctl", "modify_ldt", "cacheflush", "set_tls", "clone3", "close_range", "no_such_call"),
)
EDGES = (0, 1, 2, 5, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**32, 2**32 + 5, 2**33, 2**63, 2**64 - 2, 2**64 - 1)
ACTIONS = (
    *("SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO"),
    *("SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY"),
)

values = st.sampled_from(EDGES) | st.integers(0, 2**64 - 1)


@pytest.fixture(scope="module")
def library() -> Libseccomp:
    try:
        return Libseccomp()
    except OSError:
        pytest.skip("libseccomp.so.2 is missing: apt-get install libseccomp2")


def actions(*, default: bool = False) -> st.SearchStrategy[tuple[str, int | None]]:
    """An action, and its errno where it takes one."""
    words = [word for word in ACTIONS if not (default and word == "SCMP_ACT_NOTIFY")]
    return st.sampled_from(words).flatmap(
        lambda word: st.tuples(
            st.just(word),
            st.none() | st.integers(0, 4094) if word in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else st.none(),
        )
    )


comparisons = st.builds(
    SyscallArg, index=st.integers(0, 5), value=values, value_two=values, op=st.sampled_from(sorted(OPERATORS))
)

equalities = st.builds(
    SyscallArg,
    index=st.just(0),
    value=values,
    value_two=values,
    op=st.sampled_from(("SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_MASKED_EQ")),
)


@st.composite
def rules(draw: st.DrawFn) -> tuple[Syscall, ...]:
    """Rules of all shapes, also such that fall out with each other."""
    found = []
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=12)):
        word, errno = draw(actions())
        args = draw(st.lists(comparisons, max_size=3))
        if word == "SCMP_ACT_NOTIFY" and name == "write":
            word = "SCMP_ACT_TRAP"
        found.append(Syscall(names=(name,), action=word, errno_ret=errno, args=args))
    return tuple(found)


@st.composite
def plain_rules(draw: st.DrawFn) -> tuple[Syscall, ...]:
    """Rules in which libseccomp is right: see above."""
    found = []
    for name in draw(st.sets(st.sampled_from([name for name in NAMES if name not in ("send", "semop")]))):
        word, errno = draw(actions())
        if word == "SCMP_ACT_NOTIFY" and name == "write":
            continue
        if draw(st.booleans()):
            index = draw(st.integers(1, 5))  # argument 0 tells the subcall on i386
            groups = [[attrs.evolve(arg, index=index)] for arg in draw(st.lists(equalities, max_size=6))]
        else:
            groups = [draw(st.lists(comparisons, max_size=3, unique_by=lambda arg: arg.index))]
        found += [Syscall(names=(name,), action=word, errno_ret=errno, args=args) for args in groups]
    return tuple(found)


@st.composite
def profiles(draw: st.DrawFn, machine: str, syscalls: st.SearchStrategy[tuple[Syscall, ...]]) -> Seccomp:
    word, errno = draw(actions(default=True))
    return Seccomp(
        default_action=word,
        default_errno_ret=errno,
        architectures=tuple(draw(st.lists(st.sampled_from(MACHINES[machine]), unique=True))),
        listener_path="/run/listener",
        syscalls=draw(syscalls),
    )


def events(machine: str, profile: Seccomp, seed: int, count: int) -> Iterator[Event]:
    """Calls at and around everything that the profile names, and others. Drawing each by Hypothesis takes too long."""
    rng = random.Random(seed)
    compared = [value for rule in profile.syscalls for arg in rule.args for value in (arg.value, arg.value_two)]
    args = {(value + step) % 2**64 for value in compared for step in (-1, 0, 1, 2**32)} | {*range(1, 25), *EDGES}
    usual = sorted(args)
    for _ in range(count):
        audit, name = rng.choice(AUDITED[machine])
        known = table(name)
        named = [known[call] for rule in profile.syscalls for call in rule.names if call in known]
        named += [known[call] for call in ("socketcall", "ipc") if call in known]
        number = rng.choice([*named, *named, 0, X32_BIT, 2**32 - 1, rng.randrange(600), rng.randrange(2**32)])
        number += rng.choice((0, 0, 0, 0, -1, 1))
        number %= 2**32
        if audit == X86_64 and number >> 30 == 2:
            number -= 2**31
        values = (rng.choice(usual) if rng.random() < 0.9 else rng.randrange(2**64) for _ in range(6))
        yield Event(audit, number, tuple(values))


@pytest.mark.parametrize("machine", NATIVE)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_returns_what_the_profile_says(machine: str, data: st.DataObject, seed: int) -> None:
    profile = data.draw(profiles(machine, rules()))
    try:
        program = seccomp.decoded(compile_filter(profile, machine).program)
    except ConfigError as error:
        if all("for the same arguments" in problem.reason for problem in error.problems):
            return
        raise
    seccomp.check(program)
    for asked in events(machine, profile, seed, 60):
        assert seccomp.verdict(program, asked) == seccomp.meaning(profile, machine, asked), asked


@pytest.mark.parametrize("machine", NATIVE)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_returns_what_libseccomp_says(library: Libseccomp, machine: str, data: st.DataObject, seed: int) -> None:
    profile = data.draw(profiles(machine, plain_rules()))
    program = seccomp.decoded(compile_filter(profile, machine).program)
    reference = library.filter(profile, machine)
    for asked in events(machine, profile, seed, 60):
        assert seccomp.verdict(program, asked) == reference.verdict(asked), asked


@pytest.mark.parametrize("document", ["config-podman-small.json", "config-containerd.json"])
def test_returns_what_runc_would_have_it_return(library: Libseccomp, document: str) -> None:
    whole = Seccomp.from_dict(json.loads((DATA / document).read_bytes())["linux"]["seccomp"])
    calls = [attrs.evolve(call, names=filter(library.knows, call.names)) for call in whole.syscalls]
    profile = attrs.evolve(whole, syscalls=[call for call in calls if call.names])
    program = seccomp.decoded(compile_filter(profile, "x86_64").program)
    reference = library.filter(profile)
    together = reference._replace(programs=dict.fromkeys(reference.programs, library.whole(profile)))
    known = {number for name in ("x86_64", "i386", "x32") for number in table(name).values()}
    every = sorted({number + step for number in known for step in (-1, 0, 1, X32_BIT) if 0 <= number + step < 2**31})
    rng = random.Random(0)
    compared = [value for call in profile.syscalls for arg in call.args for value in (arg.value, arg.value + 2**32)]
    for audit in (X86_64, I386, AARCH64):
        for number in [*every, 2**32 - 1]:
            for _ in range(3):
                asked = Event(audit, number, tuple(rng.choice([*compared, *EDGES]) for _ in range(6)))
                assert seccomp.verdict(program, asked) == together.verdict(asked), asked


def test_what_compares_the_same_and_does_another_thing_is_refused_by_both(library: Libseccomp) -> None:
    args = (SyscallArg(index=1, op="SCMP_CMP_EQ", value=3),)
    profile = Seccomp(
        default_action="SCMP_ACT_ALLOW",
        syscalls=(
            Syscall(names=("read", "close"), action="SCMP_ACT_ERRNO", args=args),
            Syscall(names=("write", "close"), action="SCMP_ACT_KILL", args=args),
        ),
    )
    with pytest.raises(Refused, match="close"):
        library.filter(profile)
    with pytest.raises(ConfigError) as caught:
        compile_filter(profile, "x86_64")
    (problem,) = caught.value.problems
    assert problem.path == "linux.seccomp.syscalls[1]"
    assert problem.reason == "another rule says SCMP_ACT_ERRNO for the same arguments of close"
