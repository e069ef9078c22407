"""The advice of ``prefork tune`` against a sweep of every number of workers, for four services that scale otherwise."""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from prefork.lab import generators
from prefork.lab.load import Load
from prefork.lab.subjects import Subject
from prefork.lab.workloads import workload

BIND = "tcp://127.0.0.1:0"
MOST = 12
BUDGET = "60s"
NEAR = 0.95  # of the best: who is there needs no more workers
OWN = Load(url="", send=b"1\n", reply="line")
SENDING_IT = ("--send", "1\\n", "--reply", "line")


class Service(NamedTuple):
    """:param named: for ``prefork tune``: a workload, or a target with what is sent to it."""

    title: str
    named: tuple[str, ...]

    def fit(self) -> tuple[str, Load]:
        """What runs, and what is sent there."""
        name, *sending = self.named
        return (name, OWN) if sending else workload(name).fit(BIND)


SERVICES = (
    Service("burns 2 ms", ("cpu=2ms",)),
    Service("waits 10 ms", ("tests.validation.services:Constant", *SENDING_IT)),
    Service("9 of 10 burn 1 ms, one waits 50 ms", ("mixed",)),
    Service("1 ms alone, then waits 5 ms", ("tests.validation.services:Contended", *SENDING_IT)),
)


def advised(service: Service) -> int:
    """By the command, as its user has it."""
    with tempfile.TemporaryDirectory() as directory:
        found = Path(directory, "tuning.json")
        tune = ["tune", *service.named, "--max-workers", str(MOST), "--budget", BUDGET, "--json", str(found)]
        subprocess.run([sys.executable, "-m", "prefork", *tune], check=True, stdout=subprocess.DEVNULL)
        return int(json.loads(found.read_text())["choice"]["workers"])


def swept(service: Service, rounds: int) -> dict[int, float]:
    """Requests a second by workers, medians of interleaved rounds."""
    target, load = service.fit()
    seen: dict[int, list[float]] = {n: [] for n in range(1, MOST + 1)}
    for _ in range(rounds):
        for workers, rates in seen.items():
            with Subject.start("prefork", target, workers, bind=BIND) as subject:
                full = replace(load, url=subject.url, clients=2 * workers + 2, duration=1.0, warm_up=0.3)
                rates.append(generators.run(full)[0].rate)
    return {workers: statistics.median(rates) for workers, rates in seen.items()}


def least(rates: dict[int, float]) -> int:
    """The fewest workers that come near the best."""
    best = max(rates.values())
    return min(workers for workers, rate in rates.items() if rate >= NEAR * best)


def section(rounds: int = 2) -> str:
    """A line a service."""
    lines = [
        f"The sweep: 1 to {MOST} workers, {rounds} rounds of a second each in turn, a closed loop of twice as many "
        f"clients. Its own answer: the fewest workers with {NEAR:.0%} of the best rate. What counts is how much of "
        "that rate the advice gives, and how many workers it spends for it.",
        "",
        "| service | best of the sweep | its answer | advice | rate at the advice, of the best |",
        "|---|---|---|---|---|",
    ]
    for service in SERVICES:
        workers = advised(service)
        rates = swept(service, rounds)
        best = max(rates, key=rates.__getitem__)
        reached = rates[workers] / rates[best]
        lines.append(
            f"| {service.title} | {rates[best]:.0f}/s with {best} | {least(rates)} | **{workers}** | {reached:.0%} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join([*lines, ""])
