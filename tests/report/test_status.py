"""A snapshot tells what the book and the scoreboard say, in parts."""

import os
from collections.abc import Callable, Iterator

import pytest

from prefork.config.service import Service
from prefork.config.units import Bytes, Seconds
from prefork.control.messages import (
    MemoryStatus,
    QueueStatus,
    RequestStatus,
    ServiceStatus,
    Snapshot,
    Workers,
    WorkerStatus,
)
from prefork.histogram import bucket
from prefork.pool import events
from prefork.pool.learn import learn
from prefork.pool.orders import Cause
from prefork.pool.records import Phase, Pool, Wanted, Worker, fixed
from prefork.report import status, table
from prefork.report.status import AT_A_TIME, View, Weighed
from prefork.system.slots import BUSY_NS, ERRORS, REQUESTS, Scoreboard
from prefork.system.timings import Counts, Past

SETTINGS = Service(target="shop.echo:Handler", bind=("tcp://127.0.0.1:9000",))
NOW = 100.0


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard.create(5000, 2)
    yield board
    board.close()


def after(pool: Pool, *news: events.Event) -> Pool:
    for event in news:
        pool = learn(pool, event)
    return pool


def serving(count: int) -> Pool:
    """A pool whose first generation serves with ``count`` workers, all ready since 90."""
    pool = Pool("echo", Wanted(count, fixed(count)))
    pool = after(pool, events.MoldStarted(at=80, generation=1, pid=999), events.MoldLoaded(at=81, generation=1))
    for slot in range(1, count + 1):
        pool = after(pool, *ready(slot, order=slot, at=90))
    return after(pool, events.GenerationSettled(at=91, generation=1))


def ready(slot: int, order: int, at: float, generation: int = 1) -> list[events.Event]:
    return [
        events.WorkerOrdered(at=at, slot=slot, order=order, generation=generation, cause=Cause.FRESH),
        events.WorkerBorn(at=at, slot=slot, order=order, pid=1000 + order),
        events.WorkerReady(at=at, slot=slot, order=order),
    ]


def sign(board: Scoreboard, slot: int, requests: int = 0, errors: int = 0, lanes: int = 1) -> None:
    """As the worker of the order of the same number would."""
    line = board.slot(slot)
    line.take(slot, 2, 1000 + slot, 1)
    line.totals[7] = lanes
    line.totals[REQUESTS], line.totals[ERRORS] = requests, errors


def weight(worker: Worker) -> Weighed | None:
    """Of who was looked at so far: the worker in slot 2."""
    return Weighed(3 * 2**19, "uss", NOW - 0.5) if worker.slot == 2 else None


def nobody_is_weighed(worker: Worker) -> Weighed | None:
    return None


def tell(
    pool: Pool,
    board: Scoreboard,
    past: Past = Past(),  # noqa: B008
    weight: Callable[[Worker], Weighed | None] = nobody_is_weighed,
) -> tuple[list[WorkerStatus], ServiceStatus]:
    queues = [QueueStatus(bind="tcp://127.0.0.1:9000", waiting=3, limit=2048)]
    view = View(pool, SETTINGS, ("tcp://127.0.0.1:9000",), board.slot, past, weight, ((1, 999),), lambda: queues)
    *parts, snapshot = status.tell("shop", 42.0, "info", [view], lambda: NOW)
    assert isinstance(snapshot, Snapshot)
    workers = [worker for part in parts if isinstance(part, Workers) for worker in part.workers]
    return workers, snapshot.services[0]


def test_each_worker_is_told_of_with_what_it_does_now(board: Scoreboard) -> None:
    """Idle, busy with whose request for how long, and on its way."""
    pool = after(serving(2), events.ScaleAsked(at=95, by=1))
    ordered = events.WorkerOrdered(at=99, slot=3, order=3, generation=1, cause=Cause.FRESH)
    sign(board, 1, requests=7, errors=1)
    sign(board, 2)
    lane = board.slot(2).first_lanes(1)[0]
    lane.begin(12, int((NOW - 0.25) * 1e9), b"10.0.0.7:51022")
    lane.label(b"GET /")
    sign(board, 3, requests=1000)  # of one that had the slot before
    board.slot(3).totals[0] = 2
    workers, service = tell(after(pool, ordered), board, Past(Counts(100, 3)), weight)
    assert workers == [
        WorkerStatus(
            slot=1, pid=1001, generation=1, state="idle", state_seconds=10, age_seconds=10, requests=7, errors=1
        ),
        WorkerStatus(
            slot=2,
            pid=1002,
            generation=1,
            state="busy",
            state_seconds=10,
            age_seconds=10,
            memory=MemoryStatus(bytes=3 * 2**19, measure="uss", ago_seconds=0.5),
            current=[RequestStatus(peer="10.0.0.7:51022", number=12, age_seconds=0.25, label="GET /")],
        ),
        WorkerStatus(slot=3, pid=None, generation=1, state="starting", state_seconds=1),
    ]
    assert (service.ready, service.busy, service.idle, service.starting) == (2, 1, 1, 1)
    assert (service.wanted, service.configured) == (3, (2, 2))
    assert (service.requests, service.errors) == (107, 4)


