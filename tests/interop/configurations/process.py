"""The whole, and what a process is told."""

from __future__ import annotations

import os
from pathlib import Path

from libcontainer_py.kernel.constants import CAPABILITIES
from tests.interop.configurations.parts import (
    SETS,
    Config,
    capabilities,
    configuration,
    document,
    hook,
    limit,
    mounted,
    ours,
    user,
)
from tests.kernel.workshop import python_for_everybody, python_mounts

# -- the whole ---------------------------------------------------------------------------------------------------------


@configuration()
def as_runc_spec_writes_it(config: Config) -> None:
    pass


@configuration()
def a_writable_root(config: Config) -> None:
    config["root"]["readonly"] = False


@configuration()
def the_least(config: Config) -> None:
    config["linux"] = {"namespaces": [{"type": "mount"}], "cgroupsPath": "/<id>"}
    config["process"] = {"user": {}, "cwd": "/", "args": ["sh"]}
    config["mounts"] = [*python_mounts("/usr"), {"destination": "/proc", "type": "proc", "source": "proc"}]
    del config["hostname"]


@configuration()
def no_mounts_but_the_program(config: Config) -> None:
    config["mounts"] = [*python_mounts("/usr"), mounted(config, "/proc")]


@configuration()
def annotations_are_not_seen(config: Config) -> None:
    config["annotations"] = {"org.example": "x"}


@configuration()
def unknown_fields(config: Config) -> None:
    config["com.example"] = {"x": 1}
    config["process"]["someday"] = config["linux"]["someday"] = [1]


@configuration()
def as_podman_writes_it(config: Config) -> None:
    given = document("config-podman-small.json")
    config["process"] |= {name: given["process"][name] for name in ("user", "env", "capabilities")}
    for name in ("maskedPaths", "readonlyPaths", "namespaces", "seccomp"):
        config["linux"][name] = given["linux"][name]
    kept = [one for one in given["mounts"] if one["type"] != "bind"]
    config["mounts"] = kept + python_mounts("/usr")
    config["process"]["noNewPrivileges"] = False


@configuration()
def as_containerd_writes_it(config: Config) -> None:
    given = document("config-containerd.json")
    config["process"] |= {name: given["process"][name] for name in ("user", "env", "capabilities", "noNewPrivileges")}
    for name in ("maskedPaths", "readonlyPaths", "namespaces", "seccomp"):
        config["linux"][name] = given["linux"][name]
    config["linux"]["resources"]["devices"] = given["linux"]["resources"]["devices"]
    config["mounts"] = given["mounts"] + python_mounts("/usr")
    del config["hostname"]


# -- the process -------------------------------------------------------------------------------------------------------


@configuration()
def another_user(config: Config) -> None:
    user(config, 1234, 2345)


@configuration()
def another_user_with_groups_and_umask(config: Config) -> None:
    user(config, 1234, 2345, 5, 42, 2345, umask=0o027)


@configuration("1.1.5")
def a_user_of_a_large_number(config: Config) -> None:
    user(config, 2**31, 2**32 - 2)


@configuration()
def root_with_groups(config: Config) -> None:
    user(config, 0, 0, 0, 10)


@configuration()
def umask_of_nothing(config: Config) -> None:
    user(config, 0, 0, umask=0)


@configuration()
def all_capabilities(config: Config) -> None:
    config["process"]["capabilities"] = dict.fromkeys(SETS, ours())
    config["process"]["noNewPrivileges"] = False


@configuration()
def all_capabilities_of_another_user(config: Config) -> None:
    config["process"]["capabilities"] = dict.fromkeys(SETS, ours())
    user(config, 7, 7)


@configuration()
def no_capabilities(config: Config) -> None:
    del config["process"]["capabilities"]


@configuration()
def no_capabilities_of_another_user(config: Config) -> None:
    del config["process"]["capabilities"]
    user(config, 7, 8, 9)


@configuration()
def each_set_its_own_capabilities(config: Config) -> None:
    capabilities(
        config,
        bounding="CHOWN KILL SETUID NET_RAW",
        permitted="CHOWN KILL SETUID",
        effective="CHOWN",
        inheritable="CHOWN KILL",
        ambient="KILL",
    )


@configuration()
def ambient_capabilities_of_another_user(config: Config) -> None:
    capabilities(config, bounding="KILL NET_RAW", permitted="KILL NET_RAW", inheritable="KILL", ambient="KILL")
    user(config, 7, 7)
    config["process"]["noNewPrivileges"] = False


@configuration()
def bounding_alone(config: Config) -> None:
    capabilities(config, bounding="KILL NET_RAW")
    config["process"]["noNewPrivileges"] = False


@configuration()
def an_unknown_capability(config: Config) -> None:
    capabilities(config, bounding="KILL FLY", permitted="KILL FLY")


@configuration("1.1.5")
def a_capability_that_cannot_be_granted(config: Config) -> None:
    missing = [name for name in CAPABILITIES if name not in ours()] or ["CAP_NEVER_HEARD_OF"]
    for name in ("bounding", "permitted", "effective"):
        config["process"]["capabilities"][name] += missing


@configuration()
def new_privileges(config: Config) -> None:
    config["process"]["noNewPrivileges"] = False


