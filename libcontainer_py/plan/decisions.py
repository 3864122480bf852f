"""Decisions over the words of a system call, as a classic BPF program for seccomp(2).

A decision is an action, the number that the program is to return, or a `Test`: a comparison of one 32-bit word of
`struct seccomp_data`, with the decision for yes and the one for no. `Decisions` makes tests, never the same one twice,
and leaves out those whose answer follows from another; `assemble` lays them out::

    decisions = Decisions()
    only_getpid = decisions.test(NUMBER, EQUAL, 39, yes=ALLOW, no=KILL)
    program = assemble(decisions.test(ARCHITECTURE, EQUAL, AUDIT_ARCH_X86_64, yes=only_getpid, no=KILL))

The program is laid out from its end to its beginning, so that the length of each jump is known when it is written, and
jumps go forward only, as BPF demands. A conditional jump reaches 255 instructions; where that is not enough, the return
is written once more nearby, or a BPF_JA takes over. A word is loaded only where the accumulator does not hold it yet.

Source: Documentation/userspace-api/seccomp_filter.rst and include/uapi/linux/bpf_common.h of Linux; bpf(4) of the BSDs.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

# struct seccomp_data { int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6]; }
NUMBER = 0
ARCHITECTURE = 4
ARGUMENTS = 16

EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K, unsigned
GREATER_OR_EQUAL = 0x35  # BPF_JMP | BPF_JGE | BPF_K, unsigned

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
_RETURN = 0x06  # BPF_RET | BPF_K

WHOLE = 0xFFFFFFFF
"""The mask that masks nothing."""

_REACH = 255
"""How many instructions a conditional jump can skip."""

_EXCEPTIONS = 4
"""How far a range may be interrupted by single numbers, see `Decisions.ranges`."""


class Test:
    """A comparison of the word at `offset`, masked, with `number`; `yes` and `no` are decisions.

    `entries` are where `assemble` put its instructions, for those who arrive with nothing, with the word or with the
    masked word in the accumulator; counted from the end of the program.
    """

    __slots__ = ("entries", "mask", "no", "number", "offset", "operator", "yes")
    __test__ = False  # pytest looks at classes of this name

    def __init__(self, offset: int, mask: int, operator: int, number: int, yes: Decision, no: Decision) -> None:
        self.offset: int = offset
        self.mask: int = mask
        self.operator: int = operator
        self.number: int = number
        self.yes: Decision = yes
        self.no: Decision = no
        self.entries: tuple[int, int, int] = (-1, -1, -1)

    def asks(self, offset: int, mask: int, operator: int, number: int) -> bool:
        """Whether it is this comparison."""
        return self.number == number and self.offset == offset and self.operator == operator and self.mask == mask


if TYPE_CHECKING:
    Decision: TypeAlias = Test | int


class Decisions:
    """Makes tests; equal ones are one object."""

    def __init__(self) -> None:
        self.made: dict[tuple[int, int, int, int, Decision, Decision], Test] = {}

    def test(
        self, offset: int, operator: int, number: int, yes: Decision, no: Decision, *, mask: int = WHOLE
    ) -> Decision:
        """The decision between `yes` and `no`. That is one of the two itself where nothing needs to be asked."""
        if isinstance(yes, Test):
            if operator == EQUAL:
                yes = knowing(yes, offset, number, mask=mask)
            while isinstance(yes, Test) and yes.asks(offset, mask, operator, number):
                yes = yes.yes
        while isinstance(no, Test) and no.asks(offset, mask, operator, number):
            no = no.no
        if yes == no or (operator == GREATER_OR_EQUAL and not number):
            return yes
        if operator == GREATER and number == WHOLE:
            return no
        key = (offset, mask, operator, number, yes, no)
        found = self.made.get(key)
        if found is None:
            self.made[key] = found = Test(*key)
        return found

    def ranges(self, offset: int, starts: list[tuple[int, Decision]]) -> Decision:
        """The decision for the range that a word lies in: a balanced tree.

        `starts` has the first number of each range, ascending from 0, and its decision; a range ends before the next.
        """
        return self._between(offset, [*self._with_exceptions(offset, starts)])

    def _with_exceptions(self, offset: int, starts: list[tuple[int, Decision]]) -> Iterator[tuple[int, Decision]]:
        """Fewer ranges: single numbers that only interrupt a range are tests for equality inside of it.

        Each saves a test, for it would take two to find it by its bounds; but they stand in a row, so they are few.
        """
        first = 0
        while first < len(starts):
            start, usual = starts[first]
            end = first + 1
            last = first
            while end < len(starts) and end - last <= _EXCEPTIONS:
                if starts[end][1] == usual:
                    last = end
                    if end - first > _EXCEPTIONS:
                        break
                elif end + 1 == len(starts) or starts[end + 1][0] != starts[end][0] + 1:
                    break
                end += 1
            decision = usual
            for number, exception in reversed(starts[first : last + 1]):
                if exception != usual:
                    decision = self.test(offset, EQUAL, number, exception, decision)
            yield start, decision
            first = last + 1

    def _between(self, offset: int, starts: list[tuple[int, Decision]]) -> Decision:
        if len(starts) == 1:
            return starts[0][1]
        middle = len(starts) // 2
        above = self._between(offset, starts[middle:])
        below = self._between(offset, starts[:middle])
        return self.test(offset, GREATER_OR_EQUAL, starts[middle][0], above, below)


def knowing(decision: Decision, offset: int, number: int, *, mask: int = WHOLE) -> Decision:
    """What is left of a decision where the word, or what `mask` leaves of it, is known to be `number`."""
    while isinstance(decision, Test) and decision.offset == offset and decision.mask & ~mask == 0:
        word = number & decision.mask
        if decision.operator == EQUAL:
            holds = word == decision.number
        elif decision.operator == GREATER:
            holds = word > decision.number
        else:
            holds = word >= decision.number
        decision = decision.yes if holds else decision.no
    return decision


def assemble(decision: Decision) -> list[tuple[int, int, int, int]]:
    """The instructions that come to a decision: code, jt, jf, k of each `struct sock_filter`."""
    layout = _Layout()
    if not isinstance(decision, Test):
        layout.leave(decision)
        return layout.code
    tests = _children_first(decision)
    arrivals = dict.fromkeys(map(id, tests), _COMPARE)  # with what in the accumulator somebody arrives, at the least
    arrivals[id(decision)] = _LOAD_FIRST
    for test in tests:
        for child in (test.yes, test.no):
            if isinstance(child, Test):
                arrivals[id(child)] = min(arrivals[id(child)], _arrival(test, child))
    for test in tests:
        layout.place(test, arrivals[id(test)])
    return layout.code[::-1]


def pack(code: list[tuple[int, int, int, int]]) -> bytes:
    """The array of `struct sock_filter` in this machine's byte order."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _children_first(root: Test) -> list[Test]:
    """All tests that can be reached, each after those that it leads to."""
    order: list[Test] = []
    seen: set[int] = set()
    path: list[tuple[Test, bool]] = [(root, False)]
    while path:
        test, finished = path.pop()
        if finished:
            order.append(test)
        elif id(test) not in seen:
            seen.add(id(test))
            path.append((test, True))
            path += [(child, False) for child in (test.no, test.yes) if isinstance(child, Test)]
    return order


