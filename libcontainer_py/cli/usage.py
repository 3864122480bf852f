"""What --help and --version print."""

from __future__ import annotations

import sys

from libcontainer_py import __version__
from libcontainer_py.cli.commands import COMMANDS, HELP
from libcontainer_py.cli.flags import SWITCH, Flag
from libcontainer_py.cli.settings import GLOBAL, NAME, default_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

OCI_VERSION = "1.3.0"
"""Of the specification; a test compares it with `libcontainer_py.spec.VERSION`, which would load attrs."""

_ABOUT = f"""{NAME} runs containers that are described by bundles of the Open Container Initiative: directories
with a configuration, config.json, and a root file system. Its commands, flags and exit codes are
those of runc, so that engines that run runc can run it instead."""


def version() -> str:
    """Lines of `word: value`, as engines read runc's."""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{NAME} version {__version__}\nspec: {OCI_VERSION}\npython: {python}\n"


def all_commands() -> str:
    """What can be done."""
    rows = [(name, command.about) for name, command in COMMANDS.items() if not command.hidden]
    rows.append(("help, h", "shows a list of commands or help for one command"))
    return (
        f"NAME:\n   {NAME} - Open Container Initiative runtime, in Python\n\n{_ABOUT}\n\n"
        f"USAGE:\n   {NAME} [global options] command [command options] [arguments...]\n\n"
        f"VERSION:\n   {__version__}\n\nCOMMANDS:\n{_rows(rows)}\nGLOBAL OPTIONS:\n{_flags(GLOBAL)}"
    )


def one_command(name: str) -> str:
    """How one command is used."""
    command = COMMANDS[name]
    options = " [command options]" if command.flags else ""
    words = f" {command.words}" if command.words else ""
    return (
        f"NAME:\n   {NAME} {name} - {command.about}\n\nUSAGE:\n   {NAME} {name}{options}{words}\n\n"
        f"OPTIONS:\n{_flags((*command.flags, HELP))}"
    )


def _flags(flags: Iterable[Flag]) -> str:
    return _rows([_flag(flag) for flag in flags if not flag.hidden])


def _flag(flag: Flag) -> tuple[str, str]:
    names = ", ".join(f"--{name}" if len(name) > 1 else f"-{name}" for name in flag.names)
    default = default_root() if flag.key == "root" else flag.default
    about = f"{flag.about} (default: {default})" if default else flag.about
    return (names if flag.kind == SWITCH else f"{names} value", about)


def _rows(rows: list[tuple[str, str]]) -> str:
    width = max(len(first) for first, _ in rows)
    return "".join(f"   {first:<{width}}  {second}\n" for first, second in rows)
