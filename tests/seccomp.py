"""What seccomp filters are held to: an interpreter of classic BPF, and Debian's libseccomp as runc uses it.

`Libseccomp` builds the filter that runc would load for a profile, without loading it: runc's matchCall, its choice of
libseccomp's optimisation, and its stub that answers ENOSYS (libcontainer/seccomp/patchbpf) in front. Both are told from
what runc does, not from our code.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

import attrs

from libcontainer_py.plan.syscalls import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from libcontainer_py.spec.linux import Seccomp, Syscall

X86_64, I386, AARCH64, ARM, RISCV64 = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028, 0xC00000F3
X32_BIT = 0x40000000

KILL, KILL_PROCESS, TRAP, NOTIFY = 0, 0x80000000, 0x30000, 0x7FC00000
LOG, ALLOW = 0x7FFC0000, 0x7FFF0000


def errno_of(number: int) -> int:
    return 0x50000 | number


def trace_of(number: int) -> int:
    return 0x7FF00000 | number


ENOSYS = errno_of(38)


class Event(NamedTuple):
    """What a filter is asked about."""

    audit: int
    number: int
    args: tuple[int, ...] = (0, 0, 0, 0, 0, 0)

    def word(self, offset: int) -> int:
        """The 32-bit word at an offset of `struct seccomp_data`, little-endian."""
        data = struct.pack("<IIQ6Q", self.number & 0xFFFFFFFF, self.audit, 0, *self.args)
        assert not offset % 4, "the kernel refuses such a load"
        found: int = struct.unpack_from("<I", data, offset)[0]
        return found


Instruction = tuple[int, int, int, int]


def decoded(program: bytes) -> list[Instruction]:
    assert len(program) % 8 == 0
    return list(struct.iter_unpack("=HBBI", program))


def check(program: list[Instruction]) -> None:
    """What the kernel demands before it takes a filter (bpf_check_classic, seccomp_check_filter)."""
    assert 0 < len(program) <= 4096
    assert program[-1][0] == 0x06
    for here, (code, yes, no, number) in enumerate(program):
        if code == 0x20:
            assert number % 4 == 0
            assert number < 64
        elif code == 0x05:
            assert here + 1 + number < len(program)
        elif code in (0x15, 0x25, 0x35, 0x45):
            assert 0 <= yes <= 255
            assert 0 <= no <= 255
            assert here + 1 + yes < len(program)
            assert here + 1 + no < len(program)
        else:
            assert code in (0x06, 0x54)


def verdict(program: list[Instruction], event: Event) -> int:
    """What a filter returns."""
    accumulator = 0
    here = 0
    while True:
        code, yes, no, number = program[here]
        here += 1
        if code == 0x20:
            accumulator = event.word(number)
        elif code == 0x06:
            return number
        elif code == 0x05:
            here += number
        elif code == 0x54:
            accumulator &= number
        elif code == 0x15:
            here += yes if accumulator == number else no
        elif code == 0x25:
            here += yes if accumulator > number else no
        elif code == 0x35:
            here += yes if accumulator >= number else no
        elif code == 0x45:
            here += yes if accumulator & number else no
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


TOKENS = {
    "SCMP_ARCH_X86": I386,
    "SCMP_ARCH_X86_64": X86_64,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_AARCH64": AARCH64,
    "SCMP_ARCH_ARM": ARM,
    "SCMP_ARCH_RISCV64": RISCV64,
}
NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64", "riscv64": "SCMP_ARCH_RISCV64"}
OPERATORS = {f"SCMP_CMP_{name}": n for n, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)}
EEXIST, ENOSYS_NUMBER = 17, 38


class Refused(Exception):
    """libseccomp takes no such rule."""


class Comparison(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


def action_of(word: str, errno: int | None) -> int:
    errno = 1 if errno is None else errno
    return {
        "SCMP_ACT_KILL": KILL,
        "SCMP_ACT_KILL_THREAD": KILL,
        "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
        "SCMP_ACT_TRAP": TRAP,
        "SCMP_ACT_ERRNO": errno_of(errno),
        "SCMP_ACT_TRACE": trace_of(errno),
        "SCMP_ACT_ALLOW": ALLOW,
        "SCMP_ACT_LOG": LOG,
        "SCMP_ACT_NOTIFY": NOTIFY,
    }[word]


class Libseccomp:
    """libseccomp.so.2; raises OSError where there is none."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libseccomp.so.2")
        self.library.seccomp_init.restype = ctypes.c_void_p
        # what the running kernel can do must not change the outcome
        assert self.library.seccomp_api_set(6) == 0

    def number(self, word: str, name: str) -> int:
        """A name's number on an architecture; -1 unknown, below that a call that is none of its own."""
        found: int = self.library.seccomp_syscall_resolve_name_arch(TOKENS[word], name.encode())
        return found

    def knows(self, name: str) -> bool:
        return self.library.seccomp_syscall_resolve_name(name.encode()) != -1

    def whole(self, profile: Seccomp) -> list[Instruction]:
        """The one program for all architectures of a profile on x86_64, as runc has it made, but for its stub."""
        return self.build(profile, list(dict.fromkeys(["SCMP_ARCH_X86_64", *profile.architectures])))

    def filter(self, profile: Seccomp, machine: str = "x86_64") -> Reference:
        """What runc would load on a machine, with one program for each architecture, of the names that are known there.

        In one program for all, libseccomp 2.5.4 sometimes forgets to load the number after names that are not.
        """
        wanted = list(dict.fromkeys([NATIVE[machine], *(word for word in profile.architectures if word in TOKENS)]))
        programs = {}
        for word in wanted:
            calls = [
                attrs.evolve(call, names=tuple(name for name in call.names if self.has(word, name)))
                for call in profile.syscalls
            ]
            known = attrs.evolve(profile, syscalls=tuple(call for call in calls if call.names))
            programs[X86_64 if word == "SCMP_ARCH_X32" else TOKENS[word], word == "SCMP_ARCH_X32"] = self.build(
                known, [word]
            )
        return Reference(programs, self.newest(profile, wanted), frozenset(self.others(profile)))

    def has(self, word: str, name: str) -> bool:
        """Whether an architecture has such a call, or i386 such a subcall."""
        number = self.number(word, name)
        return number >= 0 or (word == "SCMP_ARCH_X86" and -300 < number < -100)

    def build(self, profile: Seccomp, wanted: list[str]) -> list[Instruction]:
        default = action_of(profile.default_action, profile.default_errno_ret)
        context = ctypes.c_void_p(self.library.seccomp_init(ctypes.c_uint32(default)))
        assert context, "libseccomp takes errno values up to 4094"
        try:
            for word in wanted:
                if word != "SCMP_ARCH_X86_64":  # there from the beginning: this machine's own
                    assert self.library.seccomp_arch_add(context, ctypes.c_uint32(TOKENS[word])) == 0
            if "SCMP_ARCH_X86_64" not in wanted:
                assert self.library.seccomp_arch_remove(context, ctypes.c_uint32(X86_64)) == 0
            if sum(len(call.names) for call in profile.syscalls) > 32:
                assert self.library.seccomp_attr_set(context, 8, ctypes.c_uint32(2)) == 0
            for call in profile.syscalls:
                self.add(context, call, default)
            with open(os.memfd_create("bpf"), "w+b") as file:
                assert self.library.seccomp_export_bpf(context, file.fileno()) == 0
                file.seek(0)
                return decoded(file.read())
        finally:
            self.library.seccomp_release(context)

    def add(self, context: ctypes.c_void_p, call: Syscall, default: int) -> None:
        """runc's matchCall."""
        action = action_of(call.action, call.errno_ret)
        if action == default:
            return
        compared = [Comparison(one.index, OPERATORS[one.op], one.value, one.value_two) for one in call.args]
        groups = [compared]
        if len({one.arg for one in compared}) < len(compared):
            groups = [[one] for one in compared]
        for name in call.names:
            number = self.library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                continue
            for group in groups:
                array = (Comparison * len(group))(*group)
                code = self.library.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(group), array)
                if code == -EEXIST:
                    raise Refused(name)
                assert code == 0, (code, name)

    def newest(self, profile: Seccomp, wanted: Sequence[str]) -> dict[tuple[int, bool], int]:
        """runc's findLastSyscalls: the architecture, whether it is x32, to the largest number that is named.

        But numbers that are private to ARM, from 0xf0000 on, do not count: after them nothing were new.
        """
        if profile.default_action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"):
            return {}
        found = {}
        names = [name for call in profile.syscalls for name in call.names]
        for word in wanted:
            x32 = word == "SCMP_ARCH_X32"
            largest = max((n for name in names if (n := self.number(word, name)) & ~X32_BIT < 0xF0000), default=0)
            if largest > 0:
                found[X86_64 if x32 else TOKENS[word], x32] = largest
        return found

    def others(self, profile: Seccomp) -> Iterator[tuple[int, int]]:
        """See Reference.named. libseccomp does not tell the direct number of what is a subcall too."""
        for name in {name for call in profile.syscalls for name in call.names}:
            if self.number("SCMP_ARCH_ARM", name) >= 0xF0000:
                yield ARM, self.number("SCMP_ARCH_ARM", name)
            if -300 < self.number("SCMP_ARCH_X86", name) < -100:
                yield I386, table("i386").get(name, 0)
        default = action_of(profile.default_action, profile.default_errno_ret)
        for call in profile.syscalls:
            if action_of(call.action, call.errno_ret) != default:
                muxed = [-self.number("SCMP_ARCH_X86", name) // 100 for name in call.names]
                yield from (
                    (I386, table("i386")[word]) for kind, word in ((1, "socketcall"), (2, "ipc")) if kind in muxed
                )


class Reference(NamedTuple):
    """libseccomp's program, and runc's stub in front of it."""

    programs: dict[tuple[int, bool], list[Instruction]]
    newest: dict[tuple[int, bool], int]
    named: frozenset[tuple[int, int]]
    """Numbers that are named and yet larger: private to ARM, or subcalls of i386, which libseccomp numbers apart."""

    def verdict(self, event: Event) -> int:
        x32 = event.audit == X86_64 and bool(event.number & X32_BIT)
        largest = self.newest.get((event.audit, x32))
        if largest is not None and event.number > largest and (event.audit, event.number) not in self.named:
            return ENOSYS
        program = self.programs.get((event.audit, x32))
        if program is None and event.number == 0xFFFFFFFF:
            program = self.programs.get((event.audit, False))
        return KILL if program is None else verdict(program, event)


# -- what a profile means, said once more and without any cleverness --------------------------------------------------

SUBCALLS = {"socket": (102, 1), "connect": (102, 3), "send": (102, 9), "semop": (117, 1), "shmat": (117, 21)}
"""i386: some subcalls of socketcall (102) and ipc (117)."""
COMPARE = {
    "NE": lambda given, value, _: given != value,
    "LT": lambda given, value, _: given < value,
    "LE": lambda given, value, _: given <= value,
    "EQ": lambda given, value, _: given == value,
    "GE": lambda given, value, _: given >= value,
    "GT": lambda given, value, _: given > value,
    "MASKED_EQ": lambda given, mask, value: given & mask == value & mask,
}
RANK = {"EQ": 0, "NE": 0, "MASKED_EQ": 0, "LE": 1, "LT": 1, "GE": 2, "GT": 2}
WIDE = {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_RISCV64"}
TABLES = {
    "SCMP_ARCH_X86": "i386",
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_ARM": "arm",
    "SCMP_ARCH_RISCV64": "riscv64",
}


class Rule(NamedTuple):
    """One action for one number, under comparisons: argument, operator, value, second value."""

    action: int
    comparisons: tuple[tuple[int, str, int, int], ...]

    def holds(self, args: tuple[int, ...], mask: int) -> bool:
        return all(
            COMPARE[operator](args[index] & mask, value, second) for index, operator, value, second in self.comparisons
        )

    def place(self) -> list[tuple[int, int, int]]:
        """The order of rules that could all hold."""
        return [
            (
                -index,
                RANK[operator],
                value if RANK[operator] == 1 else -(value & second if operator == "MASKED_EQ" else value),
            )
            for index, operator, value, second in self.comparisons
        ]


def rules_for(profile: Seccomp, word: str, number: int) -> Iterator[Rule]:
    """All rules for one number of an architecture."""
    known = table(TABLES[word])
    mask = 2**64 - 1 if word in WIDE else 2**32 - 1
    for call in profile.syscalls:
        args = [
            (arg.index, arg.op.removeprefix("SCMP_CMP_"), arg.value & mask, arg.value_two & mask) for arg in call.args
        ]
        args.sort()
        twice = len({arg.index for arg in call.args}) < len(call.args)
        for name in call.names:
            for group in [[arg] for arg in args] if twice else [args]:
                left = tuple(arg for arg in group if arg[1] != "MASKED_EQ" or arg[2])
                if known.get(name) == number:
                    yield Rule(action_of(call.action, call.errno_ret), left)
                if word == "SCMP_ARCH_X86" and SUBCALLS.get(name, (-1, 0))[0] == number:
                    told = (0, "EQ", SUBCALLS[name][1], 0)
                    yield Rule(action_of(call.action, call.errno_ret), (told, *(arg for arg in left if arg[0])))


def meaning(profile: Seccomp, machine: str, event: Event) -> int:
    """What a profile says of a call."""
    native = NATIVE[machine]
    default = action_of(profile.default_action, profile.default_errno_ret)
    x32 = event.audit == X86_64 and event.number >= X32_BIT and "SCMP_ARCH_X32" in profile.architectures
    word = "SCMP_ARCH_X32" if x32 else next((word for word in WIDE | {*TOKENS} if TOKENS[word] == event.audit), "")
    if word not in (native, *profile.architectures):
        return KILL
    if word == "SCMP_ARCH_X86_64" and event.number >= X32_BIT:
        return default if event.number == 2**32 - 1 else KILL
    rules = [*rules_for(profile, word, event.number)]
    telling = [rule for rule in rules if rule.action != default]
    certain = [rule for rule in telling if not rule.comparisons]
    if certain:
        return certain[0].action
    for rule in sorted(telling, key=Rule.place):
        if rule.holds(event.args, 2**64 - 1 if word in WIDE else 2**32 - 1):
            return rule.action
    known = table(TABLES[word])
    apart = set(SUBCALLS) if word == "SCMP_ARCH_X86" else {name for name in known if known[name] & ~X32_BIT >= 0xF0000}
    named = {name: known[name] for call in profile.syscalls for name in call.names if name in known}
    largest = max((number for name, number in named.items() if name not in apart), default=0)
    permissive = profile.default_action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
    if permissive or not 0 < largest < event.number or telling or event.number in named.values():
        return default
    return ENOSYS
