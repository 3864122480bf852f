"""Where the command line is called from: no environment, odd descriptors, a subreaper; and what it passes on."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tests.cli.conftest import Desk


def test_without_path_and_home(desk: Desk) -> None:
    container_id = desk.new_id()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "capture_output": False}
    for words in (("create", "--bundle", str(desk.bundle), container_id), ("start", container_id)):
        desk(*words, env={}, cwd="/", **quiet)
    assert desk("exec", container_id, "echo", "hi", env={}, cwd="/").stdout == "hi\n"
    for words in (("pause",), ("resume",), ("kill", "9"), ("delete",)):
        pidfd = desk.pidfd(container_id) if words[0] == "kill" else -1
        desk(words[0], container_id, *words[1:], env={}, cwd="/")
        if pidfd >= 0:
            desk.outlive(pidfd)


def test_descriptors_of_who_calls_reach_nobody(desk: Desk) -> None:
    """And those that are passed on purpose arrive under their numbers."""
    bundle = desk.make_bundle("/bin/sh", "-c", "cat <&3; cat <&4; exec /bin/busybox ls /proc/self/fd >&2")
    files = [desk.folder / name for name in ("three", "four", "five")]
    for file in files:
        file.write_text(f"{file.name}\n")
    redirections = f"3<{files[0]} 4<{files[1]} 9<{files[2]}"
    command = " ".join([*desk.command, "run", "--preserve-fds", "2", "--bundle", str(bundle), desk.new_id()])
    done = subprocess.run(["sh", "-c", f"{command} {redirections}"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "three\nfour\n"), done.stderr
    assert "/five" not in done.stderr
    assert done.stderr.split() == ["0", "1", "2", "3", "4", "5"]  # the last one is the directory that ls reads


def test_exec_passes_descriptors_on_too(desk: Desk) -> None:
    container_id = desk.running()
    file = desk.folder / "three"
    file.write_text("three\n")
    command = " ".join([*desk.command, "exec", "--preserve-fds", "1", container_id, "cat", "/proc/self/fd/3"])
    done = subprocess.run(["sh", "-c", f"{command} 3<{file} 7<{file}"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "three\n"), done.stderr
    done = subprocess.run(
        ["sh", "-c", f"{' '.join([*desk.command, 'exec', container_id])} cat /proc/self/fd/3 3<{file}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1


def test_init_is_the_child_of_the_subreaper(desk: Desk) -> None:
    """As containerd's shim and conmon are: they wait for it, and learn how it ended."""
    container_id = desk.new_id()
    code = f"""
import ctypes, json, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)
pyrunc = {desk.command!r}
quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
pid_file = {str(desk.folder / "pid")!r}
subprocess.run([*pyrunc, "create", "--pid-file", pid_file, "--bundle", sys.argv[1], sys.argv[2]], **quiet)
pid = int(open(pid_file).read())
others = [int(name) for name in os.listdir("/proc") if name.isdigit()]
def parent(one):
    try:
        return int(open(f"/proc/{{one}}/stat").read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
children = [one for one in others if parent(one) == os.getpid()]
subprocess.run([*pyrunc, "start", sys.argv[2]], **quiet)
found, status = os.waitpid(pid, 0)
subprocess.run([*pyrunc, "delete", sys.argv[2]], **quiet)
print(json.dumps([children == [pid], found == pid, os.waitstatus_to_exitcode(status)]))
"""
    bundle = desk.make_bundle("/bin/sh", "-c", "exit 7")
    command = [sys.executable, "-c", code, str(bundle), container_id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout or "null") == [True, True, 7], done.stderr


def test_a_pidfd_goes_to_who_listens(desk: Desk) -> None:
    path = desk.folder / "pidfd.sock"
    for verb in ("create", "exec"):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            if verb == "create":
                container_id = desk.running("--pidfd-socket", str(path))
                expected = desk.state(container_id)["pid"]
            else:
                pid_file = desk.folder / "pid"
                more = ("--pid-file", str(pid_file), "--pidfd-socket", str(path), "--detach")
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "capture_output": False}
                desk("exec", *more, container_id, "sleep", "1000", **quiet)
                expected = int(pid_file.read_text())
            connection, _ = listener.accept()
            with connection:
                word, ancillary, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(4))
        path.unlink()
        pidfd = array.array("i", ancillary[0][2])[0]
        assert word == (b"standard" if verb == "create" else b"setns")
        assert f"Pid:\t{expected}\n" in Path(f"/proc/self/fdinfo/{pidfd}").read_text()
        os.close(pidfd)


