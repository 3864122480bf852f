"""The filter of `run()` and the sandbox: what a program has no ordinary use for is closed.

An allow list, so that a system call which a later kernel adds is closed until somebody has looked at it. Each name of
the tables stands in exactly one place here, which a test holds:

* `ALLOWED`, and `CONDITIONAL`, which depends on arguments;
* `CLOSED`, with the reason; it gets EPERM, what a program without privileges gets from most of these calls anyway;
* `MISSING`, which gets ENOSYS, as if the kernel had no such call, so that C libraries take another way. What no table
  knows gets it too.

ptrace, process_vm_readv and their like stay open: they reach processes of the same container and user alone, and since
Linux 4.8 a tracer cannot lead its tracee past a filter. Debuggers, strace and sanitizers are ordinary programs.

Two things for readers who compare it with other profiles: x32 is no architecture of it, so such a call kills; and
32-bit x86 programs make sockets by socketcall, whose address family no filter can see, so that they get none from
`socket()` (but from socketpair, and inherited ones): any 64-bit program could make 32-bit calls to get at the families
that are closed.
"""

from __future__ import annotations

import functools

from libcontainer_py.spec.linux import Seccomp, Syscall, SyscallArg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ALLOWED = {
    "files": (
        "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 "
        "fadvise64 fadvise64_64 arm_fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat "
        "fcntl fcntl64 fdatasync file_getattr file_setattr flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync "
        "ftruncate ftruncate64 futimesat getcwd getdents getdents64 lchown lchown32 link linkat _llseek lseek lstat "
        "lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat oldfstat oldlstat oldstat open openat "
        "openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readdir readlink "
        "readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs statfs64 "
        "statx symlink symlinkat sync sync_file_range arm_sync_file_range sync_file_range2 syncfs tee truncate "
        "truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev cachestat "
        "fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr "
        "lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat statmount listmount"
    ),
    "waiting for files": (
        "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 inotify_add_watch "
        "inotify_init inotify_init1 inotify_rm_watch _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 "
        "select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 "
        "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit"
    ),
    "memory": (
        "brk get_mempolicy madvise map_shadow_stack mbind membarrier memfd_create memfd_secret migrate_pages mincore "
        "mlock mlock2 mlockall mmap mmap2 move_pages mprotect mremap mseal msync munlock munlockall munmap pkey_alloc "
        "pkey_free pkey_mprotect process_madvise process_mrelease remap_file_pages set_mempolicy "
        "set_mempolicy_home_node"
    ),
    "processes": (
        "arch_prctl capget capset execve execveat exit exit_group fork getcpu getegid getegid32 geteuid geteuid32 "
        "getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 "
        "getresuid getresuid32 getrlimit getrusage getsid get_thread_area gettid getuid getuid32 get_tls ioprio_get "
        "ioprio_set kcmp landlock_add_rule landlock_create_ruleset landlock_restrict_self listns lsm_get_self_attr "
        "lsm_list_modules lsm_set_self_attr nice pidfd_getfd pidfd_open pidfd_send_signal prctl prlimit64 "
        "process_vm_readv process_vm_writev ptrace sched_getaffinity sched_getattr sched_getparam "
        "sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval "
        "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield "
        "seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority "
        "setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid "
        "set_thread_area set_tid_address set_tls setuid setuid32 times ugetrlimit vfork wait4 waitid waitpid "
        "breakpoint cacheflush usr26 usr32 riscv_flush_icache riscv_hwprobe"
    ),
    "threads": (
        "futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list rseq rseq_slice_yield "
        "set_robust_list"
    ),
    "signals": (
        "alarm kill pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
        "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sgetmask sigaction sigaltstack signal "
        "sigpending sigprocmask sigreturn sigsuspend ssetmask tgkill tkill"
    ),
    "time": (
        # adjtimex and its like also only read; whether they may set, the kernel looks at itself
        "adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
        "clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create "
        "timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64"
    ),
    "the network": (
        "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 "
        "recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair"
    ),
    "other processes": (
        "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 "
        "mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt "
        "shmget"
    ),
    "the system": "getrandom oldolduname olduname sysinfo uname",
    # made by code that the kernel itself puts into a program that is being traced
    "the kernel": "uprobe uretprobe",
}

ALLOWED = frozenset(name for names in _ALLOWED.values() for name in names.split())

