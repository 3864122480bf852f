"""The program's AppArmor profile and SELinux label as steps. Source: config.md, Process.

They are written where /proc is the host's own, and count for what init executes next: a startContainer hook, which is a
program of the container, and the container's program itself. Hooks before that run as init does.
"""

from __future__ import annotations

from libcontainer_py.plan.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer_py.spec.config import Process


def steps(process: Process) -> Iterator[Step]:
    """What the kernel is told before pivot_root."""
    if process.apparmor_profile:
        yield Step("apparmor", (process.apparmor_profile,), "process.apparmorProfile")
    if process.selinux_label:
        yield Step("selinux", (process.selinux_label,), "process.selinuxLabel")


def keyring(process: Process | None, step: Step) -> Iterator[Step]:
    """The step that makes a keyring; with a label the keyring gets it, or the program could not use its own keyring."""
    label = process.selinux_label if process is not None else None
    if label:
        yield Step("key_label", (label,), "process.selinuxLabel")
    yield step
    if label:
        yield Step("key_label", ("",), "process.selinuxLabel")
