"""Histories of workers that are worn out: these events, then exactly these orders and this deadline.

Read next: ``test_rules.py``, for everything else; ``test_invariants.py``, for the histories nobody thought of.
"""

import pytest
from msgspec.structs import replace

from prefork.pool.backoff import FORGOTTEN_AFTER
from prefork.pool.events import (
    FailuresForgotten,
    MoldGone,
    RecycleAsked,
    StopAsked,
    WorkerExpelled,
    WorkerOrdered,
    WorkerReady,
    WorkerRetired,
    WorkerStoodStill,
)
from prefork.pool.health import trouble
from prefork.pool.orders import Cause, ExpelWorker, ForgetFailures, KillWorker, RetireWorker, SpawnWorker
from prefork.pool.reasons import Reason
from prefork.pool.records import MemoryLimits, Phase, Policy, Pool, Reading, Worker
from prefork.pool.recycling import WHY_ASKED, choose
from prefork.pool.rules import Decision, decide
from prefork.pool.wishes import Readings
from tests.pool.simulation import service
from tests.pool.test_rules import (
    POLICY,
    QUIET,
    after,
    degraded,
    exited,
    loaded,
    now,
    ready,
    reload,
    serving,
    starting,
    wait,
)

MIB = 2**20
LIMITS = MemoryLimits(soft=100 * MIB, hard=200 * MIB)
Memory = dict[int, tuple[int, ...]]


def limited(workers: int = 1, max_age: float = 0.0, memory: MemoryLimits = LIMITS) -> Pool:
    """As ``serving``, of workers that are ready since second 0 and have these limits."""
    pool = serving(workers)
    young = {slot: replace(w, max_age=max_age, memory=memory) for slot, w in pool.workers.items()}
    return replace(pool, workers=young)


def decided(pool: Pool, at: float, memory: Memory | None = None, policy: Policy = POLICY) -> Decision:
    return decide(pool, Readings({}, memory=memory or {}), policy, at)


def samples(*sizes: int) -> Memory:
    """Of the worker in slot 1, in MiB."""
    return {1: tuple(size * MIB for size in sizes)}


# age


def test_the_old_are_replaced_before_they_retire() -> None:
    """At the very moment at which they are old enough, and nobody looks before it."""
    pool = limited(2, max_age=60)
    assert decided(pool, at=10) == wait(60)
    assert decided(pool, at=60) == now(60, SpawnWorker(3, 3, 1, Cause.FRESH))
    pool = after(pool, starting(3, 3, at=60))
    assert decided(pool, at=60.5) == wait(120)  # the boot limit of who is coming
    pool = after(pool, WorkerReady(at=61, slot=3, order=3))
    assert decided(pool, at=61) == now(61, RetireWorker(2, 2, "it is 61.0 s old", Reason.AGE))


def test_each_ages_by_its_own_limit() -> None:
    """The next one to be replaced is the one whose time is up next."""
    pool = limited(2, max_age=60)
    pool = replace(pool, workers={**pool.workers, 1: replace(pool.workers[1], max_age=75)})
    pool = after(pool, ready(3, 3, at=61), WorkerRetired(at=61, slot=2, order=2, why=""), exited(2, 2, at=62))
    assert decided(pool, at=63) == wait(75)
    assert decided(pool, at=75) == now(75, SpawnWorker(2, 4, 1, Cause.FRESH))


def test_an_order_brings_the_limits_of_a_worker_into_the_book() -> None:
    """Its jitter is in them: nothing is drawn here."""
    order = WorkerOrdered(at=1, slot=1, order=1, generation=1, cause=Cause.FRESH, max_age=61.5, memory=LIMITS)
    worker = after(service(1), loaded(1, at=0), order).workers[1]
    assert (worker.max_age, worker.memory) == (61.5, LIMITS)


# memory


def test_three_samples_in_a_row_beyond_the_soft_limit_wear_a_worker_out() -> None:
    """It serves on until its successor is ready, and the reason says what it uses and what it may."""
    pool = limited()
    for short in (samples(), samples(150), samples(150, 150), samples(150, 90, 150), samples(150, 150, 100)):
        assert decided(pool, at=5, memory=short) == QUIET
    heavy = samples(101, 150, 120)
    assert decided(pool, at=5, memory=heavy) == now(5, SpawnWorker(2, 2, 1, Cause.FRESH))
    pool = after(pool, ready(2, 2, at=6))
    retire = RetireWorker(1, 1, "it uses 120.0 MiB, more than its memory_soft of 100.0 MiB", Reason.MEMORY)
    assert decided(pool, at=6, memory=heavy) == now(6, retire)


def test_two_samples_in_a_row_beyond_the_hard_limit_cost_the_life() -> None:
    """At once, whoever would replace it: the next request may be the machine's last."""
    pool = limited()
    assert decided(pool, at=5, memory=samples(250)) == QUIET
    assert decided(pool, at=5, memory=samples(250, 90, 250)) == QUIET
    kill = KillWorker(1, 1, "it uses 260.0 MiB, more than its memory_hard of 200.0 MiB", Reason.MEMORY_HARD)
    assert decided(pool, at=5, memory=samples(90, 250, 260)) == now(5, kill)


