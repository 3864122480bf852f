"""How a command ended: decided from facts, in one order."""

from __future__ import annotations

import itertools

import attrs
import pytest

from libcontainer_py import CommandFailed, Outcome, Result, Usage
from libcontainer_py.result import outcome_of

E, S, T, O, K = Outcome.EXITED, Outcome.SIGNALED, Outcome.TIMEOUT, Outcome.OOM, Outcome.KILLED  # noqa: E741  (a table)

# returncode: what it is by the facts
# (timed_out, killed): neither without and with an oom kill, killed by us, out of time, both
TABLE = {
    0: (E, E, K, T, T),
    3: (E, O, K, T, T),
    137: (E, O, K, T, T),  # a number that looks like a SIGKILL is an exit code
    -9: (S, O, K, T, T),
    -15: (S, O, K, T, T),
    -31: (S, O, K, T, T),
}
FACTS = (
    {"oom_kills": 0},
    {"oom_kills": 1},
    {"killed": True},
    {"timed_out": True},
    {"timed_out": True, "killed": True},
)


@pytest.mark.parametrize(
    ("returncode", "facts", "outcome"),
    [
        (returncode, facts, outcome)
        for returncode, row in TABLE.items()
        for facts, outcome in zip(FACTS, row, strict=True)
    ],
)
def test_the_table(returncode: int, facts: dict[str, int], outcome: Outcome) -> None:
    assert outcome_of(returncode=returncode, **facts) is outcome  # type: ignore[arg-type]  # as the table has them


@pytest.mark.parametrize("returncode", TABLE)
def test_the_facts_weigh_in_order(returncode: int) -> None:
    for timed_out, killed, kills in itertools.product((False, True), (False, True), (0, 1, 7)):
        found = outcome_of(returncode=returncode, timed_out=timed_out, killed=killed, oom_kills=kills)
        if timed_out:
            assert found is T
        elif killed:
            assert found is K
        elif kills and returncode:
            assert found is O
        else:
            assert found is (S if returncode < 0 else E)


def test_words() -> None:
    assert [str(one) for one in Outcome] == ["exited", "signaled", "timeout", "oom", "killed", "start_failed"]
    assert Outcome("oom") is Outcome.OOM


def result(returncode: int, outcome: Outcome = Outcome.EXITED) -> Result[bytes]:
    return Result(args=("x", "y"), returncode=returncode, stdout=b"o", stderr=b"e", outcome=outcome)


@pytest.mark.parametrize(("returncode", "signal"), [(0, None), (3, None), (137, None), (-9, 9), (-31, 31)])
def test_the_signal(returncode: int, signal: int | None) -> None:
    assert result(returncode).signal == signal


def test_a_result_is_a_frozen_value() -> None:
    assert result(0) == result(0)
    assert hash(result(0)) == hash(result(0))
    assert result(0) != result(1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        result(0).returncode = 1  # type: ignore[misc]  # that is the test


def test_what_is_not_said_is_nothing() -> None:
    one = result(0)
    assert (one.duration, one.usage, one.oom_kills, one.truncated) == (0.0, Usage(), 0, False)
    assert (one.usage.cpu_seconds, one.usage.peak_memory_bytes) == (0.0, 0)


@pytest.mark.parametrize(
    ("failed", "text"),
    [
        (result(3), "command 'x' failed with exit code 3"),
        (result(-9, Outcome.SIGNALED), "command 'x' failed with signal 9"),
        (result(137, Outcome.OOM), "command 'x' failed with exit code 137; memory was short"),
    ],
)
def test_check_returncode(failed: Result[bytes], text: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        failed.check_returncode()
    assert str(caught.value) == text
    assert caught.value.result is failed


def test_success_passes_the_check() -> None:
    result(0).check_returncode()
