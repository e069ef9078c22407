"""Service times, counted in buckets: ten to a decade, from 10 µs to 100 s, so a figure is off by an eighth at most.

The bounds are the preferred numbers R10 of ISO 3, with 3.2 for 3.15: short to write, nearly even on a logarithmic
scale, and the same on every machine, so that counts of many workers add up. It must not know where counts are kept.
Invariant: a duration is counted in the first bucket whose bound is not below it, as Prometheus' ``le`` says.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

_STEPS_NS = (10_000, 12_500, 16_000, 20_000, 25_000, 32_000, 40_000, 50_000, 63_000, 80_000)
_DECADES = 7

BOUNDS_NS: tuple[int, ...] = (*(step * 10**decade for decade in range(_DECADES) for step in _STEPS_NS), 10**11)
"""The upper bound of each bucket, in nanoseconds; one more bucket has none."""
BUCKETS = len(BOUNDS_NS) + 1
NOTHING = (0,) * BUCKETS


def bucket(nanoseconds: int) -> int:
    """The number of the bucket that counts such a duration."""
    return bisect_left(BOUNDS_NS, nanoseconds)


def add(counts: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """The sums of several histograms."""
    return tuple(map(sum, zip(*counts, NOTHING, strict=True)))


def percentile(counts: Sequence[int], share: float) -> float | None:
    """A duration in seconds that at least ``share`` of all did not exceed: the upper bound of the bucket it is in.

    What is beyond the last bound is called that bound, 100 s.

    :param share: between 0 and 1, as 0.99.
    :returns: ``None`` where nothing was counted.
    """
    total = sum(counts)
    if not total:
        return None
    seen = 0
    for bound, count in zip(BOUNDS_NS, counts, strict=False):
        seen += count
        if seen >= share * total:
            return bound / 1e9
    return BOUNDS_NS[-1] / 1e9
