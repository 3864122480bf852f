"""State directories: they appear and vanish at once, and nothing foreign is touched."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from libcontainer_py.errors import ContainerExists, ContainerNotFound, InvalidId, StateError
from libcontainer_py.record import Init, Intent, Swept
from libcontainer_py.state import removal, runc
from libcontainer_py.state.directory import Directory
from libcontainer_py.state.names import remains_name, slot_of
from tests.unit.state.children import PATIENCE, Child, at_call, waits_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Fork = Callable[[Callable[[Child], object]], Child]

DATA = Path(__file__).parent / "data"
INTENT = Intent(Init(12, 345), "boot", 7, {"/sys/fs/cgroup/a": 0})
OTHER = INTENT._replace(init=Init(13, 346))
REMAINS = remains_name(slot_of("c1"))


@pytest.fixture
def store(tmp_path: Path) -> Directory:
    return Directory(str(tmp_path / "root"))


@pytest.fixture
def full(store: Directory) -> Directory:
    """A store with one complete container, c1."""
    store.make("c1", INTENT)
    store.make_fifo("c1", (os.geteuid(), os.getegid()))
    shutil.copy(DATA / "state-runc-1.1.5.json", f"{store.root}/c1/state.json")
    store.settle("c1")
    return store


def tree(root: str) -> list[str]:
    """Everything under a root, as paths relative to it."""
    return sorted(
        os.path.relpath(os.path.join(where, name), root)
        for where, directories, files in os.walk(root)
        for name in [*directories, *files]
    )


# -- make -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_make(store: Directory, umask: int) -> None:
    before = os.umask(umask)
    try:
        store.make("c1", INTENT)
    finally:
        os.umask(before)
    assert tree(store.root) == ["c1", "c1/intent.json"]
    assert stat.S_IMODE(os.stat(f"{store.root}/c1").st_mode) == 0o711
    assert stat.S_IMODE(os.stat(f"{store.root}/c1/intent.json").st_mode) == 0o600
    assert store.intent("c1") == INTENT
    assert store.exists("c1")
    assert store.ids() == ["c1"]
    assert store.directory("c1") == f"{store.root}/c1"


def test_a_taken_id(full: Directory) -> None:
    before = tree(full.root)
    with pytest.raises(ContainerExists, match="container with given ID already exists") as caught:
        full.make("c1", INTENT)
    assert isinstance(caught.value, FileExistsError)
    assert caught.value.container_id == "c1"
    assert tree(full.root) == before


@pytest.mark.parametrize("kind", ["file", "symlink", "empty"])
def test_whatever_has_the_name_takes_the_id(store: Directory, tmp_path: Path, kind: str) -> None:
    os.mkdir(store.root, 0o700)
    path = Path(store.root, "c1")
    if kind == "file":
        path.touch()
    elif kind == "symlink":
        path.symlink_to(tmp_path)
    else:
        path.mkdir()
    with pytest.raises(ContainerExists):
        store.make("c1", INTENT)
    assert tree(store.root) == ["c1"]


def test_a_directory_that_runc_makes_meanwhile_is_not_replaced(store: Directory) -> None:
    from libcontainer_py.kernel import libc

    with at_call(libc.renameat2, lambda: os.mkdir(f"{store.root}/c1")), pytest.raises(ContainerExists):
        store.make("c1", INTENT)
    assert tree(store.root) == ["c1"]


@pytest.mark.parametrize("verb", ["make", "load", "remove", "exists", "directory", "intent", "lock", "save", "age"])
@pytest.mark.parametrize("container_id", ["", "..", "a/b", "x" * 300, "ä", ",lock", "a\0b"])
def test_bad_ids_are_refused_before_anything_happens(store: Directory, verb: str, container_id: str) -> None:
    state = runc.decode((DATA / "state-runc-1.1.5.json").read_bytes(), "/run/x/c1")
    verbs: dict[str, Callable[[], object]] = {
        "make": lambda: store.make(container_id, INTENT),
        "lock": lambda: store.lock(container_id, timeout=0),
        "save": lambda: store.save(state._replace(id=container_id)),
    }
    with pytest.raises(InvalidId):
        verbs.get(verb, lambda: getattr(store, verb)(container_id))()
    assert not os.path.exists(store.root)


def test_an_intent_that_cannot_be_written_leaves_nothing(store: Directory) -> None:
    os.mkdir(store.root, 0o700)
    with pytest.raises(TypeError):
        store.make("c1", INTENT._replace(boot_id=object()))  # type: ignore[arg-type]  # what json refuses
    assert tree(store.root) == []


def test_the_intent_is_replaced_and_kept(store: Directory) -> None:
    store.make("c1", INTENT)
    store.note("c1", OTHER)
    assert store.intent("c1") == OTHER
    assert tree(store.root) == ["c1", "c1/intent.json"]
    store.settle("c1")
    store.settle("c1")
    assert store.intent("c1") is None
    assert store.made("c1") == OTHER
    assert tree(store.root) == ["c1", "c1/made.json"]


def test_an_interrupt_right_after_the_rename_stays_one(full: Directory) -> None:
    def interrupt(_frame: object, event: str, function: object) -> None:
        if event == "c_return" and function is os.rename:
            raise KeyboardInterrupt

    record = full.load("c1")
    sys.setprofile(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            full.save(record)
    finally:
        sys.setprofile(None)
    assert full.load("c1") == record


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b'{"version":1}', b"\xff"])
def test_an_intent_that_cannot_be_read_is_none(store: Directory, content: bytes) -> None:
    store.make("c1", INTENT)
    Path(store.root, "c1", "intent.json").write_bytes(content)
    assert store.intent("c1") is None


def test_verbs_on_what_is_not_there(store: Directory) -> None:
    for _ in range(2):  # without a root, then with one
        assert store.intent("c1") is None
        assert store.made("c1") is None
        assert store.age("c1") == float("inf")
        assert not store.exists("c1")
        assert not store.is_empty("c1")
        assert not store.has_fifo("c1")
        store.remove("c1")
        store.settle("c1")
        store.unlink_fifo("c1")
        for verb in (store.load, store.open_fifo, lambda name: store.note(name, INTENT)):
            with pytest.raises(ContainerNotFound) as caught:
                verb("c1")
            assert isinstance(caught.value, LookupError)
            assert str(caught.value) == f"container does not exist: 'c1' in {store.root}"
        with store.lock("c1", timeout=0):
            pass


def test_age_and_emptiness(store: Directory) -> None:
    store.make("c1", INTENT)
    assert 0 <= store.age("c1") < PATIENCE
    assert not store.is_empty("c1")
    os.unlink(f"{store.root}/c1/intent.json")
    assert store.is_empty("c1")
    os.utime(f"{store.root}/c1", (0, 0))
    assert store.age("c1") < PATIENCE, "a program set it back"


def test_ids_are_directories_that_can_be_containers(store: Directory) -> None:
    os.mkdir(store.root, 0o700)
    for name in ("b", "a", ",0123456789abcdef", "x y", "ä"):
        os.mkdir(f"{store.root}/{name}")
    Path(store.root, "file").touch()
    Path(store.root, "link").symlink_to("a")
    assert store.ids() == ["a", "b"]


# -- state.json -------------------------------------------------------------------------------------------------------


def test_load_and_save(full: Directory) -> None:
    loaded = full.load("c1")
    assert loaded.directory == f"{full.root}/c1"
    assert loaded.init == Init(25908, 555258)
    full.save(loaded._replace(created="2030-01-01T00:00:00Z"))
    assert full.load("c1").created == "2030-01-01T00:00:00Z"
    assert tree(full.root) == ["c1", "c1/exec.fifo", "c1/made.json", "c1/state.json"]
    assert stat.S_IMODE(os.stat(f"{full.root}/c1/state.json").st_mode) == 0o600
    before = json.loads((DATA / "state-runc-1.1.5.json").read_text())
    after = json.loads(Path(full.root, "c1", "state.json").read_text())
    assert after == {**before, "created": "2030-01-01T00:00:00Z"}


def test_without_state_json_there_is_no_container_yet(store: Directory) -> None:
    store.make("c1", INTENT)
    with pytest.raises(ContainerNotFound):
        store.load("c1")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b'{"id":"c1","init_pro', "is not JSON: line 1 column 12"),
        (b"null", "must be an object, not null"),
        (b"[]", "must be an object, not a list"),
        (b"{\xff}", "is not UTF-8: byte 1"),
        (b'{"id":"c1","init_process_pid":"12"}', "config: is missing"),
    ],
)
def test_a_torn_state_json(full: Directory, content: bytes, says: str) -> None:
    path = Path(full.root, "c1", "state.json")
    path.write_bytes(content)
    with pytest.raises(StateError) as caught:
        full.load("c1")
    assert str(caught.value).startswith(f"{path}: {says}")
    assert caught.value.path == str(path)
    assert caught.value.container_id == "c1"
    full.remove("c1")
    assert tree(full.root) == []


def test_a_state_json_that_is_no_file(full: Directory) -> None:
    path = Path(full.root, "c1", "state.json")
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(StateError, match="is a symlink"):
        full.load("c1")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StateError, match="is not a file"):
        full.load("c1")
    path.unlink()
    path.mkdir()
    with pytest.raises(StateError, match="is not a file"):
        full.load("c1")


def test_a_state_json_that_is_too_large(full: Directory) -> None:
    os.truncate(f"{full.root}/c1/state.json", (16 << 20) + 1)
    with pytest.raises(StateError, match="is too large"):
        full.load("c1")


def test_a_container_that_is_a_symlink(full: Directory) -> None:
    os.symlink("c1", f"{full.root}/c2")
    for verb in (full.load, full.remove, full.exists):
        with pytest.raises(StateError, match="is not a directory"):
            verb("c2")
    assert full.exists("c1")


# -- other runtimes ---------------------------------------------------------------------------------------------------


def crun(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True)
    shutil.copy(DATA / "status-crun-1.27.1.json", path / "status")
    (path / "config.json").write_text("{}")


def youki(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True)
    state = {"ociVersion": "v1.0.2", "id": "c1", "status": "running", "pid": 7, "bundle": "/b", "annotations": {}}
    (path / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize(("runtime", "make"), [("crun", crun), ("youki", youki)])
def test_directories_of_other_runtimes_are_left_alone(
    store: Directory, runtime: str, make: Callable[[Path], None]
) -> None:
    os.mkdir(store.root, 0o700)
    make(Path(store.root, "c1"))
    before = tree(store.root)
    for verb in (store.load, store.remove):
        with pytest.raises(StateError, match=f"created by {runtime}") as caught:
            verb("c1")
        assert f"use {runtime} --root {store.root}" in caught.value.hint
    with pytest.raises(ContainerExists):
        store.make("c1", INTENT)
    assert store.sweep_remains() == []
    assert tree(store.root) == before


# -- fifo -------------------------------------------------------------------------------------------------------------


def test_the_fifo_comes_and_goes(store: Directory) -> None:
    store.make("c1", INTENT)
    assert not store.has_fifo("c1")
    assert store.open_fifo("c1") is None
    store.make_fifo("c1", (os.geteuid(), os.getegid()))
    assert store.has_fifo("c1")
    with pytest.raises(StateError, match=r"exec\.fifo: File exists"):
        store.make_fifo("c1", (os.geteuid(), os.getegid()))
    gate = store.open_fifo("c1")
    assert gate is not None
    gate.close()
    store.unlink_fifo("c1")
    store.unlink_fifo("c1")
    assert not store.has_fifo("c1")


def test_the_gate_asks_whether_the_container_is_frozen(store: Directory, fork: Fork) -> None:
    asked: list[str] = []
    child = fork(waits_as("runc:[2:INIT]"))
    child.hear()
    store.make("c1", INTENT)
    store.make_fifo("c1", (os.geteuid(), os.getegid()))
    gate = Directory(store.root, frozen=lambda name: asked.append(name) is None).open_fifo("c1")
    assert gate is not None
    assert gate.take(child.init, deadline=float("inf")) == "paused"
    assert asked == ["c1"]
    gate.close()


# -- remove -----------------------------------------------------------------------------------------------------------


def test_remove_takes_everything_and_follows_nothing(full: Directory, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    directory = Path(full.root, "c1")
    (directory / "link").symlink_to(outside)
    (directory / "rootfs").mkdir()
    (directory / "state-1234").write_text("{")
    (directory / "notify" / "deep" / "deeper").mkdir(parents=True)
    (directory / "notify" / "link").symlink_to(outside)
    full.make("c2", INTENT)
    full.remove("c1")
    full.remove("c1")
    assert tree(full.root) == ["c2", "c2/intent.json"]
    assert (outside / "precious").exists()


def test_remove_is_bounded(full: Directory) -> None:
    deep = Path(full.root, "c1", *["d"] * removal.DEEPEST)
    deep.mkdir(parents=True)
    before = tree(full.root)
    with pytest.raises(StateError, match="directories deep"):
        full.remove("c1")
    assert tree(full.root) == before
    deep.rmdir()
    full.remove("c1")
    assert tree(full.root) == []


def test_remove_counts(full: Directory) -> None:
    for number in range(removal.MOST):
        Path(full.root, "c1", f"f{number}").touch()
    with pytest.raises(StateError, match="entries"):
        full.remove("c1")
    assert full.load("c1").id == "c1"
    for number in range(10):
        Path(full.root, "c1", f"f{number}").unlink()
    full.remove("c1")
    assert tree(full.root) == []


@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize("what", ["a directory", "a file", "the whole"])
def test_remove_crosses_no_mount(full: Directory, tmp_path: Path, fork: Fork, what: str) -> None:
    """Bind mounts of the same file system, which st_dev cannot tell."""
    from libcontainer_py.kernel import libc
    from libcontainer_py.kernel.constants import CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    place = Path(full.root, "c1", "rootfs")
    source = outside / "precious" if what == "a file" else outside
    if what == "a file":
        place.touch()
    elif what == "a directory":
        place.mkdir()
    else:
        place = place.parent
    before = tree(full.root)

    def work(child: Child) -> int:
        libc.unshare(CLONE_NEWNS)
        libc.mount(None, "/", None, MS_REC | MS_PRIVATE)
        libc.mount(str(source), str(place), None, MS_BIND)
        try:
            full.remove("c1")
        except StateError as error:
            child.say(f"{error.path}|{error.hint}".encode())
            return 0
        return 1

    child = fork(work)
    assert child.wait() == 0
    assert child.hear().decode() == f"{place}|umount {place}"
    assert tree(full.root) == before
    assert (outside / "precious").exists()


# -- crashes ----------------------------------------------------------------------------------------------------------


def killed_at(fork: Fork, number: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that is killed before its `number`th call of something written in C; whether it was."""

    def run(child: Child) -> None:
        count = 0

        def count_calls(frame: object, event: str, argument: object) -> None:
            nonlocal count
            if event == "c_call":
                if count == number:
                    os.kill(os.getpid(), 9)
                count += 1

        sys.setprofile(count_calls)
        work()
        sys.setprofile(None)

    return fork(run).wait() == -9


