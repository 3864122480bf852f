"""intent.json: a closed vocabulary."""

from __future__ import annotations

import json

import pytest

from libcontainer_py.record import Init, Intent
from libcontainer_py.state import intent as intents

INTENT = Intent(
    Init(12, 345), "6ba7b810-9dad", 4026531836, {"/sys/fs/cgroup/a": 0, "/sys/fs/cgroup/b": 77}, Init(13, 346)
)


def document(**changes: object) -> bytes:
    return json.dumps({**json.loads(intents.encode(INTENT)), **changes}).encode()


@pytest.mark.parametrize(
    "intent",
    [INTENT, INTENT._replace(init=None), INTENT._replace(cgroups={}), INTENT._replace(die_with_parent=True)],
)
def test_round_trip(intent: Intent) -> None:
    assert intents.decode(intents.encode(intent)) == intent


def test_what_is_on_disk() -> None:
    assert json.loads(intents.encode(INTENT)) == {
        "version": 1,
        "creator": {"pid": 12, "start": 345},
        "boot_id": "6ba7b810-9dad",
        "pid_namespace": 4026531836,
        "cgroups": {"/sys/fs/cgroup/a": 0, "/sys/fs/cgroup/b": 77},
        "init": {"pid": 13, "start": 346},
        "die_with_parent": False,
    }


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff", "codec"),
        (b"[" * 100_000, "nested too deeply"),
        (b"null", "must be an object"),
        (b"[]", "must be an object"),
        (b"{}", "must have the keys"),
        (document(version=2), "version"),
        (document(version=True), "version"),
        (document(more=1), "must have the keys"),
        (document(creator=None), "creator"),
        (document(creator={"pid": 12}), "creator"),
        (document(creator={"pid": "12", "start": 1}), "creator.pid"),
        (document(creator={"pid": 0, "start": 1}), "creator.pid"),
        (document(creator={"pid": -1, "start": 1}), "creator.pid"),
        (document(creator={"pid": 1 << 31, "start": 1}), "creator.pid"),
        (document(creator={"pid": 12, "start": 1.5}), "creator.start"),
        (document(init=False), "init"),
        (document(init={"pid": 12, "start": -1}), "init.start"),
        (document(boot_id=""), "boot_id"),
        (document(die_with_parent=1), "die_with_parent"),
        (document(die_with_parent=None), "die_with_parent"),
        (document(boot_id=7), "boot_id"),
        (document(pid_namespace=None), "pid_namespace"),
        (document(cgroups=[]), "cgroups"),
        (document(cgroups={"/a": "1"}), "cgroups"),
        (document(cgroups={"/a": -1}), "cgroups"),
        (document(cgroups={"/a": True}), "cgroups"),
        (document(cgroups={"a": 1}), "cgroups"),
        (document(cgroups={"": 1}), "cgroups"),
        (document(cgroups={"/a/../b": 1}), "cgroups"),
        (document(cgroups={"/a/": 1}), "cgroups"),
        (document(cgroups={"//a": 1}), "cgroups"),
        (document(cgroups={"/a\0": 1}), "cgroups"),
    ],
)
def test_anything_else_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        intents.decode(data)
