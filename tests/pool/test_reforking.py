"""Named histories of reforking and emergencies: from the wish to the promotion, and every way that ends it before."""

import pytest
from msgspec.structs import replace

from prefork.pool import emergency, reforking
from prefork.pool.events import (
    EmergencyDeclared,
    GenerationAbandoned,
    GenerationRolledBack,
    GenerationSettled,
    MoldGone,
    MoldLoaded,
    ReforkAbandoned,
    ReforkAsked,
    WorkerCalled,
    WorkerExited,
    WorkerPromoted,
)
from prefork.pool.orders import (
    AbandonRefork,
    AskRefork,
    CallWorker,
    Cause,
    DeclareEmergency,
    RetireWorker,
    SpawnWorker,
    StartMold,
    Step,
)
from prefork.pool.reasons import Reason
from prefork.pool.records import (
    Generation,
    Outcome,
    Phase,
    Policy,
    Pool,
    Probation,
    Reading,
    Refork,
    Stage,
    State,
    fixed,
)
from tests.pool.test_rules import (
    POLICY,
    QUIET,
    after,
    busy,
    decided,
    exited,
    loaded,
    now,
    ready,
    reload,
    serving,
    settled,
    stop,
    wait,
)

AUTOMATIC = Policy(drain=30, quick=1, boot=60, refork_after=60)
WARM = {1: Reading(requests=50), 2: Reading(requests=59)}
PRUDENT = Policy(drain=30, quick=1, boot=60, emergency_crashes=3, emergency_window=60)


def asked(slot: int = 2, at: float = 20) -> ReforkAsked:
    return ReforkAsked(at=at, slot=slot, order=slot)


def called(slot: int = 2, generation: int = 2, at: float = 21) -> WorkerCalled:
    return WorkerCalled(at=at, slot=slot, order=slot, generation=generation)


def promoted(slot: int = 2, generation: int = 2, at: float = 22) -> WorkerPromoted:
    return WorkerPromoted(at=at, slot=slot, order=slot, generation=generation)


def succeeded(*more: WorkerCalled) -> Pool:
    """A pool of two that is to refork its second worker, whose successor in slot 3 is ready."""
    return after(serving(), asked(), ready(3, 3, at=21), *more)


# who is chosen


def test_the_worker_that_has_served_the_most_is_chosen() -> None:
    """Among those that have proven themselves."""
    pool = serving()
    assert reforking.choose(pool, WARM, {}, 20) == pool.workers[2]
    assert reforking.choose(pool, {1: Reading(requests=10)}, {}, 5) == pool.workers[1]


def test_one_that_is_worn_out_is_not_chosen() -> None:
    """What it is to be rid of, all others would inherit."""
    pool = serving()
    assert reforking.choose(pool, {**WARM, 2: Reading(requests=100)}, {}, 20) == pool.workers[1]


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        (after(serving(), stop(Phase.DRAINING, at=19)), "stopping"),
        (after(serving(), asked(at=19)), "worker 2 is becoming a mold already"),
        (after(serving(), reload(at=19)), "generation 2 is being brought in"),
        (after(serving(), MoldGone(at=19, generation=1, how="was killed by SIGKILL")), "it is degraded"),
        (
            after(serving(), loaded(2, at=19), GenerationSettled(at=19, generation=2, probation=30)),
            "generation 2 is on probation",
        ),
        (after(serving(), exited(1, 1, at=19), exited(2, 2, at=19)), "has proven itself yet"),
    ],
    ids=["stopping", "under way", "reloading", "degraded", "on probation", "unproven"],
)
def test_there_may_be_none_and_a_reason(pool: Pool, reason: str) -> None:
    """Which an operator reads."""
    assert reason in str(reforking.choose(pool, {}, {}, 20))


def test_it_begins_by_itself_where_it_is_configured() -> None:
    """At so many requests, and not before."""
    assert decided(serving(), at=20, slots=WARM, policy=AUTOMATIC) == QUIET
    enough = {**WARM, 2: Reading(requests=60)}
    assert decided(serving(), at=20, slots=enough, policy=AUTOMATIC) == now(20, AskRefork(2, 2, 60))
    assert decided(serving(), at=20, slots=enough) == QUIET


# until it is called


