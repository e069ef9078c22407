"""Reports as a master would tell them, but for what a test says."""

from typing import Any

from prefork.control.messages import RequestStatus, ServiceStatus, Snapshot, WorkerStatus
from prefork.histogram import BUCKETS

COMMON: dict[str, Any] = {
    "name": "echo",
    "target": "shop.echo:Handler",
    "binds": ["tcp://127.0.0.1:9000"],
    "mode": "",
    "concurrency": "",
    "phase": "healthy",
    "generation": 1,
    "coming": None,
    "configured": (2, 2),
    "wanted": 2,
    "starting": 0,
    "ready": 2,
    "retiring": 0,
    "orphaned": 0,
    "busy": 0,
    "idle": 2,
    "requests": 0,
    "errors": 0,
    "service_times": [0] * BUCKETS,
}


def service(**state: Any) -> ServiceStatus:
    return ServiceStatus(**{**COMMON, **state})


def snapshot(*services: ServiceStatus, **state: Any) -> Snapshot:
    common = {"name": "shop", "pid": 1, "package": "0.1.0", "uptime_seconds": 12.5}
    return Snapshot(**{**common, **state}, services=list(services))


def worker(slot: int, state: str, busy: int = 0) -> WorkerStatus:
    """:param busy: requests under way."""
    current = [RequestStatus(peer="10.0.0.7:51022", number=n, age_seconds=0.1) for n in range(busy)]
    return WorkerStatus(slot=slot, pid=100 + slot, generation=1, state=state, state_seconds=1.0, current=current)
