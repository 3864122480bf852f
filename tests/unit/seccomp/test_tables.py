"""The tables of system calls, and that the default profile has decided on every name in them."""

from __future__ import annotations

import ctypes
import itertools
import os
import sys

import pytest

from libcontainer_py.kernel.constants import SYSCALLS
from libcontainer_py.plan import default_seccomp as profile
from libcontainer_py.plan.syscalls import ARCHITECTURES, table
from libcontainer_py.spec.seccomp import ARCHITECTURES as ARCHITECTURE_WORDS
from libcontainer_py.spec.seccomp import MACHINES
from tests.seccomp import Libseccomp

WORDS = {
    "x86_64": "SCMP_ARCH_X86_64",
    "i386": "SCMP_ARCH_X86",
    "x32": "SCMP_ARCH_X32",
    "aarch64": "SCMP_ARCH_AARCH64",
    "arm": "SCMP_ARCH_ARM",
    "riscv64": "SCMP_ARCH_RISCV64",
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_libseccomp_knows_the_same_numbers(architecture: str) -> None:
    try:
        library = Libseccomp()
    except OSError:
        pytest.skip("libseccomp.so.2 is missing: apt-get install libseccomp2")
    theirs = {name: library.number(WORDS[architecture], name) for name in table(architecture)}
    known = {name: number for name, number in theirs.items() if number >= 0}
    assert len(known) > 300
    assert known == {name: table(architecture)[name] for name in known}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_number_has_two_names(architecture: str) -> None:
    by_number = sorted((number, name) for name, number in table(architecture).items())
    assert [(one, other) for (number, one), (same, other) in itertools.pairwise(by_number) if number == same] == (
        [("arm_sync_file_range", "sync_file_range2")] if architecture == "arm" else []
    )


def test_an_unknown_architecture_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match="vax"):
        table("vax")


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", "x86_64"), ("i686", "i386"), ("aarch64", "aarch64"), ("armv7l", "arm"), ("riscv64", "riscv64")],
)
def test_the_calls_that_we_make_have_the_same_numbers(machine: str, architecture: str) -> None:
    ours = SYSCALLS[machine]
    assert ours == {name: table(architecture)[name] for name in ours}


def test_the_default_profile_has_decided_on_every_name_once() -> None:
    names = set[str]().union(*map(table, ARCHITECTURES))
    decided = [profile.ALLOWED, set(profile.CLOSED), profile.MISSING, profile.CONDITIONAL]
    assert names - set[str]().union(*decided) == set(), "a new system call: decide on it in default_seccomp.py"
    assert set[str]().union(*decided) - names == set(), "misspelt, or gone"
    assert [one & other for one, other in itertools.combinations(decided, 2) if one & other] == []


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine not in MACHINES, reason="needs Linux and a table")
def test_getpid_is_what_the_table_says() -> None:
    architecture = ARCHITECTURE_WORDS[MACHINES[os.uname().machine][0]]
    assert architecture is not None
    assert ctypes.CDLL(None).syscall(table(architecture.table)["getpid"]) == os.getpid()
