"""What the kernel tells of a cgroup, and what is counted where it tells nothing."""

from __future__ import annotations

import os
import select

import pytest

from libcontainer_py import cgroups
from libcontainer_py.cgroups import Mode
from libcontainer_py.cgroups.notices import Notice, Notices
from libcontainer_py.kernel import inotify
from libcontainer_py.spec import Resources
from tests.crashes import PATIENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from libcontainer_py.cgroups import Cgroup

HOG = """
parts = []
while True:
    parts.append(bytearray(b"x" * (1 << 20)))
"""


@pytest.fixture
def poll() -> Iterator[select.epoll]:
    with select.epoll() as poll:
        yield poll


@pytest.fixture
def notices(cgroup: Cgroup, poll: select.epoll) -> Iterator[Notices]:
    queue = inotify.Queue()
    notices = cgroup.notices(poll, queue)
    yield notices
    notices.close()
    queue.close()


def reported(poll: select.epoll) -> frozenset[int]:
    return frozenset(descriptor for descriptor, _ in poll.poll(PATIENCE))


def needs_memory(notices: Notices) -> None:
    if "oom_kill" not in notices.kinds:
        pytest.skip("needs cgroup v1 or v2 with memory")


def test_a_kill_before_it_was_reported(
    cgroup: Cgroup, notices: Notices, join: Callable[..., subprocess.Popen[str]]
) -> None:
    """As for who was woken by something else first: v2 reports a change of memory.events up to 10 ms late."""
    needs_memory(notices)
    cgroup.set(Resources.from_dict({"memory": {"limit": 16 << 20}}))
    assert join(cgroup, HOG).wait(PATIENCE) == -9
    notice = notices.take(frozenset())
    assert notice.ooms >= 1
    assert notice.oom_kills == 1
    assert notices.finish(frozenset())[:2] == (0, 1)


def test_a_kill_in_a_cgroup_that_is_gone(
    cgroup: Cgroup, notices: Notices, poll: select.epoll, join: Callable[..., subprocess.Popen[str]]
) -> None:
    """Who removed it has read its counters before."""
    needs_memory(notices)
    cgroup.set(Resources.from_dict({"memory": {"limit": 16 << 20}}))
    assert join(cgroup, HOG).wait(PATIENCE) == -9
    last = cgroup.oom_counts()
    cgroup.remove()
    notice = notices.finish(reported(poll), last)
    assert notice.ooms >= 1
    assert notice.oom_kills == 1
    assert notices.finish(frozenset(), last)[:2] == (0, 1)


def test_a_kill_in_a_cgroup_below(cgroup: Cgroup, notices: Notices, join: Callable[..., subprocess.Popen[str]]) -> None:
    """v1 tells nobody above; the count has it at the end. v2 counts it as ours."""
    needs_memory(notices)
    below = cgroups.from_paths({key: path + "/below" for key, path in cgroup.paths.items()})
    below.create()
    below.set(Resources.from_dict({"memory": {"limit": 16 << 20}}))
    assert join(below, HOG).wait(PATIENCE) == -9
    if cgroups.detect() is Mode.V2:
        notice = notices.take(frozenset())
        assert notice.ooms >= 1
        assert notice.oom_kills == 1
    assert notices.finish(frozenset()).oom_kills == 1


def test_nothing_is_told_of_nothing(cgroup: Cgroup, notices: Notices, poll: select.epoll) -> None:
    assert poll.poll(0) == []
    assert notices.take(frozenset()) == Notice(0, 0, "")


def test_removal_is_no_shortage_of_memory(cgroup: Cgroup, notices: Notices, poll: select.epoll) -> None:
    """v1 signals all who wait when it removes a cgroup."""
    if cgroups.detect() is Mode.V2 or "memory" not in cgroup.paths:
        pytest.skip("needs cgroup v1 with memory")
    os.rmdir(cgroup.paths["memory"])
    assert notices.take(reported(poll)) == Notice(0, 0, "")


def test_a_v2_cgroup_that_is_gone_keeps_nobody_awake(cgroup: Cgroup, notices: Notices, poll: select.epoll) -> None:
    if cgroups.detect() is not Mode.V2:
        pytest.skip("needs cgroup v2")
    os.rmdir(cgroup.paths[""])
    while ready := frozenset(descriptor for descriptor, _ in poll.poll(0)):
        assert notices.take(ready) == Notice(0, 0, "")
    assert "freezer" not in notices.kinds
