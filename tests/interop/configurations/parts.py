"""What configurations are made of.

Each is a function of its name's words that changes what `runc spec` writes. Words in angle brackets become the
container's `<id>`, its `<bundle>` and `<tree>`, a directory of the host with another file system mounted below.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from libcontainer_py.kernel.constants import CAPABILITIES
from tests.kernel.workshop import RUNC_1_1_5, python_for_everybody, python_mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

Config = dict[str, Any]
DATA = Path(__file__).parents[2] / "data"
FIRST_ID = 100000
"""The first id of the host's that user namespaces have."""


class Configuration(NamedTuple):
    """What a configuration is made by, and what is known of it."""

    change: Callable[[Config], None]
    prepare: Callable[[Path], object] | None
    """Gets the root file system before."""
    refused: bool
    """Whether neither takes it."""
    rows: frozenset[str]
    """Keys of tests/interop/rows.py: the differences that it shows beside those of `runc spec`."""


CONFIGURATIONS: dict[str, Configuration] = {}


def configuration(
    *rows: str, refused: bool = False, prepare: Callable[[Path], object] | None = None
) -> Callable[[Callable[[Config], None]], Callable[[Config], None]]:
    """List the function that is decorated."""

    def add(change: Callable[[Config], None]) -> Callable[[Config], None]:
        CONFIGURATIONS[change.__name__.strip("_").replace("_", " ")] = Configuration(
            change, prepare, refused, frozenset(rows)
        )
        return change

    return add


def base() -> Config:
    """What `runc spec` writes, without its terminal, with a cgroup of its own and the interpreter in reach."""
    config: Config = copy.deepcopy(RUNC_1_1_5)
    config["process"]["terminal"] = False
    config["linux"]["cgroupsPath"] = "/<id>"
    config["mounts"] += python_mounts("/usr")
    return config


def finish(config: Config) -> Config:
    """With the probe as its program, unless it has one of its own."""
    linux, process = config.get("linux", {}), config["process"]
    looks = {"hidden": linux.get("maskedPaths", []), "readonly": linux.get("readonlyPaths", [])}
    looks["trees"] = [one["destination"] for one in config["mounts"] if one.get("look")]
    for mount in config["mounts"]:
        mount.pop("look", None)
    if process["args"] == ["sh"]:
        process["args"] = [python_for_everybody(), "-I", "-S", "-B", "/probe.py"]
    if process["args"][-1:] == ["/probe.py"]:
        process["args"].append(json.dumps(looks))
    return config


def document(name: str) -> Config:
    """A configuration of tests/data."""
    found: Config = json.loads((DATA / name).read_text(encoding="utf-8"))
    return found


# -- parts -------------------------------------------------------------------------------------------------------------

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def mount(config: Config, destination: str, source: str = "", kind: str = "", options: str = "") -> None:
    """Append one; what is below its destination is compared too."""
    given = {"source": source, "type": kind, "options": options.split()}
    config["mounts"].append({"destination": destination, **{k: v for k, v in given.items() if v}, "look": True})


def mounted(config: Config, destination: str) -> Config:
    """The mount of a destination."""
    found: Config = next(one for one in config["mounts"] if one["destination"] == destination)
    return found


def without_mounts(config: Config, *destinations: str) -> None:
    config["mounts"] = [one for one in config["mounts"] if one["destination"] not in destinations]


def without_namespaces(config: Config, *kinds: str) -> None:
    config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] not in kinds]
    if "uts" in kinds:
        config.pop("hostname", None)


def capabilities(config: Config, **sets: str) -> None:
    config["process"]["capabilities"] = {
        kind: [f"CAP_{word}" for word in words.split()] for kind, words in sets.items()
    }


def ours() -> list[str]:
    """The capabilities that we can hand on."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    mask = int(status.partition("CapPrm:")[2].split()[0], 16)
    return [name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1]


def hook(kind: str, words: str = "") -> Config:
    """A hook that writes down its kind, some words, and the state that it got."""
    script = f'printf "%s\\t%s\\n" "{kind} {words}" "$(cat)" >><bundle>/hooks'
    return {"path": "<busybox>", "args": ["sh", "-c", script, "zero"]}


def user(config: Config, uid: int, gid: int, *groups: int, **more: int) -> None:
    config["process"]["user"] = {"uid": uid, "gid": gid, **more} | ({"additionalGids": [*groups]} if groups else {})


def limit(config: Config, **limits: tuple[int, int]) -> None:
    config["process"]["rlimits"] += [
        {"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, (soft, hard) in limits.items()
    ]


def rule(config: Config, kind: str, major: int | None, minor: int | None, access: str, *, allow: bool = True) -> None:
    given = {"type": kind, "major": major, "minor": minor, "access": access}
    config["linux"]["resources"]["devices"].append(
        {"allow": allow} | {name: value for name, value in given.items() if value is not None}
    )


def device(config: Config, path: str, kind: str, major: int, minor: int, **more: int) -> None:
    numbers = {} if kind == "p" else {"major": major, "minor": minor}
    config["linux"].setdefault("devices", []).append({"path": path, "type": kind, **numbers, **more})


def user_namespace(config: Config, *ranges: tuple[int, int, int]) -> None:
    """Of these (id inside, id of the host, size), or of one large range."""
    config["linux"]["namespaces"].append({"type": "user"})
    rows = ranges or ((0, FIRST_ID, 65536),)
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [{"containerID": c, "hostID": h, "size": size} for c, h, size in rows]


def owned_by_it(rootfs: Path) -> None:
    """The root file system belongs to the user namespace's root."""
    for path in (rootfs, *rootfs.rglob("*")):
        os.chown(path, FIRST_ID, FIRST_ID, follow_symlinks=False)


def resources(config: Config, **given: Config) -> None:
    config["linux"]["resources"] |= given


def seccomp(config: Config, *calls: Config, **more: object) -> None:
    given = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}
    config["linux"]["seccomp"] = given | {"syscalls": [*calls]} | more
