"""What tests of one kernel call stand on: a network where nobody else's sockets are counted, and control groups."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork.system import cgroups
from tests.end_to_end.network import own_network

MOUNT = {
    "v2": "30 23 0:26 / {} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
    "v1": "31 23 0:27 / {} rw,nosuid - cgroup cgroup rw,memory\n",
}
GROUP = {"v2": "0::/slice/shop\n", "v1": "9:memory:/slice/shop\n"}


@pytest.fixture(scope="package", autouse=True)
def _own_network() -> Iterator[None]:
    with own_network():
        yield


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A process in the group ``/slice/shop`` of that version."""
    found: str = request.param
    (tmp_path / "mountinfo").write_text(MOUNT[found].format(tmp_path / "cgroup"))
    (tmp_path / "group").write_text(GROUP[found])
    monkeypatch.setattr(cgroups, "MOUNTS", str(tmp_path / "mountinfo"))
    monkeypatch.setattr(cgroups, "GROUPS", str(tmp_path / "group"))
    (tmp_path / "cgroup/slice/shop").mkdir(parents=True)
    return found
