"""What the values of a configuration must be like, and which of them this version cannot do yet.

`check(spec)` raises one ConfigError with everything; the three functions below it give the parts:

    of_values(spec)    rules on one value, or on values that stand together
    between(spec)      rules between sections: a hostname needs a namespace
    unsupported(spec)  known fields that are set, but not supported yet

Each rule is a generator of problems. Source: OCI runtime specification 1.3.0, config.md and config-linux.md; where only
the kernel or runc demands something, the rule says so.
"""

from __future__ import annotations

import re

from libcontainer_py.errors import ConfigError, Problem
from libcontainer_py.spec import codec, limits, mount_options, rules
from libcontainer_py.spec.shapes import Unfit, byte_length

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from libcontainer_py.spec.config import Hook, Process, Spec, User
    from libcontainer_py.spec.linux import Device, DeviceRule, IDMapping, Linux

NAMESPACES = frozenset({"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"})

RLIMITS = frozenset(
    "RLIMIT_" + name
    for name in (
        *("AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC", "RSS"),
        *("RTPRIO", "RTTIME", "SIGPENDING", "STACK"),
    )
)
"""Source: getrlimit(2)."""

PROPAGATIONS = frozenset({"shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable"})
"""The specification's four, and the recursive forms that runc takes too."""

HOOKS = ("prestart", "create_runtime", "create_container", "start_container", "poststart", "poststop")

_ID_MAX = 2**32 - 2
"""The largest id: (uid_t) -1 means none. Source: chown(2)."""

_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", re.ASCII)


def check(spec: Spec, *, source: str = "") -> None:
    """Raise ConfigError with everything that is wrong with `spec` or not supported yet; `source` names the document."""
    found = problems(spec) + unsupported(spec)
    if found:
        raise ConfigError(found, source=source)


def problems(spec: Spec) -> list[Problem]:
    """Everything that is wrong with `spec`. Wrong Python types come alone: the other rules would stumble over them."""
    found = codec.inspect(spec)
    if all(isinstance(problem, Unfit) for problem in found):
        found += [*of_values(spec), *between(spec)]
    return found


def problems_of_process(process: Process) -> list[Problem]:
    """Everything that is wrong with a process by itself."""
    found = codec.inspect(process)
    return found or [*_process(process)]


def beside(known: Sequence[Problem], spec: Spec) -> list[Problem]:
    """Problems of a `spec` that has `known` problems of decoding: without those that may follow from them."""
    doubtful = [problem.path for problem in known]
    found = [*codec.inspect(spec), *of_values(spec)]
    if not any(_related(path, "linux.namespaces") for path in doubtful):  # what most of these rules ask
        found += between(spec)
    return [problem for problem in found if not any(_related(problem.path, path) for path in doubtful)]


def _related(path: str, other: str) -> bool:
    return _within(path, other) or _within(other, path)


def _within(path: str, other: str) -> bool:
    return not other or path == other or (path.startswith(other) and path[len(other)] in ".[")


def of_values(spec: Spec) -> Iterator[Problem]:
    """Rules on values by themselves."""
    yield from _version(spec)
    yield from _root(spec)
    if spec.process is None:
        yield Problem("process", "is required", hint="a container is created with its process")
    else:
        yield from _process(spec.process)
    yield from _mounts(spec)
    yield from _hooks(spec)
    for key in spec.annotations:
        if not key:
            yield Problem("annotations", "a key is empty")
    for name in ("hostname", "domainname"):
        value: str = getattr(spec, name) or ""
        if byte_length(value) > 64:  # __NEW_UTS_LEN of Linux
            yield Problem(name, "is longer than 64 bytes", value)
    if spec.linux is not None:
        yield from _linux(spec.linux)
    yield from rules.of_scheduling(spec)
    yield from rules.of_resctrl(spec)


def between(spec: Spec) -> Iterator[Problem]:
    """Rules between sections."""
    kinds = {namespace.type: namespace for namespace in spec.linux.namespaces} if spec.linux else {}
    if "mount" not in kinds:
        yield Problem("linux.namespaces", "a mount namespace is required", hint='add {"type": "mount"}')
    elif kinds["mount"].path:
        hint = "leave the path out: mounts and pivot_root would change that namespace for all who are in it"
        yield Problem("linux.namespaces", "a mount namespace cannot be joined", kinds["mount"].path, hint)
    yield from rules.of_sysctl(spec)
    yield from rules.of_time(spec)
    yield from mount_options.between(spec)
    yield from rules.of_network(spec)
    for name in ("hostname", "domainname"):
        if getattr(spec, name) is not None and "uts" not in kinds:  # it would change the host's
            yield Problem(name, "needs a uts namespace", getattr(spec, name), 'add {"type": "uts"} to linux.namespaces')
    user = kinds.get("user")
    for name in ("uid_mappings", "gid_mappings"):
        path = f"linux.{name[:3]}Mappings"
        mappings = getattr(spec.linux, name, ())
        if mappings and user is None:
            yield Problem(path, "needs a user namespace", hint='add {"type": "user"} to linux.namespaces')
        elif user is not None and not user.path and not mappings:
            yield Problem(path, "is required for a new user namespace")


