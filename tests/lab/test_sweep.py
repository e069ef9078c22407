"""Few points find the knee, whatever the curve; a curve is X(N) of the Universal Scalability Law, with noise."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.lab import sweep

Curve = Callable[[int], float]
TOP = 256


def usl(contention: float, coherency: float) -> Curve:
    return lambda n: 100 * n / (1 + contention * (n - 1) + coherency * n * (n - 1))


def full(cpus: int) -> Curve:
    """CPUs that are full, or a hall with so many seats."""
    return lambda n: 100.0 * min(n, cpus)


CURVES = {
    "cpus": full(2),
    "many cpus": full(48),
    "waits": full(100),
    "lock": usl(0.5, 0),
    "contended": usl(0.1, 0.0),
    "little contended": usl(0.02, 0.0),
    "peak at 5": usl(0.1, 0.04),
    "peak at 14": usl(0.02, 0.005),
    "peak at 30": usl(0.01, 0.0011),
    "peak at 1": usl(0.9, 0.5),
    "linear": usl(1e-6, 0),
}


def swept(curve: Curve, top: int = TOP, points: int = 14) -> dict[int, list[float]]:
    """As the tuner measures, one round a count."""
    rates: dict[int, list[float]] = {}
    while (count := sweep.next_climbed(rates, top)) is not None:
        rates[count] = [curve(count)]
    while (count := sweep.next_refined(rates, points)) is not None:
        assert count not in rates
        rates[count] = [curve(count)]
    return rates


def exhaustive(curve: Curve, top: int = TOP) -> int:
    return sweep.knee({n: [curve(n)] for n in range(1, top + 1)})


@pytest.mark.parametrize("name", CURVES)
def test_few_points_find_what_an_exhaustive_sweep_finds(name: str) -> None:
    """Within 15 %, and within 8 % of its throughput."""
    curve = CURVES[name]
    rates = swept(curve)
    found, best = sweep.knee(rates), exhaustive(curve)
    assert len(rates) <= 14
    assert curve(found) >= 0.92 * curve(best)
    assert found <= max(best + 1, 1.2 * best)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("seed", range(10))
def test_noise_costs_little(name: str, seed: int) -> None:
    """Rounds that differ by 2 % move the choice, not what it brings."""
    curve, dice = CURVES[name], random.Random(seed)
    rates = swept(lambda n: curve(n) * dice.gauss(1, 0.02))
    assert curve(sweep.knee(rates)) >= 0.85 * curve(exhaustive(curve))


@given(
    st.floats(0, 1),
    st.floats(0, 0.2),
    st.integers(1, 400),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_it_ends_and_keeps_its_bounds(
    contention: float, coherency: float, top: int, points: int, dice: random.Random
) -> None:
    """Whatever the curve and the noise: the climb alone may have more points than are asked for."""
    curve = usl(contention, coherency)
    rates = swept(lambda n: curve(n) * dice.uniform(0.5, 1.5), top, points)
    climbed = top.bit_length() + 1
    assert min(rates) == 1
    assert max(rates) <= top
    assert len(rates) <= max(points, climbed)


def test_the_ceiling_goes_by_what_a_worker_needs() -> None:
    """Of its CPU; memory and the user's word bound it."""
    assert sweep.ceiling(sweep.bounds(1.0, 2.0, 1000, 256)) == 8
    assert sweep.ceiling(sweep.bounds(0.05, 2.0, 1000, 256)) == 160
    assert sweep.ceiling(sweep.bounds(0.05, 2.0, 20, 256)) == 20
    assert sweep.ceiling(sweep.bounds(0.0, 2.0, 1000, 256)) == 256
    assert sweep.ceiling(sweep.bounds(1.0, 2.0, 0, 256)) == 1


def test_the_spread_is_that_of_rounds() -> None:
    """Not that of counts; one round has none."""
    assert sweep.spread({1: [100.0], 2: [200.0]}) == 0
    assert sweep.spread({1: [90.0, 100.0, 110.0], 2: [200.0, 200.0], 4: [300.0, 360.0, 240.0]}) == pytest.approx(0.1)


def test_the_knee_is_the_least_that_is_as_good_as_the_best() -> None:
    """But for one in twenty."""
    assert sweep.knee({1: [100.0], 2: [191.0], 3: [200.0], 4: [199.0]}) == 2
    assert sweep.knee({1: [100.0], 2: [189.0], 3: [200.0], 4: [199.0]}) == 3
