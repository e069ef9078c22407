"""Owing: a living worker is lost that nobody told to retire, so a replacement is owed for it, and it may be a failure.

It must not decide when the replacement is forked; ``backoff.py`` does.
Invariant: who died of its first request, however long it waited for that, is no better than who died before it.
Read next: ``health.py``, what ends a row of failures.
"""

from msgspec import Struct
from msgspec.structs import replace

from prefork.pool.records import Backoff, Pool, Worker, is_proven


class Loss(Struct, frozen=True):
    """A living worker that is lost: from here on, not from its exit, it is missing.

    :param why: as it follows "the last one".
    :param requests: as many as it had served, and ``under_way`` when it died.
    :param is_sound: not for a fault of its own, so its successor need not prove itself first.
    """

    worker: Worker
    at: float
    why: str
    requests: int = 0
    under_way: int = 0
    is_sound: bool = False

    @property
    def is_of_first_request(self) -> bool:
        return self.under_way > 0 and not self.requests


def owe(pool: Pool, loss: Loss) -> Pool:
    """The book when the worker is lost."""
    if pool.is_stopping or loss.worker.generation not in (pool.serving, pool.coming):
        return pool
    on_probation = pool.probation
    if on_probation is not None and loss.worker.generation == on_probation.generation and not loss.is_sound:
        on_probation = replace(on_probation, losses=on_probation.losses + 1, why=loss.why)
    owed = pool.backoff
    if loss.worker.generation != pool.newest:  # says nothing of the generation its successor will be of
        owed = replace(owed, died=owed.died + 1)
    elif is_proven(loss.worker, loss.requests, loss.at, is_by_requests=loss.is_of_first_request):
        owed = replace(owed, died=owed.died + 1, failures=0)
    elif loss.is_sound:
        owed = replace(owed, died=owed.died + 1)
    else:
        owed = _fail(replace(owed, crashed=owed.crashed + 1), loss)
    return replace(pool, backoff=owed, probation=on_probation)


def _fail(owed: Backoff, loss: Loss) -> Backoff:
    owed = replace(owed, why=loss.why, is_by_requests=loss.is_of_first_request)
    if owed.failures and loss.worker.ordered_at < owed.failed_at:  # of the same attempt as one that failed before
        return owed
    return replace(owed, failures=owed.failures + 1, failed_at=loss.at)
