"""Figures of what goes on beside the requests: limits, decisions, reloads, recycling, and load that comes and goes."""

import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefork.pool import events
from prefork.pool.learn import learn
from prefork.pool.orders import Cause
from prefork.pool.records import MemoryLimits, Policy, Pool, Reading, Wanted, fixed
from prefork.pool.recycling import SOFT_SAMPLES
from prefork.pool.rules import decide
from prefork.pool.wishes import Readings
from tests.bench import clients
from tests.bench.measure import Contender, Options, Row, compare, interval, judge, tell_progress
from tests.bench.schedule import LOST, Phase, Sample, percentile, samples_of, scheduled
from tests.bench.servers import started, supervised, wait_for_line, workers_of
from tests.end_to_end.load import Load

POOL = 2000
ROUNDS = 7
WAVE = [Phase(rate, 4) for rate in (20, 160, 20, 160, 20)]
LOOK = 0.05  # seconds from one count of processes to the next


def deadlines(options: Options) -> list[Row]:
    """CPU a request of one worker whose requests have a soft limit, beside one without"""
    with ExitStack() as stack:
        enter = stack.enter_context
        return compare(
            [
                Contender("worker, no limit", enter(supervised("applications:Echo"))),
                Contender("the same with `timeout`", enter(supervised("applications:Echo", "--timeout", "60s"))),
                Contender(
                    "the same with `on_timeout = keep`",
                    enter(supervised("applications:Echo", "--timeout", "60s", "--on-timeout", "keep")),
                ),
            ],
            clients.one_by_one,
            options,
        )


def decision(options: Options) -> list[Row]:
    """One decision about a pool of 2 000 workers, every limit set"""
    policy = Policy(timeout=30.0, request_slow=10.0, request_hard=35.0)
    pool = _pool(POOL)
    idle, busy = Reading(requests=100), Reading(requests=100, busy_since=9.5, under_way=((101, 9.5),), busy=1)
    rows = []
    for name, reading in (("all idle", idle), ("all busy", busy)):
        weights = dict.fromkeys(pool.workers, (2**20,) * SOFT_SAMPLES)
        readings = Readings(dict.fromkeys(pool.workers, reading), memory=weights)
        milliseconds = []
        for number in range(options.rounds * 8):
            begin = time.perf_counter()
            decide(pool, readings, policy, 10.0)
            milliseconds.append(1000 * (time.perf_counter() - begin))
            tell_progress(number + 1, options.rounds * 8)
        rows.append(judge(f"{name}, {len(milliseconds)} times", milliseconds, "ms", 2))
    return rows


def _pool(count: int) -> Pool:
    """A generation that serves with so many workers."""
    pool = learn(Pool("echo", Wanted(count, fixed(count))), events.MoldStarted(at=0, generation=1, pid=1))
    pool = learn(pool, events.MoldLoaded(at=0, generation=1))
    for slot in range(1, count + 1):
        ordered = events.WorkerOrdered(
            at=0,
            slot=slot,
            order=slot,
            generation=1,
            cause=Cause.FRESH,
            max_requests=10**6,
            max_age=3600.0 + slot,
            memory=MemoryLimits(soft=2**30, hard=2**31),
        )
        pool = learn(pool, ordered)
        pool = learn(pool, events.WorkerBorn(at=0, slot=slot, order=slot, pid=1000 + slot))
        pool = learn(pool, events.WorkerReady(at=0, slot=slot, order=slot))
    return learn(pool, events.GenerationSettled(at=0, generation=1))


