"""Every verb of one runtime on a container of another, in every status: what is answered, and what becomes of it.

docs/interop.md has what comes of it with runc alone; `UPDATE_SNAPSHOTS=1 pytest tests/interop/test_matrix.py` writes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.bundles import config, make_bundle
from tests.crashes import PATIENCE, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"
STATUSES = ("created", "running", "paused", "stopped")
VERBS = ("state", "list", "ps", "exec", "update", "pause", "resume", "kill", "delete")
BEGIN, END = "<!-- what comes of it -->\n", "<!-- end -->\n"


class Runtime:
    """A program with runc's command line, on a root that it shares."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.command = command

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
        )

    def must(self, *words: str) -> str:
        done = self(*words)
        assert done.returncode == 0, (self.name, words, done.stderr)
        return done.stdout

    def status(self, container_id: str) -> str:
        """ "gone" where there is none."""
        done = self("state", container_id)
        if done.returncode:
            assert "does not exist" in done.stderr, done.stderr
            return "gone"
        status: str = json.loads(done.stdout)["status"]
        return status


class Ring:
    """Both runtimes, one root, one bundle."""

    def __init__(self, folder: Path, runc: str, script: Path, busybox: str) -> None:
        self.root = folder / "root"
        self.bundle = make_bundle(folder / "bundle", busybox, config("/bin/sleep", "1000"))
        root = ["--root", str(self.root)]
        self.runtimes = {"runc": Runtime("runc", [runc, *root]), "pyrunc": Runtime("pyrunc", [str(script), *root])}
        self._made: list[str] = []

    def make(self, maker: Runtime, status: str) -> str:
        """A container that it made and brought to a status: its id."""
        self._made.append(f"matrix-{uuid.uuid4().hex[:12]}")
        container_id = self._made[-1]
        # it inherits the standard streams, which must be no pipes of ours: who reads them would wait for its end
        words = [*maker.command, "create", "--bundle", str(self.bundle), container_id]
        silent = subprocess.DEVNULL
        assert subprocess.run(words, stdin=silent, stdout=silent, stderr=silent, timeout=PATIENCE).returncode == 0
        if status != "created":
            maker.must("start", container_id)
        if status == "paused":
            maker.must("pause", container_id)
        if status == "stopped":
            self.end(maker, container_id)
        return container_id

    def end(self, runtime: Runtime, container_id: str) -> None:
        pidfd = os.pidfd_open(json.loads(runtime.must("state", container_id))["pid"])
        try:
            runtime.must("kill", container_id, "KILL")
            assert readable(pidfd)
        finally:
            os.close(pidfd)

    def try_all(self, giver: Runtime, maker: Runtime, status: str) -> dict[str, str]:
        """What comes of each verb, on as few containers as will do."""
        container_id = self.make(maker, status)
        row = {verb: self.ask(giver, verb, container_id) for verb in VERBS[:5]}
        row["pause"] = self.ask(giver, "pause", container_id)
        if row["pause"] == "paused":
            maker.must("resume", container_id)
        row["resume"] = self.ask(giver, "resume", container_id)
        if row["resume"] == "running":
            maker.must("pause", container_id)
        assert giver.status(container_id) == maker.status(container_id) == status
        # what is refused first; one that is created takes both
        for verb in ("kill", "delete") if status == "stopped" else ("delete", "kill"):
            row[verb] = self.ask(giver, verb, container_id)
            if row[verb] == "gone" and verb == "delete" and status == "created":
                container_id = self.make(maker, status)
        return row

    def ask(self, giver: Runtime, verb: str, container_id: str) -> str:
        """One verb: what it tells, or the status that comes of it, or why it refuses."""
        if verb == "state":
            return giver.status(container_id)
        if verb == "list":
            found = json.loads(giver.must("list", "--format", "json"))
            return next(str(one["status"]) for one in found if one["id"] == container_id)
        words = {
            "ps": ["ps", "--format", "json", container_id],
            "exec": ["exec", container_id, "/bin/true"],
            "update": ["update", "--pids-limit", "50", container_id],
            "kill": ["kill", container_id, "KILL"],
        }.get(verb, [verb, container_id])
        pid = json.loads(giver.must("state", container_id))["pid"] if verb == "kill" else 0
        pidfd = os.pidfd_open(pid) if pid else -1
        try:
            done = giver(*words)
            if done.returncode:
                return f"{done.returncode}: {complaint(done.stderr, container_id)}"
            if pidfd >= 0:
                assert readable(pidfd)
        finally:
            if pidfd >= 0:
                os.close(pidfd)
        if verb == "ps":
            pids = json.loads(done.stdout) or []
            return (
                "its init" if pids == [json.loads(giver.must("state", container_id))["pid"]] else str(pids or "nobody")
            )
        if verb in {"exec", "update"}:
            return "done"
        after = {runtime.status(container_id) for runtime in self.runtimes.values()}
        assert len(after) == 1, after  # both see the same
        return after.pop()

    def clean(self) -> None:
        for container_id in self._made:
            self.runtimes["pyrunc"].must("delete", "--force", container_id)


def complaint(text: str, container_id: str) -> str:
    """What an error says, without the log's frame and the container's id."""
    last = text.strip().splitlines()[-1]
    framed = re.search(r'msg="((?:[^"\\]|\\.)*)"', last)
    return (framed[1].replace('\\"', '"') if framed else last).replace(container_id, "ID")


@pytest.fixture
def ring(tmp_path: Path, root_only: None, peer: Callable[[str], str]) -> Iterator[Ring]:
    script = tmp_path / "pyrunc"
    command = [sys.executable, "-m", "libcontainer_py", "script"]
    script.write_text(subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout)
    script.chmod(0o755)
    ring = Ring(tmp_path, peer("runc"), script, peer("busybox"))
    yield ring
    ring.clean()


def table(found: dict[str, dict[str, str]]) -> str:
    """A row a verb, a column a status."""
    rows = [["verb", *STATUSES], ["---"] * (len(STATUSES) + 1)]
    rows += [[f"`{verb}`", *(found[status][verb] for status in STATUSES)] for verb in VERBS]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


# runc alone is what the two are held to; pyrunc alone is what tests/cli is about
@pytest.mark.parametrize(("giver", "maker"), [("runc", "runc"), ("pyrunc", "runc"), ("runc", "pyrunc")])
def test_every_verb_in_every_status(ring: Ring, giver: str, maker: str) -> None:
    both = ring.runtimes
    found = table({status: ring.try_all(both[giver], both[maker], status) for status in STATUSES})
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    written, _, after = rest.partition(END)
    if giver == maker and os.environ.get("UPDATE_SNAPSHOTS") == "1":
        PAGE.write_text(before + BEGIN + found + END + after, encoding="utf-8")
        pytest.skip("docs/interop.md was written anew: read the difference")
    assert found == written
