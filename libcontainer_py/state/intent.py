"""intent.json: what a create is about to make, for whoever has to undo it.

A creation that is complete keeps it as made.json: should state.json be torn, this still tells what to kill and remove.

The vocabulary is closed: whatever this module did not write is refused, since an undo kills and removes what stands
here.
"""

from __future__ import annotations

import os

from libcontainer_py import lightjson
from libcontainer_py.record import Init, Intent
from libcontainer_py.state.sections import is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "intent.json"
MADE = "made.json"
VERSION = 1


def encode(intent: Intent) -> bytes:
    """An intent as the content of intent.json."""
    document = {
        "version": VERSION,
        "creator": _process(intent.creator),
        "boot_id": intent.boot_id,
        "pid_namespace": intent.pid_namespace,
        "cgroups": dict(intent.cgroups),
        "init": None if intent.init is None else _process(intent.init),
        "die_with_parent": intent.die_with_parent,
    }
    import json  # noqa: PLC0415  (for who creates)

    return json.dumps(document, separators=(",", ":")).encode()


def decode(data: bytes) -> Intent:
    """The intent in the content of intent.json. Raises ValueError, which says what is wrong where."""
    try:
        content: Any = lightjson.loads(data)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    keys = {"version", "creator", "boot_id", "pid_namespace", "cgroups", "init", "die_with_parent"}
    document = _object(content, keys, "")
    if _number(document["version"], "version") != VERSION:
        raise ValueError(f"version: is {document['version']}, not {VERSION}")
    boot_id = document["boot_id"]
    if not isinstance(boot_id, str) or not boot_id:
        raise ValueError("boot_id: must be a string that is not empty")
    die_with_parent = document["die_with_parent"]
    if die_with_parent is not True and die_with_parent is not False:
        raise ValueError("die_with_parent: must be true or false")
    cgroups = _object(document["cgroups"], None, "cgroups")
    for path, inode in cgroups.items():
        if not path.startswith("/") or path.startswith("//") or os.path.normpath(path) != path or "\0" in path:
            raise ValueError(f"cgroups: {path!r} is not an absolute path in its shortest form")
        _number(inode, f"cgroups[{path!r}]")
    return Intent(
        creator=_init(document["creator"], "creator"),
        boot_id=boot_id,
        pid_namespace=_number(document["pid_namespace"], "pid_namespace"),
        cgroups=cgroups,
        init=None if document["init"] is None else _init(document["init"], "init"),
        die_with_parent=die_with_parent,
    )


def _process(process: Init) -> dict[str, int]:
    return {"pid": process.pid, "start": process.start}


def _init(value: Any, where: str) -> Init:
    process = _object(value, {"pid", "start"}, where)
    pid = _number(process["pid"], f"{where}.pid")
    if not 0 < pid < 1 << 31:
        raise ValueError(f"{where}.pid: {pid} is no pid")
    return Init(pid, _number(process["start"], f"{where}.start"))


def _object(value: Any, keys: set[str] | None, where: str) -> dict[str, Any]:
    prefix = f"{where}: " if where else ""
    if not is_object(value):
        raise ValueError(f"{prefix}must be an object")
    if keys is not None and value.keys() != keys:
        raise ValueError(f"{prefix}must have the keys {sorted(keys)}, has {sorted(value)}")
    return value


def _number(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise ValueError(f"{where}: must be a number of 0 to 2^64")
    return value
