"""What every end-to-end test stands on: a network of its own where that is allowed, a gate, short paths for sockets."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.harness import Application, Gate
from tests.end_to_end.network import own_network


@pytest.fixture(scope="package", autouse=True)
def _own_network() -> Iterator[None]:
    with own_network():
        yield


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose name leaves room for a socket's: a Unix socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="prefork-") as directory:
        yield Path(directory)


@pytest.fixture
def gate(short_path: Path) -> Iterator[Gate]:
    with Gate(short_path / "gate") as gate:
        yield gate


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return Application(tmp_path).write("1")
