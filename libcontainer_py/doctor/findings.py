"""From facts to findings. Reads and tries nothing."""

from __future__ import annotations

import errno
import os

from libcontainer_py.cgroups import Mode
from libcontainer_py.doctor.diagnosis import Condition, Finding
from libcontainer_py.doctor.facts import LIMITERS
from libcontainer_py.kernel.constants import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libcontainer_py.doctor.facts import Facts, Refusal
    from libcontainer_py.errors import LauncherError

LEAST = (5, 12)
"""The oldest kernel that will do: the first with mount_setattr."""

_NUMBERS = {name: number for number, name in enumerate(CAPABILITIES)}
_NAMES = {"mount": "mnt", "network": "net"}
_IN_DOCKER = "docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined ..."
_UNMASKED = "docker run --security-opt systempaths=unconfined ... (podman: --security-opt unmask=ALL)"
_DELEGATE = "systemd-run --user --scope --property=Delegate=yes COMMAND"
_DELEGATE_MORE = (
    "mkdir -p /etc/systemd/system/user@.service.d && "
    "printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' >/etc/systemd/system/user@.service.d/delegate.conf && "
    "systemctl daemon-reload"
)

# What root needs a capability for, where it is not for everything.
_WORTH = {
    "CAP_CHOWN": "files of the container cannot be given to its user",
    "CAP_DAC_OVERRIDE": "files of others cannot be reached",
    "CAP_FOWNER": "files of others cannot be changed",
    "CAP_KILL": "containers of other users cannot be signalled",
    "CAP_MKNOD": "devices cannot be made",
    "CAP_NET_ADMIN": "linux.netDevices, net_prio and the like cannot be had",
    "CAP_SETGID": "a program cannot run as another group",
    "CAP_SETPCAP": "the bounding set cannot be reduced",
    "CAP_SETUID": "a program cannot run as another user",
    "CAP_SYS_PTRACE": "containers of other users cannot be joined",
    "CAP_SYS_RESOURCE": (
        "process.rlimits cannot be above those of this process, nor process.oomScoreAdj below its own"
    ),
}


def draw(facts: Facts, refused: Mapping[str, Refusal | None]) -> Iterator[Finding]:
    """All findings, in the order in which they are to be mended."""
    yield _kernel(facts, refused)
    yield _user_namespaces(facts, refused["user"])
    yield _namespaces(facts, refused)
    yield _mounts(refused["tree"])
    yield _proc(facts, refused["proc"])
    yield _overlay(refused["overlay"])
    yield _seccomp(refused["seccomp"])
    yield _keyring(facts, refused["keyring"])
    yield _state(facts)
    yield _capabilities(facts)
    yield _ids(facts)
    yield from _cgroups(facts)


def without(error: LauncherError) -> Finding:
    """Where nothing can be tried."""
    return Finding(
        name="fork server",
        condition=Condition.MISSING,
        found=error.message,
        meaning="there is no interpreter that makes the inits of containers",
        fix=error.hint,
        stops="create",
    )


def elsewhere(platform: str) -> Finding:
    """On a system that is not Linux."""
    return Finding(
        name="kernel",
        condition=Condition.MISSING,
        found=platform,
        meaning=f"containers need Linux, and this is {platform}",
        fix="Factory(backend=MemoryBackend()) runs anywhere; a virtual machine with Linux runs containers",
        stops="create",
    )


def _why(refusal: Refusal) -> str:
    return f"{refusal.step}: {os.strerror(refusal.errno)}" if refusal.errno else refusal.step


# -- the kernel -------------------------------------------------------------------------------------------------------


def _version(release: str) -> tuple[int, ...]:
    """(6, 1) of 6.1.0-18-amd64; () of what looks like nothing."""
    parts = release.partition("-")[0].split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 and all(part.isdigit() for part in parts) else ()


