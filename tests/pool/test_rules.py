"""Named histories: these events, then exactly these orders and this deadline, compared whole.

One section a rule, in the order of ``RULES``; what the book itself promises stands at the end.
Read next: ``test_invariants.py``, for the histories nobody thought of.
"""

import pytest
from msgspec.structs import replace

from prefork.pool import backoff, events
from prefork.pool.events import (
    ChildrenGone,
    ChildrenLeft,
    ChildrenSeen,
    CountAsked,
    DoorRefused,
    DoorShut,
    Event,
    GenerationAbandoned,
    GenerationSettled,
    MasterWoke,
    MoldBroken,
    MoldDismissed,
    MoldGone,
    MoldLoaded,
    MoldNotStarted,
    MoldStarted,
    ReloadAsked,
    ReloadRefused,
    RequestsInterrupted,
    ScaleAsked,
    ServiceDegraded,
    ServiceFailed,
    SlowRequestsTold,
    StopAsked,
    WorkerBorn,
    WorkerDumped,
    WorkerExited,
    WorkerExpelled,
    WorkerKilled,
    WorkerLeft,
    WorkerNotForked,
    WorkerOrdered,
    WorkerReady,
    WorkerRetired,
    WorkerStoodStill,
    WorkerWentOn,
)
from prefork.pool.learn import learn
from prefork.pool.orders import (
    AbandonGeneration,
    Cause,
    DismissMold,
    DumpWorker,
    ExpelWorker,
    FailService,
    InterruptRequests,
    KillChildren,
    KillMold,
    KillWorker,
    LookAfterWorker,
    LookForChildren,
    Order,
    RefuseNew,
    RetireWorker,
    SettleGeneration,
    ShutDoor,
    SpawnWorker,
    StartMold,
    TellSlowRequests,
)
from prefork.pool.reasons import Reason
from prefork.pool.records import Bucket, Outcome, Phase, Policy, Pool, Reading, Stage, State, fixed
from prefork.pool.rules import Decision, decide
from prefork.pool.wishes import Readings
from tests.pool.simulation import service

POLICY = Policy(drain=30, quick=1, boot=60)
QUIET = Decision((), until=None)


def after(pool: Pool, *news: Event | tuple[Event, ...]) -> Pool:
    for item in news:
        for event in item if isinstance(item, tuple) else (item,):
            pool = learn(pool, event)
    return pool


def decided(
    pool: Pool, at: float, slots: dict[int, Reading] | None = None, handshakes: int = 0, policy: Policy = POLICY
) -> Decision:
    return decide(pool, Readings(slots or {}, handshakes), policy, at)


def now(at: float, *orders: Order) -> Decision:
    """These orders, and another decision at once."""
    return Decision(orders, until=at)


def wait(until: float) -> Decision:
    return Decision((), until=until)


def loaded(generation: int, at: float) -> tuple[Event, ...]:
    pid = 1000 * generation
    return MoldStarted(at=at, generation=generation, pid=pid), MoldLoaded(at=at, generation=generation)


def lost(generation: int, at: float) -> MoldGone:
    return MoldGone(at=at, generation=generation, how="was killed by SIGKILL")


def ordered(slot: int, order: int, at: float, generation: int = 1, cause: Cause = Cause.FRESH) -> WorkerOrdered:
    return WorkerOrdered(at=at, slot=slot, order=order, generation=generation, cause=cause, max_requests=100)


def starting(slot: int, order: int, at: float, generation: int = 1, cause: Cause = Cause.FRESH) -> tuple[Event, ...]:
    return ordered(slot, order, at, generation, cause), WorkerBorn(at=at, slot=slot, order=order, pid=100 + order)


def ready(slot: int, order: int, at: float, generation: int = 1, cause: Cause = Cause.FRESH) -> tuple[Event, ...]:
    return *starting(slot, order, at, generation, cause), WorkerReady(at=at, slot=slot, order=order)


def exited(slot: int, order: int, at: float, requests: int = 0) -> WorkerExited:
    return WorkerExited(at=at, slot=slot, order=order, how="was killed by SIGSEGV", requests=requests)


def stop(phase: Phase, at: float) -> StopAsked:
    return StopAsked(at=at, phase=phase)


def reload(at: float, configured: int = 2) -> ReloadAsked:
    return ReloadAsked(at=at, configured=fixed(configured))


def settled(generation: int, at: float) -> GenerationSettled:
    return GenerationSettled(at=at, generation=generation)


def serving(workers: int = 2) -> Pool:
    """Generation 1 serves: since second 0, the workers of orders 1, 2, … are ready in slots 1, 2, …"""
    all_ready = tuple(event for slot in range(1, workers + 1) for event in ready(slot, slot, at=0))
    return after(service(workers), loaded(1, at=0), all_ready, settled(1, at=0))


def degraded(pool: Pool, at: float = 0) -> Pool:
    """The same pool, of which it is said already that it is degraded."""
    return after(pool, ServiceDegraded(at=at, why="…", failures=2, next_try=at))


def busy(*under_way: tuple[int, float]) -> Reading:
    """A reading of requests under way: number and start of each, the oldest first."""
    return Reading(busy_since=under_way[0][1], under_way=under_way)


def test_a_service_at_rest_has_no_deadline() -> None:
    """Idle costs nothing: with all wanted workers ready, only news can bring orders."""
    assert decided(serving(), at=5) == QUIET


def test_after_orders_the_next_decision_is_due_at_once() -> None:
    """Deeds bring deadlines that nobody could know when they were ordered."""
    pool = after(serving(), reload(at=5))
    assert decided(pool, at=5) == now(5, StartMold(2))
    pool = after(pool, MoldStarted(at=5, generation=2, pid=2000))
    assert decided(pool, at=5) == wait(5 + POLICY.boot)


# abandon_failed


def test_a_reload_that_cannot_load_is_abandoned_with_the_reason() -> None:
    """A broken deploy never takes a service down: the old generation serves on, and the mold is sent away."""
    started = MoldStarted(at=5, generation=2, pid=2000)
    pool = after(serving(), reload(at=5), started, MoldBroken(at=6, generation=2, why="ImportError: no module"))
    assert decided(pool, at=6) == now(6, AbandonGeneration(2, "ImportError: no module"))
    pool = after(pool, GenerationAbandoned(at=6, generation=2, why="ImportError: no module"))
    assert decided(pool, at=6) == now(6, DismissMold(2))
    pool = after(pool, MoldDismissed(at=6, generation=2))
    assert decided(pool, at=6) == wait(7)
    assert decided(after(pool, lost(2, at=6.5)), at=6.5) == QUIET


def test_the_reason_is_told_also_if_the_mold_is_gone_already() -> None:
    """Message and death in one batch: the message is what people want to read."""
    broken = MoldBroken(at=6, generation=2, why="ImportError: no module")
    pool = after(serving(), reload(at=5), MoldStarted(at=5, generation=2, pid=2000), broken, lost(2, at=6))
    assert decided(pool, at=6) == now(6, AbandonGeneration(2, "ImportError: no module"))


