"""How many workers the load needs, and how fast the pool follows: up by a ramp at once, down after a while unneeded.

A worker is needed that is busy, that is kept spare, or without whom the queue would not be served within a second. The
ramp is Apache's and php-fpm's (1, 2, 4 … 32 a second), but it goes no further than the need. The way down is ours: what
was needed at once at any moment of a window is kept, so that a load that comes and goes within it changes nothing; what
was not goes as fast as it came.

It must not know how load is measured. Invariant: a count given here is within the bounds of what is wanted, and at rest
within them nothing is due.
Read next: ``size_pool`` in ``staffing.py``; ``docs/sizing.md``, what it does to waiting clients.
"""

import math

from msgspec import Struct

from prefork.pool import backoff
from prefork.pool.records import Load, Policy, Pool, State, Wanted

STEP = 1.0  # seconds from one change to the next in the same direction
FASTEST = 32  # workers a step


class Change(Struct, frozen=True):
    """A count of workers to want, from a moment on."""

    due: float
    count: int
    why: str


def next_change(pool: Pool, load: Load, policy: Policy, now: float) -> Change | None:
    """What the load changes, now or at the moment the change says; ``None`` where only news can change anything."""
    wanted = pool.wanted
    needed = wanted.bounds.clip(used(load) + policy.min_spare)
    if needed > wanted.count:
        return _growth(pool, load, needed, now)
    return None if pool.coming else _shrinkage(wanted, load, policy)


def used(load: Load) -> int:
    """Workers that are busy, and as many more as would serve within a second whoever queues now."""
    if not load.queued:
        return math.ceil(load.busy)
    return math.ceil(load.busy + max(1.0, load.queued * min(1.0, load.each / STEP)) / load.at_once)


def _growth(pool: Pool, load: Load, needed: int, now: float) -> Change | None:
    wanted = pool.wanted
    if pool.target is None or len(pool.in_state(State.STARTING, State.READY)) < wanted.count:
        return None  # nobody can be forked, or those wanted already are still coming: both end by news
    # a machine that refuses forks, and code whose workers keep dying, get no more of them for being slow
    due = max(pool.backoff.refused_until, backoff.next_try(pool.backoff))
    step = 1
    if wanted.resized_by > 0:
        due = max(due, wanted.resized_at + STEP)
        if now < wanted.resized_at + 2 * STEP:  # the need has lasted
            step = min(FASTEST, 2 * wanted.resized_by)
    most = needed if load.affordable is None else min(needed, load.affordable)
    count = min(wanted.count + step, most)
    queue = f", {load.queued} queued" if load.queued else ""
    return Change(due, count, f"{load.busy:.3g} busy{queue}") if count > wanted.count else None


def _shrinkage(wanted: Wanted, load: Load, policy: Policy) -> Change | None:
    """Who goes is idle beyond the spare ones now, and was not needed within the window."""
    idle_enough = wanted.bounds.clip(used(load) + policy.max_spare)
    peak = max(load.peak, used(load))
    kept = max(idle_enough, wanted.bounds.clip(peak + policy.min_spare))
    if kept < wanted.count:
        due = wanted.resized_at + STEP if wanted.resized_by < 0 else float("-inf")
        return Change(due, max(kept, wanted.count - FASTEST), f"{peak} needed lately")
    if idle_enough < wanted.count and load.falls_at is not None:  # no news will come of that
        return Change(load.falls_at, wanted.count, "")
    return None


class Window(Struct, frozen=True):
    """What was needed within the last seconds, as far as it was not exceeded since.

    :param seconds: how long what was needed is remembered.
    :param seen: moments with what was needed then, in the order of time; so each is more than all after it.
    """

    seconds: float
    seen: tuple[tuple[float, int], ...] = ()

    def with_need(self, at: float, needed: int) -> "Window":
        """The window at a later moment: what is too long ago is forgotten."""
        seen = tuple(pair for pair in self.seen if pair[0] + self.seconds > at and pair[1] > needed)
        return Window(self.seconds, (*seen, (at, needed)) if needed else seen)

    @property
    def peak(self) -> int:
        return self.seen[0][1] if self.seen else 0

    @property
    def falls_at(self) -> float | None:
        return self.seen[0][0] + self.seconds if self.seen else None


class Pace(Struct, frozen=True):
    """How long requests take, by what was done in about the last second.

    :param seen: moments, with the busy seconds and the requests of all workers up to then.
    """

    seen: tuple[tuple[float, float, int], ...] = ()

    def with_sums(self, at: float, busy_seconds: float, requests: int) -> "Pace":
        """The pace at a later moment. One of the looks that are too long ago is kept to compare with."""
        old = [sums for sums in self.seen if sums[0] <= at - STEP]
        new = [sums for sums in self.seen if at - STEP < sums[0] < at]
        return Pace((*old[-1:], *new, (at, busy_seconds, requests)))

    @property
    def each(self) -> float:
        """Seconds a request takes, no more than ``STEP``: so many also where none was done, and nothing is known."""
        if not self.seen:
            return STEP
        (_, busy_before, before), (_, busy_seconds, requests) = self.seen[0], self.seen[-1]
        return min(STEP, (busy_seconds - busy_before) / (requests - before)) if requests > before else STEP
