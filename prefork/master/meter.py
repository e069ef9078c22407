"""The meter of one service: how much of its workers is in use, what waits for them, and what was needed lately.

The scoreboard says who is busy now, and what all requests took together; the second shows what happens between two
looks. It must not decide how many workers there should be, nor wake anybody.
Invariant: what a look cannot see exactly it does not exaggerate: no worker was busy for longer than there was time.
Read next: ``prefork/pool/sizing.py``, what follows from it; ``watch.py``, when it is looked at.
"""

import math
from collections.abc import Mapping

from msgspec.structs import replace

from prefork.pool.records import Load, Pool, Reading, State
from prefork.pool.sizing import Pace, Window, used

LOOK = 0.25  # seconds from one look to the next while anything is busy


class Meter:
    """See above. It is asked at every decision, however soon after the one before.

    :ivar window: what was needed lately.
    """

    def __init__(self) -> None:
        self.window = Window(0.0)
        self._pace = Pace()
        self._before: dict[tuple[int, int], Reading] = {}  # by slot and order, at the look before
        self._looked_at = 0.0
        self._busy_seconds = 0.0
        self._requests = 0

    def read(self, pool: Pool, slots: Mapping[int, Reading], queued: int, seconds: float, now: float) -> Load:
        """:param queued: clients in the queues of all listeners.
        :param seconds: for so long what was needed is remembered.
        """
        ready = {(w.slot, w.order): slots[w.slot] for w in pool.in_state(State.READY) if w.slot in slots}
        at_once = max((reading.at_once for reading in ready.values()), default=1)
        average = self._add(ready, now) / at_once
        busy = sum(reading.busy for reading in ready.values()) / at_once
        load = Load(busy, queued, at_once, self._pace.each)
        self.window = Window(seconds, self.window.seen).with_need(now, max(used(load), math.ceil(average)))
        return replace(load, peak=self.window.peak, falls_at=self.window.falls_at)

    def _add(self, ready: dict[tuple[int, int], Reading], now: float) -> float:
        """Add up what was done since the last look.

        :returns: requests under way at a time, on the average since then.
        """
        passed, before = now - self._looked_at, self._before
        if passed <= 0:
            return 0.0
        self._looked_at, self._before = now, ready
        done = 0.0
        for who, reading in ready.items():
            was = before.get(who)
            if was is not None:
                # cells are not consistent with each other: a request that ends just now may be counted twice
                done += min(max(0.0, reading.busy_seconds - was.busy_seconds), passed * reading.at_once)
                self._requests += max(0, reading.requests - was.requests)
        self._busy_seconds += done
        self._pace = self._pace.with_sums(now, self._busy_seconds, self._requests)
        return done / passed
