"""The tally: how many workers became ready, how many ended by what, and how many loads ended how.

Counts only grow, and go from image to image with the book. It must not decide anything.
Invariant: who became ready is among the ready or leaving ones of the book, or has ended once.
Read next: ``reasons.py``, the words; ``learn.py``, the only caller.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from prefork.pool.reasons import LoadEnd, Reason
from prefork.pool.records import Pool, State, Worker


def with_ready(pool: Pool) -> Pool:
    return replace(pool, started=pool.started + 1)


def with_ended(pool: Pool, reason: Reason) -> Pool:
    return replace(pool, ended=_more(pool.ended, reason))


def with_load(pool: Pool, end: LoadEnd) -> Pool:
    return replace(pool, loads=_more(pool.loads, end))


def why_ended(worker: Worker, *, is_crash: bool, is_starved: bool) -> Reason:
    """Of a worker whose process is gone.

    :param is_crash: it died by a signal.
    :param is_starved: the kernel killed it for want of memory.
    """
    if worker.reason is not None:
        return worker.reason
    if worker.state is State.STARTING:
        return Reason.BOOT
    if is_starved:
        return Reason.OOM
    return Reason.SIGNAL if is_crash else Reason.EXIT


def _more(counts: Mapping[str, int], word: str) -> Mapping[str, int]:
    return {**counts, str(word): counts.get(word, 0) + 1}
