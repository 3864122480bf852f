"""Network devices that move into a container's network namespace; back again, as they were, where create fails.

Each test has a network namespace of its own, which is the host's to it, with one or two pairs of veth devices.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from libcontainer_py import ConfigError, ContainerWarning, CreateError, HookError, ProgramNotFound
from libcontainer_py.backends import forkservers
from libcontainer_py.kernel import libc
from libcontainer_py.kernel.constants import CLONE_NEWNET
from libcontainer_py.kernel.netlink import Netlink
from tests.kernel.workshop import Config, Workshop, namespaces, runc_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

IPV6 = Path("/proc/net/if_inet6").exists()
ADDRESSES = ["192.0.2.7/24 brd 192.0.2.255", "192.0.2.8/32 peer 198.51.100.1/32", *["2001:db8::7/64 nodad"] * IPV6]


class Network:
    """What ip(8) does and sees in the host's network namespace, or in that of a process."""

    def __init__(self, program: str, pid: int | None = None) -> None:
        self.program = program
        self.enter = [] if pid is None else ["nsenter", "-t", str(pid), "-n"]

    def __call__(self, arguments: str) -> str:
        done = subprocess.run([*self.enter, self.program, *arguments.split()], capture_output=True, text=True)
        assert done.returncode == 0, f"ip {arguments}: {done.stderr}"
        return done.stdout

    def of(self, pid: int) -> Network:
        return Network(self.program, pid)

    def names(self) -> set[str]:
        return {link["ifname"] for link in json.loads(self("-json link show"))} - {"lo"}

    def device(self, name: str) -> dict[str, Any]:
        """Whether it is up, its MAC and MTU, and its addresses without link-local ones, which the kernel makes."""
        found = json.loads(self(f"-json address show dev {name}"))[0]
        known = ("local", "address", "prefixlen", "broadcast", "scope", "label", "noprefixroute", "deprecated")
        return {
            "up": "UP" in found["flags"],
            "mac": found["address"],
            "mtu": found["mtu"],
            "addresses": [
                {key: one[key] for key in known if key in one} | {"for ever": one["valid_life_time"] == 2**32 - 1}
                for one in found["addr_info"]
                if one["scope"] != "link" or one["family"] == "inet"
            ],
        }


@pytest.fixture
def network(root_only: None, peer: Callable[[str], str]) -> Iterator[Network]:
    """A network namespace of this thread's own, with the pairs `out0`-`far0` and `out1`-`far1`."""
    program = peer("ip")
    host = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    libc.unshare(CLONE_NEWNET)
    try:
        ip = Network(program)
        for number in (0, 1):
            try:
                ip(f"link add out{number} type veth peer name far{number}")
            except AssertionError as error:
                pytest.skip(f"needs veth devices: {error}")
        yield ip
    finally:
        libc.setns(host, CLONE_NEWNET)
        os.close(host)
        forkservers.shutdown()  # one of them keeps that namespace


def give_addresses(ip: Network, name: str) -> None:
    for address in ADDRESSES:
        ip(f"address add {address} dev {name}")


def moving(devices: dict[str, Any], script: str = "true") -> Config:
    config = runc_spec()
    config["linux"]["netDevices"] = devices
    config["process"]["args"] = ["/bin/sh", "-c", f"busybox {script}"]
    return config


def test_a_device_moves_with_its_addresses_and_is_up(workshop: Workshop, network: Network) -> None:
    network("link set out0 mtu 1400 up")
    give_addresses(network, "out0")
    before = network.device("out0")
    with workshop.create(moving({"out0": {}})) as container:
        assert container.init_pid is not None
        assert network.names() == {"far0", "out1", "far1"}
        inside = network.of(container.init_pid)
        assert inside.names() == {"out0"}
        assert inside.device("out0") == before
        assert len(before["addresses"]) == len(ADDRESSES)
        assert "on the host: net_device out0 out0    <- linux.netDevices" in container.explain()
        saved = json.loads(Path(container.directory, "state.json").read_text())
        assert saved["config"]["netDevices"] == {"out0": {}}


def test_the_program_sees_it(workshop: Workshop, network: Network) -> None:
    network("address add 192.0.2.7/24 dev out0")
    config = moving({"out0": {"name": "inner"}}, "ip -o address show dev inner")
    assert "inet 192.0.2.7/24 scope global inner" in workshop.output(config)


@pytest.mark.parametrize("up", [True, False])
def test_it_is_up_whatever_it_was(workshop: Workshop, network: Network, up: bool) -> None:
    network(f"link set out0 {'up' if up else 'down'}")
    with workshop.create(moving({"out0": {}})) as container:
        assert network.of(container.init_pid or 0).device("out0")["up"]


