"""How throughput grows with workers: the Universal Scalability Law, fitted to measured rounds, with what is unsure.

Weighted least squares with contention from zero to one and coherency not below zero. The law turned over, N / X(N), is
linear in 1/one, contention/one and coherency/one; which of the last two are at their bounds is tried, all six ways,
each by Levenberg-Marquardt. The confidence is a bootstrap's: rounds are drawn again at each number of workers, and all
fits are made at once. Pure: it must not know what was measured.
Sources: Gunther, *Guerrilla Capacity Planning*, 2007, chapter 5; Efron and Tibshirani, *An Introduction to the
Bootstrap*, 1993, sections 6 and 13.
Invariant: the same points and seed give the same fit, in whatever order the points come.
Read next: ``profile.py``, the law; ``docs/lab.md``, fits of data whose law is known.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec.structs import replace
from scipy.special import ndtri, stdtrit

from prefork.lab.doubts import Doubt
from prefork.lab.profile import Scalability

_SHRINK = 10.0  # rounds that the noise of all worker counts together is worth, beside the spread at one of them
_LEAST = 0.01  # of the throughput seen: none that is drawn is less
_STEPS = 60
_EXACT = 1e-12  # relative: what the squares of a perfect fit are rounded to
# columns of the law turned over: 1, N - 1, N (N - 1), and N, which is the first two where contention is one
_FREE = ((0,), (0, 1), (0, 2), (0, 1, 2), (3,), (2, 3))

ENOUGH_COUNTS = 4
GOOD_FIT = 0.95
MISSED = 0.05  # relative; a curve that is nearly flat has little variance to explain, and may be right
WIDE = 0.25


class Fit(msgspec.Struct, frozen=True):
    """A law and how sure it is.

    :param draws: ``one``, contention, coherency of each fit of the bootstrap, a row each.
    :param r_squared: the share of the variance among the points that the law explains.
    """

    law: Scalability
    draws: np.ndarray
    r_squared: float
    doubts: list[Doubt]

    def interval(self, workers: float) -> tuple[float, float]:
        """Requests a second of so many busy workers: what holds 95 % of the bootstrap."""
        one, contention, coherency = self.draws.T
        n = workers
        return _middle_95(one * n / (1 + contention * (n - 1) + coherency * n * (n - 1)))

    @property
    def peak(self) -> float:
        """The number of workers with the most throughput; more would have less. ``inf`` where there is no such."""
        return peak_of(self.law)

    @property
    def knee(self) -> float:
        """Where as many workers that did not hinder each other would do the most these ever do; ``inf`` if they never
        hinder each other. Beyond it another worker brings little.
        """
        return most_of(self.law) / self.law.one


def peak_of(law: Scalability) -> float:
    """See ``Fit.peak``."""
    if law.coherency <= 0:
        return math.inf
    return max(1.0, math.sqrt(max(0.0, 1 - law.contention) / law.coherency))


def most_of(law: Scalability) -> float:
    """The most requests a second with any number of workers."""
    peak = peak_of(law)
    if math.isfinite(peak):
        return law.throughput(peak)
    return law.one / law.contention if law.contention > 0 else math.inf


def fit(points: Sequence[tuple[int, float]], *, seed: int = 1, resamples: int = 1000) -> Fit:
    """The law behind measured rounds.

    :param points: each round: workers, requests a second; several rounds a number of workers show the noise.
    :raises ValueError: there are fewer than two numbers of workers, or a throughput is not above zero.
    """
    counts = sorted({workers for workers, _ in points})
    if len(counts) < 2 or min(rate for _, rate in points) <= 0 or counts[0] < 1:
        raise ValueError("a fit needs throughput above zero with at least two numbers of workers")
    rounds = [np.array(sorted(rate for workers, rate in points if workers == count)) for count in counts]
    n = np.array(counts, dtype=float)
    means = np.array([group.mean() for group in rounds])
    sizes = np.array([len(group) for group in rounds])
    variances = _variances(rounds, means, sizes)
    weights = sizes / variances
    chosen = _solve(n, means[None, :], weights)
    drawn = _again(rounds, means, np.sqrt(variances), _throughput(chosen[0], n), resamples, seed)
    draws = _solve(n, drawn, weights)
    one, contention, coherency = (float(value) for value in chosen[0])
    law = Scalability(one, contention, coherency, *(_middle_95(column) for column in draws.T))
    everything = np.concatenate(rounds)
    expected = np.repeat(_throughput(chosen[0], n), sizes)
    spread = float(((everything - everything.mean()) ** 2).sum())
    r_squared = 1 - float(((everything - expected) ** 2).sum()) / spread if spread else 1.0
    missed = math.sqrt(float(((everything / expected - 1) ** 2).mean()))
    bare = Fit(law, draws, r_squared, [])
    return replace(bare, doubts=_doubts(bare, counts, sizes, missed))


def _variances(rounds: list[np.ndarray], means: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Of one round at each number of workers: its own spread, drawn towards the relative spread of all.

    Few rounds say little about their own noise; throughput's noise grows with it, so relative spreads compare.
    """
    free = sizes - 1
    squares = np.array([((group - mean) ** 2).sum() for group, mean in zip(rounds, means, strict=True)])
    if not squares.any():
        return means**2
    shared = float((squares / means**2).sum() / free.sum())
    variances: np.ndarray = (_SHRINK * shared * means**2 + squares) / (_SHRINK + free)
    return variances


