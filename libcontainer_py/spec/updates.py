"""What an update of resources amounts to: what holds afterwards, and what has to be written for it.

What is not given stays as it was. As in a configuration, 0 says nothing where it is no limit (see
`cgroups.controllers`); of lists, each device, size or name has its own entry.
"""

from __future__ import annotations

from operator import attrgetter

import attrs

from libcontainer_py.errors import ConfigError, Problem
from libcontainer_py.spec import codec, limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeVar

    from libcontainer_py.spec.linux import BlockIO, Memory, Network, Resources

    N = TypeVar("N", bound=codec.Node)


def check(resources: Resources) -> None:
    """Raise ConfigError with everything that is wrong with resources that an update is to lead to."""
    found = codec.inspect(resources)
    if not found:
        found = [*limits.of_resources(resources, "")]
    if found:
        raise ConfigError(found, source="resources")


def refuse_devices(given: Resources) -> None:
    """Raise ConfigError where an update has device rules, which only a new container gets; so it is with runc."""
    if given.devices:
        problem = Problem("devices", "are set when a container is created, and not again")
        raise ConfigError([problem], source="resources")


def merged(known: Resources, given: Resources) -> Resources:
    """What holds after the update."""
    return attrs.evolve(
        known,
        memory=_memory(known.memory, given.memory),
        cpu=_maybe(known.cpu, given.cpu),
        pids=_maybe(known.pids, given.pids),
        block_io=_block_io(known.block_io, given.block_io),
        hugepage_limits=_by_key(known.hugepage_limits, given.hugepage_limits, "page_size"),
        network=_network(known.network, given.network),
        rdma={**known.rdma, **{name: _over(known.rdma.get(name, one), one) for name, one in given.rdma.items()}},
        unified={**known.unified, **given.unified},
    )


def completed(given: Resources, after: Resources) -> Resources:
    """What is given, and beside each half of a pair the other one as it is `after`: the kernel wants both."""
    memory, cpu = given.memory, given.cpu
    if memory is not None and after.memory is not None:
        memory = attrs.evolve(memory, check_before_update=after.memory.check_before_update)
        if memory.limit or memory.swap:
            memory = attrs.evolve(memory, limit=after.memory.limit, swap=after.memory.swap)
    if cpu is not None and after.cpu is not None:
        if cpu.quota or cpu.period:
            cpu = attrs.evolve(cpu, quota=after.cpu.quota, period=after.cpu.period)
        if cpu.realtime_runtime or cpu.realtime_period:
            cpu = attrs.evolve(
                cpu, realtime_runtime=after.cpu.realtime_runtime, realtime_period=after.cpu.realtime_period
            )
    return attrs.evolve(given, memory=memory, cpu=cpu)


def _maybe(known: N | None, given: N | None) -> N | None:
    if known is None or given is None:
        return known if given is None else given
    return _over(known, given)


def _over(known: N, given: N) -> N:
    """`known` with the fields that `given` says something in."""
    nothing = limits.SAYS_NOTHING.get(type(given).__name__, frozenset[str]())
    said: dict[str, Any] = {}
    for member in codec.tree(type(given)).plan():
        value: object = getattr(given, member.name)
        if value is not None and value != () and not (value == 0 and member.name in nothing):
            said[member.name] = value
    return attrs.evolve(known, **said)


def _memory(known: Memory | None, given: Memory | None) -> Memory | None:
    after = _maybe(known, given)
    if after is not None and given is not None and (given.limit or 0) < 0 and not given.swap:
        return attrs.evolve(after, swap=None)  # without a limit of memory there is none of memory and swap
    return after


def _block_io(known: BlockIO | None, given: BlockIO | None) -> BlockIO | None:
    if known is None or given is None:
        return known if given is None else given
    lists = (
        "weight_device",
        "throttle_read_bps_device",
        "throttle_write_bps_device",
        "throttle_read_iops_device",
        "throttle_write_iops_device",
    )
    whole: dict[str, Any] = {
        name: _by_key(getattr(known, name), getattr(given, name), "major", "minor") for name in lists
    }
    return attrs.evolve(_over(known, given), **whole)


def _network(known: Network | None, given: Network | None) -> Network | None:
    if known is None or given is None:
        return known if given is None else given
    return attrs.evolve(_over(known, given), priorities=_by_key(known.priorities, given.priorities, "name"))


def _by_key(known: Iterable[N], given: Iterable[N], *fields: str) -> tuple[N, ...]:
    """Both, and of two that are alike in these fields what they say together."""
    key = attrgetter(*fields)
    found = {key(one): one for one in known}
    for one in given:
        found[key(one)] = _over(found.get(key(one), one), one)
    return tuple(found.values())
