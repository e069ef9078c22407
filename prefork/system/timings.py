"""The timings of a slot: how many requests took how long, in the worker's whole life and lately.

Lately is what the kernel's clock, the same for all processes, calls this half-minute and the one before. With its first
request of a half-minute a worker copies its counts: what it has counted since is the difference, so nobody else need
wake to take samples, and an idle worker writes nothing. It must not know how requests are served.
Invariant: counts only grow, until another worker takes the slot.
Read next: ``prefork/histogram.py``, what a count counts; ``slots.py``, whose memory this is.
"""

from collections.abc import Iterable
from operator import add, sub
from typing import NamedTuple

from prefork import histogram
from prefork.histogram import BUCKETS, NOTHING, bucket

EPOCH_NS = 30 * 10**9  # a half-minute
_TAG = 0  # of a copy: one more than the number of the half-minute it begins; behind it the sums as they were then
_SUMS = 3  # of those: requests, errors, nanoseconds that were busy
_COPY = 8 + BUCKETS  # cells
TIMINGS = 8 * (BUCKETS + 2 * _COPY)  # bytes


class Counts(NamedTuple):
    """What was served.

    :param times: how many took how long, by the buckets of ``prefork/histogram.py``.
    """

    requests: int = 0
    errors: int = 0
    busy_ns: int = 0
    times: tuple[int, ...] = NOTHING

    def plus(self, other: "Counts") -> "Counts":
        times = tuple(map(add, self.times, other.times))
        return Counts(self.requests + other.requests, self.errors + other.errors, self.busy_ns + other.busy_ns, times)

    def minus(self, other: "Counts") -> "Counts":
        times = tuple(map(sub, self.times, other.times))
        return Counts(self.requests - other.requests, self.errors - other.errors, self.busy_ns - other.busy_ns, times)


NONE_YET = Counts()


class Past(NamedTuple):
    """What workers that are gone have served.

    :param lately: the part of it that falls into this half-minute and the one before, by their numbers.
    """

    life: Counts = NONE_YET
    lately: dict[int, Counts] = {}  # noqa: RUF012  nobody changes it

    def plus(self, timings: "Timings", now_ns: int) -> "Past":
        """One more is gone."""
        lately = {number: counts for number, counts in self.lately.items() if number >= now_ns // EPOCH_NS - 1}
        for number, counts in timings.by_epoch(now_ns).items():
            lately[number] = lately.get(number, NONE_YET).plus(counts)
        return Past(self.life.plus(timings.life), lately)


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of many."""
    requests, errors, busy_ns, times = zip(*counts, NONE_YET, strict=True)
    return Counts(sum(requests), sum(errors), sum(busy_ns), histogram.add(times))


class Timings:
    """See above.

    :param memory: of ``TIMINGS`` bytes.
    :param sums: the cells of requests, errors and busy nanoseconds.
    """

    def __init__(self, memory: memoryview, sums: memoryview) -> None:
        self.cells = cells = memory.cast("Q")
        self._life = cells[:BUCKETS]
        self._copies = (cells[BUCKETS : BUCKETS + _COPY], cells[BUCKETS + _COPY :])
        self._sums = sums
        self._turns_at = 0  # by the clock

    # in the worker

    def count(self, duration_ns: int, ended_ns: int) -> None:
        """A request has ended; to be told before it is added to the sums."""
        if ended_ns >= self._turns_at:
            self._turn(ended_ns // EPOCH_NS)
        self._life[bucket(duration_ns)] += 1

    def _turn(self, epoch: int) -> None:
        copy = self._copies[epoch % 2]
        copy[_TAG] = 0
        copy[1 : 1 + _SUMS] = self._sums
        copy[8:] = self._life
        copy[_TAG] = epoch + 1
        self._turns_at = (epoch + 1) * EPOCH_NS

    def clear(self) -> None:
        """In a newborn worker."""
        self.cells[:] = memoryview(bytes(TIMINGS)).cast("Q")

    # for whoever looks

    @property
    def life(self) -> Counts:
        return _counts(self._sums, self._life)

    def by_epoch(self, now_ns: int) -> dict[int, Counts]:
        """What was served in this half-minute and in the one before."""
        epoch = now_ns // EPOCH_NS
        found = {}
        until = self.life
        for number in (epoch, epoch - 1):
            copy = self._copies[number % 2]
            if copy[_TAG] == number + 1:
                since = _counts(copy[1 : 1 + _SUMS], copy[8:])
                found[number] = until.minus(since)
                until = since
        return found


def _counts(sums: memoryview, times: memoryview) -> Counts:
    requests, errors, busy_ns = sums
    return Counts(requests, errors, busy_ns, tuple(times))