def test_a_mold_that_dies_while_a_reload_loads_it_ends_the_reload() -> None:
    """The old generation serves on; nobody insists."""
    pool = after(serving(), reload(at=5), MoldStarted(at=5, generation=2, pid=2000), lost(2, at=6))
    assert decided(pool, at=6) == now(6, AbandonGeneration(2, "its mold was killed by SIGKILL"))


def test_an_application_that_cannot_be_loaded_at_the_start_fails_the_service_at_once() -> None:
    """An import error ends in failure at once: trying again would say the same."""
    started = MoldStarted(at=0, generation=1, pid=1000)
    pool = after(service(2), started, MoldBroken(at=1, generation=1, why="SyntaxError"))
    assert decided(pool, at=1) == now(1, FailService("SyntaxError"))


def test_a_first_mold_is_tried_three_times() -> None:
    """A death before ready, at the first boot, is not yet a verdict; the third is."""
    pool = after(service(2), MoldNotStarted(at=0, generation=1, why="no processes left"))
    assert decided(pool, at=0) == now(0, StartMold(1))
    pool = after(pool, MoldStarted(at=0, generation=1, pid=1000), lost(1, at=1))
    assert decided(pool, at=1) == wait(1.1)
    assert decided(pool, at=1.1) == now(1.1, StartMold(1))
    pool = after(pool, MoldStarted(at=1.1, generation=1, pid=1001), lost(1, at=2))
    assert decided(pool, at=2) == now(2, FailService("its mold was killed by SIGKILL"))


def test_a_first_mold_that_dies_each_time_it_has_loaded_is_no_success() -> None:
    """Loading is not holding: three losses in a row are three, loaded or not."""
    pool = after(service(0), loaded(1, at=0), lost(1, at=1), loaded(1, at=1), lost(1, at=2), loaded(1, at=3))
    assert decided(after(pool, lost(1, at=4)), at=4) == now(4, FailService("its mold was killed by SIGKILL"))


def three_in_a_row(how: str) -> str:
    return f"its workers died 3 times in a row before they had proven themselves; the last one {how}"


def test_a_reload_whose_workers_die_three_times_unproven_is_abandoned() -> None:
    """Ready is not proven: what dies within its first seconds and requests counts, ready or not."""
    pool = after(serving(), reload(at=5), loaded(2, at=5))
    pool = after(pool, starting(3, 3, at=5, generation=2), exited(3, 3, at=6))
    pool = after(pool, ready(3, 4, at=6, generation=2, cause=Cause.CRASHED), exited(3, 4, at=7, requests=9))
    pool = after(pool, starting(3, 5, at=8, generation=2, cause=Cause.CRASHED))
    assert decided(pool, at=8) == wait(68)
    assert decided(after(pool, exited(3, 5, at=9)), at=9) == now(
        9, AbandonGeneration(2, three_in_a_row("was killed by SIGSEGV"))
    )


def test_workers_that_never_become_ready_end_a_reload_however_long_the_boot_limit() -> None:
    """An attempt may take longer to fail than failures take to be forgotten."""
    pool = after(serving(), reload(at=0), loaded(2, at=0))
    for order, at in ((3, 0.0), (4, 100.0), (5, 201.0)):
        killed = WorkerKilled(at=at + 100, slot=3, order=order, why="it was not ready within 100 s")
        assert pool.coming == 2
        assert not [order for order in decided(pool, at=at).orders if isinstance(order, AbandonGeneration)]
        pool = after(pool, starting(3, order, at, 2, Cause.CRASHED if order > 3 else Cause.FRESH), killed)
        pool = after(pool, exited(3, order, at=at + 100))
    assert decided(pool, at=301) == now(
        301, AbandonGeneration(2, three_in_a_row("was killed: it was not ready within 100 s"))
    )


def test_workers_of_one_attempt_that_die_together_are_one_failure() -> None:
    """Twenty workers that miss one database are no proof of anything."""
    pool = after(service(20), loaded(1, at=0), *(starting(n, n, at=0) for n in range(1, 21)))
    pool = after(pool, *(exited(n, n, at=1 + n / 100) for n in range(1, 21)))
    assert pool.backoff.failures == 1
    assert decided(pool, at=2) == now(2, *(SpawnWorker(n, 20 + n, 1, Cause.CRASHED) for n in range(1, 21)))


def test_a_reload_is_not_blamed_for_the_failures_of_the_generation_it_replaces() -> None:
    """The remedy for a crash loop is new code: it must be let in."""
    pool = serving()
    for order in range(2, 6):
        again = ready(2, order + 1, at=order, cause=Cause.CRASHED)
        pool = after(pool, exited(2, order, at=order), again)
    pool = after(pool, exited(2, 6, at=6), reload(at=6))
    assert pool.backoff.failures == 5
    assert decided(pool, at=6).orders == (StartMold(2),)
    pool = after(pool, MoldStarted(at=6, generation=2, pid=2000))
    assert decided(pool, at=6) == wait(backoff.next_try(pool.backoff))
    pool = after(pool, MoldLoaded(at=6.1, generation=2))
    fresh = [SpawnWorker(slot, slot + 5, 2, Cause.FRESH) for slot in (2, 3)]
    assert decided(pool, at=6.1) == now(6.1, *fresh)


def test_deaths_of_the_old_generation_say_nothing_of_the_coming_one() -> None:
    """A proven worker of the old code that dies does not excuse the new code's failures."""
    pool = after(serving(), reload(at=20), loaded(2, at=20), starting(3, 3, at=20, generation=2), exited(3, 3, at=21))
    assert after(pool, exited(1, 1, at=22, requests=1000)).backoff.failures == 1
    assert after(pool, exited(1, 1, at=22)).backoff == replace(pool.backoff, died=1)


# settle_coming


def test_a_generation_serves_once_as_many_of_its_workers_are_ready_as_are_wanted() -> None:
    """Only then its predecessor's mold may go."""
    pool = after(serving(), reload(at=5), loaded(2, at=5), ready(3, 3, at=6, generation=2))
    assert decided(pool, at=6) == now(6, RetireWorker(2, 2, "generation 2 replaces it", Reason.RELOAD))
    retired = WorkerRetired(at=6, slot=2, order=2, why="generation 2 replaces it")
    pool = after(pool, retired, exited(2, 2, at=6), ready(2, 4, at=7, generation=2))
    assert decided(pool, at=7) == now(7, SettleGeneration(2))
    pool = after(pool, settled(2, at=7))
    assert decided(pool, at=7) == now(7, RetireWorker(1, 1, "generation 2 replaces it", Reason.RELOAD))
    pool = after(pool, WorkerRetired(at=7, slot=1, order=1, why="generation 2 replaces it"))
    assert decided(pool, at=7) == now(7, DismissMold(1))


def test_a_generation_is_not_settled_and_abandoned_at_once() -> None:
    """One batch may bring the last success and the third failure: the failure counts, and alone."""
    pool = after(serving(2), ScaleAsked(at=0, by=-1), reload(at=5), loaded(2, at=5), ready(3, 3, at=5, generation=2))
    for order in (4, 5, 6):
        pool = after(pool, starting(4, order, at=order, generation=2), exited(4, order, at=order))
    assert decided(pool, at=6) == now(6, AbandonGeneration(2, three_in_a_row("was killed by SIGSEGV")))


