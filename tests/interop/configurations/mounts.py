"""Mounts and the root."""

from __future__ import annotations

import os
from pathlib import Path

from tests.interop.configurations.parts import (
    CONFIGURATIONS,
    Config,
    Configuration,
    configuration,
    mount,
    mounted,
    without_mounts,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _of_binds(options: str) -> Callable[[Config], None]:
    return lambda config: mount(config, "/some/where", "<tree>", "none", options)


for _options in (
    "bind",
    "rbind",
    "bind ro",
    "rbind ro",
    "bind rw",
    "bind ro rw",
    "bind nosuid nodev noexec",
    "bind suid dev exec",
    "bind noatime",
    "bind strictatime",
    "bind relatime nodiratime",
    "bind nosymfollow",
    "rbind private",
    "rbind rprivate ro",
    "bind slave",
    "rbind rslave",
    "bind shared",
    "rbind rshared",
    "bind unbindable",
    "rbind runbindable",
):
    CONFIGURATIONS[f"a mount with {_options}"] = Configuration(
        _of_binds(_options), None, refused=False, rows=frozenset()
    )


@configuration("access times")
def a_mount_that_keeps_noatime(config: Config) -> None:
    mount(config, "/below", "<tree>/below", "none", "bind nodiratime")


@configuration()
def a_file_is_bound(config: Config) -> None:
    mount(config, "/etc/deep/down/file", "<tree>/file", "bind", "bind ro")


@configuration(prepare=lambda rootfs: (rootfs.parent / "beside").mkdir())
def a_relative_source(config: Config) -> None:
    mount(config, "/beside", "beside", "none", "bind")


@configuration(prepare=lambda rootfs: (rootfs / "etc/link").symlink_to("../tmp/target"))
def onto_a_link(config: Config) -> None:
    mount(config, "/etc/link", "<tree>", "none", "bind")


@configuration(prepare=lambda rootfs: (rootfs / "link").symlink_to("/tmp"))
def below_a_link(config: Config) -> None:
    mount(config, "/link/inner", "<tree>", "none", "bind")


@configuration(prepare=lambda rootfs: (rootfs / "link").symlink_to("../../../../../../tmp/out"))
def onto_a_link_that_leads_out(config: Config) -> None:
    mount(config, "/link", "<tree>", "none", "bind")


@configuration()
def a_source_that_is_a_link(config: Config) -> None:
    mount(config, "/some", "<tree>/link", "none", "bind")


@configuration()
def a_destination_that_is_not_clean(config: Config) -> None:
    mount(config, "/tmp/../etc//./x/", "<tree>", "none", "bind")


@configuration()
def a_destination_through_dots(config: Config) -> None:
    mount(config, "/../../tmp/y", "<tree>", "none", "bind")


@configuration()
def a_relative_destination(config: Config) -> None:
    mount(config, "tmp/relative", "<tree>", "none", "bind")


@configuration(refused=True)
def a_missing_source(config: Config) -> None:
    mount(config, "/some", "/not/there", "none", "bind")


@configuration(refused=True)
def a_directory_onto_a_file(config: Config) -> None:
    mount(config, "/probe.py", "<tree>", "none", "bind")


@configuration(refused=True)
def a_file_onto_a_directory(config: Config) -> None:
    mount(config, "/etc", "<tree>/file", "none", "bind")


@configuration()
def one_mount_above_the_other(config: Config) -> None:
    mount(config, "/tmp", "<tree>", "none", "bind")
    mount(config, "/tmp", "tmpfs", "tmpfs", "size=64k")
    mount(config, "/tmp", "<tree>/below", "none", "bind")


@configuration()
def a_mount_hides_an_earlier_one(config: Config) -> None:
    mount(config, "/tmp/a/b", "<tree>", "none", "bind")
    mount(config, "/tmp/a", "tmpfs", "tmpfs", "")


@configuration("1.1.5")
def a_bind_mount_in_proc(config: Config) -> None:
    mount(config, "/proc/sys/kernel", "<tree>", "none", "bind")


@configuration()
def a_bind_mount_of_what_may_be_in_proc(config: Config) -> None:
    mount(config, "/proc/uptime", "<tree>/file", "none", "bind")


@configuration()
def the_host_device_is_bound(config: Config) -> None:
    mount(config, "/etc/zero", "/dev/zero", "none", "bind")


@configuration()
def a_tmpfs(config: Config) -> None:
    mount(config, "/tmpfs", "some", "tmpfs", "nosuid nodev size=1m mode=1770 uid=3 gid=4")


@configuration()
def a_tmpfs_without_options(config: Config) -> None:
    mount(config, "/tmpfs", kind="tmpfs")


def _odd_mode(rootfs: Path) -> None:
    (rootfs / "odd").mkdir()
    (rootfs / "odd").chmod(0o1731)
    os.chown(rootfs / "odd", 5, 6)


@configuration(prepare=_odd_mode)
def a_tmpfs_over_a_directory(config: Config) -> None:
    mount(config, "/odd", "tmpfs", "tmpfs", "size=1m")


@configuration(prepare=_odd_mode)
def a_tmpfs_of_a_mode_over_a_directory(config: Config) -> None:
    mount(config, "/odd", "tmpfs", "tmpfs", "mode=700")


@configuration()
def a_readonly_tmpfs_with_a_mount_in_it(config: Config) -> None:
    mount(config, "/tmpfs", "tmpfs", "tmpfs", "ro")
    mount(config, "/tmpfs/inner", "<tree>", "none", "bind")


@configuration()
def flags_of_a_file_system(config: Config) -> None:
    mount(config, "/tmpfs", "tmpfs", "tmpfs", "noatime nodiratime sync dirsync lazytime nosymfollow")


@configuration()
def recursive_flags_of_a_file_system(config: Config) -> None:
    mount(config, "/tmpfs", "tmpfs", "tmpfs", "rnosuid rnoexec")


@configuration("access times")
def access_times_of_cgroups(config: Config) -> None:
    mounted(config, "/sys/fs/cgroup")["options"] = ["nosuid", "strictatime"]


@configuration()
def a_shared_mount_in_a_root_that_is_a_slave(config: Config) -> None:
    config["linux"]["rootfsPropagation"] = "rslave"
    mount(config, "/shared", "<tree>", "none", "rbind rshared")


@configuration()
def propagation_of_a_file_system(config: Config) -> None:
    mount(config, "/tmpfs", "tmpfs", "tmpfs", "shared")


@configuration(refused=True)
def an_option_that_the_file_system_does_not_know(config: Config) -> None:
    mount(config, "/tmpfs", "tmpfs", "tmpfs", "colour=blue")


@configuration(refused=True)
def a_file_system_that_the_kernel_does_not_know(config: Config) -> None:
    mount(config, "/x", "x", "dreamfs")


def _layers(rootfs: Path) -> None:
    for name in ("lower", "upper", "work"):
        (rootfs.parent / name).mkdir()


@configuration(prepare=_layers)
def an_overlay(config: Config) -> None:
    mount(
        config, "/over", "overlay", "overlay", "lowerdir=<bundle>/lower upperdir=<bundle>/upper workdir=<bundle>/work"
    )


@configuration()
def proc_that_hides_others(config: Config) -> None:
    mounted(config, "/proc")["options"] = ["nosuid", "noexec", "nodev", "hidepid=2"]


@configuration()
def a_readonly_proc(config: Config) -> None:
    mounted(config, "/proc")["options"] = ["ro"]


@configuration("1.1.5")
def no_proc(config: Config) -> None:
    without_mounts(config, "/proc")


@configuration()
def a_writable_sys(config: Config) -> None:
    mounted(config, "/sys")["options"] = ["nosuid", "noexec", "nodev"]


@configuration()
def writable_cgroups(config: Config) -> None:
    mounted(config, "/sys/fs/cgroup")["options"] = ["nosuid", "noexec", "nodev", "relatime", "rw"]


@configuration()
def writable_cgroups_in_a_namespace(config: Config) -> None:
    writable_cgroups(config)
    config["linux"]["namespaces"].append({"type": "cgroup"})


@configuration()
def no_cgroup_mount(config: Config) -> None:
    without_mounts(config, "/sys/fs/cgroup")


@configuration()
def another_devpts(config: Config) -> None:
    mounted(config, "/dev/pts")["options"] = ["nosuid", "noexec", "newinstance", "ptmxmode=0600", "mode=0600"]


@configuration()
def a_readonly_dev(config: Config) -> None:
    mounted(config, "/dev")["options"].append("ro")


@configuration()
def no_dev(config: Config) -> None:
    without_mounts(config, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")


@configuration()
def the_hosts_dev(config: Config) -> None:
    without_mounts(config, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    config["mounts"].append({"destination": "/dev", "source": "/dev", "type": "bind", "options": ["rbind", "rslave"]})


def _proc_is_a_link(rootfs: Path) -> None:
    (rootfs / "proc").rmdir()
    (rootfs / "proc").symlink_to("tmp")


@configuration(prepare=_proc_is_a_link, refused=True)
def proc_onto_a_link(config: Config) -> None:
    pass


def _proc_is_a_file(rootfs: Path) -> None:
    (rootfs / "proc").rmdir()
    (rootfs / "proc").touch()


@configuration(prepare=_proc_is_a_file, refused=True)
def proc_onto_a_file(config: Config) -> None:
    pass


def _dev_is_a_link(rootfs: Path) -> None:
    (rootfs / "dev").rmdir()
    (rootfs / "dev").symlink_to("tmp")


@configuration(prepare=_dev_is_a_link)
def dev_onto_a_link(config: Config) -> None:
    pass


def _of_roots(propagation: str) -> Callable[[Config], None]:
    return lambda config: config["linux"].update(rootfsPropagation=propagation)


for _propagation in ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"):
    _rows = frozenset({"propagation"} if _propagation.endswith(("shared", "unbindable")) else ())
    CONFIGURATIONS[f"a root that is {_propagation}"] = Configuration(
        _of_roots(_propagation), None, refused=False, rows=_rows
    )


@configuration(refused=True)
def an_unknown_propagation(config: Config) -> None:
    config["linux"]["rootfsPropagation"] = "sideways"


@configuration("1.1.5")
def the_defaults_of_a_new_file_system(config: Config) -> None:
    mount(config, "/new", "tmpfs", "tmpfs", "defaults nosuid")


@configuration("1.1.5")
def cgroups_in_place_of_proc(config: Config) -> None:
    mount(config, "/proc", "cgroup", "cgroup")
    config["linux"]["namespaces"].append({"type": "cgroup"})
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}


@configuration("1.1.5")
def sysfs_over_sysfs(config: Config) -> None:
    for _ in range(2):
        mount(config, "/new", "sysfs", "sysfs")
