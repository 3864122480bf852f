"""Hooks: when those of which kind run, and what becomes of a container whose hook fails.

Source: runtime.md, Lifecycle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libcontainer_py.errors import HookError, StartError
from libcontainer_py.testing.suite.bench import Can

if TYPE_CHECKING:
    from libcontainer_py.testing.suite.bench import Bench

AT_CREATE = ["prestart", "createRuntime", "createContainer"]
AT_START = ["startContainer", "poststart"]


class HooksRun:
    """Hooks of all six kinds."""

    def test_in_their_order(self, bench: Bench) -> None:
        """Three kinds at create, two at start, one at delete."""
        bench.needs(Can.HOOK)
        container = bench.create(bench.bundle(hooks=bench.hooks(*AT_CREATE, *AT_START, "poststop")))
        assert bench.ran() == AT_CREATE
        container.start()
        assert bench.ran() == [*AT_CREATE, *AT_START]
        container.kill()
        container.wait(bench.PATIENCE)
        assert bench.ran() == [*AT_CREATE, *AT_START]
        container.delete()
        assert bench.ran() == [*AT_CREATE, *AT_START, "poststop"]

    @pytest.mark.parametrize("kind", AT_CREATE)
    def test_one_that_fails_at_create(self, bench: Bench, kind: str) -> None:
        """Nothing is left, and the poststop hooks run."""
        bench.needs(Can.HOOK)
        bundle = bench.bundle(hooks=bench.hooks(kind, "poststop", failing=kind))
        with pytest.raises(HookError) as caught:
            bench.create(bundle)
        assert caught.value.kind == kind
        assert bench.ran() == [kind, "poststop"]
        assert bench.left() == []

    @pytest.mark.parametrize("kind", AT_START)
    def test_one_that_fails_at_start(self, bench: Bench, kind: str) -> None:
        """The container is stopped and destroyed, and the poststop hooks run."""
        bench.needs(Can.HOOK)
        container = bench.create(bench.bundle(hooks=bench.hooks(kind, "poststop", failing=kind)))
        with pytest.raises((StartError, HookError)):
            container.start()
        assert bench.ran() == [kind, "poststop"]
        assert bench.left() == []

    def test_a_poststop_hook_that_fails(self, bench: Bench) -> None:
        """It is a warning: the container is gone."""
        bench.needs(Can.HOOK)
        container = bench.create(bench.bundle(hooks=bench.hooks("poststop", failing="poststop")))
        with pytest.warns(UserWarning, match="poststop"):
            container.delete()
        assert bench.left() == []

    def test_a_delete_by_force_runs_them_too(self, bench: Bench) -> None:
        """Whatever the status was."""
        bench.needs(Can.HOOK)
        container = bench.running(bench.bundle(hooks=bench.hooks("poststop")))
        container.delete(force=True)
        assert bench.ran() == ["poststop"]
