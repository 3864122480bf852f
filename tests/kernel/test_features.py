"""A document of features is understood: each of its words is put to use by containers, or refused by its own name.

The document is what runc 1.5.1 prints, so this also says that we can do what runc says it can.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from pathlib import Path
from typing import TypeVar

import pytest

from libcontainer_py import CgroupError, ConfigError, CreateError, cgroups
from libcontainer_py.cgroups import Mode
from libcontainer_py.spec import Features
from tests.kernel.test_conformance import Listener, filtered
from tests.kernel.test_hooks import copy, live, sh
from tests.kernel.test_labels import HAS_APPARMOR, HAS_SELINUX
from tests.kernel.workshop import PATIENCE, Config, Workshop, runc_spec

T = TypeVar("T")


def said(value: T | None) -> T:
    """What the document says; None would be that it says nothing."""
    assert value is not None
    return value


DATA = Path(__file__).parents[1] / "data"
DOCUMENT = Features.from_json((DATA / "features-runc-1.5.1.json").read_bytes())
LINUX = said(DOCUMENT.linux)
SECCOMP = said(LINUX.seccomp)
POLICIES = said(LINUX.memory_policy)


def wanting(**fields: object) -> Config:
    """A configuration with these fields of Linux."""
    config = runc_spec()
    config["linux"] |= fields
    return config


# -- what is not of Linux alone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [DOCUMENT.oci_version_min, DOCUMENT.oci_version_max])
def test_the_versions_of_the_specification(workshop: Workshop, version: str) -> None:
    config = runc_spec()
    config["ociVersion"] = version
    assert workshop.sh(config, "echo runs") == "runs\n"


def test_hooks(workshop: Workshop, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    config = runc_spec()
    config["mounts"].append({"destination": str(log), "source": str(log), "options": ["bind"]})
    kinds = said(DOCUMENT.hooks)
    config["hooks"] = {kind: [copy("/proc/self/stat", str(log / kind), kind)] for kind in kinds}
    config["process"]["args"] = ["/bin/sh", "-c", "exec cat"]
    live(workshop, config)
    assert sorted(path.name for path in log.iterdir()) == sorted(kinds)


def mounted_with(folder: Path, word: str) -> list[Config]:
    """Mounts at /m/WORD that have this option. No file system knows such a word, so none would take it for its own."""
    tmpfs = {"destination": f"/m/{word}", "type": "tmpfs", "source": "tmpfs"}
    if word == "remount":
        return [tmpfs, {**tmpfs, "options": ["remount", "ro"]}]
    if word in ("bind", "rbind"):
        return [{**tmpfs, "type": "none", "source": str(folder), "options": [word]}]
    return [{**tmpfs, "options": [word]}]


def test_mount_options(workshop: Workshop, tmp_path: Path) -> None:
    words = said(DOCUMENT.mount_options)
    source = tmp_path / "source"
    source.mkdir()
    config = runc_spec()
    config["mounts"] += [mount for word in words for mount in mounted_with(source, word)]
    lines = workshop.sh(config, "cat /proc/self/mountinfo").splitlines()
    found = {line.split()[4]: line.split()[5].split(",") for line in lines}
    assert {word for word in words if f"/m/{word}" not in found} == set()
    for word in ("ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"):
        assert word in found[f"/m/{word}"]
        assert word in found[f"/m/r{word}"]
    assert "ro" in found["/m/remount"]


def test_annotations_that_may_be_unsafe(workshop: Workshop, tmp_path: Path) -> None:
    """They come with a configuration, from whoever wrote it: nothing heeds them, but the systemd driver its own."""
    annotations = {
        f"{name}{'Slice' if name.endswith('.') else ''}": "/elsewhere"
        for name in said(DOCUMENT.potentially_unsafe_config_annotations)
    }
    assert set(annotations) == {"bundle", "org.systemd.property.Slice", "org.criu.config"}
    annotations |= said(DOCUMENT.annotations)
    config = runc_spec()
    config["annotations"] = annotations
    config["hooks"] = {"createRuntime": [sh(f"cat >{tmp_path}/state")]}
    bundle = workshop.bundle(config)
    with workshop.create(bundle) as container:
        loaded = workshop.factory.load(container.id)
        assert (container.bundle, loaded.bundle) == (str(bundle), str(bundle))
        assert dict(loaded.annotations) == annotations
    text = (tmp_path / "state").read_text()
    assert f'"bundle":"{bundle}"' in text.replace('": "', '":"')


# -- Linux ------------------------------------------------------------------------------------------------------------

FILES = {"network": "net", "mount": "mnt"}


@pytest.mark.parametrize("kind", said(LINUX.namespaces))
def test_namespaces(workshop: Workshop, kind: str) -> None:
    file = f"/proc/self/ns/{FILES.get(kind, kind)}"
    config = runc_spec()
    if {"type": kind} not in config["linux"]["namespaces"]:
        config["linux"]["namespaces"].append({"type": kind})
    if kind == "user":
        config["linux"] |= {
            f"{ids}Mappings": [{"containerID": 0, "hostID": 0, "size": 65536}] for ids in ("uid", "gid")
        }
    if not os.path.exists(file):  # a kernel without: user-mode-linux has no time namespaces
        with pytest.raises(CreateError, match="new namespaces"):
            workshop.create(config)
        return
    inside = workshop.sh(config, f"readlink {file}").strip()
    assert inside.startswith(f"{FILES.get(kind, kind)}:[")
    assert inside != os.readlink(file)


@pytest.mark.filterwarnings("ignore::libcontainer_py.ConfigWarning")  # a capability that this kernel has not
def test_capabilities(workshop: Workshop) -> None:
    names = said(LINUX.capabilities)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    config = runc_spec()
    config["process"]["capabilities"] = {key: list(names) for key in ("bounding", "effective", "permitted")}
    _, mask = workshop.sh(config, "grep CapEff /proc/self/status").split()
    ours = int(re.findall(r"CapBnd:\t(\w+)", Path("/proc/self/status").read_text())[0], 16)
    assert int(mask, 16) == (1 << min(len(names), last + 1)) - 1 & ours


def test_the_versions_of_cgroups(workshop: Workshop) -> None:
    """Of those that are built in, what this machine has; systemd's form of paths is for the driver of that name."""
    built_in = said(LINUX.cgroup)
    on_v2 = cgroups.detect() is Mode.V2
    assert built_in.v2 if on_v2 else built_in.v1
    assert (built_in.systemd, built_in.systemd_user, built_in.rdma) == (True, True, True)
    config = runc_spec()
    config["linux"]["resources"]["pids"] = {"limit": 9}
    file = "pids.max" if on_v2 else "pids/pids.max"
    assert workshop.sh(config, f"cat /sys/fs/cgroup/{file}") == "9\n"
    config["linux"]["cgroupsPath"] = "system.slice:prefix:name"
    with pytest.raises(ConfigError) as caught:
        workshop.create(config)
    (problem,) = caught.value.problems
    assert (problem.path, "cgroup_driver='systemd'" in problem.hint) == ("linux.cgroupsPath", True)


