"""Where the root is, and which ones are refused."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from libcontainer_py.errors import StateError
from libcontainer_py.state import root as roots
from libcontainer_py.state.directory import Directory

root_only = pytest.mark.usefixtures("root_only")
SOMEBODY = 12345


def test_the_default_root_of_root_and_of_others(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    found = in_child(roots.default_root, XDG_RUNTIME_DIR=str(runtime))
    assert found == ("/run/libcontainer_py" if os.geteuid() == 0 else f"{runtime}/libcontainer_py")


@root_only
def test_the_default_root_of_an_ordinary_user() -> None:
    with tempfile.TemporaryDirectory() as directory:  # the parents of tmp_path are root's alone
        check_default_root(Path(directory))


def check_default_root(directory: Path) -> None:
    directory.chmod(0o755)
    his, mine = directory / "his", directory / "mine"
    his.mkdir()
    mine.mkdir()
    os.chown(his, SOMEBODY, SOMEBODY)

    def as_somebody() -> str:
        os.seteuid(SOMEBODY)
        return roots.default_root()

    elsewhere = f"/tmp/libcontainer_py-{SOMEBODY}"
    assert in_child(as_somebody, XDG_RUNTIME_DIR=str(his)) == f"{his}/libcontainer_py"
    assert in_child(as_somebody, XDG_RUNTIME_DIR=str(mine)) == elsewhere
    assert in_child(as_somebody, XDG_RUNTIME_DIR="relative") == elsewhere
    assert in_child(as_somebody, XDG_RUNTIME_DIR=str(directory / "none")) == elsewhere
    assert in_child(as_somebody) == elsewhere


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    root = tmp_path / "above" / "root"
    store = Directory(str(root))
    assert store.ids() == []
    assert not store.exists("a")
    store.remove("a")
    assert store.sweep_remains() == []
    assert not root.parent.exists()


def test_the_root_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "above" / "root"
    before = os.umask(0)
    try:
        with Directory(str(root)).lock("a", timeout=0):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE(root.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / ",lock").stat().st_mode) == 0o600


def test_any_umask_leaves_it_usable(tmp_path: Path) -> None:
    root = tmp_path / "root"
    before = os.umask(0o777)
    try:
        with Directory(str(root)).lock("a", timeout=0):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / ",lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_a_root_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    for use in uses(tmp_path):
        with pytest.raises(StateError, match=f"can be written by others \\(mode {mode:04o}\\)") as caught:
            use()
        assert caught.value.hint == f"chmod go-w {tmp_path}"
    tmp_path.chmod(0o700)
    assert os.listdir(tmp_path) == []


@root_only
def test_a_root_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, SOMEBODY, SOMEBODY)
    for use in uses(tmp_path):
        with pytest.raises(StateError, match=f"belongs to user {SOMEBODY}"):
            use()
    assert os.listdir(tmp_path) == []


@root_only
def test_a_symlink_of_somebody_else_is_refused_and_our_own_is_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir(mode=0o700)
    link.symlink_to(real)
    assert Directory(str(link)).ids() == []
    os.lchown(link, SOMEBODY, SOMEBODY)
    with pytest.raises(StateError, match=f"symlink of user {SOMEBODY}"):
        Directory(str(link)).ids()


def test_a_symlink_to_nothing_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "none")
    with pytest.raises(StateError, match="symlink to nothing"), Directory(str(link)).lock("a", timeout=0):
        pass


def test_a_root_that_is_no_directory(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.write_text("")
    for use in uses(root):
        with pytest.raises(StateError) as caught:
            use()
        assert caught.value.path == str(root)
        assert caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    root = tmp_path / "root"
    with pytest.raises(StateError) as caught, Directory(str(root)).lock("a", timeout=0):
        pass
    assert caught.value.path == str(root)
    assert caught.value.hint


def test_a_root_that_cannot_be_written_says_why() -> None:
    with pytest.raises(StateError) as caught, Directory("/proc/none").lock("a", timeout=0):
        pass
    assert caught.value.path == "/proc/none"
    assert isinstance(caught.value.__cause__, OSError)


def test_file_systems_are_known_by_name(tmp_path: Path) -> None:
    def name(path: str) -> str:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return roots.file_system(descriptor)
        finally:
            os.close(descriptor)

    assert name("/proc") == "proc"
    assert name("/proc/self") == "proc"
    here = name(str(tmp_path))
    mounts = Path("/proc/self/mountinfo").read_text()
    assert here
    assert f" - {here} " in mounts


def test_network_file_systems_are_refused(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        here = roots.file_system(descriptor)
        assert here not in roots.NETWORK
        roots.refuse_network(str(tmp_path), descriptor)  # and is silent
        before = roots.NETWORK
        roots.NETWORK = before | {here}  # as if this one were
        try:
            with pytest.raises(StateError, match="network file system"):
                roots.refuse_network(str(tmp_path), descriptor)
            with pytest.raises(StateError, match="network file system"), Directory(str(tmp_path)).lock("a", timeout=0):
                pass
        finally:
            roots.NETWORK = before
    finally:
        os.close(descriptor)


def test_errors_have_hints_where_something_can_be_done() -> None:
    assert roots.unusable("/x", OSError(errno.EROFS, "")).hint
    assert "Read-only" in str(roots.unusable("/x", OSError(errno.EROFS, "")))


def uses(root: Path) -> list:  # type: ignore[type-arg]  # callables of many kinds
    store = Directory(str(root))
    return [
        store.ids,
        lambda: store.load("a"),
        lambda: store.exists("a"),
        lambda: store.remove("a"),
        lambda: store.lock("a", timeout=0).__enter__(),
        store.sweep_remains,
    ]


def in_child(work, **environment: str) -> str:  # type: ignore[no-untyped-def]  # any work that returns a text
    """Run it in a forked child with this environment alone."""
    assert threading.active_count() == 1
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.environ.clear()
            os.environ.update(environment)
            os.write(writer, work().encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    try:
        found = os.read(reader, 65536).decode()
    finally:
        os.close(reader)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return found
