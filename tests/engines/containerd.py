"""containerd with stores and sockets of its own, configured as docs/engines/kubernetes.md says."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engines.images import BUSYBOX, PAUSE
from tests.engines.pages import configuration
from tests.engines.programs import PATH, Daemon, Done, Program, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# What a test adds: nothing of it is shared with another containerd, and this machine has neither CNI nor a registry.
OURS = """
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]

[grpc]
address = "{folder}/sock"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_apparmor = true
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true

[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = "{folder}/cni"
"""

NAMESPACE = "lcpy-engines"


class Containerd(Daemon):
    """The daemon."""

    def __init__(self, folder: Path, runtime: str) -> None:
        self.socket = folder / "sock"
        root, _, tables = OURS.format(folder=folder, pause=PAUSE).partition("\n\n")
        text = f"{root}\n{configuration('kubernetes.md', 'toml', runtime)}\n{tables}"
        (folder / "config.toml").write_text(text)
        super().__init__(
            ["containerd", "--config", str(folder / "config.toml")], folder / "log", {"PATH": PATH, "HOME": "/root"}
        )
        client = self.client(runtime)
        self.wait_for(lambda: self.socket.exists() and client("version", check=False).returncode == 0)

    def client(self, runtime: str, namespace: str = NAMESPACE) -> Ctr:
        """ctr, in that namespace."""
        return Ctr(self, runtime, namespace)


class Ctr(Program):
    """ctr."""

    def __init__(self, daemon: Containerd, runtime: str, namespace: str) -> None:
        folder = daemon.socket.parent
        self.root = folder / "runtime"
        self._choice = ("--runc-binary", runtime, "--runc-root", str(self.root), "--fifo-dir", str(folder / "fifo"))
        super().__init__(["ctr", "--address", str(daemon.socket), "--namespace", namespace], folder, {})

    def load(self, archive: Path) -> None:
        """Import the images, under the names that they have in the archive."""
        self("image", "import", str(archive))

    def run(self, name: str, *words: str, options: Sequence[str] = (), check: bool = True, given: str = "") -> Done:
        """`ctr run --rm` in the foreground."""
        return self("run", "--rm", *self._choice, *options, BUSYBOX, name, *words, check=check, given=given)

    def start(self, name: str, *words: str, options: Sequence[str] = ()) -> int:
        """`ctr run --detach`; the pid of init."""
        self("run", "--detach", "--null-io", *self._choice, *options, BUSYBOX, name, *words)
        return self.tasks()[name][0]

    def at_terminal_run(self, name: str, *words: str) -> Session:
        """`ctr run --rm --tty`."""
        return self.at_terminal("run", "--rm", "--tty", *self._choice, BUSYBOX, name, *words)

    def exec(self, name: str, *words: str, check: bool = True, given: str = "") -> Done:
        """`ctr task exec`."""
        options = ("--fifo-dir", str(self.folder / "fifo"), "--exec-id", "one")
        return self("task", "exec", *options, name, *words, check=check, given=given)

    def tasks(self) -> dict[str, tuple[int, str]]:
        """Pid and status of each task."""
        lines = [line.split() for line in self.says("task", "list").splitlines()[1:]]
        return {name: (int(pid), status) for name, pid, status in lines}

    def metrics(self, name: str) -> dict[str, object]:
        """What `ctr task metrics` says of a task: by controller, as on cgroup v1 or v2."""
        found = json.loads(self.says("task", "metrics", "--format", "json", name))
        assert isinstance(found, dict)
        return found

    def remove(self, name: str) -> None:
        """Kill a task and remove it with its container."""
        self("task", "delete", "--force", name, check=False)
        self("container", "delete", name, check=False)
