"""A bench for whatever makes real containers from bundles: one directory each, with busybox as all of its programs."""

from __future__ import annotations

import json
import os
import select
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from libcontainer_py.spec import Hook, Hooks
from libcontainer_py.testing.suite.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py.container import Container
    from libcontainer_py.factory import Factory
    from libcontainer_py.spec import Resources, Spec

_READY, _RAN = "ready", "hooks-ran"
_KINDS = {
    "prestart": "prestart",
    "createRuntime": "create_runtime",
    "createContainer": "create_container",
    "startContainer": "start_container",
    "poststart": "poststart",
    "poststop": "poststop",
}


class BundleBench(Bench):
    """Bundles in `folder`; `busybox` is the path of a busybox that is linked statically, with `sh`, `sleep`, `cat`."""

    def __init__(self, factory: Factory, folder: str | os.PathLike[str], *, busybox: str) -> None:
        super().__init__(factory)
        self.rootfs: Path = Path(folder) / "rootfs"
        self._folder = Path(folder)
        self._busybox = busybox
        self._bundles = 0
        (self.rootfs / "bin").mkdir(parents=True)
        for name in ("proc", "dev", "sys"):
            (self.rootfs / name).mkdir()
        shutil.copy(busybox, self.rootfs / "bin" / "busybox")
        for name in ("sh", "sleep", "true", "cat", "echo"):
            (self.rootfs / "bin" / name).symlink_to("busybox")
        os.mkfifo(self.rootfs / _READY)

    def bundle(
        self,
        *,
        ends_on: Mapping[int, int] | None = None,
        missing: bool = False,
        annotations: Mapping[str, str] | None = None,
        resources: Resources | None = None,
        hooks: Hooks | None = None,
    ) -> str | Spec:
        """The path of a new one. All share a root file system."""
        traps = "".join(f"trap 'exit {code}' {number}; " for number, code in (ends_on or {}).items())
        # a trap waits for the program in the foreground to end, but not for `wait`
        script = f"{traps}echo ready >/{_READY}; while :; do sleep 1000000 & wait; done"
        args: tuple[str, ...] = ("/bin/sh", "-c", script) if ends_on else ("/bin/sleep", "1000000")
        if missing:
            args = ("/no/such/program",)
        spec = self.spec(*args, annotations=annotations, resources=resources, hooks=hooks).to_dict()
        spec["root"] = {"path": str(self.rootfs)}
        path = self._folder / f"bundle-{self._bundles}"
        self._bundles += 1
        path.mkdir()
        (path / "config.json").write_text(json.dumps(spec), encoding="utf-8")
        return str(path)

    def until_ready(self, container: Container) -> None:
        """One that has handlers says so through a fifo; another needs nothing."""
        config = json.loads((Path(container.bundle) / "config.json").read_text(encoding="utf-8"))
        if config["process"]["args"][0] != "/bin/sh":
            return
        ready = os.open(self.rootfs / _READY, os.O_RDWR | os.O_CLOEXEC)
        try:
            poll = select.poll()
            poll.register(ready, select.POLLIN)
            assert poll.poll(self.PATIENCE * 1000), "the program did not say that it is ready"
            os.read(ready, 100)
        finally:
            os.close(ready)

    def hooks(self, *kinds: str, failing: str = "") -> Hooks:
        """Each appends a line to one file; a startContainer hook sees it from within."""
        given: dict[str, Any] = {}
        (self.rootfs / _RAN).touch()
        for kind in kinds:
            inside = kind == "startContainer"
            file, path = (f"/{_RAN}", "/bin/busybox") if inside else (str(self.rootfs / _RAN), self._busybox)
            script = f"cat >/dev/null; echo {kind} >>{file}; exit {int(kind == failing)}"
            given[_KINDS[kind]] = (Hook(path=path, args=("sh", "-c", script)),)
        return Hooks(**given)

    def ran(self) -> list[str]:
        """Read from that file."""
        return (self.rootfs / _RAN).read_text(encoding="utf-8").split()
