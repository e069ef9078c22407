"""Which worker counts to measure next, so that few points say where more workers stop helping.

First ever doubled, 1, 2, 4, …, until the throughput no longer grows; then bisected, on both sides of the best and down
to the smallest count that is as good. Pure: it must not know how a count is measured, nor how long that takes.
Invariant: no count is named twice, none is beyond the ceiling, and it ends.
Read next: ``tuner.py``, who measures; ``advice.py``, what follows from the points.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from prefork.lab.tuning import End

GAIN = 0.05  # the least by which a doubling has to raise the throughput to be called growth
CLOSE = 1.15  # counts nearer to each other than that are told apart by nobody's users
SAME = 0.05  # what is lost at most by a count that is called as good as the best

Rates = Mapping[int, Sequence[float]]
"""Requests a second by worker count, of each round."""


def ceiling(bounds: Mapping[End, int]) -> int:
    """The largest count worth a look, of what ``bounds`` says."""
    return max(1, min(bounds.values()))


def bounds(cpu_share: float, cpus: float, fitting: int, most: int) -> dict[End, int]:
    """As many as each would have, at most.

    A worker that waits most of its time leaves room for others on its CPU: ``cpus / cpu_share`` workers fill them. Four
    times as many are looked at, for what one worker needs is an estimate, and none of it may be taken for the knee.

    :param cpu_share: of one CPU, that one busy worker uses.
    :param cpus: there are.
    :param fitting: as many have room in memory.
    :param most: nobody wants more.
    """
    filling = math.ceil(cpus / max(cpu_share, 0.001))
    return {"cpus": 4 * max(filling, math.ceil(cpus)), "memory": fitting, "max-workers": most}


def next_climbed(rates: Rates, top: int) -> int | None:
    """The next of the doubled counts, while doubling helps; the ceiling is the last of them.

    :param top: the ceiling.
    """
    if not rates:
        return 1
    counts = sorted(rates)
    last = counts[-1]
    if last >= top:
        return None
    if len(counts) > 1 and middle(rates, last) < (1 + GAIN) * max(middle(rates, n) for n in counts[:-1]):
        return None
    return min(2 * last, top)


def next_refined(rates: Rates, most: int) -> int | None:
    """One more count around the best or the knee; ``None`` where all that matter are known.

    :param most: points, those that are there included.
    """
    counts = sorted(rates)
    if len(counts) >= most:
        return None
    best = max(counts, key=lambda n: middle(rates, n))
    enough = knee(rates)
    below = [n for n in counts if n < enough]
    above = [n for n in counts if n > best]
    gaps = [(below[-1], enough)] if below else []  # where the knee hides
    gaps += [(best, above[0])] if above else []
    gaps += [(max(n for n in counts if n < best), best)] if best > enough else []
    open_ones = [(low, high) for low, high in gaps if high - low > 1 and high / low > CLOSE]
    if not open_ones:
        return None
    low, high = max(open_ones, key=lambda gap: gap[1] / gap[0])
    return min(max(round(math.sqrt(low * high)), low + 1), high - 1)


def knee(rates: Rates) -> int:
    """The smallest count measured that is as good as the best of them, but for what is lost at most."""
    best = max(middle(rates, n) for n in rates)
    return min(n for n in rates if middle(rates, n) >= (1 - SAME) * best)


def middle(rates: Rates, workers: int) -> float:
    """Of the rounds of a count."""
    return median(rates[workers])


def spread(rates: Rates) -> float:
    """How much rounds of the same count differ, as a share: the noise below which nothing is told apart.

    The median over counts of half the range by the middle; 0 where nothing was measured twice.
    """
    found = [
        (max(rounds) - min(rounds)) / 2 / median(rounds)
        for rounds in rates.values()
        if len(rounds) > 1 and median(rounds) > 0
    ]
    return median(found) if found else 0.0
