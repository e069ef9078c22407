"""A fleet, request by request: it agrees with the formula, and loses nothing that it need not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.lab import fleet_simulation
from prefork.lab.fleet import Balancer, Fleet, Machine, service_of
from prefork.lab.fleet_simulation import Phase, failure, growth, restart, simulate, steady
from tests.lab.profiles import law, lognormal, profile
from tests.lab.queue import simulate as one_by_one

FOUR = Machine(4.0, 8 * 1024**3)
UNHINDERED: dict[str, Any] = {"scalability": None}


def fleet(workers: int = 8, balancer: Balancer = "random", **changed: Any) -> Fleet:
    return Fleet(service=service_of(profile(**changed)), machine=FOUR, workers=workers, balancer=balancer)


@pytest.mark.parametrize("load", [0.5, 0.75])
@pytest.mark.parametrize("scv", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("changed", [{}, UNHINDERED], ids=["hindered", "unhindered"])
def test_formula_and_simulation_agree(load: float, scv: float, changed: dict[str, Any]) -> None:
    """The 99th percentile within 10 %, whether workers hinder each other or not."""
    asked = fleet(service_seconds=lognormal(0.02, scv), **changed)
    rate = 40 * load * asked.capacity
    seen = simulate(asked, 40, steady(rate)).seen[0]
    assert seen.percentiles[0.99] == pytest.approx(asked.node(40, rate).percentile(0.99), rel=0.1)
    assert seen.utilisation == pytest.approx(asked.node(40, rate).busy / 8, rel=0.05)


def test_turns_wait_less_than_chance() -> None:
    """And the formula knows by how much, within 10 %."""
    random, turns = fleet(4, **UNHINDERED), fleet(4, "round-robin", **UNHINDERED)
    rate = 20 * 0.8 * random.capacity
    by_chance, in_turn = (simulate(one, 20, steady(rate)).seen[0].percentiles[0.99] for one in (random, turns))
    assert in_turn is not None
    assert by_chance is not None
    assert in_turn < by_chance
    assert in_turn == pytest.approx(turns.node(20, rate).percentile(0.99), rel=0.1)


def test_a_machine_is_the_queue_that_is_simulated_one_by_one() -> None:
    """Step by step of all machines, or request by request of one: the same percentiles within 5 %."""
    asked = fleet(4, **UNHINDERED)
    rate = 0.8 * asked.capacity
    _, responses = one_by_one(4, rate, asked.service.seconds, requests=200_000, seed=1)
    seen = simulate(asked, 30, steady(30 * rate)).seen[0]
    for q in (0.5, 0.99):
        assert seen.percentiles[q] == pytest.approx(float(np.quantile(responses, q)), rel=0.05)


@given(
    machines=st.integers(2, 30),
    away=st.integers(0, 5),
    dead=st.integers(0, 5),
    load=st.floats(0.1, 1.3),
    seed=st.integers(0, 9),
)
def test_every_request_is_answered_or_an_error(machines: int, away: int, dead: int, load: float, seed: int) -> None:
    """The bins hold what the phases hold, errors come with the dead alone, and the same seed gives the same course."""
    away, dead = min(away, machines - 1), min(dead, machines - 1)
    asked = fleet(4)
    rate = load * machines * asked.capacity
    phases = [
        Phase(name="before", seconds=0.3, rate=rate, away=(0, away)),
        Phase(name="after", seconds=0.3, rate=rate, dead=(0, dead)),
    ]
    course = simulate(asked, machines, phases, seed=seed)
    assert course.steps == sum(one.requests for one in course.bins)
    assert course.seen[1].requests == sum(one.requests for one in course.bins if one.phase == "after")
    assert course.seen[0].errors == 0
    assert dead > 0 or course.seen[1].errors == 0
    assert course == simulate(asked, machines, phases, seed=seed)
    for one in course.bins:
        known = [seconds for _, seconds in sorted(one.percentiles.items()) if seconds is not None]
        assert known == sorted(known)
        assert one.errors <= one.requests


def test_a_failure_costs_the_share_of_the_dead_until_it_is_noticed() -> None:
    """And what was with them; then the others take it all, and lose nothing."""
    asked = fleet(4)
    rate = 10 * 0.6 * asked.capacity
    before, unnoticed, after = simulate(asked, 10, failure(2, rate, 2.0)).seen
    assert unnoticed.errors == pytest.approx(0.2 * rate * 2.0 + 2 * asked.node(10, rate).busy, rel=0.15)
    assert before.errors == after.errors == 0
    assert after.utilisation > before.utilisation
    assert (after.percentiles[0.99] or 0) > (before.percentiles[0.99] or 0)


def test_who_waits_or_is_served_on_a_machine_that_dies_is_lost() -> None:
    """Also where the balancer notices as good as at once."""
    asked = fleet(4)
    rate = 10 * 0.6 * asked.capacity
    unnoticed = simulate(asked, 10, failure(5, rate, 0.001)).seen[1]
    assert 0.5 * asked.node(10, rate).busy * 5 < unnoticed.errors < 5 * 20


def test_a_restart_loses_nothing() -> None:
    """Batches leave and come back; the last is smaller where they do not divide the machines."""
    asked = fleet(4)
    phases = restart(10, 4, 10 * 0.5 * asked.capacity, 1.0)
    assert [phase.away for phase in phases] == [(0, 0), (0, 4), (4, 8), (8, 10)]
    course = simulate(asked, 10, phases)
    assert sum(one.errors for one in course.bins) == 0
    away = course.seen[1].percentiles[0.99]
    assert away == pytest.approx(asked.node(6, phases[1].rate).percentile(0.99), rel=0.25)


def test_more_than_they_can_do_takes_ever_longer() -> None:
    """After the rate has grown, each bin is slower than those before."""
    asked = fleet(4)
    most = 10 * asked.capacity
    course = simulate(asked, 10, growth(0.5 * most, 1.3 * most))
    late = [one.percentiles[0.5] or 0 for one in course.bins if one.phase == "grown at once"]
    assert late[len(late) // 2 :] == sorted(late[len(late) // 2 :])
    assert late[-1] > 10 * (course.seen[0].percentiles[0.5] or 0)


@pytest.mark.long
def test_ten_thousand_machines_are_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, for hundreds of requests, through a failure; in pieces, for memory."""
    monkeypatch.setattr(fleet_simulation, "MOST_WORK", 0)  # the least that is done of any fleet
    asked = fleet(4, **UNHINDERED)
    rate = 10_000 * 0.7 * asked.capacity
    course = simulate(asked, 10_000, failure(100, rate, 2.0))
    assert course.machines == 10_000
    assert course.steps == pytest.approx(10_000 * 3 * fleet_simulation.LEAST_STEPS, rel=0.05)
    assert course.seen[0].percentiles[0.99] == pytest.approx(asked.node(10_000, rate).percentile(0.99), rel=0.1)


@given(machines=st.integers(1, 10_000), workers=st.integers(1, 500), rate=st.floats(0.1, 1e7))
def test_no_fleet_takes_longer_than_it_may(machines: int, workers: int, rate: float) -> None:
    """What is simulated is bounded in all, and each phase is at least begun."""
    service = service_of(profile(scalability=law(50, 0, 0)), most_a_cpu=1000)
    phases = failure(1, rate, 2.0)
    shown = fleet_simulation._cut(Fleet(service=service, machine=FOUR, workers=workers), machines, phases)
    work = sum(shown) * rate * (10 + workers)
    least = fleet_simulation.LEAST_STEPS * len(phases) * machines * (10 + workers)
    assert work <= max(fleet_simulation.MOST_WORK, least) * 1.001
    assert sum(shown) * rate <= max(1, machines) * fleet_simulation.MOST_STEPS * 1.001
    for seconds, phase in zip(shown, phases, strict=True):
        assert 0 < seconds <= min(phase.seconds, fleet_simulation.LONGEST)
