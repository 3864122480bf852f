"""Devices, cgroups, hooks, kernel parameters, hidden paths, filters."""

from __future__ import annotations

import os
from pathlib import Path

from tests.interop.configurations.parts import (
    Config,
    configuration,
    device,
    hook,
    mount,
    mounted,
    resources,
    rule,
    seccomp,
    user,
    without_namespaces,
)

# -- devices -----------------------------------------------------------------------------------------------------------


@configuration()
def more_devices(config: Config) -> None:
    device(config, "/dev/kmsg", "c", 1, 11, fileMode=0o640)
    device(config, "/dev/deep/down/fuse", "c", 10, 229, fileMode=0o600, uid=5, gid=6)
    device(config, "/dev/pipe", "p", 0, 0, fileMode=0o622, uid=5)
    device(config, "/dev/block", "b", 7, 77)
    device(config, "/dev/unbuffered", "u", 1, 3, fileMode=0o666)


@configuration()
def another_mode_for_a_default_device(config: Config) -> None:
    device(config, "/dev/zero", "c", 1, 5, fileMode=0o600, uid=3, gid=4)


@configuration(refused=True)
def null_without_a_rule(config: Config) -> None:
    device(config, "/dev/null", "c", 1, 3, fileMode=0o666)


@configuration()
def null_with_a_rule(config: Config) -> None:
    device(config, "/dev/null", "c", 1, 3, fileMode=0o600)
    rule(config, "c", 1, 3, "rwm")


@configuration()
def a_device_outside_of_dev(config: Config) -> None:
    device(config, "/etc/some/null", "c", 1, 3, fileMode=0o606)


@configuration(refused=True)
def a_device_of_no_kind(config: Config) -> None:
    device(config, "/dev/x", "x", 1, 1)


@configuration()
def devices_are_allowed(config: Config) -> None:
    device(config, "/dev/fuse", "c", 10, 229)
    device(config, "/dev/console", "c", 5, 1)
    rule(config, "c", 10, 229, "rw")
    rule(config, "c", 5, None, "rwm")


@configuration()
def all_devices_are_allowed(config: Config) -> None:
    device(config, "/dev/fuse", "c", 10, 229)
    config["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]


@configuration()
def a_rule_takes_back_an_earlier_one(config: Config) -> None:
    device(config, "/dev/fuse", "c", 10, 229)
    rule(config, "c", 10, 229, "rwm")
    rule(config, "c", 10, 229, "w", allow=False)


@configuration()
def no_rules(config: Config) -> None:
    device(config, "/dev/fuse", "c", 10, 229)
    del config["linux"]["resources"]


@configuration("1.1.5")
def a_rule_without_access(config: Config) -> None:
    config["linux"]["resources"]["devices"].append({"allow": True, "type": "c", "major": 10, "minor": 229})


@configuration("masks")
def a_dev_without_devices(config: Config) -> None:
    mounted(config, "/dev")["options"].append("nodev")


# -- cgroups -----------------------------------------------------------------------------------------------------------


@configuration()
def a_cgroup_below_another(config: Config) -> None:
    config["linux"]["cgroupsPath"] = "/<id>/inner"


@configuration()
def limits_of_memory(config: Config) -> None:
    resources(config, memory={"limit": 1 << 30, "reservation": 1 << 29, "swap": 1 << 31, "swappiness": 10})


@configuration()
def no_limits_of_memory(config: Config) -> None:
    resources(config, memory={"limit": -1, "swap": -1})


@configuration("swap")
def no_killer(config: Config) -> None:
    resources(config, memory={"limit": 1 << 30, "disableOOMKiller": True})


@configuration(refused=True)
def swap_below_the_limit_of_memory(config: Config) -> None:
    resources(config, memory={"limit": 1 << 30, "swap": 1 << 29})


@configuration()
def shares_and_bandwidth(config: Config) -> None:
    resources(config, cpu={"shares": 512, "quota": 150_000, "period": 50_000})


@configuration()
def a_period_alone(config: Config) -> None:
    resources(config, cpu={"period": 50_000})


@configuration()
def a_processor(config: Config) -> None:
    resources(config, cpu={"cpus": "0", "mems": "0"})


@configuration(refused=True)
def a_processor_that_is_not_there(config: Config) -> None:
    resources(config, cpu={"cpus": "1000"})


@configuration()
def a_number_of_tasks(config: Config) -> None:
    resources(config, pids={"limit": 77})


@configuration()
def any_number_of_tasks(config: Config) -> None:
    resources(config, pids={"limit": -1})


# -- hooks -------------------------------------------------------------------------------------------------------------


@configuration("poststart")
def hooks_of_all_kinds(config: Config) -> None:
    config["annotations"] = {"org.example": "x"}
    outside = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    config["hooks"] = {kind: [hook(kind, "first"), hook(kind, "second")] for kind in outside}
    inside = {"path": "/bin/busybox", "args": ["sh", "-c", "cat >/tmp/state"]}
    config["hooks"]["startContainer"] = [inside]
    mount(config, "/tmp", "tmpfs", "tmpfs")


@configuration(refused=True)
def a_hook_that_fails(config: Config) -> None:
    config["hooks"] = {"createRuntime": [{"path": "<busybox>", "args": ["false"]}]}


@configuration(refused=True)
def a_hook_that_is_not_there(config: Config) -> None:
    config["hooks"] = {"createContainer": [{"path": "/not/there"}]}


@configuration("directory of hooks")
def arguments_and_environment_of_hooks(config: Config) -> None:
    one = hook("createRuntime", "$0 $(env)") | {"env": ["A=1", "B=2", "EMPTY="]}
    config["hooks"] = {"createRuntime": [one]}


# -- kernel parameters, hidden paths, the rest -------------------------------------------------------------------------


@configuration()
def kernel_parameters(config: Config) -> None:
    config["linux"]["sysctl"] = {
        "net.ipv4.ip_forward": "1",
        "net.ipv4.ping_group_range": "0 100",
        "net/core/somaxconn": "64",
        "kernel.shmmax": "123456789",
        "kernel.sem": "1 2 3 4",
        "kernel.shm_rmid_forced": "1",
        "fs.mqueue.msg_max": "20",
    }


@configuration(refused=True)
def a_parameter_of_the_hosts(config: Config) -> None:
    config["linux"]["sysctl"] = {"vm.swappiness": "1"}


@configuration(refused=True)
def a_parameter_of_the_hosts_network(config: Config) -> None:
    without_namespaces(config, "network")
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}


