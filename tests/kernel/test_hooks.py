"""Hooks of all six kinds. Source: config.md, POSIX-platform Hooks; runtime.md, Lifecycle."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import ContainerNotFound, HookError, HookWarning, StartError
from tests.kernel.workshop import PATIENCE, Config, Workshop, cgroups_of, runc_spec

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
OF_CREATE = KINDS[:3]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A directory that hooks write to, and that the container sees under the same name."""
    path = tmp_path / "log"
    path.mkdir()
    return path


@pytest.fixture
def config(log: Path) -> Config:
    config = runc_spec()
    config["mounts"].append({"destination": str(log), "source": str(log), "options": ["bind"]})
    config["process"]["args"] = ["/bin/sh", "-c", "exec cat"]
    config["hooks"] = {}
    config["annotations"] = {"org.example.key": "value"}
    return config


def sh(script: str, **more: Any) -> dict[str, Any]:
    """A hook that is a shell script."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"], **more}


def say(log: Path, text: str) -> dict[str, Any]:
    """A hook that adds a line to the log."""
    return sh(f"echo {text} >>{log}/lines")


def copy(source: str, target: str, kind: str) -> dict[str, Any]:
    """A hook that copies a file of /proc/self: its own, without a shell in between."""
    return {"path": "/bin/busybox" if kind == "startContainer" else "/bin/cp", "args": ["cp", source, target]}


def lines(log: Path) -> list[str]:
    path = log / "lines"
    return path.read_text().splitlines() if path.exists() else []


def live(workshop: Workshop, config: Config) -> str:
    """A whole life, to the end of a program that ends with its standard input; gives back the id."""
    ours, theirs = os.pipe()
    try:
        with workshop.create(config, stdin=ours) as container:
            container.start()
            os.close(theirs)
            theirs = -1
            assert container.wait(PATIENCE).returncode == 0
            container.delete()
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    return container.id


def test_order(workshop: Workshop, config: Config, log: Path) -> None:
    for kind in reversed(KINDS):
        config["hooks"][kind] = [say(log, f"{kind} 1"), say(log, f"{kind} 2")]
    live(workshop, config)
    assert lines(log) == [f"{kind} {number}" for kind in KINDS for number in (1, 2)]


def test_when_each_runs(workshop: Workshop, config: Config, log: Path) -> None:
    for kind in KINDS:
        config["hooks"][kind] = [say(log, kind)]
    config["process"]["args"] = ["/bin/sh", "-c", f"wc -l <{log}/lines >{log}/seen; exec cat"]
    ours, theirs = os.pipe()
    with workshop.create(config, stdin=ours) as container:
        assert lines(log) == list(OF_CREATE)
        container.start()
        assert lines(log) == list(KINDS[:5])
        os.close(theirs)
        container.wait(PATIENCE)
        assert lines(log) == list(KINDS[:5])
        container.delete()
        assert lines(log) == list(KINDS)
    os.close(ours)
    # startContainer hooks had ended when the program began
    assert int((log / "seen").read_text()) >= len(KINDS[:4])


def test_the_state_on_standard_input(workshop: Workshop, config: Config, log: Path) -> None:
    for kind in KINDS:
        config["hooks"][kind] = [sh(f"cat >{log}/{kind}")]
    bundle = workshop.bundle(config)
    ours, theirs = os.pipe()
    with workshop.create(bundle, stdin=ours) as container:
        pid = container.init_pid
        container.start()
        os.close(theirs)
        container.wait(PATIENCE)
        container.delete()
    os.close(ours)
    statuses = ("creating", "creating", "creating", "created", "running", "stopped")
    for kind, status in zip(KINDS, statuses, strict=True):
        state = json.loads((log / kind).read_text())
        # startContainer hooks run in the container's pid namespace, where init is 1; a stopped one has none
        pids = {"startContainer": 1, "poststop": None}
        assert state.pop("pid", None) == pids.get(kind, pid), kind
        assert state == {
            "ociVersion": "1.0.2-dev",
            "id": container.id,
            "status": status,
            "bundle": str(bundle),
            "annotations": {"org.example.key": "value"},
        }, kind


def test_the_environment_is_exactly_the_given_one(
    workshop: Workshop, config: Config, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_HOST", "1")
    config["process"]["env"].append("OF_THE_PROGRAM=1")
    for kind in KINDS:
        config["hooks"][kind] = [
            copy("/proc/self/environ", f"{log}/{kind}", kind) | {"env": [f"KIND={kind}", "EQUALS=a=b", "EMPTY="]},
            copy("/proc/self/environ", f"{log}/{kind}.none", kind),
        ]
    live(workshop, config)
    for kind in KINDS:
        assert (log / kind).read_text() == f"KIND={kind}\0EQUALS=a=b\0EMPTY=\0"
        assert (log / f"{kind}.none").read_text() == ""


def test_arguments_are_exactly_the_given_ones(workshop: Workshop, config: Config, log: Path) -> None:
    for kind in KINDS:
        program = ["sh", "-c", f'printf "[%s]" "$0" "$@" >{log}/{kind}', "zero", "a b", "", "*"]
        config["hooks"][kind] = [{"path": "/bin/sh", "args": program, "env": ["PATH=/usr/bin:/bin"]}]
    live(workshop, config)
    assert [(log / kind).read_text() for kind in KINDS] == ["[zero][a b][][*]"] * 6


def test_namespaces(workshop: Workshop, config: Config, log: Path) -> None:
    for kind in KINDS:
        config["hooks"][kind] = [
            sh(f"readlink /proc/self/ns/mnt >{log}/{kind}; readlink /proc/self/ns/net >>{log}/{kind}")
        ]
    ours, theirs = os.pipe()
    with workshop.create(config, stdin=ours) as container:
        inside = [os.readlink(f"/proc/{container.init_pid}/ns/{name}") for name in ("mnt", "net")]
        container.start()
        os.close(theirs)
        container.wait(PATIENCE)
        container.delete()
    os.close(ours)
    host = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "net")]
    for kind in KINDS:
        expected = inside if kind in ("createContainer", "startContainer") else host
        assert (log / kind).read_text().split() == expected, kind


def test_create_runtime_hooks_can_work_on_the_namespaces(workshop: Workshop, config: Config, log: Path) -> None:
    # what a network plugin does: it enters the network namespace of the pid in the state
    find = """sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p'"""
    enter = f"nsenter --net=/proc/$({find})/ns/net"
    config["hooks"]["createRuntime"] = [sh(f"{enter} sh -c 'echo 77 >/proc/sys/net/ipv4/ip_default_ttl'")]
    config["process"]["args"] = ["/bin/sh", "-c", f"cat /proc/sys/net/ipv4/ip_default_ttl >{log}/seen"]
    before = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
    live(workshop, config)
    assert (log / "seen").read_text() == "77\n"
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == before


