"""Every command: its flags, how many words it takes, what help says of it, and where it is carried out."""

from __future__ import annotations

from libcontainer_py.cli.flags import NUMBER, SECONDS, SWITCH, TEXT, TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from libcontainer_py.plain import NamedTuple

ANY = 1 << 16


class Command(NamedTuple):
    """One command. `room` is the module of this package that has a function of the command's name (- is _)."""

    room: str
    about: str
    words: str = "<container-id>"
    least: int = 1
    most: int = 1
    flags: tuple[Flag, ...] = ()
    stop: bool = False
    """After the first word all belongs to somebody else."""
    hidden: bool = False


HELP = Flag(("help", "h"), SWITCH, "show help")
_BUNDLE = Flag(("bundle", "b"), TEXT, "path to the root of the bundle directory, defaults to the current directory")
_CONSOLE = Flag(("console-socket",), TEXT, "path to an AF_UNIX socket which will receive the terminal's master")
_PIDFD = Flag(("pidfd-socket",), TEXT, "path to an AF_UNIX socket which will receive a pidfd of the process")
_PID_FILE = Flag(("pid-file",), TEXT, "specify the file to write the process id to")
_PRESERVE = Flag(("preserve-fds",), NUMBER, "pass N additional file descriptors to the container (stdio + N in total)")
_FORMAT = Flag(("format", "f"), TEXT, "select one of: table or json", "table")
_CREATE = (
    _BUNDLE,
    _CONSOLE,
    _PIDFD,
    _PID_FILE,
    Flag(("no-pivot",), SWITCH, "do not use pivot root to jail process inside rootfs: for a rootfs in a ramdisk"),
    Flag(("no-new-keyring",), SWITCH, "do not create a new session keyring: the container inherits the calling one's"),
    _PRESERVE,
)
_DETACH = Flag(("detach", "d"), SWITCH, "detach from the container's process")
_IMAGES = (
    Flag(("image-path",), TEXT, "path of the criu image files"),
    Flag(("work-path",), TEXT, "path of criu's work files and logs"),
    Flag(("parent-path",), TEXT, "path of previous criu image files"),
    Flag(("leave-running",), SWITCH, "leave the process running after checkpointing"),
    Flag(("tcp-established",), SWITCH, "allow open tcp connections"),
    Flag(("tcp-skip-in-flight",), SWITCH, "skip in-flight tcp connections"),
    Flag(("link-remap",), SWITCH, "allow one to link unlinked files back when possible"),
    Flag(("ext-unix-sk",), SWITCH, "allow external unix sockets"),
    Flag(("shell-job",), SWITCH, "allow shell jobs"),
    Flag(("lazy-pages",), SWITCH, "use userfaultfd to lazily restore memory pages"),
    Flag(("status-fd",), TEXT, "criu writes \\0 to this FD once lazy-pages is ready"),
    Flag(("page-server",), TEXT, "ADDRESS:PORT of the page server"),
    Flag(("file-locks",), SWITCH, "handle file locks, for safety"),
    Flag(("pre-dump",), SWITCH, "dump container's memory information only, leave the container running after this"),
    Flag(("manage-cgroups-mode",), TEXT, "cgroups mode: soft|full|strict|ignore"),
    Flag(("empty-ns",), TEXTS, "create a namespace, but don't restore its properties"),
    Flag(("auto-dedup",), SWITCH, "enable auto deduplication of memory images"),
    Flag(("lsm-profile",), TEXT, "LSM profile to use: TYPE:NAME"),
    Flag(("lsm-mount-context",), TEXT, "LSM mount context to use"),
)
_RESTORE = (
    *_IMAGES,
    *_CREATE,
    _DETACH,
    Flag(("no-subreaper",), SWITCH, "disable the use of the subreaper used to reap reparented processes"),
)

