"""The fork server: the one process that makes inits, so that nothing forks in the embedding process.

It is executed as `python -I -S -E forkserver.py PACKAGE`, with descriptor 3 as its socket, and again by itself once it
has arranged that its own files cannot be written from a container:

    /proc/self/exe and /proc/PID/map_files lead a container's root to the interpreter and the libraries of the host's
    that are mapped in its init. So they are mapped from a detached, read-only clone of the host's mount tree. The
    server changes its root into that clone, executes itself there, loads all it will ever need, and changes back: it
    never left the host's mount namespace, and sees all its mounts. An ordinary user cannot do so for himself; a child
    in a user namespace opens the interpreter through such a clone and passes the descriptor, which is executed.
    (map_files are closed to him: they want capabilities of the first user namespace.)

Then it is single-threaded, has left the host's session, ignores INT, HUP and TERM, holds its socket and the host's
pidfd alone, and ends when either says that the host is gone.
"""

import gc
import os
import select
import sys

_SOCKET = 3
_LINKED = {"LD_BIND_NOW": "1"}
"""Find all functions of libraries at once, and not at the first call in each init. Source: ld.so(8)."""


def main() -> None:
    """Protect, load, serve."""
    sys.path.append(sys.argv[1])
    if len(sys.argv) == 2:
        protect(sys.argv[1])
    else:
        _serve(*(int(argument) for argument in sys.argv[2:]))


def load() -> None:
    """Load what `protect` will need, for who forks: it needs the same."""
    from libcontainer_py.kernel import libc  # noqa: PLC0415  (ctypes, for this alone)

    del libc


# -- the first run ------------------------------------------------------------------------------------------------


def protect(package: str) -> None:
    """Become the server, in a process that has its socket at its place. `package` is where this package lies."""
    from libcontainer_py.kernel import libc  # noqa: PLC0415  (sys.path is set now)

    os.setsid()
    libc.close_range(_SOCKET + 1, 0xFFFFFFFF)
    tree = _try_clone()
    if tree is None:
        _execute_as_user(package)
        return
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    os.fchdir(tree)
    os.chroot(".")
    for descriptor in (_SOCKET, tree, root):
        os.set_inheritable(descriptor, True)
    os.execve(sys.executable, _arguments(package, root, tree), _LINKED)


def _arguments(package: str, root: int, tree: int) -> "list[str]":
    return [sys.executable, "-I", "-S", "-E", __file__, package, str(root), str(tree)]


def _try_clone() -> "int | None":
    try:
        return _clone_readonly()
    except PermissionError:
        return None


def _clone_readonly() -> int:
    from libcontainer_py.kernel import libc  # noqa: PLC0415
    from libcontainer_py.kernel.constants import (  # noqa: PLC0415
        AT_EMPTY_PATH,
        AT_RECURSIVE,
        MOUNT_ATTR_RDONLY,
        OPEN_TREE_CLONE,
    )

    tree = libc.open_tree(-100, "/", OPEN_TREE_CLONE | AT_RECURSIVE)
    libc.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=MOUNT_ATTR_RDONLY)
    return tree


def _execute_as_user(package: str) -> None:
    """Execute an interpreter that a child opened through a read-only clone, in a user namespace of its own."""
    import _socket  # noqa: PLC0415

    from libcontainer_py.kernel import libc  # noqa: PLC0415
    from libcontainer_py.kernel.constants import CLONE_NEWNS, CLONE_NEWUSER  # noqa: PLC0415

    path = os.readlink("/proc/self/exe")
    ours, theirs = _socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            libc.unshare(CLONE_NEWUSER | CLONE_NEWNS)
            os.fchdir(_clone_readonly())
            executable = os.open(path.lstrip("/"), os.O_RDONLY)
            right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, executable.to_bytes(4, sys.byteorder))
            theirs.sendmsg([b"+"], [right])
            os._exit(0)
        except OSError as error:
            theirs.send(b"-" + (error.errno or 0).to_bytes(2, "little"))
        finally:
            os._exit(1)
    theirs.close()
    answer, rights, _, _ = ours.recvmsg(64, _socket.CMSG_SPACE(4))
    os.waitpid(pid, 0)
    ours.close()
    if not rights:
        _refuse(
            "userns",
            int.from_bytes(answer[1:3], "little"),
            "an ordinary user needs user namespaces to make containers, and this system does not allow him one",
        )
    executable = int.from_bytes(rights[0][2][:4], sys.byteorder)
    os.set_inheritable(_SOCKET, True)
    os.execve(executable, _arguments(package, -1, -1), _LINKED)


def _refuse(step: str, errno: int, text: str) -> None:
    from libcontainer_py.init import messages  # noqa: PLC0415

    os.write(_SOCKET, messages.REFUSED + messages.pack_report(step, errno, text))
    os._exit(1)


# -- the second run -----------------------------------------------------------------------------------------------


def _serve(root: int, tree: int) -> None:
    # everything that init will ever need is loaded here, from the read-only clone
    from libcontainer_py.init import messages, server, signals  # noqa: PLC0415
    from libcontainer_py.kernel import title  # noqa: PLC0415

    if root >= 0:
        os.fchdir(root)
        os.chroot(".")
        os.close(root)
        os.close(tree)
    else:
        from libcontainer_py.kernel import libc  # noqa: PLC0415

        libc.close_range(_SOCKET + 1, 0xFFFFFFFF)
    os.chdir("/")
    os.set_inheritable(_SOCKET, False)
    title.locate()
    signals.serve()
    try:
        host = os.pidfd_open(os.getppid())
    except OSError:
        os._exit(0)
    # nothing is imported from here on: after pivot_root a container's files could supply the module. Once here, and not
    # in each init, since freeing the importers' caches would copy their pages each time
    for places in (sys.path, sys.meta_path, sys.path_hooks, sys.path_importer_cache):
        places.clear()
    gc.collect()
    gc.freeze()
    gc.disable()
    os.write(_SOCKET, messages.HELLO)
    server.loop(_SOCKET, host, select.poll())


if __name__ == "__main__":
    main()
