"""Documents of features: nothing is lost, and unknown is not the same as no or none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from libcontainer_py import spec
from libcontainer_py.errors import ConfigError
from libcontainer_py.spec import Features, features

DATA = Path(__file__).parents[2] / "data"
VERSIONS = {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0"}


@pytest.mark.parametrize("path", sorted(DATA.glob("features-*.json")), ids=lambda path: path.stem)
def test_what_runc_prints_survives(path: Path) -> None:
    found = Features.from_json(path.read_bytes())
    assert found.to_dict() == json.loads(path.read_bytes())
    assert Features.from_json(found.to_json()) == found


def test_what_runc_prints_is_understood() -> None:
    found = Features.from_json((DATA / "features-runc-1.5.1.json").read_bytes())
    assert (found.oci_version_min, found.oci_version_max) == ("1.0.0", "1.3.0")
    assert found.hooks is not None
    assert found.hooks[0] == "prestart"
    assert found.linux is not None
    assert found.linux.cgroup == features.Cgroup(v1=True, v2=True, systemd=True, systemd_user=True, rdma=True)
    assert found.linux.mount_extensions == features.MountExtensions(idmap=features.Switch(enabled=True))
    assert found.linux.seccomp is not None
    assert found.linux.seccomp.supported_flags is not None
    assert "SECCOMP_FILTER_FLAG_LOG" in found.linux.seccomp.supported_flags
    assert found.annotations is not None
    assert found.annotations["org.opencontainers.runc.version"] == "1.5.1"
    assert found.extra == {}
    assert found.linux.extra == {}


def test_unknown_is_not_none_of_them() -> None:
    unknown = Features.from_dict(VERSIONS)
    none = Features.from_dict({**VERSIONS, "hooks": [], "annotations": {}, "linux": {"cgroup": {"v1": False}}})
    assert (unknown.hooks, unknown.annotations, unknown.linux) == (None, None, None)
    assert (none.hooks, none.annotations) == ((), {})
    assert none.linux == features.Linux(cgroup=features.Cgroup(v1=False))
    assert none.linux.cgroup.v2 is None
    assert none.to_dict() == {**VERSIONS, "hooks": [], "annotations": {}, "linux": {"cgroup": {"v1": False}}}
    assert Features.from_dict({**VERSIONS, "hooks": None}) == unknown


def test_made_by_hand() -> None:
    made = Features(
        oci_version_min="1.0.0", oci_version_max="1.3.0", hooks=["poststop"], linux=features.Linux(namespaces=())
    )
    assert made.to_dict() == {**VERSIONS, "hooks": ["poststop"], "linux": {"namespaces": []}}


def test_every_problem_with_its_path() -> None:
    with pytest.raises(ConfigError) as caught:
        Features.from_dict({"ociVersionMin": 1, "hooks": "all", "linux": {"seccomp": {"enabled": "yes"}}})
    assert [problem.path for problem in caught.value.problems] == [
        "ociVersionMin",
        "hooks",
        "linux.seccomp.enabled",
        "ociVersionMax",
    ]


def test_loaded_on_first_use() -> None:
    code = """if True:
        import sys
        from libcontainer_py import spec
        assert "libcontainer_py.spec.features" not in sys.modules
        assert spec.Features is spec.Features
        assert "libcontainer_py.spec.features" in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_names_are_still_missing() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Feature'"):
        spec.Feature  # noqa: B018  # type: ignore[attr-defined]  # that is the question
