"""A pool that sizes itself: named histories of the rule, then what holds whatever clients and workers do.

Read next: ``tests/sizing``, the same rule under load, beside those of other servers.
"""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from prefork.pool.events import CountAsked, PoolSized, ReloadAsked, ScaleAsked, StopAsked, WorkerNotForked
from prefork.pool.learn import learn
from prefork.pool.orders import Cause, Order, RetireWorker, SizePool, SpawnWorker
from prefork.pool.reasons import Reason
from prefork.pool.records import Bounds, Load, Phase, Policy, Pool, Reading, State, fixed
from prefork.pool.rules import Decision, decide
from prefork.pool.sizing import FASTEST, STEP, Pace, Window
from prefork.pool.wishes import Readings
from tests.long import histories
from tests.pool.simulation import Code, Simulation, World, service
from tests.pool.test_invariants import (
    WATCHERS,
    ask_for,
    commands,
    forks,
    keeps_ready_what_is_wanted,
    repeats_itself,
    seeds,
    stops,
    worlds,
)
from tests.pool.test_rules import (
    POLICY,
    QUIET,
    after,
    degraded,
    exited,
    loaded,
    now,
    ordered,
    ready,
    reload,
    serving,
    settled,
    starting,
    stop,
    wait,
)

SPARE = replace(POLICY, min_spare=1, max_spare=3)
ON_DEMAND = replace(POLICY, min_spare=0, max_spare=0)


def sized(workers: int, least: int = 1, most: int = 100) -> Pool:
    """Generation 1 serves with as many ready workers, and there may be between ``least`` and ``most``."""
    pool = serving(workers)
    return replace(pool, wanted=replace(pool.wanted, configured=Bounds(least, most)))


def decided(
    pool: Pool,
    at: float,
    busy: float = 0,
    queued: int = 0,
    policy: Policy = SPARE,
    slots: dict[int, Reading] | None = None,
    load: Load | None = None,
) -> Decision:
    """:param load: more exactly than by ``busy`` and ``queued``."""
    return decide(pool, Readings(slots or {}, load=load or Load(busy, queued)), policy, at)


def sizing(order: Order) -> PoolSized:
    assert isinstance(order, SizePool)
    return PoolSized(at=0, count=order.count, why=order.why)


def grown(pool: Pool, at: float, count: int, first: int) -> Pool:
    """The load asked for ``count`` workers at that moment, and those from slot ``first`` on became ready at once."""
    pool = after(pool, PoolSized(at=at, count=count, why="…"))
    return after(pool, *(ready(slot, slot, at=at) for slot in range(first, count + 1)))


# growing


def test_an_idle_pool_with_its_spare_workers_is_quiet() -> None:
    """Idle costs nothing, also in a pool that could be smaller or larger."""
    assert decided(sized(1), at=5) == QUIET
    assert decided(sized(3), at=5) == QUIET


def test_a_fixed_pool_is_never_sized() -> None:
    """However many wait."""
    assert decided(serving(2), at=5, busy=2, queued=100) == QUIET


def test_too_few_idle_workers_are_made_more() -> None:
    """One, at first."""
    assert decided(sized(2), at=5, busy=2) == now(5, SizePool(3, "2 busy"))


def test_queued_clients_need_workers_as_well() -> None:
    """The reason says how many wait."""
    assert decided(sized(2), at=5, busy=2, queued=7) == now(5, SizePool(3, "2 busy, 7 queued"))


def test_a_queue_of_short_requests_needs_few_workers() -> None:
    """As many as would serve it within a second; one at least, for somebody waits."""
    assert decided(sized(3), at=5, load=Load(1, 100, each=0.005)) == QUIET
    ramp = grown(sized(2), at=5, count=10, first=3)
    assert decided(ramp, at=6, load=Load(10, 100, each=0.04)) == now(6, SizePool(15, "10 busy, 100 queued"))
    assert decided(sized(2), at=5, policy=ON_DEMAND, load=Load(2, 1, each=0.001)).orders == (
        SizePool(3, "2 busy, 1 queued"),
    )


def test_a_queue_that_idle_workers_are_about_to_take_needs_nobody() -> None:
    """Between a client's arrival and its accept it is counted as queued."""
    assert decided(sized(4), at=5, busy=1, queued=2) == QUIET


