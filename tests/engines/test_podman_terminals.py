"""At a terminal: what is typed, what is drawn, the size of the window, and Ctrl-C."""

from __future__ import annotations

from tests.engines.images import BUSYBOX
from tests.engines.podman import Podman
from tests.engines.programs import SHELL, converse


def test_run(podman: Podman) -> None:
    with podman.at_terminal("run", "-it", "--rm", BUSYBOX, *SHELL) as session:
        converse(session)


def test_exec(podman: Podman, named: str) -> None:
    podman.start(named, "sleep", "1000")
    with podman.at_terminal("exec", "-it", named, *SHELL) as session:
        converse(session)
    podman("rm", "--force", "--time", "0", named)


def test_attach(podman: Podman, named: str) -> None:
    podman.start(named, *SHELL, options=("--tty", "--interactive"))
    podman.logs_have(named, "ready")
    with podman.at_terminal("attach", named) as session:
        session.type("tty; exit 5\r")
        session.until("/dev/pts/0")
        session.end()
    assert podman.says("wait", named) == "5"
    podman("rm", named)
