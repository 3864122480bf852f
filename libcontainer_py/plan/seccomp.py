"""From linux.seccomp to the program that seccomp(2) takes.

What a profile means is what it means to runc, which builds its filter with libseccomp:

* It counts for the machine's own architecture, and for those of its architectures that the machine's kernel takes
  system calls of; others are passed over, as there will be no system call of them. A system call of an architecture
  that is not in the filter kills the thread.
* Names that an architecture does not know are passed over, so that one profile does for old and new kernels. Rules with
  the default action are passed over too.
* The arguments of one rule are and-ed; but a rule that compares one argument twice counts as one rule for each
  comparison. The rules of one system call are or-ed.
* A rule without arguments comes before all rules with arguments, and the first one counts. Of the others the first that
  holds counts, in libseccomp's order: those whose first argument is a higher one come first; on the same argument
  equality, inequality and masks come before less, less before greater; then the larger number comes first (for less:
  the smaller); then what has fewer comparisons. Two rules that compare the same and do another thing are a mistake.
* On 32-bit architectures and x32 the lower 32 bits of arguments and numbers are compared.
* On i386 the calls for sockets and System V IPC are also subcalls of socketcall and ipc. A rule for one of them is a
  rule for the subcall too, which argument 0 tells. Its comparisons of other arguments stay, and mean little there: a
  subcall's arguments are in memory, where no filter can look.

A system call that is newer than all that the profile names gets ENOSYS, unless the default action lets it happen: C
libraries try new calls first, and fall back to old ones at ENOSYS alone. Without this a profile that says EPERM, or
kill, breaks programs as soon as the C library learns of another call. What is too new is told from the number: it is
larger than those of all names in the profile on that architecture (runc's rule too, libcontainer/seccomp/patchbpf;
numbers that are private to ARM do not count here).

The order of tests is ours: a balanced tree over the ranges of numbers that fare alike, with the arguments as its
leaves. libseccomp's form of podman's profile takes 1408 instructions, this one 205.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import attrs

from libcontainer_py.errors import ConfigError, Problem, UnsupportedPlatform
from libcontainer_py.kernel import constants
from libcontainer_py.plan.decisions import (
    ARCHITECTURE,
    ARGUMENTS,
    EQUAL,
    GREATER,
    GREATER_OR_EQUAL,
    NUMBER,
    Decisions,
    assemble,
    knowing,
    pack,
)
from libcontainer_py.plan.syscalls import table
from libcontainer_py.spec import seccomp as words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from libcontainer_py.plan.decisions import Decision
    from libcontainer_py.spec.linux import Seccomp
    from libcontainer_py.spec.seccomp import Architecture, Comparison

    Alternative: TypeAlias = tuple[Comparison, ...]

INSTRUCTIONS_MAX = 4096
"""BPF_MAXINSNS."""

_ENOSYS = constants.SECCOMP_RET_ERRNO | 38
_BAD_ARCHITECTURE = constants.SECCOMP_RET_KILL_THREAD
_LETS_HAPPEN = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
_X32 = 0x40000000  # __X32_SYSCALL_BIT
_ARM_PRIVATE = 0x0F0000  # __ARM_NR_BASE
_HALF = 0xFFFFFFFF

# i386: what is a subcall of another call too, and its number there. Source: include/uapi/linux/net.h and ipc.h of Linux
_SOCKET = (
    "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown "
    "setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg"
).split()
_SEMAPHORES = ("semop", "semget", "semctl", "semtimedop")
_QUEUES = ("msgsnd", "msgrcv", "msgget", "msgctl")
_SHARED_MEMORY = ("shmat", "shmdt", "shmget", "shmctl")
_SUBCALLS = {
    **{name: ("socketcall", number) for number, name in enumerate(_SOCKET, 1)},
    **{name: ("ipc", number) for number, name in enumerate(_SEMAPHORES, 1)},
    **{name: ("ipc", number) for number, name in enumerate(_QUEUES, 11)},
    **{name: ("ipc", number) for number, name in enumerate(_SHARED_MEMORY, 21)},
}


class Filter(NamedTuple):
    """What is to be loaded, and how."""

    program: bytes
    """An array of `struct sock_filter`, in the machine's byte order."""
    flags: int
    """SECCOMP_FILTER_FLAG_*; with NEW_LISTENER among them loading gives the listener's descriptor."""

    @property
    def notifies(self) -> bool:
        """Whether there is a listener, who must get that descriptor."""
        return bool(self.flags & constants.SECCOMP_FILTER_FLAG_NEW_LISTENER)