def test_the_ramp_doubles_as_long_as_the_need_lasts() -> None:
    """1, 2, 4 … 32 workers, a second apart."""
    pool, at, counts = sized(1), 5.0, []
    for _ in range(8):
        decision = decided(pool, at, busy=1, queued=99)
        count = decision.orders[0].count if isinstance(decision.orders[0], SizePool) else 0
        counts.append(count)
        pool = grown(pool, at, count, first=pool.wanted.count + 1)
        assert decided(pool, at, busy=1, queued=99) == (wait(at + STEP) if count < 100 else QUIET)
        at += STEP
    assert counts[:7] == [2, 4, 8, 16, 32, 64, 96]
    assert counts[7] == 100


def test_the_ramp_begins_anew_when_the_need_has_lapsed() -> None:
    """Need that comes back after a while is new."""
    pool = grown(sized(1), at=5, count=9, first=2)
    assert decided(pool, at=6, busy=9, queued=99) == now(6, SizePool(25, "9 busy, 99 queued"))
    assert decided(pool, at=7, busy=9, queued=99) == now(7, SizePool(10, "9 busy, 99 queued"))


def test_no_more_are_made_than_are_needed() -> None:
    """The ramp is a limit, not a measure."""
    pool = grown(sized(4), at=5, count=8, first=5)
    assert decided(pool, at=6, busy=8, queued=1) == now(6, SizePool(10, "8 busy, 1 queued"))


def test_there_are_never_more_than_the_most() -> None:
    """Spare workers are not worth breaking a bound."""
    assert decided(sized(4, most=4), at=5, busy=4, queued=50) == QUIET
    assert learn(sized(4, most=4), PoolSized(at=5, count=9, why="…")) == sized(4, most=4)


def test_workers_that_are_starting_count_as_coming() -> None:
    """However long they take: the need they were forked for is not a need for more."""
    pool = after(sized(1), PoolSized(at=5, count=3, why="…"))
    spawned = now(5, SpawnWorker(2, 2, 1, Cause.FRESH), SpawnWorker(3, 3, 1, Cause.FRESH))
    assert decided(pool, at=5, busy=1, queued=1) == spawned
    pool = after(pool, starting(2, 2, at=5), starting(3, 3, at=5))
    assert decided(pool, at=30, busy=1, queued=1).orders == ()
    assert decided(pool, at=30, busy=1, queued=9).orders == (SizePool(4, "1 busy, 9 queued"),)


def test_a_worker_of_many_lanes_is_counted_by_the_share_in_use() -> None:
    """Four workers of sixteen lanes each, forty in use: two and a half, and one spare."""
    load = Load(busy=2.5, queued=0, at_once=16)
    assert decided(sized(4), at=5, load=load) == QUIET
    assert decided(sized(3), at=5, load=load) == now(5, SizePool(4, "2.5 busy"))
    assert decided(sized(4), at=5, load=replace(load, queued=16)) == now(5, SizePool(5, "2.5 busy, 16 queued"))


def test_a_queued_client_needs_one_worker_also_from_zero() -> None:
    """On demand: nobody is there until somebody comes."""
    pool = sized(0, least=0)
    assert decided(pool, at=5, policy=ON_DEMAND) == QUIET
    assert decided(pool, at=5, queued=1, policy=ON_DEMAND) == now(5, SizePool(1, "0 busy, 1 queued"))


def test_a_machine_that_refuses_forks_is_not_asked_for_more() -> None:
    """Refused is refused for growth as well."""
    pool = after(degraded(sized(2)), PoolSized(at=5, count=3, why="…"), ordered(3, 3, at=5))
    pool = after(pool, WorkerNotForked(at=5, slot=3, order=3, why="EAGAIN"))
    assert decided(pool, at=5, busy=2, queued=9) == wait(5.1)


def test_no_growth_while_crashed_workers_wait_for_their_successors() -> None:
    """A queue behind workers that keep dying is no reason to fork more of them."""
    pool = degraded(sized(3))
    for at, order in ((5, 1), (6, 4)):
        pool = after(pool, exited(1, order, at=at), ready(1, order + 3, at=at, cause=Cause.CRASHED))
    pool = after(pool, exited(1, 7, at=7))
    assert decided(pool, at=7, busy=2, queued=50) == wait(7.15)
    pool = after(pool, ready(1, 8, at=7, cause=Cause.CRASHED))
    assert decided(pool, at=7, busy=3, queued=50) == wait(7.15)
    assert decided(pool, at=7.15, busy=3, queued=50) == now(7.15, SizePool(4, "3 busy, 50 queued"))


