"""Whole configurations, with the rules between their sections kept."""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs
from hypothesis import strategies as st

from libcontainer_py.spec import (
    Device,
    IntelRdt,
    Linux,
    MemoryPolicy,
    Namespace,
    NetDevice,
    Personality,
    Root,
    Seccomp,
    Spec,
    TimeOffset,
    User,
    seccomp,
    validate,
)
from libcontainer_py.testing.strategies.limits import drawn
from libcontainer_py.testing.strategies.mounts import borrowers, mappings, mounts
from libcontainer_py.testing.strategies.process import hooks, processes
from libcontainer_py.testing.strategies.profiles import seccomp_profiles
from libcontainer_py.testing.strategies.words import (
    ids,
    names,
    paths,
    ranges,
    relative_paths,
    same,
    some,
    texts,
    tuples,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_SYSCTLS = {
    "network": ("net.ipv4.ip_forward", "net.core.somaxconn", "net.ipv4.ip_unprivileged_port_start"),
    "ipc": ("kernel.shmmax", "kernel.msgmax", "fs.mqueue.msg_max"),
    "uts": ("kernel.domainname",),
}
"""Settings that belong to a namespace. Source: namespaces(7), ipc_namespaces(7)."""


@cache
def _namespaces() -> st.SearchStrategy[tuple[Namespace, ...]]:
    """A new mount namespace, and some of the others, new or joined."""
    # One choice for each kind, always the same number: that shrinks better than a list.
    choices = [st.sampled_from(_choices(kind)) for kind in sorted(validate.NAMESPACES - {"mount"})]
    return st.tuples(*choices).map(lambda found: (Namespace(type="mount"), *(one for one in found if one)))


def _choices(kind: str) -> list[Namespace | None]:
    new = Namespace(type=kind)
    return [None, None, new, new, Namespace(type=kind, path=f"/proc/1234/ns/{kind[:3]}")]


def _devices() -> st.SearchStrategy[tuple[Device, ...]]:
    numbers = {"major": st.integers(0, 4095), "minor": st.integers(0, 2**20 - 1)}  # of dev_t, as the kernel has it
    optional = {"file_mode": st.integers(0, 0o777), "uid": ids, "gid": ids}
    place = names.map("/dev/".__add__) | paths
    nodes = some(Device, {"path": place, "type": st.sampled_from("cbu"), **numbers}, optional)
    fifos = some(Device, {"path": place, "type": st.just("p")}, optional)
    return tuples(nodes | fifos, unique_by=attrgetter("path"))


def _memory_policies() -> st.SearchStrategy[MemoryPolicy]:
    """Source: set_mempolicy(2) for which modes take nodes, and which flags."""
    modes = {
        "MPOL_BIND": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES", "MPOL_F_NUMA_BALANCING"],
        **{
            f"MPOL_{name}": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]
            for name in ("INTERLEAVE", "WEIGHTED_INTERLEAVE", "PREFERRED", "PREFERRED_MANY")
        },
    }
    bare = some(MemoryPolicy, {"mode": st.sampled_from(["MPOL_DEFAULT", "MPOL_LOCAL"])}, {})
    return st.one_of(
        bare,
        *(
            some(
                MemoryPolicy,
                {"mode": st.just(mode), "nodes": ranges},
                {"flags": tuples(st.sampled_from(flags), max_size=1)},
            )
            for mode, flags in modes.items()
        ),
    )


def _intel_rdt() -> st.SearchStrategy[IntelRdt]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "clos_id": st.just("/") | names.filter(lambda name: name != "info"),  # the other files have a _ in their name
        "schemata": tuples(st.sampled_from(["L3:0=7f0;1=1f", "L2:0=f", "MB:0=20;1=70"]), unique_by=same),
        "l3_cache_schema": st.just("L3:0=ff"),
        "mem_bw_schema": st.just("MB:0=50"),
        "enable_monitoring": st.booleans(),
    }
    return some(IntelRdt, {}, optional)


def _net_devices() -> st.SearchStrategy[dict[str, NetDevice]]:
    """Each key on the host; a new name, where there is one, is unlike all others. Names end at 15 bytes."""
    renamed = st.dictionaries(names.filter(lambda name: name != "lo"), st.booleans(), max_size=2)
    return renamed.map(
        lambda found: {name: NetDevice(name=f"in-{name}" if new else None) for name, new in found.items()}
    )


def _offsets() -> st.SearchStrategy[dict[str, TimeOffset]]:
    """Only forward: a clock may not go below zero. Source: time_namespaces(7)."""
    one = some(TimeOffset, {}, {"secs": st.integers(0, 10**8), "nanosecs": st.integers(0, 10**9 - 1)})
    return st.dictionaries(st.sampled_from(["monotonic", "boottime"]), one, max_size=2)


