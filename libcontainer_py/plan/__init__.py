"""From a Spec to a plan: what will be done to make the container, as plain data that can be printed and tested.

    steps      Step, Plan, and the facts about the host that a plan depends on
    mounts     mount options, mounts, devices, masks
    process    limits, ids, capabilities
    build      all of it, in the one right order

Pure: it asks nothing of the system, and changes nothing.
"""

from libcontainer_py.plan.build import build
from libcontainer_py.plan.steps import HostFacts, Plan, Step

__all__ = ["HostFacts", "Plan", "Step", "build"]
