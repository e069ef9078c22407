"""The queueing model against measurement, at several loads and with two kinds of service time."""

import heapq
import math
import statistics
import sys
from collections.abc import Generator, Sequence

from prefork.lab import arrivals, generators
from prefork.lab.load import Load, Result
from prefork.lab.queueing import Station, response_percentile
from prefork.lab.subjects import Subject
from tests.validation.services import MEAN, exponential

WORKERS = 4
SECONDS = {0.3: 10.0, 0.6: 15.0, 0.8: 30.0, 0.9: 45.0}  # by load: the busier, the longer until a mean means something
SERVICES = {"constant": "Constant", "exponential": "Exponential"}
SCRIPT = "tests.validation.queueing:numbered"


def numbered(number: int) -> Generator[bytes, bytes]:
    """A request of the load: its number, and the same back."""
    line = b"%d\n" % number
    assert (yield line) == line


def service_times(url: str) -> list[float]:
    """Of one client that has the service to itself, in order."""
    load = Load(url=url, script=SCRIPT, reply="line", clients=1, duration=12, warm_up=0.2)
    _, samples = generators.run(load)
    return sorted(map(float, samples.latencies))


def rows(kind: str) -> list[str]:
    lines = []
    with Subject.start("prefork", f"tests.validation.services:{SERVICES[kind]}", WORKERS) as subject:
        times = service_times(subject.url)
        mean = statistics.fmean(times)
        for seed, (share, seconds) in enumerate(SECONDS.items()):
            load = Load(
                url=subject.url,
                script=SCRIPT,
                reply="line",
                rate=share * WORKERS / mean,
                clients=1000,
                duration=seconds,
                seed=seed,
            )
            result, _ = generators.run(load)
            lines.append(_row(kind, share, result, times, simulated(load, kind, mean)))
            print(f"  {kind} {share:.0%}", file=sys.stderr, flush=True)
    return lines


def simulated(load: Load, kind: str, mean: float) -> list[float]:
    """The responses of an ideal queue to the very requests of that load, in order: what chance alone makes of it.

    :param mean: of the service times that were measured; what they have beyond ``MEAN`` each request has.
    """
    assert load.rate is not None
    free = [0.0] * WORKERS
    responses: list[float] = []
    for number, at in enumerate(arrivals.poisson(load.rate, seed=load.seed)):
        if at >= load.warm_up + load.duration:
            return sorted(responses)
        service = exponential(number) + mean - MEAN if kind == "exponential" else mean
        done = max(at, heapq.heappop(free)) + service
        heapq.heappush(free, done)
        if at >= load.warm_up:
            responses.append(done - at)
    raise AssertionError("arrivals never end")


def _row(kind: str, share: float, result: Result, times: Sequence[float], ideal: Sequence[float]) -> str:
    mean = statistics.fmean(times)
    station = Station(WORKERS, result.requests / result.load.duration, mean, statistics.pvariance(times) / mean**2)
    assert result.latency is not None
    means = (station.mean_wait + mean, statistics.fmean(ideal), result.latency.mean)
    p99s = (response_percentile(station, times, 0.99), ideal[math.ceil(0.99 * len(ideal)) - 1], result.latency.p99)
    cells = " | ".join(f"{1000 * seconds:.1f} ms" for seconds in (*means, *p99s))
    return f"| {kind} | {share:.0%} | {station.utilisation:.1%} | {cells} |"


def section() -> str:
    """A line a load and kind."""
    lines = [
        f"{WORKERS} workers that wait {1000 * MEAN:g} ms in the mean, Poisson arrivals, {min(SECONDS.values()):g} to "
        f"{max(SECONDS.values()):g} s each. The load is what came: a random rate is never quite what was asked for. "
        "Simulated is an ideal queue that is given the very same arrivals: it has their luck, and nothing else.",
        "",
        "| service time | asked | load | mean: model | simulated | measured | p99: model | simulated | measured |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in SERVICES:
        lines += rows(kind)
    return "\n".join([*lines, ""])
