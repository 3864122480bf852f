"""Completion of commands, flags and ids, for bash, zsh and fish: scripts made of the tables, which ask us for ids."""

from __future__ import annotations

import sys

from libcontainer_py.cli.commands import COMMANDS, HELP
from libcontainer_py.cli.settings import GLOBAL, NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from libcontainer_py.cli.flags import Flag, Parsed
    from libcontainer_py.cli.settings import Settings


def completion(settings: Settings, parsed: Parsed) -> int:
    """Print the script of a shell."""
    shells = {"bash": bash, "zsh": zsh, "fish": fish}
    if parsed.words[0] not in shells:
        raise ValueError(f"a shell is one of {', '.join(shells)}, not {parsed.words[0]}")
    sys.stdout.write(shells[parsed.words[0]]())
    return 0


def _options(flags: Iterable[Flag]) -> list[str]:
    return [f"--{name}" if len(name) > 1 else f"-{name}" for flag in flags if not flag.hidden for name in flag.names]


def _takes_id(name: str) -> bool:
    return COMMANDS[name].words.startswith("<container-id>") and name not in ("create", "run", "restore")


def bash() -> str:
    """For bash: source it, or put it into a directory of bash-completion."""
    cases = "\n".join(
        f"        {name}) flags='{' '.join(_options((*command.flags, HELP)))}' ids={'1' if _takes_id(name) else ''} ;;"
        for name, command in COMMANDS.items()
    )
    return f"""_{NAME}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command= flags= ids= root=() index=1
    while [ $index -lt $COMP_CWORD ]; do
        case ${{COMP_WORDS[index]}} in
            --root) root=(--root "${{COMP_WORDS[index + 1]}}"); index=$((index + 1)) ;;
            --log|--log-format|--rootless|--cgroup-manager) index=$((index + 1)) ;;
            -*) ;;
            *) command=${{COMP_WORDS[index]}}; break ;;
        esac
        index=$((index + 1))
    done
    case $command in
        '') flags='{" ".join([*_options(GLOBAL), *COMMANDS, "help"])}' ;;
        help) flags='{" ".join(COMMANDS)}' ;;
{cases}
    esac
    if [ -n "$ids" ] && [ "${{current#-}}" = "$current" ]; then
        flags=$({NAME} "${{root[@]}}" list --quiet 2>/dev/null)
    fi
    COMPREPLY=($(compgen -W "$flags" -- "$current"))
}}
complete -o default -F _{NAME} {NAME}
"""


def zsh() -> str:
    """For zsh, by its own reading of bash's."""
    return f"#compdef {NAME}\nautoload -U +X bashcompinit && bashcompinit\n{bash()}"


def fish() -> str:
    """For fish."""
    lines = [f"complete -c {NAME} -f"]
    lines += [_fish(flag, "__fish_use_subcommand") for flag in GLOBAL if not flag.hidden]
    for name, command in COMMANDS.items():
        lines.append(f"complete -c {NAME} -n __fish_use_subcommand -a {name} -d '{_plain(command.about)}'")
        within = f"'__fish_seen_subcommand_from {name}'"
        lines += [_fish(flag, within) for flag in command.flags if not flag.hidden]
        if _takes_id(name):
            lines.append(f"complete -c {NAME} -n {within} -a '({NAME} list --quiet 2>/dev/null)'")
    return "\n".join(lines) + "\n"


def _fish(flag: Flag, condition: str) -> str:
    names = " ".join(f"-l {name}" if len(name) > 1 else f"-s {name}" for name in flag.names)
    value = "" if flag.kind == "switch" else " -r"
    return f"complete -c {NAME} -n {condition} {names}{value} -d '{_plain(flag.about)}'"


def _plain(about: str) -> str:
    return about.replace("'", "")
