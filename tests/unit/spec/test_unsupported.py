"""Known fields that this version cannot do yet are refused by name; what says nothing passes."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from libcontainer_py.spec import (
    ConsoleSize,
    Hook,
    Hooks,
    IntelRdt,
    Linux,
    MemoryPolicy,
    Namespace,
    NetDevice,
    Personality,
    Process,
    Scheduler,
    Seccomp,
    Spec,
    validate,
)

DATA = Path(__file__).parents[2] / "data"


def refused(document: dict[str, object]) -> list[str]:
    return [problem.path for problem in validate.unsupported(Spec.from_dict({"ociVersion": "1.3.0"} | document))]


@pytest.mark.parametrize("section", ["windows", "solaris", "vm", "zos", "freebsd"])
def test_sections_of_other_systems(section: str) -> None:
    assert refused({section: {"x": 1}}) == [section]
    assert refused({section: {}}) == []
    assert refused({section: None}) == []


def test_a_terminal_and_its_size() -> None:
    text = (DATA / "config-runc-1.1.5.json").read_text()
    spec = Spec.from_json(text)
    assert json.loads(text)["process"]["terminal"] is True
    validate.check(spec)
    assert spec.process is not None
    sized = attrs.evolve(spec.process, console_size=ConsoleSize(height=65535, width=0))
    validate.check(attrs.evolve(spec, process=sized))
    too_large = attrs.evolve(sized, console_size=ConsoleSize(height=65536, width=70000))
    found = [str(problem) for problem in validate.problems(attrs.evolve(spec, process=too_large))]
    assert found == [
        "process.consoleSize.height: 65536 is above 65535",
        "process.consoleSize.width: 70000 is above 65535",
    ]
    without = attrs.evolve(too_large, terminal=False)  # which must be ignored then
    validate.check(attrs.evolve(spec, process=without))


@pytest.mark.parametrize(
    ("linux", "expected"),
    [
        ({"namespaces": [{"type": "net", "path": "/proc/1/ns/net"}, {"type": "time"}]}, []),
        ({"namespaces": [{"type": kind, "path": ""} for kind in ("mount", "pid", "cgroup", "user")]}, []),
        ({"cgroupsPath": "system.slice:runc:434234"}, []),  # which driver takes it, the backend knows
        ({"cgroupsPath": "/a:b:c"}, []),
        ({"cgroupsPath": "a:b"}, []),
        ({"cgroupsPath": "relative/path"}, []),
        ({"rootfsPropagation": "rshared", "maskedPaths": ["/a"], "readonlyPaths": ["/b"]}, []),
        ({"devices": [{"path": "/dev/x", "type": "p"}]}, []),
        ({"resources": {"devices": [{"allow": False}]}}, []),
        ({"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}, []),
        ({"tomorrow": {"x": 1}}, []),
    ],
)
def test_linux(linux: dict[str, object], expected: list[str]) -> None:
    assert refused({"linux": linux}) == expected


def test_fields_that_were_built_by_hand() -> None:
    spec = Spec(
        process=Process(scheduler=Scheduler(policy="SCHED_IDLE")),
        hooks=Hooks(poststop=[Hook(path="/bin/true")]),
        linux=Linux(
            namespaces=[Namespace(type="user")],
            seccomp=Seccomp(default_action="SCMP_ACT_ERRNO"),
            intel_rdt=IntelRdt(enable_monitoring=True),
            memory_policy=MemoryPolicy(mode="MPOL_LOCAL"),
            personality=Personality(domain="LINUX32"),
            net_devices={"eth0": NetDevice(name="x")},
        ),
    )
    assert validate.unsupported(spec) == []