COMMANDS: dict[str, Command] = {
    "checkpoint": Command("checkpoints", "checkpoint a running container (not built yet)", flags=_IMAGES),
    "create": Command("making", "create a container", flags=_CREATE),
    "delete": Command(
        "verbs",
        "delete any resources held by the container often used with detached container",
        flags=(
            Flag(("force", "f"), SWITCH, "forcibly delete the container if it is still running (uses SIGKILL)"),
            Flag(("regex",), SWITCH, "the argument is a regular expression: delete all containers whose ids match"),
        ),
    ),
    "events": Command(
        "figures",
        "display container events such as OOM notifications, cpu, memory, and IO usage statistics",
        flags=(
            Flag(("interval",), SECONDS, "set the stats collection interval", "5s"),
            Flag(("stats",), SWITCH, "display the container's stats then exit"),
        ),
    ),
    "exec": Command(
        "joining",
        "execute new process inside the container",
        "<container-id> <command> [command options]  || -p process.json <container-id>",
        1,
        ANY,
        (
            _CONSOLE,
            _PIDFD,
            Flag(("cwd",), TEXT, "current working directory in the container"),
            Flag(("env", "e"), TEXTS, "set environment variables"),
            Flag(("tty", "t"), SWITCH, "allocate a pseudo-TTY"),
            Flag(("user", "u"), TEXT, "UID (format: <uid>[:<gid>])"),
            Flag(("additional-gids", "g"), TEXTS, "additional gids"),
            Flag(("process", "p"), TEXT, "path to the process.json"),
            _DETACH,
            _PID_FILE,
            Flag(("process-label",), TEXT, "set the asm process label for the process commonly used with selinux"),
            Flag(("apparmor",), TEXT, "set the apparmor profile for the process"),
            Flag(("no-new-privs",), SWITCH, "set the no new privileges value for the process"),
            Flag(("cap", "c"), TEXTS, "add a capability to the bounding set for the process"),
            _PRESERVE,
            Flag(("cgroup",), TEXTS, "run the process in an (existing) sub-cgroup(s): [<controller>:]<cgroup>"),
            Flag(("ignore-paused",), SWITCH, "allow exec in a paused container"),
        ),
        stop=True,
    ),
    "features": Command("documents", "show the enabled features", "", 0, 0),
    "kill": Command(
        "verbs",
        "kill sends the specified signal (default: SIGTERM) to the container's init process",
        "<container-id> [signal]",
        1,
        2,
        (Flag(("all", "a"), SWITCH, "send the signal to all of its processes", hidden=True),),
    ),
    "list": Command(
        "listing",
        "lists containers started with the given root",
        "",
        0,
        0,
        (_FORMAT, Flag(("quiet", "q"), SWITCH, "display only container IDs")),
    ),
    "pause": Command("verbs", "pause suspends all processes inside the container"),
    "ps": Command(
        "listing",
        "ps displays the processes running inside a container",
        "<container-id> [ps options]",
        1,
        ANY,
        (_FORMAT,),
        stop=True,
    ),
    "restore": Command("checkpoints", "restore a container from a previous checkpoint (not built yet)", flags=_RESTORE),
    "resume": Command("verbs", "resumes all processes that have been previously paused"),
    "run": Command(
        "making",
        "create and run a container",
        flags=(
            *_CREATE,
            _DETACH,
            Flag(("keep",), SWITCH, "do not delete the container after it exits"),
            Flag(("no-subreaper",), SWITCH, "disable the use of the subreaper used to reap reparented processes"),
        ),
    ),
    "spec": Command(
        "documents",
        "create a new specification file",
        "",
        0,
        0,
        (_BUNDLE, Flag(("rootless",), SWITCH, "generate a configuration for a rootless container")),
    ),
    "start": Command("verbs", "executes the user defined process in a created container"),
    "state": Command("verbs", "output the state of a container"),
    "update": Command(
        "limits",
        "update container resource constraints",
        flags=(
            Flag(("resources", "r"), TEXT, "path to a file with the resources as JSON, or '-' for the standard input"),
            Flag(("blkio-weight",), NUMBER, "per cgroup weight, range is from 10 to 1000"),
            Flag(("cpu-period",), TEXT, "CPU CFS period to be used for hardcapping (in usecs)"),
            Flag(("cpu-quota",), TEXT, "CPU CFS hardcap limit (in usecs)"),
            Flag(("cpu-burst",), TEXT, "CPU CFS hardcap burst limit (in usecs)"),
            Flag(("cpu-share",), TEXT, "CPU shares (relative weight vs. other containers)"),
            Flag(("cpu-rt-period",), TEXT, "CPU realtime period to be used for hardcapping (in usecs)"),
            Flag(("cpu-rt-runtime",), TEXT, "CPU realtime hardcap limit (in usecs)"),
            Flag(("cpu-idle",), TEXT, "set cgroup SCHED_IDLE or not, 0: default behavior, 1: SCHED_IDLE"),
            Flag(("cpuset-cpus",), TEXT, "CPU(s) to use"),
            Flag(("cpuset-mems",), TEXT, "Memory node(s) to use"),
            Flag(("kernel-memory",), TEXT, "(obsoleted; do not use)", hidden=True),
            Flag(("kernel-memory-tcp",), TEXT, "(obsoleted; do not use)", hidden=True),
            Flag(("memory",), TEXT, "memory limit (in bytes)"),
            Flag(("memory-reservation",), TEXT, "memory reservation or soft_limit (in bytes)"),
            Flag(("memory-swap",), TEXT, "total memory usage (memory + swap); '-1' to enable unlimited swap"),
            Flag(("pids-limit",), NUMBER, "maximum number of pids allowed in the container"),
            Flag(("l3-cache-schema",), TEXT, "the string of Intel RDT/CAT L3 cache schema"),
            Flag(("mem-bw-schema",), TEXT, "the string of Intel RDT/MBA memory bandwidth schema"),
        ),
    ),
    "sandbox": Command(
        "own",
        "run a command in a fresh container on this host's file system",
        "[--] <command> [arguments]",
        1,
        ANY,
        stop=True,
    ),
    "doctor": Command(
        "own",
        "what this host can do for containers, and what mends what it cannot: exit code 1 where there can be none",
        "",
        0,
        0,
        (Flag(("format", "f"), TEXT, "select one of: text or json", "text"),),
    ),
    "explain": Command("own", "what was done to make the container, step by step, and which field asked for it"),
    "completion": Command("completion", "print the completion script of a shell", "bash|zsh|fish", 1, 1),
    "script": Command("own", "print a script that starts this command line as fast as can be, for engines", "", 0, 0),
}
