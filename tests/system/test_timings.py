"""Timings of a slot: counts of a life, and of the half-minutes that have just passed, though nobody takes samples."""

import pytest

from prefork.histogram import BUCKETS, bucket
from prefork.system.timings import EPOCH_NS, NONE_YET, TIMINGS, Counts, Past, Timings, total

MS = 10**6


class Worker:
    """As a worker writes it, and as somebody else reads it: two views of one memory."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(TIMINGS))
        self.sums = memoryview(bytearray(24)).cast("Q")
        self._writing = Timings(self.memory, self.sums)
        self.reading = Timings(self.memory, self.sums)

    def serve(self, epoch: float, milliseconds: int = 1, errors: int = 0) -> None:
        self._writing.count(milliseconds * MS, int(epoch * EPOCH_NS))
        for cell, more in enumerate((1, errors, milliseconds * MS)):
            self.sums[cell] += more

    def lately(self, epoch: float) -> dict[int, tuple[int, ...]]:
        """Requests, errors, milliseconds and the sum of the histogram, by half-minute."""
        found = self.reading.by_epoch(int(epoch * EPOCH_NS))
        return {number: (c.requests, c.errors, c.busy_ns // MS, sum(c.times)) for number, c in found.items()}


def test_a_life_is_counted_by_how_long_requests_took() -> None:
    """Each in the bucket of its duration."""
    worker = Worker()
    for milliseconds in (1, 5, 5):
        worker.serve(1, milliseconds)
    life = worker.reading.life
    assert (life.requests, life.busy_ns, len(life.times)) == (3, 11 * MS, BUCKETS)
    assert (life.times[bucket(1 * MS)], life.times[bucket(5 * MS)], sum(life.times)) == (1, 2, 3)


def test_lately_is_this_half_minute_and_the_one_before() -> None:
    """What was served earlier is in neither, and what was served in one is not in the other."""
    worker = Worker()
    worker.serve(1)
    worker.serve(2, 3)
    worker.serve(2.9, 4, errors=1)
    worker.serve(3)
    assert worker.lately(3.5) == {3: (1, 0, 1, 1), 2: (2, 1, 7, 2)}
    assert worker.lately(4) == {3: (1, 0, 1, 1)}
    assert worker.lately(5) == {}


@pytest.mark.parametrize("epochs", [(1, 4), (1, 3), (2, 2.5, 7)])
def test_half_minutes_without_requests_are_no_trouble(epochs: tuple[float, ...]) -> None:
    """The last one counts, whatever was before."""
    worker = Worker()
    for epoch in epochs:
        worker.serve(epoch)
    last = int(epochs[-1])
    assert worker.lately(last) == {last: (1, 0, 1, 1)}


def test_a_newborn_worker_has_served_nothing() -> None:
    """Neither in its life nor lately."""
    worker = Worker()
    worker.serve(1)
    worker.reading.clear()
    assert worker.lately(1) == {}
    assert sum(worker.reading.life.times) == 0


def test_who_is_gone_still_counts() -> None:
    """For ever in what was served ever, and for a minute in what was served lately."""
    past = Past()
    for epochs in ((1, 2), (2, 3)):
        worker = Worker()
        for epoch in epochs:
            worker.serve(epoch)
        past = past.plus(worker.reading, int(epochs[-1] * EPOCH_NS))
    assert past.life.requests == sum(past.life.times) == 4
    assert {epoch: counts.requests for epoch, counts in past.lately.items()} == {2: 2, 3: 1}


def test_counts_add_up() -> None:
    """Of many as of two."""
    some, others = Counts(1, 2, 3, tuple(range(BUCKETS))), Counts(10, 20, 30, tuple(range(BUCKETS)))
    assert total([some, others]) == some.plus(others)
    assert some.plus(others).minus(others) == some
    assert total([]) == NONE_YET
