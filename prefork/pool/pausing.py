"""Pausing: nobody is accepted, nothing is closed, and clients queue until the service is resumed.

It must not know how workers are told. Invariant: once its order is obeyed, what workers were told is what is wanted.
Read next: ``prefork/worker/wait.py``, where a worker leaves its listeners alone.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from prefork.pool import events
from prefork.pool.orders import TellPause
from prefork.pool.records import Policy, Pool
from prefork.pool.wishes import Readings, Wish


def tell_pause(pool: Pool, readings: Readings, policy: Policy, now: float) -> Iterator[Wish]:
    """Tell workers when the service is paused, and when it is resumed."""
    if pool.is_paused is not pool.wanted.is_paused:
        yield TellPause(pool.wanted.is_paused)


def asked(pool: Pool, event: events.PauseAsked | events.ResumeAsked) -> Pool:
    """A stop serves what is queued all the same: there it has no meaning."""
    if pool.is_stopping:
        return pool
    return replace(pool, wanted=replace(pool.wanted, is_paused=isinstance(event, events.PauseAsked)))


def told(pool: Pool, event: events.PauseTold) -> Pool:
    return replace(pool, is_paused=event.is_paused)
