"""What is written down of one container: plain values that every backend and store shares.

No status stands here: a status is observed, never stored (see `lifecycle`). NamedTuples, because they lie on the path
of `Factory.load(id).status`, which loads no attrs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NamedTuple
else:
    from libcontainer_py.plain import NamedTuple


class Init(NamedTuple):
    """A process that cannot be mistaken for another: its pid and when it started.

    `start` counts clock ticks since boot: field 22 of /proc/PID/stat. Source: proc(5).
    """

    pid: int
    start: int


class Record(NamedTuple):
    """One container, as its state.json tells it."""

    id: str
    directory: str
    """The container's state directory, absolute."""
    bundle: str
    """The bundle's directory, absolute; "" where the writer did not say."""
    rootfs: str
    """The root file system, absolute, as the runtime sees it."""
    created: str
    """When it was created: RFC 3339, UTC, nanoseconds."""
    oci_version: str
    annotations: Mapping[str, str]
    init: Init
    cgroup_paths: Mapping[str, str]
    """Controller to the absolute path of its cgroup directory; the key "" is cgroup v2. Empty: no cgroups."""
    private_pid_namespace: bool
    """Whether init is pid 1 of a pid namespace of its own: killing it then kills all of them."""
    ours: bool
    """Whether this library wrote it; runc's containers ran their poststart hooks at create."""
    hooks: Mapping[str, list[Any]]
    """Hooks still to run, as state.json keeps them: kind to a list of {path, args, env, dir, timeout (ns)}."""
    document: Mapping[str, Any]
    """The whole of state.json, with keys that we do not know, to be written back as they were."""
    resctrl: tuple[str, ...] = ()
    """Directories in resctrl that end with a container of runc's; those of ours are in the document."""


class Intent(NamedTuple):
    """What a create is about to make, written down before it is made, so that anybody can undo it."""

    creator: Init
    boot_id: str
    """/proc/sys/kernel/random/boot_id: after a reboot nothing of it can be alive."""
    pid_namespace: int
    """st_ino of the creator's pid namespace: pids mean nothing elsewhere."""
    cgroups: Mapping[str, int]
    """Each cgroup directory that we shall make: path to its st_ino once *we* made it, 0 before."""
    init: Init | None = None
    die_with_parent: bool = False
    """Whether the container was to end with its creator."""


class Failure(NamedTuple):
    """Why the program did not run, as init wrote it through the fifo. Untrusted."""

    step: str
    errno: int
    text: str


class Swept(NamedTuple):
    """What `Factory.sweep()` did with one thing that a crash left behind."""

    id: str
    path: str
    """The directory in question."""
    removed: bool
    reason: str
    """Why it was removed, or why it was left alone."""
