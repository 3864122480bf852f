"""The classes know every field of the specification, and no other.

The names are in tests/data/spec-fields.txt; tests/tools/spec_fields.py made it and says how it writes them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from libcontainer_py.spec import VERSION, ContainerProcessState, Features, Spec, State, codec, shapes

HEAD, *NAMES = (Path(__file__).parents[2] / "data" / "spec-fields.txt").read_text(encoding="utf-8").splitlines()

DOCUMENTS = {"": Spec, "state.": State, "containerProcessState.": ContainerProcessState, "features.": Features}

# What the classes have beyond the list: sections for other systems, which are kept as they are, and refused on Linux.
FOREIGN = {"windows", "solaris", "vm", "zos", "freebsd"}


def known(shape: shapes.Shape, prefix: str) -> list[str]:
    """The paths of the fields that a shape knows, as the list writes them."""
    if isinstance(shape, shapes.Listing):
        return known(shape.item, prefix + "[]")
    if isinstance(shape, shapes.Keyed):
        return known(shape.item, prefix + ".*")
    if not isinstance(shape, codec.Tree):
        return []
    start = prefix if prefix == "" or prefix.endswith(".") else f"{prefix}."
    return [path for one in shape.plan() for path in (start + one.json, *known(one.shape, start + one.json))]


OURS = [path for prefix, cls in DOCUMENTS.items() for path in known(codec.tree(cls), prefix)]


def test_every_field_is_known() -> None:
    assert [name for name in NAMES if name not in OURS] == []


def test_no_field_is_made_up() -> None:
    assert {name for name in OURS if name not in NAMES} == FOREIGN


def test_the_list_is_of_our_version() -> None:
    assert HEAD.split(":")[0] == f"# OCI runtime specification {VERSION}"


def test_the_list_has_each_name_once() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(
    "name",
    [
        "mounts[].options",
        "process.execCPUAffinity.final",
        "hooks.poststop[].timeout",
        "linux.resources.blockIO.weightDevice[].major",  # of a type that Go embeds
        "linux.timeOffsets.*.secs",
        "state.status",
        "containerProcessState.fds",
        "features.linux.mountExtensions.idmap.enabled",
    ],
)
def test_the_list_reaches_everywhere(name: str) -> None:
    assert name in NAMES


@pytest.mark.parametrize("name", ["process.commandLine", "process.user.username", *sorted(FOREIGN)])
def test_the_list_has_no_fields_of_other_systems(name: str) -> None:
    assert name not in NAMES
