"""Factory: creates, loads, lists, deletes and sweeps the containers under one root."""

from __future__ import annotations

import os
import warnings

from libcontainer_py.backends.base import CreateRequest
from libcontainer_py.container import Container
from libcontainer_py.errors import BrokenStateWarning, ConfigError, ContainerNotFound, CreateError, Problem, StateError
from libcontainer_py.pids import Listeners
from libcontainer_py.pipes import check_preserved, descriptor_of
from libcontainer_py.terminal import ConsoleSocket, Keeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable
    from typing import TypeAlias

    from libcontainer_py.backends.base import Backend
    from libcontainer_py.pipes import Stdio
    from libcontainer_py.record import Record, Swept
    from libcontainer_py.spec import Spec

    StrPath: TypeAlias = "str | os.PathLike[str]"


class Factory:
    """The containers under one root.

    Without a root: /run/libcontainer_py; for an ordinary user $XDG_RUNTIME_DIR/libcontainer_py where that is his, else
    /tmp/libcontainer_py-UID. Without a backend: Linux. Nothing is made or read before the first verb.
    """

    def __init__(self, root: StrPath | None = None, *, backend: Backend | None = None) -> None:
        if root is not None and backend is not None:
            raise TypeError("give a root or a backend, not both: a backend has its root already")
        if root is not None and not os.fspath(root):
            raise ValueError("an empty root would be the working directory")
        if root is not None and (why := _unusable(os.fspath(root))):
            raise ValueError(f"the path of the root {why}: {os.fspath(root)!r}")
        self._root: str | None = None if root is None else os.path.abspath(os.fspath(root))
        self._given = backend

    def __repr__(self) -> str:
        where = self._given.root if self._given is not None else self._root
        return f"Factory({where!r})" if where is not None else "Factory()"

    @property
    def backend(self) -> Backend:
        """What carries out the verbs."""
        if self._given is None:
            from libcontainer_py.backends.linux import LinuxBackend  # noqa: PLC0415  (Linux on first use alone)

            self._given = LinuxBackend(self._root)
        return self._given

    def create(
        self,
        container_id: str,
        bundle: StrPath | Spec,
        *,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        die_with_parent: bool = False,
        console_socket: StrPath | None = None,
        pid_file: StrPath | None = None,
        pidfd_socket: StrPath | None = None,
        preserve_fds: int = 0,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
    ) -> Container:
        """Make a container from a bundle's directory, or from a Spec; its program waits for `start()`.

        stdin, stdout and stderr as in subprocess: None inherits ours, DEVNULL, a file or its descriptor. With
        `die_with_parent` it is killed when this process ends, however that comes; what is left of it then, `sweep`
        removes.

        With process.terminal the program gets a terminal instead of streams, in the container's own /dev/pts, and
        `Container.terminal` is our end of it. With `console_socket` that is sent to who listens at this path, as runc
        does, and nothing is kept.

        `pid_file` is written once all is made, and `pidfd_socket` gets a pidfd of init: where that fails, nothing is
        left. Of our descriptors those from 3 on, `preserve_fds` of them, are the program's too. `no_pivot` is for
        a root in the first ramdisk, which no pivot_root takes: it is less safe. With `no_new_keyring` it has our
        session keyring.

        Raises InvalidId, ConfigError (with every problem), ContainerExists, ProgramNotFound, CreateError, HookError,
        CgroupError, StateError, UnsupportedPlatform; after an error nothing of it is left.
        """
        request = creation(
            container_id,
            bundle,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            die_with_parent=die_with_parent,
            preserve_fds=preserve_fds,
            no_pivot=no_pivot,
            no_new_keyring=no_new_keyring,
        )
        taker = taker_of(console_socket, container_id)
        with taker, listeners(pid_file, pidfd_socket, container_id) as told:
            record = self.backend.create(request._replace(terminal=taker, listener=told))
        return Container.of(self.backend, record, owner=True, terminal=taker.terminal)

    def directory(self, container_id: str) -> str:
        """The state directory of a container of that id, whether there is one or not."""
        return os.path.join(self.backend.root, container_id)

    def load(self, container_id: str) -> Container:
        """A handle on an existing container, whoever made it: this library or runc.

        Raises InvalidId, ContainerNotFound, StateError.
        """
        return Container.of(self.backend, self.backend.load(container_id), owner=False)

    def ids(self) -> builtins.list[str]:
        """The ids of all containers, sorted; those of broken directories too."""
        return self.backend.ids()

    def list(self, *, on_error: Callable[[StateError], object] | None = None) -> list[Container]:
        """All containers. A broken directory calls `on_error`, or warns BrokenStateWarning; it is never fatal."""
        return [Container.of(self.backend, record, owner=False) for record in records(self.backend, on_error)]

    def delete(self, container_id: str, *, force: bool = False) -> None:
        """Remove a container by its id; it needs no readable state. With `force` any, and a missing one is silent."""
        self.backend.destroy(container_id, force=force)

    def sweep(self) -> builtins.list[Swept]:
        """Remove what crashes left, where it is proven that nobody needs it.

        Never a living container, but for one that was to die with its creator, and whose creator has died.
        """
        return [*self.backend.sweep()]


