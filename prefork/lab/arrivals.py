"""When the requests of an open loop are meant to start, as seconds since its beginning. Pure.

It must not know clocks or processes. A load is shared out among processes so that their parts together are the whole:
independent Poisson parts add up to a Poisson whole, and evenly spaced ones are dealt out in turn.
Invariant: the same arguments give the same times, and times only grow.
"""

import random
from collections.abc import Iterator
from itertools import count


def constant(rate: float, part: int = 0, parts: int = 1) -> Iterator[float]:
    """One every 1/rate seconds, of which this part takes each ``parts``-th.

    :param rate: a second, of all parts together.
    """
    for number in count(part, parts):
        yield number / rate


def poisson(rate: float, part: int = 0, parts: int = 1, *, seed: int = 1) -> Iterator[float]:
    """At random and independent of each other: the time from one to the next is exponential.

    :param rate: a second, of all parts together.
    """
    gap = random.Random(f"{seed}/{part}/{parts}").expovariate
    mean_rate = rate / parts
    at = 0.0
    while True:
        at += gap(mean_rate)
        yield at


def share(whole: int, part: int, parts: int) -> int:
    """How many of ``whole`` indivisible things a part takes; the first ones take one more."""
    return whole // parts + (part < whole % parts)