def test_create_container_hooks_can_mount(workshop: Workshop, config: Config, log: Path) -> None:
    bundle = workshop.bundle(config)
    (bundle / "rootfs/data").mkdir()
    config["hooks"]["createContainer"] = [
        sh(f"mount -t tmpfs hooked {bundle}/rootfs/data && echo hi >{bundle}/rootfs/data/file")
    ]
    config["process"]["args"] = ["/bin/sh", "-c", f"cat /data/file >{log}/seen"]
    (bundle / "config.json").write_text(json.dumps(config))
    with workshop.create(bundle) as container:
        container.start()
        assert container.wait(PATIENCE).returncode == 0
    assert (log / "seen").read_text() == "hi\n"
    assert list((bundle / "rootfs/data").iterdir()) == []


def test_no_signal_is_ignored_or_blocked_in_a_hook(workshop: Workshop, config: Config, log: Path) -> None:
    blocked = {signal.SIGUSR1, signal.SIGUSR2}
    for kind in KINDS:
        config["hooks"][kind] = [copy("/proc/self/status", f"{log}/{kind}", kind)]
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        live(workshop, config)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
    for kind in KINDS:
        status = dict(line.split(":\t") for line in (log / kind).read_text().splitlines() if line.startswith("Sig"))
        # glibc's posix_spawn leaves its own two, 32 and 33, ignored: those of the host's hooks have that
        assert int(status["SigIgn"], 16) & ~(3 << 31) == 0, kind
        assert int(status["SigBlk"], 16) == 0, kind


