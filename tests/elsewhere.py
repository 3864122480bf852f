"""A plugin that makes this system look like another.

    LIBCONTAINER_PY_TESTS_ELSEWHERE=darwin pytest -p tests.elsewhere tests/unit tests/property

`fcntl`, `resource`, `termios`, `grp` and `pwd` cannot be imported, `ctypes.CDLL` and `PyDLL` raise, and
`sys.platform` is the other one's. That happens when the modules of Python, pytest and Hypothesis are loaded, which look
at the platform for themselves, and before any of ours is.

What a test does with this system's own tools it cannot do there: such a test is passed over, and a list here says why.
"""

from __future__ import annotations

import importlib
import os
import sys

import pytest

BLOCKED = ("fcntl", "resource", "termios", "grp", "pwd")
LOADED_BEFORE = (
    *("asyncio", "ctypes", "multiprocessing", "subprocess", "pty", "tty", "shutil", "tarfile", "tempfile", "socket"),
    *(
        "select",
        "selectors",
        "concurrent.futures",
        "pathlib",
        "importlib.metadata",
        "hypothesis",
        "hypothesis.stateful",
    ),
    *("attrs", "typing_extensions", "sqlite3", "zipfile", "getpass", "uuid", "platform", "cProfile", "mimetypes"),
)
LOCKS = "a state directory is locked by fcntl, and used on Linux alone"
TERMINALS = "the size of a terminal is set through termios"
NOT_THERE = {
    "unit/state/test_directory.py": LOCKS,
    "unit/state/test_lock.py": LOCKS,
    "unit/state/test_root.py::test_the_root_is_made_for_its_owner_alone": LOCKS,
    "unit/state/test_root.py::test_any_umask_leaves_it_usable": LOCKS,
    "unit/test_terminal.py::test_its_size": TERMINALS,
    "unit/test_terminal.py::test_closed": TERMINALS,
    "unit/test_terminal.py::test_a_container_in_memory_has_one": TERMINALS,
    "property/test_lifecycle_machine.py::test_the_machine_finds": "what the machine finds is the same everywhere",
    "property/test_strategies.py": "what is drawn is the same everywhere",
    "unit/test_packaging.py": "pip and build run in Python's own processes, whatever is patched here",
}
"""Tests of what no other system has, by the beginnings of their names, and why."""


def _refuse(name: object = None, *_args: object, **_kwargs: object) -> None:
    raise OSError(f"{name}: no shared library is loaded elsewhere")


def become(platform: str) -> None:
    """Look like that system from now on."""
    for name in LOADED_BEFORE:
        importlib.import_module(name)
    ours = [name for name in sys.modules if name.partition(".")[0] == "libcontainer_py"]
    assert ours == [], f"loaded before: {ours}"
    import ctypes

    ctypes.CDLL = ctypes.PyDLL = _refuse  # type: ignore[assignment,misc]
    for name in BLOCKED:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way of saying that it cannot be imported
    sys.platform = platform


become(os.environ["LIBCONTAINER_PY_TESTS_ELSEWHERE"])  # now: a conftest imports some of ours


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pass over what no other system has."""
    for item in items:
        for name, reason in NOT_THERE.items():
            if item.nodeid.removeprefix("tests/").startswith(name):
                item.add_marker(pytest.mark.skip(reason=f"not on {sys.platform}: {reason}"))