def under_lock(store: Directory, work: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        with store.lock("c1", timeout=PATIENCE):
            work()

    return run


def swept(store: Directory) -> list[Swept]:
    return [Swept("", f"{store.root}/{REMAINS}", removed=True, reason="left by a create or delete that was killed")]


def test_a_make_that_is_killed_anywhere(store: Directory, fork: Fork) -> None:
    from libcontainer_py.kernel import libc  # loaded here, so that every child goes the same way

    libc.number_of("renameat2")
    with store.lock("c1", timeout=0):
        pass
    seen = set()
    for number in range(10_000):
        if not killed_at(fork, number, under_lock(store, lambda: store.make("c1", INTENT))):
            break
        if store.exists("c1"):
            seen.add("there")
            assert store.intent("c1") == INTENT
            store.remove("c1")
        names = os.listdir(store.root)
        if REMAINS in names:
            seen.add("remains")
            assert store.ids() == []
            if number % 2:
                assert store.sweep_remains() == swept(store)
            else:
                with store.lock("c1", timeout=0):  # the next make is not in its way
                    store.make("c1", INTENT)
                store.remove("c1")
        assert tree(store.root) == [",lock"]
    assert number > 20
    assert seen == {"there", "remains"}


def test_a_remove_that_is_killed_anywhere(full: Directory, fork: Fork) -> None:
    with full.lock("c1", timeout=0):
        pass
    whole = ["c1/exec.fifo", "c1/made.json", "c1/state.json"]
    seen = set()
    for number in range(10_000):
        if not killed_at(fork, number, under_lock(full, lambda: full.remove("c1"))):
            break
        if full.exists("c1"):
            seen.add("there")
            assert tree(full.root) == [",lock", "c1", *whole]
            assert full.load("c1").id == "c1"
            continue
        assert full.ids() == []
        if os.path.exists(f"{full.root}/{REMAINS}"):
            seen.add("remains")
            assert full.sweep_remains() == swept(full)
        assert tree(full.root) == [",lock"]
        full.make("c1", INTENT)
        full.make_fifo("c1", (os.geteuid(), os.getegid()))
        shutil.copy(DATA / "state-runc-1.1.5.json", f"{full.root}/c1/state.json")
        full.settle("c1")
    assert number > 20
    assert seen == {"there", "remains"}


def test_a_save_that_is_killed_anywhere_tears_nothing(full: Directory, fork: Fork) -> None:
    old = full.load("c1")
    new = old._replace(created="2030-01-01T00:00:00Z")
    seen = set()
    for number in range(10_000):
        if not killed_at(fork, number, lambda: full.save(new)):
            break
        seen.add(full.load("c1").created)
        full.save(old)
    assert seen == {old.created, new.created}
    full.remove("c1")
    assert tree(full.root) == []


def test_remains_of_one_who_is_at_work_are_left(store: Directory, fork: Fork) -> None:
    with store.lock("c1", timeout=0):
        os.mkdir(f"{store.root}/{REMAINS}")

    def hold(child: Child) -> None:
        with store.lock("c1", timeout=PATIENCE):
            child.say()
            child.listen()

    child = fork(hold)
    child.hear()
    assert store.sweep_remains() == []
    assert tree(store.root) == sorted([REMAINS, ",lock"])
    child.tell()
    child.wait()
    assert store.sweep_remains() == swept(store)
    assert tree(store.root) == [",lock"]


def test_sweep_touches_no_other_name(store: Directory) -> None:
    os.mkdir(store.root, 0o700)
    names = [",keep", ",0123", "c1", ",ffffffffffffffff"]
    for name in names:
        os.mkdir(f"{store.root}/{name}")
    Path(store.root, ",lock").touch()
    assert store.sweep_remains() == []
    assert tree(store.root) == sorted([*names, ",lock"])


# -- races ------------------------------------------------------------------------------------------------------------


def test_of_many_makers_one_wins(store: Directory, fork: Fork) -> None:
    with store.lock("c1", timeout=0):
        pass

    def maker(number: int) -> Callable[[Child], int]:
        def work(child: Child) -> int:
            child.say()
            child.listen()
            with store.lock("c1", timeout=PATIENCE):
                try:
                    store.make("c1", INTENT._replace(pid_namespace=number))
                except ContainerExists:
                    return 1
            return 0

        return work

    children = [fork(maker(number)) for number in range(8)]
    for child in children:
        child.hear()
    for child in children:
        child.tell()
    codes = [child.wait() for child in children]
    assert sorted(codes) == [0] + [1] * 7
    intent = store.intent("c1")
    assert intent is not None
    assert codes[intent.pid_namespace] == 0
    assert tree(store.root) == [",lock", "c1", "c1/intent.json"]


def test_makers_and_removers_never_see_half_of_one(store: Directory, fork: Fork) -> None:
    with store.lock("c1", timeout=0):
        pass

    def maker(child: Child) -> int:
        for _ in range(40):
            with store.lock("c1", timeout=PATIENCE):
                try:
                    store.make("c1", INTENT)
                except ContainerExists:
                    store.remove("c1")
        return 0

    def sweeper(child: Child) -> int:
        child.say()
        for _ in range(200):
            if store.sweep_remains():
                return 1  # nobody was killed: there are no remains that are nobody's
        return 0

    def looker(child: Child) -> int:
        child.say()
        for _ in range(400):
            for container_id in store.ids():
                descriptor = store._find(container_id)
                if descriptor is None:
                    continue
                names = os.listdir(descriptor)
                try:
                    still = os.stat(f"{store.root}/c1").st_ino == os.fstat(descriptor).st_ino
                except FileNotFoundError:
                    still = False
                os.close(descriptor)
                if still and names != ["intent.json"]:
                    return 1
        return 0

    others = [fork(sweeper), fork(looker)]
    for other in others:
        other.hear()
    makers = [fork(maker) for _ in range(3)]
    assert [child.wait() for child in makers] == [0, 0, 0]
    assert [child.wait() for child in others] == [0, 0]
    store.remove("c1")
    assert tree(store.root) == [",lock"]


def test_no_descriptor_is_left(full: Directory) -> None:
    before = os.listdir("/proc/self/fd")
    full.load("c1")
    full.ids()
    full.intent("c1")
    full.note("c1", INTENT)
    with pytest.raises(ContainerExists):
        full.make("c1", INTENT)
    full.remove("c1")
    full.make("c1", INTENT)
    full.sweep_remains()
    assert os.listdir("/proc/self/fd") == before


def test_a_directory_of_somebody_elses_is_left_alone(store: Directory) -> None:
    os.makedirs(f"{store.root}/project", 0o700)
    os.chmod(store.root, 0o700)
    Path(store.root, "project", "important").touch()
    with (
        store.lock("project", timeout=0),
        pytest.raises(StateError, match="is no state directory: it holds 'important'"),
    ):
        store.remove("project")
    assert Path(store.root, "project", "important").exists()
