"""One command for a machine: a directory that both the host and the guest see, the guest as /job.

command.sh   what the guest runs; it powers the machine off at the end
stdout, stderr   what the command writes (with qemu it comes through ports instead)
began, ended     the guest's uptime at these moments, seconds; before `began` is there nothing of the command has run
code         its exit code; appears last
output/      for the command to leave files in
units/, masked   with systemd: units to add, and names of units that shall not start
console      the console of the machine; engine: standard error of the program that runs it
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

HERE = Path(__file__).resolve().parent

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Output goes through pipes and cat, because a command that reopens /dev/stdout would start a plain file anew.
COMMAND = """\
#!/bin/sh
{exports}
cut -d" " -f1 /proc/uptime > /job/began
mkfifo /run/vm-stdout /run/vm-stderr
if [ -e /dev/vm-stdout ]; then to=/dev/vm-; else to=/job/; fi
cat /run/vm-stdout > ${{to}}stdout & out=$!
cat /run/vm-stderr > ${{to}}stderr & err=$!
(
    exec < /dev/null > /run/vm-stdout 2> /run/vm-stderr
    cd {directory} || exit
    {command}
)
echo $? > /job/code.new
# a process that the command left behind may keep the pipes open, so the end of file is no sure sign
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -d /proc/$out ] || [ -d /proc/$err ] || break
    sleep 0.1
done
cut -d" " -f1 /proc/uptime > /job/ended
mv /job/code.new /job/code
echo o > /proc/sysrq-trigger
while :; do :; done
"""

TARGET = """\
[Unit]
Requires=basic.target dbus.socket vm-command.service
After=basic.target
AllowIsolate=yes
"""

SERVICE = """\
[Unit]
Requires=dbus.socket
After=basic.target dbus.socket
FailureAction=poweroff-immediate
[Service]
Type=exec
ExecStart=/bin/sh /job/command.sh
StandardOutput=journal
Delegate=yes
TasksMax=infinity
OOMPolicy=continue
KillMode=process
"""

# What a machine for one command does not need, or what hangs in it: systemd-tmpfiles goes through all of a large /tmp,
# which takes minutes; udev waits for devices that never come.
MASKED = """
systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-tmpfiles-clean.service
systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service
systemd-udev-settle.service systemd-hwdb-update.service systemd-modules-load.service kmod-static-nodes.service
systemd-journal-flush.service systemd-random-seed.service systemd-update-utmp.service systemd-pstore.service
systemd-timesyncd.service systemd-firstboot.service systemd-sysusers.service systemd-machine-id-commit.service
systemd-binfmt.service systemd-remount-fs.service systemd-boot-system-token.service ldconfig.service
keyboard-setup.service console-setup.service e2scrub_reap.service dpkg-db-backup.service apparmor.service
networking.service podman.socket docker.socket dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount
sys-kernel-config.mount sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount timers.target paths.target
systemd-initctl.socket systemd-ask-password-console.path systemd-ask-password-wall.path
"""


class Job:
    """The directory, as a context manager that removes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def make(cls, command: Sequence[str], *, directory: str, environment: Iterable[str]) -> Job:
        """A new one; `environment` has NAME=VALUE texts."""
        folder = Path(tempfile.mkdtemp(prefix="libcontainer_py-vm."))
        folder.chmod(0o755)
        (folder / "output").mkdir()
        for name in ("stdout", "stderr", "console"):
            (folder / name).touch()
        variables = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}
        variables.update(text.partition("=")[::2] for text in environment)
        exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
        text = COMMAND.format(exports=exports, directory=shlex.quote(directory), command=shlex.join(command))
        (folder / "command.sh").write_text(text)
        return cls(folder)

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_units(self) -> None:
        """What systemd in the guest is to start, and what not."""
        units = self.folder / "units"
        units.mkdir()
        (units / "vm-command.target").write_text(TARGET)
        (units / "vm-command.service").write_text(SERVICE)
        (self.folder / "masked").write_text("\n".join(MASKED.split()) + "\n")

    def write_init(self, interpreter: str) -> Path:
        """A copy of init.sh that this busybox runs, executable."""
        init = self.folder / "init"
        init.write_text(f"#!{interpreter} sh\nbusybox={interpreter}\n{(HERE / 'init.sh').read_text()}")
        init.chmod(0o755)
        return init

    def has_begun(self) -> bool:
        """Whether the command was started."""
        return (self.folder / "began").exists()

    def exit_code(self) -> int | None:
        """The command's; None where the machine ended before."""
        try:
            return int((self.folder / "code").read_text())
        except FileNotFoundError:
            return None

    def times(self) -> str:
        """When the command began and ended, for a person."""
        began, ended = ((self.folder / name).read_text().strip() for name in ("began", "ended"))
        return f"it began {began} s after the kernel, and ended at {ended} s"

    def console(self) -> str:
        """The end of the machine's console and of what its engine said."""
        names = [name for name in ("engine", "console") if (self.folder / name).exists()]
        return "".join((self.folder / name).read_text(errors="replace")[-4000:] for name in names)

    def copy_output(self, target: str) -> None:
        """Copy what the command left in /job/output."""
        shutil.copytree(self.folder / "output", target, dirs_exist_ok=True, symlinks=True)