_CLOSED = {
    "mounts; they are made before the program starts": (
        "chroot fchroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr "
        "pivot_root umount umount2"
    ),
    "namespaces of others": "setns",
    "keys are not in a namespace": "add_key keyctl request_key",
    "much of the kernel behind one call, and many of its faults": (
        "bpf io_uring_enter io_uring_register io_uring_setup perf_event_open userfaultfd"
    ),
    "files by their inode, past directories that would not let one in": "open_by_handle_at",
    "the kernel is the host's": (
        "create_module delete_module finit_module get_kernel_syms init_module kexec_file_load kexec_load query_module "
        "reboot syslog"
    ),
    "the host's disks, swap and accounts": "acct nfsservctl quotactl quotactl_fd swapoff swapon",
    "the host's clock and name": ("clock_settime clock_settime64 setdomainname sethostname settimeofday stime"),
    "the hardware": "ioperm iopl pciconfig_iobase pciconfig_read pciconfig_write vm86 vm86old",
    "all events of a file system, whoever causes them": "fanotify_init fanotify_mark",
    "the terminal's other users": "vhangup",
    "segments for 16-bit programs": "modify_ldt",
    "old, and nothing but a risk": "bdflush lookup_dcookie _sysctl sysfs uselib ustat",
}

CLOSED = {name: reason for reason, names in _CLOSED.items() for name in names.split()}
"""Name to the reason why it is closed."""

_MISSING = {
    # its flags are in memory, where no filter can look; C libraries then take clone
    "clone3": "clone3",
    "kernels have the number and no call": (
        "afs_syscall break epoll_ctl_old epoll_wait_old ftime getpmsg gtty idle lock mpx prof profil putpmsg security "
        "stty tuxcall ulimit vserver"
    ),
}

MISSING = frozenset(name for names in _MISSING.values() for name in names.split())

_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_LOWER_HALF = 0xFFFFFFFF

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET; NEWTIME can be asked of unshare alone, because its
# bit belongs to the exit signal of clone
_NAMESPACES = 0x7E020000
_NEWTIME = 0x80

_TIOCSTI = 0x5412  # types what it likes on the terminal that the sandbox was started from
_TIOCLINUX = 0x541C  # pastes on a console

_AF_ALG = 38  # the kernel's ciphers
_AF_VSOCK = 40  # from a virtual machine to its host, and in no network namespace

_PERSONALITIES = (0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
"""LINUX, LINUX32, both with UNAME26, and the question which it is. Not those that make memory executable."""


@functools.cache
def default_seccomp() -> Seccomp:
    """The profile, for all architectures that it is written for."""
    return Seccomp(
        default_action="SCMP_ACT_ERRNO",
        default_errno_ret=_ENOSYS,
        architectures=tuple(f"SCMP_ARCH_{name}" for name in ("X86_64", "X86", "AARCH64", "ARM", "RISCV64")),
        syscalls=(
            Syscall(names=sorted(ALLOWED), action="SCMP_ACT_ALLOW"),
            Syscall(names=sorted(CLOSED), action="SCMP_ACT_ERRNO", errno_ret=_EPERM),
            *_conditions(),
        ),
    )


CONDITIONAL = frozenset({"clone", "unshare", "personality", "ioctl", "socket", "socketcall"})
"""Open with some arguments; socketcall with the subcalls that are open."""


def _conditions() -> Iterator[Syscall]:
    """Rules on arguments. Tests for equality come before those for size, so what no exception meets is allowed."""
    yield _rule("clone", _EPERM, _argument(0, "GE", 0))
    yield _rule("clone", None, _argument(0, "MASKED_EQ", _NAMESPACES, 0))
    yield _rule("unshare", _EPERM, _argument(0, "GE", 0))
    yield _rule("unshare", None, _argument(0, "MASKED_EQ", _NAMESPACES | _NEWTIME, 0))
    yield _rule("personality", _EPERM, _argument(0, "GE", 0))
    for value in _PERSONALITIES:
        yield _rule("personality", None, _argument(0, "EQ", value))
    # the kernel looks at the lower half of these arguments, so does the filter: else the upper one would lead past it
    for value in (_TIOCSTI, _TIOCLINUX):
        yield _rule("ioctl", _EPERM, _argument(1, "MASKED_EQ", _LOWER_HALF, value))
    yield _rule("ioctl", None, _argument(1, "GE", 0))
    for value in (_AF_ALG, _AF_VSOCK):
        yield _rule("socket", _EAFNOSUPPORT, _argument(0, "MASKED_EQ", _LOWER_HALF, value))
    yield _rule("socket", None, _argument(0, "GE", 0))


def _rule(name: str, errno: int | None, argument: SyscallArg) -> Syscall:
    if errno is None:
        return Syscall(names=(name,), action="SCMP_ACT_ALLOW", args=(argument,))
    return Syscall(names=(name,), action="SCMP_ACT_ERRNO", errno_ret=errno, args=(argument,))


def _argument(index: int, operator: str, value: int, value_two: int = 0) -> SyscallArg:
    return SyscallArg(index=index, op=f"SCMP_CMP_{operator}", value=value, value_two=value_two)
