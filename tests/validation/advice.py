"""The advice of ``prefork tune`` against a sweep of every number of workers, for four services that scale otherwise."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from prefork.lab.subjects import Subject

from prefork.lab import generators
from prefork.lab.load import Load

TARGETS = {
    "burns 2 ms": "cpu=2ms",
    "waits 10 ms": "tests.validation.services:Constant",
    "9 of 10 burn 1 ms, one waits 50 ms": "mixed",
    "1 ms alone, then waits 5 ms": "tests.validation.services:Contended",
}
MOST = 16
NEAR = 0.95  # of the best: who is there needs no more workers


def advised(target: str) -> int:
    with tempfile.TemporaryDirectory() as directory:
        found = Path(directory, "tuning.json")
        command = [
            sys.executable,
            "-m",
            "prefork",
            "tune",
            target,
            *WORDS,
            "--max-workers",
            str(MOST),
            "--json",
            str(found),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return int(json.loads(found.read_text())["workers"])


WORDS = ("--send", "1\\n", "--reply", "line")


def swept(target: str, rounds: int) -> dict[int, float]:
    """Requests a second by workers, medians of interleaved rounds."""
    seen: dict[int, list[float]] = {n: [] for n in range(1, MOST + 1)}
    for _ in range(rounds):
        for workers, rates in seen.items():
            with Subject.start("prefork", target, workers) as subject:
                load = Load(
                    url=subject.url, send=b"1\n", reply="line", clients=2 * workers + 2, duration=1.0, warm_up=0.3
                )
                rates.append(generators.run(load)[0].rate)
    return {workers: statistics.median(rates) for workers, rates in seen.items()}


def least(rates: dict[int, float]) -> int:
    """The fewest workers that come near the best."""
    best = max(rates.values())
    return min(workers for workers, rate in rates.items() if rate >= NEAR * best)


def section(rounds: int = 3, names: Sequence[str] = tuple(TARGETS)) -> str:
    """A line a service."""
    lines = [
        f"The sweep: 1 to {MOST} workers, {rounds} rounds of a second each in turn, a closed loop of twice as many "
        f"clients. Its own answer: the fewest workers with {NEAR:.0%} of the best rate. What counts is how much of that "
        "rate the advice gives, and how many workers it spends for it.",
        "",
        "| service | best of the sweep | its answer | advice | rate at the advice, of the best |",
        "|---|---|---|---|---|",
    ]
    for name in names:
        workers = advised(TARGETS[name])
        rates = swept(TARGETS[name], rounds)
        best = max(rates, key=rates.__getitem__)
        reached = rates[workers] / rates[best]
        lines.append(f"| {name} | {rates[best]:.0f}/s with {best} | {least(rates)} | **{workers}** | {reached:.0%} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join([*lines, ""])
