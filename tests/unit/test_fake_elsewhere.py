"""The fake on systems that are not Linux: without what they lack, and without a C library to call."""

from __future__ import annotations

import json

import pytest

from tests.unit.test_imports import NO_MODULES_ON_WINDOWS, NOT_ON_DARWIN, NOT_ON_WINDOWS, fresh

STORY = """
import json
import _signal, _socket, asyncio, ctypes, enum, inspect, os, re, select, selectors, socket, traceback  # Python's own
import attrs, typing_extensions
platform, blocked, missing = json.loads(sys.argv[1])
loop = asyncio.new_event_loop()
for module, attributes in missing:
    for attribute in attributes.split():
        if hasattr(sys.modules[module], attribute):
            delattr(sys.modules[module], attribute)
for name in blocked:
    sys.modules[name] = None
def refuse(*arguments, **options):
    raise OSError("there is no such library")
ctypes.CDLL = ctypes.PyDLL = refuse
sys.platform = platform

before = set(sys.modules)
import libcontainer_py, libcontainer_py.testing
assert set(sys.modules) - before <= {"__future__", "libcontainer_py", "libcontainer_py.testing"}
from libcontainer_py import *
from libcontainer_py.testing import *

fake = FakeFactory(programs={"cat": lambda call: [reads_stdin(), prints(b"x" * 100_000)], "long": runs_forever()})
container = fake.create("web", program=exits(3, after=2))
with container.events() as events:
    container.start()
    print([type(event).__name__ for event in events], container.wait().returncode, fake.now())
print(len(run(["cat"], input=b"a" * 100_000, memory="64M", pids=5, user=1000, factory=fake).stdout))
with Sandbox(factory=fake) as sandbox:
    process = sandbox.spawn(["cat"], stdin=PIPE, stdout=PIPE)
    process.stdin.write(b"a")
    process.stdin.close()
    print(len(process.stdout.readall()), process.wait())
    try:
        sandbox.run(["long"], timeout=9)
    except ContainerTimeout as error:
        print(error.result.outcome, fake.now())
from libcontainer_py import aio
print(loop.run_until_complete(aio.run(["cat"], input=b"a", factory=fake.aio)).returncode)
try:
    Factory("/tmp/nowhere").create("web", Spec.default())
except UnsupportedPlatform as error:
    print(error)
"""


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_it_needs_no_linux(platform: str) -> None:
    tables = [NOT_ON_DARWIN] if platform == "darwin" else [NOT_ON_DARWIN, NOT_ON_WINDOWS]
    missing = [item for table in tables for item in table.items()]
    *said, refusal = fresh(STORY, json.dumps([platform, NO_MODULES_ON_WINDOWS, missing]))
    assert said == ["['Started', 'Exited'] 3 2.0", "100000", "100000 0", "timeout 11.0", "0"]
    assert f"this is {platform}" in refusal
