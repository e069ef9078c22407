"""A descriptor is given to whoever takes it first, and to nobody twice."""

import os
from collections.abc import Iterator

import pytest

from prefork.system import summons
from prefork.system.summons import Summons
from tests.children import Child, Link


@pytest.fixture
def giver() -> Iterator[Summons]:
    giver = Summons()
    yield giver
    giver.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def test_one_of_many_takes_it(giver: Summons, pipe: tuple[int, int]) -> None:
    """In another process, where it is closed by an exec; the giver's own copy may be closed at once."""
    reader, writer = pipe
    takers = giver.takers

    def live(parent: Link) -> tuple[bytes, bool]:
        os.close(writer)  # a fork gave it too
        parent.hear()
        packet, fd = summons.take(takers) or (b"", -1)
        os.write(fd, b"it is here")
        return packet, os.get_inheritable(fd)

    with Child(live) as first, Child(live) as second:
        giver.give(b"for whoever", writer)
        os.close(writer)
        second.say()
        assert second.hear() == (b"for whoever", False)
        assert os.read(reader, 100) == b"it is here"
        assert os.read(reader, 100) == b"", "nobody else holds it"
        assert first.pid != second.pid


def test_nothing_to_take_is_no_wait(giver: Summons) -> None:
    """Neither where nothing was given, nor after the giver has gone."""
    takers = os.dup(giver.takers)
    assert summons.take(takers) is None
    giver.close()
    assert summons.take(takers) is None
    os.close(takers)


def test_what_is_taken_back_is_closed(giver: Summons, pipe: tuple[int, int]) -> None:
    """So that its other end learns of it; a second time there is nothing."""
    reader, writer = pipe
    assert giver.takers >= 0
    giver.give(b"", writer)
    os.close(writer)
    for _ in range(2):
        giver.take_back()
    assert os.read(reader, 1) == b""


def test_a_giver_that_nobody_asked_has_no_descriptors() -> None:
    """A master that has no molds holds nothing for them."""
    before = set(os.listdir("/proc/self/fd"))
    giver = Summons()
    giver.take_back()
    giver.close()
    assert set(os.listdir("/proc/self/fd")) == before
