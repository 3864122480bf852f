"""Trees of comparisons as BPF: what they return, also where jumps are long, and what is left out."""

from __future__ import annotations

import random

import pytest

from libcontainer_py.plan.decisions import (
    ARCHITECTURE,
    ARGUMENTS,
    EQUAL,
    GREATER,
    GREATER_OR_EQUAL,
    NUMBER,
    Decisions,
    Test,
    assemble,
    knowing,
    pack,
)
from tests.seccomp import Event, check, decoded, verdict

YES, NO = 1, 2


def test_a_bare_action() -> None:
    assert assemble(7) == [(0x06, 0, 0, 7)]
    assert pack(assemble(7)) == b"\x06\0\0\0\x07\0\0\0" or pack(assemble(7)) == b"\0\x06\0\0\0\0\0\x07"


def test_one_test() -> None:
    program = assemble(Decisions().test(NUMBER, EQUAL, 39, YES, NO))
    assert len(program) == 4
    assert verdict(program, Event(0, 39)) == YES
    assert verdict(program, Event(0, 40)) == NO


@pytest.mark.parametrize("operator", [EQUAL, GREATER, GREATER_OR_EQUAL])
@pytest.mark.parametrize("word", [0, 4, 5, 6, 2**32 - 1])
def test_operators(operator: int, word: int) -> None:
    program = assemble(Decisions().test(NUMBER, operator, 5, YES, NO))
    holds = {EQUAL: word == 5, GREATER: word > 5, GREATER_OR_EQUAL: word >= 5}[operator]
    assert verdict(program, Event(0, word)) == (YES if holds else NO)


def test_equal_tests_are_one() -> None:
    decisions = Decisions()
    assert decisions.test(0, EQUAL, 1, YES, NO) is decisions.test(0, EQUAL, 1, YES, NO)


def test_what_need_not_be_asked_is_not() -> None:
    decisions = Decisions()
    inner = decisions.test(NUMBER, EQUAL, 1, YES, NO)
    assert decisions.test(NUMBER, EQUAL, 3, YES, YES) == YES
    assert decisions.test(NUMBER, GREATER_OR_EQUAL, 0, YES, NO) == YES
    assert decisions.test(NUMBER, GREATER, 2**32 - 1, YES, NO) == NO
    assert decisions.test(NUMBER, EQUAL, 1, 3, inner) == decisions.test(NUMBER, EQUAL, 1, 3, NO)
    assert decisions.test(NUMBER, EQUAL, 1, inner, 3) == decisions.test(NUMBER, EQUAL, 1, YES, 3)
    # it is 2, so it is not 1
    assert decisions.test(NUMBER, EQUAL, 2, inner, 3) == decisions.test(NUMBER, EQUAL, 2, NO, 3)


def test_what_is_known_of_a_masked_word() -> None:
    decisions = Decisions()
    masked = decisions.test(NUMBER, EQUAL, 0x10, YES, NO, mask=0x10)
    assert knowing(masked, NUMBER, 0x11) == YES
    assert knowing(masked, NUMBER, 0x10, mask=0x30) == YES
    assert knowing(masked, NUMBER, 0x20, mask=0x20) is masked  # that says nothing of 0x10
    assert knowing(masked, ARCHITECTURE, 0x11) is masked


def test_a_word_is_loaded_once_on_each_way() -> None:
    decisions = Decisions()
    program = assemble(decisions.ranges(NUMBER, [(0, YES), (5, NO), (6, YES), (100, 3), (200, 4)]))
    assert [code for code, *_ in program].count(0x20) == 1


def test_a_masked_word_is_loaded_again_when_all_of_it_is_needed() -> None:
    decisions = Decisions()
    whole = decisions.test(ARGUMENTS, EQUAL, 0x12, YES, NO)
    masked = decisions.test(ARGUMENTS, EQUAL, 0x10, 3, whole, mask=0x30)
    program = assemble(masked)
    for word, expected in ((0x10, 3), (0x12, 3), (0x32, NO), (0x02, NO)):
        assert verdict(program, Event(0, 0, (word, 0, 0, 0, 0, 0))) == expected
    assert [code for code, *_ in program].count(0x20) == 2


