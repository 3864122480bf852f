"""runc's state.json, read and written.

The reader is tolerant: keys that it does not know stay in `Record.document` and are written back as they were. What it
needs and finds mistyped is a StateError with the path in the document, since everything that is done to a container,
killing and removing included, goes by this file. Our own key `libcontainer_py` says that this library made the
container, and which inodes its cgroups had; runc ignores it.

Source: runc 1.1.5 and 1.5.1, libcontainer/container_linux.go (State), libcontainer/configs.
"""

from __future__ import annotations

import functools
import os

from libcontainer_py import jsontext, lightjson
from libcontainer_py.errors import StateError
from libcontainer_py.record import Init, Record
from libcontainer_py.state import flavour
from libcontainer_py.state.sections import entries, is_list, is_object, section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NAME = "state.json"
OURS = "libcontainer_py"
VERSION = 1
_KEPT_HOOKS = ("poststart", "poststop")
"""The kinds that run after a container was created."""


@functools.lru_cache(maxsize=64)
def decode(data: bytes | str, directory: str) -> Record:
    """The record in the content of `directory`/state.json. Raises StateError, which says what is wrong where.

    The last ones are kept: who asks for a status again and again finds the same content, and a record never changes.
    """
    return _Reader(os.path.join(directory, NAME), directory).record(data, _adopted.pop((data, directory), None))


_adopted: dict[tuple[bytes | str, str], dict[str, Any]] = {}


def adopt(document: dict[str, Any], directory: str) -> Record:
    """The record of a document that was just made, kept for who will load just this text."""
    data = to_text(document)
    _adopted[data, directory] = document
    try:
        return decode(data, directory)
    finally:
        _adopted.pop((data, directory), None)  # it may have been decoded before


def encode(record: Record) -> bytes:
    """A record as the content of state.json: its document, with what the record says differently."""
    document = dict(record.document)
    config = dict(section(document, "config"))
    document |= {
        "id": record.id,
        "init_process_pid": record.init.pid,
        "init_process_start": record.init.start,
        "created": record.created,
        "config": config,
        "cgroup_paths": dict(record.cgroup_paths),
    }
    config |= {"rootfs": record.rootfs, "version": record.oci_version}
    if record.hooks or config.get("Hooks") is not None:
        config["Hooks"] = {**section(config, "Hooks"), **{kind: record.hooks.get(kind) for kind in _KEPT_HOOKS}}
    if _has_private_pid(config) != record.private_pid_namespace:
        others = [entry for entry in entries(config, "namespaces") if entry.get("type") != "NEWPID"]
        private = [{"type": "NEWPID", "path": ""}] if record.private_pid_namespace else []
        config["namespaces"] = [*private, *others]
    own = section(document, OURS) or {"version": VERSION, "cgroups": {}}
    document.pop(OURS, None)
    beyond = _annotations_beyond(own)
    bundle, annotations = _from_labels(config.get("labels"))
    if (bundle, annotations | beyond) != (record.bundle, dict(record.annotations)):
        config["labels"], beyond = to_labels(record.bundle, record.annotations)
    if record.ours:
        own = {key: value for key, value in own.items() if key != "annotations"}
        document[OURS] = {**own, "annotations": beyond} if beyond else own
    return to_text(document)


def to_text(document: Mapping[str, Any]) -> bytes:
    """A document as the content of state.json."""
    config = section(document, "config")
    profile = config.get("seccomp")
    if not is_object(profile):
        return jsontext.compact(document).encode()
    rest = {**document, "config": {key: value for key, value in config.items() if key != "seccomp"}}
    return jsontext.with_member(rest, "config", "seccomp", jsontext.kept(profile)).encode()


