"""The words of linux.seccomp, what they mean to the kernel, and what is wrong with a profile.

Source: OCI runtime specification 1.3.0, config-linux.md, Seccomp; include/uapi/linux/seccomp.h, audit.h; what only runc
demands says so.
"""

from __future__ import annotations

from typing import NamedTuple

from libcontainer_py.errors import Problem
from libcontainer_py.kernel import constants
from libcontainer_py.memo import remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from libcontainer_py.spec.linux import Seccomp, Syscall, SyscallArg

ACTIONS = {
    "SCMP_ACT_KILL": constants.SECCOMP_RET_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": constants.SECCOMP_RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": constants.SECCOMP_RET_KILL_PROCESS,
    "SCMP_ACT_TRAP": constants.SECCOMP_RET_TRAP,
    "SCMP_ACT_ERRNO": constants.SECCOMP_RET_ERRNO,
    "SCMP_ACT_TRACE": constants.SECCOMP_RET_TRACE,
    "SCMP_ACT_ALLOW": constants.SECCOMP_RET_ALLOW,
    "SCMP_ACT_LOG": constants.SECCOMP_RET_LOG,
    "SCMP_ACT_NOTIFY": constants.SECCOMP_RET_USER_NOTIF,
}

OPERATORS = frozenset("SCMP_CMP_" + name for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))

FLAGS = {
    # of no use to an init that has one thread, and ends its others at execve: runc takes and ignores it too
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": constants.SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": constants.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": constants.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}

AUDIT_ARCH_X86_64 = 0xC000003E
AUDIT_ARCH_I386 = 0x40000003
AUDIT_ARCH_AARCH64 = 0xC00000B7
AUDIT_ARCH_ARM = 0x40000028
AUDIT_ARCH_RISCV64 = 0xC00000F3


class Comparison(NamedTuple):
    """What one argument must be like. `mask` is for MASKED_EQ, whose `value` is masked already."""

    argument: int
    operator: str
    value: int
    mask: int


class Architecture(NamedTuple):
    """An architecture that there is a table of system calls for."""

    table: str
    """Its name in plan.syscalls."""
    audit: int
    """What `struct seccomp_data` says of it."""
    wide: bool
    """Whether arguments are compared with all of their 64 bits."""


ARCHITECTURES: dict[str, Architecture | None] = {
    "SCMP_ARCH_X86": Architecture("i386", AUDIT_ARCH_I386, wide=False),
    "SCMP_ARCH_X86_64": Architecture("x86_64", AUDIT_ARCH_X86_64, wide=True),
    # registers of 64 bits; but an x32 program may leave anything in the upper half of an argument of 32 bits
    "SCMP_ARCH_X32": Architecture("x32", AUDIT_ARCH_X86_64, wide=False),
    "SCMP_ARCH_ARM": Architecture("arm", AUDIT_ARCH_ARM, wide=False),
    "SCMP_ARCH_AARCH64": Architecture("aarch64", AUDIT_ARCH_AARCH64, wide=True),
    "SCMP_ARCH_RISCV64": Architecture("riscv64", AUDIT_ARCH_RISCV64, wide=True),
    **dict.fromkeys(
        "SCMP_ARCH_" + name
        for name in (
            *("MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PPC", "PPC64", "PPC64LE", "S390"),
            *("S390X", "PARISC", "PARISC64", "LOONGARCH64", "M68K", "SH", "SHEB"),
        )
    ),
}
"""The specification's words. None: no table, so a profile's mention of it is passed over."""

_INTEL = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")
_ARM = ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")
MACHINES: dict[str, tuple[str, ...]] = {
    "x86_64": _INTEL,
    **dict.fromkeys(("i386", "i486", "i586", "i686"), _INTEL[1:2]),
    "aarch64": _ARM,
    **dict.fromkeys(("armv6l", "armv7l", "armv8l"), _ARM[1:]),
    "riscv64": ("SCMP_ARCH_RISCV64",),
}
"""Machine, as uname says, to the architectures of system calls that its kernel takes; its own comes first."""

_ERRNO_MAX = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 65535}
"""MAX_ERRNO, above which the kernel takes 4095; and all of SECCOMP_RET_DATA. Other actions have no such number."""

_EPERM = 1

_NOTIFY = "SCMP_ACT_NOTIFY"


def action(word: str, errno: int | None) -> int:
    """What a filter returns for an action. Raises KeyError."""
    value = ACTIONS[word]
    if word in _ERRNO_MAX:
        value |= _EPERM if errno is None else errno
    return value


def alternatives(call: Syscall) -> list[tuple[Comparison, ...]]:
    """When a rule holds: where all comparisons of one of these hold; those of each go up with the argument's index.

    A rule that compares one argument twice is split, as runc does: libseccomp takes no such rule.
    """
    compared = sorted(map(_comparison, call.args), key=lambda comparison: comparison.argument)
    if len({comparison.argument for comparison in compared}) < len(compared):
        return [(comparison,) for comparison in compared]
    return [tuple(compared)]