def test_a_service_without_workers_settles_when_it_has_loaded() -> None:
    """Zero workers are a valid wish."""
    pool = after(service(0), loaded(1, at=0))
    assert decided(pool, at=0) == now(0, SettleGeneration(1))
    assert decided(after(pool, settled(1, at=0)), at=0) == QUIET


# start_mold


def test_a_new_service_loads_its_first_generation() -> None:
    """Nothing is forked before the application is loaded."""
    assert decided(service(2), at=0) == now(0, StartMold(1))


def test_reloads_asked_during_a_reload_become_one_more() -> None:
    """Commands merge, and the latest code is loaded after the last of them."""
    pool = after(serving(0), reload(at=5, configured=0))
    assert decided(pool, at=5) == now(5, StartMold(2))
    pool = after(pool, MoldStarted(at=5, generation=2, pid=2000), *(reload(at=at, configured=0) for at in (6, 7, 8)))
    assert decided(pool, at=8) == wait(65)
    pool = after(pool, MoldLoaded(at=9, generation=2), settled(2, at=9))
    assert decided(pool, at=9) == now(9, StartMold(3))
    assert not pool.is_settled


def test_reloads_asked_before_the_first_mold_starts_are_one_with_it() -> None:
    """There is no older code than what will be loaded."""
    assert decided(after(service(2), reload(at=0), reload(at=0)), at=0) == now(0, StartMold(1))


def test_a_lost_mold_is_loaded_anew_ever_more_slowly() -> None:
    """A mold that keeps dying costs no storm of interpreters, whether it gets as far as loading or not."""
    pool, at, waits = degraded(serving()), 5.0, []
    for _ in range(6):
        pool = after(pool, lost(1, at=at))
        due = decided(pool, at=at).until or at
        waits.append(due - at)
        at = due
        assert decided(pool, at=at) == now(at, StartMold(1))
        pool = after(pool, loaded(1, at=at))
    assert waits == pytest.approx([0, 0.1, 0.15, 0.225, 0.3375, 0.50625])


def test_a_mold_that_has_held_for_a_minute_starts_with_a_clean_record() -> None:
    """Three losses in a year are no row."""
    pool = after(serving(), lost(1, at=1000), loaded(1, at=1000), lost(1, at=2000), loaded(1, at=2000))
    assert decided(after(pool, lost(1, at=2060)), at=2060) == now(2060, StartMold(1))


def test_a_serving_generation_that_cannot_be_loaded_anew_is_tried_again() -> None:
    """Its workers serve on; the mold that cannot load is sent away, and its reason kept."""
    again = MoldStarted(at=5, generation=1, pid=1001)
    pool = after(degraded(serving()), lost(1, at=5), again, MoldBroken(at=6, generation=1, why="ImportError"))
    assert decided(pool, at=6) == now(6, DismissMold(1))
    pool = after(pool, MoldDismissed(at=6, generation=1), lost(1, at=6))
    assert pool.generations[1].why == "ImportError"
    assert decided(pool, at=6) == wait(6.1)
    assert decided(pool, at=6.1) == now(6.1, StartMold(1))


# kill_overdue


def test_a_worker_that_does_not_become_ready_is_killed_at_the_boot_limit() -> None:
    """The boot limit is one of its own."""
    pool = after(serving(), ScaleAsked(at=5, by=1), starting(3, 3, at=5))
    assert decided(pool, at=64) == wait(65)
    assert decided(pool, at=65) == now(65, KillWorker(3, 3, "it was not ready within 60 s", Reason.BOOT))


def test_a_retiring_worker_is_killed_at_the_drain_limit() -> None:
    """What was given time and used it up is killed, and once."""
    pool = after(serving(3), ScaleAsked(at=5, by=-1), WorkerRetired(at=5, slot=3, order=3, why="workers wanted: 2"))
    assert decided(pool, at=5) == wait(35)
    assert decided(pool, at=35) == now(35, KillWorker(3, 3, "its request was not finished within 30 s", Reason.DRAIN))
    pool = after(pool, WorkerKilled(at=35, slot=3, order=3, why="its request was not finished within 30 s"))
    assert decided(pool, at=35) == QUIET


@pytest.mark.parametrize(
    ("phase", "limit", "why"),
    [
        (Phase.DRAINING, 30, "its requests were not finished within 30 s"),
        (Phase.QUICK, 1, "a quick stop leaves 1 s"),
    ],
)
def test_a_stop_has_a_limit(phase: Phase, limit: float, why: str) -> None:
    """What did not end in time is killed at that very moment."""
    pool = after(serving(1), stop(phase, at=5), DoorRefused(at=5), DoorShut(at=5), MoldDismissed(at=5, generation=1))
    pool = after(pool, lost(1, at=5), WorkerRetired(at=5, slot=1, order=1, why="the service stops"))
    assert decided(pool, at=5) == wait(5 + limit)
    [kill] = decided(pool, at=5 + limit).orders
    assert isinstance(kill, KillWorker)
    assert (kill.slot, kill.order) == (1, 1)
    if phase is Phase.QUICK:
        assert kill.why == why


def test_a_stop_now_kills_at_once() -> None:
    """A second TERM means it."""
    pool = after(serving(), stop(Phase.DRAINING, at=5), stop(Phase.NOW, at=6))
    why = "told to stop now"
    assert decided(pool, at=6) == now(6, *(KillWorker(slot, slot, why, Reason.STOP, is_final=True) for slot in (1, 2)))


# end_leftovers


def orphaned(at: float) -> Pool:
    """The worker of slot 1 died at that moment, and was replaced; children of its live on."""
    left = ChildrenLeft(at=at, pid=101)
    replaced = ready(1, 3, at=at, cause=Cause.DIED)
    return after(serving(), exited(1, 1, at=at, requests=50), left, replaced, ChildrenSeen(at=at, pid=101))


def test_children_of_a_dead_worker_are_looked_for_at_once_and_then_each_second() -> None:
    """The first look may find that they were zombies; nothing tells of the end of the others."""
    pool = after(serving(), exited(1, 1, at=5), ChildrenLeft(at=5, pid=101))
    assert decided(pool, at=5) == now(5, LookForChildren(101))
    assert decided(orphaned(at=5), at=5) == wait(6)
    assert decided(orphaned(at=5), at=6) == now(6, LookForChildren(101))
    assert decided(after(orphaned(at=5), ChildrenGone(at=6, pid=101)), at=6) == QUIET


def test_children_of_a_dead_worker_have_the_drain_limit() -> None:
    """As long as their worker would have had to finish its requests."""
    pool = after(orphaned(at=5), ChildrenSeen(at=34.5, pid=101))
    assert decided(pool, at=34.5) == wait(35)
    assert decided(pool, at=35) == now(35, KillChildren(101))