def test_a_new_name_changes_labels_too(workshop: Workshop, network: Network) -> None:
    network("address add 192.0.2.7/24 dev out0 label out0:one")
    network("address add 203.0.113.7/24 dev out0")
    with workshop.create(moving({"out0": {"name": "inner"}, "out1": {"name": "a-long-name-123"}})) as container:
        inside = network.of(container.init_pid or 0)
        assert inside.names() == {"inner", "a-long-name-123"}
        labels = {one["local"]: one["label"] for one in inside.device("inner")["addresses"]}
        assert labels == {"192.0.2.7": "inner:one", "203.0.113.7": "inner"}


def test_addresses_that_are_not_permanent_or_not_global_stay_behind(workshop: Workshop, network: Network) -> None:
    network("link set out0 up")
    give_addresses(network, "out0")
    network("address add 192.0.2.20/24 dev out0 valid_lft 1000 preferred_lft 500")
    network("address add 203.0.113.21/24 dev out0 scope link")
    network("address add 203.0.114.22/24 dev out0 scope host")
    if IPV6:
        network("address add 2001:db8::20/64 dev out0 valid_lft 1000 preferred_lft 500 nodad")
    with workshop.create(moving({"out0": {}})) as container:
        found = network.of(container.init_pid or 0).device("out0")["addresses"]
        assert [one["local"] for one in found] == [address.split("/")[0] for address in ADDRESSES]


def test_devices_can_change_names_with_each_other(workshop: Workshop, network: Network) -> None:
    macs = {name: network.device(name)["mac"] for name in ("out0", "out1")}
    with workshop.create(moving({"out0": {"name": "out1"}, "out1": {"name": "out0"}})) as container:
        inside = network.of(container.init_pid or 0)
        assert inside.device("out0")["mac"] == macs["out1"]
        assert inside.device("out1")["mac"] == macs["out0"]


def test_kernel_parameters_find_it(workshop: Workshop, network: Network) -> None:
    config = moving({"out0": {"name": "inner"}}, "cat /proc/sys/net/ipv4/conf/inner/forwarding")
    config["linux"]["sysctl"] = {"net.ipv4.conf.inner.forwarding": "1"}
    assert workshop.output(config) == "1\n"


def test_hooks_find_it(workshop: Workshop, network: Network, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f"pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); nsenter -t $pid -n ip -o link show inner > {seen}"
    config = moving({"out0": {"name": "inner"}})
    environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": environment}]}
    workshop.output(config)
    assert "inner" in seen.read_text()


def test_a_new_user_namespace(workshop: Workshop, network: Network) -> None:
    give_addresses(network, "out0")
    config = namespaces(moving({"out0": {}}, "ip -o address show dev out0"), "pid", "network", "ipc", "uts", "mount")
    config["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [{"containerID": 0, "hostID": 0, "size": 1000}]
    assert ADDRESSES[-1].split("/")[0] in workshop.output(config)


# -- create fails -----------------------------------------------------------------------------------------------------


def broken(config: Config, how: str) -> type[Exception]:
    if how == "program":
        config["process"]["args"] = ["/no/such/program"]
        return ProgramNotFound
    config["hooks"] = {how: [{"path": "/bin/false"}]}
    return HookError


@pytest.mark.parametrize("how", ["program", "createRuntime", "createContainer"])
@pytest.mark.parametrize("up", [True, False])
def test_after_a_failed_create_all_is_as_it_was(workshop: Workshop, network: Network, how: str, up: bool) -> None:
    network(f"link set out0 mtu 1400 {'up' if up else 'down'}")
    give_addresses(network, "out0")
    network("address add 192.0.2.20/24 dev out0 valid_lft 100000 preferred_lft 50000")
    network("address add 203.0.113.21/24 dev out0 scope link label out0:two")
    before = {name: network.device(name) for name in ("out0", "out1")}
    config = moving({"out0": {"name": "inner"}, "out1": {}})
    error = broken(config, how)
    with pytest.raises(error):
        workshop.create(config)
    assert network.names() == {"out0", "far0", "out1", "far1"}
    assert {name: network.device(name) for name in ("out0", "out1")} == before
    assert workshop.entries() == []


def test_a_name_that_was_taken_meanwhile(workshop: Workshop, network: Network) -> None:
    """The kernel's way of returning physical devices: dev%d."""
    mac = network.device("out0")["mac"]
    config = moving({"out0": {}})
    script = f"{network.program} link add out0 type veth peer name far9; exit 1"
    config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    with pytest.raises(HookError), pytest.warns(ContainerWarning, match="'out0' is not on the host again .*'dev\\d'"):
        workshop.create(config)
    (name,) = network.names() - {"out0", "far0", "far9", "out1", "far1"}
    assert network.device(name)["mac"] == mac


# -- what cannot be moved ---------------------------------------------------------------------------------------------


def refused(workshop: Workshop, config: Config) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        workshop.create(config)
    assert workshop.entries() == []
    return caught.value


def test_devices_that_are_not_there(workshop: Workshop, network: Network) -> None:
    network("link set lo name loop")
    error = refused(workshop, moving({"out0": {}, "eth77": {}, "loop": {}}))
    assert [(problem.path, problem.reason) for problem in error.problems] == [
        ('linux.netDevices["eth77"]', "network device 'eth77': no such device"),
        ('linux.netDevices["loop"]', "'loop' is a loopback device, which cannot be moved"),
    ]
    assert "out0" in network.names()


def test_what_the_kernel_says_beyond_the_number_is_told(network: Network) -> None:
    netlink = Netlink()
    with pytest.raises(OSError, match=r"Numerical result out of range \(Attribute failed policy validation\)"):
        netlink.link("longer-than-names-are")
    netlink.close()


def test_a_device_that_the_kernel_does_not_move(workshop: Workshop, network: Network) -> None:
    network("link add bridge0 type bridge")
    network("link set out0 up")
    give_addresses(network, "out0")
    before = network.device("out0")
    with pytest.raises(CreateError) as caught:
        workshop.create(moving({"out0": {}, "bridge0": {}}))
    assert (caught.value.step, caught.value.subject, caught.value.errno) == ("net_device", "bridge0", 22)
    assert 'linux.netDevices["bridge0"]: cannot be moved' in str(caught.value)
    assert network.device("out0") == before


@pytest.fixture
def other(network: Network) -> Iterator[tuple[str, Network]]:
    """Another network namespace, in which there is an `inner` already: its path, and how to look at it."""
    sleeper = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE)
    assert sleeper.stdout is not None
    sleeper.stdout.readline()
    there = network.of(sleeper.pid)
    there("link add inner type veth peer name outer")
    yield f"/proc/{sleeper.pid}/ns/net", there
    sleeper.kill()
    sleeper.wait()
    sleeper.stdout.close()


def joining(devices: dict[str, Any], path: str) -> Config:
    config = namespaces(moving(devices), "pid", "ipc", "uts", "mount")
    config["linux"]["namespaces"].append({"type": "network", "path": path})
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "sysfs"]
    return config


