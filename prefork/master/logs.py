"""The log and the access log, as the master holds them: opened once, fed to all others, and opened anew for all.

Whoever writes may notice that a file was moved away, and says so; the master looks itself before it believes that.
It must not know lines. Invariant: what is hung into a feed is what we write to.
Read next: ``prefork/system/logfeed.py``; ``prefork/worker/logs.py``, who takes from there.
"""

import time
from collections.abc import Iterable

from prefork.system.logfeed import Feed
from prefork.system.logfile import Log, LogFile

AGAIN = 1.0  # seconds between two looks at whether a file was moved away
RETRY = 30.0  # the same, once it could not be opened anew
now = time.monotonic


class Held:
    """A file that all processes write to, and the feed that it hangs in.

    :param feed: of the image before us; else a new one.
    """

    def __init__(self, log: Log, feed: Feed | None = None) -> None:
        self.log = log
        self.feed = feed or Feed(log.fileno())

    def reopen(self, teller: Log) -> None:
        self.log.reopen(teller)
        self.feed.replace(self.log.fileno())


class LogFiles:
    """:param access: ``None`` where the access log has no file of its own."""

    def __init__(self, log: Held, access: Held | None) -> None:
        self.log = log
        self.access = access
        self._is_suspect = False
        self._again_at = 0.0
        for held in self._all():
            if isinstance(held.log, LogFile):
                held.log.when_moved = self.suspect

    def _all(self) -> Iterable[Held]:
        return (self.log,) if self.access is None else (self.log, self.access)

    def suspect(self) -> None:
        """Somebody writes to a file that is no longer at its path."""
        self._is_suspect = True

    @property
    def has_suspicion(self) -> bool:
        """Whether somebody said so since the last look."""
        return self._is_suspect

    def have_moved(self) -> bool:
        """Whether it is so; asked for at most once in ``AGAIN``, for a path may be one that cannot be opened."""
        is_suspect, self._is_suspect = self._is_suspect, False
        if not is_suspect or now() < self._again_at:
            return False
        self._again_at = now() + AGAIN
        return any(held.log.has_moved for held in self._all())

    def reopen(self) -> None:
        for held in self._all():
            held.reopen(self.log.log)
        self._is_suspect = False
        if any(held.log.has_moved for held in self._all()):
            self._again_at = now() + RETRY

    def close(self) -> None:
        for held in self._all():
            held.feed.close()
