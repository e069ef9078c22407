"""The comparisons of the page: what is compared, under which load, and which pictures tell it.

It must not know how the page is written. All of them take ten minutes on two CPUs that do nothing else.
"""

from typing import NamedTuple

from prefork.lab.winning import LEAST_ROUNDS

MODES = ("sync", "thread", "fork", "prefork")


class Run(NamedTuple):
    """One command.

    :param workers: of pools, and ``clients`` of all.
    :param duration: seconds of each round of each cell.
    :param pictures: by their names, in the order of the page.
    """

    workload: str
    workers: tuple[int, ...]
    clients: tuple[int, ...]
    pictures: tuple[str, ...]
    lines: tuple[str, ...] = MODES
    rounds: int = LEAST_ROUNDS
    duration: str = "500ms"
    warm_up: str = "200ms"

    @property
    def name(self) -> str:
        return self.workload.partition("=")[0]

    @property
    def arguments(self) -> list[str]:
        """Of ``prefork``."""
        return [
            *("compare", self.workload, "--lines", ",".join(self.lines)),
            *("--workers", ",".join(map(str, self.workers)), "--clients", ",".join(map(str, self.clients))),
            *("--rounds", str(self.rounds), "--duration", self.duration, "--warm-up", self.warm_up),
        ]


RUNS = {
    run.name: run
    for run in (
        Run("echo", (4,), (1, 8, 64), ("throughput", "cpu"), (*MODES, "bare")),
        Run("cpu=2ms", (2, 4), (1, 16), ("throughput", "winners")),
        Run("wait=20ms", (4, 16), (1, 8, 32), ("throughput", "latency", "memory"), duration="800ms"),
        Run("mixed", (4, 16), (8, 32), ("latency", "winners"), duration="700ms"),
        Run("slow-client", (4, 16), (1, 16), ("throughput", "latency"), duration="1s"),
    )
}
