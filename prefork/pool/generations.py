"""Generations: the next one is loaded, settles or is given up, passes its probation or not, and its mold goes at last.

It must not know how code is loaded; when a generation has failed stands in ``giving_up.py`` and ``probation.py``.
Invariant: the coming generation serves only once as many of its workers are ready as are wanted.
Read next: ``staffing.py``, whose workers make the coming one ready.
"""

from collections.abc import Iterator

from prefork.pool import backoff, emergency, giving_up, probation, reforking
from prefork.pool.orders import (
    AbandonGeneration,
    DismissMold,
    EndProbation,
    FailService,
    KillMold,
    RollBack,
    SettleGeneration,
    StartMold,
)
from prefork.pool.records import Generation, Policy, Pool, Stage, State
from prefork.pool.wishes import Later, Readings, Wish, when_due


def abandon_failed(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Give up the coming generation if it cannot load, cannot boot or will not become ready."""
    if pool.coming is None or pool.is_stopping:
        return
    coming = pool.generations[pool.coming]
    why = giving_up.why_failed(pool, coming)
    if why is not None:
        yield AbandonGeneration(pool.coming, why) if pool.serving else FailService(why)
    elif pool.serving and pool.wanted.generation > pool.coming and coming.stage is Stage.LOADED:
        # it flaps, or its predecessors drain long: a fix must not wait for ever behind what it fixes
        why = f"not enough of its workers were ready at once within {policy.boot:g} s, and a newer one is asked for"
        yield from when_due(pool.counts_from(coming.since) + policy.boot, now, AbandonGeneration(pool.coming, why))


def judge_probation(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Go back to the generation before when too many workers of the new one are lost, or else end its probation."""
    if pool.probation is None or pool.is_stopping:
        return
    generation, verdict = pool.probation.generation, probation.verdict(pool, pool.probation)
    if verdict is None:
        yield from when_due(pool.probation.until, now, EndProbation(generation))
    elif verdict.back_to is None:
        yield EndProbation(generation, verdict.why)
    else:
        yield RollBack(generation, verdict.back_to, verdict.why)


def settle_coming(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Let the coming generation serve once as many of its workers are ready as are wanted."""
    if pool.coming is None or pool.is_stopping or pool.generations[pool.coming].stage is not Stage.LOADED:
        return
    ready = [w for w in pool.in_state(State.READY) if w.generation == pool.coming]
    if len(ready) >= pool.wanted.count:
        yield SettleGeneration(pool.coming)


def refork(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Let a worker that has served much become the mold of the next generation, once it has a successor."""
    step = reforking.next_step(pool, readings.slots, readings.memory, policy, now)
    if step is not None:
        yield from when_due(step.due, now, step.order)


def load_afresh(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Load the code anew when so many workers died by a signal that what they inherited may be spoilt."""
    step = emergency.next_step(pool, policy, now)
    if step is not None:
        yield from when_due(step.due, now, step.order)


def start_mold(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Load the next generation when one is asked for, and load a generation anew whose mold was lost."""
    if pool.is_stopping:
        return
    if pool.coming is None and pool.wanted.generation > pool.last_generation:
        yield StartMold(pool.wanted.generation)
    for number in (pool.coming, pool.serving):
        generation = pool.generations.get(number or 0)
        if generation is not None and generation.stage is Stage.LOST and not _is_failed(pool, generation):
            due = generation.since + backoff.delay(generation.losses)
            if now >= due:
                yield StartMold(generation.number)
            else:
                yield Later(due)


def _is_failed(pool: Pool, generation: Generation) -> bool:
    return generation.number == pool.coming and giving_up.why_failed(pool, generation) is not None


def dismiss_molds(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Send away the molds that nobody will be forked from any more, and kill those that do not answer."""
    for generation in pool.generations.values():
        if generation.stage is Stage.KILLED:
            continue
        since = pool.counts_from(generation.since)
        if generation.stage is Stage.LEAVING:
            why = "it did not leave when told"
            yield from when_due(since + policy.quick, now, KillMold(generation.number, why))
        elif pool.is_stopping or generation.number not in pool.kept:
            if generation.stage is Stage.LOADING:
                yield KillMold(generation.number, "it is no longer needed")
            else:
                yield DismissMold(generation.number)
        elif generation.stage is Stage.LOADING:
            why = f"the application was not loaded within {policy.boot:g} s; raise the boot limit if it needs longer"
            yield from when_due(since + policy.boot, now, KillMold(generation.number, why))
        elif generation.stage is Stage.BROKEN and generation.pid is not None:
            yield DismissMold(generation.number)
        elif generation.stage is Stage.LOADED:
            unborn = [w.since for w in pool.workers.values() if w.pid is None and w.generation == generation.number]
            if unborn:
                why = f"it did not answer an order to fork within {policy.boot:g} s"
                due = pool.counts_from(min(unborn)) + policy.boot
                yield from when_due(due, now, KillMold(generation.number, why))
