"""The generator against wrk and ab: the same service, the same number of clients, in turn."""

import csv
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from prefork.lab import generators
from prefork.lab.load import Load
from prefork.lab.subjects import Subject
from tests.bench.measure import interval

SECONDS = 2
CLIENTS = 8
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class Seen(NamedTuple):
    """What a tool says: requests a second, and seconds."""

    rate: float
    p50: float
    p99: float


def ours(url: str) -> Seen:
    load = Load(url=url, path="/", reply="http", clients=CLIENTS, duration=SECONDS, warm_up=0.2)
    result, _ = generators.run(load)
    assert result.latency is not None
    return Seen(result.rate, result.latency.p50, result.latency.p99)


def wrk(url: str) -> Seen:
    """Its latencies begin when a connection is there; ours and ab's, with the connecting."""
    command = ["wrk", "-c", str(CLIENTS), "-t", "1", "-d", f"{SECONDS}s", "--latency", f"{_http(url)}/"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    shares = {share: float(value) * _UNITS[unit] for share, value, unit in _shares(text)}
    assert rate is not None
    return Seen(float(rate[1]), shares["50"], shares["99"])


def _shares(text: str) -> list[tuple[str, str, str]]:
    return re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)


def ab(url: str) -> Seen:
    with tempfile.TemporaryDirectory() as directory:
        table = Path(directory, "percentiles.csv")
        command = ["ab", "-q", "-c", str(CLIENTS), "-t", str(SECONDS), "-n", "10000000", "-e", str(table)]
        done = subprocess.run([*command, f"{_http(url)}/"], capture_output=True, text=True, check=True)
        with table.open() as file:
            shares = {row[0]: float(row[1]) / 1000 for row in list(csv.reader(file))[1:]}
    rate = re.search(r"Requests per second:\s+([\d.]+)", done.stdout)
    assert rate is not None
    return Seen(float(rate[1]), shares["50"], shares["99"])


def _http(url: str) -> str:
    return url.replace("tcp://", "http://")


TOOLS: dict[str, Callable[[str], Seen]] = {"prefork load": ours, "wrk": wrk, "ab": ab}


def rows(target: str, workers: int, rounds: int) -> list[str]:
    """A line of the table a tool: medians, and ratios to ours within a round."""
    seen: dict[str, list[Seen]] = {name: [] for name in TOOLS}
    with Subject.start("prefork", target, workers) as subject:
        for number in range(rounds):
            for name, ask in TOOLS.items():
                seen[name].append(ask(subject.url))
            print(f"\r  {number + 1} of {rounds} ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [_row(name, seen[name], seen["prefork load"]) for name in TOOLS]


def _row(name: str, these: Sequence[Seen], own: Sequence[Seen]) -> str:
    rate = statistics.median(seen.rate for seen in these)
    p50, p99 = (1000 * statistics.median(seconds) for seconds in (column(these, 1), column(these, 2)))
    if these is own:
        beside = "1"
    else:
        ratios = [mine.rate / theirs.rate for mine, theirs in zip(own, these, strict=True)]
        low, high = interval(ratios, 0.95)
        beside = f"{statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})"
    return f"| {name} | {rate:.0f}/s | {beside} | {p50:.2f} ms | {p99:.2f} ms |"


def column(these: Sequence[Seen], number: int) -> list[float]:
    return [seen[number] for seen in these]


def section(rounds: int = 7) -> str:
    """Two services: one that waits, where the service is the limit, and one that does nothing, where the asking is."""
    head = ["| | requests | ours to theirs | p50 | p99 |", "|---|---|---|---|---|"]
    waiting = rows("tests.validation.services:SlowPage", 4, rounds)
    quick = rows("tests.validation.services:Page", 2, rounds)
    return "\n".join(
        [
            f"{CLIENTS} clients, one connection a request, {rounds} rounds of {SECONDS} s in turn. Medians; the ratio "
            "is taken within a round, in parentheses what 95 % of resampled medians lie between.",
            "",
            "A page after 5 ms from 4 workers, at most 800 a second:",
            "",
            *head,
            *waiting,
            "",
            "A page at once from 2 workers:",
            "",
            *head,
            *quick,
            "",
        ]
    )
