"""From a request to a plan: reads the bundle, validates it, asks the host for what the plan depends on.

Nothing on the host has changed when this is done, or when it fails.
"""

from __future__ import annotations

import functools
import json
import os
import stat
from errno import EACCES

import attrs

from libcontainer_py import cgroups, jsontext
from libcontainer_py.backends.base import CreateRequest
from libcontainer_py.cgroups import hierarchies, resctrl
from libcontainer_py.cgroups.devices import DeviceRule, with_defaults
from libcontainer_py.errors import CgroupError, ConfigError, Problem, UnsupportedPlatform
from libcontainer_py.kernel import capability
from libcontainer_py.kernel.process import in_user_namespace
from libcontainer_py.memo import remembered
from libcontainer_py.plan import HostFacts, Plan, build
from libcontainer_py.spec import Resources, Spec
from libcontainer_py.spec.limits import asks_nothing
from libcontainer_py.spec.validate import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer_py.cgroups.systemd import Scope
    from libcontainer_py.cgroups.units import Unit
    from libcontainer_py.spec.config import Hook
    from libcontainer_py.spec.linux import Seccomp

_LARGEST_CONFIG = 16 << 20
_KINDS = {
    "prestart": "prestart",
    "createRuntime": "create_runtime",
    "createContainer": "create_container",
    "startContainer": "start_container",
    "poststart": "poststart",
    "poststop": "poststop",
}


