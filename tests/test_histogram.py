"""Service times in buckets: which one counts a duration, and what percentiles say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.histogram import BOUNDS_NS, BUCKETS, NOTHING, add, bucket, percentile

DURATIONS = st.integers(0, 10**12)


def test_ten_buckets_to_a_decade() -> None:
    """From 10 µs to 100 s, and one for what takes longer."""
    assert BOUNDS_NS[:11] == (10_000, 12_500, 16_000, 20_000, 25_000, 32_000, 40_000, 50_000, 63_000, 80_000, 100_000)
    assert BOUNDS_NS[-1] == 100 * 10**9
    assert BUCKETS == len(NOTHING) == 72


@pytest.mark.parametrize(("duration", "number"), [(0, 0), (10_000, 0), (10_001, 1), (100 * 10**9, 70), (10**12, 71)])
def test_a_duration_is_counted_where_its_bound_is(duration: int, number: int) -> None:
    """As ``le`` of Prometheus: a bound belongs to the bucket below it."""
    assert bucket(duration) == number


@given(st.lists(DURATIONS, min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_an_upper_bound(durations: list[int], share: float) -> None:
    """At least that share did not exceed it, and the bound before it would not have been enough."""
    counts = _counted(durations)
    found = percentile(counts, share)
    assert found is not None
    within = sum(min(duration, BOUNDS_NS[-1]) <= found * 1e9 + 1 for duration in durations)
    assert within >= share * len(durations)
    below = [bound for bound in BOUNDS_NS if bound / 1e9 < found]
    if below:
        assert sum(duration <= below[-1] for duration in durations) < share * len(durations)


def test_nothing_has_no_percentile() -> None:
    assert percentile(NOTHING, 0.5) is None


@given(st.lists(DURATIONS), st.lists(DURATIONS))
def test_histograms_add_up(some: list[int], others: list[int]) -> None:
    """Counts of two workers are those of one that did the work of both."""
    assert add([_counted(some), _counted(others)]) == tuple(_counted(some + others))


def _counted(durations: list[int]) -> list[int]:
    counts = [0] * BUCKETS
    for duration in durations:
        counts[bucket(duration)] += 1
    return counts
