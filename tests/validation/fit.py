"""The fit of the scalability law against data whose law is known: how near it comes, and how often its intervals hold.

Nothing here depends on the machine: noise is seeded.
"""

from typing import NamedTuple

import numpy as np

from prefork.lab.scalability import fit

COUNTS = (1, 2, 4, 6, 8, 12, 16)
SEEDS = 200
RESAMPLES = 500
ASKED = 12  # workers, at which the interval of the throughput is looked at


class Truth(NamedTuple):
    """A law, and how well it is seen."""

    one: float
    contention: float
    coherency: float
    noise: float
    rounds: int

    def throughput(self, workers: int) -> float:
        return self.one * workers / (1 + self.contention * (workers - 1) + self.coherency * workers * (workers - 1))


TRUTHS = (
    Truth(1000, 0.05, 0.002, 0.02, 3),
    Truth(1000, 0.05, 0.002, 0.05, 3),
    Truth(1000, 0.05, 0.002, 0.05, 5),
    Truth(1000, 0.05, 0.002, 0.02, 1),
    Truth(250, 0.02, 0.0005, 0.05, 3),
    Truth(1000, 0.2, 0.0, 0.05, 3),
    Truth(1000, 0.0, 0.001, 0.05, 3),
    Truth(1000, 0.0, 0.0, 0.05, 3),
)


def measured(truth: Truth, seed: int) -> list[tuple[int, float]]:
    """Rounds at each number of workers, with relative noise."""
    random = np.random.default_rng(seed)
    return [
        (count, truth.throughput(count) * (1 + truth.noise * float(random.standard_normal())))
        for count in COUNTS
        for _ in range(truth.rounds)
    ]


def covered(truth: Truth, seeds: int = SEEDS) -> tuple[list[tuple[float, float]], list[float]]:
    """Of ``one``, contention, coherency and the throughput of a dozen workers: what half of the fits lie between, and
    the share of fits whose interval holds the truth.
    """
    true = (truth.one, truth.contention, truth.coherency, truth.throughput(ASKED))
    found, held = [], []
    for seed in range(seeds):
        one = fit(measured(truth, seed), resamples=RESAMPLES)
        law = one.law
        found.append((law.one, law.contention, law.coherency, law.throughput(ASKED)))
        intervals = (law.one_interval, law.contention_interval, law.coherency_interval, one.interval(ASKED))
        held.append([low - 1e-12 <= value <= high + 1e-12 for value, (low, high) in zip(true, intervals, strict=True)])
    quarters = np.quantile(np.array(found), [0.25, 0.75], axis=0).T
    return [(float(low), float(high)) for low, high in quarters], [float(share) for share in np.mean(held, axis=0)]


def section() -> str:
    """A line a law."""
    lines = [
        f"{SEEDS} sets of made-up rounds for each law, at {', '.join(map(str, COUNTS))} workers. Beside each true"
        " parameter: what half of the fits lie between, and how many of the intervals, of which 95 % should, hold the"
        " truth.",
        "",
        f"| noise | rounds | one | | held | contention | | held | coherency | | held | held at {ASKED} workers |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_row, TRUTHS), ""])


def _row(truth: Truth) -> str:
    quarters, held = covered(truth)
    cells = []
    for value, (low, high), share in zip(truth[:3], quarters[:3], held[:3], strict=True):
        cells += [f"{value:g}", f"{_short(low)} to {_short(high)}", f"{100 * share:.0f} %"]
    return f"| {100 * truth.noise:.0f} % | {truth.rounds} | {' | '.join(cells)} | {100 * held[3]:.0f} % |"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