def test_a_stop_ends_with_the_children_of_dead_workers() -> None:
    """It waits for them within its limits, and answers for those it kills."""
    pool = after(orphaned(at=5), stop(Phase.QUICK, at=6), exited(1, 3, at=6), exited(2, 2, at=6))
    pool = after(pool, DoorRefused(at=6), DoorShut(at=6), MoldDismissed(at=6, generation=1), lost(1, at=6))
    assert not pool.is_finished
    assert decided(after(pool, stop(Phase.NOW, at=6.5)), at=6.5) == now(6.5, KillChildren(101))
    pool = after(pool, ChildrenSeen(at=6.5, pid=101))
    assert decided(pool, at=6.5) == wait(7)
    assert decided(pool, at=7) == now(7, KillChildren(101))
    for are_killed in (False, True):
        end = after(pool, ChildrenGone(at=7, pid=101, are_killed=are_killed))
        assert end.is_finished
        assert end.cut_off == are_killed


# expel_stuck, dump_expelled

HARD = replace(POLICY, request_hard=10)
STUCK = "a request exceeded the hard limit of 10 s"


def test_a_worker_whose_request_exceeds_the_hard_limit_is_told_to_leave_and_then_killed() -> None:
    """A stuck request is bounded, what else its worker has may end, and an idle worker is never killed for that."""
    pool, slots = serving(), {1: Reading(requests=7, busy_since=20.0), 2: Reading(requests=9)}
    assert decided(pool, at=29, slots=slots, policy=HARD) == wait(30)
    assert decided(pool, at=30, slots=slots, policy=HARD) == now(30, ExpelWorker(1, 1, STUCK, Reason.REQUEST_HARD))
    pool = after(pool, WorkerExpelled(at=30, slot=1, order=1, why=STUCK, requests=20))
    assert decided(pool, at=30, slots=slots, policy=HARD) == now(30, SpawnWorker(3, 3, 1, Cause.DIED))
    pool = after(pool, ready(3, 3, at=30, cause=Cause.DIED))
    assert decided(pool, at=30, slots=slots, policy=HARD) == wait(30.5)
    assert decided(pool, at=30.5, slots=slots, policy=HARD) == now(30.5, DumpWorker(1, 1))
    pool = after(pool, WorkerDumped(at=30.5, slot=1, order=1))
    assert decided(pool, at=30.5, slots=slots, policy=HARD) == wait(31)
    kill = KillWorker(1, 1, f"it did not leave within 1 s, and {STUCK}", Reason.REQUEST_HARD)
    assert decided(pool, at=31, slots=slots, policy=HARD) == now(31, kill)


def test_nobody_is_retired_as_surplus_while_a_stuck_worker_is_expelled() -> None:
    """Each rule counts on a book in which the rules before it are obeyed."""
    pool = after(serving(2), ready(3, 3, at=20))
    slots = {1: Reading(busy_since=20.0)}
    assert decided(pool, at=30, slots=slots, policy=HARD) == now(30, ExpelWorker(1, 1, STUCK, Reason.REQUEST_HARD))
    pool = after(pool, WorkerExpelled(at=30, slot=1, order=1, why=STUCK))
    assert decided(pool, at=30, slots=slots, policy=HARD) == wait(30.5)


def test_a_retiring_worker_is_expelled_too() -> None:
    """The hard limit does not wait for the drain limit; nor does a stop have to wait for either."""
    pool = after(serving(1), WorkerRetired(at=25, slot=1, order=1, why="…"), stop(Phase.DRAINING, at=26))
    pool = after(pool, DoorRefused(at=26), DoorShut(at=26), MoldDismissed(at=26, generation=1), lost(1, at=26))
    slots = {1: Reading(busy_since=20.0)}
    assert decided(pool, at=30, slots=slots, policy=HARD) == now(30, ExpelWorker(1, 1, STUCK, Reason.REQUEST_HARD))
    pool = after(pool, WorkerExpelled(at=30, slot=1, order=1, why=STUCK), WorkerDumped(at=30, slot=1, order=1))
    [kill] = decided(pool, at=31, slots=slots, policy=HARD).orders
    assert isinstance(kill, KillWorker)


# look_after_standing, and what does not count


def test_a_stopped_worker_has_no_limits_until_it_goes_on() -> None:
    """It is looked after each second; then all its limits begin anew, and only its own."""
    policy = replace(POLICY, timeout=5, request_slow=3, request_hard=10)
    slots = {1: busy((7, 20.0)), 2: busy((9, 28.0))}
    pool = after(serving(), WorkerStoodStill(at=30, slot=1, order=1))
    assert decided(pool, at=30, slots=slots, policy=policy) == wait(31)
    assert decided(pool, at=31, slots=slots, policy=policy) == now(31, LookAfterWorker(1, 1))
    pool = after(pool, WorkerStoodStill(at=31, slot=1, order=1))
    assert decided(pool, at=31, slots=slots, policy=policy) == now(31, TellSlowRequests(2, 2, 9))
    pool = after(pool, SlowRequestsTold(at=31, slot=2, order=2, number=9), WorkerWentOn(at=32, slot=1, order=1))
    assert decided(pool, at=32, slots=slots, policy=policy) == wait(33)
    assert decided(pool, at=33, slots={1: slots[1]}, policy=policy) == wait(35)
    assert decided(pool, at=35, slots={1: slots[1]}, policy=policy) == now(35, TellSlowRequests(1, 1, 7))


def test_a_stopped_worker_is_killed_only_by_who_will_not_wait() -> None:
    """Neither boot nor drain limit strikes; a quick stop does."""
    pool = after(serving(1), stop(Phase.DRAINING, at=5), DoorRefused(at=5), DoorShut(at=5))
    pool = after(pool, MoldDismissed(at=5, generation=1), lost(1, at=5))
    pool = after(pool, WorkerRetired(at=5, slot=1, order=1, why="…"), WorkerStoodStill(at=35, slot=1, order=1))
    assert decided(pool, at=35) == wait(36)
    went_on = after(pool, WorkerWentOn(at=40, slot=1, order=1))
    assert decided(went_on, at=40) == wait(70)
    quickly = after(pool, stop(Phase.QUICK, at=40), WorkerStoodStill(at=40.5, slot=1, order=1))
    assert decided(quickly, at=41) == now(41, KillWorker(1, 1, "a quick stop leaves 1 s", Reason.STOP, is_final=True))


def test_after_the_master_stood_still_all_limits_begin_anew() -> None:
    """Those of requests, of boots, of molds and of a stop: nobody is killed for what nobody could do."""
    policy = replace(POLICY, timeout=5, request_hard=10)
    pool = after(serving(1), ScaleAsked(at=5, by=1), starting(2, 2, at=5), MasterWoke(at=500))
    assert decided(pool, at=500) == wait(560)
    assert decided(pool, at=500, slots={1: busy((7, 20.0))}, policy=policy) == wait(505)
    pool = after(serving(1), reload(at=5, configured=1), MoldStarted(at=5, generation=2, pid=2000), MasterWoke(at=500))
    assert decided(pool, at=500) == wait(560)
    pool = after(serving(1), stop(Phase.QUICK, at=5), DoorRefused(at=5), DoorShut(at=5))
    pool = after(pool, MoldDismissed(at=5, generation=1), WorkerRetired(at=5, slot=1, order=1, why="…"))
    assert decided(after(pool, MasterWoke(at=500)), at=500) == wait(501)


