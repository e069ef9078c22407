"""A queue simulated request by request, one after the other: what the formulas are compared with."""

import heapq
from collections.abc import Sequence

import numpy as np


def simulate(
    workers: int, rate: float, service_seconds: Sequence[float], *, requests: int, seed: int, arrival_scv: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """One queue before several workers, first come, first served.

    :param service_seconds: of which each request draws one.
    :param arrival_scv: of gaps with a gamma law.
    :returns: waits and responses in seconds, without the first tenth, when the queue was still empty.
    """
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.gamma(1 / arrival_scv, arrival_scv / rate, requests))
    services = random.choice(np.asarray(service_seconds), requests)
    free = [0.0] * workers
    waits = np.empty(requests)
    for number, (arrival, service) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        start = max(free[0], arrival)
        waits[number] = start - arrival
        heapq.heapreplace(free, start + service)
    return waits[requests // 10 :], (waits + services)[requests // 10 :]
