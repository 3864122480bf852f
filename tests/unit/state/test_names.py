"""Ids, and the names beside them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from libcontainer_py.errors import InvalidId
from libcontainer_py.state.names import LOCK, check_id, is_id, remains_name, slot_of, slot_of_remains

GOOD = ["a", "A-b_c+d.e", "0", "...", ".hidden", "-", "x" * 255]
BAD = ["", ".", "..", "a/b", "/", "a b", "a,b", ",lock", "ä", "a\0b", "a\n", "x" * 256, "x" * 300, "é" * 10, "\udcff"]


@pytest.mark.parametrize("container_id", GOOD)
def test_good_ids(container_id: str) -> None:
    check_id(container_id)
    assert is_id(container_id)


@pytest.mark.parametrize("container_id", BAD)
def test_bad_ids(container_id: str) -> None:
    assert not is_id(container_id)
    with pytest.raises(InvalidId) as caught:
        check_id(container_id)
    assert caught.value.container_id == container_id
    assert isinstance(caught.value, ValueError)


def test_the_reasons_say_what_is_wrong() -> None:
    def reason(container_id: object) -> str:
        with pytest.raises(InvalidId) as caught:
            check_id(container_id)
        return str(caught.value)

    assert reason("") == "container id cannot be empty"
    assert "too long: 300 bytes" in reason("x" * 300)
    assert "'/' at 1" in reason("a/b")
    assert "'ä' at 0" in reason("ä")
    assert "must be a string, not int" in reason(7)
    assert "must be a string, not bytes" in reason(b"a")


def test_no_name_of_ours_is_an_id() -> None:
    assert not is_id(LOCK)
    assert not is_id(remains_name(slot_of("a")))


@pytest.mark.parametrize("container_id", GOOD)
def test_remains_carry_their_slot(container_id: str) -> None:
    slot = slot_of(container_id)
    assert 0 <= slot < 1 << 62
    assert slot_of_remains(remains_name(slot)) == slot


@pytest.mark.parametrize(
    "name",
    ["", ",", LOCK, "a", ",123", ",zzzzzzzzzzzzzzzz", ",ffffffffffffffff", ",+000000000000001", "x0000000000000000"],
)
def test_what_is_no_remains(name: str) -> None:
    assert slot_of_remains(name) is None


def test_slots_are_the_same_in_every_process_and_version() -> None:
    # FNV-1a of "a" is 0xaf63dc4c8601ec8c: https://datatracker.ietf.org/doc/html/draft-eastlake-fnv
    hashed = 0xAF63DC4C8601EC8C
    assert slot_of("a") == (hashed ^ (hashed >> 62)) & ((1 << 62) - 1)
    code = "from libcontainer_py.state.names import slot_of; print(slot_of('a'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == slot_of("a")


def test_slots_differ() -> None:
    ids = [f"container-{number}" for number in range(20_000)]
    assert len({slot_of(container_id) for container_id in ids}) == len(ids)