def share_pids(config: dict[str, Any]) -> None:
    spaces = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [one for one in spaces if one["type"] != "pid"]


def test_run_is_a_subreaper_unless_it_is_told_otherwise(desk: Desk) -> None:
    """Without a pid namespace of its own, what the program leaves behind becomes run's child, which reaps it."""
    bundle = desk.make_bundle("/bin/sh", "-c", "(sleep 1000 & echo $!); echo left; exec sleep 1000")
    desk.change(share_pids, bundle)
    for more in ((), ("--no-subreaper",)):
        container_id = desk.new_id()
        command = [*desk.command, "run", *more, "--bundle", str(bundle), container_id]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            orphan = int(process.stdout.readline())
            assert process.stdout.readline() == "left\n"
            assert (parent_of(orphan) == process.pid) is (not more)
            desk("kill", container_id, "KILL")
            assert process.wait(60) == 137


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_run_ends_as_its_program_does(desk: Desk) -> None:
    for script, code in (("exit 5", 5), ("kill -9 $$", 137), ("exec /nonexistent/program", 127)):
        bundle = desk.make_bundle("/bin/sh", "-c", script)
        desk.change(share_pids, bundle)
        desk("run", "--bundle", str(bundle), desk.new_id(), code=code)
    assert desk("list", "--quiet").stdout == ""
    kept = desk.new_id()
    desk("run", "--keep", "--bundle", str(desk.make_bundle("true")), kept)
    assert desk.state(kept)["status"] == "stopped"


def test_signals_go_to_the_program(desk: Desk) -> None:
    bundle = desk.make_bundle(
        "/bin/sh", "-c", "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    )
    command = [*desk.command, "run", "--bundle", str(bundle), desk.new_id()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "caught\n"
        assert process.wait(60) == 9


def test_exec_takes_who_and_where(desk: Desk) -> None:
    container_id = desk.running()
    words = ("--user", "1000:2000", "--cwd", "/bin", "--env", "A=b", "--additional-gids", "7", "--cap", "CAP_SYS_TIME")
    told = "grep Uid: /proc/self/status; grep Groups /proc/self/status; pwd; echo $A; grep CapBnd /proc/self/status"
    told = told.replace("grep", "/bin/busybox grep")
    lines = desk("exec", *words, container_id, "sh", "-c", told).stdout
    uid, groups, cwd, a, bounding = lines.splitlines()
    assert uid.split() == ["Uid:", "1000", "1000", "1000", "1000"]
    assert groups.split() == ["Groups:", "7"]
    assert (cwd, a) == ("/bin", "b")
    assert int(bounding.split()[1], 16) >> 25 & 1
    process = {"args": ["/bin/sh", "-c", "exit 4"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    file = desk.folder / "process.json"
    file.write_text(json.dumps(process))
    desk("exec", "--process", str(file), container_id, code=4)
    desk("exec", container_id, "sh", "-c", "kill -9 $$", code=137)
    for words in (("--user", "somebody"), ("--additional-gids", "-1"), ("--cgroup", ":x"), ("--cgroup", "../..")):
        desk("exec", *words, container_id, "true", code=255)


def test_descriptors_that_were_not_passed_on_are_refused(desk: Desk) -> None:
    """They would be those that the command line has opened itself: here its log."""
    log = desk.folder / "log"
    words = ["--log", str(log), "run", "--preserve-fds", "1", "--bundle", str(desk.bundle), desk.new_id()]
    done = subprocess.run([*desk.command, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "unable to stat preserved-fd 0 (of 1): 3 was not passed to us" in done.stderr


BLOCKING = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_caller_that_blocks_signals(desk: Desk) -> None:
    bundle = desk.make_bundle("/bin/sh", "-c", "grep SigBlk /proc/self/status; exit 3")
    words = [*desk.command, "run", "--bundle", str(bundle), desk.new_id()]
    done = subprocess.run([sys.executable, "-c", BLOCKING, *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (3, ["SigBlk:", "0" * 16]), done.stderr
