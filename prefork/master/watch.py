"""Watching for busy workers without waking for idle ones.

A request is a store in shared memory, which wakes nobody; yet it has a deadline, and it may need more workers. While
anything is busy or was since the last look, the master looks again every tick. Otherwise it sets the ``asleep`` cell,
so that whoever becomes busy says so through the notice pipe, and sleeps without limit.
Invariant: a worker that became busy is seen within a tick. It either reads the cell, or is read. Each may miss the
other's store for a moment, for processors delay stores; so we look once more at once, and once again a little later.
"""

from prefork.pool.wishes import Readings
from prefork.system.slots import ASLEEP, Scoreboard

TICK = 1.0  # seconds
OVERSLEPT = 1.0  # seconds later than expected: the master, or the machine, was stopped meanwhile
AGAIN = 0.05  # seconds: far longer than a store takes to be seen


class Watch:
    """:param board: of the service to watch."""

    def __init__(self, board: Scoreboard) -> None:
        self._header = board.header
        self._served = -1
        self._asleep_at: float | None = None

    def has_overslept(self, readings: Readings, now: float) -> bool:
        """Whether a worker became busy long ago, while we slept and it would have said so: we were not running."""
        if self._asleep_at is None:
            return False
        starts = [reading.busy_since for reading in readings.slots.values() if reading.busy_since is not None]
        return bool(starts) and now - min(starts) > OVERSLEPT

    def look(self, readings: Readings, limit: float | None, now: float) -> float | None:
        """When to look again; ``None``: somebody will say so, or nobody needs to.

        :param limit: seconds within which it has to be seen; ``None`` where nothing depends on it.
        """
        if limit is None:
            self._asleep_at = None
            self._header[ASLEEP] = 0
            return None
        served = sum(reading.requests for reading in readings.slots.values())
        is_busy = any(reading.busy_since is not None for reading in readings.slots.values())
        if is_busy or served != self._served:
            self._served = served
            self._asleep_at = None
            self._header[ASLEEP] = 0
            return now + min(TICK, limit)
        if self._asleep_at is None:
            self._asleep_at = now
            self._header[ASLEEP] = 1
            return now
        return self._asleep_at + AGAIN if now < self._asleep_at + AGAIN else None
