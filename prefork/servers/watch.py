"""The watch: where a server of ours waits, for its listener and for whatever else may be news to it.

It must not know what the descriptors mean.
Invariant: a wait without limit ends for nothing but a readable descriptor; signals are handled and it goes on.
Read next: ``base.py``, whose loop this is the wait of.
"""

import select
from collections.abc import Sequence


class Watch:
    """A poll set that is rebuilt only when it changes."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: Sequence[int] = ()

    def wait(self, descriptors: Sequence[int], seconds: float | None) -> Sequence[int]:
        """Those that are readable, hung up or closed, after at most ``seconds``; ``None`` waits without limit."""
        if descriptors != self._watched:
            self._poll = select.poll()
            for fd in descriptors:
                self._poll.register(fd, select.POLLIN)
            self._watched = descriptors
        return [fd for fd, _ in self._poll.poll(None if seconds is None else max(0.0, seconds * 1000))]
