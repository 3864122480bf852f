"""Makes configurations that are drawn by chance such as runc 1.1.5 knows, and as this machine can run."""

from __future__ import annotations

import itertools
import json
import os
import resource
import zlib
from pathlib import Path
from typing import Any

from libcontainer_py.kernel.constants import RLIMITS
from libcontainer_py.spec.mount_options import RECURSIVE
from tests.interop.configurations.parts import DATA, Config, finish, hook
from tests.kernel.workshop import python_mounts

FEATURES: Config = json.loads((DATA / "features-runc-1.1.5.json").read_text(encoding="utf-8"))
UNKNOWN = {  # to runc 1.1.5, or to this machine
    "": ("domainname",),
    "process": ("scheduler", "ioPriority", "execCPUAffinity", "apparmorProfile", "selinuxLabel", "terminal"),
    "linux": ("timeOffsets", "netDevices", "intelRdt", "memoryPolicy", "personality", "mountLabel"),
    "linux.resources": ("blockIO", "hugepageLimits", "network", "rdma", "unified"),
    "linux.resources.cpu": ("cpus", "mems", "burst", "idle", "realtimePeriod", "realtimeRuntime"),
}
HIDDEN = ("/proc/keys", "/etc", "/tmp", "/dev/shm", "/proc/sys/kernel", "/not/there")
LEAST = {"AS": 1 << 33, "DATA": 1 << 33, "STACK": 1 << 23, "NOFILE": 64, "CPU": 60, "RSS": 1 << 33}
"""Under these limits the probe would not run."""
OF_NO_USE = ("ptrace", "personality", "mount", "umount2", "setns", "unshare", "keyctl", "bpf", "chmod")
"""Calls without which the probe goes on, maybe with an errno to tell."""
ARCHITECTURES = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")
CLEARING = ("rrw", "rsuid", "rdev", "rexec", "rdiratime", "rsymfollow")
"""Recursive options of mounts that only take something away."""
FILES = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}


def _chosen(word: str, words: tuple[str, ...]) -> str:
    """One of the words, the same for the same word."""
    return words[zlib.crc32(word.encode(errors="surrogateescape")) % len(words)]


def can_run(config: Config) -> Config:
    """The same with the probe as its program, without what runc does not know and this machine does not have."""
    for place, names in UNKNOWN.items():
        section: Any = config
        for name in filter(None, place.split(".")):
            section = section.get(name, {})
        for name in names:
            section.pop(name, None)
    process, linux = config["process"], config["linux"]
    config["root"]["path"] = "rootfs"
    linux["cgroupsPath"] = "/<id>"
    if linux.get("rootfsPropagation", "").endswith("unbindable"):
        linux["rootfsPropagation"] = "private"
    process["args"] = ["sh"]
    process["user"] = {name: _small(value) for name, value in process["user"].items()}
    _limit(process, linux.get("resources", {}))
    config["mounts"] = [*python_mounts("/usr"), _PROC, *map(_mount, config.get("mounts", []))]
    _namespaces(linux)
    if "uidMappings" in linux:  # what has mounts below it can be bound with them alone
        for one in config["mounts"]:
            one["options"] = ["rbind" if option == "bind" else option for option in one["options"]]
    for name in ("maskedPaths", "readonlyPaths"):
        if name in linux:
            linux[name] = [_chosen(path, HIDDEN) for path in linux[name]]
    if "seccomp" in linux:
        _filter(linux["seccomp"])
    if "hooks" in config:
        config["hooks"] = {kind: [_hook(kind, one) for one in hooks] for kind, hooks in config["hooks"].items()}
    return finish(config)


_PROC = {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}


