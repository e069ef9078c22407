"""What tests of one kernel call stand on: a network where nobody else's sockets are counted."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.network import own_network


@pytest.fixture(scope="package", autouse=True)
def _own_network() -> Iterator[None]:
    with own_network():
        yield