def test_a_memory_budget_bounds_growth_and_takes_nobody_away() -> None:
    """Only the load shrinks a pool."""
    load = Load(busy=4, queued=50, affordable=5)
    assert decided(sized(4), at=5, load=load) == now(5, SizePool(5, "4 busy, 50 queued"))
    assert decided(sized(5), at=5, load=load) == QUIET
    assert decided(sized(8), at=5, load=replace(load, busy=8)) == QUIET


def test_nothing_is_sized_before_the_first_generation_serves() -> None:
    """What boots is what was configured."""
    pool = replace(service(2, Bounds(1, 9)), generations={})
    pool = after(pool, loaded(1, at=0), ready(1, 1, at=0), starting(2, 2, at=0))
    assert decided(pool, at=1, busy=1, queued=50) == wait(60)


def test_nothing_is_sized_while_the_service_stops() -> None:
    """Clients that still queue are served by those who are there."""
    pool = after(sized(2), stop(Phase.DRAINING, at=5))
    decision = decided(pool, at=5, busy=2, queued=50)
    assert not any(isinstance(order, SizePool) for order in decision.orders)


def test_a_coming_generation_is_not_shrunk_but_may_grow() -> None:
    """While it comes in nobody is retired for want of load; clients who queue need workers all the same."""
    pool = after(sized(9), reload_sized(5, Bounds(1, 100)), loaded(2, at=5))
    sizes = [order for order in decided(pool, at=5).orders if isinstance(order, SizePool)]
    assert sizes == []
    assert decided(pool, at=5, busy=9, queued=5) == now(5, SizePool(10, "9 busy, 5 queued"))


# shrinking


def test_what_was_not_needed_for_a_while_is_retired_but_for_the_spare_ones() -> None:
    """As many as were needed and the least spare ones stay, and no more idle ones than the most."""
    assert decided(sized(8), at=5, load=Load(busy=1, peak=2, falls_at=9)) == now(5, SizePool(4, "2 needed lately"))
    assert decided(sized(8), at=5, load=Load(busy=1, peak=5, falls_at=9)) == now(5, SizePool(6, "5 needed lately"))


def test_shrinking_waits_until_the_last_peak_is_forgotten() -> None:
    """And at that moment the master wakes, for no news will come."""
    assert decided(sized(8), at=5, load=Load(busy=1, peak=7, falls_at=9)) == wait(9)
    assert decided(sized(4), at=5, load=Load(busy=1, peak=3, falls_at=9)) == QUIET


def test_a_large_surplus_goes_as_fast_as_it_came() -> None:
    """So many exits at once would cost those who serve their processors."""
    pool = sized(100)
    assert decided(pool, at=5) == now(5, SizePool(100 - FASTEST, "0 needed lately"))
    pool = after(pool, PoolSized(at=5, count=100 - FASTEST, why="…"))
    pool = replace(pool, workers={slot: w for slot, w in pool.workers.items() if slot <= 100 - FASTEST})
    assert decided(pool, at=5) == wait(5 + STEP)


def test_there_are_never_fewer_than_the_least() -> None:
    """Spare or not."""
    assert decided(sized(6, least=5), at=5) == now(5, SizePool(5, "0 needed lately"))
    assert decided(sized(5, least=5), at=5) == QUIET


def test_idle_workers_are_retired_before_busy_ones() -> None:
    """A long request is not cut off because its worker's slot is the last."""
    pool = after(sized(5), PoolSized(at=5, count=3, why="…"))
    slots = {5: Reading(busy_since=1.0, busy=1), 3: Reading(busy_since=1.0, busy=1)}
    why = "workers wanted: 3"
    orders = decided(pool, at=5, busy=2, slots=slots).orders
    assert orders == (RetireWorker(4, 4, why, Reason.SURPLUS), RetireWorker(2, 2, why, Reason.SURPLUS))


# what operators ask for


def test_ttin_and_ttou_move_both_bounds_and_back() -> None:
    """What one takes away its opposite brings back, also from zero."""
    pool = after(sized(4, least=2, most=6), ScaleAsked(at=5, by=3))
    assert (pool.wanted.bounds, pool.wanted.count) == (Bounds(5, 9), 5)
    pool = after(sized(1, least=0, most=2), *[ScaleAsked(at=5, by=-1)] * 5)
    assert (pool.wanted.bounds, pool.wanted.count) == (Bounds(0, 0), 0)
    pool = after(pool, *[ScaleAsked(at=6, by=1)] * 2)
    assert (pool.wanted.bounds, pool.wanted.count) == (Bounds(0, 2), 0)


