"""What is typed wrongly, and what the host refuses: a clear error, usage on standard error, and nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_verbs import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Desk


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("start",), 'pyrunc: "start" requires exactly 1 argument(s)'),
        (("start", "one", "two"), 'pyrunc: "start" requires exactly 1 argument(s)'),
        (("kill", "one", "TERM", "two"), 'pyrunc: "kill" requires a maximum of 2 argument(s)'),
        (("kill",), 'pyrunc: "kill" requires a minimum of 1 argument(s)'),
        (("list", "one"), 'pyrunc: "list" requires exactly 0 argument(s)'),
        (("exec",), 'pyrunc: "exec" requires a minimum of 1 argument(s)'),
        (("start", "--bad", "one"), "flag provided but not defined: -bad"),
        (("--bad", "list"), "flag provided but not defined: -bad"),
        (("create", "one", "--bundle"), "flag needs an argument: -bundle"),
        (("create", "--preserve-fds", "many", "one"), 'invalid value "many" for flag -preserve-fds'),
        (("run", "--detach=perhaps", "one"), 'invalid boolean value "perhaps" for -detach'),
    ],
)
def test_words_that_make_no_sense(desk: Desk, words: tuple[str, ...], text: str) -> None:
    done = desk(*words, code=1)
    assert done.stdout == ""
    assert done.stderr.startswith(f"Incorrect Usage: {text}\n\nNAME:\n   pyrunc")
    assert message(done.stderr) == text
    assert not desk.root.exists()


def test_an_unknown_command(desk: Desk) -> None:
    done = desk("frobnicate", code=3)
    assert (done.stdout, message(done.stderr)) == ("", "No help topic for 'frobnicate'")
    assert message(desk("help", "frobnicate", code=3).stderr) == "No help topic for 'frobnicate'"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--log-format", "xml"), "invalid log-format: xml"),
        (("--root", "/"), "Option --root argument should not be set to /"),
        (("--rootless", "perhaps"), "invalid value for --rootless: perhaps"),
        (("--cgroup-manager", "none"), "invalid value for --cgroup-manager: none"),
        (("--log", "/nonexistent/log"), "open /nonexistent/log: no such file or directory"),
    ],
)
def test_global_flags_that_make_no_sense(desk: Desk, flags: tuple[str, ...], text: str) -> None:
    assert message(desk(*flags, "list", code=1).stderr) == text


def test_a_create_that_cannot_be(desk: Desk) -> None:
    """Each leaves nothing behind, and says what is wrong."""
    container_id = desk.create()
    bundle = ("--bundle", str(desk.make_bundle("true")))
    again = message(desk("create", *bundle, container_id, code=1).stderr)
    assert again.startswith("container with given ID already exists")
    for words, text in (
        (("a/b",), "invalid container ID"),
        (("",), "container id cannot be empty"),
        (("--bundle", "/nonexistent", "c"), "no such file or directory"),
        (("--pid-file", "/nonexistent/pid", *bundle, "c"), "pid file /nonexistent/pid: no such file or directory"),
        (("--pidfd-socket", "/nonexistent/s", *bundle, "c"), "pidfd socket /nonexistent/s: no such file or directory"),
        (("--console-socket", "/nonexistent/s", *bundle, "c"), "cannot use console socket"),
        (("--preserve-fds", "5", *bundle, "c"), "unable to stat preserved-fd 0 (of 5)"),
        (("--preserve-fds", "1000", *bundle, "c"), "preserve_fds is a number from 0 to 128, not 1000"),
    ):
        assert text in message(desk("create", *words, code=1).stderr)
    assert desk("list", "--quiet").stdout == f"{container_id}\n"


def test_a_terminal_that_nobody_takes(desk: Desk) -> None:
    bundle = desk.make_bundle("true", terminal=True)
    done = desk("create", "--bundle", str(bundle), "c", code=1)
    assert message(done.stderr) == "cannot allocate tty if runc will detach without setting console socket"
    assert not desk.root.exists()


def test_logs(desk: Desk) -> None:
    """In both formats the last line says it, and standard error too."""
    for style in ("text", "json"):
        log = desk.folder / f"log.{style}"
        for container_id in ("first", 'se"cond'):
            done = desk("--log", str(log), "--log-format", style, "state", container_id, code=1)
            assert done.stderr.startswith(("container does not exist", "invalid container ID"))
        lines = log.read_text().splitlines()
        assert len(lines) == 2
        assert log.stat().st_mode & 0o777 == 0o644
        if style == "json":
            assert json.loads(lines[0])["msg"].startswith("container does not exist")
            assert {key: type(value) for key, value in json.loads(lines[1]).items()} == {
                "level": str,
                "msg": str,
                "time": str,
            }
        else:
            assert message(lines[1] + "\n").startswith("invalid container ID 'se\"cond'")


def test_what_fails_without_an_exit_is_a_warning_in_the_log(desk: Desk) -> None:
    desk.change(lambda config: config["process"]["capabilities"]["bounding"].append("CAP_NONE_SUCH"))
    log = desk.folder / "log"
    container_id = desk.new_id()
    words = ("--log", str(log), "--log-format=json", "create", "--bundle", str(desk.bundle), container_id)
    desk(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, capture_output=False)
    (entry,) = map(json.loads, log.read_text().splitlines())
    assert entry["level"] == "warning"
    assert "CAP_NONE_SUCH" in entry["msg"]


def test_a_full_disk(desk: Desk, peer: Callable[[str], str]) -> None:
    """Neither the log nor the root can be written: what is wrong is said, and nothing is left but what was there."""
    full = desk.folder / "full"
    full.mkdir()
    script = f"""
        mount -t tmpfs -o size=16k,mode=700 tmpfs {full}
        dd if=/dev/zero of={full}/ballast bs=1k count=64 2>/dev/null
        {desk.command[0]} --root {full}/root --log {full}/log create --bundle {desk.bundle} c
        echo $?; ls -A {full} {full}/root
    """
    command = [peer("unshare"), "--mount", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[0] == "1"
    assert "no space left on device" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    left = {line for line in done.stdout.split("\n")[1:] if line and not line.endswith(":")}
    assert left <= {"ballast", "root", "log", ",lock"}


def test_a_root_that_cannot_be_written(desk: Desk, peer: Callable[[str], str]) -> None:
    script = f"""
        mkdir {desk.root}; mount --bind {desk.root} {desk.root}; mount -o remount,bind,ro {desk.root}
        {desk.command[0]} --root {desk.root} create --bundle {desk.bundle} c
        echo $?; {desk.command[0]} --root {desk.root} list --quiet; echo $?
    """
    done = subprocess.run([peer("unshare"), "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1\n0\n"
    assert "read-only file system" in message(done.stderr).lower()
    assert str(desk.root) in message(done.stderr)


def test_a_root_of_somebody_else(desk: Desk) -> None:
    desk.root.mkdir()
    os.chown(desk.root, 65534, 65534)
    error = message(desk("list", code=1).stderr)
    assert "belongs to user 65534" in error
    desk.root.rmdir()


def test_an_output_that_nobody_reads(desk: Desk) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = desk("features", code=1, stdout=write, stderr=subprocess.PIPE, capture_output=False)
    finally:
        os.close(write)
    assert done.stderr == ""


def test_broken_state_is_named_and_can_be_deleted(desk: Desk) -> None:
    container_id = desk.create()
    pidfd = desk.pidfd(container_id)
    (Path(desk.root) / container_id / "state.json").write_text("")
    assert f"{container_id}/state.json" in message(desk("state", container_id, code=1).stderr)
    desk("delete", "--force", container_id)
    desk.outlive(pidfd)
    assert desk("list").stderr == ""
