"""Hypothesis strategies for what this library takes: configurations, right and broken, and their parts.

What is drawn is right by the specification; whether this machine can do it is another question, since paths, devices
and labels are made up. All shrink towards the least configuration: `true` in a mount namespace::

    @given(specs())
    def test_mine(spec: Spec) -> None: ...
"""

from __future__ import annotations

from libcontainer_py.testing.strategies.broken import BrokenSpec, broken_specs
from libcontainer_py.testing.strategies.configuration import specs
from libcontainer_py.testing.strategies.limits import resources
from libcontainer_py.testing.strategies.profiles import seccomp_profiles
from libcontainer_py.testing.strategies.words import container_ids

__all__ = ["BrokenSpec", "broken_specs", "container_ids", "resources", "seccomp_profiles", "specs"]