@pytest.mark.parametrize("moves", [[], [-1] * 3, [-1] * 20, [5], [-20, 7]])
def test_a_number_of_workers_asked_for_is_the_least_wherever_the_bounds_were(moves: list[int]) -> None:
    """The most moves along, and stays as far from it as configured."""
    pool = after(sized(4, least=2, most=10), *[ScaleAsked(at=5, by=by) for by in moves], CountAsked(at=6, count=4))
    assert pool.wanted.bounds == Bounds(4, 12)
    assert 4 <= pool.wanted.count <= 12
    assert after(pool, CountAsked(at=7, count=0)).wanted.bounds == Bounds(0, 8)


def test_moved_bounds_survive_a_reload_until_they_are_configured_anew() -> None:
    """A change at run time lasts; and the number of workers at that moment lasts within any bounds."""
    pool = after(sized(4, least=2, most=6), ScaleAsked(at=5, by=3))
    pool = after(pool, reload_sized(6, Bounds(2, 6)), loaded(2, at=6), settled(2, at=7))
    assert pool.wanted.bounds == Bounds(5, 9)
    pool = after(pool, reload_sized(8, Bounds(1, 4)), loaded(3, at=8), settled(3, at=9))
    assert (pool.wanted.bounds, pool.wanted.count) == (Bounds(1, 4), 4)
    pool = after(pool, reload(10, configured=2), loaded(4, at=10), settled(4, at=11))
    assert (pool.wanted.bounds, pool.wanted.count) == (fixed(2), 2)


def reload_sized(at: float, bounds: Bounds) -> ReloadAsked:
    return ReloadAsked(at=at, configured=bounds)


# the window


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=30), st.integers(1, 20))
def test_the_window_is_the_greatest_need_of_its_seconds(steps: list[tuple[int, int]], seconds: int) -> None:
    """And it falls when that is forgotten, not before and not later."""
    window, at, seen = Window(float(seconds)), 0, []
    for later, need in steps:
        at += later
        seen.append((at, need))
        window = window.with_need(at, need)
        within = [need for when, need in seen if when + seconds > at]
        assert window.peak == max(within)
        if window.falls_at is not None:
            assert window.falls_at > at
            assert max((n for w, n in seen if w + seconds > window.falls_at), default=0) < window.peak


def test_the_pace_is_what_requests_of_the_last_second_took() -> None:
    """So that what went before, or a pause, says nothing of now."""
    pace = Pace()
    assert pace.each == STEP
    for at, busy_seconds, requests in ((1.0, 0.0, 0), (1.5, 1.0, 0), (2.0, 2.0, 20)):
        pace = pace.with_sums(at, busy_seconds, requests)
    assert pace.each == 0.1
    for at, busy_seconds, requests in ((60.0, 2.0, 20), (60.5, 2.5, 22), (61.0, 3.0, 24), (61.5, 3.5, 26)):
        pace = pace.with_sums(at, busy_seconds, requests)
    assert pace.each == 0.25
    assert pace.with_sums(61.5, 3.5, 26) == pace
    assert pace.with_sums(80.0, 30.0, 27).with_sums(80.5, 31.0, 27).each == STEP


# whatever happens


loads = st.lists(st.tuples(st.floats(0, 60), st.sampled_from([0, 0, 1, 2, 5, 20, 60])), max_size=12)
bounds = st.builds(lambda least, more: Bounds(least, least + more), st.integers(0, 5), st.integers(1, 30))
spares = st.builds(
    lambda spare, more, boot: Policy(min_spare=spare, max_spare=spare + more, boot=boot, drain=5.0),
    st.integers(0, 3),
    st.integers(0, 4),
    st.sampled_from([2.0, 60.0]),
)


def stays_within_its_bounds(simulation: Simulation, decision: Decision) -> None:
    pool = simulation.pool
    assert pool.wanted.bounds.least <= pool.wanted.count <= pool.wanted.bounds.most
    for order in decision.orders:
        if isinstance(order, SizePool):
            assert pool.serving
            assert not pool.is_stopping
            assert order.count != pool.wanted.count
            assert pool.wanted.bounds.clip(order.count) == order.count
            assert order.count > pool.wanted.count or pool.coming is None


def keeps_who_is_needed(simulation: Simulation, decision: Decision) -> None:
    """Nobody is given up whom a client wants now, or who keeps the spare ones complete."""
    for order in decision.orders:
        if isinstance(order, SizePool) and order.count < simulation.pool.wanted.count:
            needed = simulation.clients + simulation.policy.min_spare
            assert order.count >= simulation.pool.wanted.bounds.clip(needed)


