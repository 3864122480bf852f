"""`linux.resources.unified`: files of cgroup v2, and what to write into them. Source: config-linux.md, Unified."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libcontainer_py.cgroups.control import Controller


def apply(controller: Callable[[str], Controller], files: Mapping[str, str]) -> None:
    """Write each file, line by line, as the kernel wants those that have a line for each device."""
    for file, text in files.items():
        at = controller(file.partition(".")[0])
        for line in text.splitlines() or ["\n"]:  # nothing at all would be no write
            if file == "io.max":
                key, _, rest = line.partition(" ")
                at.write_keyed(f'unified["{file}"]', file, key, rest, reset="rbps=max wbps=max riops=max wiops=max")
            else:
                at.write(f'unified["{file}"]', file, line)


def refuse(at: Controller, files: Mapping[str, str]) -> None:
    """v1 has none of these files."""
    for file, text in files.items():
        reason = "this host has its controllers on cgroup v1"
        hint = "write it as a field of linux.resources"
        raise at.refusal(f'unified["{file}"]', text, reason, hint=hint, number=errno.EOPNOTSUPP)
