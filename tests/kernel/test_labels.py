"""AppArmor profiles and SELinux labels: the container's program has them, or create refuses them and says why."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from libcontainer_py import ConfigError, CreateError
from tests.kernel.workshop import Workshop, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
HAS_APPARMOR = APPARMOR.exists() and APPARMOR.read_text().startswith("Y")
HAS_SELINUX = "selinuxfs" in Path("/proc/filesystems").read_text().split()

with_apparmor = pytest.mark.skipif(not HAS_APPARMOR, reason="needs AppArmor: the virtual machine has it")
with_selinux = pytest.mark.skipif(not HAS_SELINUX, reason="needs SELinux: the virtual machine has it")

PROFILE = """
profile {name} flags=(attach_disconnected) {{
  file,
  capability,
  network,
  mount,
  umount,
  pivot_root,
  signal,
  ptrace,
  deny /tmp/forbidden r,
}}
"""


@pytest.fixture
def profile(peer: Callable[[str], str], tmp_path: Path) -> Iterator[str]:
    """A profile that is loaded."""
    name = f"libcontainer_py-test-{os.getpid()}"
    file = tmp_path / "profile"
    file.write_text(PROFILE.format(name=name))
    parser = [peer("apparmor_parser"), "--skip-cache", "--quiet"]
    subprocess.run([*parser, "--replace", str(file)], check=True)
    yield name
    subprocess.run([*parser, "--remove", str(file)], check=True)


@with_apparmor
def test_an_apparmor_profile(workshop: Workshop, profile: str) -> None:
    config = runc_spec()
    config["process"]["apparmorProfile"] = profile
    config["root"]["readonly"] = False
    config["hooks"] = {
        "createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"! grep {profile} /proc/self/attr/current"]}],
        "startContainer": [
            {"path": "/bin/sh", "args": ["sh", "-c", f"busybox grep {profile} /proc/self/attr/current"]}
        ],
    }
    config["hooks"]["startContainer"][0]["env"] = ["PATH=/bin"]
    script = "echo x > /tmp/forbidden; cat /proc/self/attr/current; cat /tmp/forbidden 2>&1; echo $?"
    confined, denied, code = workshop.sh(config, script).splitlines()
    assert confined == f"{profile} (enforce)"
    assert (denied.endswith("Permission denied"), code) == (True, "1")


@with_apparmor
def test_an_apparmor_profile_that_is_not_loaded(workshop: Workshop) -> None:
    config = runc_spec()
    config["process"]["apparmorProfile"] = "libcontainer_py-no-such-profile"
    with pytest.raises(CreateError, match="libcontainer_py-no-such-profile") as caught:
        workshop.create(config)
    assert caught.value.step == "apparmor"
    assert "no such profile is loaded" in caught.value.hint
    assert workshop.entries() == []


@with_selinux
def test_a_selinux_label(workshop: Workshop) -> None:
    config = runc_spec()
    own = Path("/proc/self/attr/current").read_text().strip("\0\n")
    # before a policy is loaded there are the kernel's own labels alone
    label = "unlabeled" if own == "kernel" else own
    config["process"]["selinuxLabel"] = label
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/attr/current", "/proc/self/attr/exec"]
    assert workshop.output(config).strip("\0\n") == label
    assert Path("/proc/self/attr/current").read_text().strip("\0\n") == own


@pytest.mark.skipif(HAS_APPARMOR and HAS_SELINUX, reason="has both")
def test_without_the_security_module_they_are_refused_before_anything_is_made(workshop: Workshop) -> None:
    config = runc_spec()
    config["process"] |= {"apparmorProfile": "docker-default", "selinuxLabel": "system_u:system_r:container_t:s0"}
    wanted = {"process.apparmorProfile": HAS_APPARMOR, "process.selinuxLabel": HAS_SELINUX}
    with pytest.raises(ConfigError) as caught:
        workshop.create(config)
    assert [problem.path for problem in caught.value.problems] == [path for path, has in wanted.items() if not has]
    for problem in caught.value.problems:
        assert "this kernel has no " in problem.reason
        assert "leave it out" in problem.hint
    assert caught.value.source.endswith("/config.json")
    assert workshop.entries() == []


def test_empty_ones_are_none(workshop: Workshop) -> None:
    config = runc_spec()
    config["process"] |= {"apparmorProfile": "", "selinuxLabel": ""}
    with workshop.create(config) as container:
        assert "<- process.apparmorProfile" not in container.explain()
        assert "<- process.selinuxLabel" not in container.explain()
