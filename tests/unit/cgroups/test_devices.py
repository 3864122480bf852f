"""What device rules mean, against the program for v2 (run by an interpreter of BPF) and the orders for v1 (obeyed by a
model of that controller)."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libcontainer_py.cgroups.devicefilter import program
from libcontainer_py.cgroups.devices import DeviceRule, orders, with_defaults

EVERY = ("r", "w", "m", "rw", "rm", "wm", "rwm")
numbers = st.sampled_from([0, 1, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
DENY_ALL = DeviceRule(allow=False)
ALLOW_ALL = DeviceRule(allow=True)
rules = st.sampled_from([DENY_ALL, ALLOW_ALL]) | st.builds(
    DeviceRule,
    allow=st.booleans(),
    type=st.sampled_from("abc"),
    major=st.none() | numbers,
    minor=st.none() | numbers,
    access=st.sampled_from(EVERY),
)
# `runc spec` and its default devices, as runc 1.1.5 leaves them in devices.list
LIST_OF_RUNC = """\
b *:* m
c *:* m
c 1:3 rwm
c 1:5 rwm
c 1:7 rwm
c 1:8 rwm
c 1:9 rwm
c 5:0 rwm
c 5:2 rwm
c 10:200 rwm
c 136:* rwm
"""


def is_allowed(rules: list[DeviceRule], kind: str, major: int, minor: int, access: str) -> bool:
    """The specification, word for word: for each kind of access the last rule that matches; else no."""

    def letter_is_allowed(letter: str) -> bool:
        for rule in reversed(rules):
            if (
                rule.type in ("a", kind)
                and rule.major in (None, -1, major)
                and rule.minor in (None, -1, minor)
                and letter in rule.access
            ):
                return rule.allow
        return False

    return all(map(letter_is_allowed, access))


class Interpreter:
    """Runs the part of BPF that device programs use, and refuses what the kernel's verifier would refuse there."""

    def __init__(self, code: bytes) -> None:
        assert len(code) % 8 == 0
        self.code = [struct.unpack("=BBhi", code[at : at + 8]) for at in range(0, len(code), 8)]
        self.reached: set[int] = set()

    def run(self, kind: str, major: int, minor: int, access: str) -> int:
        wanted = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
        context = struct.pack("=III", wanted << 16 | {"b": 1, "c": 2}[kind], major, minor)
        registers: dict[int, int | bytes] = {1: context}
        at = 0
        while True:
            self.reached.add(at)
            code, both, offset, number = self.code[at]
            to, source = (both & 15, both >> 4) if sys.byteorder == "little" else (both >> 4, both & 15)
            at += 1
            if code == 0x95:
                result = registers[0]
                assert result in (0, 1)
                return int(result)
            if code == 0x61:
                memory = registers[source]
                assert isinstance(memory, bytes), "a load from what is no pointer"
                registers[to] = struct.unpack_from("=I", memory, offset)[0]
                continue
            if code == 0xB7:
                registers[to] = number
                continue
            if code == 0xBF:
                registers[to] = registers[source]
                continue
            value = registers[to]
            assert isinstance(value, int), "arithmetic on a pointer"
            if code == 0x57:
                registers[to] = value & (number & 0xFFFFFFFFFFFFFFFF)
            elif code == 0x77:
                registers[to] = value >> number
            elif code in (0x16, 0x56):
                assert offset >= 0, "a jump backwards"
                equal = value & 0xFFFFFFFF == number & 0xFFFFFFFF
                at += offset if equal == (code == 0x16) else 0
            else:
                raise AssertionError(f"instruction {code:#x} is not known here")


class V1:
    """The devices controller of v1: security/device_cgroup.c, as far as one cgroup under one that allows all."""

    def __init__(self) -> None:
        self.allow = True
        self.exceptions: dict[tuple[str, str, str], set[str]] = {}

    def write(self, file: str, text: str) -> None:
        allow = file == "devices.allow"
        assert allow or file == "devices.deny"
        if text == "a":
            self.allow = allow
            self.exceptions.clear()
            return
        kind, device, access = text.split(" ")
        major, minor = device.split(":")
        known = self.exceptions.setdefault((kind, major, minor), set())
        if allow == self.allow:
            known -= set(access)
        else:
            known |= set(access)
        if not known:
            del self.exceptions[kind, major, minor]

    def list(self) -> str:
        if self.allow:
            return "a *:* rwm\n"
        return "".join(
            f"{kind} {major}:{minor} {''.join(sorted(access, key='rwm'.index))}\n"
            for (kind, major, minor), access in self.exceptions.items()
        )

    def allows(self, kind: str, major: int, minor: int, letter: str) -> bool:
        matching = [
            access
            for (its, its_major, its_minor), access in self.exceptions.items()
            if its == kind and its_major in ("*", str(major)) and its_minor in ("*", str(minor))
        ]
        return self.allow != any(letter in access for access in matching)