def _comparison(argument: SyscallArg) -> Comparison:
    if argument.op == "SCMP_CMP_MASKED_EQ":
        return Comparison(argument.index, argument.op, argument.value_two & argument.value, argument.value)
    return Comparison(argument.index, argument.op, argument.value, 0)


def notifies(profile: Seccomp) -> bool:
    """Whether the profile hands system calls to a listener."""
    return any(call.action == _NOTIFY for call in profile.syscalls)


@remembered
def problems(profile: Seccomp) -> tuple[Problem, ...]:
    """Everything that is wrong with the words and numbers of a profile."""
    return tuple(_problems(profile, "linux.seccomp"))


def _problems(profile: Seccomp, path: str) -> Iterator[Problem]:
    yield from _action(path, "defaultAction", profile.default_action, "defaultErrnoRet", profile.default_errno_ret)
    if profile.default_action == _NOTIFY:
        # init could not even send the listener's descriptor away; runc refuses it too
        yield Problem(f"{path}.defaultAction", "SCMP_ACT_NOTIFY cannot be the default action", _NOTIFY)
    for number, word in enumerate(profile.architectures):
        if word not in ARCHITECTURES:
            yield _unknown(f"{path}.architectures[{number}]", "architecture", word, ARCHITECTURES)
    for number, word in enumerate(profile.flags):
        if word not in FLAGS:
            yield _unknown(f"{path}.flags[{number}]", "flag", word, FLAGS)
        elif word == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" and not notifies(profile):
            # EINVAL from the kernel
            yield Problem(f"{path}.flags[{number}]", "needs a rule with SCMP_ACT_NOTIFY", word)
    if profile.listener_metadata is not None and profile.listener_path is None:
        yield Problem(f"{path}.listenerMetadata", "needs listenerPath", profile.listener_metadata)
    if notifies(profile) and profile.listener_path is None:
        yield Problem(f"{path}.listenerPath", "is required for SCMP_ACT_NOTIFY")
    for number, call in enumerate(profile.syscalls):
        yield from _syscall(f"{path}.syscalls[{number}]", call)
    yield from _conflicts(path, profile)


def _conflicts(path: str, profile: Seccomp) -> Iterator[Problem]:
    """Rules for one system call with the same comparisons and other actions; libseccomp and so runc refuse them too."""
    known: dict[tuple[str, tuple[Comparison, ...]], tuple[str, int | None]] = {}
    for number, call in enumerate(profile.syscalls):
        if not call.args:
            continue  # of those the first counts
        done = (call.action, call.errno_ret)
        for name in call.names:
            for comparisons in alternatives(call):
                if known.setdefault((name, comparisons), done) != done:
                    reason = f"another rule says {known[name, comparisons][0]} for the same arguments of {name}"
                    yield Problem(f"{path}.syscalls[{number}]", reason, call.action)


def _syscall(path: str, call: Syscall) -> Iterator[Problem]:
    if not call.names:
        yield Problem(f"{path}.names", "at least one name is required")
    for number, name in enumerate(call.names):
        if not name:
            yield Problem(f"{path}.names[{number}]", "is empty", name)
        elif name == "write" and call.action == _NOTIFY:
            # init writes to say that the listener's descriptor can be fetched; runc refuses it too
            yield Problem(f"{path}.names[{number}]", "SCMP_ACT_NOTIFY cannot be used for write", name)
    yield from _action(path, "action", call.action, "errnoRet", call.errno_ret)
    for number, argument in enumerate(call.args):
        yield from _argument(f"{path}.args[{number}]", argument)


def _argument(path: str, argument: SyscallArg) -> Iterator[Problem]:
    if argument.index > 5:
        yield Problem(f"{path}.index", "a system call has the arguments 0 to 5", argument.index)
    if argument.op not in OPERATORS:
        yield _unknown(f"{path}.op", "operator", argument.op, OPERATORS)


def _action(path: str, name: str, word: str, errno_name: str, errno: int | None) -> Iterator[Problem]:
    if word not in ACTIONS:
        yield _unknown(f"{path}.{name}", "action", word, ACTIONS)
    elif errno is not None:
        if word not in _ERRNO_MAX:  # "the runtime MUST print and error and fail"; runc ignores it
            yield Problem(f"{path}.{errno_name}", f"{word} returns no errno", errno)
        elif errno > _ERRNO_MAX[word]:
            yield Problem(f"{path}.{errno_name}", f"is larger than {_ERRNO_MAX[word]}", errno)


def _unknown(path: str, kind: str, word: str, known: Iterable[str]) -> Problem:
    return Problem(path, f"unknown {kind} {word!r}", word, "one of " + ", ".join(sorted(known)))
