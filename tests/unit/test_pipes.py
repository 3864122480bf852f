"""Pipes between us and real programs: everything arrives, nothing is waited for in vain."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libcontainer_py.pipes import Pipes, descriptor_of
from libcontainer_py.streams import DEVNULL, PIPE, STDOUT, Capture, Exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: pidfds, and the size of a pipe")

MIB = 1 << 20


@pytest.fixture(autouse=True)
def no_descriptor_stays_open() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


def start(pipes: Pipes, *command: str) -> subprocess.Popen[bytes]:
    stdin, stdout, stderr = pipes.given
    process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr)
    pipes.release()
    return process


def exchange(
    command: tuple[str, ...], given: bytes | None = None, *, stdout: int = PIPE, stderr: int = PIPE
) -> tuple[bytes, bytes]:
    """What a program writes to each stream."""
    captured = {"stdout": Capture(None), "stderr": Capture(None)}
    with Pipes(DEVNULL if given is None else PIPE, stdout, stderr) as pipes, start(pipes, *command):
        for name, chunk in pipes.drive(Exchange(given=given, outputs=pipes.outputs)):
            captured[name].take(chunk)
    return captured["stdout"].value(), captured["stderr"].value()


def test_both_streams() -> None:
    assert exchange(("sh", "-c", r"printf '\377\000a'; printf 'b\376' >&2")) == (b"\xff\0a", b"b\xfe")


def test_stderr_with_stdout() -> None:
    assert exchange(("sh", "-c", "echo a; echo b >&2; echo c"), stderr=STDOUT) == (b"a\nb\nc\n", b"")


def test_stderr_with_a_stdout_that_is_inherited() -> None:
    with Pipes(None, None, STDOUT) as pipes:
        assert pipes.given == (None, None, 1)


def test_input() -> None:
    assert exchange(("cat",), b"\0given") == (b"\0given", b"")


def test_empty_input_is_closed() -> None:
    assert exchange(("cat",), b"") == (b"", b"")


def test_input_that_is_not_read() -> None:
    assert exchange(("true",), bytes(MIB)) == (b"", b"")
    assert exchange(("head", "-c1"), bytes(MIB)) == (b"\0", b"")


def test_input_that_is_not_read_by_one_who_goes_on() -> None:
    assert exchange(("sh", "-c", "exec <&-; echo on"), bytes(MIB)) == (b"on\n", b"")


def test_a_hundred_megabytes_both_ways() -> None:
    given = os.urandom(MIB) * 100
    digest, count = hashlib.sha256(), 0
    with Pipes(PIPE, PIPE, DEVNULL) as pipes, start(pipes, "cat"):
        for _, chunk in pipes.drive(Exchange(given=given, outputs=pipes.outputs)):
            digest.update(chunk)
            count += len(chunk)
    assert count == len(given)
    assert digest.digest() == hashlib.sha256(given).digest()


def test_chunks_come_in_the_order_of_arrival(tmp_path: Path) -> None:
    # each line is written when the one before it was read
    go = tmp_path / "go"
    os.mkfifo(go)
    script = "exec 3<$0; echo 1; read x <&3; echo 2 >&2; read x <&3; echo 3 >&2; read x <&3; echo 4"
    seen = []
    with (
        Pipes(DEVNULL, PIPE, PIPE) as pipes,
        start(pipes, "sh", "-c", script, str(go)),
        go.open("wb", buffering=0) as told,
    ):
        for name, chunk in pipes.drive(Exchange(outputs=pipes.outputs)):
            seen.append((name, chunk))
            try:
                told.write(b"\n")
            except BrokenPipeError:
                assert len(seen) == 4
    assert seen == [("stdout", b"1\n"), ("stderr", b"2\n"), ("stderr", b"3\n"), ("stdout", b"4\n")]


def test_the_deadline_comes_while_nothing_is_said() -> None:
    with Pipes(DEVNULL, PIPE, DEVNULL) as pipes, start(pipes, "sleep", "1000") as process:
        begun = time.monotonic()
        one = Exchange(outputs=pipes.outputs, deadline=begun + 0.05)
        assert list(pipes.drive(one)) == []
        assert 0.05 <= time.monotonic() - begun < 5
        assert not one.over
        process.kill()


def test_the_deadline_comes_while_a_flood_arrives() -> None:
    with Pipes(DEVNULL, PIPE, DEVNULL) as pipes, start(pipes, "yes") as process:
        begun = time.monotonic()
        one = Exchange(outputs=pipes.outputs, deadline=begun + 0.05)
        assert sum(len(chunk) for _, chunk in pipes.drive(one)) > 0
        assert time.monotonic() - begun < 5
        assert not one.over
        process.kill()


def test_the_rest_does_not_wait() -> None:
    with Pipes(PIPE, PIPE, PIPE) as pipes, start(pipes, "sh", "-c", "echo a; exec sleep 1000") as process:
        one = Exchange(given=None, outputs=pipes.outputs)
        flow = pipes.drive(one)
        assert next(flow) == ("stdout", b"a\n")
        os.write(pipes.descriptor("stdin") or -1, b"x")
        assert list(pipes.rest(one)) == []
        assert one.over
        assert pipes.descriptor("stdin") is None
        process.kill()


def test_the_rest_is_no_more_than_a_pipe_holds() -> None:
    with Pipes(DEVNULL, PIPE, DEVNULL) as pipes:
        writer = pipes.given[1]
        assert writer is not None
        os.set_blocking(writer, False)
        capacity = os.write(writer, bytes(MIB))
        count = 0
        one = Exchange(outputs=pipes.outputs)
        for _, chunk in pipes.rest(one):
            count += os.write(writer, chunk)  # so that it never runs dry
            assert count <= capacity
        assert count == capacity
        assert one.over


def test_a_holder_of_the_pipes_is_not_waited_for_when_all_others_are_gone() -> None:
    with Pipes(PIPE, PIPE, PIPE) as pipes:
        held = [os.dup(number) for number in pipes.given if number is not None]  # as a process that we forked would
        with start(pipes, "sh", "-c", "head -c 200000 /dev/zero; echo b >&2") as process:
            pidfd = os.pidfd_open(process.pid)
            one = Exchange(given=bytes(MIB), outputs=pipes.outputs)
            said = {"stdout": 0, "stderr": 0}
            for name, chunk in pipes.drive(one, ended=pidfd):
                said[name] += len(chunk)
            os.close(pidfd)
        assert said == {"stdout": 200000, "stderr": 2}
        assert one.over
        for number in held:
            os.close(number)


def test_only_our_ends_are_non_blocking() -> None:
    with Pipes(PIPE, PIPE, PIPE) as pipes:
        assert [os.get_blocking(number) for number in pipes.given if number is not None] == [True] * 3
        ours = [pipes.descriptor(name) for name in ("stdin", *pipes.outputs)]
        driven = pipes.drive(Exchange(given=b"x" * MIB, outputs=pipes.outputs))
        os.write(pipes.given[2] or -1, b"told")
        assert next(driven) == ("stderr", b"told")
        assert [os.get_blocking(number) for number in ours if number is not None] == [False] * 3
        assert [os.get_blocking(number) for number in pipes.given if number is not None] == [True] * 3


def test_no_end_is_inherited() -> None:
    with Pipes(PIPE, PIPE, PIPE) as pipes:
        ours = [pipes.descriptor(name) for name in ("stdin", *pipes.outputs)]
        assert not any(os.get_inheritable(number) for number in (*pipes.given, *ours) if number is not None)


def test_streams_that_are_no_pipes() -> None:
    with open("/dev/null", "rb") as file, Pipes(file, DEVNULL, None) as pipes:
        assert pipes.given == (file.fileno(), DEVNULL, None)
        assert pipes.outputs == ()


@pytest.mark.parametrize(("stream", "error"), [(PIPE, ValueError), (STDOUT, ValueError), ("x", TypeError)])
def test_what_is_no_stream(stream: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        descriptor_of(stream)  # type: ignore[arg-type]  # that is the test


def test_a_stream_that_is_none_leaves_no_pipe_open() -> None:
    with pytest.raises(TypeError):
        Pipes(PIPE, PIPE, "x")  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ValueError, match="STDOUT cannot be used here"):
        Pipes(PIPE, STDOUT, PIPE)
