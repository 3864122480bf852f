"""What is said to systemd over D-Bus, by a systemd of the tests' own that listens."""

from __future__ import annotations

import errno
import sys
import tempfile
from pathlib import Path

import pytest

from libcontainer_py.cgroups import bus
from libcontainer_py.cgroups.bus import BusError
from libcontainer_py.errors import CgroupError, UnsupportedPlatform

if not sys.platform.startswith("linux"):
    pytest.skip("needs Linux", allow_module_level=True)
pytest.importorskip("jeepney", reason="jeepney is missing: pip install jeepney")

from tests import dbus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = "p-n.scope"
PROPERTIES = [
    ("PIDs", ("au", [7])),
    ("Slice", ("s", "a.slice")),
    ("Delegate", ("b", True)),
    ("TasksMax", ("t", 2**64 - 1)),
    ("AllowedCPUs", ("ay", [3, 1])),
]


@pytest.fixture
def systemd() -> Iterator[dbus.Systemd]:
    systemd = dbus.Systemd()
    yield systemd
    systemd.close()


@pytest.fixture(params=[True, False], ids=["bus", "private"])
def connection(request: pytest.FixtureRequest, systemd: dbus.Systemd) -> Iterator[bus.Systemd]:
    with bus.Systemd(systemd.ours, on_bus=request.param) as connection:
        yield connection


def test_greeting(systemd: dbus.Systemd) -> None:
    bus.Systemd(systemd.ours, on_bus=True).close()
    assert [method for method, _ in systemd.asked] == ["Hello", "AddMatch", "Subscribe"]


def test_greeting_of_systemd_itself(systemd: dbus.Systemd) -> None:
    bus.Systemd(systemd.ours, on_bus=False).close()
    assert [method for method, _ in systemd.asked] == ["Subscribe"]


@pytest.mark.parametrize(
    ("text", "version"), [("252 (252.38-1~deb12u1)", 252), ("v245.4-1.fc32", 245), ("256", 256), ("odd", 0)]
)
def test_version(text: str, version: int) -> None:
    systemd = dbus.Systemd(version=text, control_group="/user.slice/")
    with bus.Systemd(systemd.ours, on_bus=True) as connection:
        assert connection.version() == version
        assert connection.control_group() == "/user.slice"
    systemd.close()


@pytest.mark.parametrize("early", [True, False])
def test_start(systemd: dbus.Systemd, connection: bus.Systemd, early: bool) -> None:
    systemd.early = early
    connection.start(UNIT, PROPERTIES)
    (arguments,) = systemd.named("StartTransientUnit")
    unit, mode, properties, auxiliary = arguments
    assert (unit, mode, auxiliary) == (UNIT, "fail", [])
    assert {name: (kind, [*value] if kind == "ay" else value) for name, (kind, value) in properties} == dict(PROPERTIES)


def test_start_of_what_is_there(systemd: dbus.Systemd, connection: bus.Systemd) -> None:
    systemd.units[UNIT] = {}
    with pytest.raises(BusError, match="already exists") as caught:
        connection.start(UNIT, PROPERTIES)
    assert caught.value.name == "UnitExists"


def test_a_job_that_fails(systemd: dbus.Systemd, connection: bus.Systemd) -> None:
    systemd.result = "failed"
    with pytest.raises(CgroupError, match="StartTransientUnit came to 'failed'") as caught:
        connection.start(UNIT, PROPERTIES)
    assert (caught.value.path, caught.value.hint) == (UNIT, f"systemctl status {UNIT}")


def test_who_has_the_job_is_believed_alone(systemd: dbus.Systemd, connection: bus.Systemd) -> None:
    systemd.result = "failed"
    systemd.forged = True
    with pytest.raises(CgroupError, match="failed"):
        connection.start(UNIT, PROPERTIES)


