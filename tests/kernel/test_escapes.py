"""Ways out of a container that are known from other runtimes, each tried against this one.

A hostile root file system, or what runs in the container, tries to read, write or change something of the host's. How
the interpreter, descriptors and modules are protected is in test_isolation.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libcontainer_py import DEVNULL, CreateError
from tests.kernel.workshop import Config, Workshop, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def config() -> Config:
    return runc_spec()


# -- the host's devices -----------------------------------------------------------------------------------------------


@pytest.fixture
def null() -> Iterator[Path]:
    """The host's /dev/null, which is as it was at the end, whatever a container did to it."""
    path = Path("/dev/null")
    before = path.stat()
    yield path
    os.chmod(path, before.st_mode & 0o7777)
    os.chown(path, before.st_uid, before.st_gid)


@pytest.mark.parametrize("masked", ["/proc/keys", "/etc/secret"])
def test_what_masks_a_file_cannot_be_changed(workshop: Workshop, config: Config, null: Path, masked: str) -> None:
    before = null.stat()
    config["linux"]["maskedPaths"].append("/etc/secret")
    config["process"]["args"] = [
        "/bin/sh",
        "-c",
        f"chmod 667 {masked}; chown 1 {masked}; touch {masked}; echo >{masked} && cat {masked}",
    ]
    bundle = workshop.bundle(config)
    (bundle / "rootfs/etc/secret").write_text("secret\n")
    said = workshop.output(bundle).splitlines()
    assert [line.rpartition(": ")[2] for line in said] == ["Read-only file system"] * 3
    after = null.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)


@pytest.mark.parametrize("own", ["device", "missing", "another device", "symlink", "fifo", "nodev"])
def test_no_stream_leads_to_the_hosts_null_device(workshop: Workshop, config: Config, null: Path, own: str) -> None:
    before = null.stat()
    config["process"]["args"] = ["/bin/sh", "-c", "chmod 667 /proc/self/fd/0; chmod 667 /proc/self/fd/1; exit 7"]
    if own == "nodev":
        next(mount for mount in config["mounts"] if mount["destination"] == "/dev")["options"].append("nodev")
    elif own != "device":
        config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]
        config["mounts"].append({"destination": "/dev", "source": "dev", "options": ["bind"]})
    bundle = workshop.bundle(config)
    there = bundle / "dev/null"
    there.parent.mkdir()
    if own == "another device":
        os.mknod(there, 0o20666, os.makedev(1, 5))
    elif own == "symlink":
        there.symlink_to("/proc/self/exe")
    elif own == "fifo":
        os.mkfifo(there)
    with workshop.create(bundle, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as container:
        container.start()
        assert container.wait(60).returncode == 7
    after = null.stat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


def test_a_stream_that_may_not_be_opened_again_is_refused(workshop: Workshop, config: Config) -> None:
    config["linux"]["devices"] = [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3}]
    with pytest.raises(CreateError, match=r"/dev/null: a stream is the null device, but linux\.resources\.devices den"):
        workshop.create(config, stdin=DEVNULL)
    assert workshop.entries() == []
