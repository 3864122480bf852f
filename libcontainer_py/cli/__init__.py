"""`pyrunc`: the command line of runc, over the public names of this package.

`main` finds the command in a table and loads what carries it out, and nothing else: `verbs` is what engines call most,
and starts as fast as an interpreter can. `flags` tells words apart, `settings` are the global flags, `usage` prints
help, `log` is where errors go.
"""

from __future__ import annotations

import sys

from libcontainer_py.cli import settings as globals_of
from libcontainer_py.cli.commands import COMMANDS, HELP, Command
from libcontainer_py.cli.flags import Parsed, UsageError, parse
from libcontainer_py.cli.log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from libcontainer_py.cli.settings import Settings

FAILED: Final = 1
UNKNOWN_COMMAND: Final = 3
EXEC_FAILED: Final = 255
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line: the exit code, as runc's."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    log = Log()
    try:
        try:
            parsed = parse(words, globals_of.GLOBAL, stop=True)
            log = globals_of.open_log(parsed)
        except UsageError as error:
            _show_usage(str(error))
            raise
        return _command(parsed, log)
    except UsageError as error:
        log.fatal(str(error))
        return FAILED
    except BrokenPipeError:
        return _discard_output()
    except OSError as error:
        log.fatal(reason(error))
        return FAILED


def _command(parsed: Parsed, log: Log) -> int:
    if parsed.on("version"):
        _show("version")
        return 0
    words = parsed.words
    if not words or parsed.on("help") or words[0] in ("help", "h"):
        return _help(words[1:] if words and words[0] in ("help", "h") else words, log)
    command = COMMANDS.get(words[0])
    if command is None:
        log.fatal(f"No help topic for '{words[0]}'")
        return UNKNOWN_COMMAND
    return _carry_out(words[0], command, words[1:], globals_of.Settings(parsed, log))


def _help(words: list[str], log: Log) -> int:
    if not words:
        _show("all_commands")
    elif words[0] in COMMANDS:
        _show("one_command", words[0])
    else:
        log.fatal(f"No help topic for '{words[0]}'")
        return UNKNOWN_COMMAND
    return 0


def _carry_out(name: str, command: Command, words: list[str], settings: Settings) -> int:
    try:
        parsed = parse(words, (*command.flags, HELP), stop=command.stop)
        if parsed.on("help"):
            _show("one_command", name)
            return 0
        _count(name, command, len(parsed.words))
    except UsageError as error:
        _show_usage(str(error), name)
        raise
    from importlib import import_module  # noqa: PLC0415  (it loads nothing more)

    act: Callable[[Settings, Parsed], int] = getattr(import_module(f"{__name__}.{command.room}"), name)
    return _attempt(act, settings, parsed, prefix="exec failed: " if name == "exec" else "")


def _count(name: str, command: Command, given: int) -> None:
    """Raise UsageError where there are too few words or too many."""
    if command.least == command.most != given:
        raise UsageError(f'{globals_of.NAME}: "{name}" requires exactly {command.least} argument(s)')
    if given < command.least:
        raise UsageError(f'{globals_of.NAME}: "{name}" requires a minimum of {command.least} argument(s)')
    if given > command.most:
        raise UsageError(f'{globals_of.NAME}: "{name}" requires a maximum of {command.most} argument(s)')


def _attempt(act: Callable[[Settings, Parsed], int], settings: Settings, parsed: Parsed, *, prefix: str) -> int:
    import warnings  # noqa: PLC0415  (loaded by the interpreter already)

    from libcontainer_py import ContainerError  # noqa: PLC0415  (after the words were understood)

    warnings.simplefilter("always")
    warnings.showwarning = _logging(settings.log)
    code = EXEC_FAILED if prefix else FAILED
    try:
        result = act(settings, parsed)
        sys.stdout.flush()
    except UsageError:
        raise
    except BrokenPipeError:
        return _discard_output()
    except ContainerError as error:
        settings.log.fatal(prefix + str(error))
        return code
    except OSError as error:
        settings.log.fatal(prefix + reason(error))
        return code
    except ValueError as error:
        settings.log.fatal(prefix + str(error))
        return code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        # a fault of ours: engines read the log alone, and the traceback is for who mends it
        settings.log.fatal(f"{prefix}{type(error).__name__}: {error}")
        raise
    return result


def _logging(log: Log) -> Callable[..., None]:
    def show(message: Warning | str, *_where: object, **_more: object) -> None:
        log.warning(str(message))

    return show


def reason(error: OSError) -> str:
    """What went wrong, as runc says it: the path, and the reason in lower case."""
    text = (error.strerror or str(error)).lower()
    return f"open {error.filename}: {text}" if error.filename else text


def _discard_output() -> int:
    """Nobody reads what we print: so nobody is told of it when the interpreter closes the stream."""
    import os  # noqa: PLC0415  (loaded by the interpreter already)

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    return FAILED


def _show(what: str, *arguments: str) -> None:
    from libcontainer_py.cli import usage  # noqa: PLC0415  (for who asks)

    sys.stdout.write(getattr(usage, what)(*arguments))
    sys.stdout.flush()


def _show_usage(why: str, command: str = "") -> None:
    """On standard error: what is printed on standard output is read by programs."""
    from libcontainer_py.cli import usage  # noqa: PLC0415  (for who is wrong)

    text = usage.one_command(command) if command else usage.all_commands()
    sys.stderr.write(f"Incorrect Usage: {why}\n\n{text}\n")
