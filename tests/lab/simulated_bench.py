"""A bench for the tuner whose service is a queue, simulated request by request; no process, no time.

It must not know what is asked of it. Invariant: the same seed gives the same runs; a run begins with nobody waiting
and ends when its time is over, as a real one does.
"""

import heapq
import random
from collections.abc import Callable
from itertools import count, takewhile

import numpy as np

from prefork.lab.load import Latencies
from prefork.lab.tuning import Trial

Taken = Callable[[random.Random], float]


def exponential(mean: float) -> Taken:
    return lambda dice: dice.expovariate(1 / mean)


def always(seconds: float) -> Taken:
    return lambda dice: seconds


class SimulatedBench:
    """A ``tuner.Bench``; workers neither help nor hinder each other.

    :param taken: seconds that a request takes.
    """

    def __init__(self, taken: Taken, seed: int) -> None:
        self._taken = taken
        self._dice = random.Random(seed)
        self._clock = 0.0
        self.runs: list[tuple[str, int, float]] = []

    def now(self) -> float:
        return self._clock

    def alone(self, seconds: float) -> tuple[Trial, list[float]]:
        times: list[float] = []
        while sum(times) < seconds:
            times.append(self._taken(self._dice))
        trial = self._trial("alone", 1, seconds, None, len(times), 0, times)
        return trial, [float(one) for one in np.quantile(times, (np.arange(200) + 0.5) / 200)]

    def closed(self, workers: int, seconds: float) -> Trial:
        done = 0
        for _ in range(workers):
            ends = -0.25 * seconds
            while (ends := ends + self._taken(self._dice)) < seconds:
                done += ends >= 0
        return self._trial("closed", workers, seconds, None, done, 0, [])

    def opened(self, workers: int, asked: float, seconds: float) -> Trial:
        free = [-seconds] * workers
        came = -0.25 * seconds
        gaps = (self._dice.expovariate(asked) for _ in count())
        due = late = 0
        times = []
        for at in takewhile(lambda at: at < seconds, (came := came + gap for gap in gaps)):
            ended = max(at, free[0]) + self._taken(self._dice)
            heapq.heapreplace(free, ended)
            if at >= 0:
                times.append(ended - at)
                due, late = due + 1, late + (ended > seconds)
        return self._trial("opened", workers, seconds, asked, due, late, times)

    def _trial(
        self, kind: str, workers: int, seconds: float, asked: float | None, due: int, late: int, times: list[float]
    ) -> Trial:
        self.runs.append((kind, workers, seconds))
        self._clock += 1.25 * seconds + 0.6
        known = [float(one) for one in np.quantile(times, (0.5, 0.9, 0.99, 0.999, 1.0))] if times else []
        return Trial(
            workers=workers,
            asked=asked,
            rate=(due - late) / seconds,
            due=due,
            late=late,
            room=workers,
            latency=Latencies(sum(times) / len(times), *known) if times else None,
            errors={},
            cpus=0.01 * workers,
            generator_cpus=0.01,
            generator_share=0.01,
            pss_bytes=(20 + 10 * workers) << 20,
            boot_seconds=0.3,
        )
