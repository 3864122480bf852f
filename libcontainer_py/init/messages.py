"""The words that host, fork server and init say to each other. Pure, and imports nothing.

From host to fork server a request travels as marshal (both are the same interpreter, and the host trusts itself). What
comes back from init is a fixed, bounded layout and is believed only as far as that: init runs beside code that nobody
trusts.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# fork server -> host; its answers come over init's control socket
HELLO: "Final" = b"hello"
MADE: "Final" = b"K"  # followed by the pid, 4 bytes; the pidfd comes along
REFUSED: "Final" = b"F"  # followed by a report
STAGED: "Final" = b"J"  # followed by the pid of the process that joins namespaces and makes init; so is its pidfd
OF_SERVER: "Final" = (MADE, REFUSED, STAGED)

# init -> host
MOUNTED: "Final" = b"M"  # namespaces and mounts are there; waits for GO_ON
NAMESPACE: "Final" = b"N"  # followed by its name under /proc/PID/ns; its descriptor comes along
TERMINAL: "Final" = b"T"  # the master of its terminal comes along
READY: "Final" = b"R"  # only the fifo is left; waits for SAVED
FAILED: "Final" = b"E"  # followed by a report
EXITED: "Final" = b"X"  # the reaper's command ended; followed by `pack_end`

# host -> fork server; all else are requests
AHEAD: "Final" = b"N"  # make a network namespace: a container that wants one is about to be asked for

# host -> init; first of all comes the plan, marshal of (names of the descriptors that come along, steps, whether a
# second message brings more descriptors: marshal of their names)
IN_MEMFD: "Final" = b"@"  # the plan is in a memfd that comes along, last
GO_ON: "Final" = b"G"  # followed by the OCI state, JSON
SAVED: "Final" = b"S"

LARGEST: "Final" = 65536
"""Bytes that a message may have; a larger plan travels in a memfd."""
MOST_DESCRIPTORS: "Final" = 253
"""Descriptors that may come along with a message. Source: unix(7), SCM_MAX_FD."""
TASKS: "Final" = "tasks "
"""How the names of the descriptors of v1 `tasks` files begin."""
PRESERVED: "Final" = "preserved "
"""How the names of the descriptors begin that are the program's too; then comes their number."""
LONGEST_TEXT: "Final" = 2048
LONGEST_STEP: "Final" = 64

WAITING_NAME: "Final" = "libcontainer:0"
"""/proc/PID/comm of an init that has not left exec.fifo. Readable by everybody, and gone with execve."""

_MAGIC = b"LCPY"


def pack_report(step: str, errno: int, text: str) -> bytes:
    """A failure as bytes: errno (4 bytes, signed), lengths of step and text (2 bytes each), step, text."""
    step_bytes = step.encode("utf-8", "replace")[:LONGEST_STEP]
    text_bytes = text.encode("utf-8", "replace")[:LONGEST_TEXT]
    return (
        errno.to_bytes(4, "little", signed=True)
        + len(step_bytes).to_bytes(2, "little")
        + len(text_bytes).to_bytes(2, "little")
        + step_bytes
        + text_bytes
    )


def unpack_report(data: bytes) -> "tuple[str, int, str] | None":
    """(step, errno, text) of `pack_report`; None where the bytes are no report."""
    if len(data) < 8:
        return None
    errno = int.from_bytes(data[:4], "little", signed=True)
    step_end = 8 + int.from_bytes(data[4:6], "little")
    text_end = step_end + int.from_bytes(data[6:8], "little")
    if len(data) < text_end or step_end - 8 > LONGEST_STEP or text_end - step_end > LONGEST_TEXT:
        return None
    step = data[8:step_end].decode("utf-8", "replace")
    return step, errno, data[step_end:text_end].decode("utf-8", "replace")


def pack_end(returncode: int, own_cpu: float, peak_memory: int) -> bytes:
    """How a reaper's command ended: returncode (4 bytes, signed), seconds the reaper itself used, bytes (8 each)."""
    return (
        returncode.to_bytes(4, "little", signed=True)
        + int(own_cpu * 1e6).to_bytes(8, "little")
        + peak_memory.to_bytes(8, "little")
    )


def unpack_end(data: bytes) -> "tuple[int, float, int] | None":
    """(returncode, seconds, bytes) of `pack_end`; None where the bytes are none."""
    if len(data) != 20:
        return None
    returncode = int.from_bytes(data[:4], "little", signed=True)
    return returncode, int.from_bytes(data[4:12], "little") / 1e6, int.from_bytes(data[12:], "little")


def pack_failure(step: str, errno: int, text: str) -> bytes:
    """What init writes into exec.fifo after its `0` where the program cannot run; under 4 KiB, one atomic write."""
    return _MAGIC + pack_report(step, errno, text)


def unpack_failure(data: bytes) -> "tuple[str, int, str] | None":
    """(step, errno, text) of `pack_failure`; None where the bytes are none: anybody could have written them."""
    return unpack_report(data[len(_MAGIC) :]) if data.startswith(_MAGIC) else None
