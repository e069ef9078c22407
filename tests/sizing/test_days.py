"""What is true of the rule under load, whatever the figures: beside other servers, and whatever clients do."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.pool.records import Bounds
from tests.long import histories, long_but
from tests.sizing import days
from tests.sizing.__main__ import row
from tests.sizing.days import DAYS
from tests.sizing.floor import Client, Floor
from tests.sizing.outcome import LEAST, MOST_SPARE, SPARE, SUPERVISORS, changes_of_direction, spend
from tests.sizing.supervisors import Ours

SMALL = [name for name in DAYS if name not in ("diurnal", "thousands")]
PAGE = Path(__file__).parents[2] / "docs" / "sizing.md"


def ours(most: int = 100) -> Ours:
    return Ours(Bounds(LEAST, most), SPARE, MOST_SPARE)


@pytest.mark.parametrize("name", long_but(SMALL, "bursts", "slow boots"))
def test_clients_wait_about_as_long_as_at_apaches_or_less(name: str) -> None:
    """On every day, on the average; and it costs at most half as many worker-seconds more."""
    day = DAYS[name]()
    apache, mine = spend(day, SUPERVISORS["Apache prefork"](day.most)), spend(day, ours(day.most))
    assert mine.mean <= 1.1 * apache.mean  # who keeps what a wave leaves, a worker a second, is ready for the next
    assert mine.worker_seconds <= 1.5 * apache.worker_seconds


@pytest.mark.parametrize("name", long_but(SMALL, "crash storm"))
def test_it_costs_less_than_a_fixed_pool(name: str) -> None:
    """At most half of what its most workers would cost all day."""
    day = DAYS[name]()
    assert spend(day, ours(day.most)).worker_seconds <= 0.5 * day.most * day.seconds


@pytest.mark.parametrize("name", long_but(["steady", "bursts", "crash storm"], "bursts"))
def test_the_page_tells_what_happens(name: str) -> None:
    """The table was made from this code."""
    page, day = PAGE.read_text(), DAYS[name]()
    for number, (who, make) in enumerate(SUPERVISORS.items()):
        assert row(name if number == 0 else "", who, spend(day, make(day.most))) in page


def test_a_day_is_a_function_of_its_seed() -> None:
    """So is how it is spent."""
    one, other = (spend(days.step(), ours()) for _ in range(2))
    assert (one.floor.sizes, one.floor.waits) == (other.floor.sizes, other.floor.waits)


# what the shapes of load do


def test_a_square_wave_within_the_window_does_not_flap() -> None:
    """It grows once; others follow each period, or try."""
    day = days.square(8)
    turns = spend(day, ours()).turns
    assert turns <= 4
    assert turns < spend(day, SUPERVISORS["Apache prefork"](100)).turns
    assert turns < spend(day, SUPERVISORS["php-fpm dynamic"](100)).turns


def test_a_slow_square_wave_costs_two_turns_a_period() -> None:
    """Up and down, and nothing in between."""
    assert spend(days.square(60), ours()).turns <= 2 * 5


def test_a_steady_load_is_served_by_a_steady_pool() -> None:
    """Chance moves it by a few workers at most."""
    outcome = spend(days.steady(), ours())
    late = [size for at, size in outcome.floor.sizes if at > 60]
    assert max(late) - min(late) <= 10


@pytest.mark.parametrize("size", [50, 200, 900])
def test_the_queue_of_a_burst_is_emptied_in_seconds(size: int) -> None:
    """By the ramp and half a second of work a client, however many there are."""
    crowd = [Client(10.0, 0.5) for _ in range(size)]
    floor = Floor(ours(), crowd).run(until=60)
    assert len(floor.waits) == size
    seconds, served = 0, 0.0
    while served < size:  # second by second: the pool of the ramp, each worker two clients
        served += 2 * min(100, LEAST + sum(min(32, 2**step) for step in range(seconds + 1)))
        seconds += 1
    assert max(floor.waits) <= seconds + 1


def test_a_crowd_of_short_requests_is_no_reason_for_many_workers() -> None:
    """It is gone before they were there. Who forks one for each client that finds nobody idle has them all."""
    day = days.short_requests()
    assert max(size for _, size in spend(day, ours()).floor.sizes) <= 20
    assert max(size for _, size in spend(day, SUPERVISORS["ours, on demand"](100)).floor.sizes) <= 20
    assert max(size for _, size in spend(day, SUPERVISORS["php-fpm ondemand"](100)).floor.sizes) == 100


def test_workers_that_are_slow_to_start_are_not_asked_for_twice() -> None:
    """Those that start count as coming: no more are forked than there is need for."""
    crowd = [Client(10.0, 3.0) for _ in range(30)]
    floor = Floor(ours(), crowd, boot=(20.0, 30.0)).run(until=200)
    assert len(floor.waits) == 30
    assert floor.forks <= 30 + SPARE


def test_when_the_clients_have_gone_the_pool_rests() -> None:
    """At its least, or with its spare workers; on demand with nobody. And the simulation ends, for nothing is due."""
    floor = Floor(ours(), days.bursts(seconds=100).clients).run()
    assert LEAST <= floor.size <= MOST_SPARE
    floor = Floor(Ours(Bounds(0, 100), 0, 0), days.bursts(seconds=100).clients).run()
    assert floor.size == 0


@pytest.mark.long
def test_thousands_follow_the_ramp() -> None:
    """32 a second, to as many as there may be, and back."""
    day = days.thousands(seconds=160)
    floor = spend(day, ours(day.most)).floor
    sizes = floor.sizes
    assert max(size for _, size in sizes) <= day.most
    begun = next(at for at, size in sizes if at > 16 and size > 200)
    full = next(at for at, size in sizes if size >= 1800)
    assert full - begun <= 1700 / 32 + 10


# whatever clients do


@histories(60)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from([0.0, 0.01, 1.0, 20.0]), st.integers(1, 40)), max_size=12),
    st.integers(0, 4),
    st.integers(1, 40),
    st.sampled_from([(0.0, 0.0), (0.02, 0.05), (4.0, 9.0)]),
)
def test_everybody_is_served_within_the_bounds(
    crowds: list[tuple[float, float, int]], least: int, more: int, boot: tuple[float, float]
) -> None:
    """And nobody is left without need, whoever came."""
    clients = sorted(Client(at, work) for at, work, count in crowds for _ in range(count))
    spares = (0, 0) if least == 0 else (1, 3)
    supervisor = Ours(Bounds(least, least + more), *spares)
    floor = Floor(supervisor, clients, boot).run()
    assert len(floor.waits) == len(clients)
    assert all(size <= least + more for _, size in floor.sizes)
    assert supervisor.ready == floor.size <= max(least, spares[1])


def test_changes_of_direction_are_counted_where_they_are_more_than_chance() -> None:
    """A worker or two up and down is none."""
    assert changes_of_direction([5, 6, 5, 6, 5, 7, 4]) == 0
    assert changes_of_direction([5, 20, 18, 20, 5, 4]) == 1
    assert changes_of_direction([5, 20, 5, 20, 5]) == 3
