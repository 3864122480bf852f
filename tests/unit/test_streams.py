"""The logic of streams, without a descriptor: what is kept, what is waited for, when it is over."""

from __future__ import annotations

import subprocess
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer_py.streams import CHUNK, DEVNULL, PIPE, STDOUT, Capture, Exchange


def test_the_words_are_those_of_subprocess() -> None:
    assert (PIPE, STDOUT, DEVNULL) == (subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL)


@given(chunks=st.lists(st.binary()), limit=st.integers(0, 50))
def test_a_capture_keeps_the_first_bytes(chunks: list[bytes], limit: int) -> None:
    capture = Capture(limit)
    for chunk in chunks:
        capture.take(chunk)
    everything = b"".join(chunks)
    assert capture.value() == everything[:limit]
    assert capture.dropped == len(everything[limit:])


def test_a_capture_without_a_limit() -> None:
    capture = Capture(None)
    capture.take(b"a" * 100_000)
    capture.take(b"b")
    assert (len(capture.value()), capture.dropped) == (100_001, 0)


def test_without_streams_it_is_over() -> None:
    assert Exchange().over


def test_it_is_over_when_all_outputs_have_ended() -> None:
    exchange = Exchange(outputs=["stdout", "stderr"])
    assert exchange.reading == ("stdout", "stderr")
    exchange.received("stdout", b"x")
    assert exchange.reading == ("stdout", "stderr")
    exchange.received("stdout", b"")
    assert (exchange.reading, exchange.over) == (("stderr",), False)
    exchange.received("stderr", b"")
    assert exchange.over


def test_it_is_not_over_before_standard_input_is_closed() -> None:
    exchange = Exchange(given=b"", outputs=["stdout"])
    exchange.received("stdout", b"")
    assert exchange.writing
    assert not exchange.over
    assert len(exchange.chunk()) == 0  # so it is to be closed
    exchange.closed()
    assert exchange.over


@given(data=st.data())
def test_input_goes_out_in_order_and_whole(data: st.DataObject) -> None:
    given = data.draw(st.binary(max_size=30))
    exchange = Exchange(given=given)
    written = b""
    while chunk := exchange.chunk():
        count = data.draw(st.integers(1, len(chunk)))
        written += chunk[:count]
        exchange.wrote(count)
    assert written == given


def test_no_chunk_is_larger_than_a_pipe() -> None:
    assert len(Exchange(given=bytes(10 * CHUNK)).chunk()) == CHUNK


def test_input_that_nobody_reads_is_dropped() -> None:
    exchange = Exchange(given=b"abc")
    exchange.closed()
    assert (len(exchange.chunk()), exchange.writing, exchange.over) == (0, False, True)


def test_giving_up() -> None:
    exchange = Exchange(given=b"abc", outputs=["stdout", "stderr"])
    exchange.give_up()
    assert (exchange.reading, exchange.writing, exchange.over) == ((), False, True)


@pytest.mark.parametrize(
    ("deadline", "now", "left"), [(10.0, 7.5, 2.5), (10.0, 10.0, 0.0), (10.0, 12.0, 0.0), (inf, 12.0, inf)]
)
def test_the_deadline(deadline: float, now: float, left: float) -> None:
    assert Exchange(deadline=deadline).left(now) == left


def test_no_deadline_is_the_default() -> None:
    assert Exchange().left(1e9) == inf
