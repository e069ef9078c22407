"""Waiting by theory agrees with what is known exactly, and with simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from prefork.lab import queueing
from prefork.lab.queueing import Station
from tests.lab.queue import simulate

LEVELS = (np.arange(400) + 0.5) / 400
EVEN = [1.0] * 400
EXPONENTIAL = list(-np.log(1 - LEVELS))
LOGNORMAL = list(np.exp(ndtri(LEVELS) * math.sqrt(math.log(3))))  # scv about 2
TWO_KINDS = [0.5] * 380 + [10.5] * 20  # one of twenty takes twenty times as long


@pytest.mark.parametrize(("workers", "offered"), [(1, 0.8), (2, 1.0), (5, 4.0), (20, 16.0), (60, 59.5)])
def test_erlang_c_is_that_of_the_textbooks(workers: int, offered: float) -> None:
    """The share that waits, by the sum with its factorials, in whole numbers and so exactly."""
    load = Fraction(offered)
    queued = load**workers / math.factorial(workers) * workers / (workers - load)
    served = sum(load**busy / math.factorial(busy) for busy in range(workers))
    assert queueing.erlang_c(workers, offered) == pytest.approx(float(queued / (queued + served)), rel=1e-12)


def test_all_wait_where_there_is_too_much_work() -> None:
    """As soon as there is as much as the workers can do."""
    assert queueing.erlang_c(3, 3.0) == queueing.erlang_c(3, 7.0) == 1


def test_erlang_c_holds_for_ten_thousand_workers() -> None:
    """Where factorials have long overflowed: by the limit of Halfin and Whitt, and nothing where nobody waits."""
    beta = 1.0
    workers = 10_000
    normal = math.exp(-(beta**2) / 2) / math.sqrt(2 * math.pi)
    limit = 1 / (1 + beta * (1 + math.erf(beta / math.sqrt(2))) / 2 / normal)
    assert queueing.erlang_c(workers, workers - beta * math.sqrt(workers)) == pytest.approx(limit, rel=0.01)
    assert queueing.erlang_c(workers, 100.0) == 0.0


def test_one_worker_is_exact() -> None:
    """M/M/1 in full, and the mean of M/G/1 as Pollaczek and Khinchine have it; M/D/1 waits half as long."""
    simple = Station(1, 8.0, 0.1, 1.0)
    assert simple.mean_wait == pytest.approx(0.4)
    assert simple.wait_percentile(0.99) == pytest.approx(math.log(0.8 / 0.01) / 2)
    assert simple.wait_percentile(0.1) == 0
    assert Station(1, 8.0, 0.1, 0.0).mean_wait == pytest.approx(0.2)
    for scv in (0.25, 2.0, 7.0):
        second = (1 + scv) * 0.1**2
        assert Station(1, 8.0, 0.1, scv).mean_wait == pytest.approx(8 * second / (2 * (1 - 0.8)))


def test_the_law_of_the_wait_of_m_d_1_varies_as_it_should() -> None:
    """Exactly: the second moment of the wait is 2 E[W]² + λ E[S³] / 3 (1 - p), and a share p waits."""
    rate, share = 0.8, 0.8
    mean = rate / (2 * (1 - share))
    second = 2 * mean**2 + rate / (3 * (1 - share))
    conditional = second / share - (mean / share) ** 2
    assert queueing.wait_scv(share, 0.0) == pytest.approx(conditional / (mean / share) ** 2)


def test_too_much_work_waits_for_ever() -> None:
    """Percentiles too, and no number of workers below the load is enough."""
    station = Station(4, 50.0, 0.1, 1.0)
    assert station.mean_wait == station.wait_percentile(0.5) == math.inf
    assert queueing.response_percentile(station, [0.1], 0.5) == math.inf


def test_a_response_is_a_service_where_nobody_waits() -> None:
    """The quantile of the service law itself."""
    law = [0.001 * number for number in range(1, 201)]
    assert queueing.response_percentile(queueing.station(50, 0.001, law), law, 0.99) == pytest.approx(0.198, abs=0.001)


def test_the_response_of_m_m_1_is_exponential() -> None:
    """Which is known exactly: the wait and the service together have the rate that is left over."""
    law = list(0.1 * np.array(EXPONENTIAL))
    expected = math.log(100) / (10 - 8)
    assert queueing.response_percentile(Station(1, 8.0, 0.1, 1.0), law, 0.99) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("law", [EVEN, EXPONENTIAL, LOGNORMAL, TWO_KINDS], ids=["even", "exp", "lognormal", "two"])
@pytest.mark.parametrize("workers", [1, 4, 16])
@pytest.mark.parametrize("utilisation", [0.6, 0.8])
def test_it_agrees_with_simulation(law: list[float], workers: int, utilisation: float) -> None:
    """The share that waits within 0.04, the 99th percentile of the response within 12 %."""
    mean = float(np.mean(law))
    station = queueing.station(workers, utilisation * workers / mean, law)
    waits, responses = simulate(workers, station.rate, law, requests=100_000, seed=4)
    assert station.p_wait == pytest.approx((waits > 1e-9).mean(), abs=0.04)
    assert queueing.response_percentile(station, law, 0.99) == pytest.approx(np.quantile(responses, 0.99), rel=0.12)


def test_arrivals_in_bursts_and_even_ones_are_told_apart() -> None:
    """By the scv of the gaps: within 15 % of a simulation."""
    law = EXPONENTIAL
    for scv in (0.25, 4.0):
        station = queueing.station(4, 3.2, law, arrival_scv=scv)
        waits, _ = simulate(4, 3.2, law, requests=200_000, seed=3, arrival_scv=scv)
        assert station.mean_wait == pytest.approx(waits.mean(), rel=0.25)


LAWS = st.lists(st.floats(0.001, 0.2), min_size=1, max_size=30)


@given(rate=st.floats(0.1, 2000), law=LAWS, goal=st.floats(0.001, 1.0), q=st.sampled_from([0.5, 0.9, 0.99]))
def test_the_least_workers_are_enough_and_one_fewer_is_not(
    rate: float, law: list[float], goal: float, q: float
) -> None:
    """Whatever the load; none where the service alone takes longer than the goal."""
    found = queueing.least_workers(rate, law, q, goal, most=500)

    def takes(workers: int) -> float:
        return queueing.response_percentile(queueing.station(workers, rate, law), law, q)

    if found is None:
        assert takes(500) > goal
    else:
        assert takes(found) <= goal
        assert found == 1 or takes(found - 1) > goal


@given(
    workers=st.integers(1, 200),
    load=st.floats(0.01, 0.99),
    scv=st.floats(0, 8),
    third=st.floats(1, 50),
    arrival=st.floats(0, 4),
    q=st.sampled_from([0.5, 0.9, 0.99, 0.999]),
)
def test_more_workers_never_wait_longer_and_more_requests_never_shorter(
    workers: int, load: float, scv: float, third: float, arrival: float, q: float
) -> None:
    """In the mean and at every percentile, with any third moment a law can have."""
    rate = load * workers / 0.02
    cubic = third * (1 + scv) ** 2
    station = Station(workers, rate, 0.02, scv, arrival, cubic)
    wider = Station(workers + 1, rate, 0.02, scv, arrival, cubic)
    busier = Station(workers, rate * 1.01, 0.02, scv, arrival, cubic)
    for least, middle, most in (
        (wider.mean_wait, station.mean_wait, busier.mean_wait),
        (wider.wait_percentile(q), station.wait_percentile(q), busier.wait_percentile(q)),
    ):
        assert least <= middle * (1 + 1e-9) + 1e-12
        assert middle <= most * (1 + 1e-9) + 1e-12
