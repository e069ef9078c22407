"""Whether runs at a rate can be believed: near saturation a queue takes longer to build up than a run lasts.

How full so many workers are is known from the sweep, where they were kept busy; how long their queue takes to settle
follows from that, and how many requests a percentile needs is arithmetic. Where runs are too short, or requests too
few, theory has to agree. Pure: it must not know how anything was measured.
Invariant: workers that the rate would keep busy all the time are never believed in.
Read next: ``tuner.py``, who asks before it chooses; ``advice.py``, who says what is left to doubt.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from prefork.lab import queueing
from prefork.lab.goals import Goal
from prefork.lab.tuning import Trial, rates
from prefork.report.units import latency, share

FULL = 0.95  # of the throughput: what is nearer to it cannot be told from a queue without end
NEAR = 0.8  # of it: from here on throughput is measured in rounds, and requests take what they take in company
SETTLED = 10  # relaxation times, until percentiles are those that stay
_SURE = 1.645  # standard deviations: the throughput is above that with 95 %
_BESIDE = 1.1  # times the service alone: a wait that is not to be helped
_SEEN = 10  # requests beyond a percentile, for it to mean something


class Asked(NamedTuple):
    """What is to be served, and what one request takes one worker alone."""

    rate: float
    goals: Sequence[Goal]
    service_seconds: Sequence[float]
    at_once: int


def capacity(sweep: list[Trial], workers: int) -> float:
    """Requests a second of so many busy workers: as measured, else on the straight line between those that were.

    Beyond the largest count each worker is taken to do what those did.
    """
    known = {n: fmean(found) for n, found in rates(sweep).items()} | {0: 0.0}
    if workers in known:
        return known[workers]
    last = max(known)
    if workers > last:
        return known[last] * workers / max(1, last)
    low, high = max(n for n in known if n < workers), min(n for n in known if n > workers)
    return known[low] + (known[high] - known[low]) * (workers - low) / (high - low)


def utilisation(asked: Asked, sweep: list[Trial], workers: int) -> float:
    """The rate as a share of what so many can do, at the upper end of what rounds may have been by chance; ``inf`` of
    what can do nothing.
    """
    most = capacity(sweep, workers)
    served = sum(one.due for one in sweep if one.workers == workers)
    _, scv, _ = queueing.moments(asked.service_seconds)
    chance = min(_SURE * math.sqrt(scv / served), 0.5) if served else 0.0
    return asked.rate / most / (1 - chance) if most > 0 else math.inf


def settling(asked: Asked, sweep: list[Trial], workers: int) -> float:
    """Seconds until the queue is as it stays: some of the times in which it forgets how it began.

    Source of the order of that time, mean / (1 - utilisation)² / workers: Odoni and Roth, *An Empirical Investigation
    of the Transient Behavior of Stationary Queueing Systems*, Operations Research 31, 1983.
    """
    found = queueing.station(workers * asked.at_once, asked.rate, _taken(asked, sweep, workers))
    if found.utilisation >= 1:
        return math.inf
    variability = (found.arrival_scv + found.service_scv) / 2
    return SETTLED * variability * found.service_mean / (1 - found.utilisation) ** 2 / found.workers


def is_full(asked: Asked, sweep: list[Trial], workers: int) -> bool:
    return utilisation(asked, sweep, workers) >= FULL


def hindrance(asked: Asked, sweep: list[Trial], workers: int, seconds: float) -> str:
    """Why runs of so many seconds cannot show that a count does: after the number of workers; empty where they can.

    They can where they are long enough, or theory says the same.
    """
    busy = share(utilisation(asked, sweep, workers))
    if is_full(asked, sweep, workers):
        return f"may be {busy} busy, where queues grow longer than runs can show"
    if not is_short(asked, sweep, workers, seconds):
        return ""
    for goal in asked.goals:
        said = _said(asked, sweep, workers, goal)
        if said > reachable(goal, asked.service_seconds):
            says = f"then theory says {goal.name} {_time(said)}, and runs are too short to show it"
            return f"may be {busy} busy: {says}"
    return ""


def objection(asked: Asked, sweep: list[Trial], rounds: Sequence[Trial], least: dict[str, int | None]) -> str:
    """Why a count is not believed to do although its rounds did: as above.

    :param rounds: of that count, at the rate.
    :param least: workers that theory asks for, by name of the goal; ``None`` where it has no number.
    """
    workers = rounds[0].workers
    for goal in asked.goals:
        needed = least.get(goal.name)
        if needed is None or workers >= needed or not is_rare(rounds, goal):
            continue
        said = _said(asked, sweep, workers, goal)
        if said > reachable(goal, asked.service_seconds):
            count = sum(one.due for one in rounds)
            return f"did in {count} requests, too few to see {goal.name}: theory says {_time(said)}"
    return ""


def reachable(goal: Goal, service_seconds: Sequence[float]) -> float:
    """Seconds of the goal; where a single slow request of the first run is beyond that, what more workers can do."""
    alone = sorted(service_seconds)[min(len(service_seconds) - 1, int(goal.share * len(service_seconds)))]
    return max(goal.seconds, _BESIDE * alone)


def is_short(asked: Asked, sweep: list[Trial], workers: int, seconds: float) -> bool:
    """Whether the queue has not settled by then."""
    return seconds < settling(asked, sweep, workers)


def is_rare(rounds: Sequence[Trial], goal: Goal) -> bool:
    """Whether all rounds together have too few requests for the percentile."""
    return sum(one.due for one in rounds) * (1 - goal.share) < 0.99 * _SEEN


def enough(goal: Goal) -> int:
    """Requests that are not too few."""
    return round(_SEEN / (1 - goal.share))


def _said(asked: Asked, sweep: list[Trial], workers: int, goal: Goal) -> float:
    """Seconds by theory; ``inf`` where it sees no end of the queue."""
    taken = _taken(asked, sweep, workers)
    found = queueing.station(workers * asked.at_once, asked.rate, taken)
    return queueing.response_percentile(found, taken, goal.share)


def _taken(asked: Asked, sweep: list[Trial], workers: int) -> Sequence[float]:
    """What requests take: alone, or as the throughput says where that is near, or says that they take less."""
    used = utilisation(asked, sweep, workers)
    slowed = used * workers * asked.at_once / asked.rate / fmean(asked.service_seconds)
    if not math.isfinite(used) or (used < NEAR and slowed > 1):
        return asked.service_seconds
    return [one * slowed for one in asked.service_seconds]


def _time(seconds: float) -> str:
    return latency(seconds) if math.isfinite(seconds) else "without end"
