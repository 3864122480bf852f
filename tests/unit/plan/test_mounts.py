"""Mounts as steps: what the options of a configuration become, as plain values."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import attrs
import pytest

from libcontainer_py.errors import ConfigError
from libcontainer_py.init.executor import Executor
from libcontainer_py.init.mounts import Mounts
from libcontainer_py.kernel import constants as c
from libcontainer_py.plan import HostFacts, Plan, build, mounts
from libcontainer_py.spec import IDMapping, Linux, Mount, Namespace, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.plan import Step

PACKAGE = Path(mounts.__file__).parents[1]
V1 = HostFacts(
    uid=0,
    gid=0,
    last_capability=40,
    bounding=0,
    can_mknod=True,
    cgroups_v2=False,
    machine="x86_64",
    hierarchies=(("cpu,cpuacct", ("cpu", "cpuacct")), ("pids", ("pids",))),
)
V2 = V1._replace(cgroups_v2=True, hierarchies=())
LABEL = "u:r:t:s0:c1,c2"


def spec(*mounts: Mount, kinds: str = "mount", **linux: Any) -> Spec:
    base = Spec.minimal(["true"])
    namespaces = tuple(Namespace(type=kind) for kind in kinds.split())
    return attrs.evolve(base, mounts=mounts, linux=Linux(namespaces=namespaces, **linux))


def plan(one: Spec, facts: HostFacts = V2, **cgroups: str) -> Plan:
    paths = {name or "": path for name, path in cgroups.items()}
    return build(
        one,
        container_id="c",
        bundle="/bundle",
        rootfs="/bundle/rootfs",
        facts=facts,
        cgroup_paths=paths,
        attach=False,
        pid_1="execute",
        state=b"{}",
    )


def steps(one: Spec, *names: str) -> list[tuple[str, tuple[object, ...]]]:
    return [(step.name, step.arguments) for step in plan(one).steps if step.name in names]


def mount(*options: str, kind: str = "tmpfs", destination: str = "/d", **more: Any) -> Mount:
    return Mount(destination=destination, type=kind, options=options, **more)


def step_of(one: Mount, facts: HostFacts = V2, **linux: Any) -> Step:
    (step,) = mounts.mounts(spec(one, **linux), "/bundle", facts, {})
    return step


# -- new file systems -------------------------------------------------------------------------------------------------


def test_a_plain_one_is_one_mount() -> None:
    step = step_of(mount("nosuid", "size=1m", "sync", "mode=755", source="name", destination="d/../e"))
    flags = c.MS_NOSUID | c.MS_SYNCHRONOUS
    assert step == ("mount", ("name", "/e", "tmpfs", flags, "size=1m,mode=755"), "mounts[0]")


@pytest.mark.parametrize(
    ("options", "flags", "changes", "copies", "kept"),
    [
        (("rprivate",), 0, ((True, 0, 0, c.MS_PRIVATE),), False, False),
        (("shared", "slave"), 0, ((False, 0, 0, c.MS_SHARED), (False, 0, 0, c.MS_SLAVE)), False, False),
        (("rnodev",), 0, ((True, c.MOUNT_ATTR_NODEV, c.MOUNT_ATTR_NODEV, 0),), False, False),
        (("nodev", "tmpcopyup"), c.MS_NODEV, (), True, False),
        (("ro",), 0, (), False, True),
        (("ro", "rw", "rro"), 0, ((True, 0, c.MOUNT_ATTR_RDONLY, 0),), False, True),
    ],
)
def test_what_is_changed_after_mounting_is_mounted_aside(
    options: tuple[str, ...], flags: int, changes: tuple[object, ...], copies: bool, kept: bool
) -> None:
    step = step_of(mount(*options))
    assert step.name == "mount_detached"
    assert step.arguments == ("tmpfs", "/d", "tmpfs", flags, "", changes, copies, kept, "")


def test_what_hides_the_root_is_mounted_aside() -> None:
    assert step_of(mount(destination="/")).name == "mount_detached"


@pytest.mark.parametrize(
    ("one", "later"),
    [
        (mount("ro"), True),
        (mount("rro"), True),
        (mount("ro", kind="proc"), False),
        (mount("ro", kind="devtmpfs", destination="/dev/"), True),
        (mount("bind", "ro", source="/s"), False),
        (mount("bind", "remount", "ro", destination="/dev"), True),
        (mount("remount", "ro"), True),
        (mount("remount", "ro", kind="proc"), False),
    ],
)
def test_what_we_fill_is_made_readonly_in_the_end(one: Mount, later: bool) -> None:
    found = plan(spec(one)).steps
    names = [step.name for step in found]
    expected = [("attributes", (one.destination.rstrip("/"), c.MOUNT_ATTR_RDONLY))] if later else []
    assert [(step.name, step.arguments) for step in found if step.name == "attributes"] == expected
    if later:
        assert names.index("ptmx") < names.index("attributes") < names.index("pivot")


# -- bind mounts ------------------------------------------------------------------------------------------------------

RDONLY, TIMES = c.MOUNT_ATTR_RDONLY, c.MOUNT_ATTR__ATIME


@pytest.mark.parametrize(
    ("options", "recursive", "changes"),
    [
        (("bind",), False, ()),
        (("rbind", "ro"), True, ((False, RDONLY, 0, 0),)),
        (("rbind", "ro", "rw"), True, ((False, 0, RDONLY, 0),)),
        (("rbind", "rro", "rslave"), True, ((True, RDONLY, RDONLY, 0), (True, 0, 0, c.MS_SLAVE))),
        (("bind", "nosuid", "rro"), False, ((False, 2, 0, 0), (True, RDONLY, RDONLY, 0))),
        (("bind", "noatime"), False, ((False, c.MOUNT_ATTR_NOATIME, TIMES, 0),)),
        (("bind", "noatime", "strictatime"), False, ((False, c.MOUNT_ATTR_STRICTATIME, TIMES, 0),)),
        (("bind", "atime"), False, ((False, 0, TIMES, 0),)),
        (("bind", "norelatime"), False, ()),
    ],
)
def test_bind_mounts(options: tuple[str, ...], recursive: bool, changes: tuple[object, ...]) -> None:
    step = step_of(mount(*options, source="s"))
    assert step == ("bind", ("/bundle/s", "/d", recursive, changes), "mounts[0]")
    copied = step_of(mount(*options, "copy-symlink", source="/s"))
    assert copied == ("bind_or_link", ("/s", "/d", recursive, changes), "mounts[0]")


def test_a_remount() -> None:
    step = step_of(mount("rbind", "remount", "nodev", "rro", "private", destination="/x", kind="none"))
    flags = c.MS_BIND | c.MS_REMOUNT | c.MS_NODEV
    changes = ((True, RDONLY, RDONLY, 0), (False, 0, 0, c.MS_PRIVATE))
    assert step == ("remount", ("/x", flags, "", (c.MOUNT_ATTR_NODEV, 0), changes, False), "mounts[0]")
    step = step_of(mount("remount", "size=1m", "ro"))
    assert step == ("remount", ("/d", c.MS_REMOUNT, "size=1m", (0, 0), (), True), "mounts[0]")


# -- mapped ids -------------------------------------------------------------------------------------------------------

ROWS: dict[str, Any] = {
    "uid_mappings": [IDMapping(container_id=0, host_id=5, size=2), IDMapping(container_id=9, host_id=9, size=1)],
    "gid_mappings": [IDMapping(container_id=0, host_id=6, size=3)],
}
MAPS = ("0 5 2\n9 9 1\n", "0 6 3\n")


@pytest.mark.parametrize(
    ("one", "kinds", "linux", "recursive", "below", "maps"),
    [
        (mount("bind", "idmap", source="s", **ROWS), "mount", {}, False, False, MAPS),
        (mount("rbind", source="s", **ROWS), "mount", {}, True, False, MAPS),
        (mount("rbind", "ridmap", source="s", **ROWS), "mount user", {}, True, True, MAPS),
        (mount("bind", "ridmap", source="s"), "mount user", ROWS, False, True, MAPS),
    ],
)
def test_mapped_ids(
    one: Mount, kinds: str, linux: dict[str, Any], recursive: bool, below: bool, maps: tuple[str, str]
) -> None:
    found = plan(spec(one, kinds=kinds, **linux))
    assert found.mapped == (("mounts[0]", "/bundle/s", recursive, below, True, maps),)
    (step,) = (step for step in found.steps if step.name == "attach")
    assert step == ("attach", ("mounts[0]", "/d", ()), "mounts[0]")
    assert "uids (0 5 2 9 9 1) and gids (0 6 3)    <- mounts[0]" in found.explain()


def test_the_mapping_of_a_user_namespace_that_is_joined() -> None:
    one = spec(mount("bind", "idmap", source="/s"), mount("bind", source="/s", **ROWS))
    one = attrs.evolve(
        one, linux=Linux(namespaces=[Namespace(type="mount"), Namespace(type="user", path="/proc/1/ns/user")])
    )
    assert [mapped.maps for mapped in plan(one).mapped] == [None, MAPS]
    assert "the ids of /s: as in the user namespace    <- mounts[0]" in plan(one).explain()


@pytest.mark.parametrize(
    ("propagation", "kinds", "slave"),
    [(None, "mount", True), ("shared", "mount", False), ("rshared", "mount", False), ("rshared", "mount user", True)],
)
def test_a_mapped_mount_is_cut_off_from_the_host(propagation: str | None, kinds: str, slave: bool) -> None:
    maps = ROWS if "user" in kinds else {}
    one = spec(mount("bind", source="/s", **ROWS), kinds=kinds, rootfs_propagation=propagation, **maps)
    assert plan(one).mapped[0].slave is slave


# -- cgroups ----------------------------------------------------------------------------------------------------------


def test_what_is_copied_out_of_the_image_is_charged_to_the_container() -> None:
    mounted = (mount(kind="tmpfs"), mount("tmpcopyup", kind="tmpfs"), mount("ro", kind="cgroup"))
    made = build(
        spec(*mounted, kinds="mount cgroup"),
        container_id="c",
        bundle="/bundle",
        rootfs="/bundle/rootfs",
        facts=V1,
        cgroup_paths={"pids": "/sys/fs/cgroup/pids/c"},
        attach=True,
        pid_1="execute",
        state=b"{}",
    )
    names = [step.name for step in made.steps if step.name.startswith(("mount", "join", "cgroup"))]
    assert names == ["mount", "join_cgroups", "mount_detached", "cgroups_v1"]


def test_the_cgroups_of_v2() -> None:
    one = mount("ro", "nsdelegate", kind="cgroup")
    (step,) = mounts.mounts(spec(one, kinds="mount cgroup"), "/b", V2, {"": "/sys/fs/cgroup/c"})
    assert step == ("mount", ("cgroup", "/d", "cgroup2", c.MS_RDONLY, "nsdelegate"), "mounts[0]")
    assert mounts.shows_cgroups(step)
    one = mount("ro", "rprivate", kind="cgroup")
    (step,) = mounts.mounts(spec(one, kinds="mount cgroup"), "/b", V2, {"": "/sys/fs/cgroup/c"})
    assert step.name == "mount_detached"
    assert mounts.shows_cgroups(step)
    (step,) = mounts.mounts(spec(one), "/b", V2, {"": "/sys/fs/cgroup/c"})
    changes = ((False, RDONLY, 0, 0), (True, 0, 0, c.MS_PRIVATE))
    assert step == ("bind", ("/sys/fs/cgroup/c", "/d", True, changes), "mounts[0]")


@pytest.mark.parametrize(("facts", "paths"), [(V1, {"cpu": "/c"}), (V2, {"": "/c"})])
def test_data_that_no_cgroup_mount_could_have(facts: HostFacts, paths: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"mounts\[0\].options: the cgroups of this container take no 'nsdelegate'"):
        list(mounts.mounts(spec(mount("nsdelegate", "ro", kind="cgroup")), "/b", facts, paths))


def test_the_cgroups_of_v1() -> None:
    one = mount("ro", "nosuid", "rslave", kind="cgroup")
    (step,) = mounts.mounts(spec(one, kinds="mount cgroup", mount_label=LABEL), "/b", V1, {})
    assert step == (
        "cgroups_v1",
        (
            "/d",
            # in a namespace of its own, as runc: nodev and noexec whatever is asked for
            (
                c.MS_RDONLY | c.MS_NOSUID | c.MS_NODEV | c.MS_NOEXEC,
                RDONLY | c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NODEV | c.MOUNT_ATTR_NOEXEC,
                0,
            ),
            (("mode", "755"), ("context", LABEL)),
            (("cpu,cpuacct", "cpu,cpuacct", ""), ("pids", "pids", "")),
            (("cpu,cpuacct", "cpu"), ("cpu,cpuacct", "cpuacct")),
            ((True, 0, 0, c.MS_SLAVE),),
        ),
        "mounts[0]",
    )
    (step,) = mounts.mounts(spec(one), "/b", V1, {"cpu": "/c/cpu"})
    assert step.arguments[3] == (("cpu,cpuacct", "cpu,cpuacct", "/c/cpu"),)
    (step,) = mounts.mounts(spec(mount("strictatime", kind="cgroup")), "/b", V1, {"cpu": "/c/cpu"})
    assert step.arguments[1] == (c.MS_STRICTATIME, c.MOUNT_ATTR_STRICTATIME, c.MOUNT_ATTR__ATIME)


# -- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "data"),
    [
        ("tmpfs", (), f'context="{LABEL}"'),
        ("devpts", ("gid=5",), f'gid=5,context="{LABEL}"'),
        ("tmpfs", ("context=own", "mode=1"), "context=own,mode=1"),
        ("proc", (), ""),
        ("sysfs", (), ""),
        ("mqueue", (), ""),
    ],
)
def test_a_label_of_mounts(kind: str, options: tuple[str, ...], data: str) -> None:
    step = step_of(mount(*options, kind=kind), mount_label=LABEL)
    assert step.arguments[4] == data
    assert (step.arguments[-1] == LABEL) is (kind == "mqueue")


def test_bind_mounts_and_remounts_have_no_label() -> None:
    assert step_of(mount("bind", source="/s"), mount_label=LABEL) == step_of(mount("bind", source="/s"))
    assert step_of(mount("remount"), mount_label=LABEL) == step_of(mount("remount"))


def test_masks_have_the_label() -> None:
    assert steps(spec(masked_paths=("/a",)), "mask") == [("mask", ("/a",))]
    assert steps(spec(masked_paths=("/a",), mount_label=LABEL), "mask") == [("mask", ("/a", f'context="{LABEL}"'))]


# -- the root ---------------------------------------------------------------------------------------------------------

REC = c.MS_REC


@pytest.mark.parametrize(
    ("given", "first", "above", "own", "last"),
    [
        (None, c.MS_SLAVE | REC, c.MS_PRIVATE, 0, 0),
        ("private", c.MS_PRIVATE, c.MS_PRIVATE, c.MS_PRIVATE, 0),
        ("rprivate", c.MS_PRIVATE | REC, c.MS_PRIVATE, c.MS_PRIVATE, 0),
        ("slave", c.MS_SLAVE, c.MS_SLAVE, c.MS_SLAVE, 0),
        ("rslave", c.MS_SLAVE | REC, c.MS_SLAVE, c.MS_SLAVE, 0),
        ("shared", c.MS_SHARED, c.MS_PRIVATE, c.MS_PRIVATE, c.MS_SHARED),
        ("rshared", c.MS_SHARED | REC, c.MS_PRIVATE, c.MS_PRIVATE, c.MS_SHARED | REC),
        ("unbindable", c.MS_PRIVATE, c.MS_PRIVATE, c.MS_PRIVATE, c.MS_UNBINDABLE),
        ("runbindable", c.MS_PRIVATE | REC, c.MS_PRIVATE, c.MS_PRIVATE, c.MS_UNBINDABLE | REC),
    ],
)
def test_propagation_of_the_root(given: str | None, first: int, above: int, own: int, last: int) -> None:
    assert steps(spec(rootfs_propagation=given), "propagation", "root", "pivot") == [
        ("propagation", (first,)),
        ("root", ("/bundle/rootfs", above, own)),
        ("pivot", (last,)),
    ]


# -- who carries them out ---------------------------------------------------------------------------------------------


def test_devices_are_not_made_where_dev_is_bound_but_where_it_is_changed() -> None:
    assert steps(spec(mount("bind", source="/dev", destination="/dev/")), "device", "ptmx") == []
    assert steps(spec(mount("bind", "remount", destination="/dev")), "ptmx")


def step_calls() -> list[tuple[str, int | None]]:
    """Each Step("name", (...)) that the plan's sources write, and how many arguments it has, where that is seen."""
    found: list[tuple[str, int | None]] = []
    of_host = {"net_device", "resctrl"}
    for path in sorted((PACKAGE / "plan").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Step":
                name, arguments = node.args[:2]
                if isinstance(name, ast.Constant) and name.value not in of_host and isinstance(arguments, ast.Tuple):
                    counted = not any(isinstance(item, ast.Starred) for item in arguments.elts)
                    found.append((str(name.value), len(arguments.elts) if counted else None))
    return found


@pytest.mark.parametrize(("name", "count"), sorted(set(step_calls()), key=str))
def test_init_knows_every_step(name: str, count: int | None) -> None:
    method = getattr(Executor, f"do_{name}", None) or getattr(Mounts, name)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    required = [one for one in parameters if one.default is inspect.Parameter.empty]
    if count is not None:
        assert len(required) <= count <= len(parameters)


def test_there_are_steps() -> None:
    assert len(step_calls()) > 30