def test_who_leaves_already_has_a_hard_limit_too() -> None:
    """Also while the service stops; not who is stopped by a debugger, for that one grows no more."""
    heavy = samples(250, 250)
    kill = KillWorker(1, 1, "it uses 250.0 MiB, more than its memory_hard of 200.0 MiB", Reason.MEMORY_HARD)
    leaving = after(limited(), WorkerRetired(at=4, slot=1, order=1, why=""))
    assert kill in decided(leaving, at=5, memory=heavy).orders
    stopping = after(leaving, StopAsked(at=4, phase=Phase.DRAINING))
    assert kill in decided(stopping, at=5, memory=heavy).orders
    standing = after(limited(), WorkerStoodStill(at=4.5, slot=1, order=1))
    assert decided(standing, at=5, memory=heavy) == wait(5.5)


def test_who_has_no_limit_may_use_what_it_likes() -> None:
    """Weighed it may be all the same, for a budget."""
    pool = limited(memory=MemoryLimits())
    assert decided(pool, at=5, memory=samples(9999, 9999, 9999)) == QUIET


# in trouble


def crashing(pool: Pool) -> Pool:
    """Since second 20 three of its workers died one after the other before they had proven themselves."""
    for number in range(10, 13):
        pool = after(pool, ready(9, number, at=20), exited(9, number, at=20))
    return replace(pool, backoff=replace(pool.backoff, crashed=0))


@pytest.mark.parametrize("memory", [{}, samples(150, 150, 150)], ids=["old", "heavy"])
def test_nobody_is_replaced_while_the_service_is_in_trouble(memory: Memory) -> None:
    """Who is worn out serves on; it is replaced once the trouble is over, at that very moment."""
    pool = degraded(crashing(limited(1, max_age=0 if memory else 15)))
    over = 20 + FORGOTTEN_AFTER
    assert trouble(pool, 21) is not None
    assert decided(pool, at=21, memory=memory) == wait(over)
    assert decided(pool, at=over, memory=memory) == now(over, ForgetFailures())
    pool = after(pool, FailuresForgotten(at=over))
    assert decided(pool, at=over, memory=memory).orders == (SpawnWorker(2, 13, 1, Cause.FRESH),)


def test_a_successor_that_is_ready_when_trouble_begins_makes_nobody_retire_for_age() -> None:
    """The worn-out worker has held; of the newcomer nobody knows."""
    pool = crashing(after(limited(1, max_age=15), ready(2, 2, at=20)))
    assert decided(pool, at=21) == now(21, RetireWorker(2, 2, "workers wanted: 1", Reason.SURPLUS))


def test_the_hard_limit_holds_in_trouble() -> None:
    """The machine does not wait."""
    pool = crashing(limited(1))
    kill = KillWorker(1, 1, "it uses 250.0 MiB, more than its memory_hard of 200.0 MiB", Reason.MEMORY_HARD)
    assert decided(pool, at=21, memory=samples(250, 250)).orders == (kill,)


def test_nobody_is_replaced_while_nobody_could_be_forked() -> None:
    """The mold is lost; that it has loaded again is news."""
    pool = after(limited(1, max_age=15), MoldGone(at=16, generation=1, how="was killed by SIGKILL"))
    assert trouble(pool, 17) is not None
    assert not [order for order in decided(pool, at=17).orders if isinstance(order, SpawnWorker)]
    pool = after(pool, loaded(1, at=18))
    assert decided(pool, at=18) == now(18, SpawnWorker(2, 2, 1, Cause.FRESH))


# how many at a time


@pytest.mark.parametrize(("max_surge", "at_once"), [(None, 2), (1, 1), (3, 3), (50, 8)])
def test_at_most_a_surge_is_replaced_at_a_time(max_surge: int | None, at_once: int) -> None:
    """However many are worn out together; a quarter of the workers, unless it is set."""
    decision = decided(limited(8, max_age=60), at=60, policy=replace(POLICY, max_surge=max_surge))
    assert decision == now(60, *(SpawnWorker(9 + n, 9 + n, 1, Cause.FRESH) for n in range(at_once)))


def test_a_surge_bounds_a_reload_as_well() -> None:
    """The same setting: it is about what the machine has room for."""
    pool = after(serving(8), reload(at=1, configured=8), loaded(2, at=2))
    decision = decided(pool, at=2, policy=replace(POLICY, max_surge=1))
    assert decision == now(2, SpawnWorker(9, 9, 2, Cause.FRESH))


def test_workers_that_are_outdated_go_before_those_that_are_worn_out() -> None:
    """One replacement serves both."""
    pool = after(limited(2, max_age=60), reload(at=61), loaded(2, at=62), ready(3, 3, at=63, generation=2))
    assert decided(pool, at=63) == now(63, RetireWorker(2, 2, "generation 2 replaces it", Reason.RELOAD))


def test_requests_wear_out_as_before() -> None:
    """Beside age and memory, and told first."""
    pool = after(limited(1, max_age=5), ready(2, 2, at=6))
    decision = decide(pool, Readings({1: Reading(requests=100)}), POLICY, 6)
    assert decision == now(6, RetireWorker(1, 1, "it has served 100 requests", Reason.REQUESTS))


