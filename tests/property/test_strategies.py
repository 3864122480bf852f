"""What the strategies promise, and with them: validation passes what is right, and finds all that is wrong, at once."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from libcontainer_py.errors import ConfigError, InvalidId
from libcontainer_py.spec import Resources, Seccomp, Spec, codec, validate
from libcontainer_py.state.names import check_id
from libcontainer_py.testing.strategies import (
    BrokenSpec,
    broken_specs,
    container_ids,
    resources,
    seccomp_profiles,
    specs,
)
from libcontainer_py.testing.strategies.broken import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[1] / "data"
LEAST = {
    "ociVersion": "1.3.0",
    "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
    "root": {"path": "rootfs"},
    "linux": {"namespaces": [{"type": "mount"}]},
}
SMALLEST = settings(max_examples=300, database=None, derandomize=True, phases=[Phase.generate, Phase.shrink])


def said_of(document: dict[str, Any]) -> list[str]:
    """The paths of all problems of a document."""
    try:
        spec = Spec.from_dict(document)
    except ConfigError as err:
        return [problem.path for problem in err.problems]
    return [problem.path for problem in validate.problems(spec)]


# -- right ------------------------------------------------------------------------------------------------------------


@given(specs())
def test_what_is_right_passes_and_survives(spec: Spec) -> None:
    assert [str(problem) for problem in validate.problems(spec)] == []
    again = Spec.from_json(spec.to_json())
    assert again == spec
    assert again.to_dict() == spec.to_dict()
    assert validate.problems(again) == []


@given(specs())
def test_what_is_right_is_supported(spec: Spec) -> None:
    validate.check(spec)


def test_the_least() -> None:
    least: Spec = find(specs(), lambda _: True, settings=SMALLEST)
    assert least.to_dict() == LEAST


def test_one_field_shrinks_to_itself() -> None:
    found: Spec = find(specs(), lambda spec: bool(spec.linux and spec.linux.time_offsets), settings=SMALLEST)
    document = found.to_dict()
    (clock,) = document["linux"].pop("timeOffsets")
    assert clock in ("monotonic", "boottime")
    assert document == {**LEAST, "linux": {"namespaces": [{"type": "mount"}, {"type": "time"}]}}


def paths_of(value: Any, path: str = "") -> Iterator[str]:
    """The fields of a document as tests/data/spec-fields.txt writes them; keys that are data are `.*`."""
    if isinstance(value, list):
        for item in value:
            yield from paths_of(item, f"{path}[]")
    elif isinstance(value, dict):
        keyed = path in KEYED
        for key, item in value.items():
            inner = f"{path}.*" if keyed else f"{path}.{key}" if path else key
            if not keyed:
                yield inner
            yield from paths_of(item, inner)


KEYED = {
    "annotations",
    "linux.sysctl",
    "linux.netDevices",
    "linux.timeOffsets",
    "linux.resources.rdma",
    "linux.resources.unified",
}


def drawn_by(strategy: st.SearchStrategy[Any], prefix: str, examples: int) -> set[str]:
    """The fields of so many examples."""
    found: set[str] = set()

    @settings(max_examples=examples, database=None, derandomize=True, phases=[Phase.generate])
    @given(strategy)
    def draw(node: Any) -> None:
        found.update(paths_of(node.to_dict(), prefix))

    draw()
    return found


def test_every_field_of_the_specification_is_drawn() -> None:
    lines = (DATA / "spec-fields.txt").read_text(encoding="utf-8").splitlines()[1:]
    others = ("state.", "containerProcessState.", "features.")
    found = drawn_by(specs(), "", 500)
    found.add("linux.personality.flags")  # "Currently no flag values are supported"
    found |= drawn_by(resources(1) | resources(2), "linux.resources", 500)  # many fields, deep inside
    assert {line for line in lines if not line.startswith(others)} - found == set()


# -- wrong ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.touches[0])
def test_each_fault_alone(fault: Any) -> None:
    document = copy.deepcopy(LEAST)
    expected = fault.apply(document)
    assert Counter(said_of(document)) == Counter(expected)


@settings(max_examples=300)
@given(broken_specs())
def test_every_fault_is_found_and_nothing_else(broken: BrokenSpec) -> None:
    assert Counter(said_of(broken.document)) == Counter(broken.paths)
    assert set(said_of(json.loads(json.dumps(broken.document)))) == set(broken.paths)


def test_faults_of_different_kinds_come_together() -> None:
    """What cannot be decoded hides no wrong value, no character that may not be, and no rule between sections."""
    document = copy.deepcopy(LEAST)
    document["process"] |= {"terminal": "yes", "args": ["true", "\0"]}
    document |= {"root": {"path": ""}, "hostname": "host"}
    document["linux"]["namespaces"] = [{"type": "pid"}]
    assert said_of(document) == ["process.terminal", "process.args[1]", "root.path", "linux.namespaces", "hostname"]


def test_what_follows_from_another_problem_is_not_said() -> None:
    document = copy.deepcopy(LEAST)
    document["linux"]["namespaces"] += ["uts"]
    document["hostname"] = "host"  # would need the namespace that could not be read
    assert said_of(document) == ["linux.namespaces[1]"]


def test_one_fault_in_the_least_configuration_remains() -> None:
    found: BrokenSpec = find(broken_specs(), lambda _: True, settings=SMALLEST)
    assert found == BrokenSpec({**LEAST, "ociVersion": "2.0.0"}, ("ociVersion",))


# -- parts ------------------------------------------------------------------------------------------------------------


def number(value: int | None) -> int:
    return 0 if value is None else value


@pytest.mark.parametrize("version", [None, 1, 2])
def test_resources(version: Any) -> None:
    @given(resources(version))
    def holds(found: Resources) -> None:
        assert codec.inspect(found) == []
        assert Resources.from_json(found.to_json()) == found
        if version != 1:
            assert found.network is None
            assert found.memory is None or (found.memory.swappiness, found.memory.kernel_tcp) == (None, None)
            assert found.cpu is None or found.cpu.realtime_period is None
        if version != 2:
            assert not found.unified
        if found.memory and number(found.memory.limit) > 0:
            assert number(found.memory.reservation) <= number(found.memory.limit)
            assert found.memory.swap in (None, -1) or number(found.memory.swap) >= number(found.memory.limit)
        elif found.memory:
            assert found.memory.swap in (None, -1)
        if found.cpu and found.cpu.burst is not None:
            assert found.cpu.burst <= number(found.cpu.quota)
        for rdma in found.rdma.values():
            assert (rdma.hca_handles, rdma.hca_objects) != (None, None)

    holds()


@given(resources(hardware=False))
def test_resources_of_any_machine(found: Resources) -> None:
    assert (found.block_io, found.hugepage_limits, found.rdma, found.network) == (None, (), {}, None)
    assert found.cpu is None or (found.cpu.cpus, found.cpu.mems) == (None, None)


@given(seccomp_profiles() | seccomp_profiles(notify=False))
def test_profiles(found: Seccomp) -> None:
    assert codec.inspect(found) == []
    assert Seccomp.from_json(found.to_json()) == found
    for action, errno in [(found.default_action, found.default_errno_ret)] + [
        (rule.action, rule.errno_ret) for rule in found.syscalls
    ]:
        assert errno is None or action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
    assert found.default_action != "SCMP_ACT_NOTIFY"
    if found.listener_path is None:
        assert found.listener_metadata is None
        assert "SCMP_ACT_NOTIFY" not in [rule.action for rule in found.syscalls]
        assert "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" not in found.flags


@given(seccomp_profiles(notify=False))
def test_profiles_without_a_listener(found: Seccomp) -> None:
    assert found.listener_path is None


@given(container_ids())
def test_ids(name: str) -> None:
    check_id(name)


@given(container_ids(), st.sampled_from(["/", " ", ",", "\0", "é"]), st.integers(0, 255))
def test_ids_are_all_that_is_allowed(name: str, other: str, place: int) -> None:
    with pytest.raises(InvalidId):
        check_id(name[:place] + other + name[place:])
