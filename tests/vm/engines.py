"""What runs a machine: user-mode-linux, or qemu without hardware support (tcg)."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Protocol

import initrd
from packages import Cache, PackageError, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from job import Job


class Engine(Protocol):
    """A way to run a Linux kernel whose root is this host's."""

    console_is_stdout: bool
    """Whether the console is the program's standard output; else it writes the job's file itself."""

    def install(self) -> None:
        """Get what it takes. Raises PackageError."""
        ...

    def command(self, job: Job, parameters: Sequence[str]) -> list[str]:
        """The command line, with further kernel parameters."""
        ...

    def outputs(self, job: Job) -> list[tuple[int, int]]:
        """Descriptors to read the command's output and errors from, and where each goes."""
        ...


class UserModeLinux:
    """A Linux kernel that is a process of this host. Debian's 6.1: one processor; no cpuset, hugetlb or PSI."""

    console_is_stdout = True

    def __init__(self, cache: Cache, *, memory: int, processors: int) -> None:
        del processors
        self.cache = cache
        self.memory = memory

    def install(self) -> None:
        self.cache.install("user-mode-linux")
        self.cache.install("busybox-static")
        self.cache.install("apparmor")  # for the tests that load profiles

    def command(self, job: Job, parameters: Sequence[str]) -> list[str]:
        package = self.cache.package("user-mode-linux")
        init = job.write_init(str(self.cache.package("busybox-static") / "bin/busybox"))
        return [
            # its memory is a file in TMPDIR; while it runs it keeps a directory in HOME
            *("env", f"TMPDIR={_memory_directory(self.memory)}", f"HOME={job.folder}"),
            *(str(package / "usr/bin/linux.uml"), f"mem={self.memory}M"),
            *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "loglevel=4", "panic=-1"),
            *("con=null", "con0=null,fd:1", f"init={init}"),
            *(f"vm.modules={package}/usr/lib/uml/modules", f"vm.job={job.folder}", *parameters),
        ]

    def outputs(self, job: Job) -> list[tuple[int, int]]:
        # the guest appends to these files through hostfs
        pairs = (("stdout", sys.stdout), ("stderr", sys.stderr))
        return [(os.open(job.folder / name, os.O_RDONLY), stream.fileno()) for name, stream in pairs]


class Qemu:
    """An emulated machine with a kernel of Debian: everything that Linux has, at a tenth of the speed."""

    console_is_stdout = False

    def __init__(self, cache: Cache, *, memory: int, processors: int) -> None:
        self.cache = cache
        self.memory = memory
        self.processors = processors
        self.folder = cache.folder / "qemu"

    def install(self) -> None:
        for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("/usr/sbin/modprobe", "kmod")):
            if shutil.which(program) is None:
                raise PackageError(f"{program} is missing: apt-get install {package}")
        if not (self.folder / "initrd").exists():
            busybox = self.cache.install("busybox-static") / "bin/busybox"
            kernel = self.cache.install(resolve("linux-image-amd64"))
            initrd.build(kernel, busybox, self.folder)

    def command(self, job: Job, parameters: Sequence[str]) -> list[str]:
        modules = (self.folder / "modules").read_text().strip()
        append = [
            *("console=ttyS0", "quiet", "loglevel=4", "panic=-1", "mitigations=off", "no_timer_check", "tsc=reliable"),
            *("random.trust_cpu=on", "cgroup_no_v1=all", f"vm.modules={modules}", *parameters),
        ]
        init = job.write_init("/bin/busybox")
        own = job.folder / "initrd"
        own.write_bytes((self.folder / "initrd").read_bytes() + initrd.archive([("init", 0o100755, init.read_bytes())]))
        command = [
            *(
                "qemu-system-x86_64",
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
                "-machine",
                "pc",
            ),
            *("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off"),
            *("-smp", str(self.processors), "-m", str(self.memory)),
            *("-kernel", str(self.folder / "vmlinuz"), "-initrd", str(own), "-append", " ".join(append)),
            *("-serial", f"file:{job.folder}/console", "-device", "virtio-serial-pci"),
            *("-fsdev", f"local,id=job,path={job.folder},security_model=passthrough"),
            *("-device", "virtio-9p-pci,fsdev=job,mount_tag=job"),
            *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
            *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
        ]
        for name in ("stdout", "stderr"):
            command += ["-chardev", f"file,id={name},path={job.folder}/{name}.port"]
            command += ["-device", f"virtserialport,chardev={name},name={name}"]
        return command

    def outputs(self, job: Job) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
            port = job.folder / f"{name}.port"
            port.touch()
            found.append((os.open(port, os.O_RDONLY), stream.fileno()))
        return found


ENGINES: dict[str, type[UserModeLinux | Qemu]] = {"uml": UserModeLinux, "tcg": Qemu}


def _memory_directory(mebibytes: int) -> str:
    """/dev/shm where the machine's memory fits there, else /tmp."""
    shared = Path("/dev/shm")
    if not shared.is_mount():
        return "/tmp"
    free = os.statvfs(shared)
    return str(shared) if free.f_bavail * free.f_frsize > mebibytes << 20 else "/tmp"