def test_stop(systemd: dbus.Systemd, connection: bus.Systemd) -> None:
    systemd.units[UNIT] = {}
    connection.stop(UNIT)
    connection.stop(UNIT)  # there is none any more
    assert systemd.units == {}
    assert systemd.named("ResetFailedUnit") == [(UNIT,), (UNIT,)]


def test_properties(systemd: dbus.Systemd, connection: bus.Systemd) -> None:
    assert connection.control_group_of(UNIT) is None
    systemd.units[UNIT] = {"MemoryMax": ("t", 7)}
    assert connection.control_group_of(UNIT) == ""
    systemd.units[UNIT]["ControlGroup"] = ("s", "/a.slice/p-n.scope")
    assert connection.control_group_of(UNIT) == "/a.slice/p-n.scope"
    assert connection.properties_of(UNIT, ["MemoryMax", "Unknown"]) == [("MemoryMax", ("t", 7))]
    connection.set(UNIT, [("MemoryMax", ("t", 8))])
    assert connection.properties_of(UNIT, ["MemoryMax"]) == [("MemoryMax", ("t", 8))]


def test_properties_that_are_refused(systemd: dbus.Systemd, connection: bus.Systemd) -> None:
    def refuse(unit: str, properties: object) -> None:
        raise dbus.Refusal("PropertyReadOnly", "Cannot set property Nonsense")

    systemd.set = refuse
    with pytest.raises(CgroupError, match=r"p-n.scope: .*Cannot set property Nonsense \(PropertyReadOnly\)"):
        connection.set(UNIT, [("Nonsense", ("t", 8))])


def test_no_answer(systemd: dbus.Systemd, connection: bus.Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "TIMEOUT", 0.1)
    systemd.silent.add("StartTransientUnit")
    with pytest.raises(CgroupError, match=r"no answer within 0\.1 s") as caught:
        connection.start(UNIT, PROPERTIES)
    assert caught.value.errno == errno.ETIMEDOUT


def test_the_end_of_the_line(systemd: dbus.Systemd) -> None:
    connection = bus.Systemd(systemd.ours, on_bus=True)
    systemd.hang_up()
    with pytest.raises(CgroupError, match="the connection is lost"):
        connection.version()
    connection.close()


# -- finding it -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder() -> Iterator[Path]:
    """The name of a socket has 107 bytes at most, and a directory for temporary files may have more."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def address(systemd: dbus.Systemd, folder: Path) -> str:
    path = str(folder / "bus")
    systemd.serve(path)
    return path


@pytest.mark.parametrize("user", [True, False])
def test_by_the_environment(systemd: dbus.Systemd, address: str, monkeypatch: pytest.MonkeyPatch, user: bool) -> None:
    name = "DBUS_SESSION_BUS_ADDRESS" if user else "DBUS_SYSTEM_BUS_ADDRESS"
    monkeypatch.setenv(name, f"tcp:host=x,port=1;unix:path={address}")
    with bus.Systemd.connect(user=user) as connection:
        assert connection.version() == 252
    assert systemd.named("Hello") == [()]


def test_by_the_runtime_directory(systemd: dbus.Systemd, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(Path(address).parent))
    with bus.Systemd.connect(user=True) as connection:
        assert connection.version() == 252


def test_without_a_bus_by_itself(systemd: dbus.Systemd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "systemd").mkdir()
    systemd.serve(str(folder / "systemd" / "private"))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with bus.Systemd.connect(user=True) as connection:
        assert connection.version() == 252
    assert systemd.named("Hello") == []


def test_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(UnsupportedPlatform) as caught:
        bus.Systemd.connect(user=True)
    assert caught.value.hint
    assert ("systemd is not what runs here" in str(caught.value)) is not Path("/run/systemd/system").is_dir()


def test_without_jeepney(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jeepney", None)
    with pytest.raises(UnsupportedPlatform, match="needs jeepney") as caught:
        bus.Systemd.connect(user=False)
    assert "pip install 'libcontainer-py[systemd]'" in caught.value.hint