# tell_slow

SLOW = replace(POLICY, request_slow=10)


def test_a_slow_request_is_told_of_once() -> None:
    """Nobody is harmed, and nobody is told twice of the same."""
    pool, slots = serving(1), {1: busy((7, 20.0), (8, 21.0))}
    assert decided(pool, at=29, slots=slots, policy=SLOW) == wait(30)
    assert decided(pool, at=30, slots=slots, policy=SLOW) == now(30, TellSlowRequests(1, 1, 7))
    pool = after(pool, SlowRequestsTold(at=30, slot=1, order=1, number=7))
    assert decided(pool, at=30, slots=slots, policy=SLOW) == wait(31)
    pool = after(pool, SlowRequestsTold(at=31, slot=1, order=1, number=8))
    assert decided(pool, at=99, slots=slots, policy=SLOW) == QUIET


# interrupt_stuck


SOFT = replace(POLICY, timeout=10)


def test_a_request_beyond_the_soft_limit_is_interrupted() -> None:
    """Nobody else is, and again each second, as long as it lasts: it may be where it cannot be interrupted."""
    slots = {1: busy((7, 20.0)), 2: Reading(requests=9)}
    pool = serving()
    assert decided(pool, at=29, slots=slots, policy=SOFT) == wait(30)
    assert decided(pool, at=30, slots=slots, policy=SOFT) == now(30, InterruptRequests(1, 1, 7))
    pool = after(pool, RequestsInterrupted(at=30, slot=1, order=1, number=7))
    assert decided(pool, at=30, slots=slots, policy=SOFT) == wait(31)
    assert decided(pool, at=31, slots=slots, policy=SOFT) == now(31, InterruptRequests(1, 1, 7))
    assert decided(pool, at=31, slots={1: busy((8, 30.5))}, policy=SOFT) == wait(40.5)


def test_of_several_requests_all_that_are_overdue_are_interrupted() -> None:
    """One number says it of all that began before, and a later one has its own time."""
    pool, slots = serving(1), {1: busy((3, 20.0), (5, 21.0), (6, 25.0))}
    assert decided(pool, at=31, slots=slots, policy=SOFT) == Decision((InterruptRequests(1, 1, 5),), until=31)
    pool = after(pool, RequestsInterrupted(at=31, slot=1, order=1, number=5))
    assert decided(pool, at=31, slots=slots, policy=SOFT) == wait(32)
    slots = {1: busy((3, 20.0), (6, 21.5))}
    assert decided(pool, at=31, slots=slots, policy=SOFT) == wait(31.5)
    assert decided(pool, at=31.5, slots=slots, policy=SOFT) == now(31.5, InterruptRequests(1, 1, 6))


def test_a_worker_that_leaves_after_a_timeout_is_replaced_at_once() -> None:
    """However young it is: a slow request says nothing of its worker."""
    pool = serving()
    for order in range(2, 8):
        left = WorkerLeft(at=1, slot=2, order=order, why="a request took too long", is_sound=True)
        pool = after(pool, left, exited(2, order, at=1))
        assert decided(pool, at=1) == now(1, SpawnWorker(2, order + 1, 1, Cause.DIED))
        pool = after(pool, ready(2, order + 1, at=1, cause=Cause.DIED))


# spawn_missing


def test_the_first_boot_forks_all_that_are_wanted() -> None:
    """The first boot is exempt from every allowance."""
    pool = after(service(3), loaded(1, at=1))
    assert decided(pool, at=1) == now(1, *(SpawnWorker(slot, slot, 1, Cause.FRESH) for slot in (1, 2, 3)))


def test_orders_to_fork_are_given_sixty_four_at_a_time() -> None:
    """No more are under way than the mold's socket pair holds."""
    pool = after(service(100), loaded(1, at=0))
    spawned = decided(pool, at=0).orders
    assert spawned == tuple(SpawnWorker(n, n, 1, Cause.FRESH) for n in range(1, 65))
    pool = after(pool, *(ordered(n, n, at=0) for n in range(1, 65)))
    assert decided(pool, at=0) == wait(60)
    pool = after(pool, WorkerBorn(at=1, slot=5, order=5, pid=105))
    assert decided(pool, at=1) == now(1, SpawnWorker(65, 65, 1, Cause.FRESH))


@pytest.mark.parametrize(("requests", "at"), [(10, 1.0), (0, 10.0)], ids=["ten requests", "ten seconds"])
def test_a_proven_worker_is_replaced_at_once(requests: int, at: float) -> None:
    """A worker's death costs at most the request it was serving; a record of failures ends with it."""
    pool = serving()
    pool = replace(pool, backoff=replace(pool.backoff, failures=7, failed_at=-1.0))
    pool = after(pool, exited(1, 1, at=at, requests=requests))
    assert pool.backoff.failures == 0
    assert decided(pool, at=at) == now(at, SpawnWorker(1, 3, 1, Cause.DIED))


def test_workers_that_die_unproven_are_replaced_ever_more_slowly() -> None:
    """The first at once, then 0.1 s times 1.5 to the power of the failures."""
    pool, at, waits = degraded(serving()), 1.0, []
    for order in range(2, 9):
        pool = after(pool, exited(2, order, at=at))
        due = decided(pool, at=at).until or at
        waits.append(due - at)
        at = due
        assert decided(pool, at=at) == now(at, SpawnWorker(2, order + 1, 1, Cause.CRASHED))
        pool = after(pool, ready(2, order + 1, at=at, cause=Cause.CRASHED))
    assert waits == pytest.approx([0, 0.1, 0.15, 0.225, 0.3375, 0.50625, 0.759375])


@pytest.mark.parametrize(
    "end",
    [
        (exited(2, 2, at=5),),
        (WorkerLeft(at=5, slot=2, order=2, why="MemoryError", requests=3), exited(2, 2, at=5)),
        (WorkerKilled(at=5, slot=2, order=2, why="a request exceeded the hard limit"), exited(2, 2, at=5)),
    ],
    ids=["exited", "left", "killed"],
)
def test_however_an_unproven_worker_is_lost_its_successor_is_owed_once(end: tuple[Event, ...]) -> None:
    """Leaving by its own decision, or making itself killed, opens no way around the back-off."""
    pool = after(serving(), end[0])
    slot = 2 if len(end) == 1 else 3
    assert decided(pool, at=5).orders == (SpawnWorker(slot, 3, 1, Cause.CRASHED),)
    pool = after(pool, starting(slot, 3, at=5, cause=Cause.CRASHED), end[1:])
    assert (pool.backoff.failures, pool.backoff.crashed, pool.backoff.died) == (1, 0, 0)


def test_a_worker_that_we_retired_is_owed_no_successor() -> None:
    """Whatever becomes of it, it was surplus."""
    retired = WorkerRetired(at=5, slot=3, order=3, why="workers wanted: 2")
    pool = after(serving(3), ScaleAsked(at=5, by=-1), retired, exited(3, 3, at=5))
    assert pool.backoff == serving(3).backoff
    assert decided(pool, at=5) == QUIET


