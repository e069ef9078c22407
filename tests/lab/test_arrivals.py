"""When requests are due: the whole is what its parts make together, whatever their number."""

import heapq
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.lab.arrivals import constant, poisson, share


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_even_arrivals_are_dealt_out_in_turn(parts: int) -> None:
    """Merged they are as evenly spaced as if there were one process."""
    merged = heapq.merge(*(constant(100.0, part, parts) for part in range(parts)))
    assert list(islice(merged, 50)) == [number / 100 for number in range(50)]


@pytest.mark.parametrize("parts", [1, 4])
def test_random_arrivals_have_the_rate_of_the_whole(parts: int) -> None:
    """By their count in a long time, and by the coefficient of variation of their gaps, which is 1."""
    merged = heapq.merge(*(poisson(50.0, part, parts, seed=3) for part in range(parts)))
    times = list(takewhile(lambda at: at < 1000, merged))
    assert len(times) == pytest.approx(50_000, rel=0.02)  # 4.5 standard deviations of a count of 50 000
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert variance**0.5 / mean == pytest.approx(1, rel=0.03)


def test_the_seed_decides() -> None:
    """The same one gives the same times, another one others, and no two parts have the same."""
    first = list(islice(poisson(10.0, 0, 2, seed=1), 20))
    assert first == list(islice(poisson(10.0, 0, 2, seed=1), 20))
    assert first != list(islice(poisson(10.0, 0, 2, seed=2), 20))
    assert first != list(islice(poisson(10.0, 1, 2, seed=1), 20))


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_shares_make_the_whole(whole: int, parts: int) -> None:
    """And differ by one at most."""
    shares = [share(whole, part, parts) for part in range(parts)]
    assert sum(shares) == whole
    assert max(shares) - min(shares) <= 1
