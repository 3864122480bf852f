"""Seccomp profiles. Source: config-linux.md, Seccomp; seccomp_rule_add(3); seccomp(2) for what goes together."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs
from hypothesis import strategies as st

from libcontainer_py.spec import Seccomp, Syscall, SyscallArg
from libcontainer_py.testing.strategies.words import paths, same, some, texts, tuples

SYSCALLS = (
    *("read", "open", "openat", "close", "stat", "mmap", "mprotect", "brk", "ioctl", "access", "dup2", "getpid"),
    *("socket", "connect", "sendto", "clone", "clone3", "execve", "exit", "kill", "uname", "fcntl", "mkdir", "chmod"),
    *("ptrace", "personality", "mount", "umount2", "setns", "unshare", "keyctl", "bpf", "futex", "openat2", "statx"),
)
"""Calls that most architectures have; some have only a part of them, so a compiler must pass over the others."""

ARCHITECTURES = tuple(f"SCMP_ARCH_{name}" for name in ("X86_64", "X86", "X32", "AARCH64", "ARM", "RISCV64", "S390X"))
_PLAIN = tuple(f"SCMP_ACT_{name}" for name in ("ALLOW", "LOG", "KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"))
_NUMBERED = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
"""The actions that take a number; for others it is an error. Source: config-linux.md, errnoRet."""
_NOTIFY = "SCMP_ACT_NOTIFY"
_FLAGS = ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW")
_TSYNC = "SECCOMP_FILTER_FLAG_TSYNC"
_WAIT_KILLABLE = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
_OPERATORS = tuple(f"SCMP_CMP_{name}" for name in ("EQ", "NE", "LT", "LE", "GE", "GT"))

_words = st.integers(0, 255) | st.integers(0, 2**64 - 1)
_errors = st.integers(0, 4095)
"""MAX_ERRNO of the kernel is 4095; it cuts larger ones down to it."""


_places = {"index": st.integers(0, 5), "value": _words}
_arguments = some(SyscallArg, {**_places, "op": st.sampled_from(_OPERATORS)}, {}) | some(
    # here `value` is the mask
    SyscallArg,
    {**_places, "op": st.just("SCMP_CMP_MASKED_EQ"), "value_two": _words},
    {},
)


def _rules(*others: str) -> st.SearchStrategy[tuple[Syscall, ...]]:
    names = tuples(st.sampled_from(SYSCALLS), min_size=1, max_size=4, unique_by=same)
    args = {"args": tuples(_arguments)}
    plain = some(Syscall, {"names": names, "action": st.sampled_from((*_PLAIN, *others))}, args)
    numbered = some(Syscall, {"names": names, "action": st.sampled_from(_NUMBERED)}, {"errno_ret": _errors, **args})
    return tuples(plain | numbered, max_size=4)


_LISTENER = {"listener_path": paths, "syscalls": _rules(_NOTIFY)}
_OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "architectures": tuples(st.sampled_from(ARCHITECTURES), max_size=3, unique_by=same),
    "flags": tuples(st.sampled_from((*_FLAGS, _TSYNC, _WAIT_KILLABLE)), max_size=4, unique_by=same),
}


def _fitting(profile: Seccomp) -> Seccomp:
    """WAIT_KILLABLE_RECV needs a listener, TSYNC excludes one. Source: seccomp(2)."""
    listens = any(rule.action == _NOTIFY for rule in profile.syscalls)
    wrong = _TSYNC if listens else _WAIT_KILLABLE
    return attrs.evolve(profile, flags=tuple(flag for flag in profile.flags if flag != wrong))


@cache
def seccomp_profiles(*, notify: bool = True) -> st.SearchStrategy[Seccomp]:
    """Profiles that are right: every action, operator and flag, arguments 0 to 5, several architectures.

    A number goes with ERRNO and TRACE alone, a second value with MASKED_EQ alone. NOTIFY is never the default, and
    comes with a listenerPath, as do metadata and WAIT_KILLABLE_RECV; none of the four is there where `notify` is false.
    Rules may contradict or repeat each other, and may say what the default says.
    """
    optional = {**_OPTIONAL, "syscalls": _rules()}
    plain = {"default_action": st.sampled_from(_PLAIN)}
    numbered = {"default_action": st.sampled_from(_NUMBERED)}
    found = some(Seccomp, plain, optional) | some(Seccomp, numbered, {**optional, "default_errno_ret": _errors})
    if notify:
        found |= some(Seccomp, {**plain, **_LISTENER}, {**_OPTIONAL, "listener_metadata": texts.filter(bool)})
    return found.map(_fitting)