class _Layout:
    """A program under way. `code` begins with the last instruction; a place is an index into it."""

    def __init__(self) -> None:
        self.code: list[tuple[int, int, int, int]] = []
        self.returns: dict[int, int] = {}  # the latest return of each action
        self.relays: dict[int, int] = {}  # the latest BPF_JA to a place

    def leave(self, action: int) -> int:
        """Write a return. Returns its place."""
        self.code.append((_RETURN, 0, 0, action))
        self.returns[action] = len(self.code) - 1
        return len(self.code) - 1

    def place(self, test: Test, arrival: int) -> None:
        """Write a test, before all that it leads to, with what must be done first for the poorest arrival."""
        yes = self.near(test, test.yes)
        no = self.near(test, test.no)
        here = len(self.code)
        self.code.append((test.operator, here - 1 - yes, here - 1 - no, test.number))
        if arrival == _COMPARE:
            test.entries = (here, here, here)
            return
        masking = here
        if test.mask != WHOLE:
            self.code.append((_AND, 0, 0, test.mask))
            masking += 1
        loading = masking
        if arrival == _LOAD_FIRST:
            self.code.append((_LOAD, 0, 0, test.offset))
            loading += 1
        test.entries = (loading, masking, here)

    def near(self, source: Test, target: Decision) -> int:
        """A place that leads to the target, and is in reach of a jump written here or one instruction later."""
        if isinstance(target, Test):
            entry = target.entries[_arrival(source, target)]
            place = self.relays.get(entry, entry)
            if place < len(self.code) - _REACH:
                place = self.relays[entry] = len(self.code)
                self.code.append((_JUMP, 0, 0, place - 1 - entry))
            return place
        place = self.returns.get(target, -1 - _REACH)
        return place if place >= len(self.code) - _REACH else self.leave(target)


# What somebody brings along who arrives at a test, and so where he enters it: an index into `Test.entries`.
_LOAD_FIRST = 0
_MASK_FIRST = 1
_COMPARE = 2


def _arrival(source: Test, target: Test) -> int:
    """How one arrives at `target` from `source`, whose word is in the accumulator."""
    if source.offset != target.offset or source.mask not in (WHOLE, target.mask):
        return _LOAD_FIRST
    return _COMPARE if source.mask == target.mask else _MASK_FIRST