class LinuxPreparation:
    """A request, planned; `spec` is what `spec_of` gave."""

    def __init__(self, request: CreateRequest, directory: str, spec: Spec, *, driver: str = "cgroupfs") -> None:
        """`driver` says who makes the cgroup: cgroupfs is we, else systemd."""
        self.request = request
        self.directory = directory
        self.spec: Spec = spec
        self.bundle: str = request.bundle or directory
        self.source: str = os.path.join(request.bundle, "config.json") if request.bundle else ""
        self.rootfs: str = self._find_rootfs(self.source)
        self.unit: Unit | None = None
        self.scope: Scope | None = self._find_scope() if driver == "systemd" else None
        self.cgroup: cgroups.Cgroup | None = self._find_cgroup() if self.scope is None else self.scope
        self.limits: Resources | None
        self.limit_of_tasks: Resources | None
        self.limits, self.limit_of_tasks = self._find_limits()
        self.resctrl: resctrl.Group | None = self._find_resctrl()
        self.cgroup_paths: tuple[str, ...] = () if self.cgroup is None else self.cgroup.missing()
        if self.resctrl is not None:
            self.cgroup_paths += self.resctrl.missing()
        self.hooks: Mapping[str, list[dict[str, Any]]] = hooks_of(self.spec)
        self.facts: HostFacts = facts()
        self.plan: Plan = build(
            self.spec,
            container_id=request.container_id,
            bundle=self.bundle,
            rootfs=self.rootfs,
            facts=self.facts,
            cgroup_paths={} if self.cgroup is None else self.cgroup.paths,
            attach=self.cgroup is not None and not self.facts.cgroups_v2,
            pid_1="idle" if request.idle else "reap" if request.reaper else "execute",
            state=self.state("created", 0).encode(),
            no_pivot=request.no_pivot,
            no_new_keyring=request.no_new_keyring,
        )

    @property
    def fifo_owner(self) -> tuple[int, int]:
        """The container's root, on the host."""
        return self.plan.owner

    @property
    def terminal(self) -> bool:
        """Whether the program gets a terminal."""
        return self.spec.process is not None and self.spec.process.terminal

    @property
    def ends_with_init(self) -> bool:
        """Whether all of it ends when init does, as in a pid namespace of its own."""
        linux = self.spec.linux
        return linux is not None and any(one.type == "pid" and not one.path for one in linux.namespaces)

    @property
    def namespaces(self) -> frozenset[str]:
        """The kinds of namespaces that the container has of its own."""
        return frozenset(one.type for one in self.spec.linux.namespaces) if self.spec.linux is not None else frozenset()

    def state(self, status: str, pid: int) -> str:
        """The OCI state, JSON. Source: runtime.md, State."""
        return state_json(
            self.spec.oci_version, self.request.container_id, status, pid, self.bundle, self.spec.annotations
        )

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """The configuration without its seccomp profile, which is most of it. Not to be changed."""
        spec = self.spec
        if spec.linux is not None and spec.linux.seccomp is not None:
            spec = attrs.evolve(spec, linux=attrs.evolve(spec.linux, seccomp=None))
        return spec.to_dict()

    def config_json(self) -> str:
        """The configuration as config.json says it."""
        profile = None if self.spec.linux is None else self.spec.linux.seccomp
        if profile is None:
            return jsontext.compact(self.document)
        return jsontext.with_member({"linux": {}, **self.document}, "linux", "seccomp", _text_of(profile))

    def device_rules(self) -> list[DeviceRule]:
        """The rules of the configuration with the defaults that every container gets."""
        linux = self.spec.linux
        if linux is None:
            return with_defaults(())
        given = linux.resources.devices if linux.resources is not None else ()
        rules = (
            DeviceRule(rule.allow, rule.type or "a", _any(rule.major), _any(rule.minor), rule.access or "rwm")
            for rule in given
        )
        return with_defaults(rules, {device.path for device in linux.devices})

    def _find_rootfs(self, source: str) -> str:
        if self.spec.root is None:
            raise AssertionError("validation lets no such Spec through")
        given = self.spec.root.path
        path = os.path.normpath(os.path.join(self.bundle, given))
        if self.request.spec is not None and not os.path.isabs(given):
            return path  # made with the container's directory, empty
        try:
            mode = os.lstat(path).st_mode
        except OSError as error:
            reason = f"{path}: {(error.strerror or '').lower()}"
            raise ConfigError([Problem("root.path", reason, given)], source=source) from error
        if stat.S_ISLNK(mode):
            hint = f"name the directory that it leads to: {os.path.realpath(path)}"
            raise ConfigError([Problem("root.path", f"{path} is a symlink", given, hint)], source=source)
        if not stat.S_ISDIR(mode):
            raise ConfigError([Problem("root.path", f"{path} is not a directory", given)], source=source)
        return os.path.realpath(path)

    def _find_scope(self) -> Scope:
        """The scope of systemd that the container is to be in. Raises ConfigError, CgroupError, UnsupportedPlatform."""
        from libcontainer_py.cgroups import systemd, units  # noqa: PLC0415  (socket, and jeepney, for this driver)

        linux = self.spec.linux
        wanted = linux.cgroups_path if linux is not None else None
        properties, problems = units.annotated(self.spec.annotations)
        try:
            self.unit = units.parse(wanted, self.request.container_id)
        except ValueError as error:
            hint = "LinuxBackend(cgroup_driver='cgroupfs') takes paths" if wanted and "/" in wanted else ""
            problems.append(Problem("linux.cgroupsPath", str(error), wanted, hint))
        if problems or self.unit is None:
            raise ConfigError(problems, source=self.source)
        user = os.geteuid() != 0 or in_user_namespace()
        resources = linux.resources if linux is not None else None
        return systemd.find(self.unit, self.request.container_id, properties, resources, user=user)

    def _find_cgroup(self) -> cgroups.Cgroup | None:
        """The container's cgroup; None for one that asked for nothing, where we may make none."""
        wanted = self.spec.linux.cgroups_path if self.spec.linux is not None else None
        if wanted and wanted.count(":") == 2 and "/" not in wanted:
            reason = "is systemd's slice:prefix:name, and this backend makes its cgroups by itself"
            hint = "LinuxBackend(cgroup_driver='systemd'), or a path such as /group/name"
            raise ConfigError([Problem("linux.cgroupsPath", reason, wanted, hint)], source=self.source)
        cgroup = cgroups.for_container(wanted, self.request.container_id)
        # root of a user namespace, as under podman of an ordinary user, is somebody who may not
        if wanted or (os.geteuid() == 0 and not in_user_namespace()) or cgroup.permitted():
            return cgroup if cgroup.paths else None
        return None

    def _find_resctrl(self) -> resctrl.Group | None:
        """The group in resctrl that is asked for; None also where resctrl is missing, which `demands` tells."""
        rdt = self.spec.linux.intel_rdt if self.spec.linux is not None else None
        mounted = resctrl.mounted() if rdt is not None else None
        return mounted.group(self.request.container_id, rdt) if mounted is not None and rdt is not None else None

    def _find_limits(self) -> tuple[Resources | None, Resources | None]:
        """What the cgroup is to be set to, but for devices: before there is an init, and after.

        Raises CgroupError where there is no cgroup for it.
        """
        resources = self.spec.linux.resources if self.spec.linux is not None else None
        if resources is None or asks_nothing(resources):
            return None, None
        if self.cgroup is None:
            hint = "name a cgroup that was delegated to this user in linux.cgroupsPath, or run as root"
            if os.geteuid() == 0 and not in_user_namespace():
                hint = "mount cgroups at /sys/fs/cgroup"
            raise CgroupError("linux.resources", "limits need a cgroup, and none can be made", errno=EACCES, hint=hint)
        if resources.pids is None:
            return resources, None
        return attrs.evolve(resources, pids=None), Resources(pids=resources.pids)


