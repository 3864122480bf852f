"""The lock excludes processes and threads, and outlives nobody."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from libcontainer_py.backends.memory import MemoryHost
from libcontainer_py.backends.procedures import Procedures
from libcontainer_py.errors import ContainerNotFound, ContainerTimeout, StateError
from libcontainer_py.state.directory import Directory
from tests.unit.state.children import PATIENCE, Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, TypeAlias

    Trace: TypeAlias = Callable[[FrameType, str, Any], Any]
    Fork = Callable[[Callable[[Child], object]], Child]


@pytest.fixture
def store(tmp_path: Path) -> Directory:
    return Directory(str(tmp_path / "root"))


def taken(store: Directory, container_id: str = "a") -> bool:
    """Whether somebody holds the lock."""
    try:
        with store.lock(container_id, timeout=0):
            return False
    except ContainerTimeout:
        return True


def holder(store: Directory) -> Callable[[Child], object]:
    def hold(child: Child) -> None:
        with store.lock("a", timeout=PATIENCE):
            child.say()
            child.listen()
        child.say()
        child.listen()

    return hold


def test_it_excludes_another_process_until_released(store: Directory, fork: Fork) -> None:
    child = fork(holder(store))
    child.hear()
    assert taken(store)
    assert not taken(store, "b")
    child.tell()
    child.hear()
    assert not taken(store)


def test_it_excludes_another_holder_in_this_thread(store: Directory) -> None:
    with store.lock("a", timeout=0):
        assert taken(store)
        assert not taken(store, "b")
        with store.lock("b", timeout=0):
            assert taken(store)
        assert taken(store), "closing another descriptor of the file dropped the lock"
    assert not taken(store)


def test_it_excludes_other_threads(store: Directory) -> None:
    inside = 0
    most = 0
    counted = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with store.lock("a", timeout=PATIENCE):
                with counted:
                    inside += 1
                    most = max(most, inside)
                with counted:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (most, inside) == (1, 0)
    assert not any(thread.is_alive() for thread in threads)


def test_a_killed_holder_frees_it(store: Directory, fork: Fork) -> None:
    child = fork(holder(store))
    child.hear()
    assert taken(store)
    child.kill()
    assert not taken(store)


def test_an_error_inside_frees_it(store: Directory) -> None:
    with pytest.raises(KeyError), store.lock("a", timeout=0):
        raise KeyError
    assert not taken(store)


def test_who_waits_gets_it(store: Directory, fork: Fork) -> None:
    child = fork(holder(store))
    child.hear()

    def wait(waiter: Child) -> int:
        waiter.say()
        with store.lock("a", timeout=None):
            return 3

    waiter = fork(wait)
    waiter.hear()
    child.tell()
    assert waiter.wait() == 3


def test_the_wait_ends_with_its_time(store: Directory) -> None:
    with store.lock("a", timeout=0):
        began = time.monotonic()
        with pytest.raises(ContainerTimeout) as caught, store.lock("a", timeout=0.05):
            pass
        passed = time.monotonic() - began
    assert 0.05 <= passed < 5
    assert caught.value.timeout == 0.05
    assert isinstance(caught.value, TimeoutError)
    assert "container 'a'" in str(caught.value)


def test_the_hint_finds_the_holder(store: Directory, fork: Fork) -> None:
    child = fork(holder(store))
    child.hear()
    with pytest.raises(ContainerTimeout) as caught, store.lock("a", timeout=0):
        pass
    command = caught.value.hint.partition("to find it: ")[2]
    found = subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout
    assert [line.split("/")[2] for line in found.splitlines()] == [str(child.pid)]


def test_a_forked_child_neither_keeps_nor_releases_it(store: Directory, fork: Fork) -> None:
    lock = store.lock("a", timeout=0)
    lock.__enter__()

    def leave(child: Child) -> None:
        lock.__exit__(None, None, None)
        child.say()
        child.listen()

    child = fork(leave)
    child.hear()
    assert taken(store), "the child released its parent's lock"
    idle = fork(Child.listen)  # has the descriptor too, and keeps it
    lock.__exit__(None, None, None)
    assert not taken(store), "the child kept its parent's lock"
    idle.tell()
    assert idle.wait() == 0


def test_the_file_is_never_replaced(store: Directory) -> None:
    with store.lock("a", timeout=0):
        before = os.stat(f"{store.root}/,lock").st_ino
    with store.lock("b", timeout=0):
        pass
    assert os.stat(f"{store.root}/,lock").st_ino == before


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo"])
def test_what_is_no_file_is_refused(store: Directory, kind: str) -> None:
    os.mkdir(store.root, 0o700)
    path = f"{store.root}/,lock"
    target = f"{store.root}/target"
    if kind == "symlink":
        os.symlink(target, path)
    elif kind == "directory":
        os.mkdir(path)
    else:
        os.mkfifo(path)
    with pytest.raises(StateError) as caught, store.lock("a", timeout=0):
        pass
    assert caught.value.path == path
    assert not os.path.exists(target)


def test_no_descriptor_is_left(store: Directory) -> None:
    with store.lock("a", timeout=0):
        pass
    before = os.listdir("/proc/self/fd")
    with store.lock("a", timeout=0), pytest.raises(ContainerTimeout), store.lock("a", timeout=0):
        pass
    assert os.listdir("/proc/self/fd") == before


def test_an_interrupt_at_any_moment_lets_it_go(store: Directory) -> None:
    """Who cleans up after a Ctrl-C takes it once more, and would wait for himself."""
    procedures = Procedures(store, MemoryHost())
    with store.lock("a", timeout=0):
        pass  # the root is there
    moments = 0
    for moment in itertools.count():
        before = _descriptors()
        interrupted = _interrupted(lambda: procedures.release("a", timeout=0.0), moment)
        assert not taken(store), moment
        for descriptor in _descriptors() - before:  # one that was just opened is lost, and holds nothing up
            os.close(descriptor)
        if not interrupted:
            break
        moments += 1
    assert moments > 20


def _descriptors() -> set[int]:
    return {number for number in range(1024) if os.path.lexists(f"/proc/self/fd/{number}")}


def _interrupted(act: Callable[[], object], moment: int) -> bool:
    """Whether a KeyboardInterrupt came, at that line of the lock or of who takes it, counted as they are executed."""
    left = [moment]

    def trace(frame: FrameType, event: str, _argument: object) -> Trace | None:
        code = frame.f_code
        if os.path.basename(code.co_filename) != "lock.py" and code.co_name not in ("_enter", "_lock"):
            return None
        if event in ("call", "line"):
            left[0] -= 1
            if left[0] < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    except ContainerNotFound:
        return False
    finally:
        sys.settrace(before)
    raise AssertionError("there is no container")
