"""The bell: an eventfd by which one thread, or a signal handler, ends another's wait. One process' own.

It must not know what the news is: whoever hears the bell looks at what is true.
Invariant: once rung it stays readable until it is answered, however often it was rung.
Compare ``kick.py``, the same kernel object shared by processes, of which one wakes.
"""

import os

from prefork.system import kick


class Bell:
    """Its descriptor is closed with its last reference, so that nobody ever rings a number that is somebody else's."""

    def __init__(self) -> None:
        self._fd = -1
        self._fd = kick.create()

    def fileno(self) -> int:
        return self._fd

    def ring(self) -> None:
        kick.kick(self._fd)

    def answer(self) -> bool:
        """Make it quiet again; False if nobody rang."""
        return kick.answer(self._fd)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