def _is_consistent(profile: Seccomp) -> bool:
    return not any(seccomp.problems(profile))


@cache
def _sections() -> st.SearchStrategy[Linux]:
    """What does not depend on the namespaces."""
    optional: dict[str, st.SearchStrategy[Any]] = {
        "resources": st.one_of([drawn(version, frozenset[str]()) for version in (None, 1, 2)]),
        "cgroups_path": paths | relative_paths,
        "devices": _devices(),
        "seccomp": seccomp_profiles().filter(_is_consistent),
        "rootfs_propagation": st.sampled_from(sorted(validate.PROPAGATIONS)),
        "masked_paths": tuples(paths),
        "readonly_paths": tuples(paths),
        "mount_label": st.just("system_u:object_r:container_file_t:s0"),
        "intel_rdt": _intel_rdt(),
        "memory_policy": _memory_policies(),
        "personality": st.builds(Personality, domain=st.sampled_from(["LINUX", "LINUX32"])),
    }
    return some(Linux, {}, optional)


@cache
def _tops() -> st.SearchStrategy[Spec]:
    keys = names.map("org.example.".__add__) | texts.filter(bool)
    root = some(Root, {"path": st.just("rootfs") | paths | relative_paths}, {"readonly": st.booleans()})
    required = {
        "oci_version": st.sampled_from(["1.3.0", "1.0.2", "1.2.1-rc.1+dev"]),
        "process": processes,
        "root": root,
        "linux": _sections(),
    }
    optional: dict[str, st.SearchStrategy[Any]] = {
        "mounts": mounts(),
        "hooks": hooks,
        "annotations": st.dictionaries(keys, texts, max_size=2),
    }
    return some(Spec, required, optional)


_sysctls = st.dictionaries(
    st.sampled_from([name for files in _SYSCTLS.values() for name in files]),
    st.sampled_from(["1", "0", "128"]),
    max_size=2,
)


def _mapped(user: User, uids: int, gids: int) -> User:
    """The same user, or another one that is below the numbers of mapped ids."""
    groups = tuple(dict.fromkeys(gid % gids for gid in user.additional_gids))
    return attrs.evolve(user, uid=user.uid % uids, gid=user.gid % gids, additional_gids=groups)


def _fitting(spec: Spec, namespaces: tuple[Namespace, ...], given: Mapping[str, Any]) -> Spec:
    """The configuration with these namespaces, and of what is `given` that which they allow."""
    assert spec.linux is not None
    assert spec.process is not None
    kinds = {one.type for one in namespaces}
    new = {one.type for one in namespaces if not one.path}
    files = {name for kind, listed in _SYSCTLS.items() if kind in kinds for name in listed}
    linux: dict[str, Any] = {"namespaces": namespaces}
    top: dict[str, Any] = {"process": spec.process}
    linux["sysctl"] = {name: value for name, value in given["sysctl"].items() if name in files}
    if "network" in kinds:
        linux["net_devices"] = given["net_devices"]
    if "time" in new:
        linux["time_offsets"] = given["time_offsets"]
    if "uts" in kinds:
        top |= {"hostname": given["hostname"], "domainname": given["domainname"]}
    if "user" in kinds:
        top["mounts"] = (*spec.mounts, *given["borrower"])
    if "user" in new:
        uids, gids = given["uid_mappings"], given["gid_mappings"]
        linux |= {"uid_mappings": uids, "gid_mappings": gids}
        user = _mapped(spec.process.user, uids[0].size, gids[0].size)
        top["process"] = attrs.evolve(spec.process, user=user)
    return attrs.evolve(spec, linux=attrs.evolve(spec.linux, **linux), **top)


@cache
def specs() -> st.SearchStrategy[Spec]:
    """Configurations in which validation finds no problem; any field of Linux may be set, a few of them are.

    Users and groups are such as the user namespace has, paths are absolute but for what the specification lets be
    relative, and what the kernel would refuse whatever the host is like is not drawn.
    """
    dependent: dict[str, st.SearchStrategy[Any]] = {
        "sysctl": _sysctls,
        "net_devices": _net_devices(),
        "time_offsets": _offsets(),
        "hostname": st.none() | names,
        "domainname": st.none() | names,
        "uid_mappings": mappings,
        "gid_mappings": mappings,
        "borrower": tuples(borrowers, max_size=1),
    }
    # All of these are always drawn, and used where a namespace allows: what is drawn next to a namespace, and only if
    # it is there, keeps Hypothesis from shrinking it away.
    return st.builds(_fitting, _tops(), _namespaces(), st.fixed_dictionaries(dependent))
