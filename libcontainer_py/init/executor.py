"""Carries out a plan, from inside the new namespaces, and becomes the program.

The plan is a flat tuple of (operation, arguments). Everything was decided by the host; here it is only done, in order.
A step that fails is reported with its place in the plan: to the host over the control socket, and once `0` went into
exec.fifo, through the fifo.

Nothing is imported here: after `pivot` the container's root file system could supply the module. The fork server has
loaded everything, and has nowhere to look for more.
"""

import _socket
import marshal
import os
import sys

from libcontainer_py.init import hook, identity, joining, messages, reaper, signals
from libcontainer_py.init.filesystem import Filesystem
from libcontainer_py.init.filtering import SeccompFilter
from libcontainer_py.init.mounts import Mounts
from libcontainer_py.kernel import libc, namespace, network, scheduling, terminal, title
from libcontainer_py.kernel.constants import (
    CLONE_NEWNET,
    CLONE_PARENT,
    KEYCTL_JOIN_SESSION_KEYRING,
    KEYCTL_SETPERM,
    PR_SET_DUMPABLE,
)

if sys.platform == "linux":
    import fcntl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer_py.init.mounts import Changes

_OF_MOUNTS = frozenset(
    ("mount", "mount_detached", "bind", "bind_or_link", "remount", "cgroups_v1", "attributes")  # its methods
)
_STDIO = (("stdin", 0), ("stdout", 1), ("stderr", 2))