def test_limits_of_rdma(workshop: Workshop) -> None:
    """No machine of ours has RDMA: the limit is not left out."""
    config = runc_spec()
    config["linux"]["resources"]["rdma"] = {"mlx5_1": {"hcaHandles": 5}}
    with pytest.raises(CgroupError) as caught:
        workshop.create(config)
    assert caught.value.field.startswith('rdma["mlx5_1"]')


HAS_RESCTRL = " - resctrl " in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(
    ("built_in", "here", "fields", "where"),
    [
        (
            said(LINUX.apparmor).enabled,
            HAS_APPARMOR,
            {"process": {"apparmorProfile": "none"}},
            "process.apparmorProfile",
        ),
        (said(LINUX.selinux).enabled, HAS_SELINUX, {"process": {"selinuxLabel": "u:r:t:s0"}}, "process.selinuxLabel"),
        (said(LINUX.selinux).enabled, HAS_SELINUX, {"linux": {"mountLabel": "u:r:t:s0"}}, "linux.mountLabel"),
        (
            said(LINUX.intel_rdt).schemata,
            HAS_RESCTRL,
            {"linux": {"intelRdt": {"schemata": ["L3:0=f"]}}},
            "linux.intelRdt",
        ),
        (
            said(LINUX.intel_rdt).monitoring,
            HAS_RESCTRL,
            {"linux": {"intelRdt": {"enableMonitoring": True}}},
            "linux.intelRdt",
        ),
    ],
    ids=["apparmor", "selinux", "selinux of mounts", "intelRdt", "intelRdt, monitoring"],
)
def test_what_not_every_kernel_has(
    workshop: Workshop, built_in: bool | None, here: bool, fields: dict[str, Config], where: str
) -> None:
    """Known, and refused by name where it cannot be had; what it does where it can, other files look at."""
    assert built_in
    if here:
        pytest.skip(f"has what {where} needs")
    config = runc_spec()
    for section, more in fields.items():
        config[section] |= more
    with pytest.raises(ConfigError) as caught:
        workshop.create(config)
    assert [problem.path for problem in caught.value.problems] == [where]