# -- failures ---------------------------------------------------------------------------------------------------------


def nothing_is_left_of(workshop: Workshop, container_id: str) -> None:
    assert workshop.entries() == []
    assert cgroups_of(container_id) == []


FAILURES = [
    ({"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 3"]}, "exit code 3", 3, "why"),
    ({"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $$"]}, "signal 9", -9, ""),
    ({"path": "/not/there"}, "[Nn]o such file or directory", None, ""),
]


@pytest.mark.parametrize("kind", OF_CREATE)
@pytest.mark.parametrize(("hook", "reason", "returncode", "output"), FAILURES)
def test_a_failure_at_create(
    workshop: Workshop,
    config: Config,
    log: Path,
    kind: str,
    hook: dict[str, Any],
    reason: str,
    returncode: int | None,
    output: str,
) -> None:
    for other in KINDS[:5]:
        config["hooks"][other] = [say(log, other)]
    config["hooks"][kind] = [say(log, kind), hook, say(log, "not this one")]
    container_id = workshop.new_id()
    path = hook["path"]
    with pytest.raises(HookError, match=rf"^hooks\.{kind}\[1\] \({path}\): .*{reason}.*{output}") as caught:
        workshop.factory.create(container_id, workshop.bundle(config))
    assert (caught.value.kind, caught.value.index, caught.value.path) == (kind, 1, path)
    if kind != "createContainer" or returncode is not None:
        assert caught.value.returncode == returncode
    assert output in caught.value.output
    assert lines(log) == list(KINDS[: KINDS.index(kind) + 1])
    nothing_is_left_of(workshop, container_id)


@pytest.mark.parametrize(("hook", "reason", "returncode", "output"), FAILURES)
def test_a_failure_of_start_container(
    workshop: Workshop, config: Config, log: Path, hook: dict[str, Any], reason: str, returncode: int, output: str
) -> None:
    config["hooks"] = {"startContainer": [say(log, "start"), hook, say(log, "no")], "poststart": [say(log, "no")]}
    config["hooks"]["poststop"] = [say(log, "poststop")]
    config["process"]["args"] = ["/bin/sh", "-c", f"echo program >>{log}/lines"]
    container = workshop.create(config)
    path = hook["path"]
    with pytest.raises(StartError, match=rf"hooks\.startContainer\[1\] \({path}\): .*{reason}.*{output}") as caught:
        container.start()
    assert caught.value.container_id == container.id
    assert lines(log) == ["start", "poststop"]
    nothing_is_left_of(workshop, container.id)
    with pytest.raises(ContainerNotFound):
        container.delete()


def test_a_failure_of_poststart(workshop: Workshop, config: Config, log: Path) -> None:
    config["hooks"] = {
        "poststart": [say(log, "first"), FAILURES[0][0], say(log, "no")],
        "poststop": [say(log, "poststop")],
    }
    ours, theirs = os.pipe()
    container = workshop.create(config, stdin=ours)
    with pytest.raises(HookError, match=r"^hooks\.poststart\[1\] \(/bin/sh\): exit code 3: why$") as caught:
        container.start()
    assert (caught.value.kind, caught.value.index, caught.value.returncode) == ("poststart", 1, 3)
    assert lines(log) == ["first", "poststop"]
    nothing_is_left_of(workshop, container.id)
    assert container.wait(PATIENCE).signal == signal.SIGKILL  # the program ran, and was stopped
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("force", [False, True])
def test_a_failure_of_poststop_is_a_warning(workshop: Workshop, config: Config, log: Path, force: bool) -> None:
    config["hooks"]["poststop"] = [say(log, "first"), FAILURES[0][0], FAILURES[2][0], say(log, "last")]
    container = workshop.create(config)
    with pytest.warns(HookWarning) as caught:
        container.delete(force=force)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2
    assert all(container.id in text for text in texts)
    assert "exit code 3: why" in texts[0]
    assert "/not/there" in texts[1]
    assert lines(log) == ["first", "last"]
    nothing_is_left_of(workshop, container.id)


