"""Between the terminal and signals of who called us, and a process in a container: for run and exec in the foreground.

One loop over poll: signals come through a pipe (`set_wakeup_fd`), what is typed goes to the container's terminal, what
is shown there comes back. Signals are passed on; SIGWINCH becomes a new size, SIGCHLD a look at who has ended.
"""

from __future__ import annotations

import os
import select
from contextlib import contextmanager
from errno import EIO
from typing import Protocol

from libcontainer_py.kernel.constants import PR_SET_CHILD_SUBREAPER

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Generator
    from types import FrameType, TracebackType
    from typing import TypeAlias

    from libcontainer_py import Container, ContainerProcess, Terminal

    Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None
else:
    import _signal  # signal loads enum

_SIGCHLD, _SIGWINCH = 17, 28
_PASSED_ON = (1, 2, 3, 10, 12, 14, 15, 18, 20, 21, 22, *range(34, 65))
"""HUP INT QUIT USR1 USR2 ALRM TERM CONT TSTP TTIN TTOU, and real-time signals."""
_CAUGHT = (_SIGCHLD, _SIGWINCH, *_PASSED_ON)
_STDIN, _STDOUT = 0, 1
_CHUNK = 65536


class Followed(Protocol):
    """A process in a container."""

    @property
    def pid(self) -> int: ...

    def ended(self) -> int | None:
        """Its exit code, 128 + n for signal n; None while it runs."""
        ...

    def signal(self, number: int) -> None: ...


class Init:
    """The program of a container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self.pid: int = container.init_pid or 0

    def ended(self) -> int | None:
        """See `Followed`."""
        from libcontainer_py import ContainerTimeout  # noqa: PLC0415  (loaded by now)

        try:
            return self._container.wait(timeout=0).exit_code or 0
        except ContainerTimeout:
            return None

    def signal(self, number: int) -> None:
        """Silent where it has ended."""
        from libcontainer_py import IllegalOperation  # noqa: PLC0415  (loaded by now)

        try:
            self._container.signal(number)
        except IllegalOperation:
            pass


class Joined:
    """A further process."""

    def __init__(self, process: ContainerProcess) -> None:
        self._process = process
        self.pid: int = process.pid

    def ended(self) -> int | None:
        """See `Followed`."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """Silent where it has ended."""
        self._process.send_signal(number)


class Relay:
    """Catches signals from its beginning on, so that none is lost before there is a process to get it.

    Not `catching`, it does nothing: for who does not stay.
    """

    def __init__(self, *, catching: bool) -> None:
        self._catching = catching
        self._before: dict[int, Handler] = {}
        self._mask: set[int] = set()
        self._read = self._write = self._wakeup = -1

    def __enter__(self) -> Relay:
        if self._catching:
            self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._wakeup = _signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            for number in _CAUGHT:
                self._before[number] = _signal.signal(number, _noted)
            self._mask = _signal.pthread_sigmask(_signal.SIG_UNBLOCK, _CAUGHT)  # our caller may have blocked them
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._catching:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)
            for number, handler in self._before.items():
                _signal.signal(number, handler)
            _signal.set_wakeup_fd(self._wakeup)
            os.close(self._read)
            os.close(self._write)

    def follow(self, process: Followed, terminal: Terminal | None) -> int:
        """Stay with it to its end: its exit code."""
        with _raw_terminal(terminal):
            try:
                if terminal is None:
                    return self._wait(process)
                return self._carry(process, terminal, Typed(terminal))
            finally:
                if terminal is not None:
                    terminal.close()

    def _wait(self, process: Followed) -> int:
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        while (code := process.ended()) is None:
            poll.poll()
            self._take_signals(process, None)
        return code

    def _carry(self, process: Followed, terminal: Terminal, typed: Typed) -> int:
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        shown = True
        while (code := process.ended()) is None:
            for descriptor, events in typed.wants(shown=shown).items():
                poll.register(descriptor, events)
            for descriptor, found in poll.poll():
                if descriptor == self._read:
                    self._take_signals(process, terminal)
                elif descriptor == _STDIN:
                    typed.read()
                else:
                    typed.write()
                    shown = shown and (not found & ~select.POLLOUT or _show(terminal))
            for descriptor in (_STDIN, terminal.fileno()):
                if descriptor not in typed.wants(shown=shown):
                    try:
                        poll.unregister(descriptor)
                    except KeyError:
                        pass  # it was not wanted before either
        _drain(terminal)
        return code

    def _take_signals(self, process: Followed, terminal: Terminal | None) -> None:
        for number in os.read(self._read, 4096):
            if number == _SIGCHLD:
                _reap_others(process.pid)
            elif number != _SIGWINCH:
                process.signal(number)
            elif terminal is not None:
                copy_size(terminal)


class Typed:
    """What was typed here, and the container's terminal has not taken yet: no more is read before it did."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._left = b""
        self._over = False
        os.set_blocking(terminal.fileno(), False)

    def wants(self, *, shown: bool) -> dict[int, int]:
        """What to poll for: `shown` says that the terminal may have something to show."""
        events = (select.POLLIN if shown else 0) | (select.POLLOUT if self._left else 0)
        wanted = {self._terminal.fileno(): events} if events else {}
        if not self._left and not self._over:
            wanted[_STDIN] = select.POLLIN
        return wanted

    def read(self) -> None:
        """Take what is typed."""
        self._left = os.read(_STDIN, _CHUNK)
        self._over = not self._left
        self.write()

    def write(self) -> None:
        """Give on what can be given."""
        try:
            while self._left:
                self._left = self._left[self._terminal.write(self._left) :]
        except BlockingIOError:
            pass  # POLLOUT says when
        except OSError as error:
            if error.errno != EIO:
                raise
            self._left = b""  # nobody has it open any more


