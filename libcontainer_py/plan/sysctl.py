"""Kernel parameters as steps: those that belong to a namespace of the container's own. Source: config-linux.md, Sysctl.

The specification leaves open which ones a runtime takes. A parameter of the whole machine is refused, as runc does:
a container must not set it for everybody.
"""

from __future__ import annotations

from libcontainer_py.plan.steps import Step
from libcontainer_py.spec.rules import sysctl_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer_py.spec import Spec


def steps(spec: Spec) -> Iterator[Step]:
    """One step for all."""
    if spec.linux is not None and spec.linux.sysctl:
        pairs = tuple((sysctl_path(name), value) for name, value in spec.linux.sysctl.items())
        yield Step("sysctl", (pairs,), "linux.sysctl")