def _limit(process: Config, resources: Config) -> None:
    for one in process.get("rlimits", []):
        _, ours = resource.getrlimit(RLIMITS[one["type"]])
        most = ours if ours != resource.RLIM_INFINITY else 2**64 - 1
        one["soft"] = min(most, max(one["soft"], LEAST.get(one["type"].removeprefix("RLIMIT_"), 0)))
        one["hard"] = min(most, max(one["hard"], one["soft"]))
    if "oomScoreAdj" in process:
        ours = int(Path("/proc/self/oom_score_adj").read_text(encoding="utf-8"))
        process["oomScoreAdj"] = max(process["oomScoreAdj"], ours)
    for rule in resources.get("devices", []):
        rule.setdefault("access", "rwm")
    memory, cpu = resources.get("memory", {}), resources.get("cpu", {})
    for name in ("limit", "swap"):
        if 0 < memory.get(name, 0) < 1 << 28:
            memory[name] = 1 << 28
    if "shares" in cpu:
        cpu["shares"] = max(cpu["shares"], 1024)  # or a busy machine gives it nothing
    if cpu.get("quota", 0) > 0:
        cpu["quota"] = max(cpu["quota"], cpu.get("period", 100_000))
    if resources.get("pids", {}).get("limit", 0) > 0:
        resources["pids"]["limit"] = max(resources["pids"]["limit"], 20)


def _small(value: Any) -> Any:
    """Ids that runc takes."""
    return [_small(one) for one in value] if isinstance(value, list) else value % 2**31


def _mount(one: Config) -> Config:
    for name in ("uidMappings", "gidMappings"):
        one.pop(name, None)
    options = [option for option in one.get("options", []) if option not in ("idmap", "ridmap")]
    recursive = [
        option for option in options if option in RECURSIVE
    ]  # of two that contradict each other runc applies both
    one["options"] = [option for option in options if option not in recursive[1:]]
    if {"bind", "rbind"} & {*one["options"]}:
        one["source"] = "<tree>"
    else:  # 1.1.5 leaves all of them out; that one sets what it does not, rows.py can tell
        one["options"] = [option for option in one["options"] if option not in CLEARING]
    one["look"] = True
    return one


def _namespaces(linux: Config) -> None:
    """Joined ones are those that are there to be joined; a time namespace is unknown.

    With a user namespace all are its own: in others it may neither mount procfs and sysfs nor give names.
    """
    kinds = {one["type"] for one in linux["namespaces"]} - {"time"}
    joined = {one["type"] for one in linux["namespaces"] if "path" in one} & {*FILES}
    if "user" in kinds:
        kinds |= {"pid", "network"}
        joined = set()
        linux.pop("devices", None)  # they would have to be the host's
        for name in ("uidMappings", "gidMappings"):
            linux.setdefault(name, [{"containerID": 0, "hostID": 100000, "size": 65536}])
    linux["namespaces"] = [
        {"type": kind} | ({"path": f"<joined>/{FILES[kind]}"} if kind in joined else {}) for kind in sorted(kinds)
    ]


def _filter(profile: Config) -> None:
    """Nothing that the probe needs is refused, and nothing kills it."""
    profile["defaultAction"] = "SCMP_ACT_ALLOW"
    for name in ("defaultErrnoRet", "listenerPath", "listenerMetadata"):
        profile.pop(name, None)
    rules = []
    for rule in profile.get("syscalls", []):
        if rule["action"] not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_ERRNO"):
            rule["action"] = "SCMP_ACT_ERRNO"
        if rule["action"] != "SCMP_ACT_ERRNO":
            rule.pop("errnoRet", None)
        rule["names"] = [_chosen(name, OF_NO_USE) for name in rule["names"]]
        rules.append(rule)
    profile["syscalls"] = rules
    if "architectures" in profile:
        profile["architectures"] = [name for name in profile["architectures"] if name in ARCHITECTURES]
    profile["flags"] = [
        word for word in profile.get("flags", []) if word in FEATURES["linux"]["seccomp"].get("flags", ())
    ]


def _hook(kind: str, one: Config) -> Config:
    """It writes down that it ran; inside of the container it cannot."""
    if kind == "startContainer":
        return one | {"path": "/bin/busybox", "args": ["true"]}
    return one | hook(kind)


def prepare(rootfs: Path, config: Config) -> None:
    """The root file system belongs to the root of the configuration's user namespace."""
    owners = [config["linux"].get(name, [{}])[0].get("hostID", 0) for name in ("uidMappings", "gidMappings")]
    hooks = rootfs.parent / "hooks"
    hooks.touch()
    hooks.chmod(0o666)  # those of createContainer are run by it
    for path in itertools.chain([rootfs], rootfs.rglob("*")):
        os.chown(path, *owners, follow_symlinks=False)
