"""Savings: what a refork was good for: the memory of the workers and their mold, before and after.

A process costs its share of what it shares (PSS), so the sum is what they need together. They are weighed a few at a
time, for the kernel walks all pages of each. It must not decide, nor wait for anybody.
Invariant: whoever began to measure gets one text in the end, of figures or of the reason why there are none.
"""

import time
from collections.abc import Iterable

from prefork.pool import events
from prefork.pool.records import Pool
from prefork.system.smaps import proportional_bytes

TURN = 0.002  # seconds that weighing may take between two looks at everything else
MEBIBYTE = 1 << 20
now = time.monotonic


class Sum:
    """Of the memory of processes, those left out that are gone before their turn."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._left = list(pids)
        self.size = 0

    @property
    def is_done(self) -> bool:
        return not self._left

    def go_on(self) -> None:
        until = now() + TURN
        while self._left:
            self.size += proportional_bytes(self._left.pop()) or 0
            if now() >= until:
                return


class Savings:
    """Of one service, one refork after the other."""

    def __init__(self) -> None:
        self._before: Sum | None = None
        self._after: Sum | None = None
        self._generation = 0  # that the refork brings, once it has a number

    @property
    def has_more(self) -> bool:
        """Whether there is somebody to weigh now."""
        return any(part is not None and not part.is_done for part in (self._before, self._after))

    def learn(self, event: events.Event, pids: Iterable[int]) -> None:
        """:param pids: of all workers and molds of the service as they are now."""
        match event:
            case events.ReforkAsked():
                self._before, self._after, self._generation = Sum(pids), None, 0
            case events.WorkerPromoted(generation=generation):
                self._generation = generation
            case events.ReforkAbandoned() | events.GenerationAbandoned():
                self._before = self._after = None

    def go_on(self, pool: Pool, pids: Iterable[int]) -> str:
        """Weigh on; what comes out once it is known, else nothing.

        :param pids: as above, those of the reforked generation alone as soon as the others are gone.
        """
        before, generation = self._before, self._generation
        if before is None:
            return ""
        before.go_on()
        if not generation or pool.serving < generation:
            return ""
        if pool.serving > generation or pool.coming is not None or pool.is_stopping:
            self._before = self._after = None
            return "memory saved: not measured, for something else was asked for meanwhile"
        if self._after is None:
            if any(worker.generation != generation for worker in pool.workers.values()) or len(pool.generations) > 1:
                return ""  # whoever leaves still shares with those who stay
            self._after = Sum(pids)
        self._after.go_on()
        if self.has_more:
            return ""
        self._before, after = None, self._after
        self._after = None
        return (
            f"memory of all workers and their mold: {after.size / MEBIBYTE:.0f} MiB (PSS)"
            f" instead of {before.size / MEBIBYTE:.0f} MiB"
        )
