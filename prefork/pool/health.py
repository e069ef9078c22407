"""How a service is: what keeps it from having the workers it wants, if anything does that will not pass by itself.

One answer for rules, status and whoever asks. Invariant: a service in trouble says what it waits for, and until when.
Read next: ``backoff.py``, how long it waits.
"""

from msgspec import Struct

from prefork.pool import backoff
from prefork.pool.records import PROVEN_AFTER_SECONDS, Pool, Stage


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
    if now < owed.refused_until:
        return Trouble("the machine refuses to fork", owed.refusals, owed.refused_until, owed.refused_until)
    mold = pool.generations.get(pool.serving)
    if mold is not None and mold.stage in (Stage.LOST, Stage.BROKEN):
        return Trouble(f"no worker can be replaced: {mold.why}", mold.losses, mold.since + backoff.delay(mold.losses))
    proven_at = owed.failed_at + backoff.delay(owed.failures) + PROVEN_AFTER_SECONDS
    if owed.failures > 1 and (owed.crashed or now < proven_at):
        why, ends_at = "its workers die before they have proven themselves", None if owed.crashed else proven_at
        return Trouble(why, owed.failures, backoff.next_try(owed), ends_at)
    return None
