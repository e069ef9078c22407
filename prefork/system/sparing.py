"""Sparing: what may go wrong a thousand times a second is told once in ten seconds.

It must not know what is told. Invariant: the first time is always told.
"""

import time

EVERY = 10.0  # seconds


class Sparing:
    """One kind of trouble of one process."""

    def __init__(self) -> None:
        self._again_at = 0.0

    def is_due(self) -> bool:
        """Whether to tell it now; if so, not again for a while."""
        now = time.monotonic()
        if now < self._again_at:
            return False
        self._again_at = now + EVERY
        return True
