"""BPF: a small assembler, and bpf(2) for programs that are attached to cgroups.

Each function of the assembler gives one instruction of 8 bytes; registers are numbers 0 to 10, jumps skip instructions.
Source: Documentation/bpf/standardization/instruction-set.rst of Linux; bpf(2); include/uapi/linux/bpf.h.
"""

import ctypes
import struct
import sys

from libcontainer_py.kernel import libc

PROG_LOAD = 5
PROG_ATTACH = 8
PROG_DETACH = 9
PROG_GET_FD_BY_ID = 13
PROG_QUERY = 16

PROG_TYPE_CGROUP_DEVICE = 15
CGROUP_DEVICE = 6  # enum bpf_attach_type

F_ALLOW_MULTI = 2

DEVCG_DEV_BLOCK = 1
DEVCG_DEV_CHAR = 2
DEVCG_ACC_MKNOD = 1
DEVCG_ACC_READ = 2
DEVCG_ACC_WRITE = 4

_LITTLE = sys.byteorder == "little"


def _instruction(code: int, destination: int = 0, source: int = 0, offset: int = 0, number: int = 0) -> bytes:
    # the two registers are bit fields of one byte, whose order follows the machine's
    registers = source << 4 | destination if _LITTLE else destination << 4 | source
    # an unsigned number of 32 bits has the same bits as the signed one that the field is
    return struct.pack("=BBhI", code, registers, offset, number & 0xFFFFFFFF)


def load(destination: int, source: int, offset: int) -> bytes:
    """Let destination = the u32 at source + offset."""
    return _instruction(0x61, destination, source, offset)


def move(destination: int, source: int) -> bytes:
    """Let destination = source."""
    return _instruction(0xBF, destination, source)


def move_number(destination: int, number: int) -> bytes:
    """Let destination = number."""
    return _instruction(0xB7, destination, number=number)


def and_with(destination: int, number: int) -> bytes:
    """Let destination &= number."""
    return _instruction(0x57, destination, number=number)


def shift_right_by(destination: int, number: int) -> bytes:
    """Let destination >>= number, unsigned."""
    return _instruction(0x77, destination, number=number)


def jump_if_equal(register: int, number: int, skip: int) -> bytes:
    """Skip instructions if the lower 32 bits of the register are number (since Linux 5.1)."""
    return _instruction(0x16, register, offset=skip, number=number)


def jump_unless_equal(register: int, number: int, skip: int) -> bytes:
    """Skip instructions unless the lower 32 bits of the register are number (since Linux 5.1)."""
    return _instruction(0x56, register, offset=skip, number=number)


def leave() -> bytes:
    """End the program; r0 is its result."""
    return _instruction(0x95)


def _bpf(command: int, attributes: bytes) -> "tuple[int, bytes]":
    """bpf(2). Returns its result and the attributes as the kernel left them."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return libc.syscall("bpf", command, buffer, len(attributes)), buffer.raw


def prog_load(kind: int, code: bytes, name: bytes = b"", license_name: bytes = b"Apache-2.0") -> int:
    """BPF_PROG_LOAD. Returns a descriptor, which the caller closes. Raises OSError (EINVAL, EACCES: the verifier)."""
    instructions = ctypes.create_string_buffer(code, len(code))
    text = ctypes.create_string_buffer(license_name)
    # prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags, prog_name
    attributes = struct.pack(
        "=IIQQIIQII16s",
        *(kind, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(text), 0, 0, 0, 0, 0, name[:15]),
    )
    return _bpf(PROG_LOAD, attributes)[0]


def prog_attach(target: int, program: int, kind: int, flags: int) -> None:
    """BPF_PROG_ATTACH to a cgroup's directory."""
    _bpf(PROG_ATTACH, struct.pack("=IIII", target, program, kind, flags))


def prog_detach(target: int, program: int, kind: int) -> None:
    """BPF_PROG_DETACH from a cgroup's directory."""
    _bpf(PROG_DETACH, struct.pack("=III", target, program, kind))


def prog_get_fd_by_id(number: int) -> int:
    """BPF_PROG_GET_FD_BY_ID. Returns a descriptor, which the caller closes."""
    return _bpf(PROG_GET_FD_BY_ID, struct.pack("=III", number, 0, 0))[0]


def prog_query(target: int, kind: int) -> "list[int]":
    """BPF_PROG_QUERY: the ids of the programs that are attached to a cgroup's directory itself."""
    count = 64  # no cgroup takes more
    ids = ctypes.create_string_buffer(4 * count)
    # target_fd, attach_type, query_flags, attach_flags, prog_ids, prog_cnt
    _, answer = _bpf(PROG_QUERY, struct.pack("=IIIIQII", target, kind, 0, 0, ctypes.addressof(ids), count, 0))
    found: int = struct.unpack_from("=I", answer, 24)[0]
    return list(struct.unpack_from(f"={found}I", ids.raw))
