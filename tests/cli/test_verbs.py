"""What each command does, and what it ends with; outputs are those of runc, on the same containers where it is here."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.cli.conftest import Desk


def runc_on(desk: Desk, runc: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [runc, "--root", str(desk.root), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def message(error: str) -> str:
    """The text of the last line of a log."""
    found = re.search(r'level=error msg="((?:[^"\\]|\\.)*)"\n\Z', error)
    assert found is not None, error
    return str(json.loads(f'"{found[1]}"'))


def test_a_life(desk: Desk) -> None:
    container_id = desk.create()
    assert desk.state(container_id)["status"] == "created"
    desk("start", container_id)
    assert desk.state(container_id)["status"] == "running"
    desk("pause", container_id)
    assert desk.state(container_id)["status"] == "paused"
    desk("resume", container_id)
    desk("kill", container_id, "KILL")
    desk("delete", "--force", container_id)
    desk("state", container_id, code=1)


def test_state_is_byte_for_byte_that_of_runc(desk: Desk, peer: Callable[[str], str]) -> None:
    desk.change(lambda config: config.update(annotations={"b": "<&>", "a": "ü"}))
    container_id = desk.create()
    runc = peer("runc")
    for verb in ("start", "pause", "resume"):
        ours, theirs = desk("state", container_id), runc_on(desk, runc, "state", container_id)
        assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)
        desk(verb, container_id)


def test_lists_are_byte_for_byte_those_of_runc(desk: Desk, peer: Callable[[str], str]) -> None:
    runc = peer("runc")
    desk.running()
    desk.change(lambda config: config["linux"].update(cgroupsPath=f"/{desk.new_id()}"))
    desk.create()
    (desk.root / "broken").mkdir()
    for words in (("list",), ("list", "--format", "json"), ("list", "-q"), ("list", "-f=table")):
        ours, theirs = desk(*words), runc_on(desk, runc, *words)
        assert ours.stdout == theirs.stdout
        assert ours.stderr.startswith(theirs.stderr.rstrip("\n"))
        assert "load container broken" in ours.stderr
    (desk.root / "broken").rmdir()


def test_an_empty_list(desk: Desk) -> None:
    desk.root.mkdir(mode=0o700)
    assert desk("list").stdout == "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    assert desk("list", "-f", "json").stdout == "null\n"
    assert desk("list", "-q").stdout == ""


def test_processes_are_those_that_runc_tells(desk: Desk, peer: Callable[[str], str]) -> None:
    container_id = desk.running()
    runc = peer("runc")
    ours = json.loads(desk("ps", "--format", "json", container_id).stdout)
    assert ours == json.loads(runc_on(desk, runc, "ps", "--format", "json", container_id).stdout)
    assert ours == [desk.state(container_id)["pid"]]
    table = desk("ps", container_id, "-o", "pid,args", "-e").stdout
    assert table.split("\n")[1].split() == [str(ours[0]), "/bin/sleep", "1000"]
    assert table == runc_on(desk, runc, "ps", container_id, "-o", "pid,args", "-e").stdout


STATUSES = ("created", "running", "paused", "stopped")
ILLEGAL = [
    ("start", "running"), ("start", "paused"), ("start", "stopped"), ("pause", "paused"), ("pause", "stopped"),
    ("resume", "created"), ("resume", "running"), ("resume", "stopped"), ("kill", "stopped"), ("delete", "running"),
    ("delete", "paused"), ("exec", "paused"), ("exec", "stopped"), ("events", "stopped"), ("update", "stopped"),
]  # fmt: skip


def test_what_is_illegal_in_a_status_is_said_as_runc_says_it(desk: Desk, peer: Callable[[str], str]) -> None:
    runc = peer("runc")
    container_id = desk.create()
    for status in STATUSES:
        if status == "running":
            desk("start", container_id)
        elif status == "paused":
            desk("pause", container_id)
        elif status == "stopped":
            desk.end(container_id)
        assert desk.state(container_id)["status"] == status
        for verb in (verb for verb, where in ILLEGAL if where == status):
            words = {"exec": (container_id, "true"), "update": ("--pids-limit", "5", container_id)}
            ours = desk(verb, *words.get(verb, (container_id,)), code=255 if verb == "exec" else 1)
            theirs = runc_on(desk, runc, verb, *words.get(verb, (container_id,)))
            assert ours.returncode == theirs.returncode, (verb, status)
            assert message(ours.stderr) == message(theirs.stderr), (verb, status)
    assert desk("ps", "--format", "json", container_id).stdout == "null\n"
    desk("kill", "--all", container_id, "KILL")
    desk("delete", container_id)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("state", "nope"), 1),
        (("start", "nope"), 1),
        (("kill", "nope", "FOO"), 1),
        (("delete", "nope"), 1),
        (("delete", "--force", "nope"), 0),
        (("ps", "nope"), 1),
        (("events", "nope"), 1),
        (("update", "nope"), 1),
        (("exec", "nope", "ls"), 255),
        (("exec", "nope"), 255),
        (("pause", ""), 1),
        (("exec", "", "ls"), 255),
        (("list", "--format", "yaml"), 1),
    ],
)
def test_of_a_container_that_is_not_there(
    desk: Desk, peer: Callable[[str], str], words: tuple[str, ...], code: int
) -> None:
    desk.root.mkdir(mode=0o700)
    ours, theirs = desk(*words, code=code), runc_on(desk, peer("runc"), *words)
    assert (ours.stdout, theirs.returncode) == ("", code)
    if code:
        assert message(ours.stderr).startswith(message(theirs.stderr))
    else:
        assert ours.stderr == ""


def test_kill_by_number_and_name(desk: Desk) -> None:
    container_id = desk.running(
        bundle=desk.make_bundle("/bin/sh", "-c", "trap 'exit 3' USR1; while :; do sleep 1; done")
    )
    assert message(desk("kill", container_id, "FOO", code=1).stderr) == 'unknown signal "FOO"'
    pidfd = desk.pidfd(container_id)
    desk("kill", container_id, "SIGUSR1")
    desk.outlive(pidfd)
    desk("delete", container_id)


def test_delete_by_a_regular_expression(desk: Desk) -> None:
    first = desk.create()
    desk.change(lambda config: config["linux"].update(cgroupsPath=f"/{desk.new_id()}"))
    second = desk.create()
    desk("delete", "--regex", f"^{first}$")
    assert desk("list", "-q").stdout == f"{second}\n"
    assert "regular expression" in message(desk("delete", "--regex", "(", code=1).stderr)


def test_update(desk: Desk) -> None:
    container_id = desk.running()
    desk("update", "--pids-limit", "20", container_id)
    assert limit_of(desk, container_id) == 20
    # as containerd sends it: zeros say nothing, and rules for devices are not for a container that is there
    resources = {"pids": {"limit": 30}, "cpu": {"shares": 0, "quota": 0}, "devices": [{"allow": True, "access": "rwm"}]}
    desk("update", "--resources", "-", container_id, input=json.dumps(resources))
    assert limit_of(desk, container_id) == 30
    file = desk.folder / "resources.json"
    file.write_text('{"pids": {"limit": 40}}')
    desk("update", "-r", str(file), container_id)
    assert limit_of(desk, container_id) == 40
    assert "no JSON object" in message(desk("update", "-r", "-", container_id, code=1, input="[").stderr)
    assert "invalid value for memory" in message(desk("update", "--memory", "much", container_id, code=1).stderr)
    assert limit_of(desk, container_id) == 40


def limit_of(desk: Desk, container_id: str) -> int:
    data = stats_of(desk, container_id)
    return int(data["pids"]["limit"])


def stats_of(desk: Desk, container_id: str) -> dict[str, Any]:
    event = json.loads(desk("events", "--stats", container_id).stdout)
    assert (event["type"], event["id"]) == ("stats", container_id)
    found: dict[str, Any] = event["data"]
    return found


def test_statistics_have_runcs_layout(desk: Desk, peer: Callable[[str], str]) -> None:
    container_id = desk.running()
    theirs = json.loads(runc_on(desk, peer("runc"), "events", "--stats", container_id).stdout)["data"]
    ours = stats_of(desk, container_id)
    assert set(theirs) <= set(ours)
    for section in ("memory", "pids", "cpu"):
        # what is 0 may be missing, and runc 1.1.5 knows less
        missing = {key for key, value in theirs[section].items() if key not in ours[section]}
        assert missing <= {"limit"}, section
    assert {key: type(value) for key, value in theirs["memory"]["usage"].items()} == {
        key: type(value) for key, value in ours["memory"]["usage"].items()
    }
    assert theirs["memory"]["usage"]["limit"] == ours["memory"]["usage"]["limit"]


def test_events_end_with_the_container(desk: Desk) -> None:
    container_id = desk.running()
    command = [*desk.command, "events", "--interval", "20ms", container_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        kinds = [json.loads(process.stdout.readline())["type"] for _ in range(2)]
        desk.end(container_id)
        rest = process.stdout.read()
        assert process.wait(60) == 0
    assert kinds == ["stats", "stats"]
    assert all(json.loads(line)["type"] == "stats" for line in rest.splitlines())


def test_features_and_spec(desk: Desk) -> None:
    known = json.loads(desk("features").stdout)
    assert known["ociVersionMax"] == "1.3.0"
    assert "poststop" in known["hooks"]
    folder = desk.folder / "fresh"
    folder.mkdir()
    desk("spec", "--bundle", str(folder))
    written = (folder / "config.json").read_text()
    assert json.loads(written)["process"]["terminal"] is True
    assert message(desk("spec", "--bundle", str(folder), code=1).stderr) == "File config.json exists. Remove it first"
    assert (folder / "config.json").read_text() == written


def test_checkpoints_are_not_built_and_say_so(desk: Desk) -> None:
    container_id = desk.create()
    assert "checkpoint is not built yet" in message(
        desk("checkpoint", "--image-path", "/x", container_id, code=1).stderr
    )
    assert "restore is not built yet" in message(desk("restore", "--detach", container_id, code=1).stderr)
    assert desk("checkpoint", "--help").stdout.startswith("NAME:\n   pyrunc checkpoint")


def test_version_and_help(desk: Desk) -> None:
    first, *rest = desk("--version").stdout.splitlines()
    assert re.fullmatch(r"pyrunc version \d+\.\d+\.\d+", first)
    assert "spec: 1.3.0" in rest
    assert "create a container" in desk("--help").stdout
    assert desk().stdout == desk("help").stdout == desk("--help").stdout
    assert desk("help", "kill").stdout == desk("kill", "--help").stdout


def test_doctor(desk: Desk) -> None:
    found = json.loads(desk("doctor", "--format", "json").stdout)
    names = [one["name"] for one in found["findings"]]
    assert "kernel" in names
    assert all(name in desk("doctor").stdout for name in names)
    assert message(desk("doctor", "--format", "xml", code=1).stderr) == "invalid format option"


def test_explain(desk: Desk) -> None:
    assert "pivot" in desk("explain", desk.create()).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(desk: Desk, peer: Callable[[str], str], shell: str) -> None:
    script = desk("completion", shell).stdout
    assert "--console-socket" in script or "-l console-socket" in script
    if shell == "bash":
        complete = f"{script}\nCOMP_WORDS=(pyrunc ki); COMP_CWORD=1; _pyrunc; echo ${{COMPREPLY[@]}}"
        done = subprocess.run([peer("bash"), "-c", complete], capture_output=True, text=True)
        assert done.stdout == "kill\n", done.stderr
