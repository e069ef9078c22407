"""How a service is, and when it is said: short histories of failures, their rows, and what ends them.

Read next: ``test_invariants.py``, where any pattern of them is bounded.
"""

import pytest
from msgspec.structs import replace

from prefork.pool.events import (
    DoorRefused,
    DoorShut,
    FailuresForgotten,
    GenerationAbandoned,
    MoldDismissed,
    MoldStarted,
    ScaleAsked,
    ServiceFailed,
    ServiceRecovered,
    WorkerBroken,
    WorkerExited,
    WorkerNotForked,
)
from prefork.pool.orders import (
    CallDegraded,
    CallHealthy,
    Cause,
    DismissMold,
    FailService,
    ForgetFailures,
    Order,
    RetireWorker,
    SpawnWorker,
    StartMold,
)
from prefork.pool.reasons import Reason
from prefork.pool.records import Policy, Pool, Reading
from tests.pool.simulation import Code, Simulation, World, service
from tests.pool.test_rules import (
    POLICY,
    QUIET,
    after,
    decided,
    degraded,
    exited,
    loaded,
    lost,
    now,
    ordered,
    ready,
    reload,
    serving,
    starting,
    wait,
)


def died_at_work(slot: int, order: int, at: float, requests: int = 0) -> WorkerExited:
    """With a request under way."""
    how = "was killed by SIGSEGV"
    return WorkerExited(at=at, slot=slot, order=order, how=how, requests=requests, cut_off=1)


def causes(*orders: Order) -> list[Cause]:
    return [order.cause for order in orders if isinstance(order, SpawnWorker)]


def crashing(*deaths: float) -> Pool:
    """A service of one worker whose workers die at these moments, each of its first request; none is replaced yet."""
    pool = serving(1)
    for number, at in enumerate(deaths, 1):
        again = () if number == 1 else ready(1, number, at=deaths[number - 2], cause=Cause.CRASHED)
        pool = after(pool, again, died_at_work(1, number, at))
    return pool


# what proves a worker


def test_a_worker_that_dies_of_its_first_request_has_failed_however_long_it_idled() -> None:
    """An hour of doing nothing proves nothing: it counts as one that did not boot."""
    pool = after(serving(), died_at_work(1, 1, at=3600))
    assert (pool.backoff.failures, pool.backoff.crashed, pool.backoff.died) == (1, 1, 0)
    assert causes(*decided(pool, at=3600).orders) == [Cause.CRASHED]


def test_a_worker_that_dies_of_a_later_request_or_of_none_is_proven_by_time() -> None:
    """Its code is good for something; and who is killed while idle, or counts no requests, is not to blame."""
    for death in (died_at_work(1, 1, at=3600, requests=1), exited(1, 1, at=3600)):
        pool = after(serving(), death)
        assert (pool.backoff.failures, pool.backoff.crashed, pool.backoff.died) == (0, 0, 1)


def test_workers_that_die_of_their_first_request_are_replaced_ever_more_slowly() -> None:
    """Requests that come once an hour make no row of failures shorter."""
    pool = degraded(crashing(1000, 5000, 9000))
    assert pool.backoff.failures == 3
    assert decided(pool, at=9000) == wait(9000.15)


# what ends a row


def test_a_row_of_failures_ends_when_a_successor_has_held() -> None:
    """Ten seconds ready; until then the next failure is one more."""
    pool = after(serving(), exited(1, 1, at=5), ready(1, 3, at=5, cause=Cause.CRASHED))
    assert decided(pool, at=6) == wait(15)
    assert decided(pool, at=15) == now(15, ForgetFailures())
    pool = after(pool, FailuresForgotten(at=15))
    assert decided(pool, at=15) == QUIET
    assert after(pool, ready(2, 4, at=16), exited(2, 4, at=17)).backoff.failures == 1


def test_ten_requests_of_a_successor_end_it_at_once() -> None:
    """As they prove a worker."""
    pool = after(serving(), exited(1, 1, at=5), ready(1, 3, at=5, cause=Cause.CRASHED))
    assert decided(pool, at=6, slots={1: Reading(requests=10)}) == now(6, ForgetFailures())


def test_after_a_death_of_the_first_request_only_a_request_ends_it() -> None:
    """A successor that idles shows nothing, for days; one that has served one request does."""
    pool = after(crashing(1000), ready(1, 2, at=1000, cause=Cause.CRASHED))
    assert decided(pool, at=90_000) == QUIET
    assert decided(pool, at=1004, slots={1: Reading(requests=1)}) == wait(1010)
    assert decided(pool, at=1010, slots={1: Reading(requests=1)}) == now(1010, ForgetFailures())


def test_those_who_were_there_before_end_no_row() -> None:
    """One that keeps dying beside others that serve well comes back ever more slowly."""
    pool = after(serving(2), exited(2, 2, at=5), starting(2, 3, at=5, cause=Cause.CRASHED))
    assert decided(pool, at=20, slots={1: Reading(requests=50)}) == wait(65)
    assert after(pool, exited(2, 3, at=20)).backoff.failures == 2


def test_a_row_that_nobody_continues_is_forgotten() -> None:
    """With no worker left to try, after a minute."""
    pool = after(serving(2), exited(2, 2, at=5), ScaleAsked(at=6, by=-1))
    assert decided(pool, at=6) == wait(65)
    assert decided(pool, at=65) == now(65, ForgetFailures())


# what is said


