"""An init that is being born, as the host sees it: what it says over its control socket."""

from __future__ import annotations

import _socket
import json
import os
import re
import time
from errno import EMFILE

from libcontainer_py.backends import forkservers, launcher
from libcontainer_py.backends.streams import preserved, streams_of
from libcontainer_py.errors import ConfigError, CreateError, HookError, Problem, ProgramNotFound
from libcontainer_py.init import messages
from libcontainer_py.memo import remembered
from libcontainer_py.record import Init, Record
from libcontainer_py.state import runc, runc_cgroups, runc_config, runc_seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

    from libcontainer_py.backends.children import Child
    from libcontainer_py.backends.netdevices import NetDevices
    from libcontainer_py.backends.preparation import LinuxPreparation
    from libcontainer_py.cgroups.control import Change
    from libcontainer_py.plan import Step
    from libcontainer_py.record import Intent
    from libcontainer_py.spec import Resources, Spec
    from libcontainer_py.spec.linux import Seccomp

_ENOMEM = 12
_BEGIN = 0xFFFF
_HOOK_FAILURE = re.compile(
    r"hooks\.createContainer\[(\d+)\] \((.*?)\): (exit code (\d+)|signal (\d+)|.*?)(: .*)?", re.DOTALL
)
_MASKED = "is /proc or /sys masked here, as in a container? A user namespace may not show more than we see"
_LOCKED = "a user namespace may not take away what a mount of the host's has, such as nosuid"
_HINTS = {
    ("mount", 1): _MASKED,
    ("mount_detached", 1): _MASKED,
    ("limits", 1): "raising a hard limit takes CAP_SYS_RESOURCE",
    ("mount", 22): "the kernel refused an option of this mount",
    ("mount_detached", 22): "the kernel refused an option of this mount",
    ("bind", 1): _LOCKED,
    ("bind", 22): "with a user namespace, what has mounts below it can be bound with them alone: rbind",
    ("remount", 1): _LOCKED,
    ("remount", 22): "is something mounted there? And the kernel may have refused an option",
    ("apparmor", 2): "no such profile is loaded; aa-status lists those that are, apparmor_parser loads one",
    ("apparmor", 13): "we are confined ourselves, by a profile that does not let us change to this one",
    ("terminal", 19): 'mount one: {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": '
    '["newinstance", "ptmxmode=0666", "mode=0620"]}',
    ("selinux", 13): "the policy does not let us set it",
    ("selinux", 22): "the policy that is loaded does not know this label",
}


def announce(spec: Spec, python: str | None) -> None:
    """Let the fork server make ahead what an init of this Spec will need, while it is being planned."""
    spaces = () if spec.linux is None else spec.linux.namespaces
    own = {one.type for one in spaces if not one.path}
    if "network" in own and "user" not in own and len(own) == len(spaces):
        launcher.announce_network(python)


