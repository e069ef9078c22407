"""Metrics: one report in Prometheus' text format, by its conventions for names and units.

They are made anew from what the master counts, so whatever happens to workers or to this process, no counter goes back;
they begin anew with a new master, and with one of a version that cannot read the book of the one before.
Only who wants metrics imports this, for it needs ``prometheus-client``. It must not know how a report came.
Invariant: what is not known has no sample; what has not happened yet is a 0 from the beginning.
Read next: ``docs/metrics.md``, the same for users.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from prefork.admin.health import is_ready
from prefork.control.messages import ServiceStatus
from prefork.control.report import Report
from prefork.histogram import BOUNDS_NS
from prefork.pool.reasons import LoadEnd, Reason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("starting", "idle", "busy", "retiring", "expelled", "killed")
_LEADING = ("1", "25", "5")  # of the bounds that are told: three to a decade

Sample = tuple[list[str], float]  # label values, and the value


def expose(report: Report | None, memory_limit: int | None = None) -> bytes:
    """The text.

    :param report: ``None`` where the master does not answer.
    :param memory_limit: bytes that the instance may use.
    """
    return generate_latest(_Collection(report, memory_limit))


class _Collection:
    def __init__(self, report: Report | None, memory_limit: int | None) -> None:
        self._report = report
        self._memory_limit = memory_limit

    def collect(self) -> Iterator[Metric]:
        yield _gauge("prefork_up", "Whether the master answers.", [([], float(self._report is not None))])
        if self._report is not None:
            yield from _of_instance(self._report)
            yield from _of_services(self._report)
            yield from _of_memory(self._report, self._memory_limit)


def _of_instance(report: Report) -> Iterator[Metric]:
    snapshot = report.snapshot
    info = ([snapshot.name, snapshot.package], 1.0)
    yield _gauge(
        "prefork_build_info", "The instance, and the version of its master.", [info], "instance_name", "version"
    )
    uptime: Sample = ([], snapshot.uptime_seconds)
    yield _gauge("prefork_uptime_seconds", "For how long the master has run, upgrades included.", [uptime])
    restarts: Sample = ([], float(snapshot.admin_restarts))
    yield _counter("prefork_admin_restarts_total", "How often the admin process was started anew.", [restarts])


def _of_services(report: Report) -> Iterator[Metric]:
    services = report.snapshot.services

    def each(value: str) -> list[Sample]:
        return [([service.name], float(getattr(service, value))) for service in services]

    yield _gauge("prefork_workers", "Workers now, by state.", _states(report), "service", "state")
    yield _gauge(
        "prefork_workers_wanted", "Workers wanted by configuration, operators and load.", each("wanted"), "service"
    )
    for number, bound in enumerate(("min", "max")):
        samples = [([service.name], float(service.configured[number])) for service in services]
        text = f"The {'least' if bound == 'min' else 'most'} workers by the configuration."
        yield _gauge(f"prefork_workers_configured_{bound}", text, samples, "service")
    yield _counter("prefork_requests_total", "Requests handled.", each("requests"), "service")
    yield _counter("prefork_request_errors_total", "Requests whose handler raised.", each("errors"), "service")
    yield _durations(services)
    yield _counter(
        "prefork_busy_seconds_total", "Time that handlers took, all together.", each("busy_seconds"), "service"
    )
    text = "Share of the room for requests that is taken now, from 0 to 1."
    yield _gauge("prefork_saturation_ratio", text, [([s.name], _saturation(s, report)) for s in services], "service")
    all_busy = [([service.name], service.all_busy_seconds or 0.0) for service in services]
    yield _gauge(
        "prefork_all_busy_seconds", "For how long no worker has had room; 0 where one has.", all_busy, "service"
    )
    yield from _queues(services)
    yield _counter("prefork_workers_started_total", "Workers that became ready.", each("started"), "service")
    ended = _by_word(Reason, {service.name: service.ended for service in services})
    yield _counter("prefork_workers_ended_total", "Workers that ended, by the reason.", ended, "service", "reason")
    loads = _by_word(LoadEnd, {service.name: service.loads for service in services})
    yield _counter("prefork_reloads_total", "Loads of a generation, by how they ended.", loads, "service", "outcome")
    ends = [(s.name, s.last_load) for s in services if s.last_load is not None]
    last = [([name], float(load.outcome == LoadEnd.SERVES and not load.why)) for name, load in ends]
    text = "Whether the last generation that was asked for serves, and has not failed its probation."
    yield _gauge("prefork_last_reload_successful", text, last, "service")
    yield _gauge("prefork_generation", "The generation that serves; 0 until one does.", each("generation"), "service")
    ready = [([service.name], float(is_ready(service))) for service in services]
    yield _gauge("prefork_ready", "Whether the service should get new clients, as /readyz says.", ready, "service")
    degraded = [([service.name], float(service.degraded is not None)) for service in services]
    yield _gauge("prefork_degraded", "Whether workers keep dying, or cannot be replaced.", degraded, "service")
    yield _gauge("prefork_paused", "Whether an operator lets clients wait.", each("is_paused"), "service")
    failed = [([service.name], float(bool(service.failed))) for service in services]
    yield _gauge("prefork_failed", "Whether the service was given up.", failed, "service")


def _states(report: Report) -> list[Sample]:
    samples = []
    for service, workers in report.workers.items():
        counts = Counter(worker.state for worker in workers)
        samples += [([service, state], float(counts[state])) for state in STATES]
    return samples


def _by_word(words: Iterable[str], counts: Mapping[str, Mapping[str, int]]) -> list[Sample]:
    """The known ones from the beginning, so that the first of its kind is an increase.

    :param counts: by service, then by word.
    """
    samples: list[Sample] = []
    for service, counted in counts.items():
        told = {**dict.fromkeys(map(str, words), 0), **counted}
        samples += [([service, word], float(count)) for word, count in told.items()]
    return samples


def _saturation(service: ServiceStatus, report: Report) -> float:
    ready = [worker for worker in report.workers[service.name] if worker.state in ("idle", "busy")]
    room = len(ready) * service.at_once
    if not room:
        return float(service.wanted > 0)
    return min(1.0, sum(len(worker.current) for worker in ready) / room)


def _queues(services: Sequence[ServiceStatus]) -> Iterator[Metric]:
    found = [([service.name, queue.bind], queue) for service in services for queue in service.queues]
    labels = ("service", "bind")
    waiting = [(values, float(queue.waiting)) for values, queue in found]
    yield _gauge("prefork_accept_queue_length", "Clients, or datagrams, that wait in the kernel.", waiting, *labels)
    limits = [(values, float(queue.limit)) for values, queue in found if queue.limit is not None]
    yield _gauge("prefork_accept_queue_limit", "Clients beyond which the kernel turns others away.", limits, *labels)
    dropped = [(values, float(queue.dropped)) for values, queue in found if queue.dropped is not None]
    yield _counter("prefork_datagrams_dropped_total", "Datagrams for which the kernel had no room.", dropped, *labels)
    full = [(values, float(queue.overflows)) for values, queue in found if queue.overflows is not None]
    text = "Attempts to connect for which the kernel had no room; clients repeat them, and each counts."
    yield _counter("prefork_accept_queue_overflows_total", text, full, *labels)


def _durations(services: Sequence[ServiceStatus]) -> Metric:
    """Of our buckets three to a decade: their bounds are exact, so nothing is lost but detail."""
    text = "How long requests took."
    family = HistogramMetricFamily("prefork_request_duration_seconds", text, labels=["service"])
    for service in services:
        if not service.service_times:  # a master that does not tell
            continue
        sums = list(accumulate(service.service_times))
        told = [
            (f"{bound / 1e9:g}", sums[n]) for n, bound in enumerate(BOUNDS_NS) if str(bound).rstrip("0") in _LEADING
        ]
        buckets = [(bound, float(count)) for bound, count in [*told, ("+Inf", sums[-1])]]
        family.add_metric([service.name], buckets, service.busy_seconds)
    return family


def _of_memory(report: Report, limit: int | None) -> Iterator[Metric]:
    """A sum in which one is missing would only mislead, so it has no sample."""
    kinds = [(process.pid, process.service, process.kind) for process in report.snapshot.processes]
    kinds += [
        (worker.pid, name, "worker") for name, workers in report.workers.items() for worker in workers if worker.pid
    ]
    sums: dict[tuple[str, str], int] = {}
    lacking = set()
    for pid, service, kind in kinds:
        usage = report.usage.get(pid)
        if usage is None or usage.pss is None:
            lacking.add((service, kind))
        else:
            sums[service, kind] = sums.get((service, kind), 0) + usage.pss
    samples = [(list(key), float(size)) for key, size in sums.items() if key not in lacking]
    text = "Memory, what is shared counted in shares."
    yield _gauge("prefork_memory_pss_bytes", text, samples, "service", "process")
    if limit is not None:
        text = "Memory that the instance may use: what its control group allows, or the machine has."
        yield _gauge("prefork_memory_limit_bytes", text, [([], float(limit))])
    unread: list[Sample] = [([], float(report.unread))]
    yield _gauge("prefork_memory_unread_processes", "Processes whose memory could not be read, or not yet.", unread)
    if report.usage:
        age = time.monotonic() - min(usage.at for usage in report.usage.values())
        yield _gauge("prefork_memory_age_seconds", "How old the oldest of these figures is.", [([], age)])


def _gauge(name: str, text: str, samples: Iterable[Sample], *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), samples)


def _counter(name: str, text: str, samples: Iterable[Sample], *labels: str) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Iterable[Sample]) -> Metric:
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
