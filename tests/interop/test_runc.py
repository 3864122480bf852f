"""One root, two runtimes: what one of them made, the other understands and can do everything to."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from libcontainer_py import ContainerNotFound, ContainerTimeout, IllegalOperation, Status
from libcontainer_py.state.directory import Directory
from tests.bundles import config
from tests.crashes import PATIENCE, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py import Container
    from tests.interop.conftest import Yard

STATUSES = ["created", "running", "paused", "stopped"]
DATA = Path(__file__).parents[1] / "data"


# -- what runc created, in our hands ----------------------------------------------------------------------------------


def theirs(yard: Yard, status: str, bundle: Path | None = None) -> Container:
    """A container that runc made and brought to a status."""
    container_id = yard.runc_create(bundle)
    if status != "created":
        yard.runc("start", container_id)
    if status == "paused":
        yard.runc("pause", container_id)
    if status == "stopped":
        container = yard.factory.load(container_id)
        yard.runc("kill", container_id, "KILL")
        container.wait(PATIENCE)
    return yard.factory.load(container_id)


@pytest.mark.parametrize("status", STATUSES)
def test_load_theirs(yard: Yard, status: str) -> None:
    container = theirs(yard, status)
    state = yard.runc_state(container.id)
    assert container.status == state["status"] == status
    assert (container.init_pid or 0) == state["pid"]
    assert (container.bundle, container.created) == (state["bundle"], state["created"])
    ours = container.state()
    assert (ours.oci_version, ours.id, ours.status, ours.pid, ours.bundle) == tuple(
        state[key] for key in ("ociVersion", "id", "status", "pid", "bundle")
    )
    assert [one.id for one in yard.factory.list()] == yard.factory.ids() == [container.id]


def test_annotations_of_theirs(yard: Yard) -> None:
    document = config("/bin/sleep", "1000")
    document["annotations"] = {"org.example.a": "1", "b": "x=y"}
    container = theirs(yard, "created", yard.make_bundle(document))
    assert container.annotations == document["annotations"] == yard.runc_state(container.id)["annotations"]


@pytest.mark.parametrize("verb", ["start", "exec"])
def test_start_theirs(yard: Yard, verb: str) -> None:
    container = theirs(yard, "created")
    getattr(container, verb)()
    assert container.status is Status.RUNNING
    assert yard.runc_status(container.id) == "running"
    assert not (yard.root / container.id / "exec.fifo").exists()
    with pytest.raises(IllegalOperation, match=r"^cannot start an already running container$"):
        getattr(container, verb)()
    assert "cannot start an already running container" in yard.runc("start", container.id, check=False).stderr


@pytest.mark.parametrize(
    ("status", "text"),
    [("paused", "cannot start a container in the paused state"), ("stopped", "cannot start a container that has stop")],
)
def test_start_theirs_too_late(yard: Yard, status: str, text: str) -> None:
    container = theirs(yard, status)
    for start in (container.start, container.exec):
        with pytest.raises(IllegalOperation, match=text):
            start()
    assert text in yard.runc("start", container.id, check=False).stderr


def test_the_program_of_theirs_runs_once(yard: Yard) -> None:
    with yard.telling("echo ran >/dev/out/told; exec sleep 1000") as (document, told):
        container = theirs(yard, "created", yard.make_bundle(document))
        assert not readable(told, 0)
        container.start()
        assert readable(told)
        with pytest.raises(IllegalOperation):
            container.start()
        assert os.read(told, 64) == b"ran\n"
        assert not readable(told, 0)


def test_pause_and_resume_theirs(yard: Yard) -> None:
    container = theirs(yard, "running")
    container.pause()
    assert (container.status, yard.runc_status(container.id)) == (Status.PAUSED, "paused")
    with pytest.raises(IllegalOperation, match=r"^container not running$"):
        container.pause()
    container.resume()
    assert (container.status, yard.runc_status(container.id)) == (Status.RUNNING, "running")
    with pytest.raises(IllegalOperation, match=r"^container not paused$"):
        container.resume()
    # each by the other
    container.pause()
    yard.runc("resume", container.id)
    assert container.status is Status.RUNNING
    yard.runc("pause", container.id)
    assert container.status is Status.PAUSED
    container.resume()
    assert yard.runc_status(container.id) == "running"


def test_theirs_paused_while_created(yard: Yard) -> None:
    container = theirs(yard, "created")
    container.pause()
    assert (container.status, yard.runc_status(container.id)) == (Status.PAUSED, "paused")
    container.resume()
    assert (container.status, yard.runc_status(container.id)) == (Status.CREATED, "created")
    container.start()
    assert yard.runc_status(container.id) == "running"


@pytest.mark.parametrize("status", ["created", "running", "paused"])
def test_kill_theirs(yard: Yard, status: str) -> None:
    container = theirs(yard, status)
    container.kill()
    ended = container.wait(PATIENCE)
    # runc was its parent: nobody tells us how it ended
    assert (ended.known, ended.returncode, ended.exit_code, ended.signal) == (False, None, None, None)
    assert (container.status, yard.runc_status(container.id)) == (Status.STOPPED, "stopped")
    for verb in (container.kill, lambda: container.signal(signal.SIGTERM)):
        with pytest.raises(IllegalOperation, match=r"^container not running$"):
            verb()


def test_signal_theirs(yard: Yard) -> None:
    script = "trap 'exit 0' USR1; echo up >/dev/out/told; while :; do sleep 1000 & wait; done"
    with yard.telling(script) as (document, told):
        container = theirs(yard, "running", yard.make_bundle(document))
        assert readable(told)
        container.signal(signal.SIGUSR1)
        container.wait(PATIENCE)
    assert yard.runc_status(container.id) == "stopped"


def test_wait_for_theirs_has_a_limit(yard: Yard) -> None:
    container = theirs(yard, "running")
    with pytest.raises(ContainerTimeout):
        container.wait(0)
    assert container.status is Status.RUNNING


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("force", [False, True])
def test_delete_theirs(yard: Yard, status: str, force: bool) -> None:
    container = theirs(yard, status)
    assert yard.left(container.id) != []
    if status in {"running", "paused"} and not force:
        with pytest.raises(IllegalOperation, match=rf"^cannot delete container {container.id} that is not stopped: "):
            container.delete()
        assert container.status == yard.runc_status(container.id) == status
        return
    container.delete(force=force)
    assert yard.left(container.id) == []
    assert yard.runc_status(container.id) == ""
    with pytest.raises(ContainerNotFound, match="container does not exist"):
        yard.factory.load(container.id)


def test_delete_theirs_without_a_pid_namespace(yard: Yard) -> None:
    # its other processes do not die with init: they are found by runc's cgroups
    with yard.telling("sleep 1001 & echo $! >/dev/out/told; exec sleep 1000") as (document, told):
        document["linux"]["namespaces"] = [one for one in document["linux"]["namespaces"] if one["type"] != "pid"]
        container = theirs(yard, "running", yard.make_bundle(document))
        assert readable(told)
        other = os.pidfd_open(int(os.read(told, 64)))
    try:
        assert not readable(other, 0)
        container.delete(force=True)
        assert readable(other, 0)
    finally:
        os.close(other)
    assert yard.left(container.id) == []


def test_hooks_of_theirs(yard: Yard) -> None:
    document = config("/bin/sleep", "1000")
    poststart, started = yard.hook("poststart")
    poststop, stopped = yard.hook("poststop")
    document["hooks"] = {"poststart": [poststart], "poststop": [poststop]}
    container = theirs(yard, "created", yard.make_bundle(document))
    assert started.read_text() == "poststart\n"  # runc runs them at create
    container.start()
    assert started.read_text() == "poststart\n"
    assert stopped.read_text() == ""
    container.delete(force=True)
    assert stopped.read_text() == "poststop\n"


# -- what we created, in runc's hands ---------------------------------------------------------------------------------


def ours(yard: Yard, status: str, bundle: Path | None = None) -> Container:
    """A container that we made and brought to a status."""
    container = yard.create(bundle)
    if status != "created":
        container.start()
    if status == "paused":
        container.pause()
    if status == "stopped":
        container.kill()
        container.wait(PATIENCE)
    return container


@pytest.mark.parametrize("status", STATUSES)
def test_runc_lists_ours(yard: Yard, status: str) -> None:
    container = ours(yard, status)
    state = yard.runc_state(container.id)
    assert (state["status"], state["pid"]) == (container.status.value, container.init_pid or 0)
    assert (state["bundle"], state["rootfs"]) == (str(yard.bundle), str(yard.bundle / "rootfs"))
    assert (state["id"], state["ociVersion"]) == (container.id, "1.0.2-dev")
    created = container.created.removesuffix("Z").rstrip("0") + "Z"  # Go writes no zeros at the end
    assert state["created"] == created
    (listed,) = json.loads(yard.runc("list", "--format", "json").stdout)
    assert (listed["id"], listed["status"], listed["pid"], listed["bundle"], listed["created"]) == (
        container.id,
        status,
        container.init_pid or 0,
        str(yard.bundle),
        created,
    )
    assert yard.runc("list", "--quiet").stdout.split() == [container.id]


def test_runc_shows_our_annotations(yard: Yard) -> None:
    document = config("/bin/sleep", "1000")
    document["annotations"] = {"org.example.a": "1", "b": "x=y"}
    container = ours(yard, "created", yard.make_bundle(document))
    assert yard.runc_state(container.id)["annotations"] == document["annotations"]


def test_runc_starts_ours(yard: Yard) -> None:
    hears, says = os.pipe()
    try:
        bundle = yard.make_bundle(config("/bin/sh", "-c", "echo ran; exec sleep 1000"))
        container = yard.create(bundle, stdout=says)
        os.close(says)
        assert not readable(hears, 0)
        yard.runc("start", container.id)
        assert readable(hears)
        assert os.read(hears, 64) == b"ran\n"
        assert container.status is Status.RUNNING
        with pytest.raises(IllegalOperation, match=r"^cannot start an already running container$"):
            container.exec()
        assert "cannot start an already running container" in yard.runc("start", container.id, check=False).stderr
        container.delete(force=True)
        assert os.read(hears, 64) == b""  # it ran once
    finally:
        os.close(hears)


def test_runc_starts_ours_too_late(yard: Yard) -> None:
    assert (
        "cannot start a container that has stopped" in yard.runc("start", ours(yard, "stopped").id, check=False).stderr
    )
    assert "in the paused state" in yard.runc("start", ours(yard, "paused").id, check=False).stderr


def test_runc_learns_when_ours_ends(yard: Yard) -> None:
    container = ours(yard, "created", yard.make_bundle(config("/bin/sh", "-c", "exit 7")))
    yard.runc("start", container.id)
    assert container.wait(PATIENCE).returncode == 7
    assert yard.runc_status(container.id) == "stopped"


@pytest.mark.parametrize("status", ["created", "running"])
def test_runc_pauses_and_resumes_ours(yard: Yard, status: str) -> None:
    container = ours(yard, status)
    yard.runc("pause", container.id)
    assert container.status is Status.PAUSED
    assert yard.runc("pause", container.id, check=False).returncode
    yard.runc("resume", container.id)
    assert container.status == status
    container.pause()
    yard.runc("resume", container.id)
    assert container.status == status
    if status == "created":
        container.start()
        assert yard.runc_status(container.id) == "running"


@pytest.mark.parametrize("status", ["created", "running"])
def test_runc_executes_in_ours(yard: Yard, status: str) -> None:
    container = ours(yard, status)
    script = "readlink /proc/self/ns/pid; readlink /proc/self/ns/net; cat /proc/1/comm"
    *namespaces, comm = yard.runc("exec", container.id, "/bin/sh", "-c", script).stdout.splitlines()
    assert namespaces == [os.readlink(f"/proc/{container.init_pid}/ns/{kind}") for kind in ("pid", "net")]
    assert comm == ("sleep" if status == "running" else "libcontainer:0")
    assert yard.runc("exec", container.id, "/bin/sh", "-c", "exit 9", check=False).returncode == 9


@pytest.mark.parametrize(
    ("status", "text"),
    [("stopped", "cannot exec in a stopped container"), ("paused", "cannot exec in a paused container")],
)
def test_runc_cannot_execute_in_ours(yard: Yard, status: str, text: str) -> None:
    done = yard.runc("exec", ours(yard, status).id, "/bin/true", check=False)
    assert done.returncode == 255
    assert text in done.stderr


@pytest.mark.parametrize("status", STATUSES)
def test_runc_finds_the_processes_of_ours(yard: Yard, status: str) -> None:
    container = ours(yard, status)
    listed = json.loads(yard.runc("ps", "--format", "json", container.id).stdout)
    assert (listed or []) == ([] if status == "stopped" else [container.init_pid])


def test_runc_kills_ours(yard: Yard) -> None:
    for status in ("created", "running", "paused"):
        container = ours(yard, status)
        yard.runc("kill", container.id, "KILL")
        assert container.wait(PATIENCE).returncode == -signal.SIGKILL
        assert container.status is Status.STOPPED
        assert "container not running" in yard.runc("kill", container.id, "KILL", check=False).stderr


def test_runc_signals_ours(yard: Yard) -> None:
    hears, says = os.pipe()
    try:
        script = "trap 'exit 3' TERM; echo up; while :; do sleep 1000 & wait; done"
        container = yard.create(yard.make_bundle(config("/bin/sh", "-c", script)), stdout=says)
        os.close(says)
        container.start()
        assert readable(hears)
        yard.runc("kill", container.id, "TERM")
        assert container.wait(PATIENCE).returncode == 3
    finally:
        os.close(hears)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("force", [False, True])
def test_runc_deletes_ours(yard: Yard, status: str, force: bool) -> None:
    container = ours(yard, status)
    assert len(yard.left(container.id)) > 1
    done = yard.runc("delete", *(["--force"] if force else []), container.id, check=False)
    if status in {"running", "paused"} and not force:
        assert "that is not stopped" in done.stderr
        assert container.status == status
        return
    assert done.returncode == 0, done.stderr
    assert yard.left(container.id) == []
    assert yard.factory.ids() == []
    assert container.wait(PATIENCE).returncode == -signal.SIGKILL
    assert container.status is Status.STOPPED
    with pytest.raises(ContainerNotFound, match="container does not exist"):
        yard.factory.load(container.id)
    container.delete(force=True)


def test_each_refuses_the_ids_of_the_other(yard: Yard) -> None:
    for container_id in (yard.runc_create(), yard.create().id):
        with pytest.raises(FileExistsError, match="container with given ID already exists"):
            yard.factory.create(container_id, yard.bundle)
        done = yard.runc("create", "--bundle", str(yard.bundle), container_id, check=False)
        assert "container with given ID already exists" in done.stderr
        assert yard.runc_status(container_id) == "created"


def test_the_lock_is_no_container_of_runc(yard: Yard) -> None:
    container = ours(yard, "created")
    assert (yard.root / ",lock").exists()
    done = yard.runc("list", "--quiet")
    assert (done.stdout.split(), done.stderr) == ([container.id], "")


# -- state.json -------------------------------------------------------------------------------------------------------


def rewritten(yard: Yard, container_id: str, change: Callable[[dict[str, object]], None]) -> dict[str, object]:
    """What is in state.json when we read and write it, after a `change` to what was in it."""
    file = yard.root / container_id / "state.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    store = Directory(str(yard.root))
    store.save(store.load(container_id))
    after: dict[str, object] = json.loads(file.read_text())
    assert after == document
    return after


def test_unknown_keys_are_kept(yard: Yard) -> None:
    container = theirs(yard, "created")

    def change(document: dict[str, object]) -> None:
        document["of_tomorrow"] = {"a": [1, None, {"b": 2.5}]}
        assert isinstance(document["config"], dict)
        document["config"]["of_tomorrow"] = [True, "x"]

    rewritten(yard, container.id, change)
    assert container.status is Status.CREATED
    yard.runc("start", container.id)  # runc still understands it
    assert container.status is Status.RUNNING


def test_state_of_a_later_runc_loads(yard: Yard) -> None:
    directory = yard.root / "c1"
    directory.mkdir(0o711, parents=True)
    yard.root.chmod(0o700)
    (directory / "state.json").write_text((DATA / "state-runc-1.5.1.json").read_text())
    document = json.loads((directory / "state.json").read_text())
    container = yard.factory.load("c1")
    assert container.status is Status.STOPPED
    assert container.created == document["created"]
    assert container.bundle == next(
        label.removeprefix("bundle=") for label in document["config"]["labels"] if label.startswith("bundle=")
    )
    assert [one.id for one in yard.factory.list()] == ["c1"]
    rewritten(yard, "c1", lambda _: None)
    container.delete()
    assert not directory.exists()
