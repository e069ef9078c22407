"""Status as people read it: a line each, aligned, of a known width, and nothing in it that steers a terminal."""

import re
from typing import Any

import pytest

from prefork.control.messages import (
    Degraded,
    LoadStatus,
    MemoryStatus,
    QueueStatus,
    Recent,
    WorkerStatus,
)
from prefork.histogram import NOTHING, bucket
from prefork.report import table, units
from prefork.system.usage import Usage
from tests.snapshots import report, request, service, worker

NOW = 100.0


def lines(*workers: WorkerStatus, width: int = 100, **more: Any) -> list[str]:
    return list(table.lines(report(*workers, **more), NOW, width))


def test_a_table_has_a_line_each_and_aligned_columns() -> None:
    """The instance, the service, what is wrong with it, its workers."""
    load = LoadStatus(generation=2, outcome="abandoned", ago_seconds=60, why="Traceback:\n  File …\nOSError: no\x1b[2J")
    workers = [
        worker(1, requests=7, busy_seconds=1.0),
        worker(2, state="busy", current=[request(label="GET /")]),
        worker(3, pid=None, state="starting", state_seconds=1, age_seconds=None),
    ]
    assert lines(*workers, status=service(wanted=3, busy=1, starting=1, last_load=load)) == [
        "shop [7]  prefork 1.0  up 1h 2m",
        "",
        "echo  shop.echo:Handler  tcp://127.0.0.1:9000",
        "  healthy; generation 1; 2 of 3 workers ready (2 configured), 1 busy, 1 starting; 7 requests, 0",
        "    failed",
        "  1m ago generation 2 was given up: OSError: no\\x1b[2J",
        "  slot   pid  gen  state            age  requests  errors  busy  now",
        "     1  1001    1  idle             10s         7       0   10%",
        "     2  1002    1  busy             10s         0       0    2%  0.25s 10.0.0.7:51022 #12 GET /",
        "     3     -    1  starting for 1s    -         0       0     -",
    ]


def test_what_is_served_and_who_waits_has_its_line() -> None:
    """Queue and limit, how long nobody had room, rate and percentiles, what is not as by default."""
    times = list(NOTHING)
    times[bucket(1_000_000)], times[bucket(2_000_000_000)] = 98, 2
    recent = Recent(seconds=50, requests=100, errors=3, busy_seconds=62, service_times=times)
    status = service(
        busy=2,
        idle=0,
        queues=[QueueStatus(bind="tcp://127.0.0.1:9000", waiting=3, limit=128)],
        all_busy_seconds=4.2,
        recent=recent,
        settings={"timeout": "30s", "max_requests": "1000"},
        is_paused=True,
    )
    assert lines(status=status)[3:] == [
        "  healthy; paused, clients queue; generation 1; 2 of 2 workers ready, 2 busy; 7 requests, 0 failed",
        "  all 2 busy for 4s; queue 3 of 128",
        "  last 50s: 2.0/s, 3 failed; p50 1ms, p90 1ms, p99 2s; workers 62% busy",
        "  set: timeout 30s, max_requests 1000",
    ]


def test_of_several_binds_each_queue_is_told() -> None:
    """With what found no room."""
    queues = [
        QueueStatus(bind="tcp://127.0.0.1:9000", waiting=3, limit=128, overflows=6),
        QueueStatus(bind="udp://127.0.0.1:9000", waiting=1, dropped=5),
    ]
    assert lines(width=120, status=service(queues=queues))[4] == (
        "  queue 3 of 128, overflowed 6 times at tcp://127.0.0.1:9000; queue 1, 5 dropped at udp://127.0.0.1:9000"
    )


def test_memory_is_told_with_what_was_not_read_and_how_old_it_is() -> None:
    """The sum of shares is what the instance costs; a process that could not be read is counted, not guessed."""
    usage = {
        7: Usage(pss=30 * 2**20, uss=2**20, cpu_seconds=3, at=NOW - 4),
        1001: Usage(pss=3 * 2**19, uss=2**20, cpu_seconds=75, at=NOW),
        1002: Usage(pss=None, uss=None, cpu_seconds=0.5, at=NOW),
    }
    told = lines(worker(1), worker(2), usage=usage)
    assert told[0] == "shop [7]  prefork 1.0  up 1h 2m  memory 31.5M in 2 processes, 1 not read, up to 4s ago"
    assert told[-3:] == [
        "  slot   pid  gen  state  age  requests  errors  busy   pss  now",
        "     1  1001    1  idle   10s         0       0    0%  1.5M",
        "     2  1002    1  idle   10s         0       0    0%     -",
    ]