class LinuxBirth:
    """The creator's end of a new init."""

    def __init__(self, preparation: LinuxPreparation, python: str | None) -> None:
        """Ask for it, in the cgroup that it can be born into, and give it its plan."""
        self._preparation = preparation
        self._python = python
        self._steps = preparation.plan.steps
        self._child: Child | None = None
        unified = None if preparation.cgroup is None else preparation.cgroup.paths.get("")
        self._enters_late: bool = preparation.scope is not None or (
            unified is not None and unified not in preparation.cgroup_paths
        )
        """Its cgroup was there before, so it cannot be born there; see `Cgroup.enter`. Or it is yet to be a scope."""
        self._waiting: Child | None = None
        """Already there, but without its plan."""
        opened: list[int] = []
        descriptors: dict[str, int] = {}
        try:
            plan = preparation.plan
            stage = self._stage(opened, descriptors)
            if preparation.cgroup is not None and not self._enters_late:
                directory = preparation.cgroup.clone_descriptor()
                if directory is not None:
                    opened.append(directory)
                    descriptors["cgroup"] = directory
            launch = launcher.Launch(python, plan.flags, plan.maps, stage, descriptors)
        finally:
            _close(opened)
        self._launch: launcher.Launch = launch
        self._control: _socket.socket | None = launch.control
        self._limited: list[Change] = []
        self._kills_before: int = 0
        """What a cgroup that was there before us has counted; a new one begins with 0."""
        self._devices: NetDevices | None = None
        self._terminal: int = -1
        try:
            if not self._enters_late:
                self._instruct()
        except BaseException:
            launch.discard()
            raise

    def _instruct(self) -> None:
        """Its plan and its streams: with these it can begin."""
        opened: list[int] = []
        try:
            request = self._preparation.request
            given = preserved(request)
            if not self._preparation.terminal:
                given.update(streams_of(request, opened))
            self._launch.instruct(self._preparation.plan.wire(), given, more=True)
        finally:
            _close(opened)

    def _stage(self, opened: list[int], descriptors: dict[str, int]) -> launcher.Stage | None:
        """The namespaces to enter first, opened, and the offsets of a new time namespace."""
        plan = self._preparation.plan
        if not plan.joins and plan.offsets is None:
            return None
        joins: list[tuple[str, int]] = []
        for word, path, flag in plan.joins:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                reason = f"{path}: {(error.strerror or '').lower()}"
                raise ConfigError([Problem("linux.namespaces", reason, path)]) from error
            opened.append(descriptor)
            descriptors[f"{word} namespace"] = descriptor
            joins.append((f"{word} namespace", flag))
        return tuple(joins), plan.offsets

    def make_cgroups(self) -> Mapping[str, int]:
        """Make the other directories, and fill all, while the kernel clones. Raises CgroupError."""
        group, cgroup = self._preparation.resctrl, self._preparation.cgroup
        shared = {} if group is None else group.make()
        if cgroup is None:
            return shared
        memory = cgroup.paths.get("memory", cgroup.paths.get("", ""))
        if memory not in self._preparation.cgroup_paths:
            self._kills_before = cgroup.oom_kills()
        made = (cgroup.create_others() if self._preparation.scope is None else self._start_scope()) | shared
        cgroup.set_devices(self._preparation.device_rules())
        if self._preparation.limits is not None:
            self._limit(self._preparation.limits)
        return made

    def _start_scope(self) -> dict[str, int]:
        """Have systemd make the cgroup around init, which waits for its plan."""
        if self._preparation.scope is None:
            raise AssertionError("there is none")
        self._waiting = self._launch.born()
        made = self._preparation.scope.start(self._waiting.pid)
        self._instruct()
        return made

    def _limit(self, limits: Resources) -> None:
        """Of a scope systemd knows the limits already."""
        scope, cgroup = self._preparation.scope, self._preparation.cgroup
        if scope is not None:
            self._limited.append(scope.set_files(limits))
        elif cgroup is not None:
            self._limited.append(cgroup.set(limits))

    def born(self) -> Init:
        """Give it what was made for it, and wait until it is there.

        Raises CreateError, LauncherError, UnsupportedPlatform.
        """
        opened: list[int] = []
        child = self._waiting
        if self._enters_late and self._preparation.cgroup is not None and child is None:
            child = self._launch.born()
            self._preparation.cgroup.enter(child.pid)
            self._instruct()
        try:
            self._launch.hand_over(self._descriptors(opened))
        finally:
            _close(opened)
        if child is None:
            child = self._launch.born()
        self._limit_tasks()
        self._launch.close()
        self._child = child  # the caller knows it from now on; until here abandon() outlives it
        return self.init

    def _limit_tasks(self) -> None:
        """Now that init is there: on v2 it was cloned into its cgroup, where a limit of 0 lets nobody be born."""
        if self._preparation.limit_of_tasks is not None:
            self._limit(self._preparation.limit_of_tasks)

    def _unlimit(self) -> None:
        """Of a cgroup that was there before, a create that fails leaves nothing but what it found."""
        while self._limited:
            self._limited.pop().undo()

    def _descriptors(self, opened: list[int]) -> dict[str, int]:
        """What was made while it began, by name; `opened` are those to close afterwards."""
        preparation = self._preparation
        descriptors: dict[str, int] = {}

        def add(name: str, descriptor: int) -> None:
            opened.append(descriptor)
            descriptors[name] = descriptor

        add("fifo", os.open(os.path.join(preparation.directory, "exec.fifo"), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC))
        if preparation.plan.mapped:
            self._add_mapped(descriptors, opened)
        if preparation.cgroup is not None and any(step.name == "join_cgroups" for step in self._steps):
            for path, descriptor in preparation.cgroup.attach_descriptors().items():
                add(messages.TASKS + path, descriptor)
        return descriptors

    def _add_mapped(self, descriptors: dict[str, int], opened: list[int]) -> None:
        """Mounts whose ids are mapped."""
        from libcontainer_py.backends import idmapping  # noqa: PLC0415  (few containers have such)

        plan = self._preparation.plan
        joined = next((path for word, path, _ in plan.joins if word == "user"), "")
        trees = idmapping.trees(plan.mapped, joined, self._python)
        descriptors.update(trees)
        opened += trees.values()

    @property
    def init(self) -> Init:
        """The new process."""
        return Init(self._known.pid, self._known.start)

    @property
    def _known(self) -> Child:
        if self._child is None:
            raise AssertionError("it is not born yet")
        return self._child

    def until_mounted(self) -> None:
        """Wait until init stands before its hooks, where there are any."""
        if any(step.name == "await_hooks" for step in self._steps):
            self._expect(messages.MOUNTED)
        if self._preparation.resctrl is not None:
            self._preparation.resctrl.assign(self.init.pid)
        self._move_devices()

    def _move_devices(self) -> None:
        """As late as can be: what failed until now touched no device of the host's."""
        devices = [step.arguments for step in self._preparation.plan.on_host if step.name == "net_device"]
        if devices:
            from libcontainer_py.backends.netdevices import NetDevices  # noqa: PLC0415  (for those who have devices)

            self._devices = NetDevices(devices, self.init.pid)

    def go_on(self, state: str) -> None:
        """Let it run its createContainer hooks."""
        if any(step.name == "await_hooks" for step in self._steps):
            self._send(messages.GO_ON + state.encode())

    def until_ready(self) -> None:
        """Wait until only the fifo is left."""
        for step in self._steps:
            if step.name == "namespaces":
                for _ in step.arguments[0]:
                    name, descriptor = self._expect_descriptor(messages.NAMESPACE)
                    self._known.namespaces[name] = descriptor
            elif step.name == "terminal":
                _, self._terminal = self._expect_descriptor(messages.TERMINAL)
        self._expect(messages.READY)

    def _expect_descriptor(self, word: bytes) -> tuple[str, int]:
        """What follows that word, and the descriptor that comes along."""
        said, descriptor = self._launch.hear_with()
        if not said.startswith(word):
            if descriptor >= 0:
                os.close(descriptor)
            self._judge(said)
        if descriptor < 0:  # the kernel drops what it finds no number for. Source: unix(7), MSG_CTRUNC
            container_id = self._preparation.request.container_id
            raise CreateError(os.strerror(EMFILE), container_id=container_id, step="descriptors", errno=EMFILE)
        return said[1:].decode(), descriptor

    def terminal(self) -> int:
        """The master of its terminal: the caller's."""
        master, self._terminal = self._terminal, -1
        return master

    def let_go(self) -> None:
        """state.json is saved: init may go to the fifo."""
        self._guard()
        self._send(messages.SAVED + self._listener_state())
        if self._preparation.request.reaper and self._child is not None:
            self._child.control = self._control
        elif self._control is not None:
            self._control.close()
        self._control = None
        if self._devices is not None:
            self._devices.keep()
            self._devices = None

    def _guard(self) -> None:
        """Until here it ends by itself when we do."""
        if self._child is None or not self._preparation.request.die_with_parent:
            return
        cgroup = self._preparation.cgroup
        paths: Mapping[str, str] = {} if cgroup is None else cgroup.paths
        place = (paths.get("freezer", ""), paths.get("", ""), self._preparation.ends_with_init)
        forkservers.guard(self._python or forkservers.interpreter(), (self._child, place))

    def _listener_state(self) -> bytes:
        """What a seccomp listener is told. Source: config-linux.md, Container Process State."""
        linux = self._preparation.spec.linux
        if linux is None or linux.seccomp is None or not linux.seccomp.listener_path:
            return b""
        document: dict[str, object] = {
            "ociVersion": self._preparation.spec.oci_version,
            "fds": ["seccompFd"],
            "pid": self.init.pid,
            "state": json.loads(self._preparation.state("created", self.init.pid)),
        }
        if linux.seccomp.listener_metadata:
            document["metadata"] = linux.seccomp.listener_metadata
        return json.dumps(document).encode()

    def abandon(self) -> None:
        """Close our end; init ends by itself then, if nobody kills it before. One that is not born yet is outlived."""
        if self._devices is not None:
            self._devices.fetch()  # while its network namespace is there
            self._devices = None
        if self._terminal >= 0:
            os.close(self.terminal())
        if self._child is None:
            self._launch.discard()
        elif self._control is not None:
            self._control.close()
            self._control = None
        self._unlimit()

    def record(self, intent: Intent) -> Record:
        """What state.json is to say."""
        preparation = self._preparation
        cgroup, group = preparation.cgroup, preparation.resctrl
        profile = None if preparation.spec.linux is None else preparation.spec.linux.seccomp
        document = runc_config.document(
            container_id=preparation.request.container_id,
            init=self.init,
            created=_now(),
            spec_dict=preparation.document,
            bundle=preparation.bundle,
            rootfs=preparation.rootfs,
            cgroup_paths={} if cgroup is None else cgroup.paths,
            cgroup_inodes={path: inode for path, inode in intent.cgroups.items() if inode},  # 0: a closID outlives us
            resctrl_paths=("", "") if group is None else (group.path, group.monitoring),
            rootless=os.geteuid() != 0,
            cgroup_config_path=_config_path(preparation),
            oom_kills=self._kills_before,
        )
        document["config"]["no_pivot_root"] = preparation.request.no_pivot
        document["config"]["no_new_keyring"] = preparation.request.no_new_keyring
        if preparation.unit is not None:
            config = document["config"]
            config["cgroups"] = runc_cgroups.under_systemd(config["cgroups"], *preparation.unit)
        short = runc_config.without_nothing(document)
        if profile is not None and (seccomp := _seccomp_of(profile)) is not None:
            short["config"]["seccomp"] = seccomp
        return runc.adopt(short, preparation.directory)

    def _send(self, data: bytes) -> None:
        if self._control is None:
            raise AssertionError("nothing is said after let_go")
        try:
            self._control.send(data)
        except OSError:
            self._expect(b"")  # raises what init died of

    def _expect(self, word: bytes) -> None:
        if self._control is None:
            raise AssertionError("nothing is heard after let_go")
        data = self._launch.hear()
        if word and data == word:
            return
        self._judge(data)

    def _judge(self, data: bytes) -> NoReturn:
        """Raise what init has died of."""
        if data.startswith(messages.FAILED) and len(data) > 3:
            report = messages.unpack_report(data[3:])
            if report is not None:
                self._fail(int.from_bytes(data[1:3], "little"), *report)
        container_id = self._preparation.request.container_id
        cgroup, limits = self._preparation.cgroup, self._preparation.limits
        if cgroup is not None and limits is not None and cgroup.oom_kills() > self._kills_before:
            raise CreateError(
                "init was killed before it was ready: its cgroup has too little memory",
                container_id=container_id,
                step="init",
                subject="linux.resources.memory",
                errno=_ENOMEM,
                hint="it takes 2 MiB to start, and then what the program takes",
            )
        raise CreateError("init died before it was ready", container_id=container_id, step="init")

    def _fail(self, at: int, name: str, errno: int, text: str) -> None:
        container_id = self._preparation.request.container_id
        if name == "create_hooks":
            raise _hook_error(text)
        if name == "program" and errno:
            raise ProgramNotFound(text, container_id=container_id, step=name, errno=errno)
        if at == _BEGIN or at >= len(self._steps):
            raise CreateError(f"init: {text}", container_id=container_id, step=name, errno=errno)
        step: Step = self._steps[at]
        raise CreateError(
            f"{step} ({step.why}): {text}",
            container_id=container_id,
            step=name,
            subject=step.subject,
            errno=errno,
            hint=_HINTS.get((name, errno), ""),
        )


@remembered
def _seccomp_of(profile: Seccomp) -> dict[str, Any] | None:
    """What state.json says of a profile; None: nothing."""
    converted = runc_seccomp.configuration(profile.to_dict())
    return None if converted is None else runc_config.without_nothing(converted)


def _hook_error(text: str) -> HookError:
    """What init says of a failed createContainer hook: `hooks.KIND[INDEX] (PATH): REASON`, then `: OUTPUT`."""
    match = _HOOK_FAILURE.fullmatch(text)
    if match is None:
        return HookError("createContainer", -1, "", text)
    index, path, reason, code, signal, output = match.groups()
    returncode = int(code) if code else -int(signal) if signal else None
    return HookError("createContainer", int(index), path, reason, returncode=returncode, output=(output or "")[2:])


def _config_path(preparation: LinuxPreparation) -> str:
    """The cgroup as the configuration names it, which is what runc keeps in config.cgroups.path."""
    linux = preparation.spec.linux
    wanted = linux.cgroups_path if linux is not None else None
    return wanted or f"/libcontainer_py/{preparation.request.container_id}"


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _now() -> str:
    nanoseconds = time.time_ns()
    moment = time.gmtime(nanoseconds // 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{nanoseconds % 1_000_000_000:09d}Z"
