"""Health: whether an instance is ready for clients, and if not, why.

It must not know who asks.
Invariant: an instance without a reason is ready.
"""

from collections.abc import Iterator

from prefork.control.messages import ServiceStatus, Snapshot

_NOT_YET = ("starting", "stopping")


def why_not_ready(snapshot: Snapshot) -> list[str]:
    """A line for each service that should get no new clients now."""
    return [f"{service.name}: {why}" for service in snapshot.services for why in _reasons(service)]


def is_ready(service: ServiceStatus) -> bool:
    return not any(_reasons(service))


def _reasons(service: ServiceStatus) -> Iterator[str]:
    if service.failed:
        yield f"failed: {_last_line(service.failed)}"
    elif service.phase in _NOT_YET:
        yield service.phase
    elif service.degraded is not None:
        yield f"degraded: {_last_line(service.degraded.why)}"
    elif service.phase == "reloading" and service.ready < service.wanted:
        yield f"reloading, and {service.ready} of {service.wanted} workers are ready"
    if service.is_paused:
        yield "paused by an operator"


def _last_line(text: str) -> str:
    """Of a traceback that is the part that matters."""
    return text.rstrip().rpartition("\n")[2].strip()
