"""The scale of one service: what its workers and molds weigh, and weighed the last times.

A few are weighed a look, and of those only whose weight may have changed: a worker that has done nothing since is not
asked again, so an idle service is not looked at. It must not know what follows from a weight.
Invariant: weighing takes at most one part in fifty of the master's time, however heavy the processes.
Read next: ``prefork/system/memory.py``, how one is weighed; ``prefork/pool/recycling.py``, what too heavy is.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from prefork.config.service import Service
from prefork.master.meter import LOOK
from prefork.pool.recycling import SOFT_SAMPLES

WEIGHED = 8  # processes a look
ENOUGH = 0.002  # seconds: whoever is heavy is weighed alone
SHARE = 0.02  # of the master's time
KEPT = SOFT_SAMPLES  # as many as anybody asks for

logger = logging.getLogger("prefork.master")
Weigh = Callable[[int], Mapping[str, int] | None]


def scale_for(service: Service) -> "Scale | None":
    """What the service's settings need, if anything. It imports psutil, so it is made before the master is ready."""
    if not service.weighs:
        return None
    from prefork.system import memory

    return Scale(memory.weigh)


class Figure(NamedTuple):
    """What a process weighed.

    :param samples: by measure, the newest last; none of a process that could not be weighed.
    :param done: as many requests it had served by then; of a mold, as many workers there were to share with.
    """

    samples: Mapping[str, tuple[int, ...]]
    at: float
    done: int | None


_NEVER = Figure({}, float("-inf"), None)


class Scale:
    """See above. It is asked at every decision, however soon after the one before.

    :param weigh: bytes by measure of a pid; ``None`` of one that is gone; PermissionError.
    :param clock: of what weighing takes: CPU time, for on a busy machine the rest says nothing of the processes.
    """

    def __init__(self, weigh: Weigh, clock: Callable[[], float] = time.thread_time) -> None:
        self._weigh = weigh
        self._clock = clock
        self._figures: dict[int, Figure] = {}  # by pid
        self._rests_until = float("-inf")
        self._has_complained = False

    def look(self, workers: Mapping[int, int | None], molds: Collection[int], now: float) -> None:
        """Weigh a few, those first whose figures are the oldest.

        :param workers: pids, with the requests each has served; ``None`` of one that is busy.
        :param molds: pids.
        """
        if now < self._rests_until and not workers.keys().isdisjoint(self._figures):
            return
        done = {**workers, **dict.fromkeys(molds, len(workers))}
        self._figures = {pid: figure for pid, figure in self._figures.items() if pid in done}
        due = [pid for pid in done if self._may_have_changed(pid, done[pid])]
        due.sort(key=lambda pid: self._figures.get(pid, _NEVER).at)
        begun, spent = self._clock(), 0.0
        for pid in due[:WEIGHED]:
            self._weigh_one(pid, done[pid], now)
            spent = self._clock() - begun
            if spent >= ENOUGH:
                break
        self._rests_until = now + max(LOOK, spent / SHARE)

    def samples(self, pid: int, measure: str) -> tuple[int, ...]:
        """The last weights of a process, in bytes, the newest last; none where it was not weighed yet."""
        return self._figures.get(pid, _NEVER).samples.get(measure, ())

    def weighed_at(self, pid: int) -> float:
        return self._figures.get(pid, _NEVER).at

    def affordable(self, budget: int, workers: Iterable[int], molds: Iterable[int]) -> int | None:
        """How many workers of the present weight the budget has room for, at least one.

        What processes share counts once: it goes by PSS. ``None`` as long as no worker has a figure.

        :param workers: pids.
        """
        known = [samples[-1] for pid in workers if (samples := self.samples(pid, "pss"))]
        rest = budget - sum(samples[-1] for pid in molds if (samples := self.samples(pid, "pss")))
        return max(1, int(rest * len(known) / sum(known))) if known else None

    def _may_have_changed(self, pid: int, done: int | None) -> bool:
        figure = self._figures.get(pid)
        return figure is None or done is None or done != figure.done

    def _weigh_one(self, pid: int, done: int | None, now: float) -> None:
        weight: Mapping[str, int] = {}
        try:
            weight = self._weigh(pid) or {}
        except PermissionError as error:
            self._complain(error)
        before = self._figures.get(pid, _NEVER).samples
        samples = {measure: (*before.get(measure, ()), size)[-KEPT:] for measure, size in weight.items()}
        self._figures[pid] = Figure(samples, now, done)

    def _complain(self, error: PermissionError) -> None:
        if not self._has_complained:
            self._has_complained = True
            remedy = "run the master with CAP_SYS_PTRACE, or let its workers keep its user"
            logger.warning("limits of memory do not hold, for a %s; %s", error, remedy)