class Executor:
    """One init, from clone3 to execve. `descriptors` are those that the host gave with the plan, by name."""

    def __init__(self, control: int) -> None:
        self.descriptors: dict[str, int] = {}
        self.more: bool = False
        self.control: _socket.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, control)
        self.filesystem: Filesystem = Filesystem()
        self.mounts: Mounts = Mounts(self.filesystem)
        self.program: str = ""
        self.home: str = ""
        self.arrived: bool = True
        self.fifo: int = -1
        self.state: bytes = b""
        self.limits: tuple[tuple[int, int, int], ...] = ()
        self.preserved: list[int] = []
        self.sets: tuple[int, int, int, int, int] | None = None
        self.filter: SeccompFilter | None = None

    def receive_plan(self) -> "tuple[tuple[str, tuple[object, ...]], ...]":
        """Wait for the steps, and the descriptors for the first of them."""
        data, received = self._receive_descriptors()
        if data == messages.IN_MEMFD:
            memfd = received.pop()
            data = os.pread(memfd, os.fstat(memfd).st_size, 0)
            os.close(memfd)
        steps: tuple[tuple[str, tuple[object, ...]], ...]
        names, steps, self.more = marshal.loads(data)  # noqa: S302  (the host's, over a socket of the two alone)
        self.descriptors.update(zip(names, received, strict=True))
        self._preserve()
        return steps

    def _preserve(self) -> None:
        """Put the descriptors that the program gets to their numbers, while we know of all that are open."""
        names = [name for name in self.descriptors if name.startswith(messages.PRESERVED)]
        if not names:
            return
        above = 3 + len(names)
        self.descriptors = {name: _raised(number, above) for name, number in self.descriptors.items()}
        self.filesystem.procfs = _raised(self.filesystem.procfs, above)
        control = _raised(self.control.detach(), above)
        self.control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, control)
        for name in names:
            descriptor, number = self.descriptors.pop(name), int(name[len(messages.PRESERVED) :])
            os.dup2(descriptor, number, inheritable=False)  # nor do hooks get it
            os.close(descriptor)
            self.preserved.append(number)

    def _complete(self) -> None:
        """Wait for the descriptors that the host makes while we are at the steps that need none of them."""
        if self.more:
            self.more = False
            data, received = self._receive_descriptors()
            self.descriptors.update(zip(marshal.loads(data), received, strict=True))  # noqa: S302  (as above)

    def _receive_descriptors(self) -> "tuple[bytes, list[int]]":
        """A message, and the descriptors that came along. Ends where there is none: the host is gone, or failed."""
        space = _socket.CMSG_SPACE(4 * messages.MOST_DESCRIPTORS)
        data, rights, _, _ = self.control.recvmsg(messages.LARGEST, space, _socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(1)
        return data, [number for _, _, packed in rights for number in memoryview(packed).cast("i")]

    def run(self, steps: "tuple[tuple[str, tuple[object, ...]], ...]") -> None:
        """Carry out the steps. Never returns."""
        at = 0
        try:
            for at, (name, arguments) in enumerate(steps):  # noqa: B007  (the report tells it)
                if name in _OF_MOUNTS:
                    getattr(self.mounts, name)(*arguments)
                else:
                    getattr(self, "do_" + name)(*arguments)
        except BaseException as error:
            self._report(at, steps[at][0], error)
        finally:
            os._exit(1)

    def _report(self, at: int, name: str, error: BaseException) -> None:
        errno = (error.errno or 0) if isinstance(error, OSError) else 0
        text = _text(error)
        try:
            if self.fifo >= 0:
                os.write(self.fifo, messages.pack_failure(name, errno, text))
            else:
                self.control.send(messages.FAILED + at.to_bytes(2, "little") + messages.pack_report(name, errno, text))
        except OSError:
            pass  # nobody listens any more

    def _receive(self) -> bytes:
        """A message of the host's; where it is gone, so are we."""
        self._complete()
        data = self.control.recv(1 << 20)
        if not data:
            os._exit(1)
        return data

    # -- before the file system -----------------------------------------------------------------------------------

    def do_limits_of_host(self, limits: "tuple[tuple[int, int, int], ...]") -> None:
        """The host's limits as they are now: the fork server has those of its start."""
        identity.lower_limits(limits)

    def do_join_cgroups(self) -> None:
        """Enter v1 cgroups through their `tasks` files: no stall, unlike cgroup.procs, since we are one thread."""
        self._complete()
        for name in [name for name in self.descriptors if name.startswith(messages.TASKS)]:
            descriptor = self.descriptors.pop(name)
            try:
                os.write(descriptor, b"0")
            except OSError as error:
                error.filename = name[len(messages.TASKS) :]
                raise
            os.close(descriptor)

    def do_become_root(self, unshared: int) -> None:
        """Be user and group 0 of the new user namespace, whose maps the fork server has written.

        What is `unshared` belongs to that user, but not to the group: so its message queues look as with runc.
        """
        os.setresuid(0, 0, 0)
        if unshared:
            libc.unshare(unshared)
        os.setresgid(0, 0, 0)
        libc.prctl(PR_SET_DUMPABLE, 0)  # the fork server had to be, for the maps; nobody shall trace us

    def do_join(self, flags: int) -> None:
        """Enter the namespaces of a container's init, by its pidfd.

        The host's /proc stays open meanwhile: nobody in the container sees us before `do_clone`.
        """
        _drop_groups()
        joining.join("init", self.descriptors.pop("init"), flags)

    def do_join_each(self, namespaces: "tuple[tuple[str, int], ...]") -> None:
        """As `do_join`, by a descriptor of each: (its name, CLONE_NEW*)."""
        _drop_groups()
        joining.enter((namespaces, None), self.descriptors)

    def do_namespaces(self, names: "tuple[str, ...]") -> None:
        """Hand our namespaces to the host: an ordinary user cannot open those of a process that nobody may trace."""
        for name in names:
            descriptor = os.open(f"self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.filesystem.procfs)
            right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder))
            self.control.sendmsg([messages.NAMESPACE + name.encode()], [right])
            os.close(descriptor)

    def do_unshare(self, flags: int) -> None:
        libc.unshare(flags)

    def do_keyring(self, name: str, permissions: int) -> None:
        """A session keyring of its own, so that the container does not possess the host's keys."""
        try:
            keyring = libc.keyctl(KEYCTL_JOIN_SESSION_KEYRING, os.fsencode(name))
            libc.keyctl(KEYCTL_SETPERM, keyring, permissions)
        except OSError as error:
            if error.errno != 38:  # ENOSYS: a kernel without keyrings
                raise

    def do_key_label(self, label: str) -> None:
        """The SELinux label of keyrings that we make from now on; "" for the usual one. Source: selinux, keycreate."""
        self._write("self/attr/keycreate", label or "\n")

    def do_session(self) -> None:
        os.setsid()

    def do_stdio(self, uid: int) -> None:
        """Our standard streams; pipes change hands, so that /dev/stdout can be opened by another user."""
        for name, number in _STDIO:
            descriptor = self.descriptors.pop(name)
            if uid and os.fstat(descriptor).st_mode & 0o170000 == 0o010000:
                try:
                    os.fchown(descriptor, uid, -1)
                except PermissionError:
                    pass  # of another user namespace
            os.dup2(descriptor, number)
            os.close(descriptor)

    def do_terminal(self, uid: int, columns: int, rows: int) -> None:
        """Our standard streams are a new terminal, which its user owns; the master goes to the host, and stays nowhere.

        A user that is not mapped, or a read-only devpts, leaves it to its maker, as with runc.
        """
        master = self.filesystem.new_terminal()
        try:
            terminal.unlock(master)
            if columns and rows:
                terminal.set_size(master, columns, rows)
            peer = terminal.peer(master)
            right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, master.to_bytes(4, sys.byteorder))
            self.control.sendmsg([messages.TERMINAL], [right])
        finally:
            os.close(master)
        if os.fstat(peer).st_uid != uid:
            try:
                os.fchown(peer, uid, -1)
            except OSError as error:
                if error.errno not in (1, 22, 30):  # EPERM, EINVAL, EROFS
                    raise
        for _, number in _STDIO:
            os.dup2(peer, number)
        os.close(peer)

    def do_console(self) -> None:
        self.filesystem.console(0)

    def do_controlling_terminal(self) -> None:
        """Our session's: who types ^C there interrupts who is in the foreground."""
        terminal.take_control(0)

    def do_loopback(self) -> None:
        network.loopback_up()

    def do_hostname(self, name: str) -> None:
        _socket.sethostname(name)

    def do_domainname(self, name: str) -> None:
        libc.setdomainname(name)

    def do_oom_score_adj(self, value: int) -> None:
        libc.prctl(PR_SET_DUMPABLE, 1)  # or in a user namespace the file is not ours
        try:
            self._write("self/oom_score_adj", str(value))
        finally:
            libc.prctl(PR_SET_DUMPABLE, 0)

    def do_sysctl(self, pairs: "tuple[tuple[str, str], ...]") -> None:
        """Of our namespaces, through the host's procfs: /proc/sys shows each process its own."""
        for path, value in pairs:
            self._write(f"sys/{path}", value)

    def do_affinity(self, processors: "tuple[int, ...]") -> None:
        os.sched_setaffinity(0, processors)

    def do_apparmor(self, profile: str) -> None:
        """The AppArmor profile of what we execute next. Source: aa_change_onexec(2)."""
        try:
            os.stat("self/attr/apparmor", dir_fd=self.filesystem.procfs)
            path = "self/attr/apparmor/exec"
        except FileNotFoundError:
            path = "self/attr/exec"  # before Linux 5.1 all security modules shared it
        self._write(path, f"exec {profile}")

    def do_selinux(self, label: str) -> None:
        """The SELinux label of what we execute next. Source: setexeccon(3)."""
        self._write("self/attr/exec", label)

    def _write(self, path: str, text: str) -> None:
        """Write a file of the host's procfs."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.filesystem.procfs)
        try:
            os.write(descriptor, text.encode())
        except OSError as error:
            error.filename = f"/proc/{path}"
            raise
        finally:
            os.close(descriptor)

    # -- the file system ------------------------------------------------------------------------------------------

    def do_propagation(self, flags: int) -> None:
        self.filesystem.propagation(flags)

    def do_attach(self, name: str, destination: str, changes: "Changes") -> None:
        """A tree of mounts that the host has made, since its ids are mapped."""
        self._complete()
        self.mounts.attach(self.descriptors.pop(name), destination, changes)

    def do_root(self, path: str, above: int, own: int) -> None:
        self.filesystem.enter(path, above, own)

    def do_device(self, path: str, kind: int, mode: int, number: "tuple[int, int]", owner: "tuple[int, int]") -> None:
        self.filesystem.device(path, kind, mode, number, owner)

    def do_bind_device(self, path: str, number: "tuple[int, int]") -> None:
        self.filesystem.bind_device(path, number)

    def do_link(self, target: str, path: str) -> None:
        self.filesystem.link(target, path)

    def do_ptmx(self) -> None:
        self.filesystem.ptmx()

    def do_own_null(self) -> None:
        self.filesystem.own_null()

    def do_directory(self, path: str) -> None:
        self.filesystem.directory(path)

    def do_mask(self, path: str, context: str = "") -> None:
        self.filesystem.mask(path, context)

    def do_readonly(self, path: str) -> None:
        self.filesystem.readonly(path)

    def do_readonly_root(self) -> None:
        self.filesystem.readonly_root()

    def do_await_hooks(self) -> None:
        """The host runs prestart and createRuntime hooks now, while /proc/PID/root still shows both worlds."""
        self.control.send(messages.MOUNTED)
        self.state = self._receive()[len(messages.GO_ON) :]

    def do_create_hooks(self, hooks: "tuple[tuple[str, tuple[str, ...], tuple[str, ...], float | None], ...]") -> None:
        hook.run("createContainer", hooks, self.state)

    def do_pivot(self, propagation: int) -> None:
        self.filesystem.pivot(propagation)

    def do_move_root(self, propagation: int) -> None:
        self.filesystem.move_root(propagation)

    # -- the process ----------------------------------------------------------------------------------------------

    def do_clone(self) -> None:
        """Of who joined a container: be born into its pid namespace, as who we have become, and with nothing more.

        Whoever is in there may trace us from now on, where he has CAP_SYS_PTRACE, and finds nothing that he has not.
        """
        os.close(self.filesystem.procfs)
        libc.prctl(PR_SET_DUMPABLE, 0)
        pid, pidfd = namespace.clone3(CLONE_PARENT)
        if pid:
            right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pidfd.to_bytes(4, sys.byteorder))
            self.control.sendmsg([messages.MADE + pid.to_bytes(4, "little")], [right])
            os._exit(0)

    def do_umask(self, mask: int) -> None:
        os.umask(mask)

    def do_personality(self, persona: int) -> None:
        libc.personality(persona)

    def do_memory_policy(self, mode: int, nodes: "tuple[int, ...]") -> None:
        scheduling.set_mempolicy(mode, nodes)

    def do_io_priority(self, io_class: int, priority: int) -> None:
        scheduling.ioprio_set(io_class, priority)

    def do_scheduler(
        self, policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
    ) -> None:
        scheduling.sched_setattr(policy, flags, nice, priority, runtime, deadline, period)

    def do_limits(self, limits: "tuple[tuple[int, int, int], ...]") -> None:
        identity.raise_limits(limits)
        self.limits = limits

    def do_identity(
        self,
        ids: "tuple[int, int]",
        groups: "tuple[int, ...] | None",
        sets: "tuple[int, int, int, int, int] | None",
        last: int,
        no_new_privileges: bool,
        kept: int,
    ) -> None:
        self.sets = sets
        identity.take(ids, groups, sets, last, no_new_privileges, kept)

    def do_cwd(self, path: str) -> None:
        """Go there with our own privileges, as engines are used to: it may be closed to the program's user."""
        try:
            identity.change_directory(path)
        except PermissionError:
            self.arrived = False

    def do_cwd_as_user(self, path: str) -> None:
        """Go there at last where we could not, as on a file system that trusts no root."""
        if not self.arrived:
            identity.change_directory(path)

    def do_seccomp_listener(self, path: str) -> None:
        self.filter = SeccompFilter(path)

    def do_seccomp(self, program: bytes, flags: int, keeps_admin: bool) -> None:
        """Remember the filter: it is loaded by who executes the program, as the last thing before."""
        if self.filter is None:
            self.filter = SeccompFilter("")
        self.filter.program, self.filter.flags, self.filter.keeps_admin = program, flags, keeps_admin

    def do_home(self, uid: int) -> None:
        """HOME of a program that was given none, or an empty one: that of the container's /etc/passwd, as runc does."""
        self.home = identity.home_of(uid)

    def do_program(self, name: str, search: str) -> None:
        self.program = identity.find_program(name, search)

    def do_await_start(self, state: bytes) -> None:
        """Tell the host that all is done; go to exec.fifo once it has saved state.json, and wait there to be released.

        The fifo was given as O_PATH, so that the container never sees the state directory, and is opened through the
        host's procfs, of which only our own descriptors are left.
        """
        # with the pid that startContainer hooks see: in the container's pid namespace
        self.state = state.replace(b"{", b'{"pid": %d, ' % os.getpid(), 1)
        self.control.send(messages.READY)
        saved = self._receive()
        if not saved.startswith(messages.SAVED):
            os._exit(1)
        if self.filter is not None:
            self.filter.state = saved[len(messages.SAVED) :]
        libc.prctl(PR_SET_DUMPABLE, 0)
        path = str(self.descriptors["fifo"])
        fifo = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.filesystem.descriptors)
        while True:
            try:
                os.write(fifo, b"0")
                break
            except BrokenPipeError:
                # Who came is gone already, killed or out of time. The next one is waited for with the old end still
                # open: should that close after he came, he would see an end of file.
                again = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.filesystem.descriptors)
                os.close(fifo)
                fifo = again
        os.close(self.descriptors.pop("fifo"))
        os.close(self.filesystem.descriptors)
        self.fifo = fifo

    def do_start_hooks(self, hooks: "tuple[tuple[str, tuple[str, ...], tuple[str, ...], float | None], ...]") -> None:
        hook.run("startContainer", hooks, self.state)

    def do_execute(self, arguments: "tuple[str, ...]", environment: "tuple[str, ...]") -> None:
        variables = _variables(environment)
        if self.home:
            variables["HOME"] = self.home
        identity.lower_limits(self.limits)
        signals.reset()
        for number in self.preserved:
            os.set_inheritable(number, True)
        if self.filter is not None:
            self.filter.load(self.sets)  # nothing is computed after it: memory may be closed too
        os.execve(self.program, arguments, variables)

    def do_reap(self, arguments: "tuple[str, ...]", environment: "tuple[str, ...]") -> None:
        """Stay as pid 1, with the program as our child, and report how it ended."""
        pid = os.fork()
        if pid == 0:
            try:
                self.do_execute(arguments, environment)
            except BaseException as error:
                self._report(0, "execute", error)
            finally:
                os._exit(127)
        self._reap(pid)

    def do_kill_others(self) -> None:
        """SIGKILL to all in our pid namespace but its init and us: none can fork its way out. Source: kill(2)."""
        try:
            os.kill(-1, 9)
        except ProcessLookupError:
            pass  # there is nobody
        os._exit(0)

    def do_idle(self) -> None:
        """Stay as pid 1 of a container whose processes all come later, until the host ends it, or ends."""
        self._reap(reaper.NOBODY)

    def _reap(self, pid: int) -> None:
        os.close(self.fifo)
        while self.preserved:
            os.close(self.preserved.pop())
        libc.set_name(b"reaper")
        title.change(b"reaper")
        reaper.reap(pid, self.control)


