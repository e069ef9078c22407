"""Giving up: when a generation that is being brought in has failed, and when a service that served is hopeless.

Failures are counted in attempts: workers that were ordered together and die together are one. Three attempts say enough
of a few workers. Of thousands some always die, so there it takes more: one attempt for each ten that are ready.
It must not know what is done about it. Invariant: a generation of which nobody died has not failed.
Read next: ``health.py``, what ends a row of failures; ``generations.py`` and ``degraded.py``, whose rules ask.
"""

from prefork.pool import health
from prefork.pool.records import Generation, Pool, Stage, State

FIRST_TRIES = 3  # failures in a row before a generation is given up
READY_FOR_A_TRY = 10  # so many of its workers that are ready excuse one


def why_failed(pool: Pool, generation: Generation) -> str | None:
    """Why the coming generation is to be given up; ``None`` while there is hope."""
    if generation.stage is Stage.BROKEN:
        return generation.why
    losses_allowed = 0 if pool.serving else FIRST_TRIES - 1
    if generation.stage is Stage.LOST and generation.losses > losses_allowed:
        return generation.why
    if generation.stage is Stage.LOADED and pool.backoff.failures >= tries(pool, generation.number):
        return health.why_unproven(pool)
    return None


def tries(pool: Pool, generation: int) -> int:
    """How many failures in a row say that the generation is no good."""
    ready = sum(worker.generation == generation for worker in pool.in_state(State.READY))
    return max(FIRST_TRIES, ready // READY_FOR_A_TRY)


def why_hopeless(pool: Pool, max_failures: int) -> str | None:
    """Why a service is to be given up that has served; ``None`` while it goes on trying.

    :param max_failures: so many in a row; 0 is without end.
    """
    if not max_failures or not pool.serving or pool.is_reloading or pool.is_stopping:
        return None
    return health.why_unproven(pool) if pool.backoff.failures >= max_failures else None
