"""What a running service did in a window of time, from two or more of its reports; nothing is sent to it.

What an instance counts only ever grows, so a window is a difference; what is seen at a moment only (queues, workers
without room) is an average over looks. It must not know how reports come, nor what follows from a window.
Invariant: reports of an instance that began anew are never mixed with those before.
Sources: Cox and Lewis, The Statistical Analysis of Series of Events, 1966: the index of dispersion of counts, variance
by mean, tends to the squared coefficient of variation of the times between arrivals.
Read next: ``live_watch.py``, who looks; ``live_advice.py``, what follows.
"""

import itertools
import math
from collections.abc import Sequence
from statistics import fmean, pstdev, variance
from typing import NamedTuple

import msgspec

from prefork import histogram
from prefork.control.messages import ServiceStatus
from prefork.control.report import Report

QUANTILES = 2000  # of a service time, at most: one of a thousand is still two of them
_FEW_LOOKS = 10  # below it the spread of arrivals is not known: they are taken for random
_SCV = (0.1, 50.0)  # what a window can tell of it


class Look(NamedTuple):
    """:param at: when the report came, on the monotonic clock."""

    report: Report
    at: float


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """See above; of one service. Seconds and bytes throughout.

    :param requests: that were served, ``errors`` those of them that raised.
    :param arrivals: requests served, and what more was under way or queued at the end than at the beginning.
    :param arrival_scv: squared coefficient of variation of the time from one arrival to the next.
    :param service_seconds: quantiles of the service time, evenly spaced, as many as requests, ``QUANTILES`` at most;
        empty where nothing was served.
    :param service_scv: squared coefficient of variation of the service time, ``service_third`` its third moment by the
        third power of the mean: of all that was served, for a quantile may miss what is rare; 0 where nothing was.
    :param busy: requests under way, on average; ``workers``: that were ready, likewise.
    :param busy_spread: standard deviation, over looks, of requests that were under way or queued.
    :param queued: clients in its queues, on average and at most, over looks.
    :param saturated: share of looks at which no ready worker had room for another request.
    :param ready: workers at the end; ``configured``: the least and the most.
    :param worker_bytes: PSS of a worker, ``base_bytes`` of the other processes; ``None`` where nobody may look.
    :param cpus: seconds a second that its workers used; ``None`` likewise.
    """

    service: str
    target: str
    mode: str
    seconds: float
    looks: int
    requests: int
    errors: int
    arrivals: int
    arrival_scv: float
    service_seconds: list[float]
    service_mean: float
    service_scv: float
    service_third: float
    busy: float
    busy_spread: float
    workers: float
    at_once: int
    queued: float
    queued_most: int
    saturated: float
    dropped: int
    ready: int
    configured: tuple[int, int]
    worker_bytes: int | None
    base_bytes: int | None
    cpus: float | None

    @property
    def rate(self) -> float:
        """Arrivals a second."""
        return self.arrivals / self.seconds

    @property
    def workers_bytes(self) -> int:
        """PSS of all its workers, as far as somebody may look."""
        return self.ready * (self.worker_bytes or 0)

    @property
    def utilisation(self) -> float:
        """The share of their room that workers filled, 1 is all of it."""
        room = self.workers * self.at_once
        return min(1.0, self.busy / room) if room else 0.0

    @property
    def pool(self) -> int:
        """Workers there may be: those that are ready, or of a pool that sizes itself the most."""
        low, high = self.configured
        return self.ready if low == high else high


class Bucket(NamedTuple):
    """Durations that a histogram counted between two bounds, in seconds; the last has one and the same twice."""

    low: float
    high: float
    requests: int

    def moment(self, power: int) -> float:
        """The mean of that power of them."""
        width = power * math.log(self.high / self.low)
        return self.low**power * (math.expm1(width) / width if width else 1.0)


def is_anew(before: Report, after: Report) -> bool:
    """Whether another instance answers than before, so that its counts are not those."""
    a, b = before.snapshot, after.snapshot
    if a.pid != b.pid or a.uptime_seconds > b.uptime_seconds:
        return True
    then = {service.name: service.requests for service in a.services}
    return any(service.requests < then.get(service.name, 0) for service in b.services)


