"""Who maps the ids of a new user namespace, and how. Source: config-linux.md, User namespace mappings.

Root writes any map. An ordinary user may write one that has his own id alone, and no other; for a range he needs
newuidmap and newgidmap, which look into /etc/subuid and /etc/subgid. Where he writes the map of groups himself,
setgroups must be denied first. Source: user_namespaces(7), newuidmap(1).
"""

from __future__ import annotations

from libcontainer_py.plan import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from libcontainer_py.plan.steps import HostFacts, Maps
    from libcontainer_py.spec.linux import IDMapping, Linux


def is_own(mappings: Sequence[IDMapping], own: int) -> bool:
    """Whether a map has nothing but one id, the user's own."""
    return [(one.host_id, one.size) for one in mappings] == [(own, 1)]


def maps(linux: Linux, facts: HostFacts) -> Maps:
    """uid_map and gid_map of a new user namespace, whether setgroups is to be denied, and the programs to map with."""
    pairs = ((linux.uid_mappings, facts.uid, facts.newuidmap), (linux.gid_mappings, facts.gid, facts.newgidmap))
    uids, gids = ("" if not facts.uid or is_own(mappings, own) else program for mappings, own, program in pairs)
    return (*mounts.id_maps(linux), bool(facts.uid and not gids), (uids, gids))


def owner(linux: Linux, facts: HostFacts) -> tuple[int, int]:
    """The user and group that exec.fifo can be given to: on the host, the root of a new user namespace.

    An ordinary user gives nothing away; what is his everybody may write to, and only init gets at it.
    """
    if facts.uid:
        return facts.uid, facts.gid
    return _root(linux.uid_mappings), _root(linux.gid_mappings)


def _root(mappings: Sequence[IDMapping]) -> int:
    for one in mappings:
        if one.container_id == 0:
            return one.host_id
    return 0
