"""One generator in this process, with connections that are made up: what is written down, and in which order."""

import os
import select
import time
from collections.abc import Callable

import numpy as np
import pytest

from prefork.lab import generator
from prefork.lab.generator import Generator
from prefork.lab.load import Load
from prefork.lab.reports import Finished, Order
from prefork.lab.samples import KINDS, Reel, Samples


class MadeUp:
    """A connection whose reply is there as soon as it is looked for, or never.

    :param begun: told of each request.
    """

    def __init__(self, owner: Generator, is_answered: bool, begun: Callable[[], None]) -> None:
        self._owner = owner
        self._is_answered = is_answered
        self._begun = begun
        self._fd = -1
        self.intended = self.started = 0.0
        self.sent = self.received = 0

    def begin(self, number: int, intended: float, now: float) -> None:
        self.intended, self.started = intended, now
        if self._is_answered:
            self._fd = os.eventfd(1)
            self._owner.watch(self, self._fd, select.EPOLLIN)  # type: ignore[arg-type]
        self._begun()

    def on_event(self, mask: int) -> None:
        self._owner.watch(self, self._fd, 0)  # type: ignore[arg-type]
        os.close(self._fd)
        self._owner.answered(self)  # type: ignore[arg-type]


def ran(
    monkeypatch: pytest.MonkeyPatch, load: Load, *, is_answered: bool = True, stop_after: int = 0
) -> tuple[Finished, Samples]:
    """A generator's whole life.

    :param stop_after: so many requests it is told to end; 0 is never.
    """
    orders, order = os.pipe()
    begun = 0

    def begin() -> None:
        nonlocal begun
        begun += 1
        if begun == stop_after:
            os.close(order)

    def maker_of(load: Load, aim: object, owner: Generator) -> Callable[[], MadeUp]:
        return lambda: MadeUp(owner, is_answered, begin)

    monkeypatch.setattr(generator, "STDIN", orders)
    monkeypatch.setattr(generator, "maker_of", maker_of)
    reel = Reel()
    try:
        end = Generator(Order(load, 0, 1, reel.fd), lambda report: None).run(time.monotonic())
        return end, Samples(reel.rows(), list(KINDS))
    finally:
        reel.close()
        os.close(orders)
        if begun < stop_after or not stop_after:
            os.close(order)


def load(**wishes: object) -> Load:
    """That ends by its count, or because it is told to."""
    return Load(**{"url": "tcp://127.0.0.1:9", "duration": 600.0, "warm_up": 0.0, "timeout": 600.0, **wishes})  # type: ignore[arg-type]


def test_what_is_under_way_when_it_is_told_to_end_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall that the user has seen enough of is not forgotten: each request has waited until then."""
    end, samples = ran(monkeypatch, load(clients=7), is_answered=False, stop_after=7)
    assert samples.errors == {"unfinished": 7}
    assert (samples.rows["ended"] >= end.seconds).all()
    assert (samples.rows["started"] < end.seconds).all()
    assert np.array_equal(samples.rows["intended"], samples.rows["started"])


def test_requests_that_are_due_at_once_start_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each when it is begun, so that its service time has nothing of those before it."""
    _, samples = ran(monkeypatch, load(requests=300, clients=300, rate=1e9, arrivals="constant"))
    assert samples.errors == {}
    assert len(np.unique(samples.rows["started"])) == 300


def test_replies_are_looked_for_while_many_are_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """In both loops: the first reply does not wait for the last request."""
    for rate in (1e9, None):
        _, samples = ran(monkeypatch, load(requests=300, clients=300, rate=rate, arrivals="constant"))
        assert len(samples.rows) == 300
        assert samples.rows["ended"].min() < samples.rows["started"].max()


def test_what_was_due_when_time_was_over_is_sent_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the generator is with it."""
    _, samples = ran(monkeypatch, load(duration=1e-5, clients=300, rate=3e7, arrivals="constant"))
    assert len(samples.latencies) == 300
