"""The plan of a container: every step, in the one right order, with its reason.

The order, and why: cgroups before the cgroup namespace is unshared, or the namespace would show its own path, and
before they are mounted; hooks after the mounts and before pivot_root; the terminal and masks after the hooks, which may
still mount; the root read-only when nothing more has to be made in it; limits and ids last, since each takes a
privilege away; the program is looked up as the user who will run it; the seccomp filter is the very last.
"""

from __future__ import annotations

import posixpath

from libcontainer_py.kernel import constants as c
from libcontainer_py.plan import ids, labels, mounts, process, scheduling, sysctl
from libcontainer_py.plan.steps import Plan, Step
from libcontainer_py.spec.mount_options import PROPAGATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from libcontainer_py.plan.seccomp import Filter
    from libcontainer_py.plan.steps import HostFacts
    from libcontainer_py.spec import Spec
    from libcontainer_py.spec.config import Hook, Process
    from libcontainer_py.spec.linux import Linux, Seccomp


# What a new session keyring permits, and beyond that to search it: its owner is who creates the container, its program
# runs as somebody else. Source: keyrings(7), Key permissions
_KEYRING, _SEARCH_BY_USER, _SEARCH_BY_OTHERS = 0x3F130000, 0x00080000, 0x00000008


# Their mqueue and the devices in their sysfs are of who makes them: in a user namespace, of its root
_OF_THEIR_MAKER = ("ipc", "network")


def build(
    spec: Spec,
    *,
    container_id: str,
    bundle: str,
    rootfs: str,
    facts: HostFacts,
    cgroup_paths: Mapping[str, str],
    attach: bool,
    pid_1: str,
    state: bytes,
    no_pivot: bool = False,
    no_new_keyring: bool = False,
) -> Plan:
    """The plan for a valid Spec.

    `pid_1`: what becomes of init, the last step. "execute": the program; "reap": who reaps it; "idle": who reaps alone.
    `attach`: there are v1 cgroups to join. `state` is the OCI state for startContainer hooks. `no_pivot` and
    `no_new_keyring` are those of `Factory.create`. Raises ConfigError.
    """
    if spec.process is None or spec.linux is None:
        raise AssertionError("validation lets no such Spec through")
    made = {namespace.type for namespace in spec.linux.namespaces if not namespace.path}
    joins = tuple((one.type, one.path, c.NAMESPACES[one.type][1]) for one in spec.linux.namespaces if one.path)
    user_namespace = any(one.type == "user" for one in spec.linux.namespaces)
    warnings: list[str] = []
    flags = 0
    for kind in made - {"cgroup", "time", *(_OF_THEIR_MAKER if "user" in made else ())}:
        flags |= c.NAMESPACES[kind][1]
    maps = ids.maps(spec.linux, facts) if "user" in made else None
    groups = maps is None or not maps[2]
    profile = spec.linux.seccomp
    one = filter_of(profile, facts.machine) if profile is not None else None
    steps = [
        *_begin(container_id, made, spec, own_keyring=not no_new_keyring),
        *(process.seccomp_listener(spec, one) if one is not None else ()),
        *_handing_over(
            _filesystem(
                spec,
                bundle,
                rootfs,
                facts,
                cgroup_paths,
                list(_enter_cgroups(made, attach=attach)),
                enter="move_root" if no_pivot else "pivot",
            ),
            made if pid_1 == "idle" and "user" in made else set(),
        ),
        *_program(spec, facts, one, state, warnings, user_namespace=user_namespace, groups=groups, pid_1=pid_1),
    ]
    offsets = _offsets(spec.linux) if "time" in made else None
    owner = ids.owner(spec.linux, facts)
    mapped = tuple(mounts.mapped(spec, bundle))
    on_host = tuple(_of_host(spec.linux, container_id))
    return Plan(flags, maps, joins, offsets, owner, tuple(steps), tuple(warnings), mapped, on_host)


def _handing_over(steps: Iterable[Step], made: set[str]) -> Iterator[Step]:
    """With these namespaces handed to the host, as the last thing before its /proc is left."""
    for step in steps:
        if step.name in ("pivot", "move_root") and made:
            names = tuple(sorted(c.NAMESPACES[kind][0] for kind in made))
            yield Step("namespaces", (names,), "who joins later cannot open them")
        yield step


