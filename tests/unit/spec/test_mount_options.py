"""What the options of mounts amount to, and what does not go together."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from libcontainer_py.kernel import constants as c
from libcontainer_py.spec import IDMapping, Linux, Mount, Namespace, Spec, mount_options, validate
from libcontainer_py.spec.mount_options import parse

# config.md, Linux mount options: the names of the table
TABLE = """
async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand noatime nodev nodiratime noexec
noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime
remount rexec ridmap rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate
rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid
symfollow sync tmpcopyup unbindable
""".split()

ONE = (IDMapping(container_id=0, host_id=0, size=1),)


def test_every_option_of_the_specification_is_known() -> None:
    known = [*mount_options.FLAGS, *mount_options.PROPAGATION, *mount_options.RECURSIVE, *mount_options.EXTENSIONS]
    assert sorted(known) == sorted({*known})
    assert {*TABLE} ^ {*known} == {"copy-symlink", "rnodev"}  # runc has rnodev, and the table has forgotten it
    assert len(TABLE) == 61


@pytest.mark.parametrize("word", TABLE)
def test_none_goes_to_the_file_system(word: str) -> None:
    assert parse((word,)).data == ""


def test_the_rest_goes_to_the_file_system_in_order() -> None:
    options = parse(("size=1m", "ro", "", "mode=755", "acl", "lowerdir=/a,upperdir=/b"))
    assert options == parse(("ro",))._replace(data="size=1m,mode=755,acl,lowerdir=/a,upperdir=/b")


@pytest.mark.parametrize(
    "word", [word for word in mount_options.FLAGS if mount_options.FLAGS[word][1] and f"no{word}" in TABLE]
)
def test_opposites_cancel_each_other(word: str) -> None:
    flag = mount_options.FLAGS[word][1]
    assert (parse((f"no{word}", word)).flags, parse((f"no{word}", word)).cleared) == (0, flag)
    assert (parse((word, f"no{word}")).flags, parse((word, f"no{word}")).cleared) == (flag, 0)


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ("", (0, 0)),
        ("ro nosuid nodev noexec nodiratime nosymfollow", (0x20008F, 0)),
        ("rw suid dev exec diratime symfollow", (0, 0x20008F)),
        ("sync lazytime", (0, 0)),
        ("noatime", (c.MOUNT_ATTR_NOATIME, c.MOUNT_ATTR__ATIME)),
        ("strictatime noatime", (c.MOUNT_ATTR_STRICTATIME, c.MOUNT_ATTR__ATIME)),
        ("relatime", (0, c.MOUNT_ATTR__ATIME)),
        ("noatime relatime", (c.MOUNT_ATTR_NOATIME, c.MOUNT_ATTR__ATIME)),
        ("noatime atime", (0, c.MOUNT_ATTR__ATIME)),
        ("nostrictatime", (0, c.MOUNT_ATTR__ATIME)),
        ("norelatime", (0, 0)),
    ],
)
def test_attributes(options: str, attributes: tuple[int, int]) -> None:
    assert parse(tuple(options.split())).attributes == attributes


@pytest.mark.parametrize(
    ("options", "recursive"),
    [
        ("rro", (1, 1)),
        ("rro rrw", (0, 1)),
        ("rrw rro", (1, 1)),
        ("rnosuid rnodev rnoexec rnodiratime rnosymfollow", (0x20008E, 0x20008E)),
        ("rsuid rdev rexec rdiratime rsymfollow", (0, 0x20008E)),
        ("rnoatime rstrictatime", (c.MOUNT_ATTR_STRICTATIME, c.MOUNT_ATTR__ATIME)),
        ("rstrictatime rnoatime", (c.MOUNT_ATTR_NOATIME, c.MOUNT_ATTR__ATIME)),
        ("rnoatime ratime", (0, c.MOUNT_ATTR__ATIME)),
        ("rrelatime", (0, c.MOUNT_ATTR__ATIME)),
        ("rnorelatime", (0, 0)),
    ],
)
def test_recursive_attributes(options: str, recursive: tuple[int, int]) -> None:
    assert parse(tuple(options.split())) == mount_options.Options(recursive=recursive)


def test_kinds() -> None:
    assert parse(("rbind",)).is_bind
    assert not parse(("rbind", "remount")).is_bind
    assert parse(("rbind", "remount")).is_remount
    assert not parse(("ro",)).is_bind
    assert parse(("ridmap",)).is_mapped
    assert not parse(("bind",)).is_mapped


def said(*mounts: Mount, kinds: tuple[str, ...] = ("mount",)) -> list[str]:
    namespaces = tuple(Namespace(type=kind) for kind in kinds)
    maps: dict[str, Any] = {"uid_mappings": ONE, "gid_mappings": ONE} if "user" in kinds else {}
    spec = attrs.evolve(Spec.minimal(["true"]), mounts=mounts, linux=Linux(namespaces=namespaces, **maps))
    return [str(problem) for problem in validate.problems(spec)]


def bind(*options: str, **more: Any) -> Mount:
    return Mount(destination="/d", source="/s", options=("bind", *options), **more)


@pytest.mark.parametrize(
    "mount",
    [
        bind("ro", "rro", "rslave", "silent", "loud", "async", "nolazytime", "defaults"),
        bind("copy-symlink"),
        bind("ridmap", uid_mappings=ONE, gid_mappings=ONE),
        bind(uid_mappings=ONE, gid_mappings=ONE),
        Mount(destination="/d", options=("remount", "sync", "size=1m")),
        Mount(destination="/d", options=("bind", "remount")),
        Mount(destination="/d", type="tmpfs", options=("tmpcopyup", "sync", "rro", "private", "sideways")),
    ],
)
def test_what_is_right(mount: Mount) -> None:
    assert said(mount) == []


@pytest.mark.parametrize(
    ("mount", "problem"),
    [
        (bind("size=1m", "mode=7"), "options: a bind mount takes no 'size=1m,mode=7'"),
        (bind("idmap=uids=0-1-2"), "options: a bind mount takes no 'idmap=uids=0-1-2'"),
        *(
            (
                bind(word),
                f"options: a bind mount cannot set {word}, which is the file system's (set it where that is mounted)",
            )
            for word in ("sync", "dirsync", "mand", "lazytime", "iversion")
        ),
        (Mount(destination="/d", options=("rbind",)), "source: a bind mount needs a source"),
        (Mount(destination="/d"), "type: a mount that is no bind mount needs a type"),
        (Mount(destination="/d", type="proc", options=("copy-symlink",)), "options: copy-symlink is for bind mounts"),
        (bind("remount", "copy-symlink"), "options: copy-symlink is for bind mounts"),
        (bind("tmpcopyup", type="tmpfs"), "options: tmpcopyup is for a new tmpfs"),
        (Mount(destination="/d", type="ramfs", options=("tmpcopyup",)), "options: tmpcopyup is for a new tmpfs"),
        (bind("idmap", uid_mappings=ONE), "gidMappings: is required beside uidMappings"),
        (bind(gid_mappings=ONE), "uidMappings: is required beside gidMappings"),
        (
            Mount(destination="/d", type="tmpfs", uid_mappings=ONE, gid_mappings=ONE),
            "uidMappings: only the ids of a bind mount can be mapped",
        ),
        (bind("remount", "ridmap", gid_mappings=ONE), "options: only the ids of a bind mount can be mapped"),
        (
            bind("idmap", "copy-symlink", uid_mappings=ONE, gid_mappings=ONE),
            "options: a symlink that is copied has no ids to map",
        ),
        (
            bind("idmap", uid_mappings=ONE, gid_mappings=(*ONE, *ONE)),
            "gidMappings[1].containerID: the ids from 0 on are mapped twice",
        ),
        (
            bind("idmap"),
            "options: there is no user namespace whose mappings it could have (give it uidMappings and gidMappings)",
        ),
    ],
)
def test_what_is_wrong(mount: Mount, problem: str) -> None:
    assert f"mounts[1].{problem}" in said(bind(), mount)


def test_the_mapping_of_a_user_namespace_will_do() -> None:
    assert said(bind("idmap"), kinds=("mount", "user")) == []


def test_a_label_with_a_quote() -> None:
    spec = Spec.minimal(["true"])
    assert spec.linux is not None
    spec = attrs.evolve(spec, linux=attrs.evolve(spec.linux, mount_label='a"b'))
    assert [problem.path for problem in validate.problems(spec)] == ["linux.mountLabel"]