def test_what_the_limits_of_memory_go_by_is_shown_as_such() -> None:
    """There is a column for it where anybody was weighed."""
    told = lines(worker(1), worker(2, memory=MemoryStatus(bytes=3 * 2**19, measure="uss", ago_seconds=0.5)))
    assert told[-3:] == [
        "  slot   pid  gen  state  age  requests  errors  busy   uss  now",
        "     1  1001    1  idle   10s         0       0    0%     -",
        "     2  1002    1  idle   10s         0       0    0%  1.5M",
    ]


def test_a_worker_with_many_requests_has_one_line() -> None:
    """A few of them are shown, and how many more there are."""
    current = [request(n, f"p{n}", n) for n in range(5)]
    last = lines(worker(1, current=current), width=120)[-1]
    assert re.search(r"0s p0 #0, 1s p1 #1, 2s p2 #2, and 2 more$", last)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_it_may_be(width: int) -> None:
    """What a service says goes on in the next line; of a row the end is cut, and seen to be."""
    status = service(degraded=Degraded(why="the machine refuses " * 20, failures=4, next_try_seconds=1))
    told = lines(worker(1, current=[request(label="x" * 200)]), status=status, width=width)
    assert max(map(len, told)) <= width
    assert told[-1].endswith("…")
    assert " ".join(" ".join(told).split()).count("the machine refuses") == 20


def test_a_service_that_cannot_be_helped_says_why() -> None:
    """The last line of a traceback; when it is tried again."""
    lack = Degraded(why="workers die", failures=4, next_try_seconds=0)
    status = service(phase="failed", failed="Traceback\nValueError: boom", degraded=lack)
    assert lines(status=status)[-2:] == [
        "  failed: ValueError: boom",
        "  degraded: workers die; 4 in a row, trying again",
    ]


def test_nothing_an_application_says_steers_a_terminal() -> None:
    """Neither a label, nor a peer, nor a reason, nor a name."""
    evil = "\x1b[2J\r\n\x9b\u202e"
    status = service(name="echo\x07", failed=evil, settings={"name": evil})
    told = lines(worker(1, why=evil), worker(2, current=[request(peer=evil, label=evil)]), status=status)
    assert all(line.isprintable() for line in told)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "0.25s"), (59.9, "59s"), (60, "1m"), (3723, "1h 2m"), (86400 * 2 + 3600 * 4, "2d 4h")],
)
def test_an_age_has_two_units_at_most(seconds: float, text: str) -> None:
    """As people say it."""
    assert units.age(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0µs"),
        (1e-5, "10µs"),
        (0.0009997, "1ms"),
        (0.00125, "1.25ms"),
        (0.999, "999ms"),
        (0.9997, "1s"),
        (2.5, "2.5s"),
        (100, "100s"),
        (999.4, "999s"),
        (1500, "25m"),
    ],
)
def test_a_latency_has_three_digits(seconds: float | None, text: str) -> None:
    """And a unit that suits it."""
    assert units.latency(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0K"),
        (512 * 2**10, "512K"),
        (1000 * 2**10, "1.0M"),
        (2**20 - 2**9, "1.0M"),
        (100 * 2**20 - 2**10, "100M"),
        (300 * 2**20, "300M"),
        (2**31, "2.0G"),
        (1500 * 2**30, "1.5T"),
        (2**41, "2.0T"),
        (2**64 - 1, "16.0E"),
    ],
)
def test_a_size_has_a_letter(amount: int, text: str) -> None:
    """Of 1024 each."""
    assert units.size(amount) == text


@pytest.mark.parametrize(("a_second", "text"), [(0.5, "0.5/s"), (99.96, "100/s"), (1234, "1234/s")])
def test_a_rate_is_by_the_second(a_second: float, text: str) -> None:
    """There is no larger unit of it."""
    assert units.rate(a_second) == text
