"""Embedding processes unlike others: forked, without root any more, elsewhere, busy, or with a SIGCHLD of their own."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.kernel.workshop import PATIENCE, python_for_everybody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.kernel.users import User


@pytest.fixture
def root(root_only: None, package_for_everybody: Path) -> Root:
    return Root(package_for_everybody)


class Root:
    """Root, with a Python that anybody may execute."""

    def __init__(self, package: Path) -> None:
        self.package = package

    def says(self, code: str) -> str:
        done = subprocess.run(
            [python_for_everybody(), "-W", "error", "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": "/root", "PYTHONPATH": str(self.package)},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


MAP = 'run(["cat", "/proc/self/uid_map"], text=True).stdout.split()'


def test_one_that_drops_root(root: Root) -> None:
    code = f"""
        import os
        from libcontainer_py import run
        print({MAP})
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        print({MAP}, run(["cat", "/etc/shadow"]).returncode)
    """
    assert root.says(code) == "['0', '0', '4294967295']\n['0', '65534', '1'] 1\n"


def test_one_that_drops_root_for_a_while(root: Root) -> None:
    code = f"""
        import os
        from libcontainer_py import run
        print({MAP})
        os.setegid(65534)
        os.seteuid(65534)
        print({MAP})
        os.seteuid(0)
        os.setegid(0)
        print({MAP})
    """
    whole, other = "['0', '0', '4294967295']", "['0', '65534', '1']"
    assert root.says(code) == f"{whole}\n{other}\n{whole}\n"


def test_one_that_changes_its_mount_namespace(root: Root) -> None:
    code = """
        from libcontainer_py import Sandbox, run
        from libcontainer_py.kernel import libc
        from libcontainer_py.kernel.constants import CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC
        def seen():
            return run(["sh", "-c", "cat /mnt/os-release 2>&1 | wc -l"], text=True).stdout.strip() > "1"
        with Sandbox() as before:
            print(seen())
            libc.unshare(CLONE_NEWNS)
            libc.mount(None, "/", None, MS_REC | MS_PRIVATE)
            libc.mount("/etc", "/mnt", None, MS_BIND)
            print(seen())
            print(before.run(["echo", "here"], text=True).stdout, end="")
            with Sandbox() as after:
                print(after.run(["ls", "/mnt/os-release"]).returncode)
    """
    assert root.says(code) == "False\nTrue\nhere\n0\n"


def test_a_pool_of_processes(user: User) -> None:
    code = """
        import multiprocessing, os
        from libcontainer_py import Sandbox, run
        def work(number):
            return run(["sh", "-c", f"cat; exit {number}"], input=b"%d" % number).returncode
        with Sandbox() as sandbox:  # whose server is no server of the children
            with multiprocessing.get_context("fork").Pool(4) as pool:
                print(pool.map(work, range(8)))
            print(sandbox.run(["echo", "here"], text=True).stdout, end="")
        before = sorted(os.listdir("/proc/self/fd"))
        run(["true"])
        assert sorted(os.listdir("/proc/self/fd")) == before
    """
    assert user.python_says(textwrap.dedent(code)) == f"{[*range(8)]}\nhere\n"


def test_threads_that_hold_locks_allocate_and_log(user: User) -> None:
    code = """
        import gc, io, logging, threading
        from libcontainer_py import Sandbox, run
        logging.basicConfig(stream=io.StringIO(), level=logging.DEBUG)
        over = threading.Event()
        lock = threading.RLock()
        def work(number):
            kept = []
            while not over.is_set():
                with lock:
                    logging.info("thread %d", number)
                    kept = [bytearray(1000) for _ in range(200)]
                if number == 0:
                    gc.collect()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(5):
                result = run(["sh", "-c", f"cat; exit {number}"], input=b"x" * 100000)
                assert (len(result.stdout), result.returncode) == (100000, number), result
            with Sandbox() as sandbox:
                for number in range(5):
                    assert sandbox.run(["sh", "-c", f"exit {number}"]).returncode == number
        finally:
            over.set()
            for thread in threads:
                thread.join()
        print("done")
    """
    assert user.python_says(textwrap.dedent(code)) == "done\n"


# What is run by each face, with its returncodes.
FACES = """
import asyncio
from libcontainer_py import Sandbox, aio, run
scripts = ["exit 0", "exit 3", "kill -9 $$"]
def by_run():
    return [run(["sh", "-c", script]).returncode for script in scripts]
def by_sandbox():
    with Sandbox() as sandbox:
        return [sandbox.run(["sh", "-c", script]).returncode for script in scripts]
def by_aio():
    async def story():
        results = await aio.run_many([["sh", "-c", script] for script in scripts])
        async with aio.Sandbox() as sandbox:
            more = [await sandbox.run(["sh", "-c", script]) for script in scripts]
        return [result.returncode for result in [*results, *more]]
    return asyncio.run(story())
"""
ANSWERS = "[0, 3, -9]\n[0, 3, -9]\n[0, 3, -9, 0, 3, -9]\n"


def test_one_that_ignores_sigchld(user: User) -> None:
    code = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" + FACES
    assert user.python_says(code + "print(by_run(), by_sandbox(), by_aio(), sep='\\n')") == ANSWERS


def test_one_that_waits_for_any_child(user: User) -> None:
    code = """
import os, threading, time
def reap():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.0001)
threading.Thread(target=reap, daemon=True).start()
"""
    assert user.python_says(code + FACES + "print(by_run(), by_sandbox(), by_aio(), sep='\\n')") == ANSWERS


def test_no_face_changes_anything_of_it(user: User) -> None:
    code = """
import os, signal, threading
def state():
    handlers = [signal.getsignal(number) for number in range(1, 65) if number not in (32, 33)]
    mask = os.umask(0)
    os.umask(mask)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return handlers, blocked, os.getcwd(), mask, threading.active_count(), dict(os.environ)
before = state()
found = by_run(), by_sandbox(), by_aio()
assert state() == before
print(*found, sep="\\n")
"""
    assert user.python_says(FACES + code) == ANSWERS
