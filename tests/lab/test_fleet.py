"""A fleet by formula: what is known exactly, and what no fleet may do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.config.service import MOST_WORKERS
from prefork.lab.fleet import Fleet, Machine, capacity, node, service_of, service_on_paper, split_scv
from prefork.lab.queueing import moments, response_percentile, station
from prefork.lab.sizing import MOST_MACHINES, Size, Wish, sized
from tests.lab.profiles import law, lognormal, profile
from tests.long import histories

GIB = 1024**3
FOUR = Machine(4.0, 8 * GIB)
SERVICE = service_of(profile())
SERVICES = st.builds(
    lambda contention, coherency, scv: service_of(
        profile(scalability=law(50.0, contention, coherency), service_seconds=lognormal(0.02, scv))
    ),
    contention=st.floats(0, 0.3),
    coherency=st.floats(0, 0.02),
    scv=st.floats(0, 4),
)


def test_workers_that_do_not_hinder_each_other_are_the_station_of_theory() -> None:
    """The same wait, to the last digit but a few."""
    service = service_of(profile(scalability=None, workers=6, service_seconds=lognormal(0.02, 2.0)))
    one = node(service, FOUR, 6, 240.0)
    theory = station(6, 240.0, service.seconds)
    assert one.wait.share == pytest.approx(theory.p_wait)
    assert one.wait.mean == pytest.approx(theory.wait.mean)
    assert one.percentile(0.99) == pytest.approx(response_percentile(theory, service.seconds, 0.99))
    assert one.slowdown == pytest.approx(1.0)
    assert one.busy == pytest.approx(240 * 0.02)


def test_a_worker_of_threads_is_as_many_places_as_they_are_worth() -> None:
    """Threads that wait are a place each, those that compete for a CPU are one; nobody slows down who is alone."""
    waiting = service_of(profile(scalability=law(4 / 0.02), at_once=4))
    assert waiting.places == 4
    assert Fleet(service=waiting, machine=FOUR, workers=3).capacity == pytest.approx(law(200.0).throughput(3))
    assert node(waiting, FOUR, 1, 0.001).percentile(0.5) == pytest.approx(np.median(waiting.seconds), rel=0.03)
    assert service_of(profile(at_once=4)).places == 1
    threads, workers = (
        service_of(profile(scalability=None, at_once=at_once, workers=16 // at_once)) for at_once in (4, 1)
    )
    assert (threads.most_workers(FOUR), workers.most_workers(FOUR)) == (4, 16)
    assert node(threads, FOUR, 4, 600.0) == node(workers, FOUR, 16, 600.0)
    assert capacity(threads, FOUR, 4) == capacity(workers, FOUR, 16)


def test_an_idle_machine_takes_the_service_time() -> None:
    """Nobody waits, and nobody is hindered."""
    assert node(SERVICE, FOUR, 8, 0.001).percentile(0.5) == pytest.approx(np.median(SERVICE.seconds), rel=0.03)


def test_a_full_machine_does_what_the_law_says() -> None:
    """Its capacity is the law's throughput; with twice the CPUs twice as many workers do twice as much."""
    for workers in (1, 4, 16):
        assert Fleet(service=SERVICE, machine=FOUR, workers=workers).capacity == pytest.approx(
            law().throughput(workers)
        )
    double = Machine(8.0, 16 * GIB)
    assert Fleet(service=SERVICE, machine=double, workers=16).capacity == pytest.approx(2 * law().throughput(8))


def test_workers_are_bounded_by_memory_by_the_peak_and_by_what_was_seen() -> None:
    """None where not one fits."""
    assert SERVICE.most_workers(Machine(4.0, 200 * 1024**2)) == 4
    assert SERVICE.most_workers(Machine(4.0, 70 * 1024**2)) == 0
    assert service_of(profile(scalability=law(50, 0.0, 0.01))).most_workers(FOUR) == 10
    assert service_of(profile(scalability=law(50, 0.0, 0.0))).most_workers(FOUR) == 32
    assert service_of(profile(scalability=None)).most_workers(FOUR) == 8
    assert service_on_paper(0.02, 1.0, 100.0).most_workers(Machine(1e9, GIB)) == MOST_WORKERS
    assert service_of(profile(scalability=None), most_a_cpu=0.5).most_workers(Machine(16.0, 8 * GIB)) == 8