def test_a_name_that_is_taken_there(workshop: Workshop, network: Network, other: tuple[str, Network]) -> None:
    network("link set out0 up")
    give_addresses(network, "out0")
    before = network.device("out0")
    path, there = other
    with pytest.raises(CreateError, match=r"cannot be moved as 'inner': File exists.*; choose another name") as caught:
        workshop.create(joining({"out1": {}, "out0": {"name": "inner"}}, path))
    assert caught.value.errno == 17
    assert network.names() == {"out0", "far0", "out1", "far1"}
    assert network.device("out0") == before
    assert there.names() == {"inner", "outer"}


def test_a_pattern_is_made_unique(workshop: Workshop, network: Network, other: tuple[str, Network]) -> None:
    network("link set out0 name inner")
    give_addresses(network, "inner")
    wanted = network.device("inner")["addresses"]
    path, there = other
    there("link set outer name inner0")
    with workshop.create(joining({"inner": {"name": "inner%d"}, "out1": {"name": "inner%d"}}, path)):
        (first, second) = there.names() - {"inner", "inner0"}
        assert {name.rstrip("0123456789") for name in (first, second)} == {"inner"}
        moved = [name for name in (first, second) if there.device(name)["addresses"]]
        (found,) = moved
        of_v4 = [one for one in there.device(found)["addresses"] if "label" in one]
        assert {one["label"] for one in of_v4} == {found}
        assert [one["local"] for one in there.device(found)["addresses"]] == [one["local"] for one in wanted]


def test_what_is_joined_may_not_be_the_hosts_own(workshop: Workshop, network: Network) -> None:
    own = f"/proc/{os.getpid()}/task/{os.getpid()}/ns/net"
    with pytest.raises(CreateError, match="is the host's own"):
        workshop.create(joining({"out0": {}}, own))
    assert "out0" in network.names()


AS_A_USER = """
import json, sys
from libcontainer_py import ConfigError, Factory
try:
    Factory(sys.argv[1] + "/root").create("c1", sys.argv[1])
except ConfigError as error:
    print([problem.path for problem in error.problems], error)
"""


def test_an_ordinary_user_moves_none(
    workshop: Workshop, network: Network, as_nobody: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    config = namespaces(moving({"out0": {}}), "pid", "network", "ipc", "uts", "mount", "user")
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [{"containerID": 0, "hostID": 65534, "size": 1}]
    bundle = workshop.bundle(config)
    for path in (bundle, *bundle.parents):
        if path.is_relative_to(tmp_path.parents[1]):
            path.chmod(0o755)
    done = as_nobody("-c", AS_A_USER, str(bundle))
    assert "['linux.netDevices']" in done.stdout, done.stderr
    assert "takes CAP_NET_ADMIN and CAP_SYS_ADMIN" in done.stdout
    assert "out0" in network.names()
