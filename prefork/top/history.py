"""What was seen of an instance: the last reports, and what changed from one to the next.

Rates are differences of two reports: what an instance counts only ever grows. It must not know how it is shown.
Invariant: an instance that began anew, and counts from nothing, is never a negative rate; its history begins anew too.
Read next: ``picture.py``, who shows it.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from prefork import histogram
from prefork.control.messages import Recent, ServiceStatus, WorkerStatus
from prefork.control.report import Lately, Report, lately
from prefork.report.table import busy_so_far
from prefork.system.usage import Usage

STROKES = 300  # moments kept: five minutes, a second each
LATELY = 10.0  # seconds that figures are of


class Moment(NamedTuple):
    """One stroke of the sparklines of a service: what happened between two reports.

    :param rate: requests a second.
    :param p99: seconds; ``None`` where nothing was served.
    :param waiting: clients in its queues.
    :param busy: the share of their time that ready workers spent on requests; ``None`` without workers.
    """

    rate: float
    p99: float | None
    waiting: int
    busy: float | None


class Pace(NamedTuple):
    """What a worker did between two reports.

    :param rate: requests a second.
    :param busy: seconds a second that it spent on requests.
    :param cpu: seconds a second that it used a CPU; ``None`` where that was not looked up twice.
    """

    rate: float
    busy: float
    cpu: float | None


class Seen(NamedTuple):
    """A report, and when it came, on the monotonic clock."""

    report: Report
    at: float


class History:
    """See above."""

    def __init__(self) -> None:
        self._seen: deque[Seen] = deque()
        self._moments: dict[str, deque[Moment]] = {}
        self.paces: dict[int, Pace] = {}  # by pid

    @property
    def last(self) -> Seen | None:
        return self._seen[-1] if self._seen else None

    def add(self, report: Report, at: float) -> None:
        """:param at: on the monotonic clock, after the one before."""
        before = self.last
        if before is not None and _is_anew(before.report, report):
            self._seen.clear()
            self._moments.clear()
            before = None
        self._seen.append(Seen(report, at))
        while len(self._seen) > 2 and self._seen[0].at < at - LATELY:
            self._seen.popleft()
        self.paces = {}
        if before is None:
            return
        seconds = at - before.at
        for service in report.snapshot.services:
            self.paces.update(_paces(before.report, report, service.name, seconds))
            recent = _between(before.report, report, service.name, seconds)
            if recent is not None:
                moments = self._moments.setdefault(service.name, deque(maxlen=STROKES))
                moments.append(_moment(recent, service))

    def moments(self, service: str) -> Sequence[Moment]:
        """The oldest first."""
        return tuple(self._moments.get(service, ()))

    def lately(self, service: ServiceStatus) -> Lately | None:
        """What it served in the last seconds; with one report only, what the instance itself remembers."""
        if len(self._seen) < 2:
            return lately(service)
        first, last = self._seen[0], self._seen[-1]
        return lately(replace(service, recent=_between(first.report, last.report, service.name, last.at - first.at)))


def _is_anew(before: Report, after: Report) -> bool:
    return before.snapshot.pid != after.snapshot.pid or before.snapshot.uptime_seconds > after.snapshot.uptime_seconds


def _between(before: Report, after: Report, name: str, seconds: float) -> Recent | None:
    """What a service did between two reports; ``None`` where it is not in both."""
    then = next((service for service in before.snapshot.services if service.name == name), None)
    now = next((service for service in after.snapshot.services if service.name == name), None)
    if then is None or now is None:
        return None
    busy = _busy_so_far(now, after.workers[name]) - _busy_so_far(then, before.workers[name])
    counts = zip(then.service_times or histogram.NOTHING, now.service_times, strict=False)
    return Recent(
        seconds=seconds,
        requests=max(0, now.requests - then.requests),
        errors=max(0, now.errors - then.errors),
        busy_seconds=max(0.0, busy),
        service_times=[max(0, b - a) for a, b in counts],
    )


def _busy_so_far(service: ServiceStatus, workers: Sequence[WorkerStatus]) -> float:
    """Seconds that its requests took, with those under way."""
    return service.busy_seconds + sum(request.age_seconds for worker in workers for request in worker.current)


def _moment(recent: Recent, service: ServiceStatus) -> Moment:
    found = lately(replace(service, recent=recent))
    assert found is not None
    waiting = sum(queue.waiting for queue in service.queues)
    return Moment(found.rate_per_second or 0.0, found.p99_seconds, waiting, found.utilisation)


def _paces(before: Report, after: Report, service: str, seconds: float) -> Mapping[int, Pace]:
    then = {(w.pid, w.slot): w for w in before.workers.get(service, ()) if w.pid is not None}
    return {
        worker.pid: _pace(then[worker.pid, worker.slot], worker, before.usage, after.usage, seconds)
        for worker in after.workers.get(service, ())
        if worker.pid is not None and (worker.pid, worker.slot) in then
    }


def _pace(
    then: WorkerStatus, now: WorkerStatus, before: Mapping[int, Usage], after: Mapping[int, Usage], seconds: float
) -> Pace:
    assert now.pid is not None
    cpu, a, b = None, before.get(now.pid), after.get(now.pid)
    if a is not None and b is not None and b.at > a.at:
        cpu = max(0.0, b.cpu_seconds - a.cpu_seconds) / (b.at - a.at)
    busy = max(0.0, busy_so_far(now) - busy_so_far(then)) / seconds
    return Pace(max(0, now.requests - then.requests) / seconds, busy, cpu)
