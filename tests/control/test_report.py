"""What clients know of an instance: figures of people, what processes use, and None where nothing is known."""

import json
import time

import pytest

from prefork.control.messages import ProcessStatus, Recent, ServiceStatus, Snapshot, WorkerStatus
from prefork.control.report import Lately, Report, lately
from prefork.histogram import NOTHING, bucket
from prefork.system.usage import Usage


def times(**milliseconds: int) -> list[int]:
    """``times(_5=2)``: two requests of 5 ms."""
    counts = list(NOTHING)
    for name, count in milliseconds.items():
        counts[bucket(int(name[1:]) * 10**6)] += count
    return counts


def service(recent: Recent | None = None, ready: int = 2) -> ServiceStatus:
    return ServiceStatus(
        name="echo",
        target="shop:Echo",
        binds=[],
        mode="",
        concurrency="",
        phase="healthy",
        generation=1,
        coming=None,
        configured=(2, 2),
        wanted=2,
        starting=0,
        ready=ready,
        retiring=0,
        orphaned=0,
        busy=0,
        idle=ready,
        requests=0,
        errors=0,
        recent=recent,
        service_times=list(NOTHING),
    )


def report(status: ServiceStatus, usage: dict[int, Usage]) -> Report:
    snapshot = Snapshot(
        name="shop",
        pid=1,
        package="1.0",
        uptime_seconds=40,
        services=[status],
        processes=[ProcessStatus(kind="master", pid=1), ProcessStatus(kind="mold", pid=2, service="echo")],
    )
    workers = [
        WorkerStatus(slot=slot, pid=pid, generation=1, state="idle", state_seconds=1)
        for slot, pid in [(1, 3), (2, None)]
    ]
    return Report(snapshot, {"echo": workers}, usage)


def test_what_was_served_lately_in_figures_of_people() -> None:
    """A rate, the share of time in use, and what most requests took at most."""
    recent = Recent(seconds=40, requests=100, errors=3, busy_seconds=20, service_times=times(_1=50, _5=40, _80=10))
    assert lately(service(recent)) == Lately(40, 100, 3, 2.5, 0.25, 0.001, 0.005, 0.08)


@pytest.mark.parametrize(
    ("recent", "ready", "expected"),
    [
        (None, 2, None),
        (Recent(seconds=0, requests=0, errors=0, busy_seconds=0, service_times=[]), 2, Lately(0, 0, 0, *[None] * 5)),
        (Recent(seconds=9, requests=0, errors=0, busy_seconds=0, service_times=[]), 0, Lately(9, 0, 0, 0, *[None] * 4)),
    ],
)
def test_what_is_not_known_is_none(recent: Recent | None, ready: int, expected: Lately | None) -> None:
    """Of a master that does not tell, at its first moment, and without workers."""
    assert lately(service(recent, ready)) == expected


def test_memory_is_summed_over_the_tree() -> None:
    """With how many could not be read, and the age of the oldest figure."""
    moment = time.monotonic()
    usage = {1: Usage(100, 90, 1.5, moment - 9), 3: Usage(50, 40, 0.5, moment - 1), 2: Usage(None, None, 0.1, moment)}
    plain = report(service(), usage).as_plain()
    assert 9 <= plain["memory"].pop("ago_seconds") < 60
    assert plain["memory"] == {"pss_bytes": 150, "processes": 3, "unread": 1}
    assert plain["services"][0]["workers"][0]["usage"]["uss_bytes"] == 40
    assert plain["services"][0]["workers"][1]["usage"] is None
    assert plain["processes"][0]["usage"]["cpu_seconds"] == 1.5


def test_plain_is_json() -> None:
    """Also where nobody has looked up what processes use."""
    plain = report(
        service(Recent(seconds=9, requests=1, errors=0, busy_seconds=1, service_times=times(_999999=1))), {}
    ).as_plain()
    assert json.loads(json.dumps(plain, allow_nan=False)) == {
        **plain,
        "services": [{**plain["services"][0], "configured": [2, 2]}],
    }
    assert plain["memory"] is None
    assert plain["services"][0]["recent"]["p99_seconds"] == 100
