"""The tests' own guard: what leaks is found and named, and what others do beside us is not blamed on us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import leaks
from tests.leaks import Ledger, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")

SLEEP = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(strict=False)


def test_nothing_leaked(ledger: Ledger) -> None:
    assert ledger.leaked(ledger.snapshot(), grace=0, servers=False) == []


def test_a_descriptor_is_named(ledger: Ledger, tmp_path: Path) -> None:
    before = ledger.snapshot()
    with open(tmp_path / "left-open", "w", encoding="utf-8") as file:
        found = ledger.leaked(before, grace=0, servers=False)
        assert found == [f"descriptor {file.fileno()} -> {tmp_path}/left-open"]


def test_a_child_is_named_and_a_zombie_too(ledger: Ledger) -> None:
    before = ledger.snapshot()
    with subprocess.Popen(SLEEP, stdin=subprocess.PIPE) as child:
        found = ledger.leaked(before, grace=0, servers=False)
        assert any(f"process pid {child.pid}" in text for text in found)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        found = ledger.leaked(before, grace=0, servers=False)
        assert any(f"process pid {child.pid} (Z)" in text for text in found)
    assert ledger.leaked(before, grace=5, servers=False) == []


def test_the_fork_server_may_stay_between_tests_with_its_sockets_alone(ledger: Ledger) -> None:
    ledger.is_server = lambda command: "I-AM-THE-SERVER" in command
    before = ledger.snapshot()
    with subprocess.Popen([*SLEEP, "I-AM-THE-SERVER"], stdin=subprocess.PIPE) as server:
        pipe = [text for text in ledger.leaked(before, grace=0, servers=True) if "pipe:" in text]
        others = [text for text in ledger.leaked(before, grace=0, servers=True) if "pipe:" not in text]
        assert pipe
        assert not others
        assert any(f"pid {server.pid} " in text for text in ledger.leaked(before, grace=0, servers=False))


def test_an_orphan_is_known_by_its_mark(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(leaks.MARK, ledger.token)
    before = ledger.snapshot()
    # the shell ends and leaves the reader behind, which is nobody's child of ours any more
    starter = subprocess.run(
        ["/bin/sh", "-c", "exec 3<&0; (cat <&3 >/dev/null & echo $!) ", "sh"],
        stdin=(ends := os.pipe())[0],
        stdout=subprocess.PIPE,
        check=True,
        close_fds=True,
    )
    os.close(ends[0])
    orphan = int(starter.stdout)
    try:
        found = ledger.leaked(before, grace=0, servers=False)
        assert any(text.startswith(f"process pid {orphan} ") for text in found)
    finally:
        os.close(ends[1])  # end of file: it ends
    assert ledger.leaked(before, grace=5, servers=False) == []


EMPTY = Snapshot({}, {}, {}, {}, {})


@pytest.mark.parametrize(
    ("kind", "under"), [("cgroups", leaks.cgroup_tops), ("states", leaks.state_roots)], ids=["cgroups", "states"]
)
def test_what_others_make_is_not_ours(ledger: Ledger, kind: str, under: Callable[[], list[str]]) -> None:
    if not under():
        pytest.skip("needs a mounted cgroup file system")
    top = under()[0]
    paths = [f"{top}/theirs", f"{top}/theirs/c-17", f"{top}/libcontainer_py/theirs", f"{top}/c-17"]
    after = EMPTY._replace(**{kind: dict(zip(paths, paths, strict=True))})
    ledger.names |= {"c-17", "libcontainer_py"}
    (found,) = ledger._difference(EMPTY, after, servers=False)
    assert found.endswith(f" {top}/c-17")
    ledger.strict = True
    assert len(ledger._difference(EMPTY, after, servers=False)) == 4


def test_a_cgroup_of_the_library_is_ours_by_its_name(ledger: Ledger) -> None:
    shared = [top for top in leaks.cgroup_tops() if top.endswith("/libcontainer_py")]
    if not shared:
        pytest.skip("needs a mounted cgroup file system")
    ledger.names.add("c-17-root")
    assert ledger.owns_cgroup(f"{shared[0]}/c-17-root")
    assert not ledger.owns_cgroup(f"{shared[0]}/c-18-root")


def test_a_mount_is_named(ledger: Ledger) -> None:
    ledger.folder = "/tmp/run-1"
    mounts = {"a": "/tmp/run-1/rootfs (tmpfs tmpfs, root /)", "b": "/mnt/theirs (ext4 /dev/sda, root /)"}
    assert ledger._difference(EMPTY, EMPTY._replace(mounts=mounts), servers=False) == [f"mount {mounts['a']}"]


def test_names_are_learned_from_directories_and_programs(tmp_path: Path) -> None:
    from tests.conftest import ledger  # the one that watches

    os.mkdir(tmp_path / "a-name-that-we-gave")
    subprocess.run(["/bin/true", "an-id-that-we-gave"], check=True)
    assert {"a-name-that-we-gave", "an-id-that-we-gave"} <= ledger.names
    assert ledger.strict or not ledger.owns("/run/runc/theirs", "/run/runc")
    assert ledger.owns("/run/runc/an-id-that-we-gave/below", "/run/runc")