def test_a_balancer_makes_arrivals_even_or_random() -> None:
    """One in turn evens them out; a random split makes bursts Poisson, and leaves Poisson as it is."""
    assert split_scv("round-robin", 1.0, 10) == pytest.approx(0.1)
    assert split_scv("random", 1.0, 10) == 1
    assert split_scv("random", 5.0, 4) == 2
    assert split_scv("random", 0.0, 4) == 1


def test_a_service_on_paper_varies_as_it_was_told() -> None:
    """Its mean exactly; the variance nearly, for no law of so many quantiles has the whole tail."""
    mean, scv, _ = moments(service_on_paper(0.02, 1.0, 1.0).seconds)
    assert mean == pytest.approx(0.02)
    assert scv == pytest.approx(1.0, rel=0.1)


@given(service=SERVICES, machines=st.integers(1, 300), load=st.floats(0.05, 1.2), q=st.sampled_from([0.5, 0.9, 0.99]))
def test_more_machines_never_take_longer_and_more_requests_never_less(service, machines, load, q) -> None:  # type: ignore[no-untyped-def]
    """At every percentile, whatever the service."""
    fleet = Fleet(service=service, machine=FOUR, workers=service.most_workers(FOUR))
    rate = load * machines * fleet.capacity
    usual = fleet.node(machines, rate).percentile(q)
    assert fleet.node(machines + 1, rate).percentile(q) <= usual * (1 + 1e-6)
    assert fleet.node(machines, 1.05 * rate).percentile(q) >= usual * (1 - 1e-6)


@given(service=SERVICES, rate=st.floats(10, 50_000), goal=st.floats(0.02, 0.5), utilisation=st.floats(0.1, 1))
def test_the_least_machines_are_enough_and_one_fewer_is_not(service, rate, goal, utilisation) -> None:  # type: ignore[no-untyped-def]
    """For the goal and for the utilisation."""
    fleet = Fleet(service=service, machine=FOUR, workers=min(8, service.most_workers(FOUR)))

    def is_enough(machines: int) -> bool:
        one = fleet.node(machines, rate)
        return one.utilisation <= utilisation and one.beyond(goal) <= 0.01

    found = fleet.least_machines(rate, 0.99, goal, utilisation, 2000)
    assert is_enough(found) if found is not None else not is_enough(2000)
    assert found is None or found == 1 or not is_enough(found - 1)


@histories(30)
@given(
    rate=st.floats(10, 100_000),
    spare=st.integers(0, 5),
    rolling=st.sampled_from([1.0, 3.0, 0.1, 0.5]),
    utilisation=st.sampled_from([0.5, 0.7, 1.0]),
)
def test_what_is_asked_for_is_enough_also_while_some_are_away(
    rate: float, spare: int, rolling: float, utilisation: float
) -> None:
    """The goal without those that may be away; the utilisation with all of them; and not for fewer machines."""
    wish = Wish(rate=rate, q=0.99, goal=0.2, utilisation=utilisation, spare=spare, rolling=rolling)
    size = sized(service_of(profile(workers=2)), FOUR, wish)
    assert isinstance(size, Size)
    left = size.machines - wish.away(size.machines)
    assert left >= size.needed
    assert size.fleet.node(left, rate).beyond(0.2) <= 0.01
    assert size.fleet.node(size.machines, rate).utilisation <= utilisation
    assert size.machines == min(count for count in size.others.values() if count is not None)
    fewer = size.machines - 1
    is_enough = fewer - wish.away(fewer) >= size.needed and size.fleet.node(fewer, rate).utilisation <= utilisation
    assert fewer == 0 or not is_enough


@pytest.mark.parametrize(
    ("machine", "wish", "why"),
    [
        (Machine(4.0, 64 * 1024**2), Wish(rate=100, q=0.99, goal=0.2), "not one worker fits into its memory"),
        (FOUR, Wish(rate=100, q=0.99, goal=0.05), "the service alone takes longer than the goal"),
        (FOUR, Wish(rate=1e9, q=0.99, goal=0.2), f"{MOST_MACHINES} of them are too few"),
    ],
)
def test_a_size_that_cannot_do_says_why(machine: Machine, wish: Wish, why: str) -> None:
    """Memory, time, or numbers."""
    found = sized(SERVICE, machine, wish)
    assert isinstance(found, str)
    assert why in found
