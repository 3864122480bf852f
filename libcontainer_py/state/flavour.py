"""Recognises the state directories of other runtimes, which are read and removed by nobody but them."""

from __future__ import annotations

import os

from libcontainer_py import lightjson
from libcontainer_py.errors import StateError
from libcontainer_py.state import atomic
from libcontainer_py.state.sections import is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def of_directory(directory: int) -> str | None:
    """The runtime that an open directory belongs to; None: runc, this library, or nobody that we know.

    crun keeps a file `status` beside a copy of config.json. Source: crun, src/libcrun/status.c.
    """
    names = os.listdir(directory)
    if "state.json" not in names:
        return "crun" if "status" in names and "config.json" in names else None
    try:
        document: Any = lightjson.loads(atomic.read(directory, "state.json", "state.json"))
    except (OSError, ValueError, RecursionError, StateError):
        return None  # torn: crun's and youki's too are replaced at once
    return of_document(document) if is_object(document) else None


_OF_A_CONTAINER = frozenset({"state.json", "intent.json", "made.json"})
_LEFT_OF_ONE = frozenset({"exec.fifo", "config.json", "rootfs", "notify", "checkpoint"})
_TEMPORARY = ("state-", "intent-", "made-")


def strangers_in(names: Sequence[str]) -> list[str]:
    """What no runtime puts into a state directory, where nothing else says that the directory with these is one."""
    if _OF_A_CONTAINER.intersection(names):
        return []
    return sorted(name for name in names if name not in _LEFT_OF_ONE and not name.startswith(_TEMPORARY))


def of_document(document: Mapping[str, Any]) -> str | None:
    """The runtime that wrote a state.json; None: runc or this library.

    youki uses the same file name for the OCI state. Source: youki, crates/libcontainer/src/container/state.rs.
    """
    is_youki = "ociVersion" in document and "status" in document and "init_process_pid" not in document
    return "youki" if is_youki else None


def foreign(path: str, flavour: str, container_id: str) -> StateError:
    """The error for a directory of another runtime."""
    return StateError(
        path,
        f"created by {flavour}, whose containers this library neither reads nor removes",
        container_id=container_id,
        hint=f"use {flavour} --root {os.path.dirname(path)} with {container_id}",
    )
