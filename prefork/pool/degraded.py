"""Degraded: a service whose workers keep dying is said to be, is healthy again, or is given up.

It must not know what keeps workers away. Invariant: however long a trouble lasts, it is told once.
Read next: ``health.py``, how a service is; ``giving_up.py``, when it is hopeless.
"""

from collections.abc import Iterator

from prefork.pool import giving_up, health
from prefork.pool.orders import CallDegraded, CallHealthy, FailService, ForgetFailures
from prefork.pool.records import Policy, Pool
from prefork.pool.wishes import Later, Readings, Wish, when_due


def give_up(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Give up a service whose workers keep dying, where there is a limit, unless newer code is asked for already."""
    why = giving_up.why_hopeless(pool, policy.max_failures)
    if why is not None:
        yield FailService(why)


def forget_failures(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """End a row of failures when a successor has proven itself, or nobody is on trial for a while."""
    due = health.row_ends_at(pool, readings.slots)
    if due is not None and not pool.is_stopping:
        yield from when_due(due, now, ForgetFailures())


def tell_health(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Say when the service becomes degraded, and when it is healthy again; a reload tells its outcome instead."""
    if not pool.serving or pool.coming is not None or pool.is_stopping:
        return
    trouble = health.trouble(pool, now)
    if trouble is None:
        if pool.degraded_since is not None:
            yield CallHealthy()
    elif pool.degraded_since is None:
        yield CallDegraded(trouble.why, trouble.failures, trouble.next_try)
    elif trouble.next_try > now:
        yield Later(trouble.next_try)