def _of_host(linux: Linux, container_id: str) -> Iterator[Step]:
    if linux.intel_rdt is not None:
        rdt = linux.intel_rdt
        lines = tuple(filter(None, (rdt.l3_cache_schema, rdt.mem_bw_schema, *rdt.schemata)))
        yield Step("resctrl", (rdt.clos_id or container_id, *lines), "linux.intelRdt")
    for name, device in linux.net_devices.items():
        yield Step("net_device", (name, device.name or name), f'linux.netDevices["{name}"]')


def filter_of(profile: Seccomp, machine: str) -> Filter:
    """The compiled profile."""
    from libcontainer_py.plan.seccomp import compile_filter  # noqa: PLC0415  (tables of system calls, for who has one)

    return compile_filter(profile, machine)


def _offsets(linux: Linux) -> str:
    """A line a clock. Source: time_namespaces(7), /proc/PID/timens_offsets."""
    return "".join(f"{clock} {one.secs} {one.nanosecs}\n" for clock, one in linux.time_offsets.items())


def _begin(container_id: str, kinds: set[str], spec: Spec, *, own_keyring: bool) -> Iterator[Step]:
    if "user" in kinds:
        unshared = sum(c.NAMESPACES[kind][1] for kind in _OF_THEIR_MAKER if kind in kinds)
        yield Step("become_root", (unshared,), "linux.uidMappings, linux.gidMappings")
    yield Step("session", (), "a session of its own")
    if own_keyring:
        yield from keyring(container_id, spec)
    if spec.process is not None and not spec.process.terminal:
        yield Step("stdio", (spec.process.user.uid,), "the caller's streams")
    if "network" in kinds:
        yield Step("loopback", (), "linux.namespaces")
    if spec.hostname is not None:
        yield Step("hostname", (spec.hostname,), "hostname")
    if spec.domainname is not None:
        yield Step("domainname", (spec.domainname,), "domainname")
    if spec.process is not None and spec.process.oom_score_adj is not None:
        yield Step("oom_score_adj", (spec.process.oom_score_adj,), "process.oomScoreAdj")


def keyring(container_id: str, spec: Spec) -> Iterator[Step]:
    """The session keyring of a container: who comes later joins the one that is there."""
    foreign = spec.linux is not None and any(one.type == "user" for one in spec.linux.namespaces)
    permissions = _KEYRING | (_SEARCH_BY_OTHERS if foreign else _SEARCH_BY_USER)
    step = Step("keyring", (f"_ses.{container_id}", permissions), "a session keyring of its own")
    yield from labels.keyring(spec.process, step)


def _enter_cgroups(kinds: set[str], *, attach: bool) -> Iterator[Step]:
    """As late as can be: the host fills the cgroups while init mounts."""
    if attach:
        yield Step("join_cgroups", (), "linux.cgroupsPath")
    if "cgroup" in kinds:
        yield Step("unshare", (c.CLONE_NEWCGROUP,), "linux.namespaces")


def _filesystem(
    spec: Spec,
    bundle: str,
    rootfs: str,
    facts: HostFacts,
    cgroup_paths: Mapping[str, str],
    enter_cgroups: list[Step],
    *,
    enter: str,
) -> Iterator[Step]:
    linux = spec.linux
    if linux is None or spec.process is None or spec.root is None:
        raise AssertionError("validation lets no such Spec through")
    propagation = PROPAGATION.get(linux.rootfs_propagation or "", 0)
    yield from _root(rootfs, propagation)
    for step in mounts.mounts(spec, bundle, facts, cgroup_paths):
        if enter_cgroups and (mounts.shows_cgroups(step) or mounts.copies(step)):
            yield from enter_cgroups
            enter_cgroups = []
        yield step
    yield from enter_cgroups
    yield from mounts.devices(spec, facts)
    yield Step("own_null", (), "no stream leads to a device of the host's")
    yield Step("directory", (posixpath.normpath("/" + spec.process.cwd.lstrip("/")),), "process.cwd")
    hooks = spec.hooks
    hooked = hooks is not None and (hooks.prestart or hooks.create_runtime or hooks.create_container)
    if hooked or linux.net_devices:
        why = "hooks.prestart, hooks.createRuntime" if hooked else "linux.netDevices"
        yield Step("await_hooks", (), why)
        if hooks is not None and hooks.create_container:
            yield Step("create_hooks", (_hooks(hooks.create_container),), "hooks.createContainer")
    if spec.process.terminal:
        yield process.terminal(spec.process)
        yield Step("console", (), "process.terminal")
        yield Step("controlling_terminal", (), "process.terminal")
    yield from sysctl.steps(spec)
    yield from mounts.hidden(linux)
    yield from mounts.readonly_mounts(spec)
    if spec.root.readonly:
        yield Step("readonly_root", (), "root.readonly")
    yield from labels.steps(spec.process)
    # slave or private it was before it was filled: what is mounted in it may be something else
    yield Step(enter, (0 if propagation & (c.MS_SLAVE | c.MS_PRIVATE) else propagation,), "root.path")


