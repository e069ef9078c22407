"""A fleet through its bad moments, request by request: machines fail, restart in turn, or more is asked of them.

Every machine is Kiefer and Wolfowitz's recursion (*On the Theory of Queues with Many Servers*, 1955): of each worker it
is known when it will be free, and who comes next takes the first. All machines take a step together, their n-th request
each, so ten thousand of them cost little more than one. How much a request is slowed down is settled as it starts, by
who is busy then.
A phase that is long is cut short: a queue forgets in a fraction of a second, and nothing new is seen after that.
Pure: time is simulated, chance is seeded.
Invariant: the same fleet, phases and seed give the same course; every request is answered, or is an error.
Read next: ``fleet.py``, the same by formula.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from prefork.lab.fleet import Fleet, split_scv

MOST_STEPS = 20_000  # requests of one machine in one course
MOST_WORK = 300_000_000  # requests of all, times what one of them costs
LEAST_STEPS = 200
LONGEST = 30.0  # seconds of one phase
BINS = 48
SHOWN_BATCHES = 3
_CHUNK = 2_000_000  # requests that are in memory at a time
_FINE = 0.005  # relative: how exactly a percentile is known
_LEAST_SECONDS = 1e-6
_BUCKETS = 5_000  # up to 70 000 s


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which nothing changes.

    :param seconds: that it lasts in truth; ``inf`` is until further notice.
    :param rate: requests a second, of all.
    :param away: machines, from and up to: the balancer knows that they are not there.
    :param dead: likewise, and the balancer does not know: what it sends there is an error.
    """

    name: str
    seconds: float
    rate: float
    away: tuple[int, int] = (0, 0)
    dead: tuple[int, int] = (0, 0)


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in a phase or in a part of one.

    :param at: seconds from the beginning, as simulated.
    :param seconds: that were simulated.
    :param requests: that came.
    :param errors: of these, that were not answered.
    :param percentiles: by the share, 0.5, 0.99, 0.999 and the goal's: seconds; ``None`` where nothing was answered.
    :param utilisation: busy places of workers by those of machines that were there.
    """

    phase: str
    at: float
    seconds: float
    requests: int
    errors: int
    percentiles: dict[float, float | None]
    utilisation: float


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    :param machines: with those that are away for a while.
    :param phases: as they are in truth.
    :param seen: of each phase what was simulated, which may be a part of it.
    :param bins: the same in finer parts.
    :param steps: of a machine, in all: requests that were simulated.
    """

    machines: int
    phases: list[Phase]
    seen: list[Stretch]
    bins: list[Stretch]
    steps: int


def steady(rate: float) -> list[Phase]:
    """Nothing happens."""
    return [Phase(name="all there", seconds=math.inf, rate=rate)]


def failure(lost: int, rate: float, detect: float) -> list[Phase]:
    """Some fail: first nobody notices, then the others take their share.

    :param detect: seconds until the balancer notices; less than can be told apart is at once.
    """
    unnoticed = Phase(name=f"{lost} lost, unnoticed", seconds=detect, rate=rate, dead=(0, lost))
    return [
        *steady(rate),
        *([unnoticed] if detect >= _LEAST_SECONDS else []),
        Phase(name=f"{lost} lost", seconds=math.inf, rate=rate, away=(0, lost)),
    ]


def restart(machines: int, at_a_time: int, rate: float, seconds: float) -> list[Phase]:
    """All are restarted in batches; the first few are watched, for the others are like them.

    :param seconds: that a batch is away, from its draining to its first reply.
    """
    batches = math.ceil(machines / at_a_time)
    phases = steady(rate)
    for number in range(min(batches, SHOWN_BATCHES)):
        batch = (number * at_a_time, min(machines, (number + 1) * at_a_time))
        name = f"batch {number + 1} of {batches} restarts"
        phases.append(Phase(name=name, seconds=seconds, rate=rate, away=batch))
    return phases


def growth(today: float, grown: float) -> list[Phase]:
    """More is asked, from one moment to the next."""
    return [
        Phase(name="today", seconds=math.inf, rate=today),
        Phase(name="grown at once", seconds=math.inf, rate=grown),
    ]


