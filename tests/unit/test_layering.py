"""Who may import whom. The table is the design; change it only together with the reason, in the same commit.

Read from the source, so that an import inside of a function counts too; one under `if TYPE_CHECKING:` does not.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[2] / "libcontainer_py"
ROOT = "libcontainer_py"

VERBS = "lifecycle spec streams backends.base errors"
BELOW = "lifecycle spec kernel kernel.constants init.messages errors"

# A room is a module, or a package with all that has no row of its own. Each may import itself, and what stands here.
MAY_IMPORT = {
    "record": "",  # plain values; every room may import it
    "errors": "",
    "stats": "",
    "memo": "",
    "plain": "",  # of typing what is asked for at run time, without typing
    "lightjson": "",
    "jsontext": "memo",
    "kernel.constants": "",
    "init.messages": "",
    "waiting": "",  # what a verb waits for, told apart from how
    "lifecycle": "errors",
    "streams": "errors",
    "kernel": "kernel.constants",
    "spec": "lifecycle kernel.constants errors",  # rules name the words of the kernel
    "plan": "spec kernel.constants init.messages errors",
    "plan.default_seccomp": "spec",
    "hooks": "spec errors",
    # init.messages: what exec.fifo carries
    "state": "lifecycle spec kernel kernel.constants init.messages waiting errors",
    "cgroups": "kernel kernel.constants spec stats errors",
    "init": "kernel kernel.constants init.messages",
    "init.forkserver": "init kernel kernel.constants init.messages",
    "backends": "",
    "backends.base": "lifecycle spec errors",
    "backends.procedures": "backends.base lifecycle spec waiting errors",
    "backends.changes": "backends.base",
    "backends.memory": "backends.base backends.changes backends.procedures lifecycle spec stats waiting errors",
    # the fork servers, the children they make, and one of those on its way
    "backends.children": "init.messages kernel",
    # init.forkserver: a process with one thread forks it, and so saves one execution
    "backends.forkservers": "backends.children init.messages init.forkserver kernel errors",
    "backends.launcher": "backends.children backends.forkservers init.messages kernel errors",
    # what backends.linux is made of: a configuration made ready, what it needs of the host, an init being born, and a
    # further process
    "backends.demands": "plan cgroups spec kernel kernel.constants errors",
    "backends.netdevices": "kernel kernel.constants errors",
    "backends.preparation": f"backends.base plan cgroups {BELOW}",
    "backends.idmapping": "backends.children backends.launcher kernel kernel.constants errors",
    "backends.streams": "backends.base init.messages kernel kernel.constants",
    "backends.birth": (
        "backends.base backends.children backends.forkservers backends.launcher backends.idmapping backends.netdevices "
        f"backends.preparation backends.streams state cgroups {BELOW}"
    ),
    "backends.spawning": (
        f"backends.base backends.children backends.launcher backends.preparation backends.streams plan cgroups state "
        f"{BELOW}"
    ),
    "backends.watching": "backends.base backends.changes cgroups kernel errors",
    "backends.linux": (
        "waiting backends.base backends.procedures backends.children backends.forkservers backends.demands "
        f"backends.preparation backends.birth backends.spawning backends.watching plan hooks state cgroups {BELOW}"
    ),
    "pipes": "streams waiting",
    "pids": "errors",
    "terminal": "errors",  # of processes: our end, and who takes it
    "result": "errors",  # beside process, which must load no attrs
    "process": VERBS,
    "events": f"process {VERBS}",
    "command": "streams pipes result waiting backends.base errors",  # what the verbs that run a command share
    "spawned": "command process pipes streams waiting backends.base errors",
    "further": f"command pids pipes spawned terminal waiting {VERBS}",
    "container": f"waiting process events stats command further spawned pipes result {VERBS}",
    "factory": f"process pids pipes terminal container backends.linux {VERBS}",
    # backends.base: to ask for the reaper, which is no public option of create; kernel: what is mounted on the host
    "sandbox": (
        "factory container process pipes command result streams waiting spec plan.default_seccomp backends.base kernel "
        "errors"
    ),
    "aio": (
        f"factory container terminal events further spawned process pipes command result waiting sandbox stats {VERBS}"
    ),
    # state: where state directories are
    "doctor": "backends backends.forkservers state cgroups kernel kernel.constants errors",
    # spawned, events, result, stats: what the suite for backends gets from the verbs
    "testing": (
        "factory container process spawned events result stats doctor aio waiting sandbox state backends.procedures "
        f"backends.memory {VERBS}"
    ),
    # the public modules too; kernel: `run` is a subreaper, which is a trait of its process and of no container
    "cli": f"{ROOT} spec lifecycle kernel kernel.constants",
    "__main__": "cli",
    ROOT: "",
}
EVERYBODY = {"record", "memo", "jsontext", "plain", "lightjson"}

PURE = {"spec", "plan", "lifecycle", "streams", "record", "errors", "stats", "kernel.constants", "init.messages"}
IMPURE = {"os", "ctypes", "subprocess", "socket", "fcntl", "signal", "tempfile"}

# What is neither ours nor Python's, and who may import it.
DEPENDENCIES = {"attr", "attrs", "typing_extensions"}
OF_TESTING = {"hypothesis", "pytest"}


class Import(NamedTuple):
    module: str
    """Who imports, without the package's name: `kernel.libc`."""
    line: int
    target: str
    """What: `kernel.process`, or `os`."""
    ours: bool


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or ROOT


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str | None:
    """The row for a module: its own, or that of the nearest package above."""
    while module not in MAY_IMPORT:
        module, dot, _ = module.rpartition(".")
        if not dot:
            return None
    return module


