"""Probation: a generation that serves, and that the one before it still stands behind.

For a while after a reload the mold of the generation before is kept. When too many workers of the new one are lost in
that time, by whatever of their own, the old one serves again, with the settings it had; its workers are forked from
that mold, before the new ones are retired. It must not know how.
Invariant: what a generation on probation falls back to has passed its own, or was the first.
Read next: ``judge_probation`` in ``generations.py``; ``learn.py``, the only caller of what changes the book here.
"""

from msgspec import Struct
from msgspec.structs import replace

from prefork.pool import events, giving_up, health
from prefork.pool.records import Backoff, Outcome, Pool, Probation, Stage

SHARE = 4  # losing as many workers as one in so many of those wanted fails a probation


class Verdict(Struct, frozen=True):
    """What has become of a probation.

    :param why: it failed; empty where it is passed.
    :param back_to: the generation that serves again; ``None`` where the failed one has to serve on.
    """

    why: str = ""
    back_to: int | None = None


def verdict(pool: Pool, probation: Probation) -> Verdict | None:
    """How the probation has ended before its time; ``None`` while it goes on."""
    why = _why_failed(pool, probation)
    if why is None:
        return None
    mold = pool.generations.get(probation.fallback)
    if mold is not None and mold.stage is Stage.LOADED:
        return Verdict(why, probation.fallback)
    return Verdict(f"{why}; it has to serve on, for the mold of generation {probation.fallback} is lost")


def _why_failed(pool: Pool, probation: Probation) -> str | None:
    is_newest = pool.newest == probation.generation  # else failures are those of a newer one
    if is_newest and pool.backoff.failures >= giving_up.tries(pool, probation.generation):
        return f"on probation, {health.why_unproven(pool)}"
    if probation.losses >= max(giving_up.FIRST_TRIES, pool.wanted.count // SHARE):
        return f"on probation, it lost {probation.losses} workers; the last one {probation.why}"
    return None


# the book


def begin(pool: Pool, event: events.GenerationSettled) -> Probation | None:
    """The probation of a generation that begins to serve, if it has one; ``pool`` is as it was before.

    One that comes while its predecessor is on probation falls back to what that one would. Where there is nothing to
    fall back to, as at the first start, there is no probation.
    """
    if not event.probation:
        return None
    until = event.at + event.probation
    if pool.probation is not None:
        return replace(pool.probation, generation=event.generation, until=until, losses=0, why="")
    # one that is being loaded anew may be loaded from code that was changed meanwhile
    wanted, mold = pool.wanted, pool.generations.get(pool.serving)
    if mold is None or mold.stage is not Stage.LOADED:
        return None
    return Probation(event.generation, pool.serving, until, wanted.configured, wanted.scaled)


def ended(pool: Pool, event: events.ProbationEnded) -> Pool:
    """What it fell back to is no longer needed."""
    last_load = Outcome(event.at, event.generation, event.why)
    return replace(pool, probation=None, last_load=last_load)


def rolled_back(pool: Pool, event: events.GenerationRolledBack) -> Pool:
    """The generation before serves, with the number of workers it was configured for."""
    probation, wanted = pool.probation, pool.wanted
    assert probation is not None, "only a generation on probation is rolled back"
    if wanted.configured != probation.configured:
        wanted = replace(wanted, configured=probation.configured, scaled=probation.scaled)
        wanted = replace(wanted, count=wanted.bounds.clip(wanted.count))
    owed = pool.backoff
    if pool.newest == event.generation:  # else failures are those of a newer one
        owed = Backoff(death_tokens=owed.death_tokens)
    last_load = Outcome(event.at, event.generation, event.why)
    return replace(pool, serving=event.back_to, probation=None, wanted=wanted, backoff=owed, last_load=last_load)