def _kernel(facts: Facts, refused: Mapping[str, Refusal | None]) -> Finding:
    least = ".".join(map(str, LEAST))
    version = _version(facts.release)
    found = f"Linux {facts.release}"
    if version and version < LEAST:
        return Finding(
            name="kernel",
            condition=Condition.MISSING,
            found=found,
            meaning=f"containers need Linux {least} or later",
            fix=f"boot a kernel of {least} or later",
            stops="create",
        )
    hidden = next(((call, refusal) for call in ("pidfd", "clone3") for refusal in [refused[call]] if refusal), None)
    if hidden is None:
        return Finding(name="kernel", found=found)
    return Finding(
        name="kernel",
        condition=Condition.MISSING,
        found=f"{found}; {_why(hidden[1])}",
        meaning=f"this kernel has {hidden[1].step}, and something hides it: a seccomp filter around us?",
        fix=_IN_DOCKER,
        stops="create",
    )


def _user_namespaces(facts: Facts, refusal: Refusal | None) -> Finding:
    name = "user namespaces"
    if refusal is None:
        return Finding(name=name, found="can be made, with power in them")
    ordinary = facts.user.uid != 0
    cause, fix = _why_no_users(facts, refusal)
    meaning = "an ordinary user can make no containers" if ordinary else "linux.namespaces can have no user namespace"
    return Finding(
        name=name,
        condition=Condition.MISSING if ordinary else Condition.LIMITED,
        found=cause,
        meaning=f"{meaning}: {_why(refusal)}",
        fix=fix,
        stops="create" if ordinary else "",
    )


def _why_no_users(facts: Facts, refusal: Refusal) -> tuple[str, str]:
    """What is in the way, and what mends it."""
    sysctls = facts.sysctls
    if sysctls.get("user.max_user_namespaces") == 0 or refusal.errno == errno.ENOSPC:
        found = f"user.max_user_namespaces is {sysctls.get('user.max_user_namespaces', 0)}"
        return found, "sysctl -w user.max_user_namespaces=15000"
    ordinary = facts.user.uid != 0
    if ordinary and sysctls.get("kernel.unprivileged_userns_clone") == 0:
        return "kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1"
    if ordinary and sysctls.get("kernel.apparmor_restrict_unprivileged_userns"):
        name = "kernel.apparmor_restrict_unprivileged_userns"
        return f"{name} is 1: AppArmor gives no power in them", f"sysctl -w {name}=0"
    if refusal.errno == errno.EINVAL:
        return "this kernel has none", "boot a kernel with CONFIG_USER_NS"
    return "they are refused: by a seccomp filter around us, a chroot, or a security module", _IN_DOCKER


def _namespaces(facts: Facts, refused: Mapping[str, Refusal | None]) -> Finding:
    refusal = refused["namespaces"]
    if refusal is None:
        return Finding(name="namespaces", found="mount, pid, network, ipc, uts and cgroup namespaces can be made")
    kind = refusal.step
    fix = _IN_DOCKER
    if refusal.errno == errno.ENOSPC:
        names = [f"user.max_{_NAMES.get(kind, kind)}_namespaces"]
        names = [name for name in facts.sysctls if name.startswith("user.")] if kind == "all" else names
        fix = "sysctl -w " + " ".join(f"{name}=15000" for name in names)
    elif refusal.errno == errno.EINVAL:
        fix = f"boot a kernel with CONFIG_{_NAMES.get(kind, kind).upper()}_NS"
    elif refused["user"] is not None and facts.user.uid != 0:
        fix = _why_no_users(facts, refused["user"])[1]
    needs = "it takes CAP_SYS_ADMIN, which root has not here" if facts.user.uid == 0 and not _has(facts) else ""
    return Finding(
        name="namespaces",
        condition=Condition.MISSING,
        found=f"{kind}: {os.strerror(refusal.errno)}" if refusal.errno else kind,
        meaning="no container can be made" + (f": {needs}" if needs else ""),
        fix=fix,
        stops="create",
    )


def _has(facts: Facts, name: str = "CAP_SYS_ADMIN") -> bool:
    return bool(facts.capabilities >> _NUMBERS[name] & 1)


# -- file systems -----------------------------------------------------------------------------------------------------