def become_subreaper() -> None:
    """Whom the container's processes leave behind become our children: we reap them."""
    from libcontainer_py.kernel import libc  # noqa: PLC0415  (create loads it too)

    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def _noted(_number: int, _frame: FrameType | None) -> None:
    """The pipe says it."""


def _reap_others(pid: int) -> None:
    """Reap who ended, but for the process itself, whose end somebody asks for."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == pid:
            return
        os.waitpid(found.si_pid, 0)


def _show(terminal: Terminal) -> bool:
    """Print what the terminal shows; False: nobody has it open any more."""
    try:
        data = terminal.read(_CHUNK)
    except BlockingIOError:
        return True
    _write_all(_STDOUT, data)
    return bool(data)


def _drain(terminal: Terminal) -> None:
    """What was shown before the end, and is not printed yet."""
    poll = select.poll()
    poll.register(terminal.fileno(), select.POLLIN)
    while poll.poll(0) and _show(terminal):
        pass


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def own_size() -> tuple[int, int] | None:
    """Columns and rows of the terminal that we are called from; None: there is none."""
    try:
        columns, rows = os.get_terminal_size(_STDIN)
    except OSError:
        return None
    return (columns, rows) if columns and rows else None


def copy_size(terminal: Terminal) -> None:
    """Give a container's terminal the size of ours, where we have one."""
    size = own_size()
    if size is not None:
        terminal.resize(*size)


@contextmanager
def _raw_terminal(terminal: Terminal | None) -> Generator[None]:
    """What is typed goes to the container as it is, ^C and ^Z too."""
    if terminal is None or not os.isatty(_STDIN):
        yield
        return
    import termios  # noqa: PLC0415  (for who has a terminal)
    import tty  # noqa: PLC0415  (goes with it)

    copy_size(terminal)
    before = termios.tcgetattr(_STDIN)
    tty.setraw(_STDIN, termios.TCSANOW)  # what was typed already is for the program
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)
