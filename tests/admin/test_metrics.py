"""Metrics of reports whose every figure is known."""

import math
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from prefork.admin.metrics import STATES, expose
from prefork.control.messages import LoadStatus, ProcessStatus, QueueStatus, ServiceStatus, WorkerStatus
from prefork.control.report import Report
from prefork.histogram import BOUNDS_NS, BUCKETS, bucket
from prefork.pool.reasons import LoadEnd, Reason
from prefork.system.usage import Usage
from tests.admin.reports import service, snapshot, worker

QUEUES = [
    QueueStatus(bind="tcp://127.0.0.1:9000", waiting=3, limit=128, overflows=6),
    QueueStatus(bind="udp://[::1]:9", waiting=5, dropped=2),
]
FULL: dict[str, Any] = {
    "requests": 7,
    "errors": 2,
    "busy_seconds": 1.5,
    "queues": QUEUES,
    "started": 5,
    "ended": {"max_requests": 2, 'a "crash"\n': 1},
    "loads": {"serves": 3},
    "all_busy_seconds": 4.0,
    "is_paused": True,
}


def told(report: Report | None, memory_limit: int | None = None) -> dict[str, float]:
    """Each sample by its name, and its labels as they are written."""
    lines = [line for line in expose(report, memory_limit).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def report(status: ServiceStatus, *workers: WorkerStatus, **state: Any) -> Report:
    return Report(snapshot(status, **state), {status.name: list(workers)})


def test_every_figure_of_a_service_is_told() -> None:
    """Counters, gauges and labels, as docs/metrics.md has them."""
    found = told(report(service(**FULL), worker(1, "busy", 1), worker(2, "idle"), worker(3, "retiring", 1)))
    states = {f'prefork_workers{{service="echo",state="{state}"}}': 0.0 for state in STATES}
    expected = {
        **states,
        'prefork_workers{service="echo",state="busy"}': 1.0,
        'prefork_workers{service="echo",state="retiring"}': 1.0,
        'prefork_workers{service="echo",state="idle"}': 1.0,
        'prefork_requests_total{service="echo"}': 7.0,
        'prefork_request_errors_total{service="echo"}': 2.0,
        'prefork_busy_seconds_total{service="echo"}': 1.5,
        'prefork_saturation_ratio{service="echo"}': 0.5,
        'prefork_all_busy_seconds{service="echo"}': 4.0,
        'prefork_accept_queue_length{bind="tcp://127.0.0.1:9000",service="echo"}': 3.0,
        'prefork_accept_queue_limit{bind="tcp://127.0.0.1:9000",service="echo"}': 128.0,
        'prefork_accept_queue_overflows_total{bind="tcp://127.0.0.1:9000",service="echo"}': 6.0,
        'prefork_accept_queue_length{bind="udp://[::1]:9",service="echo"}': 5.0,
        'prefork_datagrams_dropped_total{bind="udp://[::1]:9",service="echo"}': 2.0,
        'prefork_workers_started_total{service="echo"}': 5.0,
        'prefork_workers_ended_total{reason="max_requests",service="echo"}': 2.0,
        'prefork_workers_ended_total{reason="a \\"crash\\"\\n",service="echo"}': 1.0,
        'prefork_reloads_total{outcome="serves",service="echo"}': 3.0,
        'prefork_reloads_total{outcome="refused",service="echo"}': 0.0,
        'prefork_paused{service="echo"}': 1.0,
        'prefork_ready{service="echo"}': 0.0,
        'prefork_degraded{service="echo"}': 0.0,
        'prefork_up': 1.0,
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert 'prefork_accept_queue_limit{bind="udp://[::1]:9",service="echo"}' not in found
    assert 'prefork_accept_queue_overflows_total{bind="udp://[::1]:9",service="echo"}' not in found
    assert 'prefork_last_reload_successful{service="echo"}' not in found


@pytest.mark.parametrize(
    ("outcome", "why", "is_successful"),
    [("serves", "", 1.0), ("serves", "it cannot go back", 0.0), ("abandoned", "no", 0.0), ("refused", "no", 0.0)],
)
def test_whether_the_last_reload_was_successful_is_told(outcome: str, why: str, is_successful: float) -> None:
    """It serves, and not for want of anything to go back to."""
    last = LoadStatus(generation=2, outcome=outcome, ago_seconds=60, why=why)
    assert told(report(service(last_load=last)))['prefork_last_reload_successful{service="echo"}'] == is_successful


def test_what_has_not_happened_is_a_0_from_the_beginning() -> None:
    """So that the first death, and the first load that fails, is an increase; a word from elsewhere stands beside."""
    found = told(report(service(ended={"signal": 1, "whim": 2}, loads={"serves": 1})))
    ended = {f'prefork_workers_ended_total{{reason="{reason}",service="echo"}}': 0.0 for reason in Reason}
    loads = {f'prefork_reloads_total{{outcome="{end}",service="echo"}}': 0.0 for end in LoadEnd}
    expected = {
        **ended,
        'prefork_workers_ended_total{reason="signal",service="echo"}': 1.0,
        'prefork_workers_ended_total{reason="whim",service="echo"}': 2.0,
        **loads,
        'prefork_reloads_total{outcome="serves",service="echo"}': 1.0,
    }  # fmt: skip
    assert {
        name: value for name, value in found.items() if "ended_total" in name or "reloads_total" in name
    } == expected


def test_every_word_of_a_label_is_documented() -> None:
    """In docs/metrics.md, each with a row."""
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    for words in (Reason, LoadEnd):
        assert set(words) <= set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE))