def test_workers_that_crash_while_a_reload_loads_are_replaced_no_faster() -> None:
    """A generation that is still loading answers for nobody's death, and excuses none."""
    pool = after(serving(), reload(at=5), MoldStarted(at=5, generation=2, pid=2000))
    pool = after(pool, exited(1, 1, at=6), starting(1, 3, at=6, cause=Cause.CRASHED), exited(1, 3, at=7))
    assert (pool.backoff.failures, pool.backoff.crashed, pool.backoff.died) == (2, 1, 0)
    assert decided(pool, at=7) == wait(7.1)


def test_an_emptied_bucket_bounds_any_pattern_of_crashes() -> None:
    """Eight replacements for crashes, then eight a minute, however the curve was fooled."""
    pool = serving()
    empty = replace(pool.backoff, failures=1, failed_at=100.0, crashed=1, crash_tokens=Bucket(0.0, 100.0))
    pool = replace(after(pool, exited(2, 2, at=100)), backoff=empty)
    assert decided(pool, at=100) == wait(107.5)
    assert decided(pool, at=107.5) == now(107.5, SpawnWorker(2, 3, 1, Cause.CRASHED))


def test_an_emptied_bucket_bounds_proven_deaths_as_well() -> None:
    """As many a second as a minute's worth of crashes: nobody falls into a fork storm after ten good requests."""
    pool = after(serving(), exited(2, 2, at=100))
    pool = replace(pool, backoff=replace(pool.backoff, death_tokens=Bucket(0.0, 100.0)))
    assert decided(pool, at=100) == wait(100.125)
    assert decided(pool, at=100.125) == now(100.125, SpawnWorker(2, 3, 1, Cause.DIED))


def test_a_machine_that_refuses_to_fork_is_asked_ever_more_slowly() -> None:
    """Refusals of one attempt are one refusal, and a birth among them does not end the wait."""
    refused = [WorkerNotForked(at=1, slot=n, order=n, why="EAGAIN") for n in (1, 2)]
    pool = after(service(3), loaded(1, at=1), *(ordered(n, n, at=1) for n in (1, 2, 3)), *refused)
    assert decided(pool, at=1) == wait(1.1)
    assert decided(after(pool, WorkerBorn(at=1, slot=3, order=3, pid=103)), at=1) == wait(1.1)
    pool = after(pool, ordered(1, 4, at=1.1), WorkerNotForked(at=1.1, slot=1, order=4, why="EAGAIN"))
    assert decided(pool, at=1.1) == wait(1.25)


def test_nobody_is_forked_while_the_mold_is_lost() -> None:
    """What is missing waits for the next mold; orders that the dead one took with it are given anew."""
    pool = after(serving(), ScaleAsked(at=5, by=1), ordered(3, 3, at=5), lost(1, at=6))
    assert decided(pool, at=6) == now(6, StartMold(1))
    pool = after(pool, loaded(1, at=6))
    assert decided(pool, at=6) == now(6, SpawnWorker(3, 4, 1, Cause.FRESH))


def test_the_worn_out_are_replaced_before_they_retire() -> None:
    """Replacement comes before retirement, one surge at a time, and never lowers the ready workers."""
    worn = {slot: Reading(requests=100) for slot in (1, 2, 3)}
    pool = serving(5)
    assert decided(pool, at=50, slots=worn) == now(50, SpawnWorker(6, 6, 1, Cause.FRESH))
    pool = after(pool, starting(6, 6, at=50))
    assert decided(pool, at=50, slots=worn) == wait(110)
    pool = after(pool, WorkerReady(at=51, slot=6, order=6))
    assert decided(pool, at=51, slots=worn) == now(
        51, RetireWorker(3, 3, "it has served 100 requests", Reason.REQUESTS)
    )


def test_a_reload_replaces_one_surge_at_a_time() -> None:
    """No more processes than wanted and surge; successors take the lowest free slots."""
    pool = after(serving(8), reload(at=5, configured=8), loaded(2, at=5))
    assert decided(pool, at=5) == now(5, *(SpawnWorker(slot, slot, 2, Cause.FRESH) for slot in (9, 10)))
    pool = after(pool, ready(9, 9, at=6, generation=2), ready(10, 10, at=6, generation=2))
    retire = [RetireWorker(slot, slot, "generation 2 replaces it", Reason.RELOAD) for slot in (8, 7)]
    assert decided(pool, at=6) == now(6, *retire)
    pool = after(pool, *(WorkerRetired(at=6, slot=o.slot, order=o.order, why=o.why) for o in retire))
    assert decided(pool, at=6) == wait(36)
    pool = after(pool, exited(7, 7, at=7))
    assert decided(pool, at=7) == now(7, SpawnWorker(7, 11, 2, Cause.FRESH))


# retire_stillborn


def test_starting_workers_of_an_abandoned_generation_are_told_to_leave() -> None:
    """Nobody waits for what nobody wants; those not yet born are told when they are."""
    given_up = GenerationAbandoned(at=6, generation=2, why="…")
    pool = after(serving(4), reload(at=5, configured=4), loaded(2, at=5), ordered(5, 5, at=5, generation=2), given_up)
    pool = after(pool, MoldDismissed(at=6, generation=2))
    assert decided(pool, at=6) == wait(7)
    pool = after(pool, WorkerBorn(at=6.5, slot=5, order=5, pid=105))
    assert decided(pool, at=6.5) == now(6.5, RetireWorker(5, 5, "generation 2 is given up", Reason.RELOAD))


def test_ready_workers_of_an_abandoned_generation_serve_until_they_are_replaced() -> None:
    """Giving up a deploy must not cost capacity either."""
    pool = after(serving(2), reload(at=5), loaded(2, at=5), ready(3, 3, at=6, generation=2))
    pool = after(pool, WorkerRetired(at=6, slot=2, order=2, why="…"), exited(2, 2, at=6))
    pool = after(pool, GenerationAbandoned(at=7, generation=2, why="…"), MoldDismissed(at=7, generation=2))
    pool = after(pool, lost(2, at=7))
    assert decided(pool, at=7) == now(7, SpawnWorker(2, 4, 1, Cause.FRESH))
    pool = after(pool, ready(2, 4, at=8))
    assert decided(pool, at=8) == now(8, RetireWorker(3, 3, "generation 1 replaces it", Reason.RELOAD))


# retire_surplus


def test_scaling_down_retires_the_last() -> None:
    """The slots that stay are the first ones."""
    pool = after(serving(4), ScaleAsked(at=5, by=-1), ScaleAsked(at=5, by=-1))
    why = "workers wanted: 2"
    assert decided(pool, at=5) == now(
        5, RetireWorker(4, 4, why, Reason.SURPLUS), RetireWorker(3, 3, why, Reason.SURPLUS)
    )


def test_a_worker_that_is_ready_before_it_is_known_to_be_born_is_not_told() -> None:
    """Two channels bring the news, and we can tell only whose pid we know."""
    hasty = (ordered(2, 2, at=5), WorkerReady(at=5, slot=2, order=2))
    pool = after(serving(1), hasty)
    assert decided(pool, at=5) == now(5, RetireWorker(1, 1, "workers wanted: 1", Reason.SURPLUS))
    pool = after(pool, WorkerBorn(at=5, slot=2, order=2, pid=102))
    assert decided(pool, at=5) == now(5, RetireWorker(2, 2, "workers wanted: 1", Reason.SURPLUS))