def test_a_hook_that_fails_in_a_handles_context_still_leaves_nothing(workshop: Workshop, config: Config) -> None:
    config["hooks"]["poststop"] = [FAILURES[0][0]]
    with pytest.warns(HookWarning), workshop.create(config) as container:
        pass
    nothing_is_left_of(workshop, container.id)


@pytest.mark.parametrize("kind", KINDS)
def test_a_timeout(workshop: Workshop, config: Config, log: Path, kind: str) -> None:
    config["hooks"][kind] = [sh(f"touch {log}/began; exec sleep 1000", timeout=1), say(log, "after")]
    expected = {"startContainer": StartError, "poststop": HookWarning}.get(kind, HookError)
    catch = pytest.warns if kind == "poststop" else pytest.raises
    with catch(expected, match=rf"hooks\.{kind}\[0\] \(/bin/sh\): did not end within 1 s"):
        live(workshop, config)
    assert (log / "began").exists()
    assert lines(log) == (["after"] if kind == "poststop" else [])
    assert workshop.entries() == []


def test_a_hook_within_its_time(workshop: Workshop, config: Config, log: Path) -> None:
    for kind in KINDS:
        config["hooks"][kind] = [say(log, kind) | {"timeout": 60}]
    live(workshop, config)
    assert lines(log) == list(KINDS)


def test_hooks_that_write_a_lot_do_not_hang(workshop: Workshop, config: Config) -> None:
    for kind in KINDS:
        config["hooks"][kind] = [sh("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2", timeout=60)]
    live(workshop, config)


def test_hooks_may_call_back(workshop: Workshop, config: Config, log: Path) -> None:
    # state and list take no lock, because a hook may ask while create or start holds it
    code = (
        "import sys; from libcontainer_py import Factory; f = Factory(sys.argv[1]); f.list(); "
        "open(sys.argv[2], 'w').write(' '.join(f.ids()))"
    )
    for kind in ("createRuntime", "poststart"):
        config["hooks"][kind] = [
            {
                "path": sys.executable,
                "args": [sys.executable, "-c", code, str(workshop.root), f"{log}/{kind}"],
                "env": [f"PYTHONPATH={os.environ['PYTHONPATH']}"],
                "timeout": 60,
            }
        ]
    container_id = live(workshop, config)
    assert (log / "createRuntime").read_text() == (log / "poststart").read_text() == container_id


def test_poststop_hooks_run_also_after_a_failed_hook_of_create(workshop: Workshop, config: Config, log: Path) -> None:
    for kind in ("prestart", "createRuntime", "createContainer"):
        config["hooks"] = {kind: [sh("exit 1")], "poststop": [copy("/dev/stdin", f"{log}/{kind}", "poststop")]}
        with pytest.raises(HookError, match=kind):
            workshop.create(workshop.bundle(config))
        assert json.loads((log / kind).read_text())["status"] == "stopped"
        assert workshop.entries() == []


def test_a_warning_that_is_an_error_keeps_no_poststop_hook_from_running(
    workshop: Workshop, config: Config, log: Path
) -> None:
    config["hooks"]["poststop"] = [sh("exit 1"), copy("/dev/stdin", f"{log}/second", "poststop")]
    container = workshop.create(workshop.bundle(config))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(HookWarning):
            container.delete(force=True)
    assert (log / "second").exists()
    assert workshop.entries() == []