@configuration(refused=True)
def a_parameter_that_is_not_there(config: Config) -> None:
    config["linux"]["sysctl"] = {"net.ipv4.no_such_thing": "1"}


@configuration(refused=True)
def the_hostname_as_a_parameter(config: Config) -> None:
    config["linux"]["sysctl"] = {"kernel.hostname": "x"}


def _secrets(rootfs: Path) -> None:
    (rootfs / "etc/secrets").mkdir()
    (rootfs / "etc/secrets/one").write_text("secret")
    (rootfs / "etc/secret").write_text("secret")
    (rootfs / "etc/link").symlink_to("secret")
    os.mkfifo(rootfs / "etc/pipe")


@configuration(prepare=_secrets)
def more_masked_paths(config: Config) -> None:
    config["linux"]["maskedPaths"] += ["/etc/secrets", "/etc/link", "/not/there", "/dev/shm", "/etc/pipe"]


@configuration()
def nothing_masked_and_nothing_readonly(config: Config) -> None:
    del config["linux"]["maskedPaths"], config["linux"]["readonlyPaths"]


@configuration(prepare=_secrets)
def more_readonly_paths(config: Config) -> None:
    config["root"]["readonly"] = False
    mount(config, "/etc/inner", "<tree>", "none", "rbind")
    config["linux"]["readonlyPaths"] += [
        "/etc/secrets",
        "/etc/secret",
        "/etc/inner",
        "/not/there",
        "/dev/shm",
        "/etc/link",
    ]


@configuration(prepare=_secrets)
def a_path_masked_and_readonly(config: Config) -> None:
    config["linux"]["maskedPaths"] += ["/etc/secrets", "/etc/secret"]
    config["linux"]["readonlyPaths"] += ["/etc/secrets", "/etc/secret"]


# -- seccomp -----------------------------------------------------------------------------------------------------------


@configuration()
def a_filter(config: Config) -> None:
    seccomp(config, {"names": ["getcwd", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 93})


@configuration()
def a_filter_of_arguments(config: Config) -> None:
    where = [{"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}]
    seccomp(config, {"names": ["prctl"], "action": "SCMP_ACT_ERRNO", "args": where})


@configuration()
def a_filter_of_another_user_with_new_privileges(config: Config) -> None:
    seccomp(config, {"names": ["keyctl"], "action": "SCMP_ACT_ERRNO"})
    user(config, 7, 7)
    config["process"]["noNewPrivileges"] = False


@configuration()
def a_filter_that_says_what_the_default_says(config: Config) -> None:
    seccomp(config, {"names": ["keyctl"], "action": "SCMP_ACT_ALLOW"})


@configuration("1.1.5")
def a_filter_for_machines_of_another_byte_order(config: Config) -> None:
    seccomp(config, architectures=["SCMP_ARCH_S390X", "SCMP_ARCH_X86_64"])


@configuration(refused=True)
def a_filter_of_an_unknown_action(config: Config) -> None:
    seccomp(config, {"names": ["keyctl"], "action": "SCMP_ACT_SHRUG"})


# -- personality -------------------------------------------------------------------------------------------------------


@configuration("of no effect")
def flags_of_a_personality(config: Config) -> None:
    config["linux"]["personality"] = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}
