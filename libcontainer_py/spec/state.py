"""The state of a container, as hooks read it on their standard input, `state` prints it and seccomp agents receive it.

Source: OCI runtime specification 1.3.0, runtime.md, State; config-linux.md, The Container Process State.
"""

from __future__ import annotations

import attrs

from libcontainer_py.lifecycle import Status
from libcontainer_py.spec.codec import ALWAYS, REQUIRED, Node, strings, texts
from libcontainer_py.spec.config import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py.spec.codec import Int64


@attrs.frozen(kw_only=True)
class State(Node):
    """A container at one moment. `pid` is init's as the runtime sees it, 0 where it is gone; `bundle` is absolute."""

    oci_version: str = attrs.field(default=VERSION, metadata=REQUIRED)
    id: str
    status: Status = attrs.field(converter=Status)
    pid: Int64 = attrs.field(default=0, metadata=ALWAYS)
    bundle: str
    annotations: Mapping[str, str] = attrs.field(factory=dict[str, str], converter=texts, hash=False)


@attrs.frozen(kw_only=True)
class ContainerProcessState(Node):
    """What goes to the socket at linux.seccomp.listenerPath, together with the descriptors that `fds` names.

    `pid` is the container process as the runtime sees it, `metadata` the profile's listenerMetadata.
    """

    oci_version: str = attrs.field(default=VERSION, metadata=REQUIRED)
    fds: tuple[str, ...] = attrs.field(default=(), converter=strings, metadata=ALWAYS)
    pid: Int64
    metadata: str | None = None
    state: State
