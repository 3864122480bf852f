"""Where errors and warnings go: standard error or a file, as text or JSON, in the shape that engines read back."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FORMATS: Final = ("text", "json")
_SHORT = {"error": "ERRO", "warning": "WARN", "info": "INFO", "debug": "DEBU"}
_STDERR = 2


class Log:
    """Lines of `time`, `level` and `msg`. What cannot be written there is said on standard error instead."""

    def __init__(self, *, path: str = "", style: str = "text", debug: bool = False) -> None:
        """Open it, to append. Raises OSError."""
        self.descriptor: int = _STDERR
        self._style = style
        self._debug = debug
        if path and path != "/dev/stderr":
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self.descriptor = os.open(path, flags, 0o644)

    def fatal(self, message: str) -> None:
        """Why this command failed: the last line of the log, and on standard error too."""
        written = self._write("error", message)
        if self.descriptor != _STDERR or not written:
            _to_stderr(f"{message}\n")

    def failed(self, message: str) -> None:
        """Something failed, and the command goes on."""
        self._write("error", message)

    def warning(self, message: str) -> None:
        """Something was not done as it was asked for."""
        self._write("warning", message)

    def debug(self, message: str) -> None:
        """For who asked for it."""
        if self._debug:
            self._write("debug", message)

    def _write(self, level: str, message: str) -> bool:
        line = self._line(level, message).encode("utf-8", "backslashreplace")
        try:
            return os.write(self.descriptor, line) == len(line)
        except OSError:
            return False  # a full disk must not hide what is said

    def _line(self, level: str, message: str) -> str:
        from libcontainer_py.cli.text import quoted  # noqa: PLC0415  (json, for who has something to say)

        if self._style == "text" and self.descriptor == _STDERR and os.isatty(_STDERR):
            return f"{_SHORT[level]}[0000] {message}\n"
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._style == "json":
            return f'{{"level":"{level}","msg":{quoted(message)},"time":"{moment}"}}\n'
        return f'time="{moment}" level={level} msg={quoted(message)}\n'


def _to_stderr(text: str) -> None:
    try:
        os.write(_STDERR, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # nobody is left to tell