def test_a_large_pool_comes_in_small_parts(board: Scoreboard) -> None:
    """So that its reader decides how long the master spends on it at once."""
    pool = serving(200)
    for slot in range(1, 201):
        sign(board, slot, requests=1)
    view = View(pool, SETTINGS, (), board.slot, Past(), nobody_is_weighed, (), list)
    *parts, snapshot = status.tell("shop", 42.0, "info", [view], lambda: NOW)
    assert isinstance(snapshot, Snapshot)
    assert all(isinstance(part, Workers) and len(part.workers) <= AT_A_TIME for part in parts)
    assert (snapshot.services[0].ready, snapshot.services[0].requests) == (200, 200)
    assert (snapshot.name, snapshot.pid, snapshot.uptime_seconds) == ("shop", os.getpid(), 42.0)


def serve_one(board: Scoreboard, slot: int, seconds: float, at: float, errors: int = 0) -> None:
    """As the worker in the slot would count it."""
    line = board.slot(slot)
    line.timings.count(int(seconds * 1e9), int(at * 1e9))
    line.totals[REQUESTS] += 1
    line.totals[ERRORS] += errors
    line.totals[BUSY_NS] += int(seconds * 1e9)


def test_what_was_served_lately_is_told_beside_what_was_ever(board: Scoreboard) -> None:
    """Of those that serve and those that are gone; service times by buckets, and for how long that was."""
    sign(board, 1)
    sign(board, 2)
    serve_one(board, 1, 0.001, at=1)
    serve_one(board, 1, 0.002, at=61, errors=1)
    serve_one(board, 2, 0.002, at=99)
    gone = Past(Counts(5, 1, 10**9), {2: Counts(2, 0, 10**6), 3: Counts(1)})
    _, service = tell(serving(2), board, gone)
    assert (service.requests, service.errors, service.busy_seconds) == (8, 2, 1.005)
    assert service.service_times[bucket(2_000_000)] == 2
    assert sum(service.service_times) == 3
    assert service.recent is not None
    assert (service.recent.requests, service.recent.errors, service.recent.busy_seconds) == (5, 1, 0.005)
    assert service.recent.seconds == 40
    assert sum(service.recent.service_times) == 2


@pytest.mark.parametrize(
    ("begun", "expected"),
    [({}, None), ({1: [NOW - 9]}, None), ({1: [NOW - 9], 2: [NOW - 4]}, 4.0), ({1: [NOW - 9], 2: []}, None)],
)
def test_all_are_busy_since_the_last_one_became_so(
    begun: dict[int, list[float]], expected: float | None, board: Scoreboard
) -> None:
    """As long as no worker has room; one that is idle has."""
    for slot in (1, 2):
        sign(board, slot)
        for number, since in enumerate(begun.get(slot, [])):
            board.slot(slot).first_lanes(1)[0].begin(number, int(since * 1e9), b"somebody")
    assert tell(serving(2), board)[1].all_busy_seconds == expected


def test_a_worker_with_a_free_lane_has_room(board: Scoreboard) -> None:
    """Of several at once, all must be in use."""
    sign(board, 1, lanes=2)
    lanes = board.slot(1).first_lanes(2)
    lanes[0].begin(1, int((NOW - 9) * 1e9), b"somebody")
    workers, service = tell(serving(1), board)
    assert (service.at_once, service.all_busy_seconds, workers[0].state) == (2, None, "busy")
    lanes[1].begin(2, int((NOW - 2) * 1e9), b"somebody else")
    assert tell(serving(1), board)[1].all_busy_seconds == 2


def test_queues_settings_and_processes_are_told(board: Scoreboard) -> None:
    """Who waits where, what is not as by default, and what runs besides workers."""
    limited = Service(target="shop:Echo", bind=("none",), timeout=Seconds(2.5), memory_soft=Bytes(2**21))
    view = View(
        serving(1),
        limited,
        (),
        board.slot,
        Past(),
        nobody_is_weighed,
        ((1, 999),),
        lambda: [QueueStatus(bind="tcp://127.0.0.1:9000", waiting=3, limit=2048)],
    )
    *_, snapshot = status.tell("shop", 42.0, "debug", [view], lambda: NOW)
    assert isinstance(snapshot, Snapshot)
    service = snapshot.services[0]
    assert service.queues[0].waiting == 3
    assert service.settings == {"timeout": "2.5s", "request_hard": "7.5s", "memory_soft": "2MiB"}
    assert snapshot.log_level == "debug"
    assert [(p.kind, p.pid, p.service, p.generation) for p in snapshot.processes] == [
        ("master", os.getpid(), "", None),
        ("mold", 999, "echo", 1),
    ]