def simulate(fleet: Fleet, machines: int, phases: Sequence[Phase], q: float = 0.99, seed: int = 1) -> Course:
    """The fleet through these phases; it begins empty, and what comes in the first tenth of the first is not told.

    :param q: a share whose percentile is told besides the usual ones.
    """
    shown = _cut(fleet, machines, phases)
    edges = np.concatenate([[0.0], np.cumsum(shown)])
    parts = np.maximum(1, np.round(BINS * np.array(shown) / sum(shown))).astype(int)
    pieces = [np.linspace(edges[i], edges[i + 1], parts[i] + 1)[:-1] for i in range(len(shown))]
    bounds = np.concatenate([*pieces, edges[-1:]])
    books = _Books(bounds)
    random = np.random.default_rng(seed)
    service = np.asarray(fleet.service.seconds)
    at_once = max(1, int(_CHUNK / _most_arrivals(machines, phases, shown)))
    for first in range(0, machines, at_once):
        numbers = np.arange(first, min(machines, first + at_once))
        arrivals = _arrivals(fleet, machines, numbers, phases, edges, random)
        draws = random.choice(service, arrivals.shape)
        starts, held, replies = _serve(fleet, arrivals, draws)
        books.enter(arrivals, starts, held, replies, _deaths(numbers, phases, edges))
    there = [machines - (phase.away[1] - phase.away[0]) - (phase.dead[1] - phase.dead[0]) for phase in phases]
    places = fleet.places * np.repeat(there, parts)
    names = [phase.name for phase, count in zip(phases, parts, strict=True) for _ in range(count)]
    shares = sorted({0.5, 0.99, 0.999, q})
    bins = [books.told(names[i], [i], places, shares) for i in range(len(names))]
    ends = np.cumsum(parts)
    wholes = []
    for phase, end, count in zip(phases, ends, parts, strict=True):
        skipped = math.ceil(count / 10) if end == count and count > 1 else 0  # while the queues fill for the first time
        wholes.append(books.told(phase.name, range(end - count + skipped, end), places, shares))
    return Course(machines=machines, phases=list(phases), seen=wholes, bins=bins, steps=books.requests)


