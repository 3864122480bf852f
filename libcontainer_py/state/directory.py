"""The store of containers as directories: `<root>/<id>/` with state.json, intent.json and exec.fifo.

A directory appears and vanishes at once, by rename: while it is being filled or emptied it stands under a name that no
id can have (`names.remains_name`), and what a crash leaves there `sweep_remains` removes. Nothing is made before it is
needed. See `backends.base.Store` for what each method promises.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from libcontainer_py.errors import ContainerError, ContainerExists, ContainerNotFound, ContainerTimeout, StateError
from libcontainer_py.record import Swept
from libcontainer_py.state import atomic, fifo, flavour, removal, runc
from libcontainer_py.state import intent as intents
from libcontainer_py.state.atomic import Opened
from libcontainer_py.state.lock import Lock
from libcontainer_py.state.names import check_id, is_id, remains_name, slot_of, slot_of_remains
from libcontainer_py.state.root import default_root, make_root, open_root, refuse_network, unusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer_py.record import Intent, Record

__all__ = ["Directory", "default_root"]

_DRAFT = "state-draft"


class Directory:
    """The state directories under `root`, an absolute path.

    `frozen` says whether the cgroup of the container of an id is frozen; a start that waits at the fifo asks it.
    """

    def __init__(self, root: str, *, frozen: Callable[[str], bool] | None = None) -> None:
        self._root = root
        self._frozen = frozen
        self._local: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"Directory({self._root!r})"

    @property
    def root(self) -> str:
        """The directory of the state directories."""
        return self._root

    # -- lock -----------------------------------------------------------------------------------------------------

    def lock(self, container_id: str, *, timeout: float | None) -> Lock:
        """Exclude every other process and thread from this container, inside `with`. Makes the root."""
        check_id(container_id)
        what = f"container {container_id!r}"
        return Lock(self._root, self._make_root, slot_of(container_id), what=what, timeout=timeout)

    def _make_root(self) -> int:
        """Open the root, which is made where it is not there. The caller closes the descriptor."""
        descriptor = make_root(self._root)
        try:
            status = os.fstat(descriptor)
            if self._local != (status.st_dev, status.st_ino):
                refuse_network(self._root, descriptor)
                self._local = (status.st_dev, status.st_ino)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    # -- look -----------------------------------------------------------------------------------------------------

    def directory(self, container_id: str) -> str:
        """Where the container's directory is, or would be. Raises InvalidId."""
        check_id(container_id)
        return os.path.join(self._root, container_id)

    def ids(self) -> list[str]:
        """The ids of all directories, sorted; broken ones too."""
        root = open_root(self._root)
        if root is None:
            return []
        with Opened(root), os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if is_id(entry.name) and entry.is_dir(follow_symlinks=False))

    def exists(self, container_id: str) -> bool:
        """Whether there is a directory of this id."""
        descriptor = self._find(container_id)
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def age(self, container_id: str) -> float:
        """Seconds since something in the directory was made, renamed or removed; inf where there is none."""
        descriptor = self._find(container_id)
        if descriptor is None:
            return float("inf")
        with Opened(descriptor):
            # st_ctime: no program can set it back
            return max(0.0, time.time() - os.fstat(descriptor).st_ctime)

    def is_empty(self, container_id: str) -> bool:
        """Whether the directory is there and has nothing in it."""
        descriptor = self._find(container_id)
        if descriptor is None:
            return False
        with Opened(descriptor):
            return not os.listdir(descriptor)

    def load(self, container_id: str) -> Record:
        """Read state.json. Raises InvalidId, ContainerNotFound (also where there is no state.json yet), StateError."""
        with self._open(container_id) as descriptor:
            path = self.directory(container_id)
            try:
                data = atomic.read(descriptor, runc.NAME, os.path.join(path, runc.NAME))
            except FileNotFoundError:
                other = flavour.of_directory(descriptor)
                if other is not None:
                    raise flavour.foreign(path, other, container_id) from None
                raise ContainerNotFound(container_id, root=self._root) from None
            except OSError as error:
                raise unusable(os.path.join(path, runc.NAME), error) from error
            return runc.decode(data, path)

    def intent(self, container_id: str) -> Intent | None:
        """The intent of a creation that is not complete; None where there is none that can be read."""
        return self._read_intent(container_id, intents.NAME)

    def made(self, container_id: str) -> Intent | None:
        """What was the intent of a complete creation; None where there is none that can be read."""
        return self._read_intent(container_id, intents.MADE)

    def _read_intent(self, container_id: str, name: str) -> Intent | None:
        descriptor = self._find(container_id)
        if descriptor is None:
            return None
        with Opened(descriptor):
            try:
                return intents.decode(atomic.read(descriptor, name, os.path.join(self._root, container_id, name)))
            except (OSError, StateError, ValueError):
                return None

    # -- make -----------------------------------------------------------------------------------------------------

    def make(self, container_id: str, intent: Intent) -> None:
        """Make the directory, 0711; it appears with the intent in it, at once. The lock is held.

        Raises ContainerExists, StateError.
        """
        from libcontainer_py.kernel import libc  # noqa: PLC0415  (ctypes, 6 to 10 ms: only create needs it)
        from libcontainer_py.kernel.constants import RENAME_NOREPLACE  # noqa: PLC0415  (goes with it)

        check_id(container_id)
        name = remains_name(slot_of(container_id))
        path = os.path.join(self._root, container_id)
        with Opened(self._make_root()) as root:
            try:
                os.stat(container_id, dir_fd=root, follow_symlinks=False)
            except FileNotFoundError:
                pass
            else:
                raise ContainerExists(container_id, root=self._root)
            removal.remove(root, name, os.path.join(self._root, name))
            try:
                os.mkdir(name, 0o700, dir_fd=root)
                os.chmod(name, 0o711, dir_fd=root)  # noqa: S103  (runc's mode; umask 0777 would keep us out of it)
                with Opened(_open_directory(root, name)) as descriptor:
                    atomic.write(descriptor, intents.NAME, intents.encode(intent))
                libc.renameat2(root, name, root, container_id, RENAME_NOREPLACE)
            except BaseException as error:
                removal.remove(root, name, os.path.join(self._root, name))
                if isinstance(error, OSError) and error.errno == errno.EEXIST:
                    raise ContainerExists(container_id, root=self._root) from error
                if isinstance(error, OSError) and error.errno == errno.EINVAL:
                    hint = "use a root on a file system that knows RENAME_NOREPLACE, as tmpfs"
                    raise StateError(path, "cannot be made so that it appears at once", hint=hint) from error
                if isinstance(error, OSError):
                    raise unusable(path, error) from error
                raise

    def note(self, container_id: str, intent: Intent) -> None:
        """Replace the intent."""
        self._replace(container_id, intents.NAME, intents.encode(intent))

    def settle(self, container_id: str) -> None:
        """The creation is complete: keep the intent under another name. Silent where there is none."""
        try:
            self._rename(container_id, intents.NAME, intents.MADE)
        except (FileNotFoundError, ContainerNotFound):
            return

    def save(self, record: Record) -> None:
        """Write state.json atomically."""
        self._replace(record.id, runc.NAME, runc.encode(record))

    def draft(self, record: Record) -> None:
        """Write what state.json is to be; nobody sees it before `publish`. The lock is held."""
        with self._open(record.id) as descriptor:
            try:
                atomic.write(descriptor, _DRAFT, runc.encode(record))
            except OSError as error:
                raise unusable(os.path.join(self._root, record.id, runc.NAME), error) from error

    def publish(self, container_id: str) -> None:
        """Make the draft the state.json, at once."""
        try:
            self._rename(container_id, _DRAFT, runc.NAME)
        except FileNotFoundError as error:
            raise unusable(os.path.join(self._root, container_id, runc.NAME), error) from error

    # -- fifo -----------------------------------------------------------------------------------------------------

    def make_fifo(self, container_id: str, owner: tuple[int, int]) -> None:
        """Make exec.fifo for the user and group that init has on the host."""
        with self._open(container_id) as descriptor:
            try:
                fifo.make(descriptor, owner)
            except OSError as error:
                raise unusable(os.path.join(self._root, container_id, fifo.NAME), error) from error

    def has_fifo(self, container_id: str) -> bool:
        """Whether exec.fifo is there, and a fifo. For a status: nothing is opened."""
        check_id(container_id)
        try:
            status = os.lstat(f"{self._root}/{container_id}/{fifo.NAME}")
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise unusable(os.path.join(self._root, container_id, fifo.NAME), error) from error
        return stat.S_ISFIFO(status.st_mode)

    def open_fifo(self, container_id: str) -> fifo.Fifo | None:
        """Open exec.fifo for reading, without blocking; None: it is gone, so somebody else won."""
        frozen = self._frozen
        with self._open(container_id) as descriptor:
            try:
                return fifo.Fifo.open(descriptor, frozen=lambda: frozen is not None and frozen(container_id))
            except OSError as error:
                raise unusable(os.path.join(self._root, container_id, fifo.NAME), error) from error

    def unlink_fifo(self, container_id: str) -> None:
        """Remove exec.fifo; silent where it is gone."""
        self._unlink(container_id, fifo.NAME)

    def unlink_stale_fifo(self, container_id: str) -> None:
        """Remove an exec.fifo that init has left, unless somebody has it open for reading: he removes it himself.

        A `runc start` that finds it gone then says that it failed, although it started the container.
        """
        descriptor = self._find(container_id)
        if descriptor is None:
            return
        with Opened(descriptor):
            try:
                if fifo.has_reader(descriptor):
                    return
            except FileNotFoundError:
                return
            except OSError as error:
                raise unusable(os.path.join(self._root, container_id, fifo.NAME), error) from error
        self._unlink(container_id, fifo.NAME)

    # -- unmake ---------------------------------------------------------------------------------------------------

    def remove(self, container_id: str) -> None:
        """Remove the directory: it vanishes at once, then what was in it. Silent where there is none. The lock is held.

        Raises StateError, with nothing changed, where it is another runtime's, or something is mounted in it.
        """
        check_id(container_id)
        root = open_root(self._root)
        if root is None:
            return
        path = os.path.join(self._root, container_id)
        name = remains_name(slot_of(container_id))
        with Opened(root):
            try:
                removal.check(root, container_id, path)
                self._refuse_foreign(root, container_id)
                removal.remove(root, name, os.path.join(self._root, name))  # of a delete that was killed
                os.rename(container_id, name, src_dir_fd=root, dst_dir_fd=root)
            except FileNotFoundError:
                return
            except OSError as error:
                raise unusable(path, error) from error
            removal.remove(root, name, path)

    def _refuse_foreign(self, root: int, container_id: str) -> None:
        descriptor = self._open_in(root, container_id)
        if descriptor is None:
            return
        path = os.path.join(self._root, container_id)
        with Opened(descriptor):
            names = os.listdir(descriptor)
            if intents.MADE in names or intents.NAME in names:
                return  # nobody else writes those
            other = flavour.of_directory(descriptor)
            strange = flavour.strangers_in(names)
        if other is not None:
            raise flavour.foreign(path, other, container_id)
        if strange:
            hint = "remove it by hand, if it is no longer needed"
            raise StateError(
                path, f"is no state directory: it holds {strange[0]!r}", container_id=container_id, hint=hint
            )

    def sweep_remains(self) -> list[Swept]:
        """Remove what crashed `make` and `remove` left under names that no id can have, where nobody holds the lock."""
        root = open_root(self._root)
        if root is None:
            return []
        swept: list[Swept] = []
        with Opened(root):
            for name in sorted(os.listdir(root)):
                slot = slot_of_remains(name)
                if slot is None:
                    continue
                path = os.path.join(self._root, name)
                try:
                    with Lock(self._root, self._make_root, slot, what=path, timeout=0):
                        if not _is_there(root, name):
                            continue  # who was at work there is done
                        removal.remove(root, name, path)
                except ContainerTimeout:
                    continue  # somebody is at work there
                except ContainerError as error:
                    swept.append(Swept("", path, removed=False, reason=str(error)))
                else:
                    swept.append(Swept("", path, removed=True, reason="left by a create or delete that was killed"))
        return swept

    # -- one container's directory --------------------------------------------------------------------------------

    def _open_in(self, root: int, container_id: str) -> int | None:
        """Open a container's directory; None: there is none. The caller closes the descriptor."""
        try:
            return _open_directory(root, container_id)
        except FileNotFoundError:
            return None
        except OSError as error:
            path = os.path.join(self._root, container_id)
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise StateError(path, "is not a directory", container_id=container_id) from error
            raise unusable(path, error) from error

    def _find(self, container_id: str) -> int | None:
        check_id(container_id)
        root = open_root(self._root)
        if root is None:
            return None
        with Opened(root):
            return self._open_in(root, container_id)

    def _open(self, container_id: str) -> Opened:
        descriptor = self._find(container_id)
        if descriptor is None:
            raise ContainerNotFound(container_id, root=self._root)
        return Opened(descriptor)

    def _replace(self, container_id: str, name: str, data: bytes) -> None:
        with self._open(container_id) as descriptor:
            try:
                atomic.replace(descriptor, name, data)
            except OSError as error:
                raise unusable(os.path.join(self._root, container_id, name), error) from error

    def _rename(self, container_id: str, name: str, new: str) -> None:
        with self._open(container_id) as descriptor:
            try:
                os.rename(name, new, src_dir_fd=descriptor, dst_dir_fd=descriptor)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise unusable(os.path.join(self._root, container_id, name), error) from error

    def _unlink(self, container_id: str, name: str) -> None:
        descriptor = self._find(container_id)
        if descriptor is None:
            return
        with Opened(descriptor):
            try:
                os.unlink(name, dir_fd=descriptor)
            except FileNotFoundError:
                return
            except OSError as error:
                raise unusable(os.path.join(self._root, container_id, name), error) from error


def _is_there(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _open_directory(parent: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
