"""Words to flags and arguments, as Go's command lines read them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer_py import spec
from libcontainer_py.cli import completion, limits, text, usage
from libcontainer_py.cli.commands import COMMANDS
from libcontainer_py.cli.flags import NUMBER, SECONDS, SWITCH, TEXT, TEXTS, Flag, UsageError, parse, seconds

FLAGS = (
    Flag(("force", "f"), SWITCH, ""),
    Flag(("bundle", "b"), TEXT, "", "here"),
    Flag(("env", "e"), TEXTS, ""),
    Flag(("preserve-fds",), NUMBER, ""),
    Flag(("interval",), SECONDS, "", "5s"),
)


def test_one_dash_or_two_and_a_value_either_way() -> None:
    for words in (["--bundle", "x", "id"], ["-bundle=x", "id"], ["-b", "x", "id"], ["id", "--b=x"]):
        parsed = parse(words, FLAGS)
        assert (parsed.text("bundle"), parsed.words) == ("x", ["id"])


def test_what_is_not_given() -> None:
    parsed = parse([], FLAGS)
    assert (parsed.on("force"), parsed.text("bundle"), parsed.texts("env")) == (False, "here", [])
    assert (parsed.number("preserve-fds"), parsed.seconds("interval"), parsed.given("force")) == (0, 5.0, False)


def test_switches_and_what_is_repeated() -> None:
    parsed = parse(
        ["-f=false", "-e", "A=b", "--env=C=d", "--force", "--preserve-fds", "3", "--interval", "1m30s"], FLAGS
    )
    assert parsed.on("force")
    assert parsed.texts("env") == ["A=b", "C=d"]
    assert (parsed.number("preserve-fds"), parsed.seconds("interval")) == (3, 90.0)


def test_where_flags_end() -> None:
    assert parse(["id", "--", "-f"], FLAGS).words == ["id", "-f"]
    stopped = parse(["-f", "id", "ls", "-f", "--bad"], FLAGS, stop=True)
    assert (stopped.on("force"), stopped.words) == (True, ["id", "ls", "-f", "--bad"])
    assert parse(["-"], FLAGS).words == ["-"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--bad"], "flag provided but not defined: -bad"),
        (["--bundle"], "flag needs an argument: -bundle"),
        (["--force=maybe"], 'invalid boolean value "maybe" for -force'),
        (["--preserve-fds", "x"], 'invalid value "x" for flag -preserve-fds'),
        (["--interval", "5"], 'invalid value "5" for flag -interval'),
    ],
)
def test_what_makes_no_sense(words: list[str], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words, FLAGS)
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("written", "expected"), [("0", 0), ("1.5h", 5400), ("100ms", 0.1), ("-2s", -2), ("1h2m3s", 3723), ("7us", 7e-6)]
)
def test_durations(written: str, expected: float) -> None:
    assert seconds(written) == pytest.approx(expected)


@pytest.mark.parametrize("written", ["", "s", "5", "5x", "5 s", "--5s"])
def test_no_durations(written: str) -> None:
    with pytest.raises(ValueError, match=r"\A"):
        seconds(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("512", 512), ("64m", 64 << 20), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("-1", -1), ("10kb", 10240), ("7 b", 7)],
)
def test_sizes(written: str, expected: int) -> None:
    assert limits.size(written) == expected


@pytest.mark.parametrize("written", ["", "m", "-2", "1z", "1mm"])
def test_no_sizes(written: str) -> None:
    with pytest.raises(ValueError, match=r"\A"):
        limits.size(written)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_json_is_json(value: object) -> None:
    assert json.loads(text.line(value)) == value
    assert json.loads(text.indented(value)) == value
    assert not {"<", ">", "&"}.intersection(text.line(value))


def test_tables() -> None:
    assert text.table([("ID", "PID", "X"), ("a-long-identifier", "1", "y")]) == (
        "ID                  PID         X\na-long-identifier   1           y\n"
    )


def test_every_flag_has_one_meaning_in_its_command() -> None:
    for name, command in COMMANDS.items():
        names = [one for flag in command.flags for one in flag.names]
        assert len(names) == len(set(names)), name
        assert command.least <= command.most


def test_the_version_of_the_specification_is_that_of_spec() -> None:
    assert usage.OCI_VERSION == spec.VERSION


def test_each_shell_knows_all_commands() -> None:
    for script in (completion.bash(), completion.zsh(), completion.fish()):
        assert all(name in script for name in COMMANDS)
