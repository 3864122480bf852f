"""What all tests share: nothing may be left behind, and a skip says what is missing.

Fixtures for containers are in the conftest.py of the directories that make some.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import hypothesis
import pytest

from tests.leaks import Ledger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
CHECKOUT = HERE.parent
IN_CI = os.environ.get("CI") == "true"

# Directories whose tests make containers: each test is looked after, and may not skip for just any reason in CI.
# Engines keep mounts and cgroups from one test to the next: after them the whole run is looked after.
GUARDED = {"kernel", "interop", "cli"}
NO_STRAY_SKIPS = {"kernel", "interop", "engines"}

# Alone on the machine everything new counts as left behind; else only what is known to be ours.
ledger = Ledger(strict=os.environ.get("LIBCONTAINER_PY_TESTS_ALONE") == "1")
ledger.is_server = lambda command: "forkserver" in command

# Containers take their time, on a busy machine more; so no deadline for one example. CI must say the same of the same
# commit, and explores nothing: that is for the runs by hand.
hypothesis.settings.register_profile("by hand", deadline=None, print_blob=True)
hypothesis.settings.register_profile("gate", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.load_profile("gate" if IN_CI else "by hand")


def pytest_configure(config: pytest.Config) -> None:
    """Let the Pythons that tests start import the checkout too, wherever they start."""
    del config
    rest = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{CHECKOUT}{os.pathsep}{rest}" if rest else str(CHECKOUT)
    ledger.watch()


def directory_of(path: Path) -> str:
    """The directory under tests/ that a test is in: `kernel` for tests/kernel/test_x.py."""
    return path.relative_to(HERE).parts[0] if path.is_relative_to(HERE) else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each test has the marker of its directory."""
    known = {line.partition(":")[0] for line in config.getini("markers")}
    for item in items:
        directory = directory_of(item.path)
        if directory in known:
            item.add_marker(directory)


# -- nothing is left behind -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_at_the_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compare processes, mounts, cgroups, state directories and descriptors before and after the whole run."""
    import libcontainer_py

    assert Path(libcontainer_py.__file__).is_relative_to(CHECKOUT), "tests are for the checkout"
    ledger.folder = str(tmp_path_factory.getbasetemp())
    before = ledger.snapshot()
    yield
    forkservers = sys.modules.get("libcontainer_py.backends.forkservers")
    if forkservers is not None:
        forkservers.shutdown()
    leaked = ledger.leaked(before, grace=10, servers=False)
    if leaked:
        pytest.fail("the tests left behind:\n  " + "\n  ".join(leaked), pytrace=False)


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """The same for each test that makes containers, so that it is known which one it was."""
    if directory_of(request.path) not in GUARDED:
        yield
        return
    before = ledger.snapshot()
    yield
    leaked = ledger.leaked(before, grace=5, servers=True)
    if leaked:
        pytest.fail("the test left behind:\n  " + "\n  ".join(leaked), pytrace=False)


# -- what a test needs ------------------------------------------------------------------------------------------------


@pytest.fixture
def root_only() -> None:
    """Skip for an ordinary user."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root")


# where they come from, for the reader of a skip
PACKAGES = {
    "apparmor_parser": "apparmor",
    "bwrap": "bubblewrap",
    "busybox": "busybox-static",
    "ip": "iproute2",
    "newuidmap": "uidmap",
}


@pytest.fixture
def peer() -> Callable[[str], str]:
    """`peer("runc")` is the path of that program; without it the test skips and says what to install."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            pytest.skip(f"{program} is missing: apt-get install {PACKAGES.get(program, program)}")
        return path

    return find


# -- in CI nothing is skipped without anybody knowing -----------------------------------------------------------------

strays: list[str] = []


def allowed_skips() -> list[re.Pattern[str]]:
    """The reasons of tests/allowed-skips.txt."""
    lines = (HERE / "allowed-skips.txt").read_text(encoding="utf-8").splitlines()
    return [re.compile(line) for line in lines if line and not line.startswith("#")]


def note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Remember a skip that may not happen in CI."""
    if not (IN_CI and report.skipped and hasattr(os, "geteuid") and os.geteuid() == 0) or hasattr(report, "wasxfail"):
        return
    if directory_of(CHECKOUT / report.nodeid.partition("::")[0]) not in NO_STRAY_SKIPS:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not any(pattern.search(reason) for pattern in allowed_skips()):
        strays.append(f"{report.nodeid}: {reason}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    note_skip(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if strays and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if strays:
        terminalreporter.section("skips that tests/allowed-skips.txt does not allow in CI", red=True)
        for stray in strays:
            terminalreporter.line(stray)