@remembered
def _text_of(profile: Seccomp) -> str:
    return jsontext.compact(profile.to_dict())


def _any(number: int | None) -> int | None:
    return None if number is None or number < 0 else number


def spec_of(request: CreateRequest) -> Spec:
    """What is to be made: given, or in the bundle; validated. Raises ConfigError."""
    if request.spec is None:
        return read_config(request.bundle)
    check(request.spec)
    return request.spec


def read_config(bundle: str) -> Spec:
    """The bundle's config.json, decoded and validated. Raises ConfigError."""
    source = os.path.join(bundle, "config.json")
    try:
        with open(source, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError([Problem("", "is not a regular file")], source=source)
            if status.st_size > _LARGEST_CONFIG:
                raise ConfigError([Problem("", f"is larger than {_LARGEST_CONFIG >> 20} MiB")], source=source)
            data = file.read()
    except OSError as error:
        hint = "a bundle is a directory with config.json in it" if os.path.isdir(bundle) else f"no directory {bundle}"
        raise ConfigError([Problem("", (error.strerror or str(error)).lower(), hint=hint)], source=source) from error
    return _decode(data, source)


@functools.lru_cache(maxsize=16)
def _decode(data: bytes, source: str) -> Spec:
    """Decode and validate; kept for the next container of the same bundle, since a Spec is frozen."""
    spec = Spec.from_json(data, source=source)
    check(spec, source=source)
    return spec


def facts() -> HostFacts:
    """What a plan depends on."""
    try:
        found = hierarchies.read_hierarchies()
        last = capability.last_capability()
        _, permitted, _ = capability.capget()
    except OSError as error:
        raise UnsupportedPlatform(
            f"{error.filename or 'capget'}: {error.strerror}", hint="is /proc mounted, and does it show /proc/sys?"
        ) from error
    by_point: dict[str, list[str]] = {}
    for controller, mount in found.mounts.items():
        if controller:
            by_point.setdefault(mount.point, []).append(controller)
    return HostFacts(
        uid=os.geteuid(),
        gid=os.getegid(),
        last_capability=last,
        bounding=permitted,
        can_mknod=os.geteuid() == 0 and not in_user_namespace(),
        machine=os.uname().machine,
        cgroups_v2=found.mode is hierarchies.Mode.V2,
        hierarchies=tuple((os.path.basename(point), tuple(names)) for point, names in sorted(by_point.items())),
        newuidmap=_program("newuidmap") if os.geteuid() else "",
        newgidmap=_program("newgidmap") if os.geteuid() else "",
    )


def _program(name: str) -> str:
    """Where a program of the system is, on PATH or where Debian and Fedora have it; "": nowhere."""
    for directory in (*os.environ.get("PATH", "").split(":"), "/usr/bin"):
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return ""


def hooks_of(spec: Spec) -> Mapping[str, list[dict[str, Any]]]:
    """The hooks as state.json keeps them: {path, args, env, dir, timeout in nanoseconds} by kind."""
    if spec.hooks is None:
        return {}
    return {kind: [_hook(hook) for hook in getattr(spec.hooks, name)] for kind, name in _KINDS.items()}


def _hook(hook: Hook) -> dict[str, Any]:
    timeout = None if hook.timeout is None else hook.timeout * 1_000_000_000
    return {"path": hook.path, "args": list(hook.args), "env": list(hook.env), "dir": "", "timeout": timeout}


def state_json(
    version: str, container_id: str, status: str, pid: int, bundle: str, annotations: Mapping[str, str]
) -> str:
    """The OCI state, JSON."""
    state: dict[str, object] = {"ociVersion": version, "id": container_id, "status": status}
    if pid:
        state["pid"] = pid
    state["bundle"] = bundle
    if annotations:
        state["annotations"] = dict(annotations)
    return json.dumps(state)
