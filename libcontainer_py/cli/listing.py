"""list and ps."""

from __future__ import annotations

import os
import sys

from libcontainer_py import ContainerError, ContainerNotFound
from libcontainer_py.cli import text
from libcontainer_py.cli.verbs import state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins

    from libcontainer_py.cli.flags import Parsed
    from libcontainer_py.cli.settings import Settings

_HEADER = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
_COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def list(settings: Settings, parsed: Parsed) -> int:  # noqa: A001  (the command's name)
    """Print all containers; a broken directory is a line on standard error."""
    style = _format(parsed)
    found = _states(settings)
    if parsed.on("quiet"):
        sys.stdout.write("".join(f"{one['id']}\n" for one in found))
    elif style == "json":
        sys.stdout.write(text.line(found or None))
    else:
        rows = [[str(one[column]) for column in _COLUMNS] for one in found]
        sys.stdout.write(text.table([_HEADER, *rows]))
    return 0


def _format(parsed: Parsed) -> str:
    style = parsed.text("format")
    if style not in ("table", "json"):
        raise ValueError("invalid format option")
    return style


def _states(settings: Settings) -> builtins.list[dict[str, object]]:
    if settings.root_given and not os.path.isdir(settings.root):
        os.listdir(settings.root)  # raises what is wrong with it
    found: builtins.list[dict[str, object]] = []
    for container_id in settings.factory.ids():
        try:
            container = settings.factory.load(container_id)
            found.append(state_of(container, _owner(container.directory)))
        except ContainerNotFound as error:
            if os.path.isdir(settings.factory.directory(container_id)):  # else it was deleted just now
                sys.stderr.write(f"load container {container_id}: {error}\n")
        except (ContainerError, OSError) as error:
            sys.stderr.write(f"load container {container_id}: {error}\n")
    return found


def _owner(directory: str) -> str:
    import pwd  # noqa: PLC0415  (not there on other systems)

    uid = os.stat(directory).st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def ps(settings: Settings, parsed: Parsed) -> int:
    """Print the processes of a container: pids, or the lines that ps(1) has for them."""
    style = _format(parsed)
    pids = settings.load(parsed.words).processes()
    if style == "json":
        sys.stdout.write(text.line(pids or None))
        return 0
    sys.stdout.write(_lines(_output_of_ps(parsed.words[1:] or ["-ef"]), frozenset(pids)))
    return 0


def _output_of_ps(arguments: builtins.list[str]) -> str:
    import subprocess  # noqa: PLC0415  (for a table alone)

    done = subprocess.run(["ps", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # noqa: S607  (on PATH, as with runc)
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise ValueError(f"exit status {done.returncode}: {output}")
    return output


def _lines(output: str, pids: frozenset[int]) -> str:
    """Of the output of ps the header, and the lines of these pids. Raises ValueError where it has no pids."""
    header, *lines = output.split("\n")
    titles = header.split()
    if "PID" not in titles:
        raise ValueError("couldn't find PID field in ps output")
    at = titles.index("PID")
    kept = [header]
    for line in lines:
        fields = line.split()
        if len(fields) > at and fields[at].isdecimal() and int(fields[at]) in pids:
            kept.append(line)
    return "\n".join(kept) + "\n"
