"""What runc has not: a sandbox, a plan to read, and a script that starts fast."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from libcontainer_py.cli import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.cli.flags import Parsed
    from libcontainer_py.cli.settings import Settings

_FAILED, _NOT_EXECUTABLE, _NOT_FOUND = 125, 126, 127
_ENOENT = 2


def sandbox(settings: Settings, parsed: Parsed) -> int:
    """Run a command in a container of its own: its exit code; 125 to 127 as env(1) where it did not run."""
    from libcontainer_py import ContainerError, ProgramNotFound, run  # noqa: PLC0415  (attrs)

    try:
        code = run(parsed.words, stdout=None, stderr=None).returncode
    except ProgramNotFound as error:
        sys.stderr.write(f"libcontainer_py: {error}\n")
        return _NOT_FOUND if error.errno == _ENOENT else _NOT_EXECUTABLE
    except ContainerError as error:
        sys.stderr.write(f"libcontainer_py: {error}\n")
        return _FAILED
    return code if code >= 0 else 128 - code


def script(settings: Settings, parsed: Parsed) -> int:
    """Print a script that starts this command line: it reads no environment, looks for no packages, and needs no PATH.

    It names what it needs by absolute paths: this interpreter, and where this package and its dependencies lie.
    """
    folders: list[str] = []
    for name, needed in (("libcontainer_py", True), ("attrs", True), ("typing_extensions", True), ("jeepney", False)):
        found = find_spec(name)
        if found is not None and found.origin is not None:
            inside = os.path.dirname(found.origin)
            folder = os.path.dirname(inside) if found.submodule_search_locations is not None else inside
            folders += [folder] if folder not in folders else []
        elif needed:
            raise ValueError(f"{name} is not installed: pip install {name}")
    sys.stdout.write(
        f"#!{sys.executable} -ISE\n"
        "import sys\n\n"
        f"sys.path += {folders!r}\n"
        "from libcontainer_py.cli import main\n\n"
        "sys.exit(main())\n"
    )
    return 0


def doctor(settings: Settings, parsed: Parsed) -> int:
    """Print what this host can do, and the line that mends what it cannot."""
    from libcontainer_py import examine  # noqa: PLC0415  (attrs)

    style = parsed.text("format")
    if style not in ("text", "json"):
        raise ValueError("invalid format option")
    diagnosis = examine()
    sys.stdout.write(f"{diagnosis}\n" if style == "text" else text.indented(diagnosis.to_dict()) + "\n")
    return 0 if diagnosis.reason_why_not("create") is None else 1


def explain(settings: Settings, parsed: Parsed) -> int:
    """Print the plan of a container."""
    sys.stdout.write(settings.load(parsed.words).explain())
    return 0
