"""The kernel tests, once more, on cgroup v2: inside a virtual machine that has nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
sys.path.insert(0, str(HERE))
try:
    from packages import Cache
finally:
    sys.path.remove(str(HERE))


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """`pytest` alone downloads nothing: the gate installs, or whoever wants this."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs Linux")
    if os.environ.get("CI") and not os.environ.get("LIBCONTAINER_PY_TESTS_VM"):
        pytest.skip("a stage of its own")
    cache = Cache.default()
    if not all(cache.package(name).is_dir() for name in ("user-mode-linux", "busybox-static", "apparmor")):
        pytest.skip("user-mode-linux is missing: tests/vm/run --install")


_NAMES = (
    *("test_mounts", "test_escapes", "test_bundles", "test_config", "test_seccomp_filter", "test_terminals"),
    *("test_run", "test_sandbox", "test_aio", "test_processes", "test_lifetime", "test_readme"),
    *("test_handles", "test_hosts", "test_hooks", "test_net_devices", "test_doctor", "test_isolation", "test_resctrl"),
    *("test_suite", "test_examples", "test_passed_on"),
)
ALIKE = [f"tests/kernel/{name}.py" for name in _NAMES]
"""What versions of cgroups change little or nothing of; in the machine it takes long, and runs there with
LIBCONTAINER_PY_TESTS_VM=whole."""

DIFFERENTIAL = "tests/interop/test_limits_differential.py"
"""The files of cgroups, against those of runc: on v2 it writes others."""

WITH_APPARMOR = """
mount -t securityfs securityfs /sys/kernel/security
PATH=$1/sbin:$PATH
shift
exec "$@"
"""


def run(*command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, str(HERE / "run"), "--timeout", str(timeout), *command]
    return subprocess.run(arguments, cwd=CHECKOUT, capture_output=True, text=True)


def test_output_errors_and_exit_code_come_back(root_only: None, tmp_path: Path) -> None:
    script = "echo out; echo err >&2; echo kept > /job/output/file; touch /etc/lost; exit 7"
    done = run("--output", str(tmp_path / "output"), "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert (tmp_path / "output" / "file").read_text() == "kept\n"
    assert not Path("/etc/lost").exists()


def test_a_command_that_takes_too_long_is_ended(root_only: None) -> None:
    done = run("sh", "-c", "echo begun; sleep 600", timeout=20)
    assert done.returncode == 124
    assert done.stdout == "begun\n"
    assert "longer than 20 s" in done.stderr


def test_profiles_of_apparmor(root_only: None) -> None:
    """SELinux, which this kernel has by default, excludes it."""
    chosen = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "apparmor", "tests/kernel/test_labels.py"]
    kernel = ["--kernel", "security=apparmor", "--kernel", "apparmor=1"]
    command = ["sh", "-euc", WITH_APPARMOR, "sh", str(Cache.default().package("apparmor")), sys.executable, *chosen]
    done = run(*kernel, *command, timeout=120)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "2 passed" in done.stdout


@pytest.mark.slow
def test_systemd_is_pid_1(root_only: None) -> None:
    if not Path("/lib/systemd/systemd").exists():
        pytest.skip("systemd is missing: apt-get install systemd dbus")
    done = run("--systemd", "cat", "/proc/1/comm", "/proc/self/cgroup", timeout=120)
    assert done.stdout == "systemd\n0::/system.slice/vm-command.service\n", done.stderr


@pytest.mark.slow
def test_the_kernel_tests_pass_on_cgroup_v2(root_only: None) -> None:
    left_out = [] if os.environ.get("LIBCONTAINER_PY_TESTS_VM") == "whole" else [f"--ignore={path}" for path in ALIKE]
    chosen = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *left_out, "tests/kernel", DIFFERENTIAL]
    done = run(sys.executable, *chosen, timeout=2400)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_a_few_limits_with_all_controllers_and_processors(root_only: None) -> None:
    """What user-mode-linux lacks: cpuset, hugetlb, a second processor. By hand more of it: see README.md."""
    missing = [program for program in ("qemu-system-x86_64", "modprobe") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{missing[0]} is missing: apt-get install qemu-system-x86 kmod")
    chosen = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernel/cgroups/test_limits.py"]
    done = run("--engine", "tcg", sys.executable, *chosen, timeout=300)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "cpuset" not in done.stdout  # no test of it was skipped


@pytest.mark.slow
def test_containers_in_scopes_of_systemd(root_only: None) -> None:
    if not Path("/lib/systemd/systemd").exists():
        pytest.skip("systemd is missing: apt-get install systemd dbus")
    chosen = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernel/test_systemd.py"]
    done = run("--systemd", sys.executable, *chosen, timeout=900)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    skips = [line.rpartition(": ")[2] for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert skips == ["needs cgroup v1"]
