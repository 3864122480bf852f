"""update: other limits for a container that runs."""

from __future__ import annotations

import json
import sys
from typing import Any

from libcontainer_py.spec import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.cli.flags import Parsed
    from libcontainer_py.cli.settings import Settings

# The flag, where its value goes, and how it is read
_FIELDS = (
    ("blkio-weight", "blockIO", "weight", "count"),
    ("cpu-period", "cpu", "period", "count"),
    ("cpu-quota", "cpu", "quota", "number"),
    ("cpu-burst", "cpu", "burst", "count"),
    ("cpu-share", "cpu", "shares", "count"),
    ("cpu-rt-period", "cpu", "realtimePeriod", "count"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", "number"),
    ("cpu-idle", "cpu", "idle", "number"),
    ("cpuset-cpus", "cpu", "cpus", "text"),
    ("cpuset-mems", "cpu", "mems", "text"),
    ("memory", "memory", "limit", "size"),
    ("memory-reservation", "memory", "reservation", "size"),
    ("memory-swap", "memory", "swap", "size"),
    ("pids-limit", "pids", "limit", "number"),
)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def update(settings: Settings, parsed: Parsed) -> int:
    """Change what is given; what is not, stays."""
    container = settings.load(parsed.words)
    for name in ("l3-cache-schema", "mem-bw-schema"):
        if parsed.text(name):
            raise ValueError(f"--{name}: a container keeps the Intel RDT group that it was created with")
    if parsed.text("kernel-memory") or parsed.text("kernel-memory-tcp"):
        settings.log.warning("Kernel memory settings are ignored and will be removed")
    source = parsed.text("resources")
    document = _read(source) if source else _from_flags(parsed)
    # runc leaves them as they are too: what a plugin has allowed meanwhile would be lost
    document.pop("devices", None)
    container.update(Resources.from_dict(document))
    return 0


def _read(source: str) -> dict[str, Any]:
    if source == "-":
        data = sys.stdin.buffer.read()
    else:
        with open(source, "rb") as file:
            data = file.read()
    where = "standard input" if source == "-" else source
    try:
        found: Any = json.loads(data)
        return {**found}
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"resources in {where} are no JSON object: {error}") from error


def _from_flags(parsed: Parsed) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for flag, section, field, kind in _FIELDS:
        if parsed.text(flag) and parsed.given(flag):
            found.setdefault(section, {})[field] = _value(flag, parsed.text(flag), kind)
    return found


def _value(flag: str, text: str, kind: str) -> int | str:
    if kind == "text":
        return text
    try:
        if kind == "size":
            return size(text)
        number = int(text, 10)
    except ValueError:
        raise ValueError(f"invalid value for {flag}: {json.dumps(text)}") from None
    if kind == "count" and number < 0:
        raise ValueError(f"invalid value for {flag}: {json.dumps(text)} is below 0")
    return number


def size(text: str) -> int:
    """Bytes: `512`, `64m`, `1.5g`, `2GiB`; -1 is no limit. Raises ValueError. Source: docker/go-units, RAMInBytes."""
    if text == "-1":
        return -1
    lower = text.strip().lower()
    number = lower.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = lower[len(number) :].strip().removesuffix("b").removesuffix("i")
    if unit not in _UNITS or not number or number.startswith("-"):
        raise ValueError(text)
    return int(float(number) * _UNITS[unit]) if "." in number else int(number, 10) * _UNITS[unit]
