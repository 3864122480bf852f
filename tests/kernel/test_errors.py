"""Bad input, end to end: a typed error that says what and where, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import (
    BrokenStateWarning,
    ConfigError,
    ContainerError,
    ContainerExists,
    ContainerNotFound,
    CreateError,
    Factory,
    IllegalOperation,
    InvalidId,
    ProgramNotFound,
    StartError,
    StateError,
    Status,
)
from tests.kernel.workshop import PATIENCE, Config, Workshop, cgroups_of, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def config() -> Config:
    config = runc_spec()
    config["process"]["args"] = ["/bin/sh", "-c", "true"]
    return config


@pytest.fixture
def container_id(workshop: Workshop) -> Iterator[str]:
    """An id of which nothing may be there in the end."""
    found = workshop.new_id()
    yield found
    assert workshop.entries() == []
    assert cgroups_of(found) == []


# -- ids --------------------------------------------------------------------------------------------------------------

BAD_IDS = ["", ".", "..", "a/b", "/a", "x" * 256, "x" * 300, "ä", "a b", "a\0b", "a\n", ",lock"]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_a_bad_id(workshop: Workshop, config: Config, bad: str) -> None:
    bundle = workshop.bundle(config)
    for act in (lambda: workshop.factory.create(bad, bundle), lambda: workshop.factory.load(bad)):
        with pytest.raises(InvalidId) as caught:
            act()
        assert caught.value.container_id == bad
        assert isinstance(caught.value, ValueError)
        assert ("container id cannot be empty" if bad == "" else repr(bad)) in str(caught.value)
    for force in (False, True):
        with pytest.raises(InvalidId):
            workshop.factory.delete(bad, force=force)
    assert not workshop.root.exists() or workshop.entries() == []


@pytest.mark.parametrize("good", ["a", "A-b_c.d+e", "...", "x" * 200, "-a"])
def test_a_good_id(workshop: Workshop, config: Config, good: str) -> None:
    config["linux"]["cgroupsPath"] = f"/{workshop.new_id()}"
    with workshop.factory.create(good, workshop.bundle(config)) as container:
        assert container.id == good
        assert workshop.factory.ids() == [good]


def test_an_id_that_is_taken(workshop: Workshop, config: Config) -> None:
    bundle = workshop.bundle(config)
    with workshop.create(bundle) as container:
        with pytest.raises(ContainerExists, match="container with given ID already exists") as caught:
            workshop.factory.create(container.id, bundle)
        assert caught.value.container_id == container.id
        assert isinstance(caught.value, FileExistsError)
        assert container.status is Status.CREATED
        container.start()
        assert container.wait(PATIENCE).returncode == 0


def test_an_id_that_nobody_has(workshop: Workshop) -> None:
    for act in (workshop.factory.load, workshop.factory.delete):
        with pytest.raises(ContainerNotFound, match="container does not exist: 'nobody'") as caught:
            act("nobody")
        assert isinstance(caught.value, LookupError)
    workshop.factory.delete("nobody", force=True)


# -- bundles ----------------------------------------------------------------------------------------------------------


def refused(workshop: Workshop, container_id: str, bundle: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        workshop.factory.create(container_id, bundle)
    assert isinstance(caught.value, ValueError)
    assert caught.value.source == str(bundle / "config.json")
    assert str(caught.value).startswith(f"{bundle}/config.json: ")
    return caught.value


def test_no_bundle(workshop: Workshop, container_id: str, tmp_path: Path) -> None:
    error = refused(workshop, container_id, tmp_path / "nowhere")
    assert "no such file or directory" in str(error)
    assert f"no directory {tmp_path}/nowhere" in str(error)


@pytest.mark.parametrize("bundle", [None, {"ociVersion": "1.0.2"}, b"/bundle", 5])
def test_what_is_no_bundle(workshop: Workshop, container_id: str, bundle: Any) -> None:
    with pytest.raises(TypeError, match=f"a Spec, not {type(bundle).__name__}"):
        workshop.factory.create(container_id, bundle)
    assert workshop.entries() == []


@pytest.mark.parametrize(
    ("stream", "kind", "says"),
    [("hello", TypeError, "not str"), (subprocess.PIPE, ValueError, "PIPE"), (subprocess.STDOUT, ValueError, "STDOUT")],
)
def test_what_is_no_stream(
    workshop: Workshop, config: Config, container_id: str, stream: Any, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        workshop.factory.create(container_id, workshop.bundle(config), stdin=stream)
    assert workshop.entries() == []


def test_no_config(workshop: Workshop, container_id: str, tmp_path: Path) -> None:
    assert "no such file or directory (a bundle is a directory" in str(refused(workshop, container_id, tmp_path))


def test_a_config_that_is_no_file(workshop: Workshop, container_id: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    assert "is a directory" in str(refused(workshop, container_id, tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"ociVersion": "1.0.2",\n  "process": nope}', "line 2, column 14"),
        ("", "the document is empty"),
        ('{"ociVersion": "1.0.2"', "line 1, column 23"),
        (b'{"hostname": "\xff\xfe"}', "UTF-8"),
        ("[]", "object"),
        ("null", "object"),
        ("7", "object"),
    ],
)
def test_broken_json(workshop: Workshop, container_id: str, text: str | bytes, expected: str) -> None:
    assert expected in str(refused(workshop, container_id, workshop.bundle(text)))


def put(config: Config, path: str, value: object) -> None:
    *above, last = path.split(".")
    for name in above:
        config = config[name]
    config[last] = value


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("ociVersion", 1, "ociVersion"),
        ("ociVersion", "9.0.0", "ociVersion"),
        ("ociVersion", "latest", "ociVersion"),
        ("process.args", "sh", "process.args"),
        ("process.args", [], "process.args"),
        ("process.args", ["sh", 7], "process.args[1]"),
        ("process.cwd", "", "process.cwd"),
        ("process.cwd", "tmp", "process.cwd"),
        ("process.user", {"uid": -1, "gid": 0}, "process.user.uid"),
        ("process.env", ["novalue"], "process.env[0]"),
        ("process.rlimits", [{"type": "RLIMIT_X", "soft": 1, "hard": 1}], "process.rlimits[0].type"),
        ("process.rlimits", [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}], "process.rlimits[0].soft"),
        ("process.noNewPrivileges", "yes", "process.noNewPrivileges"),
        ("process.oomScoreAdj", 1001, "process.oomScoreAdj"),
        ("linux.namespaces", [{"type": "uts"}, {"type": "moon"}, {"type": "mount"}], "linux.namespaces[1].type"),
        ("linux.namespaces", [{"type": "mount"}, {"type": "mount"}, {"type": "uts"}], "linux.namespaces[1].type"),
        ("linux.devices", [{"path": "/dev/x", "type": "x"}], "linux.devices[0].type"),
        ("linux.rootfsPropagation", "sideways", "linux.rootfsPropagation"),
        ("linux.cgroupsPath", "/../x", "linux.cgroupsPath"),
        ("hostname", "x" * 65, "hostname"),
        ("mounts", [{"type": "tmpfs"}], "mounts[0].destination"),
        ("mounts", {}, "mounts"),
        ("root", {}, "root.path"),
        ("root.path", "nowhere", "root.path"),
        ("root.path", "config.json", "root.path"),
        ("root.path", "link", "root.path"),
        ("hooks", {"poststop": [{"path": "relative"}]}, "hooks.poststop[0].path"),
    ],
)
def test_a_wrong_value(
    workshop: Workshop, container_id: str, config: Config, path: str, value: object, where: str
) -> None:
    put(config, path, value)
    bundle = workshop.bundle(config)
    (bundle / "link").symlink_to("rootfs")
    error = refused(workshop, container_id, bundle)
    assert [problem.path for problem in error.problems] == [where]
    assert f"{where}: " in str(error)


def test_a_required_section_that_is_missing(workshop: Workshop, container_id: str, config: Config) -> None:
    del config["process"], config["root"]
    error = refused(workshop, container_id, workshop.bundle(config))
    assert {"process", "root"} <= {problem.path for problem in error.problems}


def test_no_value_of_the_environment_is_shown(workshop: Workshop, container_id: str, config: Config) -> None:
    config["process"]["env"] = ["TOKEN=hunter2", "hunter2", "=hunter2", 7]
    error = refused(workshop, container_id, workshop.bundle(config))
    assert "hunter2" not in str(error) + repr(error) + repr(error.problems)


# -- programs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "number", "text"),
    [
        ("nowhere", errno.ENOENT, 'exec: "nowhere": executable file not found in $PATH'),
        ("/bin/nowhere", errno.ENOENT, 'exec: "/bin/nowhere": stat /bin/nowhere: no such file or directory'),
        ("/bin", errno.EACCES, 'exec: "/bin": is a directory: permission denied'),
        ("/etc/plain", errno.EACCES, 'exec: "/etc/plain": permission denied'),
        ("/bin/sh/x", errno.ENOTDIR, 'exec: "/bin/sh/x": stat /bin/sh/x: not a directory'),
        ("/loop", errno.ELOOP, 'exec: "/loop": stat /loop: too many levels of symbolic links'),
    ],
)
def test_a_missing_program_is_an_error_of_create(
    workshop: Workshop, container_id: str, config: Config, program: str, number: int, text: str
) -> None:
    config["process"]["args"] = [program]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/etc/plain").touch(mode=0o644)
    (bundle / "rootfs/loop").symlink_to("/loop")
    with pytest.raises(ProgramNotFound) as caught:
        workshop.factory.create(container_id, bundle)
    assert str(caught.value) == text
    assert (caught.value.errno, caught.value.container_id) == (number, container_id)
    assert isinstance(caught.value, (StartError, FileNotFoundError))


def test_a_program_that_this_user_may_not_execute(workshop: Workshop, container_id: str, config: Config) -> None:
    config["process"]["args"] = ["/bin/mine"]
    config["process"]["user"] = {"uid": 7, "gid": 7}
    bundle = workshop.bundle(config)
    (bundle / "rootfs/bin/mine").write_text("#!/bin/sh\n")
    (bundle / "rootfs/bin/mine").chmod(0o700)
    with pytest.raises(ProgramNotFound, match='exec: "/bin/mine": permission denied'):
        workshop.factory.create(container_id, bundle)


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (b"neither ELF nor script\n", StartError, "[Ee]xec format error"),
        (b"#!/no/such/interpreter\n", ProgramNotFound, "No such file or directory"),
    ],
)
def test_a_program_that_the_kernel_refuses_is_an_error_of_start(
    workshop: Workshop, container_id: str, config: Config, content: bytes, kind: type[StartError], text: str
) -> None:
    config["process"]["args"] = ["/bin/bad"]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/bin/bad").write_bytes(content)
    (bundle / "rootfs/bin/bad").chmod(0o755)
    with workshop.factory.create(container_id, bundle) as container:
        with pytest.raises(kind, match=text) as caught:
            container.start()
        assert (caught.value.container_id, caught.value.step) == (container_id, "execute")
        assert caught.value.errno in (errno.ENOEXEC, errno.ENOENT)
        assert container.status is Status.STOPPED
        container.delete()


# -- steps of create --------------------------------------------------------------------------------------------------


def test_a_mount_that_the_kernel_refuses(workshop: Workshop, container_id: str, config: Config) -> None:
    config["mounts"].append({"destination": "/data", "type": "nosuchfs", "source": "none"})
    with pytest.raises(CreateError, match=r"mount .*nosuchfs.*mounts\[7\].*No such device") as caught:
        workshop.factory.create(container_id, workshop.bundle(config))
    assert (caught.value.step, caught.value.errno, caught.value.container_id) == ("mount", errno.ENODEV, container_id)


def test_a_bind_mount_of_nothing(workshop: Workshop, container_id: str, config: Config) -> None:
    config["mounts"].append({"destination": "/data", "source": "/not/there", "options": ["bind"]})
    with pytest.raises(CreateError, match=r"bind /not/there /data .*mounts\[7\].*No such file") as caught:
        workshop.factory.create(container_id, workshop.bundle(config))
    assert (caught.value.step, caught.value.errno) == ("bind", errno.ENOENT)


def test_a_cwd_that_is_a_file(workshop: Workshop, container_id: str, config: Config) -> None:
    config["process"]["cwd"] = "/bin/busybox"
    with pytest.raises(CreateError, match=r"process\.cwd.*Not a directory"):
        workshop.factory.create(container_id, workshop.bundle(config))


def test_an_unshared_root(workshop: Workshop, container_id: str, config: Config) -> None:
    config["root"]["path"] = "/"
    with pytest.raises(ContainerError, match="root"):
        workshop.factory.create(container_id, workshop.bundle(config))


def test_a_cgroup_that_cannot_be_made(workshop: Workshop, container_id: str, config: Config) -> None:
    config["linux"]["cgroupsPath"] = "/"
    with pytest.raises(ContainerError, match="cgroup"):
        workshop.factory.create(container_id, workshop.bundle(config))


# -- roots ------------------------------------------------------------------------------------------------------------


def test_a_root_that_cannot_be_written(workshop: Workshop, container_id: str, config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bundle = workshop.bundle(config)
    for root in ("/proc/no", str(tmp_path / "file"), str(tmp_path / "file" / "below")):
        with pytest.raises(StateError) as caught:
            Factory(root).create(container_id, bundle)
        assert root.split("/below", maxsplit=1)[0] in str(caught.value)
    assert not os.path.exists("/proc/no")


def test_a_root_that_is_not_there_has_no_containers(workshop: Workshop) -> None:
    assert workshop.factory.ids() == workshop.factory.list() == workshop.factory.sweep() == []
    assert not workshop.root.exists()


# -- broken state -----------------------------------------------------------------------------------------------------

BROKEN = [
    "",
    "null",
    "[]",
    "7",
    "{",
    "{}",
    '{"id": 7}',
    '{"id": "x", "init_process_pid": "one"}',
    '{"id": "x", "init_process_pid": 1}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_state(workshop: Workshop, config: Config, text: str) -> None:
    with workshop.create(config) as good:
        broken = workshop.new_id()
        (workshop.root / broken).mkdir()
        path = workshop.root / broken / "state.json"
        path.write_text(text)
        with pytest.raises(StateError) as caught:
            workshop.factory.load(broken)
        assert caught.value.path == str(path)
        assert str(caught.value).startswith(f"{path}: ")
        with pytest.raises(StateError):
            workshop.factory.delete(broken)
        with pytest.warns(BrokenStateWarning, match=broken):
            assert [container.id for container in workshop.factory.list()] == [good.id]
        errors: list[StateError] = []
        assert len(workshop.factory.list(on_error=errors.append)) == 1
        assert [error.path for error in errors] == [str(path)]
        assert sorted(workshop.factory.ids()) == sorted([good.id, broken])
        with pytest.raises(ContainerExists):
            workshop.factory.create(broken, workshop.bundle(config))
        workshop.factory.delete(broken, force=True)
        assert workshop.entries() == [good.id]


def test_a_truncated_state(workshop: Workshop, config: Config) -> None:
    # its container lives: sweep leaves it alone, delete(force) removes what it can
    container = workshop.create(config)
    path = Path(container.directory, "state.json")
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(StateError, match=r"state\.json"):
        workshop.factory.load(container.id)
    assert [swept.removed for swept in workshop.factory.sweep()] == [False]
    path.write_text(whole)
    workshop.factory.load(container.id).delete()
    assert workshop.entries() == []


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"status": json.dumps({"pid": 1, "bundle": "/x"}), "config.json": "{}"}, "crun"),
        ({"state.json": json.dumps({"ociVersion": "v1.0.2", "id": "x", "status": "created", "bundle": "/x"})}, "youki"),
    ],
)
def test_directories_of_others_are_named_and_left_alone(
    workshop: Workshop, config: Config, files: dict[str, str], name: str
) -> None:
    with workshop.create(config):
        pass
    theirs = workshop.root / "theirs"
    theirs.mkdir()
    for file, text in files.items():
        (theirs / file).write_text(text)
    for act in (
        lambda: workshop.factory.load("theirs"),
        lambda: workshop.factory.delete("theirs"),
        lambda: workshop.factory.delete("theirs", force=True),
    ):
        with pytest.raises(StateError, match=name):
            act()
    workshop.factory.sweep()
    assert {path.name: path.read_text() for path in theirs.iterdir()} == files


# -- statuses ---------------------------------------------------------------------------------------------------------


def test_texts_that_engines_match_on(workshop: Workshop, config: Config) -> None:
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    with workshop.create(config) as container:
        container.start()
        for act, text in (
            (container.start, "cannot start an already running container"),
            (container.exec, "cannot start an already running container"),
            (container.resume, "container not paused"),
            (container.delete, f"cannot delete container {container.id} that is not stopped: running"),
        ):
            with pytest.raises(IllegalOperation) as caught:
                act()
            assert str(caught.value) == text
            assert (caught.value.container_id, caught.value.status) == (container.id, Status.RUNNING)
        container.pause()
        for act, text in (
            (container.start, "cannot start a container in the paused state"),
            (container.pause, "container not running"),
            (container.delete, f"cannot delete container {container.id} that is not stopped: paused"),
        ):
            with pytest.raises(IllegalOperation) as caught:
                act()
            assert str(caught.value) == text
        container.kill()
        container.wait(PATIENCE)
        for act, text in (
            (container.start, "cannot start a container that has stopped"),
            (container.exec, "cannot start a container that has stopped"),
            (container.pause, "container not running"),
            (container.kill, "container not running"),
            (lambda: container.signal(15), "container not running"),
        ):
            with pytest.raises(IllegalOperation) as caught:
                act()
            assert str(caught.value) == text