# dismiss_molds


def test_a_mold_that_hangs_while_loading_is_killed_at_the_boot_limit() -> None:
    """An import may hang; the reload then ends with the remedy."""
    pool = after(serving(), reload(at=5), MoldStarted(at=5, generation=2, pid=2000))
    why = "the application was not loaded within 60 s; raise the boot limit if it needs longer"
    assert decided(pool, at=65) == now(65, KillMold(2, why))
    pool = after(pool, MoldDismissed(at=65, generation=2, why=why))
    assert decided(pool, at=65) == QUIET
    assert decided(after(pool, lost(2, at=66)), at=66) == now(66, AbandonGeneration(2, why))


def test_a_mold_that_forgets_an_order_is_killed_once() -> None:
    """Many orders unanswered are one reason."""
    pool = after(serving(2), ScaleAsked(at=5, by=2), ordered(3, 3, at=5), ordered(4, 4, at=6))
    assert decided(pool, at=6) == wait(65)
    why = "it did not answer an order to fork within 60 s"
    assert decided(pool, at=66) == now(66, KillMold(1, why))
    assert decided(after(pool, MoldDismissed(at=66, generation=1, why=why)), at=66) == QUIET


def test_a_mold_that_does_not_leave_is_killed() -> None:
    """Told once, killed once."""
    pool = after(serving(0), reload(at=5, configured=0), loaded(2, at=5), settled(2, at=5))
    assert decided(pool, at=5) == now(5, DismissMold(1))
    pool = after(pool, MoldDismissed(at=5, generation=1))
    assert decided(pool, at=6) == now(6, KillMold(1, "it did not leave when told"))
    pool = after(pool, MoldDismissed(at=6, generation=1, why="it did not leave when told"))
    assert decided(pool, at=6) == QUIET


def test_a_stop_kills_a_mold_that_is_still_loading() -> None:
    """An import listens to nobody."""
    pool = after(service(2), MoldStarted(at=0, generation=1, pid=1000), stop(Phase.DRAINING, at=1))
    assert decided(pool, at=1) == now(1, KillMold(1, "it is no longer needed"))


# close_door, drain_workers


def test_a_graceful_stop_refuses_shuts_and_drains_in_this_order() -> None:
    """What the kernel has completed a handshake for is answered: nothing new, handshakes first, then the queue."""
    pool = after(serving(1), stop(Phase.DRAINING, at=5), MoldDismissed(at=5, generation=1), lost(1, at=5))
    assert decided(pool, at=5, handshakes=3) == now(5, RefuseNew())
    pool = after(pool, DoorRefused(at=5))
    assert decided(pool, at=5, handshakes=3) == wait(5.1)
    assert decided(pool, at=5.1, handshakes=0) == now(5.1, ShutDoor())
    assert decided(pool, at=6, handshakes=1) == now(6, ShutDoor())
    pool = after(pool, DoorShut(at=6))
    assert decided(pool, at=6) == now(6, RetireWorker(1, 1, "the service stops", Reason.STOP, drain=True))
    pool = after(pool, WorkerRetired(at=6, slot=1, order=1, why="the service stops"), exited(1, 1, at=7))
    assert pool.is_finished


def test_a_stop_that_keeps_the_door_refuses_and_drains_nobody() -> None:
    """Listeners that belong to somebody else go on queueing: workers finish what they have, and leave."""
    lent = service(1)
    lent = replace(lent, wanted=replace(lent.wanted, keeps_door=True))
    pool = after(lent, loaded(1, at=0), ready(1, 1, at=0), settled(1, at=0), stop(Phase.DRAINING, at=5))
    pool = after(pool, MoldDismissed(at=5, generation=1), lost(1, at=5))
    assert decided(pool, at=5, handshakes=3) == now(5, ShutDoor(drain=False))
    pool = after(pool, DoorShut(at=5))
    assert decided(pool, at=5) == now(5, RetireWorker(1, 1, "the service stops", Reason.STOP))


def test_the_first_stop_says_whether_the_door_is_kept() -> None:
    """One for good shuts a door that would be kept; a more urgent one changes nothing about it."""
    lent = replace(service(0), wanted=replace(service(0).wanted, keeps_door=True))
    for_good = StopAsked(at=5, phase=Phase.DRAINING, shuts_door=True)
    assert not after(lent, for_good).wanted.keeps_door
    assert after(lent, stop(Phase.DRAINING, at=4), replace(for_good, phase=Phase.NOW)).wanted.keeps_door
    assert not after(lent, for_good, stop(Phase.NOW, at=6)).wanted.keeps_door


def test_a_stop_answers_for_the_requests_that_it_ended_and_for_no_other() -> None:
    """Who was killed before the stop was asked for, and is seen to end after it, was not cut off by it."""
    killed = WorkerKilled(at=40, slot=1, order=1, why="")
    ended = WorkerExited(at=42, slot=1, order=1, how="", cut_off=1)

    assert after(serving(), killed, stop(Phase.DRAINING, at=41), ended).cut_off == 0
    assert after(serving(), stop(Phase.DRAINING, at=39), killed, ended).cut_off == 1


def test_a_failed_service_is_ended_at_once() -> None:
    """Its workers are killed, its mold sent away, its door shut."""
    pool = after(service(2), loaded(1, at=0), ready(1, 1, at=0), ServiceFailed(at=1, why="…"))
    assert decided(pool, at=1) == now(1, KillWorker(1, 1, "the service is given up", Reason.STOP, is_final=True))
    pool = after(pool, WorkerKilled(at=1, slot=1, order=1, why="…"), exited(1, 1, at=1))
    assert decided(pool, at=1) == now(1, DismissMold(1))
    pool = after(pool, MoldDismissed(at=1, generation=1), lost(1, at=1))
    assert decided(pool, at=1) == now(1, RefuseNew())
    assert decided(after(pool, DoorRefused(at=1)), at=1) == now(1, ShutDoor())
    assert after(pool, DoorRefused(at=1), DoorShut(at=1)).is_finished


# the book


def test_a_number_of_workers_asked_for_lasts_as_a_change_by_some_does() -> None:
    """A command says how many, a signal how many more: both are what is wanted until the configuration changes."""
    assert after(serving(2), CountAsked(at=5, count=5)) == after(serving(2), ScaleAsked(at=5, by=3))
    assert after(serving(2), CountAsked(at=5, count=0)) == after(serving(2), ScaleAsked(at=5, by=-2))


def test_the_book_knows_how_the_last_load_ended() -> None:
    """Who asks later hears it: it serves, it was given up, or it was refused before it had a number."""
    pool = serving()
    assert pool.last_load is not None
    assert (pool.last_load.generation, pool.last_load.why) == (1, "")
    pool = after(pool, reload(at=5), GenerationAbandoned(at=6, generation=2, why="ImportError"))
    assert pool.last_load == Outcome(6, 2, "ImportError")
    pool = after(pool, ReloadRefused(at=8, why="no such setting"))
    assert pool.last_load == Outcome(8, None, "no such setting")
    assert after(pool, reload(at=9), loaded(3, at=9), settled(3, at=10)).last_load == Outcome(10, 3)