def _mounts(refusal: Refusal | None) -> Finding:
    if refusal is None:
        return Finding(name="mounts", found="the host's files can be cloned read-only, which protects the interpreter")
    chrooted = refusal.errno == errno.EINVAL
    return Finding(
        name="mounts",
        condition=Condition.MISSING,
        found=_why(refusal),
        meaning="the fork server cannot protect the interpreter from containers, and so does not start"
        + (": this process is in a chroot, whose root is no mount" if chrooted else ""),
        fix="mount --rbind DIRECTORY DIRECTORY, before chroot DIRECTORY" if chrooted else _IN_DOCKER,
        stops="create",
    )


def _proc(facts: Facts, refusal: Refusal | None) -> Finding:
    if refusal is None:
        return Finding(name="/proc", found="a container can have one of its own")
    covers = ", ".join(facts.proc_covers[:4]) + (" ..." if len(facts.proc_covers) > 4 else "")
    return Finding(
        name="/proc",
        condition=Condition.MISSING,
        found=f"masked: something is mounted over {covers}" if covers else _why(refusal),
        meaning="a user namespace may mount a /proc of its own only where the one that is here shows everything"
        if covers
        else "no proc can be mounted for a container",
        fix=_UNMASKED if covers else _IN_DOCKER,
        stops="run",
    )


def _overlay(refusal: Refusal | None) -> Finding:
    if refusal is None:
        return Finding(name="overlayfs", found="can be mounted over the host's files")
    unknown = refusal.errno == errno.ENODEV
    return Finding(
        name="overlayfs",
        condition=Condition.MISSING,
        found=_why(refusal),
        meaning="run() and Sandbox show the host's files through overlayfs"
        + ("" if unknown else ", and it cannot be put over the file system of / here: is that an overlay of overlays?"),
        fix="modprobe overlay" if unknown else "keep / on a file system of a disk (in Docker: a volume)",
        stops="run",
    )


# -- what processes get -----------------------------------------------------------------------------------------------


def _seccomp(refusal: Refusal | None) -> Finding:
    if refusal is None:
        return Finding(name="seccomp", found="filters can be loaded")
    return Finding(
        name="seccomp",
        condition=Condition.MISSING,
        found=_why(refusal),
        meaning="run() and Sandbox load a seccomp filter, and fail without; so does linux.seccomp",
        fix="boot a kernel with CONFIG_SECCOMP_FILTER",
        stops="run",
    )


def _keyring(facts: Facts, refusal: Refusal | None) -> Finding:
    name = "session keyrings"
    if refusal is None:
        return Finding(name=name, found="a container gets one of its own")
    if refusal.errno == errno.ENOSYS:
        return Finding(
            name=name,
            condition=Condition.LIMITED,
            found=_why(refusal),
            meaning="this kernel has no keyrings; so containers have none, and can reach none of the host's",
            fix="boot a kernel with CONFIG_KEYS",
        )
    full = refusal.errno == errno.EDQUOT
    most = facts.sysctls.get("kernel.keys.maxkeys", 200)
    return Finding(
        name=name,
        condition=Condition.MISSING,
        found=_why(refusal),
        meaning="a container must not have the host's keys, and gets no keyring of its own"
        + (f": this user has {most} keys already" if full else ""),
        fix=f"sysctl -w kernel.keys.maxkeys={most * 10}" if full else _IN_DOCKER,
        stops="create",
    )


def _state(facts: Facts) -> Finding:
    if not facts.closed:
        return Finding(name="state directories", found="can be made")
    return Finding(
        name="state directories",
        condition=Condition.MISSING,
        found=f"{facts.closed} is another's, or read-only",
        meaning="containers have their state directories there, where nothing else is said",
        fix="Factory(DIRECTORY), run(..., factory=Factory(DIRECTORY)), with a directory of this user's",
        stops="run",
    )


def _capabilities(facts: Facts) -> Finding:
    if facts.user.uid != 0:
        return Finding(name="capabilities", found="an ordinary user has all in his user namespace, and none outside")
    lacking = [name for name in _WORTH if not _has(facts, name)]
    if not lacking:
        return Finding(name="capabilities", found="all that containers are made with")
    return Finding(
        name="capabilities",
        condition=Condition.LIMITED,
        found=f"root has no {', '.join(lacking)} here",
        meaning="; ".join(f"without {name} {_WORTH[name]}" for name in lacking),
        fix="capsh --print tells who took it away; docker run "
        + " ".join(f"--cap-add {name.removeprefix('CAP_')}" for name in lacking)
        + " ...",
    )


