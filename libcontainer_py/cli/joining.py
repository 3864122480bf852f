"""exec: a further process in a container."""

from __future__ import annotations

import json
import os

import attrs

from libcontainer_py import IllegalOperation, Status
from libcontainer_py.cli import making, relay
from libcontainer_py.spec import Capabilities, ConsoleSize, Process, Spec, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py import Container
    from libcontainer_py.cli.flags import Parsed
    from libcontainer_py.cli.settings import Settings


def exec(settings: Settings, parsed: Parsed) -> int:  # noqa: A001  (the command's name)
    """Run it, and stay with it to its end unless it is to be left alone: its exit code."""
    container = settings.load(parsed.words)
    _check_status(container, ignore_paused=parsed.on("ignore-paused"))
    process = _process(container, parsed)
    detach = parsed.on("detach")
    console_socket = parsed.text("console-socket") or None
    making.check_terminal(demanded=process.terminal, detach=detach, console_socket=console_socket)
    size = relay.own_size() if process.terminal and not detach else None
    if size is not None and process.console_size is None:  # before its program asks for it
        process = attrs.evolve(process, console_size=ConsoleSize(width=size[0], height=size[1]))
    preserved = making.preserved_of(parsed)
    with relay.Relay(catching=not detach) as through:
        spawned = container.spawn(
            process,
            console_socket=console_socket,
            pid_file=parsed.text("pid-file") or None,
            pidfd_socket=parsed.text("pidfd-socket") or None,
            preserve_fds=preserved,
            cgroup=_cgroup(parsed.texts("cgroup")),
            ignore_paused=parsed.on("ignore-paused"),
        )
        if detach:
            return 0
        return through.follow(relay.Joined(spawned), spawned.terminal)


def _check_status(container: Container, *, ignore_paused: bool) -> None:
    """In runc's words, which name the flag."""
    status = container.status
    if status is Status.PAUSED and not ignore_paused:
        from libcontainer_py.lifecycle import Operation  # noqa: PLC0415  (for an error)

        reason = "cannot exec in a paused container (use --ignore-paused to override)"
        raise IllegalOperation(container.id, Operation.SPAWN, status, reason)


def _process(container: Container, parsed: Parsed) -> Process:
    path = parsed.text("process")
    if path:
        with open(path, "rb") as file:
            return Process.from_json(file.read(), source=path)
    if len(parsed.words) < 2:
        raise ValueError("exec args cannot be empty")
    source = os.path.join(container.bundle, "config.json")
    with open(source, "rb") as file:
        base = Spec.from_json(file.read(), source=source).process
    if base is None:
        raise ValueError("process property must not be empty")
    return attrs.evolve(
        base,
        args=tuple(parsed.words[1:]),
        env=(*base.env, *parsed.texts("env")),
        cwd=parsed.text("cwd") or base.cwd,
        terminal=parsed.on("tty"),
        user=_user(base.user, parsed),
        capabilities=_capabilities(base.capabilities, parsed.texts("cap")),
        no_new_privileges=parsed.on("no-new-privs") if parsed.given("no-new-privs") else base.no_new_privileges,
        apparmor_profile=parsed.text("apparmor") or base.apparmor_profile,
        selinux_label=parsed.text("process-label") or base.selinux_label,
    )


def _user(base: User, parsed: Parsed) -> User:
    uid, gid = base.uid, base.gid
    if parsed.text("user"):
        first, colon, second = parsed.text("user").partition(":")
        uid = _id(first, "uid")
        gid = _id(second, "gid") if colon else gid
    added = tuple(_id(text, "additional gid") for text in parsed.texts("additional-gids"))
    return attrs.evolve(base, uid=uid, gid=gid, additional_gids=(*base.additional_gids, *added))


def _id(text: str, what: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"bad {what}: {json.dumps(text)} is not a number")
    return int(text)


def _capabilities(base: Capabilities | None, added: list[str]) -> Capabilities | None:
    """Added to the sets that matter for a program; to the ambient one only where something is inheritable."""
    if not added:
        return base
    known = Capabilities() if base is None else base
    more: dict[str, tuple[str, ...]] = {
        name: (*getattr(known, name), *(one for one in added if one not in getattr(known, name)))
        for name in ("bounding", "effective", "permitted", *(("ambient",) if known.inheritable else ()))
    }
    return attrs.evolve(known, **more)  # type: ignore[arg-type]  # names of its fields


def _cgroup(given: list[str]) -> dict[str, str] | None:
    """[CONTROLLER[,CONTROLLER...]:]PATH, each."""
    found: dict[str, str] = {}
    for one in given:
        controllers, colon, path = one.partition(":")
        if not colon:
            if len(given) > 1:
                raise ValueError(f"invalid --cgroup argument: {one} (missing <controller>: prefix)")
            return {"": one}
        for controller in controllers.split(","):
            if not controller:
                raise ValueError(f"invalid --cgroup argument: {one} (empty <controller> prefix)")
            if controller in found:
                raise ValueError(f"invalid --cgroup argument(s): controller {controller} specified multiple times")
            found[controller] = path
    return found or None