def to_labels(bundle: str, annotations: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The labels that carry a bundle and annotations as runc keeps them, and the annotations that labels cannot carry.

    Those whose key has a `=`, or is `bundle`: runc would take such a one for the bundle.
    """
    beyond = {key: value for key, value in annotations.items() if "=" in key or key == "bundle"}
    labels = [f"{key}={value}" for key, value in annotations.items() if key not in beyond]
    return [*labels, f"bundle={bundle}"] if bundle else labels, beyond


def _from_labels(labels: list[str] | None) -> tuple[str, dict[str, str]]:
    bundle = ""
    annotations: dict[str, str] = {}
    for label in labels or ():
        key, separator, value = label.partition("=")
        if key == "bundle":
            bundle = value
        elif separator:
            annotations[key] = value
    return bundle, annotations


def _annotations_beyond(own: Mapping[str, Any]) -> dict[str, str]:
    return dict(section(own, "annotations"))


def _has_private_pid(config: Mapping[str, Any]) -> bool:
    return any(entry.get("type") == "NEWPID" and not entry.get("path") for entry in entries(config, "namespaces"))


class _Reader:
    """Reads one document; knows where it stands, for errors."""

    __slots__ = ("_container_id", "_directory", "_path")

    def __init__(self, path: str, directory: str) -> None:
        self._path = path
        self._directory = directory
        self._container_id = os.path.basename(directory)

    def record(self, data: bytes | str, document: dict[str, Any] | None) -> Record:
        """`document`: what `data` says, where that is known."""
        if document is None:
            document = self._document(data)
        other = flavour.of_document(document)
        if other is not None:
            raise flavour.foreign(self._directory, other, self._container_id)
        container_id = self._text(document, "id") or self._container_id
        if container_id != self._container_id:
            raise self._wrong("id", f"is {container_id!r}, but the directory is {self._container_id!r}")
        config = self._object(document, "config", needed=True)
        labels = self._texts(config, "labels", "config.labels")
        bundle, annotations = _from_labels(labels)
        own = self._own(document)
        hooks = self._hooks(config)
        self._namespaces(config)
        return Record(
            id=container_id,
            directory=self._directory,
            bundle=bundle,
            rootfs=self._text(config, "rootfs", "config.rootfs"),
            created=self._text(document, "created"),
            oci_version=self._text(config, "version", "config.version"),
            annotations=annotations | _annotations_beyond(own or {}),
            init=Init(
                self._number(document, "init_process_pid", below=1 << 31),
                self._number(document, "init_process_start", below=1 << 64),
            ),
            cgroup_paths=self._cgroup_paths(document),
            private_pid_namespace=_has_private_pid(config),
            ours=own is not None,
            hooks=hooks,
            document=document,
            resctrl=() if own is not None else self._resctrl(document, config, container_id),
        )

    def _wrong(self, where: str, what: str) -> StateError:
        return StateError(
            self._path,
            f"{where}: {what}" if where else what,
            container_id=self._container_id,
            hint="delete with force removes the container",
        )

    def _document(self, data: bytes | str) -> dict[str, Any]:
        if not data:
            raise self._wrong("", "is empty")
        try:
            document: Any = lightjson.loads(data)
        except UnicodeDecodeError as error:
            raise self._wrong("", f"is not UTF-8: byte {error.start}") from error
        except RecursionError:
            raise self._wrong("", "is nested too deeply") from None
        except ValueError as error:
            raise self._wrong("", f"is not JSON: {_where(error)}") from error
        if not is_object(document):
            raise self._wrong("", f"must be an object, not {_kind(document)}")
        return document

    def _text(self, parent: Mapping[str, Any], key: str, where: str = "") -> str:
        value = parent.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(where or key, f"must be a string, not {_kind(value)}")
        return value

    def _number(self, parent: Mapping[str, Any], key: str, *, below: int) -> int:
        value = parent.get(key)
        if key not in parent:
            raise self._wrong(key, "is missing")
        if type(value) is not int:
            raise self._wrong(key, f"must be a whole number, not {_kind(value)}")
        if not 0 <= value < below:
            raise self._wrong(key, f"{value} is out of range")
        return value

    def _object(self, parent: Mapping[str, Any], key: str, where: str = "", *, needed: bool = False) -> dict[str, Any]:
        value = parent.get(key)
        if value is None and not needed:
            return {}
        if not is_object(value):
            what = f"must be an object, not {_kind(value)}" if key in parent else "is missing"
            raise self._wrong(where or key, what)
        return value

    def _fields(self, value: Any, where: str) -> dict[str, Any]:
        if not is_object(value):
            raise self._wrong(where, f"must be an object, not {_kind(value)}")
        return value

    def _list(self, parent: Mapping[str, Any], key: str, where: str) -> list[Any]:
        value = parent.get(key)
        if value is None:
            return []
        if not is_list(value):
            raise self._wrong(where, f"must be a list, not {_kind(value)}")
        return value

    def _texts(self, parent: Mapping[str, Any], key: str, where: str) -> list[str]:
        values = self._list(parent, key, where)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise self._wrong(f"{where}[{index}]", f"must be a string, not {_kind(value)}")
        return values

    def _cgroup_paths(self, document: Mapping[str, Any]) -> dict[str, str]:
        paths = self._object(document, "cgroup_paths")
        for controller, path in paths.items():
            where = f"cgroup_paths[{controller!r}]"
            if not isinstance(path, str):
                raise self._wrong(where, f"must be a string, not {_kind(path)}")
            if path and (not path.startswith("/") or ".." in path.split("/") or "\0" in path):
                raise self._wrong(where, f"{path!r} is not an absolute path without `..`")
        # runc writes "" for a hierarchy that is not mounted
        return {controller: path for controller, path in paths.items() if path}

    def _resctrl(self, document: Mapping[str, Any], config: Mapping[str, Any], container_id: str) -> tuple[str, ...]:
        """What the container's id names there; what a closID names outlives it."""
        path = self._text(document, "intel_rdt_path")
        if path and (not path.startswith("/") or ".." in path.split("/") or "\0" in path):
            raise self._wrong("intel_rdt_path", f"{path!r} is not an absolute path without `..`")
        rdt = self._object(config, "intel_rdt", "config.intel_rdt")
        own = [path] if path.endswith(f"/{container_id}") and not rdt.get("closID") else []
        monitoring = [f"{path}/mon_groups/{container_id}"] if path and rdt.get("enableMonitoring") else []
        return (*own, *monitoring)

    def _namespaces(self, config: Mapping[str, Any]) -> None:
        for index, entry in enumerate(self._list(config, "namespaces", "config.namespaces")):
            where = f"config.namespaces[{index}]"
            namespace = self._fields(entry, where)
            self._text(namespace, "type", f"{where}.type")
            self._text(namespace, "path", f"{where}.path")

    def _hooks(self, config: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        kinds = self._object(config, "Hooks", "config.Hooks")
        hooks: dict[str, list[dict[str, Any]]] = {}
        for kind in _KEPT_HOOKS:
            where = f"config.Hooks.{kind}"
            entries = self._list(kinds, kind, where)
            for index, hook in enumerate(entries):
                self._hook(hook, f"{where}[{index}]")
            if entries:
                hooks[kind] = entries
        return hooks

    def _hook(self, value: Any, where: str) -> None:
        hook = self._fields(value, where)
        if not os.path.isabs(self._text(hook, "path", f"{where}.path")):
            raise self._wrong(f"{where}.path", f"{hook.get('path')!r} is not an absolute path")
        self._texts(hook, "args", f"{where}.args")
        self._texts(hook, "env", f"{where}.env")
        self._text(hook, "dir", f"{where}.dir")
        timeout = hook.get("timeout")
        if timeout is not None and type(timeout) is not int:
            raise self._wrong(f"{where}.timeout", f"must be nanoseconds, not {_kind(timeout)}")

    def _own(self, document: Mapping[str, Any]) -> dict[str, Any] | None:
        if OURS not in document:
            return None
        own = self._object(document, OURS, needed=True)
        if own.get("version") != VERSION:
            raise self._wrong(f"{OURS}.version", f"is {own.get('version')!r}, not {VERSION}")
        for path, inode in self._object(own, "cgroups", f"{OURS}.cgroups").items():
            if type(inode) is not int or inode < 0:
                raise self._wrong(f"{OURS}.cgroups[{path!r}]", f"must be the number of an inode, not {_kind(inode)}")
        kills = own.get("oom_kills", 0)
        if type(kills) is not int or kills < 0:
            raise self._wrong(f"{OURS}.oom_kills", f"must be a count, not {_kind(kills)}")
        for key, value in self._object(own, "annotations", f"{OURS}.annotations").items():
            if not isinstance(value, str):
                raise self._wrong(f"{OURS}.annotations[{key!r}]", f"must be a string, not {_kind(value)}")
        return own


def _where(error: ValueError) -> str:
    """What json says is wrong; else it is a number of more digits than int() takes."""
    from json import JSONDecodeError  # noqa: PLC0415  (loaded by now)

    if isinstance(error, JSONDecodeError):
        return f"line {error.lineno} column {error.colno}: {error.msg}"
    return str(error)


def _kind(value: Any) -> str:
    """What JSON calls it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}
    if type(value) in (int, float):
        return repr(value)
    return names[type(value)]
