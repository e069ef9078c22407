"""What becomes of a generation on probation: short histories.

Read next: ``test_invariants.py``, where nothing of it costs a ready worker.
"""

from prefork.pool.events import (
    Event,
    GenerationAbandoned,
    GenerationRolledBack,
    GenerationSettled,
    MoldDismissed,
    ProbationEnded,
    ScaleAsked,
    WorkerReady,
    WorkerRetired,
)
from prefork.pool.orders import (
    Cause,
    DismissMold,
    EndProbation,
    RetireWorker,
    RollBack,
    SpawnWorker,
    StartMold,
)
from prefork.pool.reasons import Reason
from prefork.pool.records import Outcome, Pool, fixed
from tests.pool.simulation import service
from tests.pool.test_rules import (
    QUIET,
    after,
    decided,
    exited,
    loaded,
    lost,
    now,
    ready,
    reload,
    serving,
    starting,
    wait,
)

CRASHED = "on probation, it lost 3 workers; the last one was killed by SIGSEGV"


def settled(generation: int, at: float, probation: float = 30) -> GenerationSettled:
    return GenerationSettled(at=at, generation=generation, probation=probation)


def replaced(slot: int, order: int, generation: int, at: float) -> tuple[Event, ...]:
    """A worker of the new generation is ready, and one of the old one has left."""
    old = order - 2
    left = WorkerRetired(at=at, slot=old, order=old, why="…"), exited(old, old, at=at)
    return *ready(slot, order, at=at, generation=generation), *left


def on_probation() -> Pool:
    """Two workers of generation 2, in slots 3 and 4, serve since second 6, and are on probation for 30 seconds."""
    begun = after(serving(), reload(at=5), loaded(2, at=5))
    return after(begun, replaced(3, 3, 2, at=6), replaced(4, 4, 2, at=6), settled(2, at=6))


def three_losses(pool: Pool) -> Pool:
    """Two that had proven themselves, and a successor that had not."""
    pool = after(pool, exited(3, 3, at=7, requests=50), exited(4, 4, at=8, requests=50))
    return after(pool, ready(1, 5, at=8, generation=2, cause=Cause.DIED), exited(1, 5, at=9))


def test_a_probation_that_nothing_happens_in_is_passed() -> None:
    """Until then the mold of the generation before is kept, and afterwards it is sent away."""
    pool = on_probation()
    assert pool.serving == 2
    assert not pool.is_settled
    assert decided(pool, at=6) == wait(36)
    assert decided(pool, at=36) == now(36, EndProbation(2))
    pool = after(pool, ProbationEnded(at=36, generation=2))
    assert pool.last_load == Outcome(36, 2)
    assert decided(pool, at=36) == now(36, DismissMold(1))
    pool = after(pool, MoldDismissed(at=36, generation=1), lost(1, at=36))
    assert decided(pool, at=36) == QUIET


def test_a_generation_that_loses_too_many_workers_is_rolled_back() -> None:
    """Proven or not: the old mold forks their successors, before the new ones that are left retire."""
    pool = three_losses(on_probation())
    assert decided(pool, at=9) == now(9, RollBack(2, 1, CRASHED))
    pool = after(pool, GenerationRolledBack(at=9, generation=2, back_to=1, why=CRASHED))
    assert (pool.serving, pool.probation, pool.last_load) == (1, None, Outcome(9, 2, CRASHED))
    spawned = [SpawnWorker(slot, slot + 5, 1, Cause.FRESH) for slot in (1, 2)]
    assert decided(pool, at=9) == now(9, *spawned)
    pool = after(pool, ready(1, 6, at=10), ready(2, 7, at=10))
    assert decided(pool, at=10) == now(10, DismissMold(2))


def test_those_that_are_left_serve_until_their_successors_are_ready() -> None:
    """Going back costs no capacity either."""
    pool = after(on_probation(), GenerationRolledBack(at=9, generation=2, back_to=1, why=CRASHED))
    assert decided(pool, at=9) == now(9, SpawnWorker(1, 5, 1, Cause.FRESH))
    pool = after(pool, ready(1, 5, at=10))
    assert decided(pool, at=10) == now(10, RetireWorker(4, 4, "generation 1 replaces it", Reason.RELOAD))