# What numa_maps shows of the memory.
SHOWN = {
    "MPOL_DEFAULT": "default",
    "MPOL_BIND": "bind:0",
    "MPOL_INTERLEAVE": "interleave:0",
    "MPOL_LOCAL": "local",
    "MPOL_PREFERRED": "prefer:0",
    "MPOL_PREFERRED_MANY": "prefer (many):0",
    "MPOL_WEIGHTED_INTERLEAVE": "weighted interleave:0",
}


@pytest.mark.skipif(not os.path.exists("/proc/self/numa_maps"), reason="needs a kernel with NUMA")
@pytest.mark.parametrize("mode", said(POLICIES.modes))
def test_policies_of_memory(workshop: Workshop, mode: str) -> None:
    nodes = {} if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else {"nodes": "0"}
    config = wanting(memoryPolicy={"mode": mode, **nodes})
    try:
        assert f" {SHOWN[mode]} " in workshop.sh(config, "cat /proc/self/numa_maps")
    except CreateError as error:  # a kernel before 6.9
        if (mode, error.step, error.errno) != ("MPOL_WEIGHTED_INTERLEAVE", "memory_policy", errno.EINVAL):
            raise


@pytest.mark.skipif(not os.path.exists("/proc/self/numa_maps"), reason="needs a kernel with NUMA")
@pytest.mark.parametrize(
    ("flag", "shown"),
    [*zip(said(POLICIES.flags), ("bind=balancing:0", "bind=relative:0", "bind=static:0"), strict=True)],
)
def test_flags_of_policies_of_memory(workshop: Workshop, flag: str, shown: str) -> None:
    config = wanting(memoryPolicy={"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]})
    assert f" {shown} " in workshop.sh(config, "cat /proc/self/numa_maps")


def test_mounts_with_mapped_ids(workshop: Workshop, tmp_path: Path) -> None:
    assert said(said(LINUX.mount_extensions).idmap).enabled
    source = tmp_path / "source"
    source.mkdir()
    os.chown(source, 1, 2)
    maps = {f"{kind}Mappings": [{"containerID": 0, "hostID": 5000, "size": 100}] for kind in ("uid", "gid")}
    config = runc_spec()
    config["mounts"].append({"destination": "/m", "source": str(source), "options": ["bind"], **maps})
    try:
        assert workshop.sh(config, "stat -c %u:%g /m") == "5001:5002\n"
    except CreateError as error:
        if error.step != "idmap":
            raise
        pytest.skip(f"needs a file system that takes mappings of ids: {error}")


def test_network_devices(workshop: Workshop) -> None:
    """No device has such a name, and that is what is said: the field is known."""
    assert said(LINUX.net_devices).enabled
    with pytest.raises((CreateError, ConfigError), match="nosuch0"):
        workshop.create(wanting(netDevices={"nosuch0": {}}))


# -- seccomp ----------------------------------------------------------------------------------------------------------

DENIED, LISTENED = os.strerror(errno.EPERM), os.strerror(errno.ENOSPC)
OUTCOMES = {
    "SCMP_ACT_ALLOW": (0, ""),
    "SCMP_ACT_LOG": (0, ""),
    "SCMP_ACT_ERRNO": (1, DENIED),
    "SCMP_ACT_TRACE": (1, os.strerror(errno.ENOSYS)),  # since nobody traces. Source: seccomp(2)
    "SCMP_ACT_NOTIFY": (1, LISTENED),
    **dict.fromkeys(
        ("SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"), (-signal.SIGSYS, "")
    ),
}


def made(workshop: Workshop, config: Config) -> tuple[int | None, str]:
    """How `mkdir` ends, and what it says."""
    config["process"]["args"] = ["/bin/busybox", "mkdir", "/new"]
    output = workshop.folder / f"output-{os.urandom(4).hex()}"
    with output.open("wb") as file, workshop.create(config, stderr=file) as container:
        container.start()
        code = container.wait(PATIENCE).returncode
    return code, output.read_text()


@pytest.mark.parametrize("action", said(SECCOMP.actions))
def test_actions_of_seccomp(workshop: Workshop, tmp_path: Path, action: str) -> None:
    assert SECCOMP.enabled
    rule = {"names": ["mkdir", "mkdirat"], "action": action}
    if action == "SCMP_ACT_NOTIFY":
        with Listener(tmp_path / "listener") as listener:
            code, text = made(workshop, filtered(rule, listenerPath=str(listener.path)))
    else:
        code, text = made(workshop, filtered(rule))
    expected, words = OUTCOMES[action]
    assert (code, words in text, bool(text)) == (expected, True, bool(words))


ASK = """
import os
for policy in (0, 1, 2, 3):
    try:
        os.sched_get_priority_max(policy)
    except OSError:
        print(policy)
"""
"""Which of these arguments the filter refuses."""

REFUSED = {
    "SCMP_CMP_EQ": "2",
    "SCMP_CMP_NE": "0 1 3",
    "SCMP_CMP_LT": "0 1",
    "SCMP_CMP_LE": "0 1 2",
    "SCMP_CMP_GE": "2 3",
    "SCMP_CMP_GT": "3",
    "SCMP_CMP_MASKED_EQ": "2 3",
}


@pytest.mark.parametrize("operator", said(SECCOMP.operators))
def test_operators_of_seccomp(workshop: Workshop, operator: str) -> None:
    argument = {"index": 0, "value": 2, "valueTwo": 2, "op": operator}
    rule = {"names": ["sched_get_priority_max"], "action": "SCMP_ACT_ERRNO", "args": [argument]}
    assert workshop.python(filtered(rule), ASK).split() == REFUSED[operator].split()


def test_architectures_of_seccomp(workshop: Workshop) -> None:
    """Those of other processors have nothing to say here, and are no mistake."""
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    code, text = made(workshop, filtered(rule, architectures=list(said(SECCOMP.archs))))
    assert (code, DENIED in text) == (1, True)


@pytest.mark.parametrize("flag", said(SECCOMP.known_flags))
def test_flags_of_seccomp(workshop: Workshop, tmp_path: Path, flag: str) -> None:
    """`supportedFlags` are those that runc's libseccomp takes too; here they are the kernel's."""
    assert set(said(SECCOMP.supported_flags)) <= set(said(SECCOMP.known_flags))
    names = ["mkdir", "mkdirat"]
    if flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV":
        with Listener(tmp_path / "listener") as listener:
            rule = {"names": names, "action": "SCMP_ACT_NOTIFY"}
            code, text = made(workshop, filtered(rule, flags=[flag], listenerPath=str(listener.path)))
        assert (code, LISTENED in text) == (1, True)
        return
    code, text = made(workshop, filtered({"names": names, "action": "SCMP_ACT_ERRNO"}, flags=[flag]))
    assert (code, DENIED in text) == (1, True)