def test_a_service_whose_workers_keep_dying_is_degraded_until_one_has_held() -> None:
    """Said once, with reason, count and next try; and once that it is over. A single death is nothing to talk about."""
    assert not [o for o in decided(crashing(5), at=5).orders if isinstance(o, CallDegraded)]
    pool = crashing(5, 6)
    why = "its workers die before they have proven themselves; the last one was killed by SIGSEGV"
    assert decided(pool, at=6) == now(6, CallDegraded(why, 2, 6.1))
    pool = degraded(pool, at=6)
    assert decided(pool, at=6) == wait(6.1)
    pool = after(pool, ready(1, 3, at=6.1, cause=Cause.CRASHED))
    assert decided(pool, at=20) == QUIET
    pool = after(pool, FailuresForgotten(at=21))
    assert decided(pool, at=21) == now(21, CallHealthy())
    assert decided(after(pool, ServiceRecovered(at=21)), at=21) == QUIET


def test_the_reason_of_a_worker_that_could_not_serve_is_told() -> None:
    """Not that it exited, which it says of itself when it cannot serve."""
    pool = after(serving(1), exited(1, 1, at=5), starting(1, 2, at=5, cause=Cause.CRASHED))
    pool = after(pool, WorkerBroken(at=6, slot=1, order=2, why="OSError: no database"), exited(1, 2, at=6))
    (order,) = decided(pool, at=6).orders
    assert isinstance(order, CallDegraded)
    assert order.why.endswith("; the last one could not serve: OSError: no database")


def test_a_machine_that_refuses_to_fork_degrades_until_it_forks() -> None:
    """Between two tries nothing is better; and a refusal that nobody needs any more is no trouble."""
    pool = after(serving(2), ScaleAsked(at=5, by=1), ordered(3, 3, at=5))
    pool = after(pool, WorkerNotForked(at=5, slot=3, order=3, why="EAGAIN"))
    assert decided(pool, at=5) == now(5, CallDegraded("the machine refuses to fork", 1, 5.1))
    pool = degraded(pool, at=5)
    assert decided(pool, at=5) == wait(5.1)
    assert causes(*decided(pool, at=5.1).orders) == [Cause.FRESH]
    trying = after(pool, ordered(3, 4, at=5.1))
    assert decided(trying, at=5.1) == wait(65.1)
    assert decided(after(trying, starting(3, 4, at=5.1)[1:]), at=5.2) == now(5.2, CallHealthy())
    assert decided(after(pool, ScaleAsked(at=5.05, by=-1)), at=5.1) == now(5.1, CallHealthy())


def test_a_lost_mold_degrades_until_it_is_loaded_again() -> None:
    """Everything serves, but nobody could be replaced, also while it is being loaded."""
    pool = after(serving(), lost(1, at=5))
    assert decided(pool, at=5) == now(5, StartMold(1))
    pool = after(pool, MoldStarted(at=5, generation=1, pid=1001))
    (order,) = decided(pool, at=5).orders
    assert order == CallDegraded("no worker can be replaced: its mold is loaded anew", 1, 5)


# giving up


def test_a_service_whose_workers_keep_dying_is_given_up_where_there_is_a_limit() -> None:
    """After as many failures in a row, once and with the reason; without a limit it goes on for ever."""
    three = replace(POLICY, max_failures=3)
    assert decided(degraded(crashing(5, 6)), at=6, policy=three) == wait(6.1)
    pool = degraded(crashing(5, 6, 7))
    assert decided(pool, at=7) == wait(7.15)
    why = "its workers died 3 times in a row before they had proven themselves; the last one was killed by SIGSEGV"
    assert decided(pool, at=7, policy=three) == now(7, FailService(why))
    failed = after(pool, ServiceFailed(at=7, why=why))
    assert failed.failed == why
    assert decided(failed, at=7, policy=three) == now(7, DismissMold(1))


def test_whoever_serves_when_a_service_is_given_up_finishes_what_there_is() -> None:
    """Its other workers drain the queue, within the drain limit: nothing is cut off for the crashes of others."""
    pool = after(serving(2), ServiceFailed(at=5, why="…"), MoldDismissed(at=5, generation=1), lost(1, at=5))
    pool = after(pool, DoorRefused(at=5), DoorShut(at=5))
    retire = [RetireWorker(slot, slot, "the service stops", Reason.STOP, drain=True) for slot in (1, 2)]
    assert decided(pool, at=5) == now(5, *retire)


def test_new_code_that_is_asked_for_is_tried_before_a_service_is_given_up() -> None:
    """It may be the remedy; if it is not, failures are counted anew."""
    three = replace(POLICY, max_failures=3)
    pool = after(degraded(crashing(5, 6, 7)), reload(at=7, configured=1))
    assert decided(pool, at=7, policy=three) == now(7, StartMold(2))
    pool = after(pool, *loaded(2, at=7), GenerationAbandoned(at=8, generation=2, why="…"))
    assert causes(*decided(pool, at=8, policy=three).orders) == [Cause.FRESH]


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
def test_a_few_deaths_among_thousands_do_not_end_a_boot(seed: int) -> None:
    """Of two thousand workers one in two hundred dies before it is ready: all the others come up, and these too."""
    simulation = Simulation(service(2000), Policy(), World(codes=(Code(dies_starting=0.5),), seed=seed, grain=0.05))
    simulation.settle()
    assert len(simulation.told(WorkerExited)) >= 3
