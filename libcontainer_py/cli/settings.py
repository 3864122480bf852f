"""The global flags, and what they amount to: a root, a backend, a log."""

from __future__ import annotations

import os

from libcontainer_py.cli.flags import SWITCH, TEXT, Flag, Parsed, UsageError
from libcontainer_py.cli.log import FORMATS, Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py import Container, Factory, LinuxBackend

NAME = "pyrunc"
GLOBAL = (
    Flag(("debug",), SWITCH, "enable debug logging"),
    Flag(("log",), TEXT, "set the log file to write logs to (default is '/dev/stderr')"),
    Flag(("log-format",), TEXT, "set the log format ('text' (default), or 'json')", "text"),
    Flag(("root",), TEXT, "root directory for storage of container state (this should be located in tmpfs)"),
    Flag(("systemd-cgroup",), SWITCH, 'let systemd make the cgroups: cgroupsPath is of the form "slice:prefix:name"'),
    Flag(("cgroup-manager",), TEXT, "who makes the cgroups: cgroupfs, or systemd", "cgroupfs"),
    Flag(("rootless",), TEXT, "ignore cgroup permission errors ('true', 'false', or 'auto')", "auto"),
    Flag(("criu",), TEXT, "(obsoleted; do not use)", hidden=True),
    Flag(("help", "h"), SWITCH, "show help"),
    Flag(("version", "v"), SWITCH, "print the version"),
)
_BOOLEANS = ("1", "t", "true", "0", "f", "false")


class Settings:
    """What the global flags say. Nothing is made or read before it is asked for."""

    __slots__ = ("_backend", "_factory", "_parsed", "log", "root")

    def __init__(self, parsed: Parsed, log: Log) -> None:
        """Raises UsageError."""
        self.log: Log = log
        self._parsed = parsed
        self.root: str = os.path.abspath(parsed.text("root")) if parsed.given("root") else default_root()
        if self.root == "/":
            raise UsageError("Option --root argument should not be set to /")
        if parsed.text("rootless").lower() not in ("", "auto", *_BOOLEANS):
            raise UsageError(f"invalid value for --rootless: {parsed.text('rootless')}")
        if parsed.text("cgroup-manager") not in ("cgroupfs", "systemd", "disabled"):
            raise UsageError(f"invalid value for --cgroup-manager: {parsed.text('cgroup-manager')}")
        self._backend: LinuxBackend | None = None
        self._factory: Factory | None = None

    @property
    def root_given(self) -> bool:
        """Whether --root was given."""
        return self._parsed.given("root")

    @property
    def factory(self) -> Factory:
        """The containers under the root."""
        if self._factory is None:
            from libcontainer_py import Factory  # noqa: PLC0415  (help and usage need none)

            self._factory = Factory(backend=self.backend)
        return self._factory

    @property
    def backend(self) -> LinuxBackend:
        """Linux, without a fork server that outlives a verb."""
        if self._backend is None:
            from libcontainer_py import LinuxBackend  # noqa: PLC0415  (help and usage need none)

            systemd = self._parsed.on("systemd-cgroup") or self._parsed.text("cgroup-manager") == "systemd"
            self._backend = LinuxBackend(self.root, cgroup_driver="systemd" if systemd else "cgroupfs", launcher="once")
        return self._backend

    def load(self, words: list[str]) -> Container:
        """The container that the first word names. Raises what Factory.load raises."""
        return self.factory.load(words[0])


def open_log(parsed: Parsed) -> Log:
    """The log that the flags ask for. Raises UsageError, OSError."""
    style = parsed.text("log-format")
    if style not in FORMATS:
        raise UsageError(f"invalid log-format: {style}")
    return Log(path=parsed.text("log"), style=style, debug=parsed.on("debug"))


def default_root() -> str:
    """/run/pyrunc; for an ordinary user, and for who is root in a user namespace alone, below $XDG_RUNTIME_DIR."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    user = os.geteuid()
    if runtime and (user or (os.environ.get("USER") != "root" and _in_user_namespace())):
        return os.path.abspath(f"{runtime}/{NAME}")
    return f"/tmp/{NAME}-{user}" if user else f"/run/{NAME}"  # noqa: S108  (its owner is looked at before it is used)


def _in_user_namespace() -> bool:
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() != ["0", "0", "4294967295"]
    except OSError:
        return False  # a kernel without them
