"""Reports as a master would tell them, but for what a test says."""

from typing import Any

from prefork.control.messages import RequestStatus, ServiceStatus, Snapshot, WorkerStatus
from prefork.histogram import BUCKETS
from tests import snapshots


def service(**state: Any) -> ServiceStatus:
    """One that has served nobody yet."""
    return snapshots.service(**{"requests": 0, "service_times": [0] * BUCKETS, **state})


def snapshot(*services: ServiceStatus, **state: Any) -> Snapshot:
    common = {"name": "shop", "pid": 1, "package": "0.1.0", "uptime_seconds": 12.5}
    return Snapshot(**{**common, **state}, services=list(services))


def worker(slot: int, state: str, busy: int = 0) -> WorkerStatus:
    """:param busy: requests under way."""
    current = [RequestStatus(peer="10.0.0.7:51022", number=n, age_seconds=0.1) for n in range(busy)]
    return WorkerStatus(slot=slot, pid=100 + slot, generation=1, state=state, state_seconds=1.0, current=current)
