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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def filter(self, profile: Seccomp, machine: str = "x86_64") -> Reference:
        """What runc would load on a machine."""
        native = NATIVE[machine]
        wanted = list(dict.fromkeys([native, *(word for word in profile.architectures if word in TOKENS)]))
        default = action_of(profile.default_action, profile.default_errno_ret)
        context = ctypes.c_void_p(self.library.seccomp_init(ctypes.c_uint32(default)))
        try:
            for word in wanted:
                if word != "SCMP_ARCH_X86_64":  # there from the beginning: this machine's own
                    assert self.library.seccomp_arch_add(context, ctypes.c_uint32(TOKENS[word])) == 0
            if native != "SCMP_ARCH_X86_64":
                assert self.library.seccomp_arch_remove(context, ctypes.c_uint32(X86_64)) == 0
            if sum(len(call.names) for call in profile.syscalls) > 32:
                assert self.library.seccomp_attr_set(context, 8, ctypes.c_uint32(2)) == 0
            for call in profile.syscalls:
                self.add(context, call, default)
            with open(os.memfd_create("bpf"), "w+b") as file:
                assert self.library.seccomp_export_bpf(context, file.fileno()) == 0
                file.seek(0)
                program = decoded(file.read())
        finally:
            self.library.seccomp_release(context)
        return Reference(program, self.newest(profile, wanted))

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
        """runc's findLastSyscalls: the architecture, whether it is x32, to the largest number that is named."""
        if profile.default_action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"):
            return {}
        found = {}
        names = [name for call in profile.syscalls for name in call.names]
        for word in wanted:
            x32 = word == "SCMP_ARCH_X32"
            largest = max([self.number(word, name) for name in names], default=0)
            if largest > 0:
                found[X86_64 if x32 else TOKENS[word], x32] = largest
        return found


class Reference(NamedTuple):
    """libseccomp's program, and runc's stub in front of it."""

    program: list[Instruction]
    newest: dict[tuple[int, bool], int]

    def verdict(self, event: Event) -> int:
        x32 = event.audit == X86_64 and bool(event.number & X32_BIT)
        largest = self.newest.get((event.audit, x32))
        if largest is not None and event.number & 0xFFFFFFFF > largest:
            return ENOSYS
        return verdict(self.program, event)
