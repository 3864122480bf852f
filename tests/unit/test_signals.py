"""Signals by number and by name, as `Container.signal` takes them."""

from __future__ import annotations

import signal
import sys

import pytest

from libcontainer_py.process import signal_number


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, whose numbers they are")
def test_the_numbers_are_those_of_this_system() -> None:
    names = [name for name in dir(signal) if name.startswith("SIG") and not name.startswith("SIG_")]
    assert len(names) > 30
    for name in names:
        number = getattr(signal, name)
        assert signal_number(name) == signal_number(name[3:]) == signal_number(number) == number


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("term", 15),
        ("sigTerm", 15),
        ("15", 15),
        ("SIGRTMIN+3", 37),  # what ends systemd
        ("RTMIN+0", 34),
        ("RTMIN+30", 64),
        ("RTMAX-30", 34),
        (signal.SIGINT, 2),
        (64, 64),
    ],
)
def test_what_is_a_signal(given: int | str, number: int) -> None:
    assert signal_number(given) == number


@pytest.mark.parametrize(
    "given", ["", "SIG", "TERMINATE", "SIGSIGTERM", "0", "65", "-9", "9.0", "RTMIN-1", "RTMIN+31", "RTMAX+1", 0, -1, 65]
)
def test_what_is_none(given: int | str) -> None:
    with pytest.raises(ValueError, match="unknown signal") as caught:
        signal_number(given)
    assert repr(given) in str(caught.value)
    assert "HUP, INT, QUIT" in str(caught.value)


@pytest.mark.parametrize("given", [None, 9.0, b"TERM"])
def test_what_is_not_even_like_one(given: object) -> None:
    with pytest.raises(TypeError, match="a signal is a number or a name, not "):
        signal_number(given)  # type: ignore[arg-type]  # on purpose