def reload(options: Options) -> list[Row]:
    """Eight workers under 1 000 requests a second: from their due moment to the reply, before and during a reload"""
    before: list[float] = []
    during: list[float] = []
    lost = requests = 0
    for number in range(ROUNDS):
        with started("applications:Echo", "-w", "8") as (master, port):
            wait_for_line(master, "serves with")
            with scheduled(port, [Phase(1000, 5)]) as client:
                begun = time.monotonic()
                time.sleep(2)
                asked = time.monotonic()
                master.send_signal(signal.SIGHUP)
                wait_for_line(master, "generation 2 serves")
                settled = time.monotonic()
                samples = samples_of(client)
        lost += sum(sample.seconds == LOST for sample in samples)
        requests += len(samples)
        before.append(percentile([s for s in samples if begun + 0.5 <= s.due < asked], 0.99))
        during.append(percentile([s for s in samples if asked <= s.due < settled], 0.99))
        tell_progress(number + 1, ROUNDS)
    ratios = [late / early for early, late in zip(before, during, strict=True)]
    low, high = interval(ratios)
    return [
        judge(f"p99 before, {ROUNDS} times", [1000 * seconds for seconds in before], "ms"),
        judge(f"p99 during, {ROUNDS} times", [1000 * seconds for seconds in during], "ms"),
        Row(
            "p99 during, to p99 before", f"{statistics.median(ratios):.1f} ({low:.1f} to {high:.1f})", "≤ 2", high <= 2
        ),
        Row(f"lost, of {requests}", str(lost), "0", lost == 0),
    ]


def recycling(options: Options) -> list[Row]:
    """Answers a second of four workers under eight clients, each worker replaced after 200 requests, beside none"""
    ratios = []
    with ExitStack() as stack:
        ports = []
        for flags in ((), ("--max-requests", "200")):
            master, port = stack.enter_context(started("applications:Capitals", "-w", "4", *flags))
            wait_for_line(master, "serves with")
            stack.enter_context(_drained(master))
            ports.append(port)
        for number in range(ROUNDS):
            kept, recycled = (_answers_a_second(port) for port in ports)
            ratios.append(recycled / kept)
            tell_progress(number + 1, ROUNDS)
    low, high = interval(ratios)
    return [
        Row("recycled, to kept", f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})", "≥ 0.90", low >= 0.9)
    ]


@contextmanager
def _drained(master: "subprocess.Popen[str]") -> Iterator[None]:
    """Let nobody wait for us to read what the master says."""
    assert master.stderr is not None
    reader = threading.Thread(target=master.stderr.read, daemon=True)
    reader.start()
    yield
    master.terminate()
    reader.join()


def _answers_a_second(port: int) -> float:
    with Load(f"tcp://127.0.0.1:{port}", clients=8, processes=1) as load:
        load.wait_answered(500)
        start, begun = load.counts().answered, time.monotonic()
        time.sleep(2)
        answered = load.counts().answered - start
        seconds = time.monotonic() - begun
        load.finish()
    return answered / seconds


def wave(options: Options) -> list[Row]:
    """Load that comes and goes each 4 s, 20 and 160 requests a second of 30 ms: latency, and processes kept for it"""
    modes = {
        "8 workers": ("-w", "8"),
        "between 1 and 8 workers": ("--min-workers", "1", "--max-workers", "8", "--worker-idle-timeout", "2s"),
        "between 4 and 8 workers": ("--min-workers", "4", "--max-workers", "8", "--worker-idle-timeout", "2s"),
        "a child each, at most 8": ("--mode", "fork", "--children", "8"),
    }
    rows = []
    for number, (name, flags) in enumerate(modes.items(), 1):
        with started("applications:Waiting", *flags) as (master, port):
            wait_for_line(master, "serves with")
            with _drained(master), scheduled(port, WAVE) as client:
                processes = _count_processes(master.pid, client)
                samples = samples_of(client)
        rows.append(Row(name, _latency(samples, processes)))
        tell_progress(number, len(modes))
    return rows


def _count_processes(master: int, client: "subprocess.Popen[str]") -> float:
    """Workers and their children there were, on the average, until the client has all its answers."""
    counts = []
    assert client.stdout is not None
    end = time.monotonic() + sum(phase.seconds for phase in WAVE)
    while time.monotonic() < end:
        workers = workers_of(master)
        counts.append(len(workers) + sum(len(workers_of(pid)) for pid in workers))
        time.sleep(LOOK)
    return statistics.mean(counts)


def _latency(samples: list[Sample], processes: float) -> str:
    lost = sum(sample.seconds == LOST for sample in samples)
    shares = ", ".join(f"p{100 * share:.4g} {1000 * percentile(samples, share):.0f} ms" for share in (0.5, 0.95, 0.99))
    return f"{shares}; {processes:.1f} processes; lost {lost} of {len(samples)}"
