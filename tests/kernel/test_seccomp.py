"""linux.seccomp, seen from inside of containers, and its listener."""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from libcontainer_py import ConfigError, CreateError, StartError
from tests.kernel.workshop import PATIENCE, Config, Workshop, runc_spec

RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and _SEND. Source: seccomp_unotify(2)
E2BIG, ENOSPC = 7, 28


def with_profile(*calls: Config, **more: Any) -> Config:
    config = runc_spec()
    config["root"]["readonly"] = False
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(calls), **more}
    return config


def deny(*names: str, errno: int = E2BIG) -> Config:
    return {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": errno}


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("user", [0, 1234])
def test_a_filter(workshop: Workshop, no_new_privileges: bool, user: int) -> None:
    config = with_profile(deny("mkdir", "mkdirat"))
    config["process"]["noNewPrivileges"] = no_new_privileges
    config["process"]["user"] = {"uid": user, "gid": user}
    script = "mkdir /tmp/x 2>&1; grep -E '^(Seccomp|NoNewPrivs|Cap(Prm|Eff|Bnd))' /proc/self/status"
    message, *lines = workshop.sh(config, script).splitlines()
    assert message.endswith(os.strerror(E2BIG))
    status = dict(line.split(":\t") for line in lines)
    assert (status["Seccomp"], status["Seccomp_filters"]) == ("2", "1")
    assert status["NoNewPrivs"] == str(int(no_new_privileges))
    assert not int(status["CapPrm"], 16) >> 21 & 1  # CAP_SYS_ADMIN was kept for the filter alone
    assert int(status["CapBnd"], 16) == 0x20000420


def test_arguments(workshop: Workshop) -> None:
    # kill(pid, 0) is refused, kill(pid, SIGCONT) is not
    rule = {**deny("kill"), "args": [{"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}]}
    output = workshop.sh(with_profile(rule), "kill -CONT $$ 2>&1 && echo fine; kill -0 $$ 2>&1", returncode=None)
    fine, refused = output.splitlines()
    assert fine == "fine"
    assert refused.endswith(os.strerror(E2BIG))


def test_a_killed_program(workshop: Workshop) -> None:
    config = with_profile({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"})
    config["process"]["args"] = ["/bin/busybox", "mkdir", "/x"]
    with workshop.create(config) as container:
        container.start()
        assert container.wait(PATIENCE).returncode == -31  # SIGSYS


def test_what_init_needs_is_not_filtered_but_execve(workshop: Workshop) -> None:
    # an allow list of what a static program needs: nothing of what sets a container up
    names = "execve exit exit_group write brk arch_prctl set_tid_address set_robust_list rseq prlimit64 mprotect uname"
    names += " readlink readlinkat getrandom getuid getpid fcntl newfstatat fstat ioctl"
    config = with_profile({"names": names.split(), "action": "SCMP_ACT_ALLOW"}, defaultAction="SCMP_ACT_ERRNO")
    config["process"]["args"] = ["/bin/busybox", "echo", "hello"]
    assert workshop.output(workshop.bundle(config)) == "hello\n"
    denied = with_profile(deny("execve"))
    with workshop.create(denied) as container:
        with pytest.raises(StartError) as caught:
            container.start()
        assert caught.value.errno == E2BIG


def test_the_reaper_is_not_filtered_but_its_command(workshop: Workshop) -> None:
    config = with_profile(deny("mkdir", "mkdirat"))
    explained = workshop.create(config)
    try:
        lines = explained.explain().splitlines()
        assert "seccomp" in lines[-2]
        assert "linux.seccomp" in lines[-2]
    finally:
        explained.delete(force=True)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"defaultAction": "SCMP_ACT_NONE"}, "linux.seccomp.defaultAction"),
        ({"syscalls": [{"names": ["read"], "action": "x"}]}, "linux.seccomp.syscalls[0].action"),
    ],
)
def test_a_wrong_profile(workshop: Workshop, change: Config, where: str) -> None:
    config = with_profile()
    config["linux"]["seccomp"] |= change
    with pytest.raises(ConfigError) as caught:
        workshop.create(config)
    assert [problem.path for problem in caught.value.problems] == [where]
    assert workshop.entries() == []


def answer(listener: int) -> None:
    """Answer one system call: ENOSPC."""
    request = bytearray(80)
    fcntl.ioctl(listener, RECEIVE, request)
    (number,) = struct.unpack_from("=Q", request)
    fcntl.ioctl(listener, SEND, bytearray(struct.pack("=QqiI", number, 0, -ENOSPC, 0)))


def test_a_listener(workshop: Workshop, tmp_path: Path) -> None:
    path = str(tmp_path / "listener")
    told: list[dict[str, Any]] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                data, rights, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
                told.append(json.loads(data))
                (listener,) = array.array("i", rights[0][2])
                answer(listener)
                os.close(listener)

        thread = threading.Thread(target=serve)
        thread.start()
        notify = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}
        config = with_profile(notify, listenerPath=path, listenerMetadata="who=me")
        config["process"]["args"] = ["/bin/busybox", "mkdir", "/x"]
        output = tmp_path / "output"
        with output.open("wb") as file, workshop.create(config, stdout=file, stderr=file) as container:
            pid = container.init_pid
            container.start()
            assert container.wait(PATIENCE).returncode == 1
        thread.join(PATIENCE)
    assert os.strerror(ENOSPC) in output.read_text()
    [state] = told
    assert (state["pid"], state["fds"], state["metadata"]) == (pid, ["seccompFd"], "who=me")
    assert state["state"]["id"] == container.id
    assert state["ociVersion"] == config["ociVersion"]


def test_a_listener_that_is_not_there(workshop: Workshop, tmp_path: Path) -> None:
    notify = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}
    with pytest.raises(CreateError, match=r"linux\.seccomp\.listenerPath"):
        workshop.create(with_profile(notify, listenerPath=f"{tmp_path}/none"))
    assert workshop.entries() == []