def compile_filter(profile: Seccomp, machine: str) -> Filter:
    """Compile a profile for a machine, as uname(2) calls it. The last few are kept, by the profile's hash.

    Raises ConfigError for a profile that is wrong or too long, UnsupportedPlatform for a machine without tables.
    """
    return Filter(_program(profile, machine), flags(profile))


def flags(profile: Seccomp) -> int:
    """SECCOMP_FILTER_FLAG_* of a profile.

    Without `flags` it is SPEC_ALLOW, as with runc: seccomp is not to switch on the slow mitigation of speculative store
    bypass, which Linux before 5.16 did. An empty list in the document is no flag at all.
    """
    value = 0
    for word in profile.flags:
        value |= words.FLAGS.get(word, 0)
    if not profile.flags and "flags" not in attrs.evolve(profile, syscalls=()).to_dict():
        value |= constants.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    if words.notifies(profile):
        value |= constants.SECCOMP_FILTER_FLAG_NEW_LISTENER
    return value


@functools.lru_cache(maxsize=16)
def _program(profile: Seccomp, machine: str) -> bytes:
    problems = [*words.problems(profile)]
    if problems:
        raise ConfigError(problems)
    known = words.MACHINES.get(machine)
    if known is None:
        raise UnsupportedPlatform(
            f"no system calls of machine {machine!r} are known for seccomp",
            hint="those of " + ", ".join(sorted(words.MACHINES)) + " are",
        )
    decisions = Decisions()
    trees: dict[int, list[tuple[int, Decision]]] = {}
    # the kernel's own architecture first, because nearly all system calls are made by it
    wanted = [known[0], *(word for word in known[1:] if word in profile.architectures)]
    for word in wanted:
        architecture = words.ARCHITECTURES[word]
        assert architecture is not None
        _Rules(profile, architecture, decisions).into(trees.setdefault(architecture.audit, []))
    if "SCMP_ARCH_X32" not in wanted and words.AUDIT_ARCH_X86_64 in trees:
        # -1 is no call of x32, but what a tracer writes to skip a call
        default = words.action(profile.default_action, profile.default_errno_ret)
        trees[words.AUDIT_ARCH_X86_64] += [(_X32, _BAD_ARCHITECTURE), (0xFFFFFFFF, default)]
    decision: Decision = _BAD_ARCHITECTURE
    for audit, starts in reversed(trees.items()):
        decision = decisions.test(ARCHITECTURE, EQUAL, audit, decisions.ranges(NUMBER, starts), decision)
    code = assemble(decision)
    if len(code) > INSTRUCTIONS_MAX:
        reason = f"needs a filter of {len(code)} instructions, and Linux takes at most {INSTRUCTIONS_MAX}"
        raise ConfigError([Problem("linux.seccomp", reason)])
    return pack(code)