@pytest.mark.parametrize(("first", "second"), [(0xF0, 0x0F), (0x0F, 0xF0)])
def test_another_mask_is_applied_to_a_fresh_word(first: int, second: int) -> None:
    decisions = Decisions()
    inner = decisions.test(ARGUMENTS, EQUAL, 0x44 & second, YES, NO, mask=second)
    program = assemble(decisions.test(ARGUMENTS, EQUAL, 0x33 & first, 3, inner, mask=first))
    for word in (0x33, 0x44, 0x43, 0x34, 0x00):
        expected = 3 if word & first == 0x33 & first else YES if word & second == 0x44 & second else NO
        assert verdict(program, Event(0, 0, (word, 0, 0, 0, 0, 0))) == expected


@pytest.mark.parametrize("operator", [EQUAL, GREATER, GREATER_OR_EQUAL])
@pytest.mark.parametrize("word", [4, 5, 6])
def test_what_is_known_of_a_word(operator: int, word: int) -> None:
    asked = Decisions().test(NUMBER, operator, 5, YES, NO)
    assert knowing(asked, NUMBER, word) == verdict(assemble(asked), Event(0, word))


def test_numbers_that_interrupt_a_range_cost_one_test_each() -> None:
    decisions = Decisions()
    program = assemble(decisions.ranges(NUMBER, [(0, YES), (5, NO), (6, 3), (7, YES), (9, 4), (10, YES)]))
    assert [verdict(program, Event(0, n)) for n in range(12)] == [1, 1, 1, 1, 1, 2, 3, 1, 1, 4, 1, 1]
    assert [code for code, *_ in program].count(0x15) == 3
    assert [code for code, *_ in program].count(0x35) == 0


@pytest.mark.parametrize("count", [1, 2, 3, 100, 700])
@pytest.mark.parametrize("actions", [2, 5, 700])
def test_ranges(count: int, actions: int) -> None:
    rng = random.Random(count * 1000 + actions)
    bounds = sorted({0, *(rng.randrange(4000) for _ in range(count - 1))})
    starts = [(start, rng.randrange(actions)) for start in bounds]
    program = assemble(Decisions().ranges(NUMBER, list(starts)))
    check(program)
    expected = -1
    inside = dict(starts)
    for number in range(4001):
        expected = inside.get(number, expected)
        assert verdict(program, Event(0, number)) == expected


def test_long_jumps() -> None:
    # every test leads to one far away, and to an action that the others have not
    decisions = Decisions()
    last = decisions.test(ARGUMENTS, EQUAL, 1, 9001, 9002)
    decision = last
    for number in range(600):
        inner = decisions.test(ARGUMENTS + 8, EQUAL, number, last, number)
        decision = decisions.test(NUMBER, EQUAL, number, inner, decision)
    program = assemble(decision)
    check(program)
    assert any(code == 0x05 for code, *_ in program)
    for number in (0, 1, 254, 255, 256, 257, 599, 600):
        for first in (0, 1):
            for second in (number, 601):
                expected = 9001 if first == 1 else 9002
                if second != number and number < 600:
                    expected = number
                assert verdict(program, Event(0, number, (first, second, 0, 0, 0, 0))) == expected


def test_shared_tests_are_written_once() -> None:
    decisions = Decisions()
    shared = decisions.test(ARGUMENTS, EQUAL, 1, YES, NO)
    assert isinstance(shared, Test)
    left = decisions.test(ARGUMENTS + 8, EQUAL, 1, shared, 3)
    program = assemble(decisions.test(NUMBER, EQUAL, 1, left, shared))
    assert sum(k == ARGUMENTS for code, _, _, k in program if code == 0x20) == 1
    assert decoded(pack(program)) == program