probes = st.tuples(st.sampled_from("bc"), numbers, numbers, st.sampled_from(EVERY))


@given(st.lists(rules, max_size=6), st.lists(probes, min_size=1, max_size=10))
@example([DENY_ALL, DeviceRule(allow=True, type="c", major=1, minor=3, access="r")], [("c", 1, 3, "rw")])
@example([ALLOW_ALL, DeviceRule(allow=False, type="c", major=1, minor=3, access="w")], [("c", 1, 3, "rw")])
@example([DeviceRule(allow=True, type="b", major=-1, minor=0)], [("b", 3, 0, "m")])
def test_the_program_says_what_the_rules_mean(rules: list[DeviceRule], probes: list[tuple[str, int, int, str]]) -> None:
    interpreter = Interpreter(program(rules))
    for probe in probes:
        assert interpreter.run(*probe) == is_allowed(rules, *probe)


def test_every_instruction_of_a_program_can_be_reached() -> None:
    """The kernel's verifier refuses programs with dead code."""
    rules = [
        DeviceRule(allow=True, type="b"),
        DENY_ALL,
        *with_defaults([]),
        DeviceRule(allow=False, type="a", minor=77),
    ]
    interpreter = Interpreter(program(rules))
    for kind in "bc":
        for major in (0, 1, 5, 10, 136):
            for minor in (0, 2, 3, 5, 7, 8, 9, 77, 200):
                for access in EVERY:
                    interpreter.run(kind, major, minor, access)
    assert interpreter.reached == set(range(len(interpreter.code)))


@given(st.lists(rules, max_size=6), st.lists(rules, max_size=6), st.lists(probes, min_size=1, max_size=10))
def test_v1_is_told_what_the_rules_mean_or_they_are_refused(
    first: list[DeviceRule], second: list[DeviceRule], probes: list[tuple[str, int, int, str]]
) -> None:
    controller = V1()
    for rules in (first, second):
        try:
            for file, text in orders(controller.list(), rules):
                controller.write(file, text)
        except ValueError:
            return  # nothing was written: orders() has all of them or none
        for kind, major, minor, access in probes:
            for letter in access:
                assert controller.allows(kind, major, minor, letter) == is_allowed(rules, kind, major, minor, letter)


def test_the_default_rules_are_those_of_runc() -> None:
    controller = V1()
    told = orders(controller.list(), with_defaults([DENY_ALL]))
    for file, text in told:
        controller.write(file, text)
    assert controller.list() == LIST_OF_RUNC
    assert len(told) == 12  # deny all, and one for each line
    assert orders(LIST_OF_RUNC, with_defaults([DENY_ALL])) == []


def test_a_device_of_the_configuration_takes_the_place_of_the_default_one() -> None:
    assert DeviceRule(allow=True, type="c", major=1, minor=7) not in with_defaults([], {"/dev/full"})
    assert len(with_defaults([], {"/dev/full"})) == len(with_defaults([])) - 1


def test_between_two_lists_only_the_difference_is_written() -> None:
    more = DeviceRule(allow=True, type="b", major=8, minor=0, access="r")
    assert orders(LIST_OF_RUNC, with_defaults([DENY_ALL, more])) == [("devices.allow", "b 8:0 r")]
    assert orders(LIST_OF_RUNC + "b 8:0 rw\n", with_defaults([DENY_ALL, more])) == [("devices.deny", "b 8:0 w")]


@pytest.mark.parametrize(
    "rules",
    [
        [DENY_ALL, DeviceRule(allow=True, type="c", major=1), DeviceRule(allow=False, type="c", major=1, minor=3)],
        [ALLOW_ALL, DeviceRule(allow=False, type="b"), DeviceRule(allow=True, type="b", minor=3, access="r")],
    ],
)
def test_what_v1_cannot_express_is_refused(rules: list[DeviceRule]) -> None:
    with pytest.raises(ValueError, match="out of"):
        orders("a *:* rwm\n", rules)
    assert len(program(rules)) > 0
