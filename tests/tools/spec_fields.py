"""Write tests/data/spec-fields.txt: the name of every field of the specification that concerns Linux, and no more.

By hand, with a checkout or a bare copy of github.com/opencontainers/runtime-spec::

    python tests/tools/spec_fields.py PATH [--revision v1.3.0] > tests/data/spec-fields.txt

Names are read off the Go types of specs-go/, which the documents describe: config.md and config-linux.md without a
prefix, runtime.md's State below `state`, config-linux.md's Container Process State below `containerProcessState`,
features.md and features-linux.md below `features`. `[]` stands for each item of an array (`mounts[].options`), `.*` for
each key of an object whose keys are data (`linux.netDevices.*.name`). The first line has the version.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from typing import NamedTuple

STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^\t(\w+)\s+(\S+)\s+`json:\"(\w+)[^\"]*\"(?:\s+platform:\"([\w,]+)\")?`", re.MULTILINE)
EMBEDDED = re.compile(r"^\t(\w+)$", re.MULTILINE)
VERSION = re.compile(r"Version(?:Major|Minor|Patch) = (\d+)|VersionDev = \"(.*)\"")


class Field(NamedTuple):
    name: str
    suffix: str
    """What a path to the fields inside goes on with: `""`, `[]` or `.*`."""
    type: str


def fields_of(source: str) -> dict[str, list[Field]]:
    """The fields of each Go struct, without those of other platforms."""
    found: dict[str, list[Field]] = {}
    embedded: dict[str, list[str]] = {}
    for struct, body in STRUCT.findall(source):
        embedded[struct] = EMBEDDED.findall(body)
        found[struct] = []
        tagged = 0
        for _, kind, name, platforms in FIELD.findall(body):
            tagged += 1
            if platforms and "linux" not in platforms.split(","):
                continue
            bare = kind.removeprefix("*")
            suffix = "[]" if bare.startswith("[]") else ".*" if bare.startswith("map[string]") else ""
            found[struct].append(Field(name, suffix, bare.removeprefix("[]").removeprefix("map[string]").lstrip("*")))
        if tagged != body.count("`json:"):
            raise SystemExit(f"{struct}: {body.count('`json:')} fields, but {tagged} understood")
    for struct, others in embedded.items():
        for other in others:
            found[struct] = [*found[other], *found[struct]]
    return found


def paths(structs: dict[str, list[Field]], struct: str, prefix: str = "") -> list[str]:
    """The paths of all fields of a struct and of what is inside of them, in the order of the source."""
    found = []
    for field in structs[struct]:
        path = prefix + field.name
        found.append(path)
        if field.type in structs:
            found += paths(structs, field.type, f"{path}{field.suffix}.")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the names of the specification's fields, one a line.")
    parser.add_argument("path", help="a checkout or bare copy of opencontainers/runtime-spec")
    parser.add_argument("--revision", default="v1.3.0", help="the tag or commit to read (default: %(default)s)")
    args = parser.parse_args()

    def source(path: str) -> str:
        command = ["git", "-C", args.path, "show", f"{args.revision}:{path}"]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout

    numbers = [number or dev for number, dev in VERSION.findall(source("specs-go/version.go"))]
    version = ".".join(numbers[:3]) + "".join(numbers[3:])
    config, state = fields_of(source("specs-go/config.go")), fields_of(source("specs-go/state.go"))
    features = fields_of(source("specs-go/features/features.go"))
    lines = [
        f"# OCI runtime specification {version}: the fields that concern Linux. Made by tests/tools/spec_fields.py",
        *paths(config, "Spec"),
        *paths(state, "State", "state."),
        *paths(state, "ContainerProcessState", "containerProcessState."),
        *paths(features, "Features", "features."),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