def test_a_successor_comes_first() -> None:
    """Within the surge; as long as it is not ready the chosen one serves."""
    pool = after(serving(), asked())
    assert decided(pool, at=20) == now(20, SpawnWorker(3, 3, 1, Cause.FRESH))
    assert decided(succeeded(), at=21) == now(21, CallWorker(2, 2, 2))
    pool = succeeded(called())
    assert pool.refork == Refork(2, 2, 20, generation=2, called_at=21)
    assert decided(pool, at=21) == wait(51)
    assert pool.but_called(pool.in_state(State.READY)) == [pool.workers[1], pool.workers[3]]


def test_a_successor_that_does_not_come_ends_it() -> None:
    """Within the boot limit."""
    pool = after(serving(1), asked(slot=1))
    starting = decided(pool, at=20).orders
    assert starting == (SpawnWorker(2, 2, 1, Cause.FRESH),)
    why = "the successor of worker 1 was not ready within 60 s"
    assert reforking.next_step(pool, {}, {}, POLICY, 20) == Step(AbandonRefork(0, why), 80)


def test_the_number_it_is_called_for_is_given_to_nobody_else() -> None:
    """A reload after a refork that was declined gets the next one."""
    declined = ReforkAbandoned(at=22, generation=2, why="it has threads")
    pool = after(succeeded(called()), declined)
    assert decided(pool, at=22) == now(22, RetireWorker(3, 3, "workers wanted: 2", Reason.SURPLUS))
    assert decided(after(succeeded(called()), declined, reload(at=23)), at=23).orders == (StartMold(3),)


# what ends it


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        (after(succeeded(), exited(2, 2, at=22)), "the worker chosen is gone"),
        (after(succeeded(), reload(at=22)), "newer code is asked for"),
        (
            after(succeeded(), MoldGone(at=22, generation=1, how="was killed by SIGKILL")),
            "it is degraded: no worker can be replaced: its mold was killed by SIGKILL",
        ),
    ],
)
def test_it_is_abandoned_for_what_matters_more(pool: Pool, why: str) -> None:
    """Before anything else is decided."""
    assert decided(pool, at=22) == now(22, AbandonRefork(0, why))


def test_a_worker_that_does_not_come_to_rest_is_called_back() -> None:
    """Within the drain limit; it is not killed for it."""
    pool = succeeded(called())
    slots = {2: busy((5, 20.0))}
    assert decided(pool, at=50.9, slots=slots) == wait(51)
    why = "worker 2 did not come to rest within 30 s"
    assert decided(pool, at=51, slots=slots) == now(51, AbandonRefork(2, why))


def test_news_of_a_refork_abandoned_before_changes_nothing() -> None:
    """Neither the answer that comes late, nor one to a call long over."""
    pool = after(succeeded(called()), ReforkAbandoned(at=22, generation=2, why="it has threads"))
    pool = after(pool, asked(slot=1, at=30))
    assert after(pool, ReforkAbandoned(at=31, generation=2, why="it has threads")) == pool


def test_none_is_tried_twice_in_one_generation_unless_asked_for() -> None:
    """It would decline again."""
    enough = {2: Reading(requests=60)}
    pool = after(serving(), asked(), ReforkAbandoned(at=21, generation=0, why="it has threads"))
    assert decided(pool, at=30, slots=enough, policy=AUTOMATIC) == QUIET
    assert reforking.choose(pool, enough, {}, 30) == pool.workers[2]


# promotion


def test_a_promoted_worker_is_the_mold_of_the_coming_generation() -> None:
    """Its slot is free, and what follows is as after a reload."""
    pool = after(succeeded(called()), promoted())
    assert set(pool.workers) == {1, 3}
    assert (pool.coming, pool.refork) == (2, None)
    assert pool.generations[2] == Generation(2, Stage.LOADING, 22, pid=102, is_reforked=True)
    pool = after(pool, MoldLoaded(at=23, generation=2))
    assert decided(pool, at=23).orders == (SpawnWorker(2, 4, 2, Cause.FRESH),)
    pool = after(pool, ready(2, 4, at=24, generation=2), ready(4, 5, at=24, generation=2), settled(2, at=24))
    assert pool.last_load == Outcome(24, 2)


