"""GVariant's text form."""

from __future__ import annotations

import pytest

from libcontainer_py.cgroups.gvariant import parse, split


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("true", ("b", True)),
        (" false ", ("b", False)),
        ("boolean true", ("b", True)),
        ("7", ("i", 7)),
        ("-7", ("i", -7)),
        ("+7", ("i", 7)),
        ("0x1F", ("i", 31)),
        ("-0x10", ("i", -16)),
        ("0", ("i", 0)),
        ("017", ("i", 15)),
        ("1.5", ("d", 1.5)),
        (".5", ("d", 0.5)),
        ("1e3", ("d", 1000.0)),
        ("inf", ("d", float("inf"))),
        ("-inf", ("d", float("-inf"))),
        ("double 7", ("d", 7.0)),
        ("byte 255", ("y", 255)),
        ("int16 -32768", ("n", -32768)),
        ("uint16 65535", ("q", 65535)),
        ("uint32 0xffffffff", ("u", 2**32 - 1)),
        ("int64 -9223372036854775808", ("x", -(2**63))),
        ("uint64 123456789", ("t", 123456789)),
        ("uint64 18446744073709551615", ("t", 2**64 - 1)),
        ("@t 7", ("t", 7)),
        ("handle 0", ("h", 0)),
        ("'inactive-or-failed'", ("s", "inactive-or-failed")),
        ('"it\'s"', ("s", "it's")),
        (r"'a\'b\\c\n\u00e9\U0001f600'", ("s", "a'b\\c\n\u00e9\U0001f600")),
        ("string 'x'", ("s", "x")),
        ("objectpath '/a/b_1'", ("o", "/a/b_1")),
        ("objectpath '/'", ("o", "/")),
        ("signature 'a{sv}'", ("g", "a{sv}")),
        ("b'ab'", ("ay", [97, 98, 0])),
        ("['a', 'b']", ("as", ["a", "b"])),
        ("@as []", ("as", [])),
        ("[uint64 1, 2]", ("at", [1, 2])),
        ("@at [1, 2]", ("at", [1, 2])),
        ("[[1], [2, 3]]", ("aai", [[1], [2, 3]])),
        ("('a', uint32 1, true)", ("(sub)", ("a", 1, True))),
        ("(1,)", ("(i)", (1,))),
        ("@a(ss) []", ("a(ss)", [])),
        ("[('/dev/null', 'rw')]", ("a(ss)", [("/dev/null", "rw")])),
        ("{'a': 1, 'b': 2}", ("a{si}", {"a": 1, "b": 2})),
        ("{'a': <1>, 'b': <'x'>}", ("a{sv}", {"a": ("i", 1), "b": ("s", "x")})),
        ("@a{sv} {}", ("a{sv}", {})),
        ("@a{sa{sv}} {'a': {'b': <true>}}", ("a{sa{sv}}", {"a": {"b": ("b", True)}})),
        ("<uint64 7>", ("v", ("t", 7))),
        ("@v <7>", ("v", ("i", 7))),
        ("[<1>, <'a'>]", ("av", [("i", 1), ("s", "a")])),
    ],
)
def test_parse(text: str, found: object) -> None:
    assert parse(text) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a value is missing"),
        ("   ", "a value is missing"),
        ("inactive", "'inactive' is no value"),
        ("'open", "begins no value"),
        ("7 8", "'8' is too much"),
        ("byte 256", "256 is no number from 0 to 255"),
        ("uint64 -1", "-1 is no number from 0 to"),
        ("2147483648", "no number from"),
        ("7x", "'7x' is no number"),
        ("uint64 1.5", "'1.5' is no number"),
        ("uint64 'a'", "a string cannot be of type 't'"),
        ("string 7", "a number cannot be of type 's'"),
        ("boolean 1", "a number cannot be of type 'b'"),
        ("uint64", "'uint64' is no value"),
        ("@t true", "it is of type 'b', not 't'"),
        ("@z 7", "'z' is no type"),
        ("@ii 7", "'ii' is not one type"),
        ("@a{vs} {}", "is no type"),
        ("@() ()", "D-Bus has no empty tuple"),
        ("()", "D-Bus has no empty tuple"),
        ("[]", "an empty array needs its type"),
        ("{}", "an empty dictionary needs its type"),
        ("[1, 'a']", "a string cannot be of type 'i'"),
        ("[1", "',' is missing at the end"),
        ("[1 2]", "',' is missing before '2'"),
        ("@ai (1,)", "a tuple cannot be of type 'ai'"),
        ("@(ii) (1,)", "has more items"),
        ("@(i) (1, 2)", "has fewer items"),
        ("@(i) [1]", "an array cannot be of type"),
        ("@as {}", "a dictionary cannot be of type"),
        ("{[1]: 2}", "a key is a string"),
        ("objectpath 'a'", "is no object path"),
        ("signature 'z'", "is no type"),
        (r"'a\u0000'", "no NUL"),
        ("nothing", "'nothing' is no value"),
        ("<1", "'>' is missing at the end"),
        ("[" * 60, "nested too deeply"),
    ],
)
def test_what_is_no_value(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)
    assert why in str(caught.value)


def test_split() -> None:
    assert split("sa(sv)a{sas}t") == ["s", "a(sv)", "a{sas}", "t"]
