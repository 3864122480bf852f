"""Every interleaving of a few callers of one container, and the shortest that breaks something.

The callers are threads of operations, which go through the real procedures, over a store and a host in memory. Each
method of Store, Gate, Host and Birth is one step, and before each of them any other thread may come first::

    explored = explore([["start"], ["start"], ["delete"]], before=["create"])
    assert explored.race is None, explored.race

What is broken is told by four rules. Nothing is lost: after each step, every living init and every cgroup is named by a
state file or an intent, so that somebody can undo it. All come to their end, and leave no lock and no descriptor.
Afterwards a `delete(force=True)` leaves nothing. And what the callers were told, and what became of the container, is
what would have come of it if those sections that hold the container's lock had each been done in one go.

Bounded by *preemptions*: how often a thread is left in the middle of an operation although it could go on. Leaving one
that waits, or that has ended an operation, is free. Most races need one or two. (Musuvathi and Qadeer, "Iterative
context bounding for systematic testing of multithreaded programs", PLDI 2007.)
"""

from __future__ import annotations

from libcontainer_py.testing.explorer.scene import ID, OPERATIONS
from libcontainer_py.testing.explorer.search import Explored, Race, explore
from libcontainer_py.testing.explorer.taps import Step

__all__ = ["ID", "OPERATIONS", "Explored", "Race", "Step", "explore"]