def records(backend: Backend, on_error: Callable[[StateError], object] | None) -> list[Record]:
    """What `Factory.list` makes handles of."""
    found: list[Record] = []
    for container_id in backend.ids():
        try:
            found.append(backend.load(container_id))
        except ContainerNotFound:
            continue  # deleted meanwhile, or just being created
        except StateError as error:
            if on_error is not None:
                on_error(error)
            else:
                warnings.warn(str(error), BrokenStateWarning, stacklevel=3)
    return found


def taker_of(console_socket: StrPath | None, container_id: str) -> Keeper | ConsoleSocket:
    """Who takes the terminal of a container that is to be made. Raises CreateError where nobody listens."""
    return Keeper() if console_socket is None else ConsoleSocket(console_socket, container_id, CreateError)


def listeners(pid_file: StrPath | None, pidfd_socket: StrPath | None, container_id: str) -> Listeners:
    """Who is told of the init of a container that is to be made. Raises CreateError where nobody listens."""
    return Listeners(pid_file, pidfd_socket, container_id, CreateError, word=b"standard")


def creation(
    container_id: str,
    bundle: StrPath | Spec,
    *,
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
    die_with_parent: bool,
    preserve_fds: int,
    no_pivot: bool,
    no_new_keyring: bool,
) -> CreateRequest:
    """What `Factory.create` is asked for. Raises TypeError, ValueError, ConfigError."""
    check_preserved(preserve_fds)
    return CreateRequest(
        container_id,
        _path(os.fspath(bundle)) if isinstance(bundle, (str, os.PathLike)) else "",
        None if isinstance(bundle, (str, os.PathLike)) else _spec(bundle),
        descriptor_of(stdin),
        descriptor_of(stdout),
        descriptor_of(stderr),
        die_with_parent=die_with_parent,
        preserve_fds=preserve_fds,
        no_pivot=no_pivot,
        no_new_keyring=no_new_keyring,
    )


def _path(bundle: str) -> str:
    why = _unusable(bundle)
    if why:
        raise ConfigError([Problem("", f"the path of the bundle {why}: {bundle!r}", bundle)])
    return os.path.abspath(bundle)


def _unusable(path: str) -> str:
    """Why no system call takes this path, or ""."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return "contains a character that no file name can have"
    return "contains a NUL character" if "\0" in path else ""


def _spec(given: object) -> Spec:
    from libcontainer_py.spec import Spec  # noqa: PLC0415  (attrs, which create loads anyway)

    if not isinstance(given, Spec):
        raise TypeError(
            f"a bundle is the path of a directory, or a Spec, not {type(given).__name__}; Spec.from_dict makes one"
        )
    return given
