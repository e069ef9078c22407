"""How a service is: what keeps it from having the workers it wants, if anything does that will not pass by itself.

One answer for rules, status and whoever asks. A row of failures ends when an attempt that came after them has proven
itself: until then the service is on trial, however calm it looks.
Invariant: a service in trouble says what it waits for, and until when; and whoever is on trial is a living worker, or
one owed where somebody is missing.
Read next: ``backoff.py``, how long it waits.
"""

from collections.abc import Mapping

from msgspec import Struct

from prefork.pool import backoff
from prefork.pool.records import PROVEN_AFTER_SECONDS, Pool, Reading, Stage, State, is_proven


class Trouble(Struct, frozen=True):
    """Why the service is degraded.

    :param failures: of this kind, in a row.
    :param next_try: the moment of the next attempt; one in the past is under way.
    :param ends_at: when it is over if nothing else happens; ``None`` where only news can end it.
    """

    why: str
    failures: int
    next_try: float
    ends_at: float | None = None


def trouble(pool: Pool, now: float) -> Trouble | None:
    """What keeps workers away; ``None`` of a service that is well, or that stops."""
    if pool.is_stopping:
        return None
    owed = pool.backoff
    if owed.refusals and (now < owed.refused_until or _awaits_births(pool)):
        ends_at = None if _awaits_births(pool) else owed.refused_until
        return Trouble("the machine refuses to fork", owed.refusals, owed.refused_until, ends_at)
    mold = pool.generations.get(pool.serving)
    if mold is not None and mold.losses and mold.stage is not Stage.LOADED:
        wait = 0.0 if mold.stage is Stage.LOADING else backoff.delay(mold.losses)
        why = f"no worker can be replaced: {mold.why or 'its mold is loaded anew'}"
        return Trouble(why, mold.losses, mold.since + wait)
    if owed.failures > 1:
        why = f"its workers die before they have proven themselves; the last one {owed.why}"
        return Trouble(why, owed.failures, backoff.next_try(owed))
    return None


def _awaits_births(pool: Pool) -> bool:
    born = sum(worker.is_living and worker.pid is not None for worker in pool.workers.values())
    return born < pool.wanted.count or any(worker.pid is None for worker in pool.workers.values())


def why_unproven(pool: Pool) -> str:
    """What to say of failures in a row."""
    owed = pool.backoff
    return f"its workers died {owed.failures} times in a row before they had proven themselves; the last one {owed.why}"


def row_ends_at(pool: Pool, slots: Mapping[int, Reading]) -> float | None:
    """When failures are a row no more; ``None`` where only news can end it, or there is none.

    :param slots: what the scoreboard says.
    """
    owed = pool.backoff
    if not owed.failures:
        return None
    # who was ordered before the failure is of an attempt that says nothing of what came after it
    on_trial = [
        worker
        for worker in pool.in_state(State.STARTING, State.READY)
        if worker.generation == pool.newest and worker.ordered_at >= owed.failed_at
    ]
    # what is owed is tried while somebody is missing; successors of the worn out are not, who serve on
    is_missing = sum(worker.is_living for worker in pool.workers.values()) < pool.wanted.count
    if not on_trial and not (owed.crashed and is_missing):
        return owed.failed_at + backoff.FORGOTTEN_AFTER
    ends = []
    for worker in on_trial:
        reading = slots.get(worker.slot)
        requests = reading.requests if reading is not None else 0
        if worker.ready_at is not None and (requests or not owed.is_by_requests):
            is_quick = is_proven(worker, requests, worker.ready_at)
            ends.append(worker.ready_at + (0.0 if is_quick else PROVEN_AFTER_SECONDS))
    return min(ends, default=None)