# The rules, section by section ---------------------------------------------------------------------------------------


def _version(spec: Spec) -> Iterator[Problem]:
    value = spec.oci_version
    match = _SEMVER.fullmatch(value)
    if match is None:
        yield Problem("ociVersion", f"{value!r} is no semantic version", value, "such as 1.3.0")
    elif match[1] != "1":
        yield Problem("ociVersion", f"version {value} of the specification is not supported", value, "1.x is")


def _root(spec: Spec) -> Iterator[Problem]:
    if spec.root is None:
        yield Problem("root", "is required")
    elif not spec.root.path:
        yield Problem("root.path", "is empty", "")


def _process(process: Process) -> Iterator[Problem]:
    if not process.args:
        yield Problem("process.args", "needs at least the program")
    elif not process.args[0]:
        yield Problem("process.args[0]", "is empty: there is no program", "")
    yield from _absolute("process.cwd", process.cwd)
    yield from _environment("process.env", process.env)
    yield from _user(process.user)
    if process.terminal and process.console_size is not None:
        for name, value in (("height", process.console_size.height), ("width", process.console_size.width)):
            if value > 65535:  # unsigned short. Source: ioctl_tty(2), struct winsize
                yield Problem(f"process.consoleSize.{name}", f"{value} is above 65535", value)
    seen: set[str] = set()
    for index, limit in enumerate(process.rlimits):
        path = f"process.rlimits[{index}]"
        if limit.type not in RLIMITS:
            yield Problem(f"{path}.type", f"unknown resource limit {limit.type!r}", limit.type)
        elif limit.type in seen:
            yield Problem(f"{path}.type", f"{limit.type} is there twice", limit.type)
        seen.add(limit.type)
        if limit.soft > limit.hard:
            yield Problem(f"{path}.soft", f"{limit.soft} is above the hard limit of {limit.hard}", limit.soft)
    score = process.oom_score_adj
    if score is not None and not -1000 <= score <= 1000:  # proc_pid_oom_score_adj(5)
        yield Problem("process.oomScoreAdj", f"{score} is out of range (-1000 to 1000)", score)


def _user(user: User) -> Iterator[Problem]:
    ids = [("uid", user.uid), ("gid", user.gid)]
    ids += [(f"additionalGids[{index}]", gid) for index, gid in enumerate(user.additional_gids)]
    for name, value in ids:
        if value > _ID_MAX:
            yield Problem(f"process.user.{name}", f"{value} is no id (0 to {_ID_MAX})", value)
    if user.umask is not None and user.umask > 0o777:
        yield Problem("process.user.umask", f"{user.umask} is out of range (0 to 511, which is 0o777)", user.umask)


def _mounts(spec: Spec) -> Iterator[Problem]:
    # config.md, Mounts: a relative destination "MUST be interpreted as relative to /"; the plan does.
    for index, mount in enumerate(spec.mounts):
        if not mount.destination:
            yield Problem(f"mounts[{index}].destination", "is empty, but must be a path", "")
        yield from _mappings(f"mounts[{index}].uidMappings", mount.uid_mappings)
        yield from _mappings(f"mounts[{index}].gidMappings", mount.gid_mappings)
    yield from mount_options.of_values(spec)


def _hooks(spec: Spec) -> Iterator[Problem]:
    if spec.hooks is None:
        return
    for kind in HOOKS:
        head, *tail = kind.split("_")
        listed: Sequence[Hook] = getattr(spec.hooks, kind)
        for index, hook in enumerate(listed):
            path = f"hooks.{head}{''.join(map(str.capitalize, tail))}[{index}]"
            yield from _absolute(f"{path}.path", hook.path)
            yield from _environment(f"{path}.env", hook.env)
            if hook.timeout is not None and hook.timeout <= 0:
                yield Problem(f"{path}.timeout", "must be above zero", hook.timeout, "leave it out for no limit")


