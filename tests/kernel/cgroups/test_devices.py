"""Devices that a cgroup allows and denies."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from libcontainer_py import cgroups
from libcontainer_py.cgroups import Mode
from libcontainer_py.cgroups.devices import DeviceRule, with_defaults
from libcontainer_py.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py.cgroups import Cgroup


# opens each argument for reading and tells how that went
OPEN = """
for path in ("/dev/null", "/dev/zero", "/dev/kmsg"):
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        print(path, "opened", flush=True)
    except OSError as error:
        print(path, error.strerror, flush=True)
signal.pause()
"""
DENY_ALL = DeviceRule(allow=False)


def opened_in(cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]]) -> set[str]:
    process = join(cgroup, OPEN)
    assert process.stdout is not None
    found = {process.stdout.readline().strip() for _ in range(3)}
    cgroup.kill()
    return found


def test_devices_are_denied_and_allowed(
    cgroup: Cgroup, join: Callable[..., subprocess.Popen[str]], descriptors: Callable[[], set[str]]
) -> None:
    refused = "/dev/kmsg Operation not permitted"
    before = descriptors()
    cgroup.set_devices(with_defaults([DENY_ALL]))
    assert descriptors() == before
    assert opened_in(cgroup, join) == {"/dev/null opened", "/dev/zero opened", refused}
    # once more, and with one device more: the old program must not stay beside the new one
    cgroup.set_devices(with_defaults([DENY_ALL, DeviceRule(allow=True, type="c", major=1, minor=11, access="r")]))
    assert opened_in(cgroup, join) == {"/dev/null opened", "/dev/zero opened", "/dev/kmsg opened"}
    cgroup.set_devices([DENY_ALL, DeviceRule(allow=True, type="c", major=1, minor=5)])
    assert opened_in(cgroup, join) == {"/dev/null Operation not permitted", "/dev/zero opened", refused}
    cgroup.set_devices([DeviceRule(allow=True)])
    assert opened_in(cgroup, join) == {"/dev/null opened", "/dev/zero opened", "/dev/kmsg opened"}


def test_the_kernel_takes_every_shape_of_program(cgroup: Cgroup) -> None:
    """The verifier looks at each; numbers beyond 31 bits and rules for both types are among them."""
    if "" not in cgroup.paths:
        pytest.skip("needs cgroup v2, beside v1 or alone")
    v2 = cgroups.from_paths({"": cgroup.paths[""]})
    try:
        v2.set_devices([])
    except CgroupError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS):
            pytest.skip("needs a kernel with CONFIG_CGROUP_BPF")
        raise
    v2.set_devices(
        DeviceRule(allow, kind, major, minor, access)
        for allow in (True, False)
        for kind in "abc"
        for major in (None, 0, 2**31, 2**32 - 1)
        for minor in (None, 7)
        for access in ("r", "wm", "rwm")
        if not (kind == "a" and major is None and minor is None)
    )


def test_several_programs_are_replaced_by_one(cgroup: Cgroup) -> None:
    """As systemd leaves them behind."""
    if "" not in cgroup.paths:
        pytest.skip("needs cgroup v2, beside v1 or alone")
    from libcontainer_py.cgroups import devicefilter
    from libcontainer_py.kernel import bpf

    directory = os.open(cgroup.paths[""], os.O_RDONLY)
    try:
        try:
            assert bpf.prog_query(directory, bpf.CGROUP_DEVICE) == []
        except OSError:
            pytest.skip("needs a kernel with CONFIG_CGROUP_BPF")
        for minor in (1, 2, 3):
            code = devicefilter.program([DeviceRule(allow=True, minor=minor)])
            program = bpf.prog_load(bpf.PROG_TYPE_CGROUP_DEVICE, code)
            bpf.prog_attach(directory, program, bpf.CGROUP_DEVICE, bpf.F_ALLOW_MULTI)
            os.close(program)
        old = bpf.prog_query(directory, bpf.CGROUP_DEVICE)
        assert len(old) == 3
        cgroups.from_paths({"": cgroup.paths[""]}).set_devices([DENY_ALL])
        new = bpf.prog_query(directory, bpf.CGROUP_DEVICE)
        assert len(new) == 1
        assert new[0] not in old
        cgroups.from_paths({"": cgroup.paths[""]}).set_devices([DENY_ALL])
        assert len(bpf.prog_query(directory, bpf.CGROUP_DEVICE)) == 1
    finally:
        os.close(directory)


def test_rules_that_v1_cannot_express_are_refused(cgroup: Cgroup) -> None:
    if cgroups.detect() is Mode.V2:
        pytest.skip("needs cgroup v1: v2 can express all rules")
    before = Path(cgroup.paths["devices"], "devices.list").read_text()
    hole = [DENY_ALL, DeviceRule(allow=True, type="c", major=1), DeviceRule(allow=False, type="c", major=1, minor=3)]
    with pytest.raises(CgroupError, match="out of") as caught:
        cgroup.set_devices(hole)
    assert caught.value.errno == errno.EINVAL
    assert caught.value.hint
    assert Path(cgroup.paths["devices"], "devices.list").read_text() == before


@pytest.mark.parametrize("cgroups_path", ["/{group}/c1", "{group}/c1", "../../{group}/c1", None])
def test_paths_and_device_list_are_runcs(
    peer: Callable[[str], str], tmp_path: Path, group: str, cgroups_path: str | None
) -> None:
    runc = peer("runc")
    container_id = group.strip("/")
    wanted = None if cgroups_path is None else cgroups_path.format(group=container_id)
    subprocess.run([runc, "spec"], cwd=tmp_path, check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["process"].update(terminal=False, args=["/bin/sleep", "60"])
    config["root"] = {"path": "rootfs"}
    for name in ("bin", "lib", "lib64", "usr"):
        if os.path.isdir(f"/{name}"):
            bind = {
                "destination": f"/{name}",
                "source": os.path.realpath(f"/{name}"),
                "type": "bind",
                "options": ["rbind", "ro"],
            }
            config["mounts"].append(bind)
    if wanted is not None:
        config["linux"]["cgroupsPath"] = wanted
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "rootfs").mkdir()
    root = ["--root", str(tmp_path / "state")]
    # to a file: the container keeps what it has as standard error open
    with (tmp_path / "stderr").open("w+") as stderr:
        command = [runc, *root, "create", "-b", str(tmp_path), container_id]
        made = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
    if made.returncode:
        pytest.skip(f"needs a runc that runs here: {(tmp_path / 'stderr').read_text().strip()[-200:]}")
    try:
        theirs = json.loads((tmp_path / "state" / container_id / "state.json").read_text())["cgroup_paths"]
        # without one runc takes the id as a relative path; we have a parent of our own for those
        ours = cgroups.for_container(wanted or container_id, container_id)
        assert ours.paths == theirs
        if "devices" in theirs:
            of_runc = Path(theirs["devices"], "devices.list").read_text()
    finally:
        subprocess.run([runc, *root, "delete", "-f", container_id], check=True)
    created = ours.create()
    try:
        ours.set_devices(with_defaults([DENY_ALL]))
        if "devices" in theirs:
            assert Path(ours.paths["devices"], "devices.list").read_text() == of_runc
    finally:
        ours.remove(created)
