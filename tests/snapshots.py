"""Snapshots made by hand, for those who show them: usual ones, and what a test changes in that."""

from typing import Any

from prefork.control.messages import ProcessStatus, RequestStatus, ServiceStatus, Snapshot, WorkerStatus
from prefork.control.report import Report
from prefork.system.usage import Usage


def service(**changed: Any) -> ServiceStatus:
    """Two workers of a service that has just begun, and what a test changes in that."""
    usual: dict[str, Any] = {
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
        "requests": 7,
        "errors": 0,
    }
    return ServiceStatus(**(usual | changed))


def worker(slot: int, **changed: Any) -> WorkerStatus:
    usual: dict[str, Any] = {"pid": 1000 + slot, "generation": 1, "state": "idle", "state_seconds": 10.0}
    return WorkerStatus(slot=slot, **(usual | {"age_seconds": 10.0} | changed))


def report(
    *workers: WorkerStatus,
    status: ServiceStatus | None = None,
    usage: dict[int, Usage] | None = None,
    pid: int = 7,
    uptime: float = 3723,
) -> Report:
    """Of one service; its workers are of it."""
    found = status or service()
    snapshot = Snapshot(
        name="shop",
        pid=pid,
        package="1.0",
        uptime_seconds=uptime,
        services=[found],
        processes=[ProcessStatus(kind="master", pid=pid)],
    )
    return Report(snapshot, {found.name: list(workers)}, usage or {})


def request(number: int = 12, peer: str = "10.0.0.7:51022", age: float = 0.25, label: str = "") -> RequestStatus:
    return RequestStatus(peer=peer, number=number, age_seconds=age, label=label)