def test_a_row_of_failures_that_began_with_the_reload_is_enough() -> None:
    """Two attempts failed before it served: the third shows that it only seemed to."""
    pool = after(serving(1), reload(at=5, configured=1), loaded(2, at=5))
    for order, at in ((2, 5.0), (3, 5.1), (4, 5.3)):
        cause = Cause.FRESH if order == 2 else Cause.CRASHED
        pool = after(pool, starting(2, order, at, generation=2, cause=cause))
        pool = pool if order == 4 else after(pool, exited(2, order, at=at + 0.05))
    pool = after(pool, WorkerReady(at=6, slot=2, order=4), settled(2, at=6))
    pool = after(pool, WorkerRetired(at=6, slot=1, order=1, why="…"), exited(1, 1, at=6), exited(2, 4, at=7))
    why = "its workers died 3 times in a row before they had proven themselves; the last one was killed by SIGSEGV"
    assert decided(pool, at=7) == now(7, RollBack(2, 1, f"on probation, {why}"))


def test_what_the_generation_configured_is_taken_back_with_it() -> None:
    """A broken deploy changes not even the number of workers."""
    pool = after(serving(), reload(at=5, configured=1), loaded(2, at=5), ready(3, 3, at=6, generation=2))
    pool = after(pool, settled(2, at=6))
    assert (pool.wanted.count, pool.wanted.configured) == (1, fixed(1))
    pool = after(pool, GenerationRolledBack(at=9, generation=2, back_to=1, why="…"))
    assert (pool.wanted.count, pool.wanted.configured) == (2, fixed(2))


def test_what_operators_scaled_meanwhile_is_kept() -> None:
    """A change at run time lasts."""
    pool = after(on_probation(), ScaleAsked(at=7, by=1))
    assert after(pool, GenerationRolledBack(at=9, generation=2, back_to=1, why="…")).wanted.count == 3


def test_a_generation_whose_predecessor_has_no_mold_any_more_has_to_serve_on() -> None:
    """Loading the old one anew would load what is on disk now; whoever waits is told that there is no way back."""
    pool = after(on_probation(), lost(1, at=7))
    assert decided(pool, at=7) == wait(36)
    why = f"{CRASHED}; it has to serve on, for the mold of generation 1 is lost"
    pool = three_losses(pool)
    assert decided(pool, at=9) == now(9, EndProbation(2, why))
    pool = after(pool, ProbationEnded(at=9, generation=2, why=why))
    assert (pool.serving, pool.probation, pool.last_load) == (2, None, Outcome(9, 2, why))


def test_there_is_no_probation_where_there_is_nothing_to_go_back_to() -> None:
    """At the first start; and where the old mold was lost already, and may find new code."""
    assert after(service(1), loaded(1, at=0), ready(1, 1, at=0), settled(1, at=0)).probation is None
    pool = after(serving(), reload(at=5), loaded(2, at=5), lost(1, at=5))
    assert after(pool, settled(2, at=6)).probation is None


def test_a_reload_during_a_probation_is_begun_at_once_and_falls_back_to_the_last_good_one() -> None:
    """It may be the fix; three molds are there then, and the one in the middle is nobody's fallback."""
    pool = after(on_probation(), reload(at=10))
    assert decided(pool, at=10) == now(10, StartMold(3))
    pool = after(pool, loaded(3, at=10), ready(1, 5, at=11, generation=3), ready(2, 6, at=11, generation=3))
    pool = after(pool, settled(3, at=11))
    assert pool.probation is not None
    assert (pool.probation.generation, pool.probation.fallback, pool.probation.until) == (3, 1, 41)
    retire = [RetireWorker(slot, slot, "generation 3 replaces it", Reason.RELOAD) for slot in (4, 3)]
    assert decided(pool, at=11) == now(11, *retire)
    pool = after(pool, *(WorkerRetired(at=11, slot=o.slot, order=o.order, why="…") for o in retire))
    assert decided(pool, at=11) == now(11, DismissMold(2))


def test_a_generation_can_be_rolled_back_while_a_newer_one_is_coming() -> None:
    """The newer one goes on; what is missing meanwhile comes from it once it is loaded, and else from the old one."""
    pool = three_losses(after(on_probation(), reload(at=6)))
    pool = after(pool, loaded(3, at=6)[:1])
    assert decided(pool, at=9) == now(9, RollBack(2, 1, CRASHED))
    pool = after(pool, GenerationRolledBack(at=9, generation=2, back_to=1, why=CRASHED))
    assert (pool.serving, pool.coming) == (1, 3)
    assert after(pool, GenerationAbandoned(at=9, generation=3, why="…")).serving == 1