def _root(rootfs: str, propagation: int) -> Iterator[Step]:
    """The host's mounts, and the root: no mount in it shall reach the host. pivot gives it its propagation."""
    recursive, kind = propagation & c.MS_REC, propagation & ~c.MS_REC
    if kind == c.MS_UNBINDABLE:
        kind = c.MS_PRIVATE  # until then: nothing of it could be bound
    why = "linux.rootfsPropagation" if propagation else "no mount leaks to the host"
    yield Step("propagation", (recursive | kind if propagation else c.MS_SLAVE | c.MS_REC,), why)
    own = c.MS_SLAVE if kind == c.MS_SLAVE else c.MS_PRIVATE
    yield Step("root", (rootfs, own, own if propagation else 0), "root.path")


def _program(
    spec: Spec,
    facts: HostFacts,
    one: Filter | None,
    state: bytes,
    warnings: list[str],
    *,
    user_namespace: bool,
    groups: bool,
    pid_1: str,
) -> Iterator[Step]:
    program = spec.process
    if program is None:
        raise AssertionError("validation lets no such Spec through")
    for step in becoming(spec, program, facts, warnings, user_namespace=user_namespace, groups=groups):
        if step.name != "program" or pid_1 != "idle":
            yield step
    yield Step("await_start", (state,), "start, through exec.fifo")
    if spec.hooks is not None and spec.hooks.start_container:
        yield Step("start_hooks", (_hooks(spec.hooks.start_container),), "hooks.startContainer")
    if pid_1 == "idle":
        yield Step("idle", (), "its processes come later")
        return
    if one is not None:
        yield process.seccomp(spec, one)
    yield Step(pid_1, (tuple(program.args), tuple(program.env)), "process.args, process.env")


def becoming(
    spec: Spec, program: Process, facts: HostFacts, warnings: list[str], *, user_namespace: bool, groups: bool
) -> Iterator[Step]:
    """From the container's root to the user who runs the program, and to the program's path."""
    yield from process.limits(program)
    yield from scheduling.steps(spec)
    umask = process.DEFAULT_UMASK if program.user.umask is None else program.user.umask
    yield Step("umask", (umask,), "process.user.umask")
    kept = 1 << c.CAPABILITIES.index("CAP_SYS_ADMIN") if process.keeps_admin(spec) else 0
    cwd = posixpath.normpath("/" + program.cwd.lstrip("/"))
    yield Step("cwd", (cwd,), "process.cwd")
    yield process.identity(program, facts, kept, user_namespace=user_namespace, groups=groups, warnings=warnings)
    yield Step("cwd_as_user", (cwd,), "process.cwd")
    homes = [entry for entry in program.env if entry.startswith("HOME=")]
    if not homes or homes[-1] == "HOME=":  # the last one counts, and an empty one is none
        yield Step("home", (program.user.uid,), "process.env")
    yield Step("program", (program.args[0], process.search_path(program)), "process.args")


def _hooks(hooks: Sequence[Hook]) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...], float | None], ...]:
    return tuple((hook.path, tuple(hook.args), tuple(hook.env), hook.timeout) for hook in hooks)
