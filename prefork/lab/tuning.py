"""A tuning, as records: what was measured by worker count, and what was made of it.

It must not know how a count is measured (``bench.py``), which are (``tuner.py``), judged (``advice.py``) or printed.
Invariant: every round that was measured is kept, so that whatever is said can be computed again.
"""

from statistics import median
from typing import Literal

import msgspec

from prefork.lab.comparison import Machine
from prefork.lab.doubts import Doubt
from prefork.lab.goals import Goal, measured
from prefork.lab.load import Latencies
from prefork.lab.profile import Scalability

End = Literal["flat", "enough", "budget", "start", "cpus", "memory", "max-workers", "interrupted"]
"""Why no larger count was tried: the throughput no longer grew, or was twice what is asked for; the time was out; more
could not be started; four times as many as fill the CPUs, as many as fit or are wanted; or the user had enough."""

_BEHIND = 0.05  # of the requests: as many more than there is room for are no accident


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the service with so many workers, under one load.

    :param asked: requests a second of an open loop; ``None``: clients that send the next when they have their reply.
    :param clients: of a closed loop, enough to keep all workers busy.
    :param rate: requests a second that were answered rightly; of an open loop before its end.
    :param due: requests of the measured time, ``late`` those of them that were not answered rightly by its end.
    :param room: requests that the workers serve at once.
    :param errors: by kind, as in ``load.Result``.
    :param cpus: seconds a second that the whole service used, ``generator_cpus`` what sent the requests.
    :param generator_share: of one CPU, of the busiest generator; 1 is all of it.
    :param pss_bytes: of the whole service, the most that was seen under the load.
    """

    workers: int
    asked: float | None = None
    clients: int = 0
    rate: float
    due: int
    late: int
    room: int
    latency: Latencies | None
    errors: dict[str, int]
    cpus: float
    generator_cpus: float
    generator_share: float
    pss_bytes: int
    boot_seconds: float
    doubts: list[Doubt] = []

    @property
    def keeps_up(self) -> bool:
        """Whether an open loop was answered as fast as it asked: no error, and at its end no queue that had grown."""
        return self.asked is None or (not self.errors and self.late <= max(2 * self.room, _BEHIND * self.due))


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds the number of workers, each with what says so.

    :param memory: bytes.
    :param most: workers, by the user's word.
    """

    cpus: float
    cpus_why: str
    memory: int
    memory_why: str
    most: int


class Weight(msgspec.Struct, frozen=True):
    """PSS in bytes: of what there is besides workers, and what each worker adds."""

    base: int
    worker: int


class Band(msgspec.Struct, frozen=True):
    """What the fitted law says of a worker count: requests a second, with the 95 % interval of its bootstrap."""

    workers: int
    rate: float
    low: float
    high: float


class Law(msgspec.Struct, frozen=True, kw_only=True):
    """The fit of the Universal Scalability Law to all rounds.

    :param peak: workers with the largest throughput by the law; ``None`` where it has no peak.
    """

    scalability: Scalability
    band: list[Band]
    peak: float | None
    r_squared: float


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """How many workers to run.

    :param why: the clause after "because".
    :param moved_from: what was chosen before the last run showed a better neighbour.
    :param verified: what the last run said; empty where there was no time for it.
    """

    workers: int
    why: str
    moved_from: int | None = None
    verified: str = ""


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """See above.

    :param title: the target, or the workload with its parameter.
    :param at_once: requests that one worker serves at once.
    :param cpu_share: of one CPU, that one busy worker uses when it is alone.
    :param service_seconds: quantiles of the service time of one worker that has the machine to itself.
    :param rate: that the user wants to serve; ``None`` is as much as there can be.
    :param climb_end: why the sweep tried no more workers than it did.
    :param sweep: rounds of the closed loop; ``goal_runs`` of the open one; ``last_runs`` of the verification.
    :param theory: seconds by name of the goal, at the chosen count: what Allen and Cunneen's formula says.
    :param choice: ``None`` where no number of workers does, or nothing was found in time.
    :param is_whole: whether it was not interrupted.
    """

    title: str
    target: str
    made: str
    command: str
    machine: Machine
    mode: str
    at_once: int
    limits: Limits
    cpu_share: float
    service_seconds: list[float]
    rate: float | None
    goals: list[Goal]
    climb_end: End
    sweep: list[Trial]
    goal_runs: list[Trial]
    last_runs: list[Trial]
    weight: Weight | None
    law: Law | None
    theory: dict[str, float]
    choice: Choice | None
    doubts: list[Doubt]
    is_whole: bool


def by_workers(trials: list[Trial]) -> dict[int, list[Trial]]:
    """In the order of counts."""
    found: dict[int, list[Trial]] = {}
    for trial in sorted(trials, key=lambda one: one.workers):
        found.setdefault(trial.workers, []).append(trial)
    return found


def rates(trials: list[Trial]) -> dict[int, list[float]]:
    """Requests a second by worker count."""
    return {workers: [one.rate for one in rounds] for workers, rounds in by_workers(trials).items()}


def middle(rounds: list[Trial], goal: Goal) -> float | None:
    """The median over rounds of the percentile that a goal is about; ``None`` where nothing was answered."""
    known = [measured(one.latency, goal) for one in rounds if one.latency is not None]
    return median(known) if known else None