class _Rules:
    """What a profile says of the system calls of one architecture."""

    def __init__(self, profile: Seccomp, architecture: Architecture, decisions: Decisions) -> None:
        self.architecture = architecture
        self.decisions = decisions
        self.default = words.action(profile.default_action, profile.default_errno_ret)
        self.beyond = self.default if profile.default_action in _LETS_HAPPEN else _ENOSYS
        self.largest = 0
        self.apart: set[int] = set()
        """Numbers that are named, but say nothing of what is new."""
        self.certain: dict[int, int] = {}
        """Number to action, whatever the arguments."""
        self.depending: dict[int, dict[Alternative, int]] = {}
        """Number to what its arguments must be like for which action."""
        self.numbers = table(architecture.table)
        subcalls = _SUBCALLS if architecture.audit == words.AUDIT_ARCH_I386 else {}
        for call in profile.syscalls:
            action = words.action(call.action, call.errno_ret)
            numbers = [number for number in map(self.numbers.get, call.names) if number is not None]
            self.see(numbers, subcalls.keys() & call.names)
            if action == self.default:
                continue
            if not call.args:
                for number in numbers:
                    self.certain.setdefault(number, action)
                if not subcalls:
                    continue
            for comparisons in words.alternatives(call):
                if comparisons:
                    for number in numbers:
                        self.put(number, comparisons, action)
                for name in call.names:
                    if name in subcalls:
                        self.put_subcall(*subcalls[name], comparisons, action)

    def see(self, numbers: list[int], subcalls: set[str]) -> None:
        """Note the largest number, but for those that libseccomp knows as subcalls, and those private to ARM."""
        apart: list[int] = []
        if subcalls:
            apart = [self.numbers[name] for name in subcalls if name in self.numbers]
        elif self.architecture.audit == words.AUDIT_ARCH_ARM:
            apart = [number for number in numbers if number >= _ARM_PRIVATE]
        self.apart.update(apart)
        self.largest = max(self.largest, *(set(numbers).difference(apart) if apart else numbers), 0)

    def put_subcall(self, multiplexer: str, number: int, comparisons: Alternative, action: int) -> None:
        """A rule for a subcall."""
        told = words.Comparison(0, "SCMP_CMP_EQ", number, 0)
        rest = [comparison for comparison in comparisons if comparison.argument]
        self.put(self.numbers[multiplexer], (told, *rest), action)

    def put(self, number: int, comparisons: Alternative, action: int) -> None:
        """A rule for one number."""
        meant = tuple(self.narrowed(comparisons))
        if meant:
            self.depending.setdefault(number, {}).setdefault(meant, action)
        else:
            self.certain.setdefault(number, action)

    def narrowed(self, comparisons: Alternative) -> Iterator[Comparison]:
        """What is left of comparisons on this architecture, without masks that mask everything."""
        for comparison in comparisons:
            meant = comparison
            if not self.architecture.wide:
                meant = comparison._replace(value=comparison.value & _HALF, mask=comparison.mask & _HALF)
            if meant.mask or meant.operator != "SCMP_CMP_MASKED_EQ":
                yield meant

    def into(self, starts: list[tuple[int, Decision]]) -> None:
        """Add the first number of each range that fares alike, and how it fares."""
        chosen: dict[int, Decision] = {
            number: self.chosen(list(rules.items()))
            for number, rules in self.depending.items()
            if number not in self.certain
        }
        chosen |= self.certain
        usual = self.default
        latest = starts[-1][1] if starts else None
        expected = _X32 if self.architecture.table == "x32" else 0
        for number in (self.largest, *self.apart) if self.largest else ():
            chosen.setdefault(number, usual)
        for number in sorted(chosen):
            if number != expected and latest != usual:
                starts.append((expected, usual))
                latest = usual
            decision = chosen[number]
            if decision != latest:
                starts.append((number, decision))
                latest = decision
            expected = number + 1
            if 0 < self.largest == number:
                usual = self.beyond
        if latest != usual:
            starts.append((expected, usual))

    def chosen(self, rules: list[tuple[Alternative, int]]) -> Decision:
        """The decision between rules that ask for arguments."""
        if len({action for _, action in rules}) > 1:
            rules = sorted(rules, key=lambda rule: tuple(map(_precedence, rule[0])))
        decision: Decision = self.default
        for comparisons, action in reversed(rules):
            holds: Decision = action
            for comparison in reversed(comparisons):
                holds = self.compared(comparison, holds, decision)
            decision = holds
        return decision

    def compared(self, comparison: Comparison, yes: Decision, no: Decision) -> Decision:
        """The decision between `yes`, where a comparison holds, and `no`."""
        test = self.decisions.test
        index, operator, value, mask = comparison
        low, high = ARGUMENTS + 8 * index, ARGUMENTS + 8 * index + 4  # all of these architectures are little-endian
        below = value & _HALF
        if operator in _INVERSE:
            operator, yes, no = _INVERSE[operator], no, yes
        if operator == "SCMP_CMP_MASKED_EQ":
            above, upper, lower = value >> 32, mask >> 32, mask & _HALF
            if lower:
                yes = test(low, EQUAL, below, yes, knowing(no, high, above, mask=upper), mask=lower)
            return test(high, EQUAL, above, yes, no, mask=upper) if upper else yes
        order = {"SCMP_CMP_EQ": EQUAL, "SCMP_CMP_GT": GREATER, "SCMP_CMP_GE": GREATER_OR_EQUAL}[operator]
        if not self.architecture.wide:
            return test(low, order, below, yes, no)
        above = value >> 32
        equal = test(low, order, below, knowing(yes, high, above), knowing(no, high, above))
        if order != EQUAL and above:
            no = test(high, EQUAL, above, equal, no)
            return test(high, GREATER, above, yes, no)
        return test(high, EQUAL, above, equal, no if order == EQUAL else yes)


_INVERSE = {"SCMP_CMP_NE": "SCMP_CMP_EQ", "SCMP_CMP_LT": "SCMP_CMP_GE", "SCMP_CMP_LE": "SCMP_CMP_GT"}


def _precedence(comparison: Comparison) -> tuple[int, int, int]:
    """Where libseccomp puts a comparison among others of one system call: the smallest comes first."""
    index, operator, value, _ = comparison
    if operator in ("SCMP_CMP_LT", "SCMP_CMP_LE"):
        return -index, 1, value
    return -index, 2 if operator in ("SCMP_CMP_GT", "SCMP_CMP_GE") else 0, -value
