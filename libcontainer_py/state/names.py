"""Names under the root: ids of containers, and names of ours that no id can have.

A container's directory is its id. What this library keeps beside them begins with a comma, which may stand in no id:
`,lock` is the lock file, `,SLOT` (16 hexadecimal digits) a directory that is being made or removed.
"""

from __future__ import annotations

from libcontainer_py.errors import InvalidId

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-"
"""runc's characters of an id. Source: libcontainer/factory_linux.go, validateID."""
LONGEST = 255
"""NAME_MAX, bytes."""
LOCK = ",lock"


def check_id(container_id: object) -> None:
    """Raise InvalidId unless a container may have this id."""
    if not isinstance(container_id, str):
        raise InvalidId(container_id, f"must be a string, not {type(container_id).__name__}")
    if not container_id:
        raise InvalidId(container_id, "container id cannot be empty")
    if container_id in (".", ".."):
        raise InvalidId(container_id, "is the name of a directory itself, or of its parent")
    for place, character in enumerate(container_id):
        if character not in ALPHABET:
            raise InvalidId(container_id, f"has {character!r} at {place}; only A-Z a-z 0-9 _ + . - may stand in it")
    if len(container_id) > LONGEST:
        raise InvalidId(container_id, f"is too long: {len(container_id)} bytes, {LONGEST} at most")


def is_id(name: str) -> bool:
    """Whether a directory of this name can be a container's."""
    # strip takes every character of an id away, so that the first other one stays
    return name not in ("", ".", "..") and not name.strip(ALPHABET) and len(name) <= LONGEST


def slot_of(container_id: str) -> int:
    """The number that stands for an id in locks: 62 bits, the same in every process and version.

    FNV-1a, folded: loading hashlib costs 3 ms, this a few microseconds. Two ids of one slot exclude each other, no
    more.
    """
    number = 0xCBF29CE484222325
    for byte in container_id.encode():
        number = ((number ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return (number ^ (number >> 62)) & 0x3FFFFFFFFFFFFFFF


def remains_name(slot: int) -> str:
    """The name of a directory that is being made or removed, by whoever holds the slot's lock."""
    return f",{slot:016x}"


def slot_of_remains(name: str) -> int | None:
    """The slot of such a name; None: it is none."""
    digits = name[1:]
    if len(name) != 17 or name[0] != "," or digits.strip("0123456789abcdef"):
        return None
    slot = int(digits, 16)
    return slot if slot < 1 << 62 else None
