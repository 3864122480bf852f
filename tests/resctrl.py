"""A directory that stands for resctrl, where no processor has it: what the kernel does in the real one is done here.

Source: Documentation/filesystems/resctrl.rst of Linux.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from libcontainer_py.cgroups.resctrl import Resctrl

DEFAULTS = {"L3": "0=7ff;1=7ff", "MB": "0=100;1=100"}


class StandIn(Resctrl):
    """Two caches of 11 bits, bandwidth in steps of 10 percent, four groups at the most."""

    def __init__(self, root: Path, *, dies_after: str = "") -> None:
        """`dies_after` says after which order, `mkdir NAME` or `write NAME/FILE`, this process kills itself."""
        super().__init__(str(root))
        self._dies_after = dies_after
        self.orders: list[str] = []
        if not root.exists():
            self._fill(root)
            for name, text in (("L3/cbm_mask", "7ff"), ("MB/bandwidth_gran", "10"), ("last_cmd_status", "ok")):
                file = root / "info" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{text}\n")

    def _fill(self, group: Path) -> None:
        group.mkdir(exist_ok=True)
        (group / "tasks").touch()
        if group.parent.name != "mon_groups":
            (group / "mon_groups").mkdir()
            self._write_schemata(group / "schemata", DEFAULTS)

    def _write_schemata(self, file: Path, lines: dict[str, str]) -> None:
        file.write_text("".join(f"{resource:>6}:{domains}\n" for resource, domains in lines.items()))

    def _refuse(self, number: int, why: str) -> None:
        Path(self.root, "info/last_cmd_status").write_text(f"{why}\n")
        raise OSError(number, os.strerror(number))

    def _done(self, order: str) -> None:
        Path(self.root, "info/last_cmd_status").write_text("ok\n")
        self.orders.append(order)
        if order == self._dies_after:
            os.kill(os.getpid(), signal.SIGKILL)

    def groups(self) -> set[str]:
        """All groups below the default one."""
        tops = [path.parent for path in Path(self.root).glob("*/tasks")]
        monitoring = Path(self.root).glob("**/mon_groups/*")
        return {str(path.relative_to(self.root)) for path in (*tops, *monitoring)}

    def tasks(self, group: str) -> list[str]:
        return Path(self.root, group, "tasks").read_text().split()

    def schemata(self, group: str) -> dict[str, str]:
        lines = Path(self.root, group, "schemata").read_text().splitlines()
        return {resource.strip(): domains for resource, _, domains in (line.partition(":") for line in lines)}

    # -- what the kernel does -------------------------------------------------------------------------------------

    def make_directory(self, path: str) -> int:
        if os.path.dirname(path) == self.root and len(self.groups()) >= 4:
            self._refuse(28, "Out of CLOSIDs")
        inode = super().make_directory(path)
        self._fill(Path(path))
        self._done(f"mkdir {os.path.relpath(path, self.root)}")
        return inode

    def remove_directory(self, path: str) -> None:
        if not os.path.lexists(path):
            super().remove_directory(path)
        shutil.rmtree(path)
        self._done(f"rmdir {os.path.relpath(path, self.root)}")

    def order(self, path: str, text: str) -> None:
        file = Path(path)
        if file.name == "schemata":
            self._order_schemata(file, text)
        else:
            self._move(file, text)
        self._done(f"write {os.path.relpath(path, self.root)}")

    def _order_schemata(self, file: Path, text: str) -> None:
        group = str(file.parent.relative_to(self.root))
        lines = self.schemata(group)
        assert text.endswith("\n")
        for line in text.splitlines():
            resource, _, domains = line.partition(":")
            if resource not in lines:
                self._refuse(22, f"Unknown or unsupported resource name '{resource}'")
            values = dict(part.split("=") for part in lines[resource].split(";"))
            values |= dict(part.split("=") for part in domains.split(";"))
            if resource == "MB":
                values = {domain: str(-(-int(value) // 10) * 10) for domain, value in values.items()}
            else:
                values = {domain: f"{int(value, 16):x}" for domain, value in values.items()}
            lines[resource] = ";".join(f"{domain}={value}" for domain, value in values.items())
        self._write_schemata(file, lines)

    def _move(self, file: Path, pid: str) -> None:
        os.kill(int(pid), 0)
        above = file.parents[2] if file.parents[1].name == "mon_groups" else None
        if above is not None:
            assert pid in (above / "tasks").read_text().split(), "a monitored task is in the control group first"
        others = Path(self.root).glob("**/tasks") if above is None else (above / "mon_groups").glob("*/tasks")
        for other in others:
            other.write_text("".join(f"{task}\n" for task in other.read_text().split() if task != pid))
        with file.open("a") as tasks:
            tasks.write(f"{pid}\n")