@configuration()
def limits(config: Config) -> None:
    config["process"]["rlimits"] = []
    limit(config, CORE=(0, 2**64 - 1), FSIZE=(1 << 30, 1 << 40), NPROC=(100, 200), STACK=(1 << 23, 1 << 24))
    limit(config, NOFILE=(64, 128), MEMLOCK=(0, 0), NICE=(0, 0), SIGPENDING=(99, 100), DATA=(1 << 33, 1 << 34))


@configuration()
def no_limits(config: Config) -> None:
    del config["process"]["rlimits"]


@configuration(refused=True)
def a_soft_limit_above_the_hard_one(config: Config) -> None:
    limit(config, CORE=(2, 1))


@configuration(refused=True)
def a_limit_twice(config: Config) -> None:
    limit(config, CORE=(1, 1))
    limit(config, CORE=(2, 2))


@configuration(refused=True)
def an_unknown_limit(config: Config) -> None:
    limit(config, SLEEP=(1, 1))


@configuration()
def a_likely_victim(config: Config) -> None:
    config["process"]["oomScoreAdj"] = 777


@configuration()
def an_existing_cwd(config: Config) -> None:
    config["process"]["cwd"] = "/tmp"


@configuration()
def a_missing_cwd(config: Config) -> None:
    config["process"]["cwd"] = "/made/when/missing"
    config["root"]["readonly"] = False


@configuration()
def a_missing_cwd_of_another_user(config: Config) -> None:
    config["process"]["cwd"] = "/made/when/missing"
    user(config, 7, 7)


@configuration()
def a_cwd_that_leads_up(config: Config) -> None:
    config["process"]["cwd"] = "/tmp/../../etc/."


@configuration()
def a_cwd_below_a_mount(config: Config) -> None:
    config["process"]["cwd"] = "/dev/shm/new"


@configuration(prepare=lambda rootfs: (rootfs / "link").symlink_to("tmp"))
def a_cwd_through_a_link(config: Config) -> None:
    config["process"]["cwd"] = "/link"


@configuration(refused=True)
def a_relative_cwd(config: Config) -> None:
    config["process"]["cwd"] = "tmp"


@configuration(refused=True)
def a_cwd_that_is_a_file(config: Config) -> None:
    config["process"]["cwd"] = "/probe.py"


def _closed(rootfs: Path) -> None:
    (rootfs / "closed").mkdir(mode=0o700)


@configuration(prepare=_closed)
def a_cwd_that_the_user_may_not_enter(config: Config) -> None:
    config["process"]["cwd"] = "/closed"
    capabilities(config)
    user(config, 7, 7)


def _of_the_user(rootfs: Path) -> None:
    _closed(rootfs)
    os.chown(rootfs / "closed", 7, 7)


@configuration(prepare=_of_the_user)
def a_cwd_that_the_user_alone_may_enter(config: Config) -> None:
    config["process"]["cwd"] = "/closed"
    capabilities(config)
    user(config, 7, 7)


@configuration()
def environment(config: Config) -> None:
    config["process"]["env"] = ["A=1", "EMPTY=", "B=x=y", "NEWLINE=a\nb", "A=2", "UMLAUT=ä", "PATH=/bin", "C=3"]


@configuration()
def home_is_given(config: Config) -> None:
    config["process"]["env"] += ["HOME=/given"]


@configuration()
def an_empty_home(config: Config) -> None:
    config["process"]["env"] += ["HOME="]


@configuration()
def no_environment(config: Config) -> None:
    del config["process"]["env"]


@configuration(refused=True)
def a_variable_without_a_value(config: Config) -> None:
    config["process"]["env"] += ["LONELY"]


@configuration(prepare=lambda rootfs: (rootfs / "etc/passwd").write_text("root:x:0:0::/:\nseven:x:7:7::/home/seven:\n"))
def home_of_passwd(config: Config) -> None:
    user(config, 7, 7)


@configuration()
def the_program_by_its_name(config: Config) -> None:
    path = python_for_everybody()
    config["process"]["args"] = [os.path.basename(path), "-I", "-S", "-B", "/probe.py"]
    config["process"]["env"] = [f"PATH=/nowhere:/etc:{os.path.dirname(path)}"]


@configuration()
def odd_arguments(config: Config) -> None:
    config["process"]["args"] = [
        *(python_for_everybody(), "-I", "-S", "-B", "-c"),
        "import json, sys; print(json.dumps(sys.argv))",
        *("", "a b", "$HOME", "ä\n", "--", "-x"),
    ]


@configuration(refused=True)
def a_missing_program(config: Config) -> None:
    config["process"]["args"] = ["/bin/nowhere"]


@configuration(refused=True)
def a_program_that_is_on_no_path(config: Config) -> None:
    config["process"]["args"] = ["nowhere"]


@configuration(refused=True)
def a_program_that_may_not_be_executed(config: Config) -> None:
    config["process"]["args"] = ["/probe.py"]


@configuration(refused=True)
def no_program(config: Config) -> None:
    config["process"]["args"] = []


@configuration()
def a_console_size_without_a_terminal(config: Config) -> None:
    config["process"]["consoleSize"] = {"height": 10, "width": 10}


# -- versions ----------------------------------------------------------------------------------------------------------


@configuration("version")
def the_first_version(config: Config) -> None:
    config["hooks"] = {"createRuntime": [hook("createRuntime")]}
    config["ociVersion"] = "1.0.0"


@configuration("of no effect")
def another_version(config: Config) -> None:
    config["ociVersion"] = "2.0.0"