def test_a_scale_command_lasts_until_the_configured_value_itself_changes() -> None:
    """A change at run time survives a reload."""
    pool = after(serving(2), ScaleAsked(at=5, by=3), reload(at=6, configured=2), loaded(2, at=6), settled(2, at=7))
    assert (pool.wanted.count, pool.wanted.configured) == (5, fixed(2))
    pool = after(pool, reload(at=8, configured=4), loaded(3, at=8), settled(3, at=9))
    assert (pool.wanted.count, pool.wanted.configured) == (4, fixed(4))


def test_a_broken_deploy_does_not_change_the_number_of_workers() -> None:
    """What it configures holds once it serves, and not before."""
    pool = after(serving(2), reload(at=6, configured=1), loaded(2, at=6))
    assert pool.wanted.count == 2
    pool = after(pool, GenerationAbandoned(at=7, generation=2, why="…"), reload(at=8), loaded(3, at=8))
    assert after(pool, settled(3, at=9)).wanted.count == 2


def test_a_stop_only_grows_more_urgent() -> None:
    """A reload or a gentler stop does not call it back."""
    stopping = after(serving(), stop(Phase.QUICK, at=5))
    assert after(stopping, stop(Phase.DRAINING, at=6), reload(at=6)) == stopping


def test_a_reload_is_not_settled_before_it_has_begun() -> None:
    """Whoever waits for it must not be told of the generation before."""
    assert serving().is_settled
    assert not after(serving(), reload(at=5)).is_settled


WORKER_NEWS = (
    WorkerNotForked(at=9, slot=1, order=1, why="…"),
    WorkerBorn(at=9, slot=1, order=1, pid=109),
    WorkerReady(at=9, slot=1, order=1),
    events.WorkerBroken(at=9, slot=1, order=1, why="…"),
    WorkerLeft(at=9, slot=1, order=1, why="…"),
    RequestsInterrupted(at=9, slot=1, order=1, number=3),
    SlowRequestsTold(at=9, slot=1, order=1, number=3),
    WorkerExpelled(at=9, slot=1, order=1, why="…"),
    WorkerDumped(at=9, slot=1, order=1),
    WorkerStoodStill(at=9, slot=1, order=1),
    WorkerWentOn(at=9, slot=1, order=1),
    WorkerRetired(at=9, slot=1, order=1, why="…"),
    WorkerKilled(at=9, slot=1, order=1, why="…"),
    exited(1, 1, at=9),
)


@pytest.mark.parametrize("news", WORKER_NEWS, ids=lambda news: type(news).__name__)
def test_news_of_an_incarnation_long_gone_changes_nothing(news: Event) -> None:
    """Slot and order name one incarnation; the slot alone does not."""
    pool = after(serving(), exited(1, 1, at=5), ready(1, 3, at=6, cause=Cause.DIED))
    assert learn(pool, news) == pool


MOLD_NEWS = (
    MoldLoaded(at=9, generation=1),
    MoldBroken(at=9, generation=1, why="…"),
    lost(1, at=9),
)


@pytest.mark.parametrize("news", MOLD_NEWS, ids=lambda news: type(news).__name__)
def test_news_of_a_mold_long_gone_changes_nothing(news: Event) -> None:
    """Neither of a generation that is no longer in the book, nor of one whose mold is lost already."""
    assert learn(service(2), news) == service(2)
    without = after(serving(), lost(1, at=5))
    assert learn(without, news) == without


def test_states_never_move_back() -> None:
    """Late news finds a worker further on and leaves it there."""
    killed = after(serving(), WorkerKilled(at=5, slot=1, order=1, why="first"))
    late = WorkerRetired(at=6, slot=1, order=1, why="late"), WorkerReady(at=6, slot=1, order=1)
    again = WorkerLeft(at=6, slot=1, order=1, why="late"), WorkerKilled(at=6, slot=1, order=1, why="again")
    assert after(killed, late, again) == killed
    assert killed.workers[1].state is State.KILLED
    told = after(serving(), MoldDismissed(at=5, generation=1))
    assert after(told, MoldLoaded(at=6, generation=1), MoldBroken(at=6, generation=1, why="late")) == told
    assert told.generations[1].stage is Stage.LEAVING


# backoff


def test_the_curve_starts_at_once_grows_by_half_and_is_capped() -> None:
    """0, 0.1, 0.15, … 30 seconds."""
    assert [round(backoff.delay(failures), 4) for failures in range(6)] == [0, 0, 0.1, 0.15, 0.225, 0.3375]
    assert backoff.delay(100_000) == 30.0


@pytest.mark.parametrize("count", [1, 8, 2000])
@pytest.mark.parametrize("now", [0.0, 1e7, 1e9])
def test_the_moment_of_the_next_token_brings_a_token(now: float, count: int) -> None:
    """However coarse the clock has become after months: no wait ends before it helps."""
    bucket = Bucket()
    spent = 0
    while backoff.affordable(bucket, now, count, refill=1.0):
        bucket, spent = backoff.take(bucket, now, count, refill=1.0), spent + 1
    assert spent == max(8, count)
    for _ in range(100):
        due = backoff.next_token(bucket, now, count, refill=1.0, spent=0)
        assert due > now
        assert backoff.affordable(bucket, due, count, refill=1.0) == 1
        bucket, now = backoff.take(bucket, due, count, refill=1.0), due


# limits of what may take long


def test_a_fix_does_not_wait_for_ever_behind_what_it_fixes() -> None:
    """A coming generation that never has enough workers ready gives way to a newer one after the boot limit."""
    pool = after(serving(2), reload(at=5), MoldStarted(at=5, generation=2, pid=2000), MoldLoaded(at=6, generation=2))
    pool = after(pool, starting(3, 3, at=6, generation=2), reload(at=7))
    assert decided(pool, at=65.9) == wait(66)
    (order,) = decided(pool, at=66).orders
    assert isinstance(order, AbandonGeneration)
    pool = after(pool, GenerationAbandoned(at=66, generation=2, why=order.why))
    assert decided(pool, at=66) == now(66, StartMold(3))


def test_no_worker_is_forked_beyond_the_slots() -> None:
    """However many linger, there is no slot without its line of memory."""
    pool = after(service(2), loaded(1, at=0))
    assert decided(pool, at=0, policy=replace(POLICY, slots=1)) == now(0, SpawnWorker(1, 1, 1, Cause.FRESH))


def test_a_quick_stop_leaves_time_for_what_handshakes_bring() -> None:
    """It waits for them half its time at most."""
    pool = after(serving(1), stop(Phase.QUICK, at=5), MoldDismissed(at=5, generation=1), lost(1, at=5))
    pool = after(pool, DoorRefused(at=5))
    assert decided(pool, at=5.4, handshakes=1).orders == ()
    assert decided(pool, at=5.5, handshakes=1) == now(5.5, ShutDoor())
