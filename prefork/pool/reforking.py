"""Reforking: a worker that has served much becomes the mold of the next generation, with all that it has cached.

From the wish to the promotion: the worker is chosen, gets a successor, is called, and leaves its slot or declines. What
follows is a generation like any other: it settles, or is given up and the one before serves on. It must not know how a
worker becomes a mold.
Invariant: a worker is called only while more are ready than wanted, and no other gets the number it is called for.
Read next: ``generations.py``, where its step is a rule; ``prefork/worker/promotion.py``, the worker's side.
"""

from msgspec.structs import replace

from prefork.pool import events, health, recycling, tally
from prefork.pool.orders import AbandonRefork, AskRefork, CallWorker, Step
from prefork.pool.reasons import Reason
from prefork.pool.records import (
    Generation,
    Policy,
    Pool,
    Reading,
    Refork,
    Stage,
    State,
    Worker,
    is_proven,
)
from prefork.pool.recycling import Memory, Slots

_IDLE = Reading()


# what is to be done


def next_step(pool: Pool, slots: Slots, memory: Memory, policy: Policy, now: float) -> Step | None:
    """:param slots: what the scoreboard says of each slot, and ``memory`` what its worker weighed lately."""
    if pool.is_stopping:
        return None
    if pool.refork is None:
        return _begin(pool, slots, memory, policy, now)
    refork, worker = pool.refork, pool.workers.get(pool.refork.slot)
    if worker is None or not refork.means(worker) or worker.state is not State.READY:
        return Step(AbandonRefork(refork.generation, "the worker chosen is gone"), now)
    if pool.wanted.generation > pool.last_generation:
        return Step(AbandonRefork(refork.generation, "newer code is asked for"), now)
    if (trouble := health.trouble(pool, now)) is not None:  # nobody is replaced then who need not be
        return Step(AbandonRefork(refork.generation, f"it is degraded: {trouble.why}"), now)
    if refork.called_at is not None:
        why = f"worker {refork.slot} did not come to rest within {policy.drain:g} s"
        return Step(AbandonRefork(refork.generation, why), pool.counts_from(refork.called_at, worker) + policy.drain)
    if len(pool.in_state(State.READY)) > pool.wanted.count:
        return Step(CallWorker(refork.slot, refork.order, pool.last_generation + 1), now)
    why = f"the successor of worker {refork.slot} was not ready within {policy.boot:g} s"
    return Step(AbandonRefork(refork.generation, why), pool.counts_from(refork.asked_at) + policy.boot)


def _begin(pool: Pool, slots: Slots, memory: Memory, policy: Policy, now: float) -> Step | None:
    """Where it is configured: as soon as a worker has served enough, once for each generation that can."""
    enough = policy.refork_after
    if not enough or pool.unfit == pool.serving or all(reading.requests < enough for reading in slots.values()):
        return None
    choice = choose(pool, slots, memory, now)
    if isinstance(choice, str):
        return None
    requests = slots.get(choice.slot, _IDLE).requests
    return Step(AskRefork(choice.slot, choice.order, requests), now) if requests >= enough else None


def choose(pool: Pool, slots: Slots, memory: Memory, now: float) -> Worker | str:
    """The worker that has served the most, or why there is none to become a mold now.

    One that is worn out is none: what it is to be rid of, all others would inherit.
    """
    if pool.is_stopping:
        return "the instance is stopping"
    if not pool.serving:
        return "nothing serves yet; ask again when it does"
    if pool.refork is not None:
        return f"worker {pool.refork.slot} is becoming a mold already"
    if pool.coming is not None or pool.wanted.generation > pool.last_generation:
        return f"generation {pool.coming or pool.wanted.generation} is being brought in; ask again when it serves"
    if pool.probation is not None:
        return f"generation {pool.serving} is on probation; ask again when it has passed"
    trouble = health.trouble(pool, now)
    if trouble is not None:
        return f"it is degraded: {trouble.why}; ask again when it is healthy"
    worn = recycling.worn_out(pool, slots, memory, now)
    fit = [worker for worker in pool.in_state(State.READY) if worker.slot not in worn]
    requests = {worker.slot: slots.get(worker.slot, _IDLE).requests for worker in fit}
    proven = [
        worker
        for worker in fit
        if worker.generation == pool.serving
        and worker.pid
        and is_proven(worker, requests[worker.slot], now, is_by_requests=pool.backoff.is_by_requests)
    ]
    if not proven:
        return "no worker that is not worn out has proven itself yet; ask again after ten seconds, or ten requests"
    return max(proven, key=lambda worker: (requests[worker.slot], -worker.slot))


# what is learnt


def asked(pool: Pool, event: events.ReforkAsked) -> Pool:
    if pool.is_stopping or pool.refork is not None:
        return pool
    return replace(pool, refork=Refork(event.slot, event.order, event.at))


def called(pool: Pool, event: events.WorkerCalled) -> Pool:
    """From here on the number is given away, whatever comes of it."""
    if pool.refork is None or (pool.refork.slot, pool.refork.order) != (event.slot, event.order):
        return pool
    wanted = replace(pool.wanted, generation=max(pool.wanted.generation, event.generation), asked=None)
    refork = replace(pool.refork, generation=event.generation, called_at=event.at)
    return replace(pool, wanted=wanted, refork=refork, last_generation=max(pool.last_generation, event.generation))


def promoted(pool: Pool, event: events.WorkerPromoted) -> Pool:
    """Where nobody waits for it any more, it is a mold that nobody needs."""
    worker = pool.workers.get(event.slot)
    if worker is None or worker.order != event.order:
        return pool
    generation = Generation(event.generation, Stage.LOADING, event.at, pid=worker.pid, is_reforked=True)
    workers = {slot: other for slot, other in pool.workers.items() if other is not worker}
    pool = replace(pool, workers=workers, generations={**pool.generations, event.generation: generation})
    pool = tally.with_ended(pool, Reason.PROMOTED)
    if pool.is_stopping or pool.refork is None or pool.refork.generation != event.generation:
        return pool
    return replace(pool, refork=None, coming=event.generation)


def failed(pool: Pool, number: int) -> Pool:
    """A generation was given up, or rolled back; if it was reforked, another would be no better."""
    generation = pool.generations.get(number)
    return replace(pool, unfit=pool.serving) if generation is not None and generation.is_reforked else pool


def abandoned(pool: Pool, event: events.ReforkAbandoned) -> Pool:
    if pool.refork is None or pool.refork.generation != event.generation:
        return pool
    return replace(pool, refork=None, unfit=pool.serving)
