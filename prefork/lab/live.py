"""What a running service did in a window of time, from two or more of its reports; nothing is sent to it.

What an instance counts only ever grows, so a window is a difference; what is seen at a moment only (queues, workers
without room) is an average over looks. It must not know how reports come, nor what follows from a window.
Invariant: reports of an instance that began anew are never mixed with those before.
Sources: Cox and Lewis, The Statistical Analysis of Series of Events, 1966: the index of dispersion of counts, variance
by mean, tends to the squared coefficient of variation of the times between arrivals.
Read next: ``live_watch.py``, who looks; ``live_advice.py``, what follows.
"""

import itertools
from collections.abc import Sequence
from statistics import fmean, variance
from typing import NamedTuple

import msgspec

from prefork import histogram
from prefork.control.messages import ServiceStatus
from prefork.control.report import Report

QUANTILES = 200  # of a service time
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
    :param service_seconds: quantiles of the service time, evenly spaced; empty where nothing was served.
    :param busy: requests under way, on average; ``workers``: that were ready, likewise.
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
    busy: float
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
    def utilisation(self) -> float:
        """The share of their room that workers filled, 1 is all of it."""
        room = self.workers * self.at_once
        return min(1.0, self.busy / room) if room else 0.0

    @property
    def pool(self) -> int:
        """Workers there may be: those that are ready, or of a pool that sizes itself the most."""
        low, high = self.configured
        return self.ready if low == high else high

    @property
    def service_scv(self) -> float:
        mean = fmean(self.service_seconds)
        return fmean((one - mean) ** 2 for one in self.service_seconds) / mean**2


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
        service_seconds=quantiles(counts, mean),
        service_mean=mean,
        busy=max(0.0, _busy(looks[-1], name) - _busy(looks[0], name)) / seconds,
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


def quantiles(counts: Sequence[int], mean: float) -> list[float]:
    """Of the durations that a histogram counted, evenly spaced; such that they have the mean that is known exactly.

    Within a bucket durations are taken to lie evenly on a logarithmic scale.

    :param mean: seconds.
    """
    total = sum(counts)
    if not total:
        return []
    found: list[float] = []
    bounds = (*histogram.BOUNDS_NS, histogram.BOUNDS_NS[-1])
    seen, number = 0, 0
    for position in range(QUANTILES):
        rank = (position + 0.5) / QUANTILES * total
        while seen + counts[number] < rank:
            seen += counts[number]
            number += 1
        high = bounds[number] / 1e9
        low = bounds[number - 1] / 1e9 if number else high / 1.25
        found.append(low * (high / low) ** ((rank - seen) / counts[number]))
    scale = mean / fmean(found) if mean > 0 else 1.0
    return [one * scale for one in found]


def _status(look: Look, name: str) -> ServiceStatus:
    return next(service for service in look.report.snapshot.services if service.name == name)


def _came(look: Look, status: ServiceStatus) -> int:
    """Requests that have come so far, but for a number that stays the same."""
    under_way = sum(len(worker.current) for worker in look.report.workers[status.name])
    return status.requests + under_way + _waiting(status) + _dropped(status)


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
