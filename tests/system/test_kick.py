"""The kick across processes: somebody takes it, once, and whoever kicks never waits; one promise a test."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from prefork.system import kick
from tests.children import Child, Link, is_readable, wait_readable

FULL = 2**64 - 2  # the highest count, eventfd(2)


@pytest.fixture
def kicked() -> Iterator[int]:
    fd = kick.create()
    yield fd
    os.close(fd)


def test_a_kick_is_readable_until_it_is_answered(kicked: int) -> None:
    """Who polls it wakes, and answering takes it away."""
    assert not is_readable(kicked)
    kick.kick(kicked)
    assert is_readable(kicked)
    assert kick.answer(kicked) is True
    assert not is_readable(kicked)


def test_a_kick_nobody_gave_is_not_answered(kicked: int) -> None:
    """Who comes too late is told so and does not wait."""
    assert kick.answer(kicked) is False


def test_kicks_that_nobody_answered_are_one(kicked: int) -> None:
    """One answer is enough for any number of kicks."""
    for _ in range(3):
        kick.kick(kicked)
    assert [kick.answer(kicked), kick.answer(kicked)] == [True, False]


def test_a_kick_too_many_is_dropped_and_does_not_wait(kicked: int) -> None:
    """A full count says all there is to say."""
    os.eventfd_write(kicked, FULL)
    kick.kick(kicked)
    assert os.eventfd_read(kicked) == FULL


def test_one_of_many_processes_answers(kicked: int) -> None:
    """Of all that were woken by one kick exactly one takes it."""

    def answer(parent: Link) -> bool:
        wait_readable(kicked)
        parent.say("awake")
        parent.hear()
        return kick.answer(kicked)

    with ExitStack() as children:
        waiters = [children.enter_context(Child(answer)) for _ in range(4)]
        kick.kick(kicked)
        for waiter in waiters:
            assert waiter.hear() == "awake"
        for waiter in waiters:
            waiter.say("answer")
        assert sorted(waiter.hear() for waiter in waiters) == [False, False, False, True]


def test_no_program_inherits_it_unasked(kicked: int) -> None:
    """It crosses an exec only where it is handed over."""
    assert not os.get_inheritable(kicked)
