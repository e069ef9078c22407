"""The logs of one worker: its log, and the access log where that has a file of its own.

It must not know what is logged. A worker cannot open a file, for it may be somebody else: it notices that one was moved
away, tells the master, and takes what the master has opened.
Invariant: nobody is told more than once a second, however much is logged.
Read next: ``prefork/system/logfile.py``; ``access.py``, what a line of the access log says.
"""

import os
import time
from collections.abc import Iterable
from typing import Any

from prefork.system.logfile import Log, LogFile
from prefork.system.logs import NO_ACCESS_LOG, open_access_file
from prefork.worker.access import Access
from prefork.worker.ledger import Ledger
from prefork.worker.notices import Notices
from prefork.worker.protocol import Brief, LogMoved

TELL_AGAIN = 1.0  # seconds from one notice to the next that a log was moved away

now = time.monotonic


class WorkerLogs:
    """:param log: the mold's, signed by this worker."""

    def __init__(self, log: Log, brief: Brief, slot: int, notices: Notices) -> None:
        self._log = log
        self._brief = brief
        self._slot = slot
        self._notices = notices
        self._access: LogFile | None = None  # where it has a file of its own
        self._tells_again_at = 0.0  # at once
        self._watch(log)

    def fileno(self) -> int:
        """Of the log."""
        return self._log.fileno()

    def begin_access(self, ledger: Ledger, servers: Iterable[Any]) -> None:
        """Let every request have a line, if that is wanted.

        :raises OSError: the file cannot be had.
        """
        logs = self._brief.logs
        if logs.access == NO_ACCESS_LOG:
            return
        log = self._log
        if logs.has_access_file:
            log = self._access = open_access_file(logs)
            log.sign(self._brief.who("worker", self._slot))
            self._watch(log)
        access = Access(log, ledger)
        for server in servers:
            access.heed(server)

    def reopen(self) -> None:
        for log in self._all:
            log.reopen(self._log)

    def belong_to_child(self) -> None:
        """In a child that handles one request."""
        for log in self._all:
            log.sign(self._brief.who("child", self._slot))

    def let_go(self) -> None:
        """The process is no worker any more: its log is a mold's, whom nobody hears."""
        if isinstance(self._log, LogFile):
            self._log.when_moved = None
        if self._access is not None:
            access, self._access = self._access, None  # before its number may be another's: SIGUSR1 opens it anew
            os.close(access.fileno())

    @property
    def _all(self) -> list[Log]:
        return [self._log] if self._access is None else [self._log, self._access]

    def _watch(self, log: Log) -> None:
        """Tell the master when it was moved away, which opens it anew for all; in another root nobody can see it."""
        if isinstance(log, LogFile) and not self._brief.privileges.chroot:
            log.when_moved = self._tell_moved

    def _tell_moved(self) -> None:
        if now() >= self._tells_again_at:
            self._tells_again_at = now() + TELL_AGAIN
            self._notices.send(LogMoved())
