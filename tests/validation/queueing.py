"""The queueing model against measurement, at several loads and with two kinds of service time."""

import statistics
import sys
from collections.abc import Generator, Sequence

from prefork.lab import generators
from prefork.lab.load import Latencies, Load
from prefork.lab.queueing import Station, response_percentile
from prefork.lab.subjects import Subject
from tests.validation.services import MEAN

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
        scv = statistics.pvariance(times) / mean**2
        for share, seconds in SECONDS.items():
            rate = share * WORKERS / mean
            load = Load(url=subject.url, script=SCRIPT, reply="line", rate=rate, clients=1000, duration=seconds)
            result, _ = generators.run(load)
            station = Station(WORKERS, result.requests / seconds, mean, scv)
            assert result.latency is not None
            lines.append(_row(kind, share, station, times, result.latency))
            print(f"  {kind} {share:.0%}", file=sys.stderr, flush=True)
    return lines


def _row(kind: str, share: float, station: Station, times: Sequence[float], seen: Latencies) -> str:
    mean = station.mean_wait + station.service_mean
    p99 = response_percentile(station, times, 0.99)
    pairs = [(mean, seen.mean), (p99, seen.p99)]
    cells = " | ".join(
        f"{1000 * model:.1f} ms | {1000 * real:.1f} ms | {real / model - 1:+.0%}" for model, real in pairs
    )
    return f"| {kind} | {share:.0%} | {station.utilisation:.1%} | {cells} |"


def section() -> str:
    """A line a load and kind."""
    lines = [
        f"{WORKERS} workers that wait {1000 * MEAN:g} ms in the mean, Poisson arrivals, {min(SECONDS.values()):g} to "
        f"{max(SECONDS.values()):g} s each. The load is what came: a random rate is never quite what was asked for.",
        "",
        "| service time | asked | load | mean, model | measured | | p99, model | measured | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in SERVICES:
        lines += rows(kind)
    return "\n".join([*lines, ""])