@pytest.mark.parametrize(
    ("workers", "at_once", "wanted", "ratio"),
    [
        ([("idle", 0)], 1, 1, 0.0),
        ([("busy", 1), ("idle", 0)], 1, 2, 0.5),
        ([("busy", 3), ("idle", 0)], 8, 2, 3 / 16),
        ([("busy", 1), ("retiring", 1)], 1, 1, 1.0),
        ([], 1, 0, 0.0),
        ([("starting", 0)], 1, 1, 1.0),
    ],
)
def test_saturation_is_the_share_of_the_room_that_is_taken(
    workers: list[tuple[str, int]], at_once: int, wanted: int, ratio: float
) -> None:
    """Of those who are ready; where nobody is though some are wanted there is no room at all."""
    status = service(at_once=at_once, wanted=wanted)
    found = told(report(status, *(worker(slot, *state) for slot, state in enumerate(workers, 1))))
    assert found['prefork_saturation_ratio{service="echo"}'] == ratio


@given(st.lists(st.integers(0, 10**12), max_size=30))
def test_a_histogram_counts_every_request_under_a_bound_that_is_true(durations: list[int]) -> None:
    """Whatever took how long: each bucket says exactly how many took no longer than its bound."""
    times = [0] * BUCKETS
    for duration in durations:
        times[bucket(duration)] += 1
    text = expose(report(service(service_times=times))).decode()
    (family,) = [f for f in text_string_to_metric_families(text) if f.name == "prefork_request_duration_seconds"]
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert len(buckets) == 23
    for bound, count in buckets.items():
        limit = math.inf if bound == "+Inf" else round(float(bound) * 1e9)
        assert limit in (*BOUNDS_NS, math.inf)
        assert count == sum(duration <= limit for duration in durations)


def test_memory_is_told_where_all_of_it_could_be_read() -> None:
    """A sum in which one is missing would be a lie; how many are missing is told, and how old the figures are."""
    processes = [ProcessStatus(kind="master", pid=1), ProcessStatus(kind="mold", pid=2, service="echo", generation=1)]
    now = time.monotonic()
    usage = {1: Usage(10, 5, 0.1, now - 60), 2: Usage(None, None, 0.1, now), 101: Usage(7, 3, 0.1, now)}
    usage[102] = Usage(8, 4, 0.1, now)
    found = report(service(), worker(1, "idle"), worker(2, "idle"), processes=processes)._replace(usage=usage)
    samples = told(found)
    memory = {name: value for name, value in samples.items() if name.startswith("prefork_memory_pss")}
    assert memory == {
        'prefork_memory_pss_bytes{process="master",service=""}': 10.0,
        'prefork_memory_pss_bytes{process="worker",service="echo"}': 15.0,
    }
    assert samples["prefork_memory_unread_processes"] == 1.0
    assert 60 <= samples["prefork_memory_age_seconds"] < 90
    assert "prefork_memory_limit_bytes" not in samples
    assert told(found, memory_limit=1 << 30)["prefork_memory_limit_bytes"] == 1 << 30


def test_of_a_silent_master_there_is_one_sample() -> None:
    """What is not known has none."""
    assert told(None) == {"prefork_up": 0.0}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_finds_nothing_to_object_to_in_a_full_report() -> None:
    """Also where everything is there that may be there."""
    status = service(**FULL, service_times=[1] * BUCKETS)
    text = expose(report(status, worker(1, "busy", 1))._replace(usage={101: Usage(7, 3, 0.1, time.monotonic())}))
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
