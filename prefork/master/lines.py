"""The scoreboard as one snapshot reads it: over several turns, in which workers end and others take their slots.

It must not know what is told of anybody.
Invariant: whoever is in the snapshot's book is read with figures of its own, never with those of who came after it.
Read next: ``hands.py``, which buries workers; ``prefork/report/status.py``, which reads.
"""

from collections.abc import Callable

from prefork.pool.records import Pool
from prefork.system.slots import Slot


class Lines:
    """To be called with a slot.

    :param pool: the book of the snapshot.
    :param line: the scoreboard's, of a slot.
    """

    def __init__(self, pool: Pool, line: Callable[[int], Slot]) -> None:
        self._pool = pool
        self._line = line
        self._buried: dict[int, Slot] = {}

    def __call__(self, slot: int) -> Slot:
        return self._buried.get(slot) or self._line(slot)

    def bury(self, slot: int, order: int, line: Slot) -> None:
        """The worker is gone, and its slot may be taken again before it is read."""
        worker = self._pool.workers.get(slot)
        if worker is not None and worker.order == order:
            self._buried[slot] = line.copy()