def _variables(environment: "tuple[str, ...]") -> "dict[str, str]":
    variables: dict[str, str] = {}
    for entry in environment:
        name, _, value = entry.partition("=")
        variables[name] = value
    return variables


def _raised(descriptor: int, least: int) -> int:
    """The same under another number, at least that; the old one is closed."""
    higher = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)
    os.close(descriptor)
    return higher


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and not error.strerror.startswith(("exec:", "hooks.")):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, OSError) and len(error.args) > 1:
        return str(error.args[1])
    return f"{type(error).__name__}: {error}"


def start(control: int, *, mapped: int = -1, network: int = -1) -> None:
    """Begin as a fresh child of the fork server: wait until the ids are mapped, then for the plan. Never returns."""
    try:
        if network >= 0:
            libc.setns(network, CLONE_NEWNET)
        _settle({control, mapped})
        if mapped >= 0:
            if os.read(mapped, 1) != b"1":
                os._exit(1)
            os.close(mapped)
        executor = Executor(control)
        steps = executor.receive_plan()
    except BaseException as error:
        report = messages.pack_report("begin", (getattr(error, "errno", 0) or 0), _text(error))
        os.write(control, messages.FAILED + b"\xff\xff" + report)
        os._exit(1)
    executor.run(steps)


def _drop_groups() -> None:
    """Of the host's groups nothing comes along: init may be in a user namespace that it made, and forbids it later."""
    try:
        os.setgroups(())
    except PermissionError:
        pass  # an ordinary user, who keeps his


def _settle(keep: "set[int]") -> None:
    signals.while_waiting()
    libc.set_name(messages.WAITING_NAME.encode())
    _close_others(keep)
    os.umask(0)


def _close_others(keep: "set[int]") -> None:
    first = 3
    for descriptor in sorted(keep):
        if descriptor > first:
            libc.close_range(first, descriptor - 1)
        first = max(first, descriptor + 1)
    libc.close_range(first, 0xFFFFFFFF)
