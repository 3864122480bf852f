"""The verbs that engines call most: start, state, kill, delete, pause, resume. They load no attrs."""

from __future__ import annotations

import sys

from libcontainer_py.cli import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py import Container
    from libcontainer_py.cli.flags import Parsed
    from libcontainer_py.cli.settings import Settings


def start(settings: Settings, parsed: Parsed) -> int:
    """Let the program of a created container run."""
    settings.load(parsed.words).start()
    return 0


def state(settings: Settings, parsed: Parsed) -> int:
    """Print the state."""
    sys.stdout.write(text.indented(state_of(settings.load(parsed.words))))
    return 0


def state_of(container: Container, owner: str = "") -> dict[str, object]:
    """What `state` and `list` tell of a container."""
    status = container.status
    pid = None if status == "stopped" else container.init_pid
    found: dict[str, object] = {
        "ociVersion": container.oci_version,
        "id": container.id,
        "pid": pid or 0,
        "status": str(status if pid or status == "stopped" else container.status),
        "bundle": container.bundle,
        "rootfs": container.rootfs,
        "created": container.created,
    }
    annotations = container.annotations
    if annotations:
        found["annotations"] = {key: annotations[key] for key in sorted(annotations)}
    found["owner"] = owner
    return found


def kill(settings: Settings, parsed: Parsed) -> int:
    """Send a signal, SIGTERM where none is named."""
    from libcontainer_py import IllegalOperation  # noqa: PLC0415  (loaded by now)

    container = settings.load(parsed.words)
    named = parsed.words[1] if len(parsed.words) > 1 else "SIGTERM"
    everybody = parsed.on("all")
    try:
        container.signal(named, all=everybody)
    except ValueError:
        raise ValueError(f'unknown signal "{named}"') from None
    except IllegalOperation as error:
        if not (everybody and error.status == "stopped"):
            raise
    return 0


def delete(settings: Settings, parsed: Parsed) -> int:
    """Remove a container, or with --regex all whose ids match."""
    force = parsed.on("force")
    if not parsed.on("regex"):
        settings.factory.delete(parsed.words[0], force=force)
        return 0
    import re  # noqa: PLC0415  (for this alone)

    from libcontainer_py import ContainerError  # noqa: PLC0415  (loaded by now)

    code = 0
    try:
        pattern = re.compile(parsed.words[0])
    except re.error as error:
        raise ValueError(f"{parsed.words[0]} is no regular expression: {error}") from None
    for container_id in settings.factory.ids():
        if pattern.search(container_id):
            try:
                settings.factory.delete(container_id, force=force)
            except ContainerError as error:
                settings.log.fatal(str(error))
                code = 1
    return code


def pause(settings: Settings, parsed: Parsed) -> int:
    """Freeze it."""
    settings.load(parsed.words).pause()
    return 0


def resume(settings: Settings, parsed: Parsed) -> int:
    """Thaw it."""
    settings.load(parsed.words).resume()
    return 0