def test_a_promotion_that_nobody_waits_for_any_more_makes_a_mold_to_send_away() -> None:
    """It had accepted before it was called back: a worker is missing then, and nothing else."""
    pool = after(succeeded(called()), ReforkAbandoned(at=52, generation=2, why="too late"), promoted(at=53))
    assert pool.coming is None
    assert pool.generations[2].stage is Stage.LOADING
    assert decided(pool, at=53).orders != ()
    assert set(pool.workers) == {1, 3}


def test_a_reforked_generation_that_fails_makes_its_parents_unfit() -> None:
    """The old one serves on, and is not tried again by itself."""
    gone = MoldGone(at=23, generation=2, how="was killed by SIGSEGV")
    pool = after(succeeded(called()), promoted(), gone)
    why = "its mold was killed by SIGSEGV"
    assert decided(pool, at=23).orders[0].why == why  # type: ignore[attr-defined]
    pool = after(pool, GenerationAbandoned(at=23, generation=2, why=why))
    assert (pool.serving, pool.unfit) == (1, 1)


def test_a_reforked_generation_that_is_rolled_back_makes_its_parents_unfit_too() -> None:
    """It would be rolled back again."""
    pool = after(succeeded(called()), promoted(), MoldLoaded(at=23, generation=2))
    pool = after(pool, GenerationSettled(at=24, generation=2, probation=30))
    pool = after(pool, GenerationRolledBack(at=25, generation=2, back_to=1, why="it lost 3 workers"))
    assert (pool.serving, pool.unfit) == (1, 1)


# emergency


def crashed(slot: int, order: int, at: float) -> WorkerExited:
    return WorkerExited(at=at, slot=slot, order=order, how="was killed by SIGSEGV", requests=50, is_crash=True)


def after_crashes(*moments: float) -> Pool:
    """A pool of five whose workers died one after the other."""
    return after(serving(5), *(crashed(slot, slot, at) for slot, at in enumerate(moments, 1)))


def test_so_many_crashes_within_the_window_are_an_emergency() -> None:
    """The next generation is loaded from fresh code, and the count begins anew."""
    pool = after_crashes(10, 20, 30)
    why = "3 workers died by a signal within 20 s"
    assert decided(pool, at=30, policy=PRUDENT).orders == (DeclareEmergency(why),)
    pool = after(pool, EmergencyDeclared(at=30, why=why))
    assert pool.crashes == ()
    assert decided(pool, at=30, policy=PRUDENT).orders == (StartMold(2),)


@pytest.mark.parametrize(
    ("pool", "policy"),
    [
        (after_crashes(10, 20), PRUDENT),
        (after_crashes(10, 20, 80), PRUDENT),
        (after_crashes(10, 20, 30), POLICY),
        (after(serving(5), *(exited(slot, slot, at=30) for slot in (1, 2, 3))), PRUDENT),
        (after(after_crashes(10, 20, 30), reload(at=30, configured=5)), PRUDENT),
        (after(after_crashes(10, 20, 30), stop(Phase.DRAINING, at=30)), PRUDENT),
        (replace(after_crashes(10, 20, 30), probation=Probation(1, 0, 99, fixed(5))), PRUDENT),
    ],
    ids=["too few", "too far apart", "not configured", "no signals", "fresh code anyway", "stopping", "on probation"],
)
def test_everything_else_is_none(pool: Pool, policy: Policy) -> None:
    """Crashes are replaced, as ever."""
    assert emergency.next_step(pool, policy, 80) is None


def test_from_one_emergency_to_the_next_there_is_a_window() -> None:
    """Whatever dies meanwhile: fresh code that crashes as well is not loaded over and over."""
    pool = after(after_crashes(10, 20, 30), EmergencyDeclared(at=30, why=""))
    pool = after(pool, GenerationAbandoned(at=31, generation=2, why=""), *(crashed(s, s, at=40) for s in (4, 5)))
    pool = after(pool, ready(1, 6, at=41), crashed(1, 6, at=42))
    again = after(pool, ready(2, 7, at=41))
    step = emergency.next_step(settled_at_two(again), PRUDENT, 50)
    assert step is not None
    assert step.due == 90


def settled_at_two(pool: Pool) -> Pool:
    """As if the number asked for had been given away."""
    return replace(pool, last_generation=2)