def _linux(linux: Linux) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, namespace in enumerate(linux.namespaces):
        path = f"linux.namespaces[{index}]"
        if namespace.type not in NAMESPACES:
            yield Problem(f"{path}.type", f"unknown namespace {namespace.type!r}", namespace.type)
        elif namespace.type in seen:
            yield Problem(f"{path}.type", f"the {namespace.type} namespace is there twice", namespace.type)
        seen.add(namespace.type)
        if namespace.path:
            yield from _absolute(f"{path}.path", namespace.path)
    yield from _mappings("linux.uidMappings", linux.uid_mappings)
    yield from _mappings("linux.gidMappings", linux.gid_mappings)
    for index, device in enumerate(linux.devices):
        yield from _device(f"linux.devices[{index}]", device)
    for index, rule in enumerate(linux.resources.devices if linux.resources else ()):
        yield from _device_rule(f"linux.resources.devices[{index}]", rule)
    if linux.resources is not None:
        yield from limits.of_resources(linux.resources, "linux.resources")
    for name, paths in (("maskedPaths", linux.masked_paths), ("readonlyPaths", linux.readonly_paths)):
        for index, path in enumerate(paths):
            yield from _absolute(f"linux.{name}[{index}]", path)
    if linux.cgroups_path and ".." in linux.cgroups_path.split("/"):
        yield Problem("linux.cgroupsPath", f"{linux.cgroups_path!r} leads out with ..", linux.cgroups_path)
    propagation = linux.rootfs_propagation
    if propagation and propagation not in PROPAGATIONS:
        yield Problem("linux.rootfsPropagation", f"unknown propagation {propagation!r}", propagation)
    if '"' in (linux.mount_label or ""):  # it stands in quotes among the options of a mount
        yield Problem("linux.mountLabel", "is no label: it has a quote in it", linux.mount_label)
    if linux.seccomp is not None:
        from libcontainer_py.spec import seccomp  # noqa: PLC0415  (its tables of words, for who has a profile)

        yield from seccomp.problems(linux.seccomp)


def _mappings(path: str, mappings: Sequence[IDMapping]) -> Iterator[Problem]:
    # The kernel refuses the three with EINVAL: user_namespaces(7), Defining user and group ID mappings.
    for index, one in enumerate(mappings):
        if one.size == 0:
            yield Problem(f"{path}[{index}].size", "must be above zero", 0)
        for name in ("container_id", "host_id"):
            start: int = getattr(one, name)
            shown = name.replace("_id", "ID")
            if start + one.size > _ID_MAX + 1:
                yield Problem(f"{path}[{index}].{shown}", f"{start} and {one.size} ids go beyond {_ID_MAX}", start)
            for before in mappings[:index]:
                other: int = getattr(before, name)
                if start < other + before.size and other < start + one.size:
                    yield Problem(f"{path}[{index}].{shown}", f"the ids from {start} on are mapped twice", start)
                    break


def _device(path: str, device: Device) -> Iterator[Problem]:
    yield from _absolute(f"{path}.path", device.path)
    if device.type not in ("c", "b", "u", "p"):
        yield Problem(f"{path}.type", f"unknown device type {device.type!r}", device.type, "c, b, u or p")
    elif device.type != "p":
        for name, value in (("major", device.major), ("minor", device.minor)):
            if value is None:
                yield Problem(f"{path}.{name}", f"is required for a device of type {device.type}")
            elif value < 0:
                yield Problem(f"{path}.{name}", f"{value} is no device number", value)
    for name, value in (("uid", device.uid), ("gid", device.gid)):
        if value is not None and value > _ID_MAX:
            yield Problem(f"{path}.{name}", f"{value} is no id (0 to {_ID_MAX})", value)


def _device_rule(path: str, rule: DeviceRule) -> Iterator[Problem]:
    if rule.type not in (None, "", "a", "c", "b"):
        yield Problem(f"{path}.type", f"unknown device type {rule.type!r}", rule.type, "a, c or b")
    if rule.access and not set(rule.access) <= set("rwm"):
        yield Problem(f"{path}.access", f"{rule.access!r} has letters other than r, w and m", rule.access)
    for name, value in (("major", rule.major), ("minor", rule.minor)):
        if value is not None and value < -1:  # -1 is runc's word for any
            yield Problem(f"{path}.{name}", f"{value} is no device number", value)


def _absolute(path: str, value: str) -> Iterator[Problem]:
    if not value:
        yield Problem(path, "is empty, but must be an absolute path", value)
    elif not value.startswith("/"):
        yield Problem(path, f"{value!r} is not absolute", value)


def _environment(path: str, env: Iterable[str]) -> Iterator[Problem]:
    for index, item in enumerate(env):  # what stands in the environment is never shown
        name, equals, _ = item.partition("=")
        if not equals:
            yield Problem(f"{path}[{index}]", "has no =", hint="NAME=value")
        elif not name:
            yield Problem(f"{path}[{index}]", "has no name", hint="NAME=value")


# What comes later ----------------------------------------------------------------------------------------------------

FOREIGN: tuple[str, ...] = ("windows", "solaris", "vm", "zos", "freebsd")


def unsupported(spec: Spec) -> list[Problem]:
    """Every known field that is set, but that this version does not support, with its JSON path."""
    return [Problem(name, "is for another system, not for Linux") for name in FOREIGN if getattr(spec, name)]