def window(looks: Sequence[Look], name: str) -> Window:
    """What the service ``name`` did between the first look and the last.

    :param looks: two at least, all of one instance, all of which know the service.
    """
    statuses = [_status(look, name) for look in looks]
    first, last = statuses[0], statuses[-1]
    seconds = looks[-1].at - looks[0].at
    gaps = [b.at - a.at for a, b in itertools.pairwise(looks)]
    ready = [(a.ready + b.ready) / 2 for a, b in itertools.pairwise(statuses)]
    workers = sum(n * gap for n, gap in zip(ready, gaps, strict=True)) / seconds
    came = [_came(look, status) for look, status in zip(looks, statuses, strict=True)]
    arrivals = [max(0, b - a) for a, b in itertools.pairwise(came)]
    requests = last.requests - first.requests
    counts = [max(0, b - a) for a, b in zip(first.service_times or histogram.NOTHING, last.service_times, strict=False)]
    took = last.busy_seconds - first.busy_seconds
    mean = took / requests if requests else 0.0
    served = buckets(counts, mean)
    scv, third = moments(served)
    others = {process.pid for process in looks[-1].report.snapshot.processes}
    weights = looks[-1].report.usage
    pids = [w.pid for w in looks[-1].report.workers[name] if w.pid is not None]
    known = [pss for pid in pids if pid in weights and (pss := weights[pid].pss) is not None]
    return Window(
        service=name,
        target=last.target,
        mode=last.mode or "prefork",
        seconds=seconds,
        looks=len(looks),
        requests=requests,
        errors=max(0, last.errors - first.errors),
        arrivals=max(requests, came[-1] - came[0], 0),
        arrival_scv=_dispersion(arrivals, gaps),
        service_seconds=quantiles(served),
        service_mean=mean,
        service_scv=scv,
        service_third=third,
        busy=max(0.0, _busy(looks[-1], name) - _busy(looks[0], name)) / seconds,
        busy_spread=pstdev(_there(look, status) for look, status in zip(looks, statuses, strict=True)),
        workers=workers,
        at_once=last.at_once,
        queued=fmean(_waiting(status) for status in statuses),
        queued_most=max(_waiting(status) for status in statuses),
        saturated=fmean(status.all_busy_seconds is not None for status in statuses),
        dropped=max(0, _dropped(last) - _dropped(first)),
        ready=last.ready,
        configured=last.configured,
        worker_bytes=round(fmean(known)) if known else None,
        base_bytes=sum(weights[pid].pss or 0 for pid in others if pid in weights) if known else None,
        cpus=_cpus(looks, name, workers),
    )


def buckets(counts: Sequence[int], mean: float) -> list[Bucket]:
    """What a histogram counted, where there is something; such that it has the mean that is known exactly.

    Within a bucket durations are taken to lie evenly on a logarithmic scale. What has no upper bound takes what the
    others leave of the mean, and at least the last bound.

    :param mean: seconds.
    """
    bounds = [bound / 1e9 for bound in histogram.BOUNDS_NS]
    lows = [bounds[0] / 1.25, *bounds[:-1]]
    found = [Bucket(*one) for one in zip(lows, bounds, counts, strict=False) if one[2]]
    seconds = sum(one.requests * one.moment(1) for one in found)
    if beyond := sum(counts[len(bounds) :]):
        each = max(bounds[-1], (mean * sum(counts) - seconds) / beyond)
        found.append(Bucket(each, each, beyond))
        seconds += each * beyond
    scale = mean * sum(counts) / seconds if found and mean > 0 else 1.0
    return [Bucket(one.low * scale, one.high * scale, one.requests) for one in found]


def quantiles(served: Sequence[Bucket]) -> list[float]:
    """Evenly spaced, each as likely as the others; see ``Window``."""
    total = sum(one.requests for one in served)
    number = min(total, QUANTILES)
    found: list[float] = []
    seen = 0
    for one in served:
        while len(found) < number and (rank := (len(found) + 0.5) / number * total) <= seen + one.requests:
            found.append(one.low * (one.high / one.low) ** ((rank - seen) / one.requests))
        seen += one.requests
    return found


def moments(served: Sequence[Bucket]) -> tuple[float, float]:
    """The squared coefficient of variation, and the third moment by the third power of the mean."""
    total = sum(one.requests for one in served)
    if not total:
        return 0.0, 0.0
    first, second, third = (sum(one.requests * one.moment(power) for one in served) / total for power in (1, 2, 3))
    return max(0.0, second / first**2 - 1), third / first**3


def _status(look: Look, name: str) -> ServiceStatus:
    return next(service for service in look.report.snapshot.services if service.name == name)


def _came(look: Look, status: ServiceStatus) -> int:
    """Requests that have come so far, but for a number that stays the same."""
    return status.requests + _there(look, status) + _dropped(status)


def _there(look: Look, status: ServiceStatus) -> int:
    """Requests under way or queued."""
    return sum(len(worker.current) for worker in look.report.workers[status.name]) + _waiting(status)


def _waiting(status: ServiceStatus) -> int:
    return sum(queue.waiting for queue in status.queues)


def _dropped(status: ServiceStatus) -> int:
    return sum(queue.dropped or 0 for queue in status.queues)


def _busy(look: Look, name: str) -> float:
    """Seconds that its requests have taken so far, with those under way."""
    under_way = sum(request.age_seconds for w in look.report.workers[name] for request in w.current)
    return _status(look, name).busy_seconds + under_way


def _dispersion(arrivals: Sequence[int], gaps: Sequence[float]) -> float:
    """Variance by mean of counts of arrivals, each as if its gap had been as long as all are on average."""
    if len(arrivals) < _FEW_LOOKS or not sum(arrivals):
        return 1.0
    middle = fmean(gaps)
    counts = [count * middle / gap for count, gap in zip(arrivals, gaps, strict=True)]
    return min(max(variance(counts) / fmean(counts), _SCV[0]), _SCV[1])


def _cpus(looks: Sequence[Look], name: str, workers: float) -> float | None:
    """By workers that were looked up at both ends, as many as there were on average; ``None`` where none was."""
    before, after = looks[0].report.usage, looks[-1].report.usage
    pids = [w.pid for w in looks[-1].report.workers[name] if w.pid is not None]
    used = [after[pid].cpu_seconds - before[pid].cpu_seconds for pid in pids if pid in before and pid in after]
    return workers * fmean(used) / (looks[-1].at - looks[0].at) if used else None
