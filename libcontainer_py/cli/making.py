"""create and run."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py import Container
    from libcontainer_py.cli.flags import Parsed
    from libcontainer_py.cli.settings import Settings


def create(settings: Settings, parsed: Parsed) -> int:
    """Make a container whose program waits for start."""
    _make(settings, parsed, preserved_of(parsed), detach=True).close()
    return 0


def run(settings: Settings, parsed: Parsed) -> int:
    """Make a container, start it, and stay with it to its end: its program's exit code."""
    from libcontainer_py.cli import relay  # noqa: PLC0415  (create needs none)

    detach = parsed.on("detach")
    if not detach and not parsed.on("no-subreaper"):
        relay.become_subreaper()
    preserved = preserved_of(parsed)
    with relay.Relay(catching=not detach) as through:
        container = _make(settings, parsed, preserved, detach=detach)
        try:
            if container.terminal is not None:
                relay.copy_size(container.terminal)  # before its program asks for it
            container.start()
            if detach:
                container.close()
                return 0
            code = through.follow(relay.Init(container), container.terminal)
        except BaseException:
            container.delete(force=True)
            raise
        if parsed.on("keep"):
            container.close()
        else:
            container.delete(force=True)
        return code


def _make(settings: Settings, parsed: Parsed, preserved: int, *, detach: bool) -> Container:
    bundle = os.path.abspath(parsed.text("bundle") or os.curdir)
    console_socket = parsed.text("console-socket") or None
    check_terminal(demanded=_wants_terminal(bundle), detach=detach, console_socket=console_socket)
    return settings.factory.create(
        parsed.words[0],
        bundle,
        console_socket=console_socket,
        pid_file=parsed.text("pid-file") or None,
        pidfd_socket=parsed.text("pidfd-socket") or None,
        preserve_fds=preserved,
        no_pivot=parsed.on("no-pivot"),
        no_new_keyring=parsed.on("no-new-keyring"),
    )


def preserved_of(parsed: Parsed) -> int:
    """How many descriptors go to the program. Raises ValueError where one is ours: our caller would have left it open.

    To be asked before there are more of ours. What is not open at all, create and spawn refuse.
    """
    count = parsed.number("preserve-fds")
    for number in range(3, 3 + count):
        try:
            given = os.get_inheritable(number)
        except OSError:
            break
        if not given:
            raise ValueError(f"unable to stat preserved-fd {number - 3} (of {count}): {number} was not passed to us")
    return count


def check_terminal(*, demanded: bool, detach: bool, console_socket: str | None) -> None:
    """Raise ValueError where nobody would have the terminal, or where somebody listens for one that will not come."""
    if detach and demanded and console_socket is None:
        raise ValueError("cannot allocate tty if runc will detach without setting console socket")
    if console_socket is not None and not (detach and demanded):
        raise ValueError("cannot use console socket if runc will not detach or allocate tty")


def _wants_terminal(bundle: str) -> bool:
    """Whether process.terminal is set, as far as one can tell: what is wrong with the file, create says."""
    try:
        with open(os.path.join(bundle, "config.json"), "rb") as file:
            document = json.load(file)
        return document["process"]["terminal"] is True
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