# by an operator


def asked(*slots: int, at: float, is_urgent: bool = False) -> RecycleAsked:
    return RecycleAsked(at=at, workers=tuple((slot, slot) for slot in slots), is_urgent=is_urgent)


def test_who_is_asked_to_go_is_replaced_a_surge_at_a_time() -> None:
    """As the worn out are: the successor first."""
    pool = after(serving(2), asked(1, 2, at=5))
    assert decided(pool, at=5) == now(5, SpawnWorker(3, 3, 1, Cause.FRESH))
    pool = after(pool, ready(3, 3, at=6))
    assert decided(pool, at=6) == now(6, RetireWorker(2, 2, WHY_ASKED, Reason.ASKED))
    pool = after(pool, WorkerRetired(at=6, slot=2, order=2, why="", reason=Reason.ASKED))
    assert decided(pool, at=7) == wait(36)  # no room for another as long as it is there
    pool = after(pool, exited(2, 2, at=8))
    assert decided(pool, at=8) == now(8, SpawnWorker(2, 4, 1, Cause.FRESH))
    assert pool.ended == {"asked": 1}


def test_who_is_asked_to_go_at_once_is_expelled_when_its_successor_is_there() -> None:
    """If it is busy; one that is idle leaves by itself, or has a moment for it."""
    pool = after(serving(1), asked(1, at=5, is_urgent=True))
    assert decided(pool, at=5) == now(5, SpawnWorker(2, 2, 1, Cause.FRESH))
    pool = after(pool, ready(2, 2, at=6))
    assert decided(pool, at=6) == now(6, RetireWorker(1, 1, WHY_ASKED, Reason.ASKED))
    pool = after(pool, WorkerRetired(at=6, slot=1, order=1, why="", reason=Reason.ASKED))
    expel = ExpelWorker(1, 1, "an operator asked for it at once", Reason.ASKED)
    assert decided(pool, at=6) == wait(7)
    assert decided(pool, at=7) == now(7, expel)
    busy = Readings({1: Reading(busy_since=1.0, under_way=((1, 1.0),))})
    assert decide(pool, busy, POLICY, 6) == now(6, expel)
    pool = after(pool, WorkerExpelled(at=6, slot=1, order=1, why="…", reason=Reason.ASKED))
    why = "it did not leave within 1 s, and …"
    assert decided(pool, at=7) == now(7, KillWorker(1, 1, why, Reason.ASKED))


def test_in_trouble_nobody_is_replaced_who_was_asked_to_go() -> None:
    """It is made up for when the trouble is over, and news of those who are gone by then changes nothing."""
    pool = after(serving(2), asked(1, at=5), MoldGone(at=6, generation=1, how="was killed by SIGKILL"))
    assert trouble(pool, 6) is not None
    orders = decided(pool, at=6).orders
    assert not [order for order in orders if isinstance(order, SpawnWorker | RetireWorker)]
    gone = after(pool, exited(1, 1, at=7))
    assert after(gone, asked(1, at=8)) == gone


def test_an_operator_means_a_slot_or_else_a_pid() -> None:
    """One that leaves already is waited for; one that is starting is as good as its successor."""
    pool = serving(2)
    pids = {slot: worker.pid for slot, worker in pool.workers.items()}
    assert [worker.slot for worker in _chosen(pool, None)] == [1, 2]
    assert [worker.slot for worker in _chosen(pool, pids[2])] == [2]
    retiring = after(pool, WorkerRetired(at=5, slot=1, order=1, why="…"))
    assert [worker.slot for worker in _chosen(retiring, 1)] == [1]
    assert [worker.slot for worker in _chosen(retiring, None)] == [2]
    young = after(pool, starting(3, 3, at=5))
    assert choose(young, 3) == "worker 3 is starting; ask again when it is ready"
    assert choose(service(1), None) == "nothing serves yet; ask again when it does"
    assert choose(after(pool, StopAsked(at=5, phase=Phase.DRAINING)), 1) == "the instance is stopping"


def _chosen(pool: Pool, who: int | None) -> list[Worker]:
    choice = choose(pool, who)
    assert not isinstance(choice, str), choice
    return choice


def test_where_no_successor_holds_it_is_tried_again_after_a_while() -> None:
    """Nobody is missing, so nobody is on trial: the trouble has to end by itself."""
    pool = after(serving(1), asked(1, at=5))
    for order in (2, 3):
        pool = after(pool, starting(2, order, at=order + 4), exited(2, order, at=order + 4.5))
    assert trouble(pool, 8) is not None
    assert decided(degraded(pool), at=8) == wait(7.5 + FORGOTTEN_AFTER)
    at = 7.5 + FORGOTTEN_AFTER
    assert decided(degraded(pool), at=at) == now(at, ForgetFailures())
    pool = after(pool, FailuresForgotten(at=at))
    assert decided(pool, at=at) == now(at, SpawnWorker(2, 4, 1, Cause.CRASHED))
