"""How fast the dead are replaced: a curve for attempts that keep failing, and two buckets that bound any pattern.

The curve is einhorn's (1.5 to the power of the failures, capped). The buckets are ours: whatever the workers do,
unproven deaths cost at most ``max(8, N)`` forks a minute beyond the first ``max(8, N)``, proven ones as many a second.
Invariant: between two moments no more replacements are allowed than the buckets held and gained.
"""

from prefork.pool.orders import Cause
from prefork.pool.records import Backoff, Bucket

FIRST_DELAY = 0.1  # seconds
GROWTH = 1.5
LONGEST_DELAY = 30.0  # seconds
FORGOTTEN_AFTER = 60.0  # seconds between a failure and the next attempt; seconds a mold has held
CRASHES_PER = 60.0  # seconds in which the bucket for unproven deaths refills
DEATHS_PER = 1.0  # and the one for proven deaths
_ROUNDING = 1e-3  # of a token: after months of uptime the clock itself is that coarse for thousands of workers


def delay(failures: int) -> float:
    """Seconds to wait after as many failures in a row: the first is replaced at once."""
    if failures <= 1:
        return 0.0
    return min(LONGEST_DELAY, FIRST_DELAY * GROWTH ** min(failures - 2, 50))


def next_try(backoff: Backoff) -> float:
    """The moment from which replacements for unproven deaths are allowed."""
    return backoff.failed_at + delay(backoff.failures) if backoff.failures else float("-inf")


def allowed(owed: Backoff, cause: Cause, asked: int, now: float, count: int) -> tuple[int, float | None]:
    """How many of the replacements ``asked`` for may be forked now, and when the next one may, if that is not all.

    :param count: workers wanted.
    """
    if not asked:
        return 0, None
    if cause is Cause.CRASHED and now < next_try(owed):
        return 0, next_try(owed)
    bucket, refill = (owed.crash_tokens, CRASHES_PER) if cause is Cause.CRASHED else (owed.death_tokens, DEATHS_PER)
    whole = affordable(bucket, now, count, refill)
    if whole >= asked:
        return asked, None
    return whole, next_token(bucket, now, count, refill, whole)


def capacity(count: int) -> int:
    """Tokens a bucket holds for ``count`` wanted workers."""
    return max(8, count)


def affordable(bucket: Bucket, now: float, count: int, refill: float) -> int:
    """Whole tokens in a bucket that refills from empty in ``refill`` seconds."""
    return int(_level(bucket, now, count, refill) + _ROUNDING)


def take(bucket: Bucket, now: float, count: int, refill: float) -> Bucket:
    return Bucket(_level(bucket, now, count, refill) - 1, now)


def next_token(bucket: Bucket, now: float, count: int, refill: float, spent: int) -> float:
    """The moment at which the bucket, ``spent`` tokens poorer than now, holds a whole one again."""
    lacking = 1 - (_level(bucket, now, count, refill) - spent)
    return now + max(0.0, lacking) * refill / capacity(count)


def _level(bucket: Bucket, now: float, count: int, refill: float) -> float:
    return min(capacity(count), bucket.level + (now - bucket.at) * capacity(count) / refill)