def _ids(facts: Facts) -> Finding:
    name = "id ranges"
    if facts.user.uid == 0:
        return Finding(name=name, found="root maps any ids")
    user, ranges = facts.user.name, facts.ranges
    lacking = [f"/etc/sub{kind} gives none to {user}" for kind, size in ranges.items() if not size]
    fixes: list[str] = []
    if lacking:
        fixes.append(f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}")
    absent = [f"new{kind}map is not here" for kind, mapper in facts.mappers.items() if not mapper.path]
    weak = [mapper.path for mapper in facts.mappers.values() if mapper.path and not mapper.privileged]
    if absent:
        fixes.append("apt-get install uidmap (elsewhere shadow-utils)")
    if weak:
        fixes.append(f"chmod u+s {' '.join(weak)}")
    lacking += [*absent, *(f"{path} is not set-user-ID" for path in weak)]
    if facts.no_new_privileges:
        lacking.append("no_new_privs is set, so that set-user-ID programs gain nothing")
        fixes.append("start this process without no_new_privs (NoNewPrivileges=no, allowPrivilegeEscalation: true)")
    if not lacking:
        return Finding(name=name, found=f"{ranges['uid']} uids and {ranges['gid']} gids, by newuidmap and newgidmap")
    return Finding(
        name=name,
        condition=Condition.LIMITED,
        found="; ".join(lacking),
        meaning="a container has one id, this user's own, which is enough for run() and Sandbox",
        fix="; ".join(fixes),
    )


# -- cgroups ----------------------------------------------------------------------------------------------------------


def _cgroups(facts: Facts) -> Iterator[Finding]:
    mode = facts.cgroups
    if mode is Mode.NONE:
        yield Finding(
            name="cgroups",
            condition=Condition.LIMITED,
            found="none are mounted",
            meaning="no limits, no pause, no statistics, and no OOM kills are told of",
            fix="mount -t cgroup2 none /sys/fs/cgroup",
        )
        return
    found = f"{mode}"
    if facts.barred:
        ordinary = facts.user.uid != 0
        yield Finding(
            name="cgroups",
            condition=Condition.LIMITED if ordinary else Condition.MISSING,
            found=f"{found}; none can be made in {facts.barred}",
            meaning="no limits, no pause, and no statistics"
            if ordinary
            else "a container of root's gets its devices by a cgroup, and none can be made: read-only, or another's",
            fix=_how_to_get_some(facts),
            stops="" if ordinary else "run",
        )
        return
    lacking = [name for name in LIMITERS if name not in facts.controllers]
    yield Finding(name="cgroups", found=f"{found}; containers have their own")
    if not lacking:
        yield Finding(name="controllers", found=", ".join(sorted(facts.controllers)))
        return
    yield Finding(
        name="controllers",
        condition=Condition.LIMITED,
        found=", ".join(sorted(facts.controllers)) or "none",
        meaning=f"limits of {' and '.join(lacking)} cannot be set",
        fix=_how_to_get_more(facts, lacking),
    )


def _how_to_get_some(facts: Facts) -> str:
    if facts.user.uid == 0:
        return "mount -o remount,rw /sys/fs/cgroup (in Docker: docker run --privileged ...)"
    if facts.cgroups is Mode.V2:
        return _DELEGATE
    return "boot with systemd.unified_cgroup_hierarchy=1: an ordinary user is given cgroups of v2 alone; or run as root"


def _how_to_get_more(facts: Facts, lacking: list[str]) -> str:
    if facts.cgroups is not Mode.V2:
        return " && ".join(
            f"mkdir -p /sys/fs/cgroup/{name} && mount -t cgroup -o {name} {name} /sys/fs/cgroup/{name}"
            for name in lacking
        )
    if facts.user.uid != 0:
        return _DELEGATE_MORE
    return "boot a kernel that has them, without cgroup_disable=" + ",".join(lacking)
