"""One configuration under runc and under this library, with the same probe as its program, and what came out of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from libcontainer_py import DEVNULL, ContainerError, Factory
from tests.crashes import PATIENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Config = dict[str, Any]
    Prepare = Callable[[Path], object]
    """Changes a root file system before the container is made."""

PROBE = Path(__file__).parent / "probe.py"
FOLDERS = ("bin", "etc", "tmp", "proc", "dev", "sys", "run")


class Outcome(NamedTuple):
    """How a container went."""

    seen: Any
    """What its program wrote, JSON, normalised; None where it did not run."""
    left: dict[str, Any]
    """The root file system as it is afterwards: modes and owners by path."""
    hooks: dict[str, Any]
    """What hooks wrote into the file of that name in the bundle."""
    error: str
    """Why it did not run, or what was warned of."""


class Field:
    """Where both run, below one directory: their roots, bundles, and what configurations need of the host."""

    def __init__(self, folder: Path, runc: str, busybox: str) -> None:
        self.folder = folder
        self.runc = [runc, "--root", str(folder / "runc-root")]
        self.factory = Factory(folder / "root")
        self.tree = folder / "tree"
        self.joined = ""
        shutil.copy(busybox, folder / "busybox")

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """With a tree that has a mount below it, and with namespaces to join."""
        for path in (self.folder, *self.folder.parents):  # a user namespace's root must find its files
            if path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o005 != 0o005:
                path.chmod(0o755)
        (self.tree / "below").mkdir(parents=True)
        (self.tree / "file").write_text("text", encoding="utf-8")
        (self.tree / "link").symlink_to("below")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "noatime", "below", str(self.tree / "below")], check=True)
        told, tells = os.pipe()
        with subprocess.Popen(
            [*("unshare", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"), "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,  # it ends with us
            stdout=tells,
        ) as holder:
            os.close(tells)
            try:
                os.read(told, 1)  # its child is there
                children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text(encoding="utf-8")
                self.joined = f"/proc/{children.split()[0]}/ns"
                yield
            finally:
                os.close(told)
                holder.kill()
                subprocess.run(["umount", str(self.tree / "below")], check=True)

    # -- bundles ------------------------------------------------------------------------------------------------------

    def bundle(self, path: Path, config: Config, prepare: Prepare | None) -> Path:
        """A bundle of the configuration, whose words in angle brackets are replaced."""
        rootfs = path / "rootfs"
        for name in FOLDERS:
            (rootfs / name).mkdir(parents=True)
        (rootfs / "tmp").chmod(0o1777)
        os.link(self.folder / "busybox", rootfs / "bin/busybox")
        (rootfs / "bin/sh").symlink_to("busybox")
        shutil.copy(PROBE, rootfs / "probe.py")
        if prepare is not None:
            prepare(rootfs)
        text = json.dumps(config)
        words = {"id": path.name, "bundle": str(path), "tree": str(self.tree), "joined": self.joined}
        words["busybox"] = str(self.folder / "busybox")
        for word, value in words.items():
            text = text.replace(f"<{word}>", value)
        (path / "config.json").write_text(text, encoding="utf-8")
        return path

    # -- the two sides ------------------------------------------------------------------------------------------------

    def both(self, config: Config, prepare: Prepare | None = None) -> tuple[Outcome, Outcome]:
        """runc's outcome and ours, at the same time."""
        with ThreadPoolExecutor(1) as beside:
            theirs = beside.submit(self._outcome, "runc", self._by_runc, config, prepare)
            ours = self._outcome("here", self._by_us, config, prepare)
        return theirs.result(), ours

    def _outcome(
        self, side: str, run: Callable[[str, Path], tuple[str, str]], config: Config, prepare: Prepare | None
    ) -> Outcome:
        container_id = f"{side}-{uuid.uuid4().hex[:12]}"
        bundle = self.bundle(self.folder / side / container_id, config, prepare)
        output, error = run(container_id, bundle)
        found = sorted((bundle / "rootfs").rglob("*"))
        left = {str(path.relative_to(bundle)): _described(path) for path in found}

        def named(text: str) -> str:
            return text.replace(f"{side}/{container_id}", "<bundle>").replace(container_id, "<id>")

        told = bundle / "hooks"
        hooks = _hooks(named(told.read_text(encoding="utf-8"))) if told.exists() else {}
        try:
            seen = json.loads(named(output))
        except ValueError:
            return Outcome(None, left, hooks, error or output or "the program wrote nothing")
        if isinstance(seen, dict):  # the probe's
            if isinstance(seen["namespaces"], dict):
                seen["namespaces"] = {kind: self._whose(kind, one) for kind, one in seen["namespaces"].items()}
            if isinstance(seen["mounts"], dict):
                seen["mounts"] = {point: _mounts(there) for point, there in seen["mounts"].items()}
        return Outcome(seen, left, hooks, error)

    def _whose(self, kind: str, namespace: str) -> str:
        if namespace == os.readlink(f"/proc/self/ns/{kind}"):
            return "the host's"
        return "joined" if namespace == os.readlink(f"{self.joined}/{kind}") else "new"

    def _by_runc(self, container_id: str, bundle: Path) -> tuple[str, str]:
        command = [*self.runc, "run", "--detach", "--bundle", str(bundle), container_id]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            return process.communicate(timeout=PATIENCE)  # the container has the same pipes: they end with it
        finally:
            process.kill()
            subprocess.run([*self.runc, "delete", "--force", container_id], capture_output=True, timeout=PATIENCE)
            for left in Path("/sys/fs/cgroup").glob(f"*/{container_id}"):
                left.rmdir()  # the parents of a cgroup stay

    def _by_us(self, container_id: str, bundle: Path) -> tuple[str, str]:
        streams = [os.pipe() for _ in range(2)]
        with contextlib.ExitStack() as stack:
            output, error = (stack.enter_context(open(hears, encoding="utf-8")) for hears, _ in streams)
            try:
                container = self.factory.create(
                    container_id, bundle, stdin=DEVNULL, stdout=streams[0][1], stderr=streams[1][1]
                )
            except ContainerError as refused:
                return "", str(refused)
            finally:
                for _, says in streams:
                    os.close(says)
            with container:
                try:
                    container.start()
                except ContainerError as refused:
                    return "", str(refused)
                return output.read(), error.read()


def _mounts(above_each_other: list[list[Any]]) -> dict[str, list[Any]]:
    """Numbered; with one word for a source that is a dummy, as config.md calls it: none, or the type once more."""
    found = {}
    for number, (root, options, propagation, fstype, source, data) in enumerate(above_each_other):
        found[str(number)] = [root, options, propagation, fstype, "" if source == fstype else source, data]
    return found


def _hooks(text: str) -> dict[str, Any]:
    """Of each hook, numbered, its kind, words, and the state that it got; the pid says only whether there is one."""
    found = {}
    for number, line in enumerate(text.split("}\n")[:-1]):
        (kind, words), state = line.partition("\t")[0].split(" ", 1), json.loads(line.partition("\t")[2] + "}")
        found[str(number)] = {"kind": kind, "words": words, **state, "pid": "pid" in state}
    return found


def _described(path: Path) -> list[object]:
    at = path.lstat()
    return [oct(at.st_mode), at.st_uid, at.st_gid, at.st_rdev]


def differences(theirs: Any, ours: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Where two documents differ, down to the smallest part: path, runc's value, ours; None is nothing."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            yield from differences(theirs.get(key), ours.get(key), (*path, key))
    elif theirs != ours:
        yield path, theirs, ours
