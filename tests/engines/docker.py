"""dockerd with stores and sockets of its own, configured as docs/engines/docker.md says."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engines.images import BUSYBOX
from tests.engines.pages import configuration
from tests.engines.programs import PATH, Daemon, Done, Program, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

PARENT = "lcpy-docker"
"""The cgroup of its containers."""


class Dockerd(Daemon):
    """The daemon. Nothing of it is shared with another, and it touches neither the network nor iptables."""

    def __init__(self, folder: Path, runtime: str, containerd: Path) -> None:
        self.socket = folder / "sock"
        document: dict[str, Any] = json.loads(configuration("docker.md", "json", runtime))
        document |= {
            "hosts": [f"unix://{self.socket}"],
            "containerd": str(containerd),
            "containerd-namespace": PARENT,
            "containerd-plugins-namespace": f"{PARENT}-plugins",
            "data-root": str(folder / "data"),
            "exec-root": str(folder / "exec"),
            "pidfile": str(folder / "pid"),
            "deprecated-key-path": str(folder / "key.json"),
            "group": "root",
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
            "ip-forward": False,
            "ip-masq": False,
            "userland-proxy": False,
            "storage-driver": "overlay2",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "cgroup-parent": f"/{PARENT}",
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 20000, "Hard": 20000}},
        }
        (folder / "daemon.json").write_text(json.dumps(document))
        command = ["dockerd", "--config-file", str(folder / "daemon.json")]
        super().__init__(command, folder / "log", {"PATH": PATH, "HOME": str(folder), "DOCKER_TMPDIR": str(folder)})
        client = self.client()
        self.wait_for(lambda: self.socket.exists() and client("version", check=False).returncode == 0)

    def client(self) -> Docker:
        return Docker(self)


class Docker(Program):
    """docker."""

    def __init__(self, daemon: Dockerd) -> None:
        folder = daemon.socket.parent
        environment = {"DOCKER_HOST": f"unix://{daemon.socket}", "DOCKER_CONFIG": str(folder / "client")}
        super().__init__(["docker"], folder, environment)

    def run(self, *words: str, check: bool = True, given: str = "") -> Done:
        """`docker run --rm` in the foreground."""
        return self("run", "--rm", "--runtime", "pyrunc", "--network", "none", *words, check=check, given=given)

    def start(self, name: str, *words: str, options: Sequence[str] = ()) -> str:
        """`docker run --detach` of a container that runs these words; its name."""
        chosen = ("--runtime", "pyrunc", "--network", "none")
        self("run", "--detach", "--name", name, *chosen, *options, BUSYBOX, *words)
        return name

    def state(self, name: str) -> dict[str, Any]:
        """The state that docker believes."""
        found = json.loads(self.says("inspect", "--format", "{{json .State}}", name))
        assert isinstance(found, dict)
        return found

    def logs_have(self, name: str, text: str) -> None:
        """Wait until a container wrote this."""
        wait_until(lambda: text in self("logs", name).stdout, lambda: self("logs", name).stdout)
