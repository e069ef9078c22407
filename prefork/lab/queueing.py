"""How long requests wait for a worker, by theory: several workers, one queue, requests at random (G/G/c).

Pure: it must not know where its figures come from. Exact for M/M/c, and for the mean of M/G/1; else an approximation:

- who waits at all: Erlang's formula for M/M/c, whatever the law of the service time (Tijms, *A First Course in
  Stochastic Models*, 2003, chapter 9: hardly sensitive to it);
- the mean wait: Allen and Cunneen's, M/M/c's times the mean of the two squared coefficients of variation (Allen,
  *Probability, Statistics and Queueing Theory*, 1990, section 5.3);
- the law of the wait of those who wait: gamma, with that mean and the variability that Whitt gives it, which is
  M/G/1's (*Approximations for the GI/G/m Queue*, Production and Operations Management 2, 1993).

Invariant: more workers never wait longer, a higher rate never shorter.
Read next: ``fleet.py``, many machines of this kind; ``docs/lab.md``, how far it agrees with simulation.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincc, gammainccinv

FINE = 2000  # quantiles of a law, where few would make percentiles jump from one to the next
_TINY = 1e-12  # a share that is nobody, and a wait that is none


def erlang_b(workers: int, offered: float) -> float:
    """The share that finds all workers busy where nobody waits.

    By the recursion over the number of workers, which neither overflows nor cancels: exact at tens of thousands.

    :param offered: the load in Erlangs: rate times service time.
    """
    blocked = 1.0
    for count in range(1, workers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked


def erlang_c(workers: int, offered: float) -> float:
    """The share that has to wait, of M/M/c; 1 where there is more work than workers.

    :param offered: the load in Erlangs: rate times service time.
    """
    if offered >= workers:
        return 1.0
    blocked = erlang_b(workers, offered)
    return blocked / (1 - offered / workers * (1 - blocked))


class Wait(msgspec.Struct, frozen=True):
    """The law of the wait: some do not wait at all, the wait of the others is gamma.

    :param share: that waits.
    :param mean: seconds, of those who wait; ``inf`` where the queue grows for ever.
    :param scv: squared coefficient of variation of theirs; 1 is an exponential law.
    """

    share: float
    mean: float
    scv: float

    def beyond(self, seconds: np.ndarray) -> np.ndarray:
        """The share that waits longer than each of these; all of them do for less than nothing."""
        if not math.isfinite(self.mean):
            return np.ones_like(seconds)
        if self.mean <= 0:
            return np.where(seconds < 0, 1.0, 0.0)
        tail = gammaincc(1 / self.scv, np.maximum(seconds, 0) / (self.scv * self.mean))
        return np.where(seconds < 0, 1.0, self.share * tail)

    def percentile(self, q: float) -> float:
        """Seconds that a share of ``q`` does not exceed, as 0.99."""
        if not math.isfinite(self.mean):
            return math.inf
        if self.share <= 1 - q:
            return 0.0
        return float(gammainccinv(1 / self.scv, (1 - q) / self.share)) * self.scv * self.mean


def wait_scv(utilisation: float, service_scv: float, service_third: float | None = None) -> float:
    """How much the wait of those who wait varies. Exact for M/G/1, where the third moment is given.

    :param service_third: third moment of the service time, by the third power of its mean. ``None`` is Whitt's guess:
        that of the hyperexponential law with balanced means beyond an scv of 1, Erlang-like below it.
    """
    if service_third is None:
        cubic = 3 * service_scv * (1 + service_scv), (2 * service_scv + 1) * (service_scv + 1)
        service_third = cubic[0] if service_scv >= 1 else cubic[1]
    return 2 * utilisation - 1 + 4 * (1 - utilisation) * service_third / (3 * (service_scv + 1) ** 2)


class Station(msgspec.Struct, frozen=True):
    """Workers that share one queue.

    :param rate: requests a second.
    :param service_mean: seconds.
    :param service_scv: squared coefficient of variation of the service time.
    :param arrival_scv: of the time from one arrival to the next; 1 is Poisson.
    :param service_third: see ``wait_scv``.
    """

    workers: int
    rate: float
    service_mean: float
    service_scv: float
    arrival_scv: float = 1.0
    service_third: float | None = None

    @property
    def utilisation(self) -> float:
        return self.rate * self.service_mean / self.workers

    @property
    def p_wait(self) -> float:
        """The share that waits."""
        return erlang_c(self.workers, self.rate * self.service_mean)

    @property
    def wait(self) -> Wait:
        """The law of the wait."""
        if self.utilisation >= 1:
            return Wait(1.0, math.inf, 1.0)
        variability = (self.arrival_scv + self.service_scv) / 2
        mean = variability * self.service_mean / (self.workers * (1 - self.utilisation))
        return Wait(self.p_wait, mean, wait_scv(self.utilisation, self.service_scv, self.service_third))

    @property
    def mean_wait(self) -> float:
        """Seconds, over all requests; ``inf`` where the queue grows for ever."""
        wait = self.wait
        return wait.share * wait.mean

    def wait_percentile(self, q: float) -> float:
        """Seconds that a share of ``q`` of the requests does not wait longer than, as 0.99."""
        return self.wait.percentile(q)


def moments(service_seconds: Sequence[float]) -> tuple[float, float, float]:
    """Of a law that is given by evenly spaced quantiles: the mean, the squared coefficient of variation, and the third
    moment by the third power of the mean.
    """
    law = np.asarray(service_seconds, dtype=float)
    mean = float(law.mean())
    return mean, float(law.var()) / mean**2, float((law**3).mean()) / mean**3


def smooth(service_seconds: Sequence[float]) -> np.ndarray:
    """The same law with as many quantiles as percentiles need: between two that are known, by a straight line.

    The mean stays what it is.
    """
    known = np.asarray(service_seconds, dtype=float)
    if len(known) >= FINE or len(known) == 1:
        return known
    levels = (np.arange(len(known)) + 0.5) / len(known)
    fine: np.ndarray = np.interp((np.arange(FINE) + 0.5) / FINE, levels, np.sort(known))
    fine *= known.mean() / fine.mean()
    return fine


def station(workers: int, rate: float, service_seconds: Sequence[float], arrival_scv: float = 1.0) -> Station:
    """The station that serves so, with the moments of that law."""
    mean, scv, third = moments(service_seconds)
    return Station(workers, rate, mean, scv, arrival_scv, third)


def sum_percentile(wait: Wait, service_seconds: np.ndarray, q: float) -> float:
    """Seconds that a share of ``q`` does not exceed, of the wait and the service together, taken as independent.

    :param service_seconds: evenly spaced quantiles, each as likely as the others.
    """
    longest = wait.percentile(1 - (1 - q) * _TINY)
    if not math.isfinite(longest):
        return math.inf

    def too_many(seconds: float) -> float:
        return float(wait.beyond(seconds - service_seconds).mean()) - (1 - q)

    least = float(np.quantile(service_seconds, q, method="inverted_cdf"))  # without any wait
    if wait.share <= _TINY or too_many(least) <= 0:
        return least
    return float(brentq(too_many, least, float(service_seconds.max()) + longest, xtol=1e-9, rtol=1e-9))


def response_percentile(station: Station, service_seconds: Sequence[float], q: float) -> float:
    """Seconds from arrival to reply that a share of ``q`` does not exceed; ``inf`` where the queue grows for ever.

    :param service_seconds: evenly spaced quantiles of the service time, of which the station has the moments.
    """
    return sum_percentile(station.wait, smooth(service_seconds), q)


def least_workers(
    rate: float, service_seconds: Sequence[float], q: float, goal: float, arrival_scv: float = 1.0, most: int = 10_000
) -> int | None:
    """The fewest workers with which a share of ``q`` of the requests takes no longer than the goal.

    :param rate: requests a second.
    :param goal: seconds from arrival to reply.
    :param most: how many there may be.
    :returns: ``None`` where ``most`` are too few, or the service alone takes longer.
    """

    law = smooth(service_seconds)

    def is_enough(workers: int) -> bool:
        wait = station(workers, rate, service_seconds, arrival_scv).wait
        return sum_percentile(wait, law, q) <= goal

    low, high = 0, most
    if most < 1 or not is_enough(most):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
