"""The pytest plugin: fixtures for whoever tests code that makes containers. It is there once this package is installed.

    fake_factory         a FakeFactory
    container_factory    a Factory of this host, with a root of its own; where there can be no containers it skips, and
                         says why and what mends it
    container_root       the root of that one, for this worker of pytest-xdist
    no_container_leaks   the test fails where it leaves a container behind in one of these

A test with the marker `containers` skips as `container_factory` does. Nothing of the library but this module is loaded
until a fixture is used.
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from libcontainer_py.factory import Factory
    from libcontainer_py.testing.fake import FakeFactory

_reasons: list[str | None] = []


def pytest_configure(config: pytest.Config) -> None:
    """Tell of the marker."""
    config.addinivalue_line("markers", "containers: makes containers on this host; skips where there can be none")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked, where there can be no containers."""
    if item.get_closest_marker("containers") is not None:
        _skip_without_containers()


def _skip_without_containers() -> None:
    if not _reasons:
        from libcontainer_py.doctor import examine  # noqa: PLC0415  (nothing is loaded before it is used)

        _reasons.append(examine().reason_why_not("run"))  # it is the same for the whole run, and takes 0.2 s
    if _reasons[0] is not None:
        pytest.skip(_reasons[0])


@pytest.fixture
def fake_factory() -> FakeFactory:
    """A FakeFactory, whose programs run until they are killed."""
    from libcontainer_py.testing.fake import FakeFactory  # noqa: PLC0415  (see above)

    return FakeFactory()


@pytest.fixture(scope="session")
def container_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root for state directories. Of each worker its own: pytest gives each other temporary directories."""
    return tmp_path_factory.mktemp("containers")


@pytest.fixture
def container_factory(container_root: Path) -> Generator[Factory, None, None]:
    """A Factory of this host. What a test leaves in its root is killed and removed."""
    _skip_without_containers()
    from libcontainer_py.factory import Factory  # noqa: PLC0415  (see above)

    factory = Factory(container_root)
    yield factory
    for container_id in factory.ids():
        factory.delete(container_id, force=True)


@pytest.fixture
def no_container_leaks(request: pytest.FixtureRequest) -> Generator[None, None, None]:
    """Fail where containers are left in `fake_factory` or `container_factory`, those that the test asked for."""
    names = [name for name in ("fake_factory", "container_factory") if name in request.fixturenames]
    factories: list[Factory] = [request.getfixturevalue(name) for name in names]  # and so they are unmade after us
    yield
    left = [repr(container) for factory in factories for container in factory.list()]
    if left:
        pytest.fail(f"the test left containers behind: {', '.join(left)}", pytrace=False)
