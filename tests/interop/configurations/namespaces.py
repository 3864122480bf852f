"""Names and namespaces."""

from __future__ import annotations

from tests.interop.configurations.parts import (
    FIRST_ID,
    Config,
    configuration,
    owned_by_it,
    user,
    user_namespace,
    without_mounts,
    without_namespaces,
)


@configuration()
def no_hostname(config: Config) -> None:
    del config["hostname"]


@configuration()
def an_empty_hostname(config: Config) -> None:
    config["hostname"] = ""


@configuration(refused=True)
def a_hostname_of_the_hosts(config: Config) -> None:
    without_namespaces(config, "uts")
    config["hostname"] = "some"


@configuration()
def a_cgroup_namespace(config: Config) -> None:
    config["linux"]["namespaces"].append({"type": "cgroup"})


@configuration()
def the_hosts_network(config: Config) -> None:
    without_namespaces(config, "network")


@configuration()
def the_hosts_pids(config: Config) -> None:
    without_namespaces(config, "pid")


@configuration()
def the_hosts_ipc(config: Config) -> None:
    without_namespaces(config, "ipc")


@configuration()
def the_hosts_names(config: Config) -> None:
    without_namespaces(config, "uts")


@configuration(refused=True)
def a_namespace_twice(config: Config) -> None:
    config["linux"]["namespaces"].append({"type": "pid"})


@configuration(refused=True)
def an_unknown_namespace(config: Config) -> None:
    config["linux"]["namespaces"].append({"type": "dream"})


@configuration()
def joined_namespaces(config: Config) -> None:
    without_namespaces(config, "network", "ipc", "uts")
    config["linux"]["namespaces"] += [
        {"type": kind, "path": f"<joined>/{file}"}
        for kind, file in (("network", "net"), ("ipc", "ipc"), ("uts", "uts"))
    ]


@configuration()
def a_joined_pid_namespace(config: Config) -> None:
    without_namespaces(config, "pid")
    config["linux"]["namespaces"].append({"type": "pid", "path": "<joined>/pid"})


@configuration(refused=True)
def a_namespace_of_another_kind(config: Config) -> None:
    without_namespaces(config, "network")
    config["linux"]["namespaces"].append({"type": "network", "path": "<joined>/uts"})


@configuration(refused=True)
def a_namespace_that_is_not_there(config: Config) -> None:
    without_namespaces(config, "network")
    config["linux"]["namespaces"].append({"type": "network", "path": "/proc/self/ns/nothing"})


@configuration(prepare=owned_by_it)
def a_user_namespace(config: Config) -> None:
    user_namespace(config)
    next(one for one in config["mounts"] if one["destination"] == "/sys")["look"] = True


@configuration(prepare=owned_by_it)
def a_user_namespace_and_another_user(config: Config) -> None:
    user_namespace(config)
    user(config, 7, 8, 9, 10)


@configuration(prepare=owned_by_it)
def a_user_namespace_of_several_ranges(config: Config) -> None:
    user_namespace(config, (0, FIRST_ID, 10), (10, 300000, 5), (1000, 200000, 1000))
    user(config, 1001, 11)


@configuration()
def a_user_namespace_of_the_hosts_ids(config: Config) -> None:
    user_namespace(config, (0, 0, 65536))


@configuration(prepare=owned_by_it)
def a_user_namespace_with_the_hosts_network(config: Config) -> None:
    # sysfs belongs to the network's user namespace: bound, since it may not be mounted
    user_namespace(config)
    without_namespaces(config, "network")
    without_mounts(config, "/sys", "/sys/fs/cgroup")
    config["mounts"].append({"destination": "/sys", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "ro"]})


@configuration(prepare=owned_by_it, refused=True)
def a_user_that_is_not_mapped(config: Config) -> None:
    user_namespace(config, (0, FIRST_ID, 10))
    user(config, 10, 0)


@configuration("of no effect")
def mappings_without_a_user_namespace(config: Config) -> None:
    config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