def _cut(fleet: Fleet, machines: int, phases: Sequence[Phase]) -> list[float]:
    """Seconds that each phase is simulated for: each as many requests of a machine as can be afforded, and no longer
    than there is something to see.
    """
    work = 10 + fleet.places
    steps = max(LEAST_STEPS * len(phases), min(MOST_STEPS, MOST_WORK // (work * machines)))
    each = steps / len(phases)
    return [min(phase.seconds, LONGEST, each * machines / phase.rate) for phase in phases]


def _shares(machines: int, numbers: np.ndarray, phase: Phase) -> np.ndarray:
    """Requests a second of each of these machines."""
    there = (numbers < phase.away[0]) | (numbers >= phase.away[1])
    return np.where(there, phase.rate / (machines - (phase.away[1] - phase.away[0])), 0.0)


def _most_arrivals(machines: int, phases: Sequence[Phase], shown: Sequence[float]) -> float:
    """Of one machine, roughly."""
    return 1 + sum(
        seconds * phase.rate / (machines - (phase.away[1] - phase.away[0]))
        for phase, seconds in zip(phases, shown, strict=True)
    )


def _arrivals(
    fleet: Fleet,
    machines: int,
    numbers: np.ndarray,
    phases: Sequence[Phase],
    edges: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """When requests come, a column a machine; ``inf`` where it is given no more.

    Gaps of mean one, on a clock that goes as fast as requests come: so the rate may change at any moment.
    """
    rates = np.stack([_shares(machines, numbers, phase) for phase in phases])
    clock = np.concatenate([np.zeros((1, len(numbers))), np.cumsum(rates * np.diff(edges)[:, None], axis=0)])
    scv = split_scv(fleet.balancer, fleet.service.arrival_scv, machines)
    most = float(clock[-1].max())
    count = math.ceil(most + 6 * math.sqrt(most * max(scv, 0.01)) + 10)
    shape = (count, len(numbers))
    gaps = random.standard_exponential(shape) if scv == 1 else random.gamma(1 / scv, scv, shape)
    gaps[0] *= random.random(len(numbers))  # nobody begins in step
    ticks = np.cumsum(gaps, axis=0)
    arrivals = np.empty(shape)
    for column in range(len(numbers)):
        arrivals[:, column] = np.interp(ticks[:, column], clock[:, column], edges)
    arrivals[ticks >= clock[-1]] = np.inf
    return arrivals


def _deaths(numbers: np.ndarray, phases: Sequence[Phase], edges: np.ndarray) -> np.ndarray:
    """When each of these machines dies; ``inf`` if it does not."""
    deaths = np.full(len(numbers), np.inf)
    for phase, at in zip(phases, edges, strict=False):
        hit = (numbers >= phase.dead[0]) & (numbers < phase.dead[1])
        deaths[hit] = np.minimum(deaths[hit], at)
    return deaths


def _serve(fleet: Fleet, arrivals: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """When each request starts, how long it holds its place, and when it is answered."""
    places = fleet.places
    slowdowns = fleet.service.slowdown(fleet.machine, np.arange(1, places + 1))
    is_slowed = bool(slowdowns[-1] > 1)
    hold = fleet.service.hold / fleet.service.moments[0]
    free = np.zeros((places, arrivals.shape[1]))
    everyone = np.arange(arrivals.shape[1])
    starts = np.empty_like(arrivals)
    slow = np.ones_like(arrivals)
    for number, arrival in enumerate(arrivals):
        first = free.argmin(axis=0)
        start = np.maximum(arrival, free[first, everyone])
        starts[number] = start
        if is_slowed:
            slow[number] = slowdowns[np.minimum(places - 1, (free > start).sum(axis=0))]
        free[first, everyone] = start + draws[number] * slow[number] * hold
    served = draws * slow
    return starts, served * hold, starts + served


class _Books:
    """Counts by the time of arrival, so that no request need be kept."""

    def __init__(self, bounds: np.ndarray) -> None:
        self.bounds = bounds
        count = len(bounds) - 1
        self.answered = np.zeros((count, _BUCKETS), dtype=np.int64)
        self.errors = np.zeros(count, dtype=np.int64)
        self.held = np.zeros(count)

    def enter(
        self, arrivals: np.ndarray, starts: np.ndarray, held: np.ndarray, replies: np.ndarray, deaths: np.ndarray
    ) -> None:
        """What machines did; who waits or is served on one that dies is lost at that moment."""
        came = np.isfinite(arrivals)
        lost = came & (replies > deaths)
        answered = came & ~lost
        took = replies[answered] - arrivals[answered]
        buckets = np.log(np.maximum(took, _LEAST_SECONDS) / _LEAST_SECONDS) / _FINE
        cells = self._bin(arrivals[answered]) * _BUCKETS + np.minimum(buckets.astype(np.int64), _BUCKETS - 1)
        self.answered += np.bincount(cells, minlength=self.answered.size).reshape(self.answered.shape)
        moments = np.maximum(arrivals, deaths)[lost]
        self.errors += np.bincount(self._bin(moments), minlength=len(self.errors))
        begun = answered & (starts < self.bounds[-1])
        self.held += np.bincount(self._bin(starts[begun]), held[begun], minlength=len(self.held))

    def _bin(self, moments: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.bounds, moments, "right") - 1

    @property
    def requests(self) -> int:
        return int(self.answered.sum() + self.errors.sum())

    def told(self, phase: str, bins: Sequence[int], places: np.ndarray, shares: Sequence[float]) -> Stretch:
        chosen = list(bins)
        counts = self.answered[chosen].sum(axis=0)
        seconds = np.diff(self.bounds)[chosen]
        return Stretch(
            phase=phase,
            at=float(self.bounds[chosen[0]]),
            seconds=float(seconds.sum()),
            requests=int(counts.sum() + self.errors[chosen].sum()),
            errors=int(self.errors[chosen].sum()),
            percentiles={share: _percentile(counts, share) for share in shares},
            utilisation=float(self.held[chosen].sum() / (seconds * places[chosen]).sum()),
        )


def _percentile(counts: np.ndarray, q: float) -> float | None:
    """The middle of the bucket that a share of ``q`` ends in."""
    total = int(counts.sum())
    if not total:
        return None
    bucket = int(np.searchsorted(np.cumsum(counts), math.ceil(q * total)))
    return float(_LEAST_SECONDS * math.exp((bucket + 0.5) * _FINE))
