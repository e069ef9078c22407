"""Days: generated clients, from a seed. Each has a shape that pools are known to find hard.

Clients come at random (a Poisson process of changing rate) and take times that are exponentially distributed unless
said otherwise. A load of 8 means that 8 workers would be busy on the average. It must not know who serves them.
Invariant: a day is a function of its seed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.sizing.floor import Client


@dataclass(frozen=True)
class Day:
    """:param most: workers there may be.
    :param boot: seconds a worker needs to become ready, at least and at most.
    """

    name: str
    clients: list[Client]
    seconds: float
    most: int = 100
    boot: tuple[float, float] = (0.02, 0.05)


def arrivals(
    load: Callable[[float], float], highest: float, seconds: float, work: float, seed: int, killing: float = 0.0
) -> list[Client]:
    """Clients of a load that changes with time, by thinning.

    :param highest: no load is above.
    :param work: seconds a client takes on the average.
    :param killing: the share of those that kill their worker.
    """
    random, clients, at = Random(seed), [], 0.0
    while (at := at + random.expovariate(highest / work)) < seconds:
        if random.random() * highest < load(at):
            clients.append(Client(at, random.expovariate(1 / work), random.random() < killing))
    return clients


def steady(load: float = 8, seconds: float = 300, seed: int = 1) -> Day:
    return Day("steady", arrivals(lambda at: load, load, seconds, 0.1, seed), seconds)


def step(low: float = 2, high: float = 40, seconds: float = 300, seed: int = 2) -> Day:
    """A load that rises at a quarter of the day and falls at three quarters."""
    clients = arrivals(lambda at: high if 0.25 < at / seconds < 0.75 else low, high, seconds, 0.1, seed)
    return Day("step", clients, seconds)


def bursts(size: int = 200, every: float = 60, seconds: float = 300, seed: int = 3) -> Day:
    """So many clients at one moment, again and again, beside a few others."""
    few = arrivals(lambda at: 2.0, 2.0, seconds, 0.1, seed)
    crowds = [Client(30 + every * n, 0.5) for n in range(math.ceil((seconds - 30) / every)) for _ in range(size)]
    return Day("bursts", sorted(few + crowds), seconds)


def short_requests(size: int = 150, every: float = 2, seconds: float = 60, seed: int = 9) -> Day:
    """Crowds whose every client takes 5 ms: a few workers serve them as fast as many could be forked."""
    few = arrivals(lambda at: 3.0, 3.0, seconds, 0.005, seed)
    crowds = [Client(3 + every * n, 0.005) for n in range(math.ceil((seconds - 3) / every)) for _ in range(size)]
    return Day("short requests", sorted(few + crowds), seconds)


def square(period: float, low: float = 2, high: float = 30, seconds: float = 300, seed: int = 4) -> Day:
    """A load that is high for half of each period."""
    clients = arrivals(lambda at: high if at % period < period / 2 else low, high, seconds, 0.1, seed)
    return Day(f"square wave of {period:g} s", clients, seconds)


def diurnal(low: float = 2, high: float = 60, seconds: float = 600, seed: int = 5) -> Day:
    """A day in ten minutes."""

    def load(at: float) -> float:
        return low + (high - low) * (1 - math.cos(2 * math.pi * at / seconds)) / 2

    return Day("diurnal", arrivals(load, high, seconds, 0.1, seed), seconds)


def slow_boots(seed: int = 6) -> Day:
    """The step, with workers that take five to eight seconds to become ready."""
    day = step(seed=seed)
    return Day("slow boots", day.clients, day.seconds, boot=(5.0, 8.0))


def crashes(share: float = 0.02, load: float = 8, seconds: float = 300, seed: int = 7) -> Day:
    """One of fifty clients kills its worker."""
    return Day("crash storm", arrivals(lambda at: load, load, seconds, 0.1, seed, share), seconds)


def thousands(high: float = 1800, seconds: float = 240, seed: int = 8) -> Day:
    """A step from 100 to 1 800 workers' worth of requests of a second each, in a pool of at most 2 000."""
    clients = arrivals(lambda at: high if 0.1 < at / seconds < 0.6 else 100, high, seconds, 1.0, seed)
    return Day("thousands", clients, seconds, most=2000)


DAYS: dict[str, Callable[[], Day]] = {
    "steady": steady,
    "step": step,
    "bursts": bursts,
    "short requests": short_requests,
    "square wave of 8 s": lambda: square(8),
    "square wave of 60 s": lambda: square(60),
    "diurnal": diurnal,
    "slow boots": slow_boots,
    "crash storm": crashes,
    "thousands": thousands,
}