def _again(
    rounds: list[np.ndarray], means: np.ndarray, noise: np.ndarray, fitted: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """The mean at each number of workers, as it might have come out as well: a row a resample.

    Three rounds drawn from three show too little of their noise. So deviations are made comparable by the noise where
    they were seen, widened for having been measured from a mean of few, and drawn from all of them. Where each number
    of workers was measured once, what the law misses is drawn instead.

    :param noise: the standard deviation of one round at each number of workers.
    """
    random = np.random.default_rng(seed)
    if max(map(len, rounds)) == 1:
        missed = means / fitted - 1
        free = max(1, len(missed) - 3)
        missed = (missed - missed.mean()) * math.sqrt(len(missed) / free) * _student(free)
        return _believable(fitted * (1 + random.choice(missed, (resamples, len(missed)))), means)
    several = [
        (group - mean) / sigma for group, mean, sigma in zip(rounds, means, noise, strict=True) if len(group) > 1
    ]
    deviations = np.concatenate([group * math.sqrt(len(group) / (len(group) - 1)) for group in several])
    deviations *= _student(sum(len(group) - 1 for group in several))
    columns = [
        mean + sigma * random.choice(deviations, (resamples, len(group))).mean(axis=1)
        for group, mean, sigma in zip(rounds, means, noise, strict=True)
    ]
    return _believable(np.stack(columns, axis=1), means)


def _believable(drawn: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Noise may be wide, throughput is above zero."""
    positive: np.ndarray = np.maximum(drawn, _LEAST * means)
    return positive


def _student(free: int) -> float:
    """How much wider 95 % are where the noise itself is known from few: Student's law by the normal one."""
    return float(stdtrit(free, 0.975)) / float(ndtri(0.975))


def _throughput(parameters: np.ndarray, n: np.ndarray) -> np.ndarray:
    one, contention, coherency = parameters
    return np.asarray(one * n / (1 + contention * (n - 1) + coherency * n * (n - 1)))


def _solve(n: np.ndarray, means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The best law for each row of throughputs: ``one``, contention, coherency."""
    best = np.full(len(means), np.inf)
    nothing = _EXACT * (weights * means**2).sum(axis=1)
    law = np.zeros((len(means), 3))
    for free in _FREE:
        if len(free) > len(n):
            continue
        turned, error = _levenberg_marquardt(n, means, weights, list(free))
        possible = (turned >= 0).all(axis=1) & (turned[:, 0] > 0) & (turned[:, 1] <= turned[:, 0] * (1 + _EXACT))
        better = (error < best - nothing) & possible
        best[better] = error[better]
        law[better] = turned[better]
    return np.column_stack([1 / law[:, 0], law[:, 1] / law[:, 0], law[:, 2] / law[:, 0]])


def _levenberg_marquardt(
    n: np.ndarray, means: np.ndarray, weights: np.ndarray, free: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Least squares without bounds over the parameters that are free, for all rows at once.

    It begins with the law turned over, N / X(N), which is linear in them.

    :returns: 1/one, contention/one, coherency/one, a row each, and the sum of squares.
    """
    basis = np.stack([np.ones_like(n), n - 1, n * (n - 1), n], axis=1)
    scale = np.maximum(basis.max(axis=0), 1.0)[free]
    columns = basis[:, free] / scale
    linear = np.sqrt(weights) * means**2 / n  # an error of X is as many times smaller in N / X
    system = linear[:, :, None] * columns
    right = linear * n / means
    normal = _regular(np.einsum("rjp,rjq->rpq", system, system))
    turned = np.linalg.solve(normal, np.einsum("rjp,rj->rp", system, right)[..., None])[..., 0]
    flat = np.linalg.lstsq(columns, np.full(len(n), float((n / means).mean())), rcond=None)[0]
    turned[(turned @ columns.T <= 0).any(axis=1)] = flat
    error = _error(turned, n, means, weights, columns)
    damping = np.full(len(means), 1e-3)
    for _ in range(_STEPS):
        whole = turned @ columns.T
        slope = -(n / whole**2)[..., None] * columns
        missed = means - n / whole
        normal = np.einsum("rjp,j,rjq->rpq", slope, weights, slope)
        damped = _regular(normal + damping[:, None, None] * normal * np.eye(len(free)))
        downhill = np.einsum("rjp,j,rj->rp", slope, weights, missed)[..., None]
        step = turned + np.linalg.solve(damped, downhill)[..., 0]
        there = _error(step, n, means, weights, columns)
        better = there < error
        settled = not (error[better] - there[better] > 1e-10 * error[better]).any()
        turned[better], error[better] = step[better], there[better]
        damping = np.where(better, damping / 10, np.minimum(damping * 10, 1e6))
        if settled and (better | (damping >= 1)).all():
            break
    full = np.zeros((len(means), 4))
    full[:, free] = turned / scale
    full[:, :2] += full[:, 3:]
    return full[:, :3], error


def _regular(normal: np.ndarray) -> np.ndarray:
    """The same matrices, just so much changed that each can be turned over."""
    size = normal.shape[-1]
    trace = np.einsum("rpp->r", normal)[:, None, None]
    return np.asarray(normal + 1e-13 * trace * np.eye(size))


def _error(
    turned: np.ndarray, n: np.ndarray, means: np.ndarray, weights: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """The weighted sum of squares; ``inf`` where the law is no throughput."""
    whole = turned @ columns.T
    possible = (whole > 0).all(axis=1)
    error = (weights * (means - n / np.where(whole > 0, whole, 1.0)) ** 2).sum(axis=1)
    return np.where(possible, error, np.inf)


def _middle_95(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _doubts(fit: Fit, counts: list[int], sizes: np.ndarray, missed: float) -> list[Doubt]:
    doubts = []
    most = counts[-1]
    if len(counts) < ENOUGH_COUNTS:
        doubts.append(
            Doubt("few-points", f"only {len(counts)} numbers of workers were measured; measure {ENOUGH_COUNTS} or more")
        )
    if sizes.max() == 1:
        doubts.append(Doubt("one-round", "each number of workers was measured once; measure three rounds to see noise"))
    reached = fit.law.throughput(most) / (fit.law.one * most)
    if reached > 0.9:
        doubts.append(
            Doubt(
                "narrow",
                f"with {most} workers throughput still grows with each of them ({100 * reached:.0f} % of what they"
                " would do alone), so what hinders them was not seen; measure more workers",
            )
        )
    if fit.r_squared < GOOD_FIT and missed > MISSED:
        doubts.append(
            Doubt(
                "bad-fit",
                f"the law misses the points by {100 * missed:.0f} %; trust the points rather"
                " than the curve, and look for what changes between worker counts",
            )
        )
    low, high = fit.interval(most)
    width = (high - low) / (2 * fit.law.throughput(most))
    if width > WIDE:
        doubts.append(
            Doubt(
                "wide",
                f"with {most} workers the law is known to ±{100 * width:.0f} % only; measure longer, or more rounds",
            )
        )
    return doubts