def somewhere(within: Bounds, policy: Policy, world: World, came: list[tuple[float, int]]) -> Simulation:
    """A pool that sizes itself, and its clients; they begin when the service serves."""
    watchers: list[Callable[[Simulation, Decision], None]] = [*WATCHERS, repeats_itself]
    watchers += [stays_within_its_bounds, keeps_who_is_needed]
    first = max(within.least, min(policy.min_spare, within.most))
    simulation = Simulation(service(first, within), policy, World(), watchers=watchers, window=Window(10.0)).settle()
    simulation.world = world
    for delay, clients in came:
        simulation.come_at(simulation.now + delay, clients)
    return simulation


@histories(200)
@given(bounds, spares, worlds, loads, commands)
def test_any_load_ends_in_a_quiet_pool(
    within: Bounds, policy: Policy, world: World, came: list[tuple[float, int]], asked: list[tuple[float, str]]
) -> None:
    """Whatever goes wrong meanwhile: when the clients have gone it rests between its bounds, without a deadline."""
    simulation = somewhere(within, policy, world, came)
    for delay, command in asked:
        ask_for(command, simulation, delay, configured=within)
    simulation.come_at(simulation.now + 61, 0)
    simulation.calm_at = simulation.now + 61
    simulation.run()
    pool = simulation.pool
    assert pool.is_settled
    assert len(pool.workers) == pool.wanted.count == len(pool.in_state(State.READY))
    floor = pool.wanted.bounds.clip(policy.min_spare)
    assert floor <= pool.wanted.count <= max(floor, pool.wanted.bounds.clip(policy.max_spare))
    assert simulation.turn() == Decision((), None)


@histories(60)
@given(bounds, spares, worlds, loads, stops)
def test_every_stop_ends_also_during_growth(
    within: Bounds, policy: Policy, world: World, came: list[tuple[float, int]], stopped: list[tuple[float, str]]
) -> None:
    """Sizing ends where the stop begins."""
    simulation = somewhere(within, policy, world, came)
    for delay, command in stopped:
        ask_for(command, simulation, delay)
    simulation.run()
    assert simulation.pool.is_finished
    stopped_at = simulation.told(StopAsked)[0].at
    assert all(event.at <= stopped_at for event in simulation.told(PoolSized))


@histories(60)
@given(st.integers(1, 300), seeds, st.sampled_from([(0.0, 0.1), (5.0, 20.0)]))
def test_growth_never_exceeds_the_ramp(clients: int, seed: int, boot: tuple[float, float]) -> None:
    """However long the queue, and however long workers take to become ready."""
    world = World(codes=(Code(boot=boot),), seed=seed)
    simulation = somewhere(Bounds(1, 300), Policy(), world, [(0.0, clients)])
    simulation.run(simulation.now + 30)
    changes = simulation.told(PoolSized)
    counts = [1, *(event.count for event in changes)]
    assert all(later.at - earlier.at >= STEP - 1e-9 for earlier, later in pairwise(changes))
    steps = [later - earlier for earlier, later in pairwise(counts)]
    assert all(step <= min(FASTEST, 2**number) for number, step in enumerate(steps))
    assert counts[-1] == min(300, clients + 1)
    keeps_ready_what_is_wanted(simulation, simulation.turn())


@histories(40)
@given(st.integers(2, 40), seeds, st.sampled_from([(0.0, 0.0), (0.0, 3.0)]))
def test_a_queue_behind_workers_that_crash_makes_no_fork_storm(most: int, seed: int, life: tuple[float, float]) -> None:
    """Growth is bounded by the most there may be, and what dies unproven by the back-off, whatever queues."""
    simulation = somewhere(Bounds(1, most), Policy(), World(seed=seed), [(0.0, 1000)])
    simulation.become(Code(dies_ready=100, life=life))
    simulation.lose_workers()
    begin, minutes = simulation.now, 5
    simulation.run(begin + 60 * minutes)
    bucket = max(8, most)
    assert forks(simulation, begin - 1e-9) <= most + bucket + bucket * minutes


def test_a_number_asked_for_is_the_least_of_a_pool_that_sizes_itself() -> None:
    """The most moves along, so that the load may still ask for more."""
    pool = learn(sized(2, least=1, most=4), CountAsked(at=1, count=6))

    assert (pool.wanted.count, pool.wanted.bounds) == (6, Bounds(6, 9))
