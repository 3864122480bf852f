"""What is mounted where. Source: proc(5), /proc/PID/mountinfo."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Mount(NamedTuple):
        """One line of mountinfo."""

        point: str
        fstype: str

else:
    from collections import namedtuple

    Mount = namedtuple("Mount", ("point", "fstype"))
    Mount.__doc__ = "One line of mountinfo: where it is mounted, and the type of the file system."


def mounts() -> "list[Mount]":
    """All mounts of this process' mount namespace below its root, in the order in which they were made."""
    found: list[Mount] = []
    with open("/proc/thread-self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            found.append(Mount(unescape(before.split(" ")[4]), after.split(" ")[0]))
    return found


def unescape(text: str) -> str:
    """A path as mountinfo writes it: blank, tab, newline and backslash are octal numbers."""
    for escaped, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escaped, character)
    return text