RELOAD = events.ReloadAsked(at=95, configured=fixed(2))
MOLD_2 = events.MoldStarted(at=95, generation=2, pid=9)


@pytest.mark.parametrize(
    ("news", "phase"),
    [
        ([], "healthy"),
        ([RELOAD], "reloading"),
        ([RELOAD, MOLD_2], "reloading"),
        ([RELOAD, MOLD_2, events.GenerationAbandoned(at=96, generation=2, why="boom")], "healthy"),
        ([events.StopAsked(at=96, phase=Phase.DRAINING)], "stopping"),
        ([RELOAD, events.StopAsked(at=96, phase=Phase.NOW)], "stopping"),
        ([events.ServiceFailed(at=96, why="boom")], "failed"),
    ],
)
def test_a_service_has_a_phase(news: list[events.Event], phase: str, board: Scoreboard) -> None:
    """One word for how it is."""
    _, service = tell(after(serving(2), *news), board)
    assert service.phase == phase


def test_a_service_that_has_never_served_is_starting(board: Scoreboard) -> None:
    """Its first generation is still being brought in."""
    _, service = tell(Pool("echo", Wanted(2, fixed(2))), board)
    assert (service.phase, service.generation, service.ready) == ("starting", 0, 0)


def crashed(at: float, order: int) -> list[events.Event]:
    return [*ready(1, order, at - 0.5), events.WorkerExited(at=at, slot=1, order=order, how="was killed by SIGSEGV")]


def test_a_crash_loop_is_a_degraded_service_that_says_when_it_tries_again(board: Scoreboard) -> None:
    """Failures in a row and the time to the next try; a single death is none."""
    one = after(serving(1), events.WorkerExited(at=91, slot=1, order=1, how="was killed by SIGSEGV"))
    assert tell(one, board)[1].degraded is None
    again = after(one, *crashed(at=96, order=2), *crashed(at=98, order=3), *crashed(at=100, order=4))
    service = tell(again, board)[1]
    assert service.phase == "degraded"
    assert service.degraded is not None
    assert (service.degraded.failures, service.degraded.next_try_seconds) == (4, 0.225)
    assert "before they have proven themselves; the last one was killed by SIGSEGV" in service.degraded.why


def test_a_machine_that_refuses_to_fork_degrades(board: Scoreboard) -> None:
    """With when it is asked again."""
    pool = after(serving(1), events.ScaleAsked(at=99, by=1))
    ordered = events.WorkerOrdered(at=100, slot=2, order=2, generation=1, cause=Cause.FRESH)
    pool = after(pool, ordered, events.WorkerNotForked(at=100, slot=2, order=2, why="no memory"))
    service = tell(pool, board)[1]
    assert service.degraded is not None
    assert (service.degraded.why, service.degraded.next_try_seconds) == ("the machine refuses to fork", 0.1)


def test_a_lost_mold_degrades(board: Scoreboard) -> None:
    """Everything serves, and nobody who dies could be replaced."""
    service = tell(after(serving(1), events.MoldGone(at=100, generation=1, how="was killed by SIGKILL")), board)[1]
    assert service.degraded is not None
    assert service.degraded.why == "no worker can be replaced: its mold was killed by SIGKILL"


def test_the_last_load_is_told_with_its_reason(board: Scoreboard) -> None:
    """Serves, abandoned, refused; and how long ago."""
    pool = serving(1)
    told = [tell(pool, board)[1].last_load]
    pool = after(pool, events.GenerationAbandoned(at=96, generation=2, why="boom"))
    told.append(tell(pool, board)[1].last_load)
    pool = after(pool, events.ReloadRefused(at=99, why="no such setting"))
    told.append(tell(pool, board)[1].last_load)
    assert [(t.outcome, t.generation, t.ago_seconds, t.why) for t in told if t is not None] == [
        ("serves", 1, 9, ""),
        ("abandoned", 2, 4, "boom"),
        ("refused", None, 1, "no such setting"),
    ]


def test_a_generation_that_failed_its_probation_with_no_way_back_is_told_of_as_what_serves(board: Scoreboard) -> None:
    """It was not given up, for there is nothing else; and the table says so."""
    pool = after(serving(1), events.MoldStarted(at=92, generation=2, pid=9), events.MoldLoaded(at=92, generation=2))
    pool = after(pool, events.GenerationSettled(at=93, generation=2, probation=30))
    assert tell(pool, board)[1].probation_seconds == 23
    assert tell(pool, board)[1].phase == "reloading"
    pool = after(pool, events.ProbationEnded(at=96, generation=2, why="boom"))
    _, service = tell(pool, board)
    assert service.last_load is not None
    assert (service.last_load.outcome, service.last_load.why, service.phase) == ("serves", "boom", "healthy")
    assert list(table.troubles(service)) == [
        "4s ago generation 2 failed its probation, with nothing to go back to: boom"
    ]
