"""The keywords of `run`, for type checkers: which of them make its output text. Never loaded."""

from __future__ import annotations

from typing import Literal

from typing_extensions import Required, TypedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer_py.factory import StrPath
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.sandbox.options import Binds, Size, Who


class _Options(TypedDict, total=False):
    env: Mapping[str, str] | None
    cwd: str | None
    timeout: float | None
    stdin: Stdio
    stdout: Stdio
    stderr: Stdio
    max_output: int
    check: bool


class BytesOptions(_Options, total=False):
    """Output is bytes."""

    input: bytes | None
    text: Literal[False]
    encoding: None


class TextOptions(_Options, total=False):
    """Output is str, in UTF-8 unless it is said otherwise."""

    input: bytes | str | None
    text: Required[Literal[True]]
    encoding: str | None


class EncodedOptions(_Options, total=False):
    """Output is str."""

    input: bytes | str | None
    text: bool
    encoding: Required[str]


class AnyOptions(_Options, total=False):
    """All of them."""

    input: bytes | str | None
    text: bool
    encoding: str | None


class Surroundings(TypedDict, total=False):
    """What a command in a sandbox of its own sees, and is limited to."""

    rootfs: StrPath | None
    binds: Binds | None
    user: Who | None
    network: bool
    memory: Size | None
    cpus: float | None
    pids: int | None


class BytesRun(Surroundings, BytesOptions, total=False):
    """Of `run`: output is bytes."""


class TextRun(Surroundings, TextOptions, total=False):
    """Of `run`: output is str."""


class EncodedRun(Surroundings, EncodedOptions, total=False):
    """Of `run`: output is str."""


class AnyRun(Surroundings, AnyOptions, total=False):
    """Of `run`: all of them."""
