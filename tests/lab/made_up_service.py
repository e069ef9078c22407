"""A service that never ran: clients at random, workers by number, told as a master would tell, look by look.

It must not know what is made of the reports. Invariant: the same seed gives the same reports.
"""

import heapq
import random
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from prefork.control.messages import ProcessStatus, QueueStatus, RequestStatus, ServiceStatus, Snapshot
from prefork.control.report import Report
from prefork.histogram import BUCKETS, bucket
from prefork.lab.live import Look
from tests import snapshots

Taken = Callable[[random.Random], float]


def looks(
    workers: int, rate: float, taken: Taken, *, seconds: int = 60, burst: int = 1, seed: int = 1, **changed: Any
) -> list[Look]:
    """One a second, by a queue that is served first come, first served.

    :param rate: clients a second, ``burst`` of them at a time.
    :param taken: seconds that one request takes.
    :param changed: of the service's status.
    """
    dice = random.Random(seed)
    free = [0.0] * workers
    requests: list[tuple[float, float, float]] = []  # came, begun, ended
    now = 0.0
    while now < seconds + 1:
        now += dice.expovariate(rate / burst)
        for _ in range(burst):
            begun = max(now, heapq.heappop(free))
            ended = begun + taken(dice)
            heapq.heappush(free, ended)
            requests.append((now, begun, ended))
    return [Look(_report(workers, requests, float(at), changed), 100.0 + at) for at in range(seconds + 1)]


def _report(workers: int, requests: list[tuple[float, float, float]], at: float, changed: dict[str, Any]) -> Report:
    done = [one for one in requests if one[2] <= at]
    under_way = [one for one in requests if one[1] <= at < one[2]]
    waiting = [one for one in requests if one[0] <= at < one[1]]
    times = [0] * BUCKETS
    for _, begun, ended in done:
        times[bucket(round((ended - begun) * 1e9))] += 1
    current: dict[int, list[RequestStatus]] = {slot: [] for slot in range(workers)}
    for slot, (_, begun, _) in enumerate(under_way):
        current[slot] = [snapshots.request(age=at - begun)]
    status = snapshots.service(
        **{
            "configured": (workers, workers),
            "wanted": workers,
            "ready": workers,
            "busy": len(under_way),
            "idle": workers - len(under_way),
            "requests": len(done),
            "busy_seconds": sum(ended - begun for _, begun, ended in done),
            "service_times": times,
            "queues": [QueueStatus(bind="tcp://127.0.0.1:9000", waiting=len(waiting), limit=2048)],
            "all_busy_seconds": 0.0 if len(under_way) == workers else None,
            **changed,
        }
    )
    told = [snapshots.worker(slot, current=requests) for slot, requests in current.items()]
    return report(status, told, at)


def report(status: ServiceStatus, workers: list[Any], uptime: float, pid: int = 7) -> Report:
    """Of one service."""
    processes = [ProcessStatus(kind="master", pid=pid)]
    snapshot = Snapshot(
        name="shop", pid=pid, package="1.0", uptime_seconds=uptime, services=[status], processes=processes
    )
    return Report(snapshot, {status.name: workers})


def both(first: Report, second: Report, name: str) -> Report:
    """Of an instance that has the service of the second as well, by that name."""
    (service,) = second.snapshot.services
    services = [*first.snapshot.services, replace(service, name=name)]
    (workers,) = second.workers.values()
    return Report(replace(first.snapshot, services=services), {**first.workers, name: workers})