def walk(node: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """All imports that can happen at run time."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [node]
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        children = [*node.orelse]
    return [found for child in children for found in walk(child)]


def targets(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules that a statement names, absolute."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert not node.level, f"line {node.lineno}: relative imports hide who is imported"
    assert node.module is not None
    # `from libcontainer_py.kernel import libc` imports libcontainer_py.kernel.libc
    inner = [f"{node.module}.{alias.name}" for alias in node.names]
    return [name if name.removeprefix(f"{ROOT}.") in MODULES else node.module for name in inner]


def imports_in(module: str, source: str) -> list[Import]:
    return [
        Import(module, node.lineno, target.removeprefix(f"{ROOT}.") if ours else target, ours)
        for node in walk(ast.parse(source))
        for target in targets(node)
        for ours in [target.partition(".")[0] == ROOT]
    ]


IMPORTS = [found for module, path in MODULES.items() for found in imports_in(module, path.read_text(encoding="utf-8"))]


def wrong(imports: list[Import]) -> list[str]:
    """What breaks the table."""
    return [
        f"{one.module}:{one.line} imports {one.target}: the room {mine} may import {MAY_IMPORT[mine] or 'nothing'}"
        for one in imports
        if one.ours and (mine := room_of(one.module)) is not None
        for theirs in [room_of(one.target)]
        if theirs != mine and theirs not in EVERYBODY and theirs not in MAY_IMPORT[mine].split()
    ]


def test_every_module_has_a_row() -> None:
    assert [module for module in MODULES if room_of(module) is None] == []


def test_nobody_imports_upwards() -> None:
    assert wrong(IMPORTS) == []


def test_the_table_has_no_circle() -> None:
    left = {room: set(others.split()) - {room} for room, others in MAY_IMPORT.items()}
    while free := {room for room, others in left.items() if not others & left.keys()}:
        left = {room: others for room, others in left.items() if room not in free}
    assert left == {}


def test_the_table_names_rooms_alone() -> None:
    assert {other for others in MAY_IMPORT.values() for other in others.split()} <= MAY_IMPORT.keys()


def test_pure_rooms_touch_no_system() -> None:
    found = [one for one in IMPORTS if room_of(one.module) in PURE and one.target.partition(".")[0] in IMPURE]
    assert found == []


def test_dependencies() -> None:
    foreign = [one for one in IMPORTS if not one.ours and one.target.partition(".")[0] not in sys.stdlib_module_names]
    assert [
        one
        for one in foreign
        if one.target.partition(".")[0] not in DEPENDENCIES
        and not (room_of(one.module) == "testing" and one.target.partition(".")[0] in OF_TESTING)
    ] == []


@pytest.mark.parametrize(
    ("module", "source", "complaints"),
    [
        ("kernel.libc", "from libcontainer_py import errors", 1),
        ("kernel.libc", "from libcontainer_py.kernel import constants", 0),
        ("kernel.libc", "def f():\n    import libcontainer_py.errors", 1),
        ("spec.config", "import libcontainer_py", 1),
        ("spec.config", "if TYPE_CHECKING:\n    from libcontainer_py.factory import Factory", 0),
        ("spec.config", "if TYPE_CHECKING:\n    pass\nelse:\n    from libcontainer_py.factory import Factory", 1),
        ("lifecycle", "from libcontainer_py.record import Record", 0),
        ("state.fifo", "from libcontainer_py.init import messages, executor", 1),
    ],
)
def test_the_check_sees(module: str, source: str, complaints: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("init", "init.messages", "init.executor", "kernel.constants", "errors"):
        monkeypatch.setitem(MODULES, name, PACKAGE)  # also before the room is built
    assert len(wrong(imports_in(module, source))) == complaints
