"""What the tests of deploy/ stand on: machines that systemd has booted, with the service ``shop`` in them."""

import shutil
from collections.abc import Iterator

import pytest

from tests.deploy import nspawn, roots
from tests.deploy.nspawn import Machine
from tests.deploy.shop import Shop, installed


@pytest.fixture(scope="module", params=["systemd-252", "systemd-257"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One for all tests of a file: the host's own Debian, which may be newer than its name here, or trixie."""
    if missing := nspawn.missing():
        pytest.skip(f"no machine can be booted without {missing}")
    if request.param == "systemd-257" and shutil.which("mmdebstrap") is None:
        pytest.skip("no Debian with systemd 257 can be made without mmdebstrap")
    root = roots.host() if request.param == "systemd-252" else roots.trixie()
    installation = tmp_path_factory.mktemp("installation")
    with Machine(root.path, copied=roots.installation(root, installation)) as machine:
        machine.expect("useradd", "--system", "--shell=/usr/sbin/nologin", "shop")
        # as an installation does: the service may not write there, and would compile at each start
        machine.expect("python3", "-m", "compileall", "-q", "-x", "/tests/", f"{roots.HOME}/lib")
        yield machine


@pytest.fixture
def shop(machine: Machine) -> Iterator[Shop]:
    with installed(machine) as shop:
        yield shop
