"""Whether an instance is ready: a table of what its services say."""

from typing import Any

import pytest

from prefork.admin.health import is_ready, why_not_ready
from prefork.control.messages import Degraded
from tests.admin.reports import service, snapshot

LACK = Degraded(why="Traceback\n  File\nImportError: no module named till", failures=3, next_try_seconds=0.1)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({}, []),
        ({"wanted": 0, "ready": 0, "idle": 0}, []),
        ({"ready": 1}, []),
        ({"phase": "reloading"}, []),
        ({"phase": "reloading", "ready": 1}, ["echo: reloading, and 1 of 2 workers are ready"]),
        ({"phase": "starting", "ready": 0}, ["echo: starting"]),
        ({"phase": "stopping"}, ["echo: stopping"]),
        ({"phase": "degraded", "degraded": LACK}, ["echo: degraded: ImportError: no module named till"]),
        ({"phase": "reloading", "degraded": LACK}, ["echo: degraded: ImportError: no module named till"]),
        ({"phase": "failed", "failed": "too often:\nIt died"}, ["echo: failed: It died"]),
        ({"is_paused": True}, ["echo: paused by an operator"]),
        ({"is_paused": True, "phase": "stopping"}, ["echo: stopping", "echo: paused by an operator"]),
    ],
)
def test_what_keeps_a_service_from_new_clients_is_said(state: dict[str, Any], why: list[str]) -> None:
    """A lack of workers while the pool is healthy is none: it grows, or replaces one that has just died."""
    assert why_not_ready(snapshot(service(**state))) == why
    assert is_ready(service(**state)) is not bool(why)


def test_one_service_that_is_not_ready_is_enough() -> None:
    """Each has its line."""
    services = [service(), service(name="till", phase="starting"), service(name="log", is_paused=True)]
    assert why_not_ready(snapshot(*services)) == ["till: starting", "log: paused by an operator"]
