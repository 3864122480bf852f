"""podman with stores of its own, configured as docs/engines/podman.md says."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.engines.images import BUSYBOX
from tests.engines.pages import configuration
from tests.engines.programs import Done, Program, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/root"
runroot = "{folder}/run"
"""

# What a test adds: nothing of it is shared with another podman, and this machine has neither systemd nor a registry.
OURS = """
tmp_dir = "{folder}/tmp"
volume_path = "{folder}/volumes"
lock_type = "file"
cgroup_manager = "cgroupfs"
events_logger = "file"
infra_image = "localhost/pause:1"
infra_command = "/bin/sleep"
"""
CONTAINERS = """
[containers]
log_driver = "k8s-file"
netns = "none"
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
"""


class Podman(Program):
    """podman. Its containers are removed at the end, whatever became of the tests."""

    def __init__(self, folder: Path, runtime: str, *, before: Sequence[str] = (), **environment: str) -> None:
        (folder / "storage.conf").write_text(STORAGE.format(folder=folder))
        lines = configuration("podman.md", "toml", runtime)
        engine, rest = lines.split("[engine.runtimes]")
        text = f"{engine}{OURS.format(folder=folder)}\n[engine.runtimes]{rest}{CONTAINERS}"
        (folder / "containers.conf").write_text(text)
        super().__init__(
            [*before, "podman"],
            folder,
            {
                "CONTAINERS_CONF": str(folder / "containers.conf"),
                "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
                **environment,
            },
        )

    def begin(self, archive: Path) -> None:
        """Load the images, and let podman make what it makes once."""
        self("load", "--quiet", "--input", str(archive))
        self("run", "--rm", BUSYBOX, "true")

    def end(self) -> None:
        """Remove all."""
        self("pod", "rm", "--all", "--force", "--time", "0", check=False)
        self("rm", "--all", "--force", "--time", "0", check=False)

    def run(self, *words: str, check: bool = True, given: str = "") -> Done:
        """`podman run --rm` in the foreground."""
        return self("run", "--rm", *words, check=check, given=given)

    def start(self, name: str, *words: str, options: Sequence[str] = ()) -> str:
        """`podman run --detach` of a container that runs these words; its name."""
        self("run", "--detach", "--name", name, *options, BUSYBOX, *words)
        return name

    def inspect(self, name: str) -> dict[str, Any]:
        """`podman inspect` of a container."""
        (found,) = json.loads(self.says("container", "inspect", name))
        assert isinstance(found, dict)
        return found

    def status(self, name: str) -> str:
        """The status that podman believes."""
        return self.says("container", "inspect", "--format", "{{.State.Status}}", name)

    def pid(self, name: str) -> int:
        """The pid of its init on the host."""
        return int(self.says("container", "inspect", "--format", "{{.State.Pid}}", name))

    def logs_have(self, name: str, text: str) -> None:
        """Wait until a container wrote this."""
        wait_until(lambda: text in self("logs", name).stdout, lambda: self("logs", name).stdout)


AS_USER = """
mount --bind "$1" /etc/subuid
mount --bind "$1" /etc/subgid
shift
exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups -- "$@"
"""
"""The files that say what ids are whose are the machine's: the user gets a view of /etc with others."""


class RootlessPodman(Podman):
    """podman of an ordinary user's, who has a range of ids, and everything in a directory of his own."""

    def __init__(self, folder: Path, runtime: str, user: int) -> None:
        line = f"{user}:300000:65536\n"
        (folder / "ids").write_text(line)
        before = ("unshare", "--mount", "sh", "-euc", AS_USER, "sh", str(folder / "ids"))
        for name in ("home", "run"):
            (folder / name).mkdir(mode=0o700)
        environment = {"HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder / "run"), "USER_ID": str(user)}
        super().__init__(folder, runtime, before=before, **environment)
        for path in (folder, *folder.iterdir()):
            os.chown(path, user, user)

    def end(self) -> None:
        """Remove all, also the process that keeps the user's namespaces."""
        super().end()
        self("system", "migrate")


def cgroup_of(pid: int, controller: str) -> Path:
    """The directory of a process's cgroup: of that controller on v1, else the one of v2."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}")
    line = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    return Path(f"/sys/fs/cgroup{line[3:]}")


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    return os.path.exists(f"/proc/{pid}")
