"""The profile of the sandbox: what is closed, what is open, and that no bits lead past it."""

from __future__ import annotations

import random

import attrs
import pytest

from libcontainer_py.plan.default_seccomp import ALLOWED, CLOSED, MISSING, default_seccomp
from libcontainer_py.plan.seccomp import compile_filter
from libcontainer_py.plan.syscalls import table
from tests.seccomp import (
    AARCH64,
    ALLOW,
    ARM,
    ENOSYS,
    I386,
    KILL,
    RISCV64,
    X32_BIT,
    X86_64,
    Event,
    Libseccomp,
    check,
    decoded,
    errno_of,
    verdict,
)

EPERM, EAFNOSUPPORT = errno_of(1), errno_of(97)
EVERYWHERE = [
    ("x86_64", X86_64, "x86_64"),
    ("x86_64", I386, "i386"),
    ("aarch64", AARCH64, "aarch64"),
    ("aarch64", ARM, "arm"),
    ("riscv64", RISCV64, "riscv64"),
    ("i686", I386, "i386"),
    ("armv7l", ARM, "arm"),
]

everywhere = pytest.mark.parametrize(("machine", "audit", "name"), EVERYWHERE)


def asked(machine: str, audit: int, number: int, *args: int) -> int:
    program = decoded(compile_filter(default_seccomp(), machine).program)
    return verdict(program, Event(audit, number, (*args, *(0,) * (6 - len(args)))))


@everywhere
def test_every_call_fares_as_its_list_says(machine: str, audit: int, name: str) -> None:
    check(decoded(compile_filter(default_seccomp(), machine).program))
    fares = {call: asked(machine, audit, number, 2**64 - 1, 2**64 - 1) for call, number in table(name).items()}
    assert {call for call, returned in fares.items() if returned == ALLOW} >= ALLOWED & fares.keys()
    assert {call for call, returned in fares.items() if returned == EPERM} >= CLOSED.keys() & fares.keys()
    assert {call for call, returned in fares.items() if returned == ENOSYS} >= MISSING & fares.keys()
    assert asked(machine, audit, max(number for number in table(name).values() if number < 0xF0000) + 1) == ENOSYS


@pytest.mark.parametrize(
    "call",
    (
        "keyctl add_key request_key bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register "
        "kexec_load init_module finit_module delete_module mount umount2 pivot_root move_mount open_tree fsopen "
        "mount_setattr setns open_by_handle_at settimeofday clock_settime reboot swapon acct quotactl syslog chroot"
    ).split(),
)
def test_closed(call: str) -> None:
    for machine, audit, name in EVERYWHERE:
        if call in table(name):
            assert asked(machine, audit, table(name)[call]) == EPERM


@everywhere
@pytest.mark.parametrize("flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
def test_no_new_namespaces(machine: str, audit: int, name: str, flag: int) -> None:
    # from glibc's fork: CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD; from its threads: 0x3d0f00
    for usual in (0x01200011, 0x003D0F00, 0x00004111):
        assert asked(machine, audit, table(name)["clone"], usual) == ALLOW
        assert asked(machine, audit, table(name)["clone"], usual | flag) == EPERM
        assert asked(machine, audit, table(name)["clone"], usual | flag | 1 << 32) == EPERM
    assert asked(machine, audit, table(name)["unshare"], 0x400) == ALLOW  # CLONE_FILES
    assert asked(machine, audit, table(name)["unshare"], 0x400 | flag) == EPERM
    assert asked(machine, audit, table(name)["clone3"]) == ENOSYS


@everywhere
def test_no_new_time_namespace(machine: str, audit: int, name: str) -> None:
    assert asked(machine, audit, table(name)["unshare"], 0x80) == EPERM


@everywhere
@pytest.mark.parametrize("upper", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_terminals_and_sockets_whatever_the_upper_half(machine: str, audit: int, name: str, upper: int) -> None:
    numbers = table(name)
    for command, returned in ((0x5412, EPERM), (0x541C, EPERM), (0x5401, ALLOW), (0x5413, ALLOW), (0, ALLOW)):
        assert asked(machine, audit, numbers["ioctl"], 1, upper | command) == returned
    for family, returned in ((38, EAFNOSUPPORT), (40, EAFNOSUPPORT), (1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW)):
        assert asked(machine, audit, numbers["socket"], upper | family) == returned


def test_socketcall_makes_no_sockets_but_pairs() -> None:
    number = table("i386")["socketcall"]
    fares = [asked("x86_64", I386, number, subcall) for subcall in range(1, 21)]
    assert fares[0] == EAFNOSUPPORT
    assert set(fares[1:]) == {ALLOW}
    assert asked("x86_64", I386, number, 21) == ENOSYS


@everywhere
def test_personality(machine: str, audit: int, name: str) -> None:
    number = table(name)["personality"]
    assert all(asked(machine, audit, number, value) == ALLOW for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF))
    # READ_IMPLIES_EXEC, ADDR_NO_RANDOMIZE, MMAP_PAGE_ZERO
    assert all(asked(machine, audit, number, value) == EPERM for value in (0x400000, 0x40000, 0x100000))


def test_x32_is_killed() -> None:
    assert asked("x86_64", X86_64, X32_BIT) == KILL


def test_libseccomp_reads_it_the_same() -> None:
    # for x86_64 alone: on i386 it refuses rules on the family of sockets, because socketcall has none
    try:
        library = Libseccomp()
    except OSError:
        pytest.skip("libseccomp.so.2 is missing: apt-get install libseccomp2")
    calls = [attrs.evolve(call, names=filter(library.knows, call.names)) for call in default_seccomp().syscalls]
    profile = attrs.evolve(default_seccomp(), architectures=(), syscalls=[call for call in calls if call.names])
    reference = library.filter(profile)
    program = decoded(compile_filter(profile, "x86_64").program)
    rng = random.Random(0)
    edges = [0, 1, 8, 38, 40, 0x80, 0x5412, 0x541C, 0x20000, 0x7E020000, 0x01200011, 0xFFFFFFFF]
    edges += [edge | 1 << 32 for edge in edges]
    for number in [*range(480), *(table("x86_64")[name] for name in ("clone", "ioctl", "socket", "unshare") * 50)]:
        for _ in range(5):
            event = Event(X86_64, number, tuple(rng.choice(edges) for _ in range(6)))
            assert verdict(program, event) == reference.verdict(event), event
