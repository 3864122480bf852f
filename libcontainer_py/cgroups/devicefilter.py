"""Device rules as a BPF program, which is how cgroup v2 is told. Loaded on first use, because it loads ctypes.

Source: Documentation/admin-guide/cgroup-v2.rst, Device controller; include/uapi/linux/bpf.h, struct bpf_cgroup_dev_ctx.
"""

from __future__ import annotations

import os

from libcontainer_py.cgroups.devices import EVERY, is_for_all, number_or_any
from libcontainer_py.kernel import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from libcontainer_py.cgroups.devices import DeviceRule

_ACCESS = {"r": bpf.DEVCG_ACC_READ, "w": bpf.DEVCG_ACC_WRITE, "m": bpf.DEVCG_ACC_MKNOD}
_TYPES = {"b": bpf.DEVCG_DEV_BLOCK, "c": bpf.DEVCG_DEV_CHAR}


def program(rules: Iterable[DeviceRule]) -> bytes:
    """The BPF program that says what `rules` mean: 1 allows an access, 0 denies it.

    It goes through the rules from the last to the first. r3 holds the kinds of access that no rule has decided yet: a
    rule that denies one of them ends with 0, one that allows some takes them away, and with none left it ends with 1.
    """
    # struct bpf_cgroup_dev_ctx { u32 access_type: access << 16 | type; u32 major; u32 minor; }
    code = [bpf.load(2, 1, 0), bpf.move(3, 2), bpf.shift_right_by(3, 16), bpf.and_with(2, 0xFFFF)]
    code += [bpf.load(4, 1, 4), bpf.load(5, 1, 8)]
    for rule in reversed(list(rules)):
        verdict = [bpf.move_number(0, int(rule.allow)), bpf.leave()]
        if is_for_all(rule):
            return b"".join([*code, *verdict])
        if frozenset(rule.access) == EVERY:
            block = verdict
        else:
            mask = sum(_ACCESS[letter] for letter in frozenset(rule.access))
            if rule.allow:
                block = [bpf.and_with(3, 7 & ~mask), bpf.jump_unless_equal(3, 0, 2), *verdict]
            else:
                block = [bpf.move(1, 3), bpf.and_with(1, mask), bpf.jump_if_equal(1, 0, 2), *verdict]
        conditions = [
            (5, number_or_any(rule.minor)),
            (4, number_or_any(rule.major)),
            (2, -1 if rule.type == "a" else _TYPES[rule.type]),
        ]
        for register, number in conditions:
            if number >= 0:
                block = [bpf.jump_unless_equal(register, number, len(block)), *block]
        code += block
    return b"".join([*code, bpf.move_number(0, 0), bpf.leave()])


def attach(directory: int, code: bytes) -> None:
    """Make `code` the device program of a v2 cgroup, in place of those it has. Raises OSError.

    There is no moment without one: the old ones are detached after the new one is there, and as long as there are
    several all must agree to an access.
    """
    old: list[int] = []
    try:
        for number in bpf.prog_query(directory, bpf.CGROUP_DEVICE):
            try:
                old.append(bpf.prog_get_fd_by_id(number))
            except (FileNotFoundError, PermissionError):
                pass  # detached meanwhile; or another's by a security label, and then it only denies more
        new = bpf.prog_load(bpf.PROG_TYPE_CGROUP_DEVICE, code, b"libcontainer_py")
        try:
            bpf.prog_attach(directory, new, bpf.CGROUP_DEVICE, bpf.F_ALLOW_MULTI)
        finally:
            os.close(new)
        for program in old:
            bpf.prog_detach(directory, program, bpf.CGROUP_DEVICE)
    finally:
        for descriptor in old:
            os.close(descriptor)
