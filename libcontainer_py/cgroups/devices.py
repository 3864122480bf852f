"""Device rules: what they mean, and how each version of cgroups is told.

A list of rules is read in order, and for each kind of access (read, write, mknod) the last rule that matches decides;
where none does, it is denied. v2 gets a program that says exactly this (`devicefilter`). v1 knows one default and a set
of exceptions from it, so a rule that takes something out of a wider exception cannot be expressed there; it is refused,
not approximated. An access of several kinds, as open(2) with O_RDWR, v1 grants only where one exception has them all.

Source: runtime-spec, config-linux.md, Allowed Device List; Documentation/admin-guide/cgroup-v1/devices.rst.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from typing import NamedTuple
else:
    from libcontainer_py.plain import NamedTuple

EVERY = frozenset("rwm")


class DeviceRule(NamedTuple):
    """One rule, as `linux.resources.devices` has it: `type` a, b or c, `access` out of rwm; None matches any number."""

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


_DEFAULTS: tuple[tuple[str, DeviceRule], ...] = (
    ("", DeviceRule(allow=True, type="c", access="m")),
    ("", DeviceRule(allow=True, type="b", access="m")),
    ("/dev/null", DeviceRule(allow=True, type="c", major=1, minor=3)),
    ("/dev/random", DeviceRule(allow=True, type="c", major=1, minor=8)),
    ("/dev/full", DeviceRule(allow=True, type="c", major=1, minor=7)),
    ("/dev/tty", DeviceRule(allow=True, type="c", major=5, minor=0)),
    ("/dev/zero", DeviceRule(allow=True, type="c", major=1, minor=5)),
    ("/dev/urandom", DeviceRule(allow=True, type="c", major=1, minor=9)),
    ("", DeviceRule(allow=True, type="c", major=136)),  # /dev/pts
    ("", DeviceRule(allow=True, type="c", major=5, minor=2)),  # /dev/ptmx
    ("", DeviceRule(allow=True, type="c", major=10, minor=200)),  # /dev/net/tun
)


def with_defaults(rules: Iterable[DeviceRule], replaced: Container[str] = ()) -> list[DeviceRule]:
    """The rules of a configuration, and after them those that every container gets, so that these cannot be denied.

    `replaced` are the paths of `linux.devices`: a device there takes the place of the default one of that path. The
    list is runc 1.1's (specconv.AllowedDevices): engines rely also on what the specification does not list.
    """
    return [*rules, *(rule for path, rule in _DEFAULTS if not path or path not in replaced)]


class _Match(NamedTuple):
    """Which devices an exception is for; -1 is any number. Sorts as runc sorts them."""

    major: int
    minor: int
    type: str

    def overlaps(self, other: _Match) -> bool:
        return (
            self.type == other.type
            and (self.major == other.major or -1 in (self.major, other.major))
            and (self.minor == other.minor or -1 in (self.minor, other.minor))
        )

    def covers(self, other: _Match) -> bool:
        return self.type == other.type and self.major in (-1, other.major) and self.minor in (-1, other.minor)

    def __str__(self) -> str:
        major, minor = ("*" if number < 0 else str(number) for number in (self.major, self.minor))
        return f"{self.type} {major}:{minor}"


class _Exceptions:
    """A default, and the accesses for which the opposite holds: all that v1 can express."""

    def __init__(self) -> None:
        self.allow = False
        self.known: dict[_Match, frozenset[str]] = {}

    def add(self, rule: DeviceRule) -> None:
        if is_for_all(rule):
            self.allow = rule.allow
            self.known.clear()
            return
        access = frozenset(rule.access)
        for kind in _types(rule):
            match = _Match(number_or_any(rule.major), number_or_any(rule.minor), kind)
            if rule.allow != self.allow:
                self.known[match] = self.known.get(match, frozenset()) | access
            else:
                self._take_out(match, access)

    def _take_out(self, match: _Match, access: frozenset[str]) -> None:
        for other, known in list(self.known.items()):
            if match.covers(other):
                if known - access:
                    self.known[other] = known - access
                else:
                    del self.known[other]
            elif match.overlaps(other) and known & access:
                verb = "allowed" if self.allow else "denied"
                raise ValueError(f"{match} cannot be {verb} out of {other}, which an earlier rule names as a whole")


def orders(current: str, rules: Iterable[DeviceRule]) -> list[tuple[str, str]]:
    """What to write to v1 so that `rules` hold: (file, text) pairs, as few as possible.

    `current` is the text of devices.list. Between two lists of allowed devices nothing is denied in passing that both
    allow. Raises ValueError for rules that v1 cannot express.
    """
    wanted = _Exceptions()
    for rule in rules:
        wanted.add(rule)
    exception, default = ("devices.deny", "devices.allow") if wanted.allow else ("devices.allow", "devices.deny")
    lines = current.split("\n")
    had: dict[_Match, frozenset[str]] = {}
    result: list[tuple[str, str]] = []
    if wanted.allow or "a *:* rwm" in lines:
        # a list that allows by default does not show its exceptions
        result.append((default, "a"))
    else:
        had = dict(map(_parse, filter(None, lines)))
    for match, access in sorted(had.items()):
        result += _order(default, match, access - wanted.known.get(match, frozenset()))
    for match, access in sorted(wanted.known.items()):
        result += _order(exception, match, access - had.get(match, frozenset()))
    return result


def _order(file: str, match: _Match, access: frozenset[str]) -> list[tuple[str, str]]:
    return [(file, f"{match} {_letters(access)}")] if access else []


def _parse(line: str) -> tuple[_Match, frozenset[str]]:
    kind, numbers, access = line.split()
    major, _, minor = numbers.partition(":")
    return _Match(int(major.replace("*", "-1")), int(minor.replace("*", "-1")), kind), frozenset(access)


def _letters(access: Iterable[str]) -> str:
    return "".join(sorted(access, key="rwm".index))


def number_or_any(number: int | None) -> int:
    """A major or minor number of a rule; -1 is any, as in runc's state."""
    return -1 if number is None or number < 0 else number


def _types(rule: DeviceRule) -> str:
    return "bc" if rule.type == "a" else rule.type


def is_for_all(rule: DeviceRule) -> bool:
    """Whether a rule decides about everything, so that those before it do not matter."""
    everything = rule.type == "a" and number_or_any(rule.major) < 0 and number_or_any(rule.minor) < 0
    return everything and frozenset(rule.access) == EVERY
